#include "core/judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "core/timestamp.h"

enum { LIST_MAX = 4 }; /* ids that a reason lists before it counts */

/* --- reasons ---------------------------------------------------------------------------------- */

/* Adds to the reason. One that grows too long ends between two characters, with an ellipsis. */
static void say(struct match_result *result, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct match_result *result, const char *format, ...)
{
    static const char ellipsis[] = "\xe2\x80\xa6";
    char *reason = result->reason;
    size_t size = sizeof(result->reason), used = strlen(reason), end = size - sizeof(ellipsis);
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(reason + used, size - used, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n >= size - used) {
        while (end > 0 && ((unsigned char)reason[end] & 0xc0) == 0x80)
            end--;
        memcpy(reason + end, ellipsis, sizeof(ellipsis));
    }
    for (char *p = reason + used; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
}

static void say_money(struct match_result *result, struct money money)
{
    char text[MONEY_TEXT_SIZE];

    say(result, "%s %s", money_format(money, text), money.currency);
}

/* The i-th of n ids that are told one after the other. */
static void say_item(struct match_result *result, size_t i, size_t n, const char *id)
{
    if (i < LIST_MAX)
        say(result, "%s%s", i > 0 ? ", " : " ", id);
    else if (i == LIST_MAX)
        say(result, " and %zu more", n - LIST_MAX);
}

/* How many, and the earliest of them. */
struct pick {
    size_t n;
    size_t places[LIST_MAX];
};

static void pick_add(struct pick *pick, struct places places)
{
    for (size_t i = 0; i < places.n && i < LIST_MAX; i++) {
        size_t place = places.items[i], k = pick->n + i < LIST_MAX ? pick->n + i : LIST_MAX;

        for (; k > 0 && pick->places[k - 1] > place; k--)
            if (k < LIST_MAX)
                pick->places[k] = pick->places[k - 1];
        if (k < LIST_MAX)
            pick->places[k] = place;
    }
    pick->n += places.n;
}

static void say_pick(const struct matcher *m, const struct pick *pick, struct match_result *result)
{
    for (size_t i = 0; i < pick->n && i <= LIST_MAX; i++)
        say_item(result, i, pick->n, i < LIST_MAX ? id_at(m, pick->places[i]) : "");
}

static void say_agreement(struct match_result *result, unsigned agrees)
{
    if (agrees & AGREES_LAST_FOUR)
        say(result, ", last four");
    if (agrees & AGREES_BIN)
        say(result, ", BIN");
    if (agrees & AGREES_EMAIL)
        say(result, ", e-mail");
}

/* "Sale T carries the order's id": what ties the sale to the order. */
static void say_evidence(const struct matcher *m, const struct match_order *order, enum fit fit,
                         size_t place, struct match_result *result)
{
    const struct match_sale *sale = sale_at(m, place);
    const char *id = id_at(m, place);
    unsigned agrees = 0;
    bool money = false;

    switch (fit) {
    case FIT_CLAIM:
        say(result, "the app reported sale %s for this order", id);
        if (!sale) {
            say(result, "; the ledger has no record of it yet");
            break;
        }
        for (size_t i = 0; i < order->n_attempts; i++)
            money = money || money_agrees(&order->attempts[i], sale);
        if (!money) {
            say(result, ", though with another amount, ");
            say_money(result, sale->amount);
        }
        break;
    case FIT_REFERENCE:
        say(result, "sale %s carries this order's id, and nothing in it disagrees", id);
        break;
    case FIT_IDENTITY:
        compare_attempts(order->attempts, order->n_attempts, sale, true, &agrees);
        say(result, "sale %s agrees in amount, time", id);
        say_agreement(result, agrees);
        break;
    case FIT_AMOUNT:
        say(result, "sale %s agrees in amount and time, and nothing else can be compared", id);
        break;
    case FIT_NOT_A_SALE:
    case FIT_CLAIMED_BY_OTHER:
    case FIT_OTHER_REFERENCE:
    case FIT_CURRENCY:
    case FIT_MONEY:
    case FIT_TIME:
    case FIT_LAST_FOUR:
    case FIT_BIN:
    case FIT_BRAND:
    case FIT_EMAIL:
    case FIT_COUNT:
        break;
    }
    if (!sale)
        return;
    if (sale->voided) {
        say(result, "; it was voided");
    } else if (sale->returned_minor > 0) {
        struct money returned = sale->amount;

        returned.minor = sale->returned_minor;
        say(result, sale_reversed(sale) ? "; returned in full: " : "; returned in part: ");
        say_money(result, returned);
    }
}

/* --- verdicts -----------------------------------------------------------------------------------
 *
 * A *decisive* sale is one that is the order's own and nobody else's: by claim or reference, and by
 * identity too when the app reports every sale it knows. A sale is *live* until it is voided or
 * returned in full. A sale that agrees in nothing but amount and time is no candidate of an order
 * that has a live one by claim or reference. The first row that holds decides:
 *
 *  a  a person decided                                     as decided
 *  b  two or more live sales by claim or reference         double_charged
 *  c  a claim that cannot be granted                       doubt
 *  d  no eligible sale                                     absence: not_charged, pending or doubt
 *  e  some maximum assignment leaves the order out         doubt (contested)
 *  f  its component has no other order:
 *       a sale by amount alone, and that may not decide    doubt, unless those are all reversed
 *                                                          beside a live decisive one
 *       one sale                                           charged or reversed
 *       all live ones are decisive: two or more, one, none double_charged, charged, reversed
 *       else                                               doubt
 *  g  its component has other orders:
 *       a sale by amount alone, and that may not decide    doubt
 *       one live sale by claim or reference                charged
 *       all its sales are live, or all reversed            charged, reversed
 *       else                                               doubt
 *
 * and unless the order is charged by claim or reference, or doubly, a record that carries its id
 * and is not eligible makes it a doubt; so does a sale given to it that the API does not show any
 * more. An order that seems reversed is pending while an attempt is not accounted for, and a doubt
 * when a live sale is eligible for it. Doubt is needs_review, and pending until the grace is over.
 *
 * Rows e to g rest on the decomposition of the graph of orders and eligible sales by Dulmage and
 * Mendelsohn. An order is left out by some maximum assignment if and only if an alternating path
 * leads to it from an order that has none in any one maximum assignment. An edge belongs to some
 * maximum assignment if and only if it is in that one, or on an even alternating path from an
 * exposed vertex, or on an alternating cycle; what such edges connect is a component, and every
 * maximum assignment is made of one for each component, chosen independently. So a sale outside
 * of an order's component never is that order's, though it be eligible: another order needs it. */

/* One of a link's sales. */
struct choice {
    struct link *link;
    size_t place;
};

struct tally {
    struct pick all;      /* sales in question */
    size_t live;          /* of which live, */
    size_t live_decisive; /* and decisive */
    struct pick amount;   /* by amount alone */
    bool live_amount;
    struct choice strong;   /* the first live one by claim or reference */
    struct choice best;     /* the first of the surest rule */
    struct choice decisive; /* the first live decisive one */
};

static bool decisive(const struct matcher *m, const struct link *link)
{
    return strong(link) || (link->fit == FIT_IDENTITY && m->input->settings.claims_complete);
}

/* `choice` becomes the link's first admissible sale if that is earlier. */
static void choose_earlier(struct choice *choice, struct link *link)
{
    if (!choice->link || link->admissible.items[0] < choice->place)
        *choice = (struct choice){link, link->admissible.items[0]};
}

static struct tally count_admissible(const struct matcher *m, const struct order_place *o)
{
    struct tally tally = {0};

    for (size_t k = o->links; k < o->links_end; k++) {
        struct link *link = &m->links[k];
        size_t n = link->admissible.n;

        if (n == 0)
            continue;
        pick_add(&tally.all, link->admissible);
        if (link->fit == FIT_AMOUNT)
            pick_add(&tally.amount, link->admissible);
        if (!tally.best.link || link->fit == tally.best.link->fit)
            choose_earlier(&tally.best, link);
        if (!link->live)
            continue;
        tally.live += n;
        tally.live_amount = tally.live_amount || link->fit == FIT_AMOUNT;
        if (strong(link))
            choose_earlier(&tally.strong, link);
        if (decisive(m, link)) {
            tally.live_decisive += n;
            choose_earlier(&tally.decisive, link);
        }
    }
    return tally;
}

static void give(const struct matcher *m, struct choice choice, enum verdict verdict,
                 struct match_result *result)
{
    static const enum rule rules[] = {[FIT_CLAIM] = RULE_CLAIM,
                                      [FIT_REFERENCE] = RULE_REFERENCE,
                                      [FIT_IDENTITY] = RULE_IDENTITY,
                                      [FIT_AMOUNT] = RULE_AMOUNT};
    const struct places *places = &choice.link->admissible;

    choice.link->assigned = (struct places){&places->items[find_place(*places, choice.place)], 1};
    result->verdict = verdict;
    result->rule = rules[choice.link->fit];
    copy_text(result->transaction_id, sizeof(result->transaction_id), id_at(m, choice.place));
}

static int64_t grace_end(const struct matcher *m, const struct order_place *o)
{
    return add_time(o->last, m->input->settings.absence_grace);
}

/* The caller says why. */
static void doubt(const struct matcher *m, struct order_place *o, struct match_result *result)
{
    char text[TIMESTAMP_TEXT_SIZE];

    o->doubted = true;
    if (m->input->now >= grace_end(m, o)) {
        result->verdict = VERDICT_NEEDS_REVIEW;
        return;
    }
    result->verdict = VERDICT_PENDING;
    say(result, "held until %s: ", timestamp_format(grace_end(m, o), text));
}

static void assign_none(struct matcher *m, const struct order_place *o)
{
    for (size_t k = o->links; k < o->links_end; k++)
        m->links[k].assigned = (struct places){0};
}

static void decide_by_person(struct matcher *m, size_t order, struct match_result *result)
{
    const struct match_resolution *resolution = m->orders[order]->resolution;
    const struct order_place *o = &m->order_places[order];

    result->verdict = resolution->verdict;
    result->rule = RULE_PERSON;
    say(result, "a person decided: %s", given(resolution->note) ? resolution->note : "no note");
    if (!given(resolution->transaction_id))
        return;
    copy_text(result->transaction_id, sizeof(result->transaction_id), resolution->transaction_id);
    for (size_t k = o->links; k < o->links_end; k++) {
        struct link *link = &m->links[k];

        if (strcmp(id_at(m, only(m, link)), resolution->transaction_id) == 0)
            link->assigned = (struct places){&m->lists[link->begin], 1};
    }
}

/* All live sales by claim or reference are the order's, and when no other order is concerned all
 * other decisive ones too. The weakest of their rules is the verdict's. */
static void decide_double(struct matcher *m, size_t order, bool alone, struct match_result *result)
{
    const struct order_place *o = &m->order_places[order];
    struct pick pick = {0};
    struct choice weakest = {0};
    size_t missing = 0;

    for (size_t k = o->links; k < o->links_end; k++) {
        struct link *link = &m->links[k];

        if (link->admissible.n == 0 || !link->live ||
            !(strong(link) || (alone && decisive(m, link))))
            continue;
        pick_add(&pick, link->admissible);
        weakest = (struct choice){link, link->admissible.items[0]};
        missing += !sale_at(m, link->admissible.items[0]);
    }
    give(m, weakest, VERDICT_DOUBLE_CHARGED, result);
    for (size_t k = o->links; k < o->links_end; k++) {
        struct link *link = &m->links[k];

        if (link->live && (strong(link) || (alone && decisive(m, link))))
            link->assigned = link->admissible;
    }
    copy_text(result->transaction_id, sizeof(result->transaction_id), id_at(m, pick.places[0]));
    say(result, "this order has %zu sales, each by %s or surer:", pick.n,
        fit_text(weakest.link->fit));
    say_pick(m, &pick, result);
    /* When a record comes the verdict is another, with one more of its sales on record. */
    if (missing > 0)
        say(result, "; of %zu the ledger has no record yet", missing);
}

static bool has_claim_conflict(const struct matcher *m, const struct order_place *o)
{
    for (size_t k = o->links; k < o->links_end; k++)
        if (m->links[k].claim_conflict)
            return true;
    return false;
}

static void doubt_claims(struct matcher *m, size_t order, struct match_result *result)
{
    struct order_place *o = &m->order_places[order];
    const char *separator = "";

    doubt(m, o, result);
    for (size_t k = o->links; k < o->links_end; k++) {
        const struct link *link = &m->links[k];
        const char *id = id_at(m, only(m, link)), *other;
        bool claimed;

        if (!link->claim_conflict)
            continue;
        say(result, "%sthe app reported transaction %s for this order, but ", separator, id);
        separator = "; ";
        if (link->fit == FIT_NOT_A_SALE) {
            say(result, "it is not a settled sale");
            continue;
        }
        other = find_claimants(m, id, m->orders[order]->id, &claimed);
        say(result, "it is also that of order %s",
            other ? other : sale_at(m, only(m, link))->sealed_for);
    }
}

static void decide_absence(struct matcher *m, size_t order, struct match_result *result)
{
    struct order_place *o = &m->order_places[order];
    enum absence absence = m->orders[order]->absence;
    char from_text[TIMESTAMP_TEXT_SIZE], to_text[TIMESTAMP_TEXT_SIZE], end[TIMESTAMP_TEXT_SIZE];
    int64_t from, to;

    match_window(m->orders[order], &m->input->settings, &from, &to);
    timestamp_format(from, from_text);
    timestamp_format(to, to_text);
    switch (absence) {
    case ABSENCE_PROVEN:
    case ABSENCE_STANDS:
        if (absence == ABSENCE_STANDS || m->input->now > grace_end(m, o)) {
            result->verdict = VERDICT_NOT_CHARGED;
            result->rule = RULE_ABSENCE;
            say(result, "no sale fits, and the ledger is complete from %s to %s", from_text,
                to_text);
        } else {
            say(result, "no sale fits so far, and absence is not said before %s",
                timestamp_format(grace_end(m, o), end));
        }
        break;
    case ABSENCE_BLOCKED:
        doubt(m, o, result);
        say(result, "no sale fits, but a record that could not be understood may lie in %s to %s",
            from_text, to_text);
        break;
    case ABSENCE_UNPROVEN:
        say(result, "no sale fits so far, and the ledger is not yet complete from %s to %s",
            from_text, to_text);
        break;
    }
}

static void doubt_contested(struct matcher *m, size_t order, struct match_result *result)
{
    const struct assignment *a = &m->assignment;
    struct order_place *o = &m->order_places[order];
    size_t c = a->component[order], n_left = a->components[c].n_left, i = 0;
    struct tally tally = count_admissible(m, o);

    doubt(m, o, result);
    say(result, "contested: %zu orders have %zu sale%s between them; this order fits", n_left,
        a->components[c].n_right, a->components[c].n_right == 1 ? "" : "s");
    say_pick(m, &tally.all, result);
    say(result, ", and the other orders are");
    for (size_t k = m->members_of[c]; k < m->members_of[c + 1] && i <= LIST_MAX; k++)
        if (m->members[k] != order)
            say_item(result, i++, n_left - 1, m->orders[m->members[k]]->id);
}

static void doubt_amount(struct matcher *m, size_t order, const struct pick *sales,
                         struct match_result *result)
{
    doubt(m, &m->order_places[order], result);
    say(result, "nothing but amount and time can be compared for sale%s", sales->n > 1 ? "s" : "");
    say_pick(m, sales, result);
}

static void decide_alone(struct matcher *m, size_t order, struct match_result *result)
{
    const struct match_settings *settings = &m->input->settings;
    struct order_place *o = &m->order_places[order];
    struct tally tally = count_admissible(m, o);
    struct choice choice = tally.best;

    if (tally.amount.n > 0 && !settings->accept_amount_only &&
        (tally.live_amount || tally.live_decisive == 0)) {
        doubt_amount(m, order, &tally.amount, result);
        return;
    }
    if (tally.all.n > 1 && tally.live > tally.live_decisive) {
        doubt(m, o, result);
        say(result, "%zu sales fit this order, and which of them are its own is not certain%s:",
            tally.all.n,
            settings->claims_complete ? "" : ", for the app does not report every sale");
        say_pick(m, &tally.all, result);
        return;
    }
    if (tally.live_decisive >= 2) {
        decide_double(m, order, true, result);
        return;
    }
    if (tally.decisive.link)
        choice = tally.decisive;
    give(m, choice, tally.live > 0 ? VERDICT_CHARGED : VERDICT_REVERSED, result);
    say_evidence(m, m->orders[order], choice.link->fit, choice.place, result);
}

/* The link that holds the sale which the assignment chose for the order. */
static struct choice find_chosen(const struct matcher *m, size_t order)
{
    const struct order_place *o = &m->order_places[order];
    size_t place = m->assignment.chosen[order];

    for (size_t k = o->links; k < o->links_end; k++)
        if (find_place(m->links[k].admissible, place) != NONE)
            return (struct choice){&m->links[k], place};
    return (struct choice){0};
}

static void decide_shared(struct matcher *m, size_t order, struct match_result *result)
{
    const struct assignment *a = &m->assignment;
    const struct assignment_component *component = &a->components[a->component[order]];
    struct order_place *o = &m->order_places[order];
    struct tally tally = count_admissible(m, o);
    struct choice choice = find_chosen(m, order);

    if (tally.amount.n > 0 && !m->input->settings.accept_amount_only) {
        doubt_amount(m, order, &tally.amount, result);
        return;
    }
    if (tally.strong.link) {
        choice = tally.strong;
    } else if (tally.live > 0 && tally.live < tally.all.n) {
        doubt(m, o, result);
        say(result,
            "%zu sales fit this order and others, some of which were reversed:", tally.all.n);
        say_pick(m, &tally.all, result);
        return;
    }
    give(m, choice, tally.live > 0 ? VERDICT_CHARGED : VERDICT_REVERSED, result);
    say_evidence(m, m->orders[order], choice.link->fit, choice.place, result);
    say(result,
        "; %zu orders and %zu sales fit one another, and however they are paired this order has "
        "one, by time this",
        component->n_left, component->n_right);
    if (component->n_right > component->n_left)
        say(result, "; surplus sales: %zu", component->n_right - component->n_left);
}

/* A record with the order's own id that is not its sale: something is wrong that a person should
 * see, unless the sale is certain without it. */
static void weigh_references(struct matcher *m, size_t order, struct match_result *result)
{
    struct order_place *o = &m->order_places[order];
    bool certain = result->verdict == VERDICT_DOUBLE_CHARGED ||
                   (result->verdict == VERDICT_CHARGED &&
                    (result->rule == RULE_CLAIM || result->rule == RULE_REFERENCE));
    const char *separator = "; ";

    for (size_t k = o->links; k < o->links_end; k++) {
        const struct link *link = &m->links[k];

        if (!link->reference_conflict)
            continue;
        if (!certain && !o->doubted) {
            *result = (struct match_result){0};
            assign_none(m, o);
            doubt(m, o, result);
            separator = "";
        }
        say(result, "%ssale %s carries this order's id, but: %s", separator,
            id_at(m, only(m, link)), fit_text(link->fit));
        if (link->fit == FIT_CURRENCY || link->fit == FIT_MONEY) {
            say(result, ", ");
            say_money(result, sale_at(m, only(m, link))->amount);
        }
        separator = "; ";
    }
}

/* A verdict that rests on a record which the API has taken back is a person's. */
static void weigh_vanished(struct matcher *m, size_t order, struct match_result *result)
{
    struct order_place *o = &m->order_places[order];
    size_t gone = NONE;

    for (size_t k = o->links; k < o->links_end; k++)
        for (size_t i = 0; i < m->links[k].assigned.n; i++) {
            size_t place = m->links[k].assigned.items[i];
            const struct match_sale *sale = sale_at(m, place);

            if (sale && sale->vanished && place < gone)
                gone = place;
        }
    if (gone == NONE)
        return;
    *result = (struct match_result){0};
    assign_none(m, o);
    doubt(m, o, result);
    say(result, "sale %s fits, but the API does not show it any more", id_at(m, gone));
}

/* A reversed sale is leave to charge again only when no other sale can be the order's. A call of
 * cardSale charges once at most, so that one attempt is accounted for by its reversed sale. What
 * more was attempted (a claimed sale is of a call that succeeded, and accounts for none whose
 * outcome is unknown) has to be absent as for not_charged. */
static void weigh_reversal(struct matcher *m, size_t i, struct match_result *result)
{
    const struct match_order *order = m->orders[i];
    struct order_place *o = &m->order_places[i];
    const struct link *live = NULL;
    size_t accounted = 0;

    if (result->verdict != VERDICT_REVERSED)
        return;
    for (size_t k = o->links; k < o->links_end; k++) {
        const struct link *link = &m->links[k];

        if (!fit_eligible(link->fit))
            continue;
        if (link->live)
            live = live ? live : link;
        else if (link->fit != FIT_CLAIM && (order->n_attempts == 1 || decisive(m, link)))
            accounted += link->end - link->begin;
    }
    if (!live && (accounted >= order->n_attempts || order->absence == ABSENCE_PROVEN ||
                  order->absence == ABSENCE_STANDS))
        return;
    *result = (struct match_result){0};
    assign_none(m, o);
    if (live || order->absence == ABSENCE_BLOCKED)
        doubt(m, o, result);
    if (live)
        say(result, "a sale that fits was reversed, but %s fits too, and was not",
            id_at(m, only(m, live)));
    else
        say(result,
            "a sale that fits was reversed, but whether another attempt charged is not "
            "known%s",
            order->absence == ABSENCE_BLOCKED ? ": a record could not be understood" : " yet");
}

void judge_order(struct matcher *m, size_t order, struct match_result *result)
{
    struct order_place *o = &m->order_places[order];
    const struct assignment *a = &m->assignment;
    bool alone = a->components[a->component[order]].n_left == 1;
    size_t live_strong = 0, eligible = 0;

    if (m->orders[order]->resolution) {
        decide_by_person(m, order, result);
        return;
    }
    for (size_t k = o->links; k < o->links_end; k++) {
        eligible += fit_eligible(m->links[k].fit);
        live_strong += strong(&m->links[k]) && m->links[k].live;
    }
    if (live_strong >= 2)
        decide_double(m, order, alone, result);
    else if (has_claim_conflict(m, o))
        doubt_claims(m, order, result);
    else if (eligible == 0)
        decide_absence(m, order, result);
    else if (!assignment_certain(a, order))
        doubt_contested(m, order, result);
    else if (alone)
        decide_alone(m, order, result);
    else
        decide_shared(m, order, result);
    weigh_references(m, order, result);
    weigh_vanished(m, order, result);
    weigh_reversal(m, order, result);
}
