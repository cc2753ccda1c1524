/* The matcher against an oracle that tries every one-to-one assignment.
 *
 * Small random instances with few values, so that collisions are the rule: equal sales, windows
 * that touch, claims, references, contradictions, voids, returns, several attempts. The oracle
 * shares no code with the matcher and knows no graph theory. A failure prints the seed that brings
 * its instance back: ORACLE_SEED=<seed> ORACLE_INSTANCES=1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "core/match.h"

enum {
    MAX_ORDERS = 5,
    MAX_SALES = 6,
    MAX_CLAIMS = 4,
    MAX_ATTEMPTS = 3,
    MAX_THINGS = MAX_SALES + MAX_CLAIMS + MAX_ORDERS,
    MAX_ASSIGNMENTS = 161051, /* 11^5 */
};

struct instance {
    uint64_t seed;
    struct match_settings settings;
    int64_t now;
    struct match_order orders[MAX_ORDERS];
    struct match_attempt attempts[MAX_ORDERS][MAX_ATTEMPTS];
    struct match_resolution resolutions[MAX_ORDERS];
    size_t n_orders;
    struct match_sale sales[MAX_SALES];
    size_t n_sales;
    struct match_claim claims[MAX_CLAIMS];
    size_t n_claims;
};

struct expected_candidate {
    const char *sale;
    enum fit fit;
    bool reference_conflict, claim_conflict, assigned;
};

struct expected {
    enum verdict verdict;
    enum rule rule;
    const char *transaction_id;
    struct expected_candidate candidates[MAX_THINGS];
    size_t n_candidates;
};

/* --- random instances --------------------------------------------------------------------------*/

static uint64_t random_state;

static unsigned below(unsigned n)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15; /* splitmix64 */

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (unsigned)((z ^ (z >> 31)) % n);
}

static bool percent(unsigned n)
{
    return below(100) < n;
}

#define PICK(list) ((list)[below(sizeof(list) / sizeof((list)[0]))])

static const char *const order_ids[] = {"A", "B", "C", "D", "E"};
static const char *const absent_ids[] = {"a0", "t2x", "z9"};

struct mood {
    unsigned blank, odd; /* percentages: a card member is empty; a member is out of line */
    unsigned claims, references;
};

static struct money random_money(const struct mood *mood)
{
    static const int64_t minors[] = {10, 20, 12};
    struct money money = {.minor = percent(mood->odd) ? PICK(minors) : 10};

    copy_text(money.currency, sizeof(money.currency), percent(mood->odd / 4) ? "EUR" : "USD");
    return money;
}

static struct card random_card(const struct mood *mood)
{
    static const char *const last_fours[] = {"1111", "2222"};
    static const char *const brands[] = {"Visa", "VISA", "amex"};
    static const char *const bins[] = {"411111", "41111122", "41111133", "4111112", "422222"};
    static const char *const emails[] = {"aa", "bb"};
    struct card card = {0};

    if (!percent(mood->blank))
        copy_text(card.last_four, sizeof(card.last_four),
                  percent(mood->odd) ? PICK(last_fours) : "1111");
    if (!percent(mood->blank))
        copy_text(card.brand, sizeof(card.brand), percent(mood->odd) ? PICK(brands) : "visa");
    if (!percent(mood->blank))
        copy_text(card.bin, sizeof(card.bin), percent(mood->odd) ? PICK(bins) : "411111");
    if (!percent(mood->blank))
        copy_text(card.email_hash, sizeof(card.email_hash),
                  percent(mood->odd) ? PICK(emails) : "aa");
    return card;
}

static void random_sale(struct instance *in, size_t i, const struct mood *mood)
{
    static const char *const sale_ids[] = {"t3", "t1", "t5", "t2", "t6", "t4"};
    static const int64_t returns[] = {5, 9, 10, 30};
    struct match_sale *sale = &in->sales[i];

    *sale = (struct match_sale){.id = sale_ids[i],
                                .amount = random_money(mood),
                                .at = 80 + 5 * (int64_t)below(14),
                                .card = random_card(mood),
                                .is_sale = !percent(mood->odd / 3),
                                .voided = percent(mood->odd / 2),
                                .vanished = percent(mood->odd / 3)};
    sale->net = percent(mood->odd) ? random_money(mood) : sale->amount;
    if (percent(10))
        sale->at += 1 - 2 * (int64_t)below(2);
    if (percent(mood->odd / 2))
        sale->returned_minor = PICK(returns);
    if (percent(mood->references))
        sale->order_ref = percent(15) ? "Z" : order_ids[below((unsigned)in->n_orders)];
    else if (percent(50))
        sale->order_ref = "";
    if (percent(4))
        sale->sealed_for = "Z";
    else if (percent(50))
        sale->sealed_for = "";
}

