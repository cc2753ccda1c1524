#include "core/match.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "core/assignment.h"
#include "core/timestamp.h"

#define NONE SIZE_MAX

enum {
    LIST_MAX = 4, /* ids that a reason lists before it counts */
    BIN_COMMON_MIN = 6,
};

/* What was compared equal, beyond amount and time. */
enum {
    AGREES_LAST_FOUR = 1 << 0,
    AGREES_BIN = 1 << 1,
    AGREES_EMAIL = 1 << 2,
};

const char *fit_text(enum fit fit)
{
    switch (fit) {
    case FIT_CLAIM:
        return "claim";
    case FIT_REFERENCE:
        return "reference";
    case FIT_IDENTITY:
        return "identity";
    case FIT_AMOUNT:
        return "amount";
    case FIT_NOT_A_SALE:
        return "not a settled sale";
    case FIT_CLAIMED_BY_OTHER:
        return "belongs to another order";
    case FIT_OTHER_REFERENCE:
        return "carries another order's id";
    case FIT_CURRENCY:
        return "currency differs";
    case FIT_MONEY:
        return "amount differs";
    case FIT_TIME:
        return "outside the window";
    case FIT_LAST_FOUR:
        return "last four differ";
    case FIT_BIN:
        return "BIN differs";
    case FIT_BRAND:
        return "brand differs";
    case FIT_EMAIL:
        return "e-mail differs";
    case FIT_COUNT:
        break;
    }
    return "";
}

/* --- one order, one sale ---------------------------------------------------------------------- */

static bool given(const char *text)
{
    return text && *text;
}

