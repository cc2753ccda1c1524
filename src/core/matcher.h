/* Puts orders and sales together: which are in question for one another, and which of them every
 * or some maximum assignment pairs. What follows from that, judge.c says.
 *
 * Everything is brought into an order of its own first (orders by first attempt and id, sales by
 * time and id), and called by its place in it from then on: that makes the result independent of
 * the order of the input. A claim whose sale is not in the input has a place after the sales. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/assignment.h"
#include "core/fit.h"
#include "core/shelves.h"

#define NONE SIZE_MAX

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

/* Fills in everything but `input`, which the caller has set, and the `assigned` of links. 0,
 * -ENOMEM, or -EINVAL as match(). To be released with matcher_clear(), also when it fails. */
int matcher_prepare(struct matcher *m);
void matcher_clear(struct matcher *m);

/* NULL for a place that is a claim without a record. */
static inline const struct match_sale *sale_at(const struct matcher *m, size_t place)
{
    return place < m->input->n_sales ? m->sales[place] : NULL;
}

static inline const char *id_at(const struct matcher *m, size_t place)
{
    const struct match_sale *sale = sale_at(m, place);

    return sale ? sale->id : m->claims[place - m->input->n_sales].transaction_id;
}

/* The sale of a link that has but one. */
static inline size_t only(const struct matcher *m, const struct link *link)
{
    return m->lists[link->begin];
}

static inline bool strong(const struct link *link)
{
    return link->fit == FIT_CLAIM || link->fit == FIT_REFERENCE;
}

/* Who else than `order_id` the sale is claimed for, or NULL; whether it is for `order_id`. */
const char *find_claimants(const struct matcher *m, const char *transaction_id,
                           const char *order_id, bool *ret_claimed_by_order);

/* Where `place` is among the places, or NONE. */
size_t find_place(struct places places, size_t place);