static void random_order(struct instance *in, size_t i, const struct mood *mood)
{
    struct match_order *order = &in->orders[i];

    *order = (struct match_order){.id = order_ids[i],
                                  .attempts = in->attempts[i],
                                  .n_attempts = percent(75) ? 1 : 2 + below(MAX_ATTEMPTS - 1),
                                  .absence = (enum absence)below(4)};
    for (size_t k = 0; k < order->n_attempts; k++)
        in->attempts[i][k] = (struct match_attempt){.at = 100 + 5 * (int64_t)below(7),
                                                    .amount = random_money(mood),
                                                    .card = random_card(mood)};
    if (percent(5)) {
        in->resolutions[i] = (struct match_resolution){
            .verdict = percent(50) ? VERDICT_CHARGED : VERDICT_NOT_CHARGED, .note = "seen"};
        if (in->n_sales > 0 && percent(60))
            in->resolutions[i].transaction_id = in->sales[below((unsigned)in->n_sales)].id;
        else if (percent(30))
            in->resolutions[i].transaction_id = PICK(absent_ids);
        order->resolution = &in->resolutions[i];
    }
}

static void random_instance(struct instance *in, uint64_t seed)
{
    static const int64_t befores[] = {0, 10}, afters[] = {0, 10, 20, 40}, lates[] = {0, 15, 60};
    struct mood mood;

    random_state = seed;
    memset(in, 0, sizeof(*in));
    in->seed = seed;
    mood = (struct mood){.blank = below(101),
                         .odd = below(60),
                         .claims = below(2) * below(60),
                         .references = below(2) * below(60)};
    in->settings = (struct match_settings){.before = PICK(befores),
                                           .after = PICK(afters),
                                           .absence_grace = 30,
                                           .late_watch = PICK(lates),
                                           .accept_amount_only = percent(40),
                                           .claims_complete = percent(50)};
    in->now = percent(75) ? 200 : 125 + 5 * (int64_t)below(8);
    in->n_orders = 1 + below(MAX_ORDERS);
    in->n_sales = below(MAX_SALES + 1);
    for (size_t i = 0; i < in->n_sales; i++)
        random_sale(in, i, &mood);
    for (size_t i = 0; i < in->n_orders; i++)
        random_order(in, i, &mood);
    while (in->n_claims < MAX_CLAIMS && percent(mood.claims)) {
        bool absent = in->n_sales == 0 || percent(25);

        in->claims[in->n_claims++] = (struct match_claim){
            .transaction_id =
                absent ? PICK(absent_ids) : in->sales[below((unsigned)in->n_sales)].id,
            .order_id = percent(10) ? "Z" : order_ids[below((unsigned)in->n_orders)]};
    }
}

/* --- the oracle --------------------------------------------------------------------------------*/

static bool same(const char *a, const char *b)
{
    return a && b && *a && *b && strcmp(a, b) == 0;
}

static bool differ(const char *a, const char *b)
{
    return *a && *b && strcmp(a, b) != 0;
}

static bool is_claimed(const struct instance *in, const char *sale, const char *order, bool by_it)
{
    bool found = false;

    for (size_t i = 0; i < in->n_claims; i++)
        if (same(in->claims[i].transaction_id, sale))
            found = found || same(in->claims[i].order_id, order) == by_it;
    for (size_t i = 0; i < in->n_orders; i++)
        if (in->orders[i].resolution && same(in->orders[i].resolution->transaction_id, sale))
            found = found || same(in->orders[i].id, order) == by_it;
    return found;
}

static void oracle_span(const struct match_order *order, int64_t *first, int64_t *last)
{
    *first = INT64_MAX;
    *last = INT64_MIN;
    for (size_t i = 0; i < order->n_attempts; i++) {
        *first = order->attempts[i].at < *first ? order->attempts[i].at : *first;
        *last = order->attempts[i].at > *last ? order->attempts[i].at : *last;
    }
}

static bool oracle_timely(const struct instance *in, const struct match_order *order,
                          const struct match_sale *sale)
{
    const struct match_settings *s = &in->settings;
    int64_t first, last;

    oracle_span(order, &first, &last);
    if (sale->at >= first - s->before && sale->at <= last + s->after)
        return true;
    if (!same(sale->order_ref, order->id))
        return false;
    /* Each end is the wider of the two. */
    return sale->at >= first - (s->before > s->late_watch ? s->before : s->late_watch) &&
           sale->at <= last + (s->after > s->late_watch ? s->after : s->late_watch);
}

