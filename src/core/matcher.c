#include "core/matcher.h"

#include <errno.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"

void matcher_clear(struct matcher *m)
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

size_t find_place(struct places places, size_t place)
{
    size_t i = array_find(places.items, places.n, sizeof(place), &place, compare_sizes);

    return i < places.n && places.items[i] == place ? i : NONE;
}

static size_t find_text(const struct text_key *keys, size_t n, const char *text)
{
    return array_find(keys, n, sizeof(*keys), &(struct text_key){.text = text}, compare_texts);
}

/* The place of the sale with this id, or NONE. */
static size_t find_sale(const struct matcher *m, const char *id)
{
    size_t i = find_text(m->sales_by_id, m->input->n_sales, id);

    if (i == m->input->n_sales || strcmp(m->sales_by_id[i].text, id) != 0)
        return NONE;
    return m->sales_by_id[i].place;
}

const char *find_claimants(const struct matcher *m, const char *transaction_id,
                           const char *order_id, bool *ret_claimed_by_order)
{
    const struct match_claim key = {.transaction_id = transaction_id, .order_id = ""};
    const char *other = NULL;

    *ret_claimed_by_order = false;
    for (size_t i =
             array_find(m->claims_by_sale, m->n_claims, sizeof(key), &key, compare_claims_by_sale);
         i < m->n_claims && strcmp(m->claims_by_sale[i].transaction_id, transaction_id) == 0; i++) {
        if (strcmp(m->claims_by_sale[i].order_id, order_id) == 0)
            *ret_claimed_by_order = true;
        else if (!other)
            other = m->claims_by_sale[i].order_id;
    }
    return other;
}

/* --- places ----------------------------------------------------------------------------------- */

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
    array_sort(m->orders, input->n_orders, sizeof(*m->orders), compare_orders);
    for (size_t i = 0; i < input->n_orders; i++)
        attempts_span(m->orders[i], &m->order_places[i].first, &m->order_places[i].last);
    array_sort(ids, input->n_orders, sizeof(*ids), compare_texts);
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
    array_sort(m->sales, input->n_sales, sizeof(*m->sales), compare_sales);
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
    array_sort(m->sales_by_id, input->n_sales, sizeof(*m->sales_by_id), compare_texts);
    array_sort(m->sales_by_owner, m->n_owned, sizeof(*m->sales_by_owner), compare_texts);
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
    array_sort(m->claims, n, sizeof(*m->claims), compare_claims);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || compare_claims(&m->claims[m->n_claims - 1], &m->claims[i]) != 0)
            m->claims[m->n_claims++] = m->claims[i];
    memcpy(m->claims_by_sale, m->claims, m->n_claims * sizeof(*m->claims));
    array_sort(m->claims_by_sale, m->n_claims, sizeof(*m->claims), compare_claims_by_sale);
    return 0;
}

/* What speaks for no order but by amount, time and card, on shelves. */
static int shelve_sales(struct matcher *m)
{
    size_t n = m->input->n_sales;
    _cleanup_free_ bool *shelved = calloc(n + 1, sizeof(*shelved));
    int r;

    if (!shelved)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct match_sale *sale = m->sales[i];
        bool claimed;

        shelved[i] = sale->is_sale && !given(sale->order_ref) && !given(sale->sealed_for) &&
                     !find_claimants(m, sale->id, "", &claimed);
    }
    r = shelves_build(m->orders, m->input->n_orders, m->sales, shelved, n, &m->input->settings,
                      &m->shelves);
    if (r < 0)
        return r;
    m->lists = TAKE_PTR(m->shelves.lists);
    m->n_lists = m->shelves.n_lists;
    return 0;
}

/* --- links ------------------------------------------------------------------------------------ */

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
    for (size_t i = array_find(m->claims, m->n_claims, sizeof(key), &key, compare_claims);
         i < m->n_claims && strcmp(m->claims[i].order_id, id) == 0; i++) {
        size_t sale = find_sale(m, m->claims[i].transaction_id);

        if (ARRAY_GROW(*own, *n) < 0)
            return -ENOMEM;
        (*own)[(*n)++] = sale == NONE ? m->input->n_sales + i : sale;
    }
    array_sort(*own, *n, sizeof(**own), compare_sizes);
    return 0;
}

static struct link link_to(const struct matcher *m, const struct match_order *order, size_t place)
{
    const struct match_sale *sale = sale_at(m, place);
    bool claimed, claimed_by_other = find_claimants(m, id_at(m, place), order->id, &claimed);
    struct link link = {.live = !sale || !sale_reversed(sale)};

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
        link = link_to(m, order, own[i]);
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
        array_sort(&m->links[o->links], o->links_end - o->links, sizeof(struct link),
                   compare_links);
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

        array_sort(&list[shelf->begin], shelf->end - shelf->begin, sizeof(*list), compare_grouped);
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

    /* A sale that stands on no shelf is eligible for this order alone. */
    if (group == GROUP_ANY || !shelf)
        return (struct places){&m->lists[begin], end - begin};
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

int matcher_prepare(struct matcher *m)
{
    static int (*const steps[])(struct matcher *) = {place_orders, place_sales, place_claims,
                                                     shelve_sales, link_orders, assign};

    for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
        int r = steps[i](m);

        if (r < 0)
            return r;
    }
    return 0;
}
