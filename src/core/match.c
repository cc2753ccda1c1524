#include "core/match.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/parse.h"
#include "core/assignment.h"
#include "core/fit.h"
#include "core/shelves.h"
#include "core/timestamp.h"

#define NONE SIZE_MAX

enum { LIST_MAX = 4 }; /* ids that a reason lists before it counts */

/* --- the matcher's view of its input ------------------------------------------------------------
 * Everything is brought into an order of its own first (orders by first attempt and id, sales by
 * time and id), and called by its place in it from then on: that makes the result independent of
 * the order of the input. A claim whose sale is not in the input has a place after the sales. */

struct order_place {
    int64_t first, last;
    size_t links, links_end;
    bool doubted; /* the verdict is for a person, now or when the grace is over */
};

/* Where a text is found. */
struct text_key {
    const char *text;
    size_t place;
};

/* Places, ascending. */
struct places {
    const size_t *items;
    size_t n;
};

/* An order and sales that fit it alike: a sale by itself, or a run of a shelf. They are eligible
 * for the order or in conflict with it. */
struct link {
    size_t begin, end; /* in `lists` */
    enum fit fit;
    bool live;
    bool reference_conflict, claim_conflict;
    struct places admissible; /* some maximum assignment has them */
    struct places assigned;
};

struct matcher {
    const struct match_input *input;
    const struct match_sale **sales;
    const struct match_order **orders; /* and beside each */
    struct order_place *order_places;
    struct text_key *sales_by_id;
    struct text_key *sales_by_owner; /* by the id of an order that they carry or are sealed for */
    size_t n_owned;
    struct match_claim *claims;         /* and resolutions; by order, then transaction; each once */
    struct match_claim *claims_by_sale; /* the same by transaction, then order */
    size_t n_claims;
    struct shelves shelves;
    size_t *lists; /* those of the shelves, then sales by themselves */
    size_t n_lists;
    struct link *links; /* by order; of one order those come first that it likes best */
    size_t n_links;
    struct assignment assignment; /* left: orders; right: places */
    size_t *by_group;             /* each shelf's list by group, then place */
    size_t *members, *members_of; /* component c is orders members[members_of[c]] .. of [c + 1] */
};

static void matcher_clear(struct matcher *m)
{
    free(m->sales);
    free(m->orders);
    free(m->order_places);
    free(m->sales_by_id);
    free(m->sales_by_owner);
    free(m->claims);
    free(m->claims_by_sale);
    shelves_clear(&m->shelves);
    free(m->lists);
    free(m->links);
    free(m->by_group);
    free(m->members);
    free(m->members_of);
    assignment_clear(&m->assignment);
}

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

static int compare_sales(const void *left, const void *right)
{
    const struct match_sale *a = *(const struct match_sale *const *)left;
    const struct match_sale *b = *(const struct match_sale *const *)right;
    int r = COMPARE(a->at, b->at);

    return r ? r : strcmp(a->id, b->id);
}