static bool oracle_money(struct money a, struct money b)
{
    return a.minor == b.minor && strcmp(a.currency, b.currency) == 0;
}

static enum fit oracle_fit(const struct instance *in, const struct match_order *order,
                           const struct match_sale *sale)
{
    enum fit best = FIT_CURRENCY;
    bool agrees = false, identity = false;

    if (!sale->is_sale)
        return FIT_NOT_A_SALE;
    if (is_claimed(in, sale->id, order->id, false) || same(sale->sealed_for, "Z"))
        return FIT_CLAIMED_BY_OTHER;
    if (is_claimed(in, sale->id, order->id, true))
        return FIT_CLAIM;
    if (sale->order_ref && *sale->order_ref && strcmp(sale->order_ref, order->id) != 0)
        return FIT_OTHER_REFERENCE;
    for (size_t i = 0; i < order->n_attempts; i++) {
        const struct match_attempt *a = &order->attempts[i];
        const struct card *x = &a->card, *y = &sale->card;
        bool has_bins = strlen(x->bin) >= 6 && strlen(y->bin) >= 6;
        size_t n = strlen(x->bin) < strlen(y->bin) ? strlen(x->bin) : strlen(y->bin);
        enum fit fit = FIT_COUNT;

        if (x->email_hash[0] && y->email_hash[0] && strcmp(x->email_hash, y->email_hash) != 0)
            fit = FIT_EMAIL;
        if (x->brand[0] && y->brand[0] && strcasecmp(x->brand, y->brand) != 0)
            fit = FIT_BRAND;
        if (has_bins && strncmp(x->bin, y->bin, n) != 0)
            fit = FIT_BIN;
        if (differ(x->last_four, y->last_four))
            fit = FIT_LAST_FOUR;
        if (!oracle_timely(in, order, sale))
            fit = FIT_TIME;
        if (!oracle_money(a->amount, sale->amount) && !oracle_money(a->amount, sale->net))
            fit = FIT_MONEY;
        if (strcmp(a->amount.currency, sale->amount.currency) != 0)
            fit = FIT_CURRENCY;
        if (fit == FIT_COUNT) {
            agrees = true;
            identity = identity || has_bins || same(x->last_four, y->last_four) ||
                       same(x->email_hash, y->email_hash);
        } else if (fit > best) {
            best = fit;
        }
    }
    if (!agrees)
        return best;
    if (same(sale->order_ref, order->id))
        return FIT_REFERENCE;
    return identity ? FIT_IDENTITY : FIT_AMOUNT;
}

/* What may be given to an order: a sale, or a claimed transaction of which there is no record. */
struct thing {
    const char *id;
    const struct match_sale *sale;
    bool live;
};

struct oracle {
    const struct instance *in;
    struct thing things[MAX_THINGS]; /* by time and id, the recordless ones last */
    int n_things;
    int priority[MAX_ORDERS]; /* orders by first attempt and id */
    enum fit fit[MAX_ORDERS][MAX_THINGS];
    bool edge[MAX_ORDERS][MAX_THINGS];
    int current[MAX_ORDERS];
    int size;
    int8_t (*all)[MAX_ORDERS]; /* every maximum assignment */
    int n_all;
    bool certain[MAX_ORDERS];
    bool admissible[MAX_ORDERS][MAX_THINGS];
    bool together[MAX_ORDERS][MAX_ORDERS]; /* in one component */
    int chosen[MAX_ORDERS];
};

static int thing_order(const void *left, const void *right)
{
    const struct thing *a = left, *b = right;

    if (!a->sale != !b->sale)
        return a->sale ? -1 : 1;
    if (a->sale && a->sale->at != b->sale->at)
        return a->sale->at < b->sale->at ? -1 : 1;
    return strcmp(a->id, b->id);
}

static void add_recordless(struct oracle *o, const char *id)
{
    for (int t = 0; t < o->n_things; t++)
        if (same(o->things[t].id, id))
            return;
    if (id && *id)
        o->things[o->n_things++] = (struct thing){.id = id, .live = true};
}

static void list_things(struct oracle *o)
{
    const struct instance *in = o->in;

    for (size_t i = 0; i < in->n_sales; i++) {
        const struct match_sale *sale = &in->sales[i];
        bool returned = sale->amount.minor > 0 && sale->returned_minor >= sale->amount.minor;

        o->things[o->n_things++] =
            (struct thing){.id = sale->id, .sale = sale, .live = !sale->voided && !returned};
    }
    for (size_t i = 0; i < in->n_claims; i++)
        add_recordless(o, in->claims[i].transaction_id);
    for (size_t i = 0; i < in->n_orders; i++)
        if (in->orders[i].resolution)
            add_recordless(o, in->orders[i].resolution->transaction_id);
    qsort(o->things, (size_t)o->n_things, sizeof(o->things[0]), thing_order);
}