static int64_t add_time(int64_t at, int64_t duration)
{
    int64_t sum;

    if (__builtin_add_overflow(at, duration, &sum))
        return duration < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

static void attempts_span(const struct match_order *order, int64_t *ret_first, int64_t *ret_last)
{
    int64_t first = order->attempts[0].at, last = first;

    for (size_t i = 1; i < order->n_attempts; i++) {
        if (order->attempts[i].at < first)
            first = order->attempts[i].at;
        if (order->attempts[i].at > last)
            last = order->attempts[i].at;
    }
    *ret_first = first;
    *ret_last = last;
}

void match_window(const struct match_order *order, const struct match_settings *settings,
                  int64_t *ret_from, int64_t *ret_to)
{
    int64_t first, last;

    attempts_span(order, &first, &last);
    *ret_from = add_time(first, -settings->before);
    *ret_to = add_time(last, settings->after);
}

static bool in_window(const struct match_order *order, const struct match_sale *sale,
                      bool referenced, const struct match_settings *settings)
{
    struct match_settings wide = *settings;
    int64_t from, to;

    if (referenced && wide.before < wide.late_watch)
        wide.before = wide.late_watch;
    if (referenced && wide.after < wide.late_watch)
        wide.after = wide.late_watch;
    match_window(order, &wide, &from, &to);
    return from <= sale->at && sale->at <= to;
}

static bool money_agrees(const struct match_attempt *attempt, const struct match_sale *sale)
{
    return money_equal(attempt->amount, sale->amount) || money_equal(attempt->amount, sale->net);
}

/* The first thing in the order of `enum fit` that does not agree with the attempt, or FIT_COUNT. */
static enum fit first_refusal(const struct match_attempt *attempt, const struct match_sale *sale,
                              bool timely, unsigned *ret_agrees)
{
    const struct card *a = &attempt->card, *b = &sale->card;
    size_t bin = strnlen(a->bin, sizeof(a->bin)), other_bin = strnlen(b->bin, sizeof(b->bin));
    unsigned agrees = 0;

    if (strcmp(attempt->amount.currency, sale->amount.currency) != 0)
        return FIT_CURRENCY;
    if (!money_agrees(attempt, sale))
        return FIT_MONEY;
    if (!timely)
        return FIT_TIME;
    if (*a->last_four && *b->last_four) {
        if (strcmp(a->last_four, b->last_four) != 0)
            return FIT_LAST_FOUR;
        agrees |= AGREES_LAST_FOUR;
    }
    /* A BIN has six to eight digits, of which a longer form only says more. */
    if (other_bin < bin)
        bin = other_bin;
    if (bin >= BIN_COMMON_MIN) {
        if (memcmp(a->bin, b->bin, bin) != 0)
            return FIT_BIN;
        agrees |= AGREES_BIN;
    }
    /* Half of all cards share a brand: it can contradict, but it identifies nobody. */
    if (*a->brand && *b->brand && !text_equal_nocase(a->brand, b->brand))
        return FIT_BRAND;
    if (*a->email_hash && *b->email_hash) {
        if (strcmp(a->email_hash, b->email_hash) != 0)
            return FIT_EMAIL;
        agrees |= AGREES_EMAIL;
    }
    *ret_agrees |= agrees;
    return FIT_COUNT;
}

/* FIT_COUNT when the sale agrees with an attempt; `ret_agrees` then holds what was equal in those
 * with which it does. Else the refusal of the attempt that agrees furthest. */
static enum fit compare_attempts(const struct match_order *order, const struct match_sale *sale,
                                 bool referenced, const struct match_settings *settings,
                                 unsigned *ret_agrees)
{
    bool timely = in_window(order, sale, referenced, settings);
    enum fit furthest = FIT_CURRENCY;

    *ret_agrees = 0;
    for (size_t i = 0; i < order->n_attempts; i++) {
        enum fit refusal = first_refusal(&order->attempts[i], sale, timely, ret_agrees);

        if (refusal > furthest)
            furthest = refusal;
    }
    return furthest;
}

enum fit match_fit(const struct match_order *order, const struct match_sale *sale,
                   bool claimed_by_order, bool claimed_by_other,
                   const struct match_settings *settings)
{
    bool referenced = given(sale->order_ref) && strcmp(sale->order_ref, order->id) == 0;
    unsigned agrees;
    enum fit refusal;

    if (!sale->is_sale)
        return FIT_NOT_A_SALE;
    if (claimed_by_other || (given(sale->sealed_for) && strcmp(sale->sealed_for, order->id) != 0))
        return FIT_CLAIMED_BY_OTHER;
    if (claimed_by_order)
        return FIT_CLAIM;
    if (given(sale->order_ref) && !referenced)
        return FIT_OTHER_REFERENCE;
    refusal = compare_attempts(order, sale, referenced, settings, &agrees);
    if (refusal != FIT_COUNT)
        return refusal;
    if (referenced)
        return FIT_REFERENCE;
    return agrees ? FIT_IDENTITY : FIT_AMOUNT;
}

/* --- the matcher's view of its input ------------------------------------------------------------
 * Everything is brought into an order of its own first (orders by first attempt and id, sales by
 * time and id), and called by its place in it from then on: that makes the result independent of
 * the order of the input. */

struct sale_place {
    const struct match_sale *sale;
    size_t input;
};

struct order_place {
    const struct match_order *order;
    size_t input;
    int64_t first, last;
    size_t links, links_end;
    bool doubted; /* the verdict is for a person, now or when the grace is over */
};

/* Where a text is found. */
struct text_key {
    const char *text;
    size_t place;
};

struct money_key {
    struct money money;
    int64_t at;
    size_t place;
};

/* An order and a sale that is eligible for it or in conflict with it. */
struct link {
    size_t sale; /* place; from n_sales on, a claim whose sale is not in the input */
    enum fit fit;
    bool reference_conflict, claim_conflict;
    bool admissible; /* some maximum assignment has it */
    bool assigned;
};

struct matcher {
    const struct match_input *input;
    struct sale_place *sales;
    struct order_place *orders;
    struct text_key *sales_by_id, *sales_by_reference;
    size_t n_references;
    struct match_claim *claims;         /* and resolutions; by order, then transaction; each once */
    struct match_claim *claims_by_sale; /* the same by transaction, then order */
    size_t n_claims;
    struct money_key *sales_by_money; /* those that no claim or reference speaks for */
    size_t n_money;
    struct link *links; /* by order; of one order by sale */
    size_t n_links, allocated;
    struct assignment assignment; /* left: orders; right: sales, then claims */
    size_t *edge_link;            /* the link that an edge of it stands for */
    size_t *members, *members_of; /* component c is orders members[members_of[c]] .. of [c + 1] */
};

static void matcher_clear(struct matcher *m)
{
    free(m->sales);
    free(m->orders);
    free(m->sales_by_id);
    free(m->sales_by_reference);
    free(m->claims);
    free(m->claims_by_sale);
    free(m->sales_by_money);
    free(m->links);
    free(m->edge_link);
    free(m->members);
    free(m->members_of);
    assignment_clear(&m->assignment);
}

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

static int compare_sales(const void *left, const void *right)
{
    const struct sale_place *a = left, *b = right;
    int r = COMPARE(a->sale->at, b->sale->at);

    return r ? r : strcmp(a->sale->id, b->sale->id);
}

static int compare_orders(const void *left, const void *right)
{
    const struct order_place *a = left, *b = right;
    int r = COMPARE(a->first, b->first);

    return r ? r : strcmp(a->order->id, b->order->id);
}

static int compare_texts(const void *left, const void *right)
{
    const struct text_key *a = left, *b = right;
    int r = strcmp(a->text, b->text);

    return r ? r : COMPARE(a->place, b->place);
}

static int compare_claims(const void *left, const void *right)
{
    const struct match_claim *a = left, *b = right;
    int r = strcmp(a->order_id, b->order_id);

    return r ? r : strcmp(a->transaction_id, b->transaction_id);
}

static int compare_claims_by_sale(const void *left, const void *right)
{
    const struct match_claim *a = left, *b = right;
    int r = strcmp(a->transaction_id, b->transaction_id);

    return r ? r : strcmp(a->order_id, b->order_id);
}

static int compare_money(const void *left, const void *right)
{
    const struct money_key *a = left, *b = right;
    int r = strcmp(a->money.currency, b->money.currency);

    if (!r)
        r = COMPARE(a->money.minor, b->money.minor);
    if (!r)
        r = COMPARE(a->at, b->at);
    return r ? r : COMPARE(a->place, b->place);
}

static int compare_links(const void *left, const void *right)
{
    const struct link *a = left, *b = right;

    return COMPARE(a->sale, b->sale);
}

/* The first of `n` sorted items that does not come before `key`. */
static size_t lower_bound(const void *items, size_t n, size_t size, const void *key,
                          int (*compare)(const void *, const void *))
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare((const char *)items + middle * size, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void sort(void *items, size_t n, size_t size, int (*compare)(const void *, const void *))
{
    if (n > 1)
        qsort(items, n, size, compare);
}

static size_t find_text(const struct text_key *keys, size_t n, const char *text)
{
    return lower_bound(keys, n, sizeof(*keys), &(struct text_key){.text = text}, compare_texts);
}

/* The place of the sale with this id, or NONE. */
static size_t find_sale(const struct matcher *m, const char *id)
{
    size_t i = find_text(m->sales_by_id, m->input->n_sales, id);

    if (i == m->input->n_sales || strcmp(m->sales_by_id[i].text, id) != 0)
        return NONE;
    return m->sales_by_id[i].place;
}

/* Who else than `order_id` the sale is claimed for, or NULL; whether it is for `order_id`. */
static const char *find_claimants(const struct matcher *m, const char *transaction_id,
                                  const char *order_id, bool *ret_claimed_by_order)
{
    const struct match_claim key = {.transaction_id = transaction_id, .order_id = ""};
    const char *other = NULL;

    *ret_claimed_by_order = false;
    for (size_t i =
             lower_bound(m->claims_by_sale, m->n_claims, sizeof(key), &key, compare_claims_by_sale);
         i < m->n_claims && strcmp(m->claims_by_sale[i].transaction_id, transaction_id) == 0; i++) {
        if (strcmp(m->claims_by_sale[i].order_id, order_id) == 0)
            *ret_claimed_by_order = true;
        else if (!other)
            other = m->claims_by_sale[i].order_id;
    }
    return other;
}

static int place_orders(struct matcher *m)
{
    const struct match_input *input = m->input;
    _cleanup_free_ struct text_key *ids = calloc(input->n_orders + 1, sizeof(*ids));

    m->orders = calloc(input->n_orders + 1, sizeof(*m->orders));
    if (!ids || !m->orders)
        return -ENOMEM;
    for (size_t i = 0; i < input->n_orders; i++) {
        struct order_place *o = &m->orders[i];

        *o = (struct order_place){.order = &input->orders[i], .input = i};
        if (o->order->n_attempts == 0)
            return -EINVAL;
        attempts_span(o->order, &o->first, &o->last);
        ids[i] = (struct text_key){.text = o->order->id, .place = i};
    }
    sort(m->orders, input->n_orders, sizeof(*m->orders), compare_orders);
    sort(ids, input->n_orders, sizeof(*ids), compare_texts);
    for (size_t i = 1; i < input->n_orders; i++)
        if (strcmp(ids[i - 1].text, ids[i].text) == 0)
            return -EINVAL;
    return 0;
}

static int place_sales(struct matcher *m)
{
    const struct match_input *input = m->input;

    m->sales = calloc(input->n_sales + 1, sizeof(*m->sales));
    m->sales_by_id = calloc(input->n_sales + 1, sizeof(*m->sales_by_id));
    m->sales_by_reference = calloc(input->n_sales + 1, sizeof(*m->sales_by_reference));
    if (!m->sales || !m->sales_by_id || !m->sales_by_reference)
        return -ENOMEM;
    for (size_t i = 0; i < input->n_sales; i++)
        m->sales[i] = (struct sale_place){.sale = &input->sales[i], .input = i};
    sort(m->sales, input->n_sales, sizeof(*m->sales), compare_sales);
    for (size_t i = 0; i < input->n_sales; i++) {
        const struct match_sale *sale = m->sales[i].sale;

        m->sales_by_id[i] = (struct text_key){.text = sale->id, .place = i};
        if (given(sale->order_ref))
            m->sales_by_reference[m->n_references++] =
                (struct text_key){.text = sale->order_ref, .place = i};
    }
    sort(m->sales_by_id, input->n_sales, sizeof(*m->sales_by_id), compare_texts);
    sort(m->sales_by_reference, m->n_references, sizeof(*m->sales_by_reference), compare_texts);
    for (size_t i = 1; i < input->n_sales; i++)
        if (strcmp(m->sales_by_id[i - 1].text, m->sales_by_id[i].text) == 0)
            return -EINVAL;
    return 0;
}

/* A person's word for a sale takes it from other orders just as a claim does. */
static int place_claims(struct matcher *m)
{
    const struct match_input *input = m->input;
    size_t n = 0;

    m->claims = calloc(input->n_claims + input->n_orders + 1, sizeof(*m->claims));
    m->claims_by_sale = calloc(input->n_claims + input->n_orders + 1, sizeof(*m->claims_by_sale));
    if (!m->claims || !m->claims_by_sale)
        return -ENOMEM;
    for (size_t i = 0; i < input->n_claims; i++)
        m->claims[n++] = input->claims[i];
    for (size_t i = 0; i < input->n_orders; i++) {
        const struct match_resolution *resolution = input->orders[i].resolution;

        if (resolution && given(resolution->transaction_id))
            m->claims[n++] = (struct match_claim){.transaction_id = resolution->transaction_id,
                                                  .order_id = input->orders[i].id};
    }
    sort(m->claims, n, sizeof(*m->claims), compare_claims);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || compare_claims(&m->claims[m->n_claims - 1], &m->claims[i]) != 0)
            m->claims[m->n_claims++] = m->claims[i];
    memcpy(m->claims_by_sale, m->claims, m->n_claims * sizeof(*m->claims));
    sort(m->claims_by_sale, m->n_claims, sizeof(*m->claims), compare_claims_by_sale);
    return 0;
}

/* An index of the sales that only their own evidence may give to an order. */
static int place_money(struct matcher *m)
{
    m->sales_by_money = calloc(2 * m->input->n_sales + 1, sizeof(*m->sales_by_money));
    if (!m->sales_by_money)
        return -ENOMEM;
    for (size_t i = 0; i < m->input->n_sales; i++) {
        const struct match_sale *sale = m->sales[i].sale;
        bool claimed;

        if (!sale->is_sale || given(sale->order_ref) || find_claimants(m, sale->id, "", &claimed))
            continue;
        m->sales_by_money[m->n_money++] =
            (struct money_key){.money = sale->amount, .at = sale->at, .place = i};
        if (!money_equal(sale->amount, sale->net))
            m->sales_by_money[m->n_money++] =
                (struct money_key){.money = sale->net, .at = sale->at, .place = i};
    }
    sort(m->sales_by_money, m->n_money, sizeof(*m->sales_by_money), compare_money);
    return 0;
}

/* --- links ------------------------------------------------------------------------------------ */

static int add_link(struct matcher *m, size_t sale)
{
    if (m->n_links == m->allocated) {
        size_t n = m->allocated ? 2 * m->allocated : 64;
        struct link *links = reallocarray(m->links, n, sizeof(*links));

        if (!links)
            return -ENOMEM;
        m->links = links;
        m->allocated = n;
    }
    m->links[m->n_links++] = (struct link){.sale = sale};
    return 0;
}

static int add_sales_by_money(struct matcher *m, const struct order_place *o, struct money money)
{
    struct money_key key = {.money = money};
    int64_t to;
    int r;

    match_window(o->order, &m->input->settings, &key.at, &to);
    for (size_t i = lower_bound(m->sales_by_money, m->n_money, sizeof(key), &key, compare_money);
         i < m->n_money; i++) {
        const struct money_key *found = &m->sales_by_money[i];

        if (!money_equal(found->money, money) || found->at > to)
            break;
        r = add_link(m, found->place);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Every sale that could be eligible or in conflict, some of them twice. */
static int add_links(struct matcher *m, const struct order_place *o)
{
    const char *id = o->order->id;
    const struct match_claim key = {.transaction_id = "", .order_id = id};
    int r;

    for (size_t i = find_text(m->sales_by_reference, m->n_references, id);
         i < m->n_references && strcmp(m->sales_by_reference[i].text, id) == 0; i++) {
        r = add_link(m, m->sales_by_reference[i].place);
        if (r < 0)
            return r;
    }
    for (size_t i = lower_bound(m->claims, m->n_claims, sizeof(key), &key, compare_claims);
         i < m->n_claims && strcmp(m->claims[i].order_id, id) == 0; i++) {
        size_t sale = find_sale(m, m->claims[i].transaction_id);

        r = add_link(m, sale == NONE ? m->input->n_sales + i : sale);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < o->order->n_attempts; i++) {
        r = add_sales_by_money(m, o, o->order->attempts[i].amount);
        if (r < 0)
            return r;
    }
    return 0;
}

static const struct match_sale *link_sale(const struct matcher *m, const struct link *link)
{
    return link->sale < m->input->n_sales ? m->sales[link->sale].sale : NULL;
}

static const char *link_id(const struct matcher *m, const struct link *link)
{
    const struct match_sale *sale = link_sale(m, link);

    return sale ? sale->id : m->claims[link->sale - m->input->n_sales].transaction_id;
}

static void judge_link(const struct matcher *m, const struct match_order *order, struct link *link)
{
    const struct match_sale *sale = link_sale(m, link);
    bool claimed, claimed_by_other;

    claimed_by_other = find_claimants(m, link_id(m, link), order->id, &claimed);
    if (!sale) {
        link->fit = claimed_by_other ? FIT_CLAIMED_BY_OTHER : FIT_CLAIM;
    } else {
        link->fit = match_fit(order, sale, claimed, claimed_by_other, &m->input->settings);
        link->reference_conflict = sale->is_sale && given(sale->order_ref) &&
                                   strcmp(sale->order_ref, order->id) == 0 &&
                                   !fit_eligible(link->fit);
    }
    link->claim_conflict = claimed && !fit_eligible(link->fit);
}

static bool reversed(const struct match_sale *sale)
{
    return sale &&
           (sale->voided || (sale->amount.minor > 0 && sale->returned_minor >= sale->amount.minor));
}

static bool link_live(const struct matcher *m, const struct link *link)
{
    return !reversed(link_sale(m, link));
}

static bool strong(const struct link *link)
{
    return link->fit == FIT_CLAIM || link->fit == FIT_REFERENCE;
}

/* An order that has a sale by claim or reference needs no other sale's amount for evidence: in a
 * busy shop somebody always pays the same. */
static void drop_amounts(struct matcher *m, struct order_place *o)
{
    size_t kept = o->links;
    bool owned = false;

    for (size_t k = o->links; k < m->n_links && !owned; k++)
        owned = strong(&m->links[k]) && link_live(m, &m->links[k]);
    if (!owned || o->order->resolution)
        return;
    for (size_t k = o->links; k < m->n_links; k++)
        if (m->links[k].fit != FIT_AMOUNT)
            m->links[kept++] = m->links[k];
    m->n_links = kept;
}

static int link_orders(struct matcher *m)
{
    for (size_t i = 0; i < m->input->n_orders; i++) {
        struct order_place *o = &m->orders[i];
        size_t added;
        int r;

        o->links = m->n_links;
        r = add_links(m, o);
        if (r < 0)
            return r;
        added = m->n_links;
        m->n_links = o->links;
        sort(&m->links[o->links], added - o->links, sizeof(struct link), compare_links);
        for (size_t k = o->links; k < added; k++) {
            struct link link = m->links[k];

            if (m->n_links > o->links && m->links[m->n_links - 1].sale == link.sale)
                continue;
            judge_link(m, o->order, &link);
            if (fit_eligible(link.fit) || link.reference_conflict || link.claim_conflict)
                m->links[m->n_links++] = link;
        }
        drop_amounts(m, o);
        o->links_end = m->n_links;
    }
    return 0;
}

/* --- the assignment --------------------------------------------------------------------------- */

/* Fills in what the assignment says of the links, and lists each component's orders. */
static int read_assignment(struct matcher *m, size_t n_edges)
{
    const struct assignment *a = &m->assignment;

    for (size_t e = 0; e < n_edges; e++)
        m->links[m->edge_link[e]].admissible = a->admissible[e];
    m->members = calloc(m->input->n_orders + 1, sizeof(*m->members));
    m->members_of = calloc(a->n_components + 1, sizeof(*m->members_of));
    if (!m->members || !m->members_of)
        return -ENOMEM;
    for (size_t c = 0; c < a->n_components; c++)
        m->members_of[c + 1] = m->members_of[c] + a->components[c].n_left;
    /* From the end of each component to its beginning, and the bounds move along. */
    for (size_t i = m->input->n_orders; i-- > 0;)
        m->members[--m->members_of[a->component[i] + 1]] = i;
    for (size_t c = 0; c < a->n_components; c++)
        m->members_of[c] = m->members_of[c + 1];
    m->members_of[a->n_components] = m->input->n_orders;
    return 0;
}

/* A person said that the order is paid, and not by which sale: it still takes one from the others.
 */
static bool pays_unnamed(const struct match_resolution *resolution)
{
    return resolution->verdict == VERDICT_CHARGED && !given(resolution->transaction_id);
}

/* The graph of all orders that are to be decided and all sales that are eligible for them. An order
 * likes best what is surest, then what came first. */
static int assign(struct matcher *m)
{
    size_t n_orders = m->input->n_orders, n = 0;
    _cleanup_free_ size_t *first = calloc(n_orders + 1, sizeof(*first));
    _cleanup_free_ size_t *right = calloc(m->n_links + 1, sizeof(*right));
    struct bigraph graph = {.n_left = n_orders,
                            .n_right = m->input->n_sales + m->n_claims,
                            .first = first,
                            .right = right};
    int r;

    m->edge_link = calloc(m->n_links + 1, sizeof(*m->edge_link));
    if (!first || !right || !m->edge_link)
        return -ENOMEM;
    for (size_t i = 0; i < n_orders; i++) {
        const struct order_place *o = &m->orders[i];

        first[i] = n;
        if (o->order->resolution && !pays_unnamed(o->order->resolution))
            continue;
        for (enum fit fit = FIT_CLAIM; fit_eligible(fit); fit++)
            for (size_t k = o->links; k < o->links_end; k++)
                if (m->links[k].fit == fit) {
                    right[n] = m->links[k].sale;
                    m->edge_link[n++] = k;
                }
    }
    first[n_orders] = n;
    r = assignment_solve(&graph, &m->assignment);
    if (r < 0)
        return r;
    return read_assignment(m, n);
}

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
static void say_evidence(const struct matcher *m, const struct order_place *o,
                         const struct link *link, struct match_result *result)
{
    const struct match_sale *sale = link_sale(m, link);
    const char *id = link_id(m, link);
    unsigned agrees = 0;
    bool money = false;

    switch (link->fit) {
    case FIT_CLAIM:
        say(result, "the app reported sale %s for this order", id);
        if (!sale) {
            say(result, "; the ledger has no record of it yet");
            break;
        }
        for (size_t i = 0; i < o->order->n_attempts; i++)
            money = money || money_agrees(&o->order->attempts[i], sale);
        if (!money) {
            say(result, ", though with another amount, ");
            say_money(result, sale->amount);
        }
        break;
    case FIT_REFERENCE:
        say(result, "sale %s carries this order's id, and nothing in it disagrees", id);
        break;
    case FIT_IDENTITY:
        compare_attempts(o->order, sale, false, &m->input->settings, &agrees);
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
        say(result, reversed(sale) ? "; returned in full: " : "; returned in part: ");
        say_money(result, returned);
    }
}

/* --- verdicts -----------------------------------------------------------------------------------
 *
 * A *decisive* sale is one that is the order's own and nobody else's: by claim or reference, and by
 * identity too when the app reports every sale it knows. A sale is *live* until it is voided or
 * returned in full. The first row that holds decides:
 *
 * A sale that agrees in nothing but amount and time is no candidate of an order that has a live one
 * by claim or reference.
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

struct tally {
    size_t n;             /* sales in question */
    size_t live;          /* of which live, */
    size_t live_decisive; /* and decisive */
    size_t amount, live_amount;
    struct link *strong;   /* the first live one by claim or reference */
    struct link *best;     /* the first of the surest rule */
    struct link *decisive; /* the first live decisive one */
};

static bool decisive(const struct matcher *m, const struct link *link)
{
    return strong(link) || (link->fit == FIT_IDENTITY && m->input->settings.claims_complete);
}

static struct tally count_admissible(const struct matcher *m, const struct order_place *o)
{
    struct tally tally = {0};

    for (size_t k = o->links; k < o->links_end; k++) {
        struct link *link = &m->links[k];
        bool live = link_live(m, link), is_decisive = decisive(m, link);

        if (!link->admissible)
            continue;
        tally.n++;
        tally.live += live;
        tally.live_decisive += live && is_decisive;
        tally.amount += link->fit == FIT_AMOUNT;
        tally.live_amount += live && link->fit == FIT_AMOUNT;
        if (live && strong(link) && !tally.strong)
            tally.strong = link;
        if (live && is_decisive && !tally.decisive)
            tally.decisive = link;
        if (!tally.best || link->fit < tally.best->fit)
            tally.best = link;
    }
    return tally;
}

static void give(const struct matcher *m, struct link *link, enum verdict verdict,
                 struct match_result *result)
{
    static const enum rule rules[] = {[FIT_CLAIM] = RULE_CLAIM,
                                      [FIT_REFERENCE] = RULE_REFERENCE,
                                      [FIT_IDENTITY] = RULE_IDENTITY,
                                      [FIT_AMOUNT] = RULE_AMOUNT};

    link->assigned = true;
    result->verdict = verdict;
    result->rule = rules[link->fit];
    copy_text(result->transaction_id, sizeof(result->transaction_id), link_id(m, link));
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

static void say_admissible(const struct matcher *m, const struct order_place *o, size_t n,
                           struct match_result *result)
{
    size_t i = 0;

    for (size_t k = o->links; k < o->links_end; k++)
        if (m->links[k].admissible)
            say_item(result, i++, n, link_id(m, &m->links[k]));
}

static void decide_by_person(const struct matcher *m, const struct order_place *o,
                             struct match_result *result)
{
    const struct match_resolution *resolution = o->order->resolution;

    result->verdict = resolution->verdict;
    result->rule = RULE_PERSON;
    say(result, "a person decided: %s", given(resolution->note) ? resolution->note : "no note");
    if (!given(resolution->transaction_id))
        return;
    copy_text(result->transaction_id, sizeof(result->transaction_id), resolution->transaction_id);
    for (size_t k = o->links; k < o->links_end; k++)
        m->links[k].assigned = strcmp(link_id(m, &m->links[k]), resolution->transaction_id) == 0;
}

/* All live sales by claim or reference are the order's, and when no other order is concerned all
 * other decisive ones too. The weakest of their rules is the verdict's. */
static void decide_double(const struct matcher *m, const struct order_place *o, bool alone,
                          struct match_result *result)
{
    struct link *earliest = NULL, *weakest = NULL;
    size_t n = 0, i = 0, missing = 0;

    for (size_t k = o->links; k < o->links_end; k++) {
        struct link *link = &m->links[k];

        if (!link->admissible || !link_live(m, link) ||
            !(strong(link) || (alone && decisive(m, link))))
            continue;
        link->assigned = true;
        n++;
        if (!earliest)
            earliest = link;
        if (!weakest || link->fit > weakest->fit)
            weakest = link;
    }
    give(m, weakest, VERDICT_DOUBLE_CHARGED, result);
    copy_text(result->transaction_id, sizeof(result->transaction_id), link_id(m, earliest));
    say(result, "this order has %zu sales, each by %s or surer:", n, fit_text(weakest->fit));
    for (size_t k = o->links; k < o->links_end; k++)
        if (m->links[k].assigned)
            say_item(result, i++, n, link_id(m, &m->links[k]));
    for (size_t k = o->links; k < o->links_end; k++)
        missing += m->links[k].assigned && !link_sale(m, &m->links[k]);
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

static void doubt_claims(const struct matcher *m, struct order_place *o,
                         struct match_result *result)
{
    const char *separator = "";

    doubt(m, o, result);
    for (size_t k = o->links; k < o->links_end; k++) {
        const struct link *link = &m->links[k];
        const struct match_sale *sale = link_sale(m, link);
        const char *other;
        bool claimed;

        if (!link->claim_conflict)
            continue;
        say(result, "%sthe app reported transaction %s for this order, but ", separator,
            link_id(m, link));
        separator = "; ";
        if (link->fit == FIT_NOT_A_SALE) {
            say(result, "it is not a settled sale");
            continue;
        }
        other = find_claimants(m, link_id(m, link), o->order->id, &claimed);
        say(result, "it is also that of order %s", other ? other : sale->sealed_for);
    }
}

static void decide_absence(const struct matcher *m, struct order_place *o,
                           struct match_result *result)
{
    char from_text[TIMESTAMP_TEXT_SIZE], to_text[TIMESTAMP_TEXT_SIZE], end[TIMESTAMP_TEXT_SIZE];
    int64_t from, to;

    match_window(o->order, &m->input->settings, &from, &to);
    timestamp_format(from, from_text);
    timestamp_format(to, to_text);
    switch (o->order->absence) {
    case ABSENCE_PROVEN:
    case ABSENCE_STANDS:
        if (o->order->absence == ABSENCE_STANDS || m->input->now > grace_end(m, o)) {
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

static void doubt_contested(const struct matcher *m, struct order_place *o, size_t order,
                            struct match_result *result)
{
    size_t c = m->assignment.component[order], i = 0;
    const struct assignment_component *component = &m->assignment.components[c];

    doubt(m, o, result);
    say(result, "contested: %zu orders have %zu sale%s between them; this order fits",
        component->n_left, component->n_right, component->n_right == 1 ? "" : "s");
    say_admissible(m, o, count_admissible(m, o).n, result);
    say(result, ", and the other orders are");
    for (size_t k = m->members_of[c]; k < m->members_of[c + 1] && i <= LIST_MAX; k++)
        if (m->members[k] != order)
            say_item(result, i++, component->n_left - 1, m->orders[m->members[k]].order->id);
}

static void doubt_amount(const struct matcher *m, struct order_place *o, size_t n_sales,
                         struct match_result *result)
{
    size_t i = 0;

    doubt(m, o, result);
    say(result, "nothing but amount and time can be compared for sale%s", n_sales > 1 ? "s" : "");
    for (size_t k = o->links; k < o->links_end; k++)
        if (m->links[k].admissible && m->links[k].fit == FIT_AMOUNT)
            say_item(result, i++, n_sales, link_id(m, &m->links[k]));
}

static void decide_alone(const struct matcher *m, struct order_place *o,
                         struct match_result *result)
{
    const struct match_settings *settings = &m->input->settings;
    struct tally tally = count_admissible(m, o);
    struct link *link = tally.best;

    if (tally.amount > 0 && !settings->accept_amount_only &&
        (tally.live_amount > 0 || tally.live_decisive == 0)) {
        doubt_amount(m, o, tally.amount, result);
        return;
    }
    if (tally.n > 1 && tally.live > tally.live_decisive) {
        doubt(m, o, result);
        say(result,
            "%zu sales fit this order, and which of them are its own is not certain%s:", tally.n,
            settings->claims_complete ? "" : ", for the app does not report every sale");
        say_admissible(m, o, tally.n, result);
        return;
    }
    if (tally.live_decisive >= 2) {
        decide_double(m, o, true, result);
        return;
    }
    if (tally.decisive)
        link = tally.decisive;
    give(m, link, tally.live > 0 ? VERDICT_CHARGED : VERDICT_REVERSED, result);
    say_evidence(m, o, link, result);
}

static void decide_shared(const struct matcher *m, struct order_place *o, size_t order,
                          struct match_result *result)
{
    const struct assignment *a = &m->assignment;
    const struct assignment_component *component = &a->components[a->component[order]];
    struct tally tally = count_admissible(m, o);
    struct link *link = &m->links[m->edge_link[a->chosen[order]]];

    if (tally.amount > 0 && !m->input->settings.accept_amount_only) {
        doubt_amount(m, o, tally.amount, result);
        return;
    }
    if (tally.strong)
        link = tally.strong;
    else if (tally.live > 0 && tally.live < tally.n) {
        doubt(m, o, result);
        say(result, "%zu sales fit this order and others, some of which were reversed:", tally.n);
        say_admissible(m, o, tally.n, result);
        return;
    }
    give(m, link, tally.live > 0 ? VERDICT_CHARGED : VERDICT_REVERSED, result);
    say_evidence(m, o, link, result);
    say(result,
        "; %zu orders and %zu sales fit one another, and however they are paired this order has "
        "one, by time this",
        component->n_left, component->n_right);
    if (component->n_right > component->n_left)
        say(result, "; surplus sales: %zu", component->n_right - component->n_left);
}

/* A record with the order's own id that is not its sale: something is wrong that a person should
 * see, unless the sale is certain without it. */
static void weigh_references(const struct matcher *m, struct order_place *o,
                             struct match_result *result)
{
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
            for (size_t i = o->links; i < o->links_end; i++)
                m->links[i].assigned = false;
            doubt(m, o, result);
            separator = "";
        }
        say(result, "%ssale %s carries this order's id, but: %s", separator, link_id(m, link),
            fit_text(link->fit));
        if (link->fit == FIT_CURRENCY || link->fit == FIT_MONEY) {
            say(result, ", ");
            say_money(result, link_sale(m, link)->amount);
        }
        separator = "; ";
    }
}

/* A verdict that rests on a record which the API has taken back is a person's. */
static void weigh_vanished(const struct matcher *m, struct order_place *o,
                           struct match_result *result)
{
    const struct link *gone = NULL;

    for (size_t k = o->links; k < o->links_end && !gone; k++)
        if (m->links[k].assigned && link_sale(m, &m->links[k]) &&
            link_sale(m, &m->links[k])->vanished)
            gone = &m->links[k];
    if (!gone)
        return;
    *result = (struct match_result){0};
    for (size_t k = o->links; k < o->links_end; k++)
        m->links[k].assigned = false;
    doubt(m, o, result);
    say(result, "sale %s fits, but the API does not show it any more", link_id(m, gone));
}

/* A reversed sale is leave to charge again only when no other sale can be the order's. A call of
 * cardSale charges once at most, so that one attempt is accounted for by its reversed sale. What
 * more was attempted (a claimed sale is of a call that succeeded, and accounts for none whose
 * outcome is unknown) has to be absent as for not_charged. */
static void weigh_reversal(const struct matcher *m, struct order_place *o,
                           struct match_result *result)
{
    const struct match_order *order = o->order;
    const struct link *live = NULL;
    size_t accounted = 0;

    if (result->verdict != VERDICT_REVERSED)
        return;
    for (size_t k = o->links; k < o->links_end; k++) {
        const struct link *link = &m->links[k];

        if (!fit_eligible(link->fit))
            continue;
        if (link_live(m, link))
            live = live ? live : link;
        else
            accounted += link->fit != FIT_CLAIM && (order->n_attempts == 1 || decisive(m, link));
    }
    if (!live && (accounted >= order->n_attempts || order->absence == ABSENCE_PROVEN ||
                  order->absence == ABSENCE_STANDS))
        return;
    *result = (struct match_result){0};
    for (size_t k = o->links; k < o->links_end; k++)
        m->links[k].assigned = false;
    if (live || order->absence == ABSENCE_BLOCKED)
        doubt(m, o, result);
    if (live)
        say(result, "a sale that fits was reversed, but %s fits too, and was not",
            link_id(m, live));
    else
        say(result,
            "a sale that fits was reversed, but whether another attempt charged is not "
            "known%s",
            order->absence == ABSENCE_BLOCKED ? ": a record could not be understood" : " yet");
}

static void decide(const struct matcher *m, size_t order, struct match_result *result)
{
    struct order_place *o = &m->orders[order];
    const struct assignment *a = &m->assignment;
    bool alone = a->components[a->component[order]].n_left == 1;
    size_t live_strong = 0, eligible = 0;

    if (o->order->resolution) {
        decide_by_person(m, o, result);
        return;
    }
    for (size_t k = o->links; k < o->links_end; k++) {
        eligible += fit_eligible(m->links[k].fit);
        live_strong += strong(&m->links[k]) && link_live(m, &m->links[k]);
    }
    if (live_strong >= 2)
        decide_double(m, o, alone, result);
    else if (has_claim_conflict(m, o))
        doubt_claims(m, o, result);
    else if (eligible == 0)
        decide_absence(m, o, result);
    else if (!a->certain[order])
        doubt_contested(m, o, order, result);
    else if (alone)
        decide_alone(m, o, result);
    else
        decide_shared(m, o, order, result);
    weigh_references(m, o, result);
    weigh_vanished(m, o, result);
    weigh_reversal(m, o, result);
}

/* --- the whole -------------------------------------------------------------------------------- */

static int list_candidates(const struct matcher *m, const struct order_place *o,
                           struct match_result *result)
{
    result->candidates = calloc(o->links_end - o->links + 1, sizeof(*result->candidates));
    if (!result->candidates)
        return -ENOMEM;
    for (size_t k = o->links; k < o->links_end; k++) {
        const struct link *link = &m->links[k];

        if (link->sale >= m->input->n_sales)
            continue;
        result->candidates[result->n_candidates++] =
            (struct match_candidate){.sale = m->sales[link->sale].input,
                                     .fit = link->fit,
                                     .reference_conflict = link->reference_conflict,
                                     .claim_conflict = link->claim_conflict,
                                     .assigned = link->assigned};
    }
    return 0;
}

struct match_result *match_results_free(struct match_result *results, size_t n)
{
    for (size_t i = 0; results && i < n; i++)
        free(results[i].candidates);
    free(results);
    return NULL;
}

static int decide_all(const struct matcher *m, struct match_result **ret_results)
{
    size_t n = m->input->n_orders;
    struct match_result *results = calloc(n + 1, sizeof(*results));

    if (!results)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct match_result *result = &results[m->orders[i].input];
        int r;

        decide(m, i, result);
        if (*result->reason >= 'a' && *result->reason <= 'z')
            *result->reason = (char)(*result->reason - 'a' + 'A');
        r = list_candidates(m, &m->orders[i], result);
        if (r < 0) {
            match_results_free(results, n);
            return r;
        }
    }
    *ret_results = results;
    return 0;
}

int match(const struct match_input *input, struct match_result **ret_results)
{
    static int (*const steps[])(struct matcher *) = {place_orders, place_sales, place_claims,
                                                     place_money,  link_orders, assign};
    _cleanup_(matcher_clear) struct matcher m = {.input = input};

    for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
        int r = steps[i](&m);

        if (r < 0)
            return r;
    }
    return decide_all(&m, ret_results);
}