static int compare_orders(const void *left, const void *right)
{
    const struct match_order *a = *(const struct match_order *const *)left;
    const struct match_order *b = *(const struct match_order *const *)right;
    int64_t first, other, last;

    attempts_span(a, &first, &last);
    attempts_span(b, &other, &last);
    return first != other ? COMPARE(first, other) : strcmp(a->id, b->id);
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

static int compare_places(const void *left, const void *right)
{
    const size_t *a = left, *b = right;

    return COMPARE(*a, *b);
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
    m->order_places = calloc(input->n_orders + 1, sizeof(*m->order_places));
    if (!ids || !m->orders || !m->order_places)
        return -ENOMEM;
    for (size_t i = 0; i < input->n_orders; i++) {
        m->orders[i] = &input->orders[i];
        if (m->orders[i]->n_attempts == 0)
            return -EINVAL;
        ids[i] = (struct text_key){.text = m->orders[i]->id, .place = i};
    }
    sort(m->orders, input->n_orders, sizeof(*m->orders), compare_orders);
    for (size_t i = 0; i < input->n_orders; i++)
        attempts_span(m->orders[i], &m->order_places[i].first, &m->order_places[i].last);
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
    m->sales_by_owner = calloc(2 * input->n_sales + 1, sizeof(*m->sales_by_owner));
    if (!m->sales || !m->sales_by_id || !m->sales_by_owner)
        return -ENOMEM;
    for (size_t i = 0; i < input->n_sales; i++)
        m->sales[i] = &input->sales[i];
    sort(m->sales, input->n_sales, sizeof(*m->sales), compare_sales);
    for (size_t i = 0; i < input->n_sales; i++) {
        const struct match_sale *sale = m->sales[i];

        m->sales_by_id[i] = (struct text_key){.text = sale->id, .place = i};
        if (given(sale->order_ref))
            m->sales_by_owner[m->n_owned++] =
                (struct text_key){.text = sale->order_ref, .place = i};
        if (given(sale->sealed_for))
            m->sales_by_owner[m->n_owned++] =
                (struct text_key){.text = sale->sealed_for, .place = i};
    }
    sort(m->sales_by_id, input->n_sales, sizeof(*m->sales_by_id), compare_texts);
    sort(m->sales_by_owner, m->n_owned, sizeof(*m->sales_by_owner), compare_texts);
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

/* What speaks for no order but by amount, time and card, on shelves. */
static int shelve_sales(struct matcher *m)
{
    size_t n = m->input->n_sales;
    _cleanup_free_ const struct match_sale **free_sales = calloc(n + 1, sizeof(*free_sales));
    int r;

    if (!free_sales)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct match_sale *sale = m->sales[i];
        bool claimed;

        if (sale->is_sale && !given(sale->order_ref) && !given(sale->sealed_for) &&
            !find_claimants(m, sale->id, "", &claimed))
            free_sales[i] = sale;
    }
    r = shelves_build(m->orders, m->input->n_orders, free_sales, n, &m->shelves);
    if (r < 0)
        return r;
    m->lists = TAKE_PTR(m->shelves.lists);
    m->n_lists = m->shelves.n_lists;
    return 0;
}

/* --- links ------------------------------------------------------------------------------------ */

static const struct match_sale *sale_at(const struct matcher *m, size_t place)
{
    return place < m->input->n_sales ? m->sales[place] : NULL;
}

static const char *id_at(const struct matcher *m, size_t place)
{
    const struct match_sale *sale = sale_at(m, place);

    return sale ? sale->id : m->claims[place - m->input->n_sales].transaction_id;
}

/* The sale of a link that has but one. */
static size_t only(const struct matcher *m, const struct link *link)
{
    return m->lists[link->begin];
}

static bool live_at(const struct matcher *m, size_t place)
{
    const struct match_sale *sale = sale_at(m, place);

    return !sale || !sale_reversed(sale);
}

static int add_link(struct matcher *m, struct link link)
{
    if (ARRAY_GROW(m->links, m->n_links) < 0)
        return -ENOMEM;
    m->links[m->n_links++] = link;
    return 0;
}

/* The sales that somebody, or the record itself, says to be this order's; some twice. */
static int list_own(const struct matcher *m, const char *id, size_t **own, size_t *n)
{
    const struct match_claim key = {.transaction_id = "", .order_id = id};

    for (size_t i = find_text(m->sales_by_owner, m->n_owned, id);
         i < m->n_owned && strcmp(m->sales_by_owner[i].text, id) == 0; i++) {
        if (ARRAY_GROW(*own, *n) < 0)
            return -ENOMEM;
        (*own)[(*n)++] = m->sales_by_owner[i].place;
    }
    for (size_t i = lower_bound(m->claims, m->n_claims, sizeof(key), &key, compare_claims);
         i < m->n_claims && strcmp(m->claims[i].order_id, id) == 0; i++) {
        size_t sale = find_sale(m, m->claims[i].transaction_id);

        if (ARRAY_GROW(*own, *n) < 0)
            return -ENOMEM;
        (*own)[(*n)++] = sale == NONE ? m->input->n_sales + i : sale;
    }
    sort(*own, *n, sizeof(**own), compare_places);
    return 0;
}

static struct link judge(const struct matcher *m, const struct match_order *order, size_t place)
{
    const struct match_sale *sale = sale_at(m, place);
    bool claimed, claimed_by_other = find_claimants(m, id_at(m, place), order->id, &claimed);
    struct link link = {.live = live_at(m, place)};

    if (!sale) {
        link.fit = claimed_by_other ? FIT_CLAIMED_BY_OTHER : FIT_CLAIM;
    } else {
        link.fit = match_fit(order, sale, claimed, claimed_by_other, &m->input->settings);
        link.reference_conflict = sale->is_sale && given(sale->order_ref) &&
                                  strcmp(sale->order_ref, order->id) == 0 &&
                                  !fit_eligible(link.fit);
    }
    link.claim_conflict = claimed && !fit_eligible(link.fit);
    return link;
}

static int link_own(struct matcher *m, const struct match_order *order)
{
    _cleanup_free_ size_t *own = NULL;
    size_t n = 0;
    int r;

    r = list_own(m, order->id, &own, &n);
    for (size_t i = 0; i < n && r == 0; i++) {
        struct link link;

        if (i > 0 && own[i - 1] == own[i])
            continue;
        link = judge(m, order, own[i]);
        if (!fit_eligible(link.fit) && !link.reference_conflict && !link.claim_conflict)
            continue;
        if (ARRAY_GROW(m->lists, m->n_lists) < 0)
            return -ENOMEM;
        link.begin = m->n_lists;
        m->lists[m->n_lists++] = own[i];
        link.end = m->n_lists;
        r = add_link(m, link);
    }
    return r;
}

/* The first of a list's places that is later than `at`, or not earlier. */
static size_t find_time(const struct matcher *m, size_t begin, size_t end, int64_t at, bool later)
{
    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;
        int64_t there = m->sales[m->lists[middle]]->at;

        if (there < at || (later && there == at))
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

static int link_shelves(struct matcher *m, size_t order)
{
    int64_t from, to;
    int r = 0;

    match_window(m->orders[order], &m->input->settings, &from, &to);
    for (size_t i = 0; i < SHELVES_EACH && r == 0; i++) {
        const struct shelf *shelf = &m->shelves.shelves[m->shelves.of_order[order][i]];
        struct link link = {.begin = find_time(m, shelf->begin, shelf->end, from, false),
                            .end = find_time(m, shelf->begin, shelf->end, to, true),
                            .fit = shelf->fit,
                            .live = shelf->live};

        if (link.begin < link.end)
            r = add_link(m, link);
    }
    return r;
}

static bool strong(const struct link *link)
{
    return link->fit == FIT_CLAIM || link->fit == FIT_REFERENCE;
}

/* An order that has a sale by claim or reference needs no other sale's amount for evidence: in a
 * busy shop somebody always pays the same. */
static void drop_amounts(struct matcher *m, size_t order)
{
    struct order_place *o = &m->order_places[order];
    size_t kept = o->links;
    bool owned = false;

    for (size_t k = o->links; k < m->n_links && !owned; k++)
        owned = strong(&m->links[k]) && m->links[k].live;
    if (!owned || m->orders[order]->resolution)
        return;
    for (size_t k = o->links; k < m->n_links; k++)
        if (m->links[k].fit != FIT_AMOUNT)
            m->links[kept++] = m->links[k];
    m->n_links = kept;
}

/* What is surest comes first, then what is live, then what came first. */
static int compare_links(const void *left, const void *right)
{
    const struct link *a = left, *b = right;
    int r = COMPARE(a->fit, b->fit);

    if (!r)
        r = COMPARE(b->live, a->live);
    return r ? r : COMPARE(a->begin, b->begin);
}

static int link_orders(struct matcher *m)
{
    for (size_t i = 0; i < m->input->n_orders; i++) {
        struct order_place *o = &m->order_places[i];
        int r;

        o->links = m->n_links;
        r = link_own(m, m->orders[i]);
        if (r == 0)
            r = link_shelves(m, i);
        if (r < 0)
            return r;
        drop_amounts(m, i);
        o->links_end = m->n_links;
        sort(&m->links[o->links], o->links_end - o->links, sizeof(struct link), compare_links);
    }
    return 0;
}

/* --- the assignment --------------------------------------------------------------------------- */

/* A place and the group by which it is sorted. */
struct grouped {
    size_t group, place;
};

static int compare_grouped(const void *left, const void *right)
{
    const struct grouped *a = left, *b = right;
    int r = COMPARE(a->group, b->group);

    return r ? r : COMPARE(a->place, b->place);
}

static int group_shelves(struct matcher *m)
{
    _cleanup_free_ struct grouped *list = calloc(m->n_lists + 1, sizeof(*list));

    m->by_group = calloc(m->n_lists + 1, sizeof(*m->by_group));
    if (!list || !m->by_group)
        return -ENOMEM;
    for (size_t i = 0; i < m->n_lists; i++)
        list[i] = (struct grouped){m->assignment.right_group[m->lists[i]], m->lists[i]};
    for (size_t s = 0; s < m->shelves.n_shelves; s++) {
        const struct shelf *shelf = &m->shelves.shelves[s];

        sort(&list[shelf->begin], shelf->end - shelf->begin, sizeof(*list), compare_grouped);
    }
    for (size_t i = 0; i < m->n_lists; i++)
        m->by_group[i] = list[i].place;
    return 0;
}

/* The first of a shelf's list by group that does not come before `key`. */
static size_t find_grouped(const struct matcher *m, const struct shelf *shelf, struct grouped key)
{
    size_t low = shelf->begin, high = shelf->end;

    while (low < high) {
        size_t middle = low + (high - low) / 2, place = m->by_group[middle];

        if (compare_grouped(&(struct grouped){m->assignment.right_group[place], place}, &key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The sales of the link that some maximum assignment gives to its order. */
static struct places find_admissible(const struct matcher *m, size_t order, const struct link *link,
                                     const struct shelf *shelf)
{
    size_t group = m->assignment.left_group[order], begin = link->begin, end = link->end;

    if (group == GROUP_ANY)
        return (struct places){&m->lists[begin], end - begin};
    if (!shelf)
        return (struct places){&m->lists[begin],
                               assignment_admits(&m->assignment, order, only(m, link)) ? 1 : 0};
    begin = find_grouped(m, shelf, (struct grouped){group, m->lists[link->begin]});
    end = find_grouped(m, shelf, (struct grouped){group, m->lists[link->end - 1] + 1});
    return (struct places){&m->by_group[begin], end - begin};
}

/* The shelf that a link is a run of, or NULL. */
static const struct shelf *shelf_of(const struct matcher *m, size_t order, const struct link *link)
{
    for (size_t i = 0; i < SHELVES_EACH; i++) {
        const struct shelf *shelf = &m->shelves.shelves[m->shelves.of_order[order][i]];

        if (shelf->begin <= link->begin && link->begin < shelf->end)
            return shelf;
    }
    return NULL;
}

static int list_members(struct matcher *m)
{
    const struct assignment *a = &m->assignment;

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

static bool takes_part(const struct match_order *order)
{
    return !order->resolution || pays_unnamed(order->resolution);
}

/* The graph of all orders that are to be decided and all sales that are eligible for them. */
static int assign(struct matcher *m)
{
    size_t n_orders = m->input->n_orders, n = 0;
    _cleanup_free_ size_t *first = calloc(n_orders + 1, sizeof(*first));
    _cleanup_free_ struct run *runs = calloc(m->n_links + 1, sizeof(*runs));
    const struct bigraph graph = {.n_left = n_orders,
                                  .n_right = m->input->n_sales + m->n_claims,
                                  .first = first,
                                  .runs = runs,
                                  .lists = m->lists,
                                  .n_lists = m->n_lists};
    int r;

    if (!first || !runs)
        return -ENOMEM;
    for (size_t i = 0; i < n_orders; i++) {
        const struct order_place *o = &m->order_places[i];

        first[i] = n;
        for (size_t k = o->links; k < o->links_end && takes_part(m->orders[i]); k++)
            if (fit_eligible(m->links[k].fit))
                runs[n++] = (struct run){m->links[k].begin, m->links[k].end};
    }
    first[n_orders] = n;
    r = assignment_solve(&graph, &m->assignment);
    if (r == 0)
        r = group_shelves(m);
    if (r == 0)
        r = list_members(m);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n_orders; i++)
        for (size_t k = m->order_places[i].links; k < m->order_places[i].links_end; k++) {
            struct link *link = &m->links[k];

            if (takes_part(m->orders[i]) && fit_eligible(link->fit))
                link->admissible = find_admissible(m, i, link, shelf_of(m, i, link));
        }
    return 0;
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
    size_t live_amount;
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
        if (link->fit == FIT_AMOUNT)
            tally.live_amount += n;
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
    size_t i = lower_bound(places->items, places->n, sizeof(*places->items), &choice.place,
                           compare_places);

    choice.link->assigned = (struct places){&places->items[i], 1};
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
        (tally.live_amount > 0 || tally.live_decisive == 0)) {
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

    for (size_t k = o->links; k < o->links_end; k++) {
        const struct places *places = &m->links[k].admissible;
        size_t i =
            lower_bound(places->items, places->n, sizeof(*places->items), &place, compare_places);

        if (i < places->n && places->items[i] == place)
            return (struct choice){&m->links[k], place};
    }
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

static void decide(struct matcher *m, size_t order, struct match_result *result)
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

/* --- the whole -------------------------------------------------------------------------------- */

/* A candidate while its list is made. */
struct entry {
    size_t place;
    const struct link *link;
    bool assigned;
};

/* Of one sale, the entry that says that it is assigned comes first. */
static int compare_entries(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    int r = COMPARE(a->place, b->place);

    return r ? r : COMPARE(b->assigned, a->assigned);
}

static int add_entries(struct entry **entries, size_t *n, const struct link *link,
                       const size_t *places, size_t n_places, bool assigned)
{
    for (size_t i = 0; i < n_places; i++) {
        if (ARRAY_GROW(*entries, *n) < 0)
            return -ENOMEM;
        (*entries)[(*n)++] = (struct entry){places[i], link, assigned};
    }
    return 0;
}

/* The surest ones, and of those alike the earliest; but all that are assigned or in conflict. */
static int list_candidates(const struct matcher *m, const struct order_place *o,
                           struct match_result *result)
{
    _cleanup_free_ struct entry *entries = NULL;
    size_t room = MATCH_CANDIDATES_MAX, n = 0;
    int r = 0;

    for (size_t k = o->links; k < o->links_end && r == 0; k++) {
        const struct link *link = &m->links[k];
        size_t run = link->end - link->begin;

        if (run > room && fit_eligible(link->fit))
            run = room;
        room -= run < room ? run : room;
        r = add_entries(&entries, &n, link, &m->lists[link->begin], run, false);
        if (r == 0)
            r = add_entries(&entries, &n, link, link->assigned.items, link->assigned.n, true);
    }
    result->candidates = calloc(n + 1, sizeof(*result->candidates));
    if (r < 0 || !result->candidates)
        return -ENOMEM;
    sort(entries, n, sizeof(*entries), compare_entries);
    for (size_t i = 0; i < n; i++) {
        const struct link *link = entries[i].link;

        if (i > 0 && entries[i - 1].place == entries[i].place)
            continue;
        result->candidates[result->n_candidates++] =
            (struct match_candidate){.transaction_id = id_at(m, entries[i].place),
                                     .fit = link->fit,
                                     .reference_conflict = link->reference_conflict,
                                     .claim_conflict = link->claim_conflict,
                                     .assigned = entries[i].assigned};
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

static int decide_all(struct matcher *m, struct match_result **ret_results)
{
    size_t n = m->input->n_orders;
    struct match_result *results = calloc(n + 1, sizeof(*results));

    if (!results)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct match_result *result = &results[m->orders[i] - m->input->orders];
        int r;

        decide(m, i, result);
        if (*result->reason >= 'a' && *result->reason <= 'z')
            *result->reason = (char)(*result->reason - 'a' + 'A');
        r = list_candidates(m, &m->order_places[i], result);
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
                                                     shelve_sales, link_orders, assign};
    _cleanup_(matcher_clear) struct matcher m = {.input = input};

    for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
        int r = steps[i](&m);

        if (r < 0)
            return r;
    }
    return decide_all(&m, ret_results);
}