static void list_edges(struct oracle *o)
{
    const struct instance *in = o->in;

    for (size_t i = 0; i < in->n_orders; i++)
        for (int t = 0; t < o->n_things; t++) {
            const struct match_order *order = &in->orders[i];
            const struct thing *thing = &o->things[t];

            if (thing->sale)
                o->fit[i][t] = oracle_fit(in, order, thing->sale);
            else if (is_claimed(in, thing->id, order->id, true) &&
                     !is_claimed(in, thing->id, order->id, false))
                o->fit[i][t] = FIT_CLAIM;
            else
                o->fit[i][t] = FIT_CLAIMED_BY_OTHER;
        }
    for (size_t i = 0; i < in->n_orders; i++) {
        const struct match_resolution *resolution = in->orders[i].resolution;
        bool unnamed = resolution && resolution->verdict == VERDICT_CHARGED &&
                       !(resolution->transaction_id && *resolution->transaction_id);
        bool owned = false;

        for (int t = 0; t < o->n_things; t++)
            owned = owned || (o->fit[i][t] <= FIT_REFERENCE && o->things[t].live);
        for (int t = 0; t < o->n_things; t++) {
            if (owned && !in->orders[i].resolution && o->fit[i][t] == FIT_AMOUNT)
                o->fit[i][t] = FIT_COUNT;
            o->edge[i][t] = fit_eligible(o->fit[i][t]) && (!resolution || unnamed);
        }
    }
}

/* All assignments from order i on: first for the size of a maximum one, then to keep those. */
static void enumerate(struct oracle *o, size_t i, unsigned used, int size, bool keep)
{
    int left = (int)(o->in->n_orders - i);

    if (size + left < o->size)
        return;
    if (left == 0) {
        if (!keep) {
            o->size = size;
            return;
        }
        assert_true(o->n_all < MAX_ASSIGNMENTS);
        for (size_t k = 0; k < o->in->n_orders; k++)
            o->all[o->n_all][k] = (int8_t)o->current[k];
        o->n_all++;
        return;
    }
    for (int t = 0; t < o->n_things; t++) {
        if (!o->edge[i][t] || used & (1U << t))
            continue;
        o->current[i] = t;
        enumerate(o, i + 1, used | (1U << t), size + 1, keep);
    }
    o->current[i] = -1;
    enumerate(o, i + 1, used, size, keep);
}

static void compare_all(struct oracle *o)
{
    size_t n = o->in->n_orders;

    for (size_t i = 0; i < n; i++) {
        o->certain[i] = true;
        for (int a = 0; a < o->n_all; a++) {
            if (o->all[a][i] < 0)
                o->certain[i] = false;
            else
                o->admissible[i][o->all[a][i]] = true;
        }
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++) {
            o->together[i][k] = i == k;
            for (int t = 0; t < o->n_things; t++)
                if (o->admissible[i][t] && o->admissible[k][t])
                    o->together[i][k] = true;
        }
    for (size_t via = 0; via < n; via++)
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < n; k++)
                if (o->together[i][via] && o->together[via][k])
                    o->together[i][k] = true;
}

/* What is surest, then what is live, then what came first. */
static bool likes_better(const struct oracle *o, int i, int a, int b)
{
    if (o->fit[i][a] != o->fit[i][b])
        return o->fit[i][a] < o->fit[i][b];
    if (o->things[a].live != o->things[b].live)
        return o->things[a].live;
    return a < b;
}

/* Of the maximum assignments, those stay in which each order in turn has what it likes best. */
static void choose(struct oracle *o)
{
    size_t n = o->in->n_orders;

    for (size_t i = 0; i < n; i++)
        o->priority[i] = (int)i;
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++) {
            int64_t first, other, last;
            int a = o->priority[i], b = o->priority[k];

            oracle_span(&o->in->orders[a], &first, &last);
            oracle_span(&o->in->orders[b], &other, &last);
            if (other < first ||
                (other == first && strcmp(o->in->orders[b].id, o->in->orders[a].id) < 0)) {
                o->priority[i] = b;
                o->priority[k] = a;
            }
        }
    for (size_t p = 0; p < n; p++) {
        int i = o->priority[p], best = -1, kept = 0;

        o->chosen[i] = -1;
        if (!o->certain[i])
            continue;
        for (int a = 0; a < o->n_all; a++) {
            int t = o->all[a][i];

            if (best < 0 || likes_better(o, i, t, best))
                best = t;
        }
        for (int a = 0; a < o->n_all; a++)
            if (o->all[a][i] == best)
                memmove(o->all[kept++], o->all[a], sizeof(o->all[a]));
        o->n_all = kept;
        o->chosen[i] = best;
    }
}

