#include "core/match.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "core/judge.h"
#include "core/matcher.h"

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
    array_sort(entries, n, sizeof(*entries), compare_entries);
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

        judge_order(m, i, result);
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
    _cleanup_(matcher_clear) struct matcher m = {.input = input};
    int r = matcher_prepare(&m);

    return r < 0 ? r : decide_all(&m, ret_results);
}
