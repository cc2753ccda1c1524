#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/assignment.h"

#define NONE SIZE_MAX

enum { LONG = 100000, SMALL = 6, SMALL_EDGES = SMALL * SMALL, ROWS = 2, TRIALS = 60000 };

/* Every edge by itself: left v has the right vertices right[first[v]] .. right[first[v + 1] - 1].
 */
static void solve(size_t n_left, size_t n_right, const size_t *first, const size_t *right,
                  struct assignment *ret)
{
    size_t n_edges = first[n_left];
    _cleanup_free_ struct run *runs = calloc(n_edges + 1, sizeof(*runs));
    const struct bigraph graph = {.n_left = n_left,
                                  .n_right = n_right,
                                  .first = first,
                                  .runs = runs,
                                  .lists = right,
                                  .n_lists = n_edges};

    assert_non_null(runs);
    for (size_t e = 0; e < n_edges; e++)
        runs[e] = (struct run){e, e + 1};
    assert_int_equal(assignment_solve(&graph, ret), 0);
}

static void empty_graphs(void **state)
{
    _cleanup_(assignment_clear) struct assignment nothing = {0}, lonely = {0};
    const size_t no_edge[] = {0, 0, 0};

    (void)state;
    solve(0, 0, no_edge, NULL, &nothing);
    assert_int_equal(nothing.size, 0);
    assert_int_equal(nothing.n_components, 0);

    solve(2, 3, no_edge, NULL, &lonely);
    assert_int_equal(lonely.size, 0);
    assert_int_equal(lonely.n_components, 2);
    for (size_t v = 0; v < 2; v++) {
        assert_false(assignment_certain(&lonely, v));
        assert_int_equal(lonely.component[v], v);
        assert_true(lonely.chosen[v] == NONE);
        assert_int_equal(lonely.components[v].n_left, 1);
        assert_int_equal(lonely.components[v].n_right, 0);
    }
}

/* A{1,2,3} B{3}: B needs 3, so 3 is out of the question for A, which has 1 or 2. */
static void needed_by_another(void **state)
{
    _cleanup_(assignment_clear) struct assignment a = {0};
    const size_t first[] = {0, 3, 4}, right[] = {2, 0, 1, 2};

    (void)state;
    solve(2, 3, first, right, &a);
    assert_int_equal(a.size, 2);
    assert_true(assignment_certain(&a, 0) && assignment_certain(&a, 1));
    assert_false(assignment_admits(&a, 0, 2));
    assert_true(assignment_admits(&a, 0, 0) && assignment_admits(&a, 0, 1));
    assert_true(assignment_admits(&a, 1, 2));
    assert_int_equal(a.n_components, 2);
    assert_int_equal(a.components[0].n_right, 2);
    assert_int_equal(a.components[1].n_right, 1);
    assert_int_equal(a.chosen[0], 0);
    assert_int_equal(a.chosen[1], 2);
}

/* Three between two: none of the three is certain, though the matching covers two of them. */
static void too_few(void **state)
{
    _cleanup_(assignment_clear) struct assignment a = {0};
    const size_t first[] = {0, 1, 3, 4}, right[] = {0, 0, 1, 1};

    (void)state;
    solve(3, 2, first, right, &a);
    assert_int_equal(a.size, 2);
    assert_int_equal(a.n_components, 1);
    for (size_t v = 0; v < 3; v++) {
        assert_false(assignment_certain(&a, v));
        assert_true(a.chosen[v] == NONE);
    }
    assert_true(assignment_admits(&a, 0, 0) && assignment_admits(&a, 1, 0));
    assert_true(assignment_admits(&a, 1, 1) && assignment_admits(&a, 2, 1));
}

/* What one left gives up in its turn is free for those that come after it. */
static void given_up(void **state)
{
    _cleanup_(assignment_clear) struct assignment a = {0};
    const size_t first[] = {0, 3, 4, 7, 12, 14};
    const size_t right[] = {3, 1, 5, 3, 5, 3, 2, 4, 1, 2, 0, 5, 4, 1};
    const size_t chosen[] = {1, 3, 5, 2, 4};

    (void)state;
    solve(5, 6, first, right, &a);
    for (size_t v = 0; v < 5; v++)
        assert_int_equal(a.chosen[v], chosen[v]);
}