static enum rule oracle_rule(enum fit fit)
{
    return fit == FIT_CLAIM       ? RULE_CLAIM
           : fit == FIT_REFERENCE ? RULE_REFERENCE
           : fit == FIT_IDENTITY  ? RULE_IDENTITY
                                  : RULE_AMOUNT;
}

struct verdict_of_oracle {
    enum verdict verdict;
    enum rule rule;
    const char *id;
    unsigned assigned; /* set of things */
};

static const struct verdict_of_oracle review = {.verdict = VERDICT_NEEDS_REVIEW, .id = ""};

static struct verdict_of_oracle one_sale(const struct oracle *o, size_t i, int t,
                                         enum verdict verdict)
{
    return (struct verdict_of_oracle){.verdict = verdict,
                                      .rule = oracle_rule(o->fit[i][t]),
                                      .id = o->things[t].id,
                                      .assigned = 1U << t};
}

static struct verdict_of_oracle several_sales(const struct oracle *o, size_t i, unsigned set)
{
    struct verdict_of_oracle v = {.verdict = VERDICT_DOUBLE_CHARGED, .assigned = set};

    for (int t = o->n_things - 1; t >= 0; t--)
        if (set & (1U << t)) {
            v.id = o->things[t].id;
            if (oracle_rule(o->fit[i][t]) > v.rule)
                v.rule = oracle_rule(o->fit[i][t]);
        }
    return v;
}

static int count(unsigned set)
{
    return __builtin_popcount(set);
}

static int lowest(unsigned set)
{
    return __builtin_ctz(set);
}

/* As if the grace were over. */
static struct verdict_of_oracle judge(const struct oracle *o, size_t i)
{
    const struct match_settings *settings = &o->in->settings;
    const struct match_order *order = &o->in->orders[i];
    unsigned eligible = 0, own = 0, live = 0, by_fit[4] = {0}, strong, decisive, set;
    bool claim_conflict = false, alone = true;

    for (int t = 0; t < o->n_things; t++) {
        if (fit_eligible(o->fit[i][t])) {
            eligible |= 1U << t;
            by_fit[o->fit[i][t]] |= 1U << t;
        } else if (is_claimed(o->in, o->things[t].id, order->id, true)) {
            claim_conflict = true;
        }
        own |= o->admissible[i][t] ? 1U << t : 0;
        live |= o->things[t].live ? 1U << t : 0;
    }
    for (size_t k = 0; k < o->in->n_orders; k++)
        alone = alone && (k == i || !o->together[i][k]);
    strong = by_fit[FIT_CLAIM] | by_fit[FIT_REFERENCE];
    decisive = strong | (settings->claims_complete ? by_fit[FIT_IDENTITY] : 0);

    if (count(strong & live) >= 2)
        return several_sales(o, i, live & (alone ? own & decisive : strong));
    if (claim_conflict)
        return review;
    if (!eligible) {
        if (order->absence == ABSENCE_BLOCKED)
            return review;
        return (struct verdict_of_oracle){.verdict = VERDICT_PENDING, .id = ""};
    }
    if (!o->certain[i])
        return review;
    set = own & by_fit[FIT_AMOUNT];
    if (set && !settings->accept_amount_only)
        if (!alone || set & live || !(own & decisive & live))
            return review;
    if (alone) {
        if (count(own) == 1)
            return one_sale(o, i, lowest(own), own & live ? VERDICT_CHARGED : VERDICT_REVERSED);
        if (own & live & ~decisive)
            return review;
        if (count(own & live) >= 2)
            return several_sales(o, i, own & live);
        if (count(own & live) == 1)
            return one_sale(o, i, lowest(own & live), VERDICT_CHARGED);
        for (enum fit fit = FIT_CLAIM; fit <= FIT_AMOUNT; fit++)
            if (own & by_fit[fit])
                return one_sale(o, i, lowest(own & by_fit[fit]), VERDICT_REVERSED);
    }
    if (strong & live)
        return one_sale(o, i, lowest(strong & live), VERDICT_CHARGED);
    if (!(own & ~live))
        return one_sale(o, i, o->chosen[i], VERDICT_CHARGED);
    if (!(own & live))
        return one_sale(o, i, o->chosen[i], VERDICT_REVERSED);
    return review;
}

static bool is_reference_conflict(const struct oracle *o, size_t i, int t)
{
    const struct match_sale *sale = o->things[t].sale;

    return sale && sale->is_sale && same(sale->order_ref, o->in->orders[i].id) &&
           !fit_eligible(o->fit[i][t]);
}

/* Whether a reversed sale is leave to charge again: no live one is eligible, and each attempt is
 * accounted for, by a reversed sale of its own or by absence. */
static struct verdict_of_oracle judge_leave(const struct oracle *o, size_t i,
                                            struct verdict_of_oracle reversed)
{
    const struct match_order *order = &o->in->orders[i];
    size_t accounted = 0;

    for (int t = 0; t < o->n_things; t++) {
        enum fit fit = o->fit[i][t];

        if (!fit_eligible(fit))
            continue;
        if (o->things[t].live)
            return review;
        if (fit == FIT_REFERENCE || (fit == FIT_IDENTITY && o->in->settings.claims_complete) ||
            (fit != FIT_CLAIM && order->n_attempts == 1))
            accounted++;
    }
    if (accounted >= order->n_attempts)
        return reversed;
    switch (order->absence) {
    case ABSENCE_UNPROVEN:
        return (struct verdict_of_oracle){.verdict = VERDICT_PENDING, .id = ""};
    case ABSENCE_BLOCKED:
        return review;
    case ABSENCE_PROVEN:
    case ABSENCE_STANDS:
        break;
    }
    return reversed;
}

static struct verdict_of_oracle judge_now(const struct oracle *o, size_t i)
{
    const struct match_order *order = &o->in->orders[i];
    struct verdict_of_oracle v;
    bool conflict = false, eligible = false, undecided;
    int64_t first, last;

    oracle_span(order, &first, &last);
    if (order->resolution) {
        v = (struct verdict_of_oracle){.verdict = order->resolution->verdict,
                                       .rule = RULE_PERSON,
                                       .id = order->resolution->transaction_id};
        if (!v.id)
            v.id = "";
        for (int t = 0; t < o->n_things; t++)
            if (same(v.id, o->things[t].id))
                v.assigned = 1U << t;
        return v;
    }
    v = judge(o, i);
    for (int t = 0; t < o->n_things; t++) {
        conflict = conflict || is_reference_conflict(o, i, t);
        eligible = eligible || fit_eligible(o->fit[i][t]);
    }
    if (conflict && v.verdict != VERDICT_DOUBLE_CHARGED &&
        !(v.verdict == VERDICT_CHARGED && (v.rule == RULE_CLAIM || v.rule == RULE_REFERENCE)))
        v = review;
    for (int t = 0; t < o->n_things; t++)
        if (v.assigned & (1U << t) && o->things[t].sale && o->things[t].sale->vanished)
            v = review;
    undecided = v.verdict == VERDICT_PENDING;
    if (v.verdict == VERDICT_REVERSED)
        v = judge_leave(o, i, v);
    if (v.verdict == VERDICT_NEEDS_REVIEW && o->in->now < last + o->in->settings.absence_grace)
        v.verdict = VERDICT_PENDING;
    if (undecided && !eligible && !conflict &&
        (order->absence == ABSENCE_STANDS ||
         (order->absence == ABSENCE_PROVEN && o->in->now > last + o->in->settings.absence_grace))) {
        v.verdict = VERDICT_NOT_CHARGED;
        v.rule = RULE_ABSENCE;
    }
    return v;
}

static void ask_oracle(const struct instance *in, struct expected *expected)
{
    static int8_t all[MAX_ASSIGNMENTS][MAX_ORDERS];
    struct oracle o = {.in = in, .all = all};

    list_things(&o);
    list_edges(&o);
    enumerate(&o, 0, 0, 0, false);
    enumerate(&o, 0, 0, 0, true);
    compare_all(&o);
    choose(&o);
    for (size_t i = 0; i < in->n_orders; i++) {
        struct verdict_of_oracle v = judge_now(&o, i);
        struct expected *e = &expected[i];

        *e = (struct expected){.verdict = v.verdict, .rule = v.rule, .transaction_id = v.id};
        for (int t = 0; t < o.n_things; t++) {
            bool claimed = is_claimed(in, o.things[t].id, in->orders[i].id, true);
            bool eligible = fit_eligible(o.fit[i][t]);

            if (!(eligible || claimed || is_reference_conflict(&o, i, t)))
                continue;
            e->candidates[e->n_candidates++] =
                (struct expected_candidate){.sale = o.things[t].id,
                                            .fit = o.fit[i][t],
                                            .reference_conflict = is_reference_conflict(&o, i, t),
                                            .claim_conflict = claimed && !eligible,
                                            .assigned = v.assigned & (1U << t)};
        }
    }
}

/* --- comparing ---------------------------------------------------------------------------------*/