/* Left v has rights v and v + 1, modulo n_right; the last left has `last_edges` of them. */
static void chain(size_t n_left, size_t n_right, size_t last_edges, struct assignment *ret)
{
    _cleanup_free_ size_t *first = calloc(n_left + 1, sizeof(*first));
    _cleanup_free_ size_t *right = calloc(2 * n_left, sizeof(*right));

    assert_true(first && right);
    for (size_t v = 0; v < n_left; v++) {
        first[v + 1] = first[v] + (v + 1 == n_left ? last_edges : 2);
        right[2 * v] = v % n_right;
        right[2 * v + 1] = (v + 1) % n_right;
    }
    solve(n_left, n_right, first, right, ret);
}

static void long_surplus_chain(void **state)
{
    _cleanup_(assignment_clear) struct assignment a = {0};

    (void)state;
    chain(LONG, LONG + 1, 2, &a);
    assert_int_equal(a.size, LONG);
    assert_int_equal(a.n_components, 1);
    assert_int_equal(a.components[0].n_right, LONG + 1);
    for (size_t v = 0; v < LONG; v++) {
        assert_true(assignment_certain(&a, v));
        assert_true(assignment_admits(&a, v, v) && assignment_admits(&a, v, v + 1));
        assert_int_equal(a.chosen[v], v);
    }
}

static void long_even_chain(void **state)
{
    _cleanup_(assignment_clear) struct assignment a = {0};

    (void)state;
    chain(LONG, LONG, 1, &a); /* the last left has only its own right: so all have */
    assert_int_equal(a.size, LONG);
    assert_int_equal(a.n_components, LONG);
    for (size_t v = 0; v < LONG; v++) {
        assert_true(assignment_certain(&a, v));
        assert_true(assignment_admits(&a, v, v));
        if (v + 1 < LONG)
            assert_false(assignment_admits(&a, v, v + 1));
        assert_int_equal(a.chosen[v], v);
    }
}

static void long_cycle(void **state)
{
    _cleanup_(assignment_clear) struct assignment a = {0};

    (void)state;
    chain(LONG, LONG, 2, &a);
    assert_int_equal(a.size, LONG);
    assert_int_equal(a.n_components, 1);
    for (size_t v = 0; v < LONG; v++) {
        assert_true(assignment_certain(&a, v));
        assert_true(assignment_admits(&a, v, v) && assignment_admits(&a, v, (v + 1) % LONG));
        assert_int_equal(a.chosen[v], v);
    }
}

static void long_contested_chain(void **state)
{
    _cleanup_(assignment_clear) struct assignment a = {0};

    (void)state;
    chain(LONG, LONG - 1, 1, &a); /* the last left shares the first right */
    assert_int_equal(a.size, LONG - 1);
    assert_int_equal(a.n_components, 1);
    for (size_t v = 0; v < LONG; v++)
        assert_false(assignment_certain(&a, v));
}

/* Greed gives each left its own right, and only one path through all of them mends that. */
static void long_augmenting_path(void **state)
{
    _cleanup_(assignment_clear) struct assignment a = {0};
    _cleanup_free_ size_t *first = calloc(LONG + 1, sizeof(*first));
    _cleanup_free_ size_t *right = calloc(2 * LONG, sizeof(*right));

    (void)state;
    assert_true(first && right);
    for (size_t v = 0; v + 1 < LONG; v++) {
        first[v + 1] = first[v] + 2;
        right[2 * v] = v;
        right[2 * v + 1] = v + 1;
    }
    first[LONG] = first[LONG - 1] + 1;
    right[2 * (LONG - 1)] = 0;
    solve(LONG, LONG, first, right, &a);
    assert_int_equal(a.size, LONG);
    for (size_t v = 0; v + 1 < LONG; v++) {
        assert_false(assignment_admits(&a, v, v));
        assert_int_equal(a.chosen[v], v + 1);
    }
}

/* --- small random graphs, every matching tried -------------------------------------------------*/

struct trial {
    size_t n_left, n_right;
    size_t first[SMALL + 1], right[SMALL_EDGES];
    size_t size;
    size_t edge_of[SMALL]; /* of the matching in hand */
    bool covered_by_all[SMALL], in_some[SMALL_EDGES];
    size_t best[SMALL]; /* the first maximum matching: edges compared left by left */
};

/* The same graph, told in runs. */
struct shared {
    size_t first[SMALL + 1], lists[ROWS * SMALL], cut[ROWS];
    struct run runs[2 * SMALL];
};