static void print_card(const struct card *card)
{
    printf(" [%s %s %s %s]", card->last_four, card->bin, card->brand, card->email_hash);
}

static void print_instance(const struct instance *in)
{
    printf("seed %" PRIu64 ", now %" PRId64 ", before %" PRId64 ", after %" PRId64
           ", late_watch %" PRId64 "%s%s\n",
           in->seed, in->now, in->settings.before, in->settings.after, in->settings.late_watch,
           in->settings.accept_amount_only ? ", accept_amount_only" : "",
           in->settings.claims_complete ? ", claims complete" : "");
    for (size_t i = 0; i < in->n_orders; i++) {
        const struct match_order *order = &in->orders[i];

        printf("order %s, absence %d", order->id, (int)order->absence);
        for (size_t k = 0; k < order->n_attempts; k++) {
            printf("; at %" PRId64 " %" PRId64 " %s", order->attempts[k].at,
                   order->attempts[k].amount.minor, order->attempts[k].amount.currency);
            print_card(&order->attempts[k].card);
        }
        if (order->resolution)
            printf("; resolved %d %s", (int)order->resolution->verdict,
                   order->resolution->transaction_id ? order->resolution->transaction_id : "");
        printf("\n");
    }
    for (size_t i = 0; i < in->n_sales; i++) {
        const struct match_sale *sale = &in->sales[i];

        printf("sale %s at %" PRId64 " %" PRId64 " (net %" PRId64 " %s) %s", sale->id, sale->at,
               sale->amount.minor, sale->net.minor, sale->net.currency, sale->amount.currency);
        print_card(&sale->card);
        printf(" ref '%s' sealed '%s'%s%s returned %" PRId64 "\n",
               sale->order_ref ? sale->order_ref : "", sale->sealed_for ? sale->sealed_for : "",
               sale->is_sale ? "" : ", no sale", sale->voided ? ", voided" : "",
               sale->returned_minor);
    }
    for (size_t i = 0; i < in->n_claims; i++)
        printf("claim %s for %s\n", in->claims[i].transaction_id, in->claims[i].order_id);
}

static bool as_expected(const struct match_result *result, const struct expected *e)
{
    if (result->verdict != e->verdict || result->rule != e->rule ||
        strcmp(result->transaction_id, e->transaction_id) != 0 || !*result->reason ||
        result->n_candidates != e->n_candidates)
        return false;
    for (size_t i = 0; i < e->n_candidates; i++) {
        const struct match_candidate *a = &result->candidates[i];
        const struct expected_candidate *b = &e->candidates[i];

        if (strcmp(a->transaction_id, b->sale) != 0 || a->fit != b->fit ||
            a->reference_conflict != b->reference_conflict ||
            a->claim_conflict != b->claim_conflict || a->assigned != b->assigned)
            return false;
    }
    return true;
}

static void print_result(const struct instance *in, size_t i, const struct match_result *result,
                         const struct expected *e)
{
    printf("order %s: verdict %d, rule %d, sale '%s': %s\n", in->orders[i].id, (int)result->verdict,
           (int)result->rule, result->transaction_id, result->reason);
    for (size_t k = 0; k < result->n_candidates; k++)
        printf("  %s: %s%s%s%s\n", result->candidates[k].transaction_id,
               fit_text(result->candidates[k].fit),
               result->candidates[k].reference_conflict ? ", reference conflict" : "",
               result->candidates[k].claim_conflict ? ", claim conflict" : "",
               result->candidates[k].assigned ? ", assigned" : "");
    if (!e)
        return;
    printf("  expected: verdict %d, rule %d, sale '%s'\n", (int)e->verdict, (int)e->rule,
           e->transaction_id);
    for (size_t k = 0; k < e->n_candidates; k++)
        printf("  expected %s: %s%s%s%s\n", e->candidates[k].sale, fit_text(e->candidates[k].fit),
               e->candidates[k].reference_conflict ? ", reference conflict" : "",
               e->candidates[k].claim_conflict ? ", claim conflict" : "",
               e->candidates[k].assigned ? ", assigned" : "");
}

static struct match_result *run(const struct instance *in)
{
    struct match_input input = {.orders = in->orders,
                                .n_orders = in->n_orders,
                                .sales = in->sales,
                                .n_sales = in->n_sales,
                                .claims = in->claims,
                                .n_claims = in->n_claims,
                                .now = in->now,
                                .settings = in->settings};
    struct match_result *results = NULL;

    assert_int_equal(match(&input, &results), 0);
    return results;
}

#define SHUFFLE(array, n)                                                                          \
    for (size_t _i = (n); _i > 1; _i--) {                                                          \
        size_t _k = below((unsigned)_i);                                                           \
        __typeof__((array)[0]) _swap = (array)[_i - 1];                                            \
                                                                                                   \
        (array)[_i - 1] = (array)[_k];                                                             \
        (array)[_k] = _swap;                                                                       \
    }

/* Every array in another order; orders and resolutions keep pointing into `in`. */
static void shuffle(const struct instance *in, struct instance *ret)
{
    *ret = *in;
    for (size_t i = 0; i < ret->n_orders; i++) {
        SHUFFLE(ret->attempts[i], ret->orders[i].n_attempts);
        ret->orders[i].attempts = ret->attempts[i];
    }
    SHUFFLE(ret->orders, ret->n_orders);
    SHUFFLE(ret->sales, ret->n_sales);
    SHUFFLE(ret->claims, ret->n_claims);
}

static bool same_result(const struct match_result *a, const struct match_result *b)
{
    if (a->verdict != b->verdict || a->rule != b->rule ||
        strcmp(a->transaction_id, b->transaction_id) != 0 || strcmp(a->reason, b->reason) != 0 ||
        a->n_candidates != b->n_candidates)
        return false;
    for (size_t i = 0; i < a->n_candidates; i++) {
        const struct match_candidate *x = &a->candidates[i], *y = &b->candidates[i];

        if (strcmp(x->transaction_id, y->transaction_id) != 0 || x->fit != y->fit ||
            x->reference_conflict != y->reference_conflict ||
            x->claim_conflict != y->claim_conflict || x->assigned != y->assigned)
            return false;
    }
    return true;
}

/* One sale pays one order; a person may say otherwise. */
static bool no_sale_twice(const struct instance *in, const struct match_result *results)
{
    const char *given[MAX_ORDERS * MAX_THINGS];
    size_t n = 0;

    for (size_t i = 0; i < in->n_orders; i++)
        for (size_t k = 0; k < results[i].n_candidates; k++) {
            if (!results[i].candidates[k].assigned || in->orders[i].resolution)
                continue;
            for (size_t g = 0; g < n; g++)
                if (same(given[g], results[i].candidates[k].transaction_id))
                    return false;
            given[n++] = results[i].candidates[k].transaction_id;
        }
    return true;
}

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);

    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void every_assignment(void **state)
{
    uint64_t n = number_from("ORACLE_INSTANCES", 100000), seed = number_from("ORACLE_SEED", 1);
    static struct instance in, other;
    struct expected expected[MAX_ORDERS];
    unsigned seen[VERDICT_COUNT][RULE_COUNT] = {0};

    (void)state;
    for (uint64_t i = 0; i < n; i++) {
        struct match_result *results, *others;
        bool good;

        random_instance(&in, seed + i);
        ask_oracle(&in, expected);
        results = run(&in);
        shuffle(&in, &other);
        others = run(&other);
        good = no_sale_twice(&in, results);
        for (size_t k = 0; k < in.n_orders; k++) {
            good = good && as_expected(&results[k], &expected[k]);
            seen[expected[k].verdict][expected[k].rule]++;
            for (size_t q = 0; q < in.n_orders; q++)
                if (same(in.orders[k].id, other.orders[q].id))
                    good = good && same_result(&results[k], &others[q]);
        }
        if (!good) {
            print_instance(&in);
            for (size_t k = 0; k < in.n_orders; k++)
                print_result(&in, k, &results[k], &expected[k]);
            printf("shuffled:\n");
            for (size_t k = 0; k < in.n_orders; k++)
                print_result(&other, k, &others[k], NULL);
        }
        match_results_free(results, in.n_orders);
        match_results_free(others, in.n_orders);
        assert_true(good);
    }
    if (n < 10000)
        return;
    /* The instances are worth something only if they reach everything that can be said. */
    assert_true(seen[VERDICT_PENDING][RULE_NONE] > n / 1000);
    assert_true(seen[VERDICT_NEEDS_REVIEW][RULE_NONE] > n / 1000);
    assert_true(seen[VERDICT_NOT_CHARGED][RULE_ABSENCE] > n / 1000);
    assert_true(seen[VERDICT_CHARGED][RULE_PERSON] > n / 1000);
    for (enum rule rule = RULE_CLAIM; rule <= RULE_AMOUNT; rule++) {
        assert_true(seen[VERDICT_CHARGED][rule] > n / 1000);
        assert_true(seen[VERDICT_REVERSED][rule] > n / 10000);
    }
    for (enum rule rule = RULE_CLAIM; rule <= RULE_IDENTITY; rule++)
        assert_true(seen[VERDICT_DOUBLE_CHARGED][rule] > n / 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_assignment)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