static void try_matchings(struct trial *t, size_t v, unsigned used, size_t size, bool keep)
{
    if (v < t->n_left) {
        for (size_t e = t->first[v]; e < t->first[v + 1]; e++) {
            if (used & (1U << t->right[e]))
                continue;
            t->edge_of[v] = e;
            try_matchings(t, v + 1, used | (1U << t->right[e]), size + 1, keep);
        }
        t->edge_of[v] = NONE;
        try_matchings(t, v + 1, used, size, keep);
        return;
    }
    if (!keep) {
        if (size > t->size)
            t->size = size;
        return;
    }
    if (size < t->size)
        return;
    for (size_t i = 0; i < t->n_left; i++) {
        if (t->edge_of[i] == NONE)
            t->covered_by_all[i] = false;
        else
            t->in_some[t->edge_of[i]] = true;
    }
}

/* Edges are tried in the order in which they are liked, so the first that leaves a maximum matching
 * for the rest is the choice. Lefts that are not covered by all have none. */
static bool completes(const struct trial *t, size_t v, unsigned used, size_t size,
                      const size_t *fixed)
{
    if (v == t->n_left)
        return size == t->size;
    for (size_t e = t->first[v]; e < t->first[v + 1]; e++) {
        if (used & (1U << t->right[e]) || (fixed[v] != NONE && fixed[v] != e))
            continue;
        if (completes(t, v + 1, used | (1U << t->right[e]), size + 1, fixed))
            return true;
    }
    return fixed[v] == NONE && completes(t, v + 1, used, size, fixed);
}

static void choose_best(struct trial *t)
{
    for (size_t v = 0; v < t->n_left; v++)
        t->best[v] = NONE;
    for (size_t v = 0; v < t->n_left; v++) {
        if (!t->covered_by_all[v])
            continue;
        for (size_t e = t->first[v]; e < t->first[v + 1]; e++) {
            t->best[v] = e;
            if (completes(t, 0, 0, 0, t->best))
                break;
        }
    }
}

static bool connected(const struct trial *t, size_t a, size_t b)
{
    unsigned lefts = 1U << a, rights = 0, before, rights_before;

    do {
        before = lefts;
        rights_before = rights;
        for (size_t v = 0; v < t->n_left; v++)
            for (size_t e = t->first[v]; e < t->first[v + 1]; e++) {
                if (!t->in_some[e])
                    continue;
                if (lefts & (1U << v))
                    rights |= 1U << t->right[e];
                if (rights & (1U << t->right[e]))
                    lefts |= 1U << v;
            }
    } while (lefts != before || rights != rights_before);
    return lefts & (1U << b);
}

static uint32_t random_state = 12345;

static unsigned below(unsigned n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % n;
}

static void shuffle(size_t *items, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t k = below((unsigned)i), swap = items[k];

        items[k] = items[i - 1];
        items[i - 1] = swap;
    }
}

static void random_graph(struct trial *t)
{
    unsigned density = 15 + below(45);

    *t = (struct trial){.n_left = below(SMALL + 1), .n_right = below(SMALL + 1)};
    for (size_t v = 0; v < t->n_left; v++) {
        size_t n = t->first[v];

        for (size_t r = 0; r < t->n_right; r++)
            if (below(100) < density)
                t->right[n++] = r;
        shuffle(&t->right[t->first[v]], n - t->first[v]);
        t->first[v + 1] = n;
        t->covered_by_all[v] = true;
    }
}

/* Runs of lists that left vertices share. All right vertices stand in each row once, and a row is
 * cut in two lists; a left vertex has a run of each list of one row, in either order. */
static void random_runs(struct trial *t, struct shared *s)
{
    *t = (struct trial){.n_left = below(SMALL + 1), .n_right = 1 + below(SMALL)};
    *s = (struct shared){0};
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t r = 0; r < t->n_right; r++)
            s->lists[row * t->n_right + r] = r;
        shuffle(&s->lists[row * t->n_right], t->n_right);
        s->cut[row] = below((unsigned)t->n_right + 1);
    }
    for (size_t v = 0; v < t->n_left; v++) {
        size_t row = below(ROWS), begin = row * t->n_right, upper = below(2);

        s->first[v + 1] = s->first[v];
        t->first[v + 1] = t->first[v];
        t->covered_by_all[v] = true;
        for (size_t part = 0; part < 2; part++) {
            size_t low = part == upper ? 0 : s->cut[row];
            size_t high = part == upper ? s->cut[row] : t->n_right;
            size_t a = low + below((unsigned)(high - low) + 1);
            size_t b = low + below((unsigned)(high - low) + 1);

            if (a == b)
                continue;
            s->runs[s->first[v + 1]] =
                (struct run){begin + (a < b ? a : b), begin + (a < b ? b : a)};
            for (size_t i = s->runs[s->first[v + 1]].begin; i < s->runs[s->first[v + 1]].end; i++)
                t->right[t->first[v + 1]++] = s->lists[i];
            s->first[v + 1]++;
        }
    }
}

static void check_components(const struct trial *t, const struct assignment *a)
{
    size_t lefts = 0;

    for (size_t v = 0; v < t->n_left; v++)
        for (size_t w = 0; w < t->n_left; w++)
            assert_int_equal(a->component[v] == a->component[w], connected(t, v, w));
    for (size_t c = 0; c < a->n_components; c++) {
        unsigned rights = 0;

        for (size_t v = 0; v < t->n_left; v++)
            for (size_t e = t->first[v]; e < t->first[v + 1]; e++)
                if (a->component[v] == c && t->in_some[e])
                    rights |= 1U << t->right[e];
        assert_int_equal(a->components[c].n_right, __builtin_popcount(rights));
        lefts += a->components[c].n_left;
    }
    assert_int_equal(lefts, t->n_left);
}

static void check_trial(struct trial *t, const struct assignment *a)
{
    try_matchings(t, 0, 0, 0, false);
    try_matchings(t, 0, 0, 0, true);
    choose_best(t);
    assert_int_equal(a->size, t->size);
    for (size_t v = 0; v < t->n_left; v++) {
        assert_int_equal(assignment_certain(a, v), t->covered_by_all[v]);
        assert_true(a->chosen[v] == (t->best[v] == NONE ? NONE : t->right[t->best[v]]));
        for (size_t e = t->first[v]; e < t->first[v + 1]; e++)
            assert_int_equal(assignment_admits(a, v, t->right[e]), t->in_some[e]);
    }
    check_components(t, a);
}

static void every_matching(void **state)
{
    (void)state;
    for (size_t i = 0; i < TRIALS; i++) {
        _cleanup_(assignment_clear) struct assignment a = {0};
        struct trial t;

        random_graph(&t);
        solve(t.n_left, t.n_right, t.first, t.right, &a);
        check_trial(&t, &a);
    }
}

static void every_matching_of_runs(void **state)
{
    (void)state;
    for (size_t i = 0; i < TRIALS; i++) {
        _cleanup_(assignment_clear) struct assignment a = {0};
        struct shared s;
        struct trial t;

        random_runs(&t, &s);
        assert_int_equal(assignment_solve(&(struct bigraph){.n_left = t.n_left,
                                                            .n_right = t.n_right,
                                                            .first = s.first,
                                                            .runs = s.runs,
                                                            .lists = s.lists,
                                                            .n_lists = ROWS * t.n_right},
                                          &a),
                         0);
        check_trial(&t, &a);
    }
}

enum { MIDDLE = 40, MIDDLE_TRIALS = 300 };

/* Runs say the same as all their edges one by one. */
static void runs_as_edges(void **state)
{
    (void)state;
    for (size_t i = 0; i < MIDDLE_TRIALS; i++) {
        _cleanup_(assignment_clear) struct assignment by_runs = {0}, by_edges = {0};
        size_t n_left = 1 + below(MIDDLE), n_right = 1 + below(MIDDLE), longest = 1 + below(12);
        size_t first[MIDDLE + 1], edges[MIDDLE + 1] = {0}, lists[MIDDLE];
        size_t right[MIDDLE * MIDDLE];
        struct run runs[MIDDLE];

        for (size_t t = 0; t < n_right; t++)
            lists[t] = t;
        shuffle(lists, n_right);
        for (size_t v = 0; v <= n_left; v++)
            first[v] = v;
        for (size_t v = 0; v < n_left; v++) {
            size_t begin = below((unsigned)n_right), end = begin + 1 + below((unsigned)longest);

            runs[v] = (struct run){begin, end < n_right ? end : n_right};
            edges[v + 1] = edges[v];
            for (size_t k = runs[v].begin; k < runs[v].end; k++)
                right[edges[v + 1]++] = lists[k];
        }
        solve(n_left, n_right, edges, right, &by_edges);
        assert_int_equal(assignment_solve(&(struct bigraph){.n_left = n_left,
                                                            .n_right = n_right,
                                                            .first = first,
                                                            .runs = runs,
                                                            .lists = lists,
                                                            .n_lists = n_right},
                                          &by_runs),
                         0);
        assert_int_equal(by_runs.size, by_edges.size);
        assert_int_equal(by_runs.n_components, by_edges.n_components);
        for (size_t v = 0; v < n_left; v++) {
            assert_true(by_runs.chosen[v] == by_edges.chosen[v]);
            assert_int_equal(by_runs.component[v], by_edges.component[v]);
            for (size_t e = edges[v]; e < edges[v + 1]; e++)
                assert_int_equal(assignment_admits(&by_runs, v, right[e]),
                                 assignment_admits(&by_edges, v, right[e]));
        }
    }
}

/* Everyone may have everything: as many edges as would not fit into memory. */
static void vast_crowd(void **state)
{
    _cleanup_free_ size_t *first = calloc(LONG + 1, sizeof(*first));
    _cleanup_free_ size_t *lists = calloc(LONG + 1, sizeof(*lists));
    _cleanup_free_ struct run *runs = calloc(LONG, sizeof(*runs));

    (void)state;
    assert_true(first && lists && runs);
    for (size_t i = 0; i <= LONG; i++) {
        first[i] = i;
        lists[i] = i;
    }
    for (size_t surplus = 0; surplus < 3; surplus++) {
        _cleanup_(assignment_clear) struct assignment a = {0};
        size_t n = LONG - 1 + surplus;

        for (size_t i = 0; i < LONG; i++)
            runs[i] = (struct run){0, n};
        assert_int_equal(assignment_solve(&(struct bigraph){.n_left = LONG,
                                                            .n_right = n,
                                                            .first = first,
                                                            .runs = runs,
                                                            .lists = lists,
                                                            .n_lists = n},
                                          &a),
                         0);
        assert_int_equal(a.size, surplus > 0 ? LONG : LONG - 1);
        assert_int_equal(a.n_components, 1);
        assert_int_equal(a.components[0].n_right, n);
        for (size_t i = 0; i < LONG; i++)
            assert_true(a.chosen[i] == (surplus > 0 ? i : NONE));
    }
}

/* Left v may have the first LATE + 1 - v: the later it chooses the less is left, and the first must
 * leave the early ones to the last. To ask each for each anew would take minutes. */
static void vast_prefixes(void **state)
{
    enum { LATE = 5000 };
    _cleanup_(assignment_clear) struct assignment a = {0};
    _cleanup_free_ size_t *first = calloc(LATE + 1, sizeof(*first));
    _cleanup_free_ size_t *lists = calloc(LATE + 1, sizeof(*lists));
    _cleanup_free_ struct run *runs = calloc(LATE, sizeof(*runs));

    (void)state;
    assert_true(first && lists && runs);
    for (size_t i = 0; i <= LATE; i++) {
        first[i] = i;
        lists[i] = i;
    }
    for (size_t v = 0; v < LATE; v++)
        runs[v] = (struct run){0, LATE + 1 - v};
    assert_int_equal(assignment_solve(&(struct bigraph){.n_left = LATE,
                                                        .n_right = LATE + 1,
                                                        .first = first,
                                                        .runs = runs,
                                                        .lists = lists,
                                                        .n_lists = LATE + 1},
                                      &a),
                     0);
    /* The first takes the earliest of all, for one is to spare; the others have no choice then. */
    assert_int_equal(a.chosen[0], 0);
    for (size_t v = 1; v < LATE; v++)
        assert_int_equal(a.chosen[v], LATE - v);
    assert_int_equal(a.n_components, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_graphs),
        cmocka_unit_test(needed_by_another),
        cmocka_unit_test(too_few),
        cmocka_unit_test(given_up),
        cmocka_unit_test(long_surplus_chain),
        cmocka_unit_test(long_even_chain),
        cmocka_unit_test(long_cycle),
        cmocka_unit_test(long_contested_chain),
        cmocka_unit_test(long_augmenting_path),
        cmocka_unit_test(every_matching),
        cmocka_unit_test(every_matching_of_runs),
        cmocka_unit_test(runs_as_edges),
        cmocka_unit_test(vast_crowd),
        cmocka_unit_test(vast_prefixes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
