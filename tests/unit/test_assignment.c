#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/assignment.h"

#define NONE SIZE_MAX

enum { LONG = 100000, SMALL = 6, SMALL_EDGES = SMALL * SMALL, TRIALS = 60000 };

static void solve(size_t n_left, size_t n_right, const size_t *first, const size_t *right,
                  struct assignment *ret)
{
    const struct bigraph graph = {
        .n_left = n_left, .n_right = n_right, .first = first, .right = right};

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
        assert_false(lonely.certain[v]);
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
    assert_true(a.certain[0] && a.certain[1]);
    assert_false(a.admissible[0]);
    assert_true(a.admissible[1] && a.admissible[2] && a.admissible[3]);
    assert_int_equal(a.n_components, 2);
    assert_int_equal(a.components[0].n_right, 2);
    assert_int_equal(a.components[1].n_right, 1);
    assert_int_equal(a.chosen[0], 1);
    assert_int_equal(a.chosen[1], 3);
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
        assert_false(a.certain[v]);
        assert_true(a.chosen[v] == NONE);
    }
    for (size_t e = 0; e < 4; e++)
        assert_true(a.admissible[e]);
}

/* What one left gives up in its turn is free for those that come after it. */
static void given_up(void **state)
{
    _cleanup_(assignment_clear) struct assignment a = {0};
    const size_t first[] = {0, 3, 4, 7, 12, 14};
    const size_t right[] = {3, 1, 5, 3, 5, 3, 2, 4, 1, 2, 0, 5, 4, 1};
    const size_t chosen[] = {1, 3, 4, 9, 12};

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
        assert_true(a.certain[v]);
        assert_true(a.admissible[2 * v] && a.admissible[2 * v + 1]);
        assert_int_equal(a.chosen[v], 2 * v);
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
        assert_true(a.certain[v]);
        assert_true(a.admissible[2 * v]);
        if (v + 1 < LONG)
            assert_false(a.admissible[2 * v + 1]);
        assert_int_equal(a.chosen[v], 2 * v);
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
        assert_true(a.certain[v]);
        assert_true(a.admissible[2 * v] && a.admissible[2 * v + 1]);
        assert_int_equal(a.chosen[v], 2 * v);
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
        assert_false(a.certain[v]);
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
        assert_false(a.admissible[2 * v]);
        assert_int_equal(a.chosen[v], 2 * v + 1);
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

static void random_graph(struct trial *t)
{
    unsigned density = 15 + below(45);

    *t = (struct trial){.n_left = below(SMALL + 1), .n_right = below(SMALL + 1)};
    for (size_t v = 0; v < t->n_left; v++) {
        size_t n = t->first[v];

        for (size_t r = 0; r < t->n_right; r++)
            if (below(100) < density)
                t->right[n++] = r;
        for (size_t i = n; i > t->first[v] + 1; i--) {
            size_t k = t->first[v] + below((unsigned)(i - t->first[v])), swap = t->right[k];

            t->right[k] = t->right[i - 1];
            t->right[i - 1] = swap;
        }
        t->first[v + 1] = n;
        t->covered_by_all[v] = true;
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

static void every_matching(void **state)
{
    (void)state;
    for (size_t i = 0; i < TRIALS; i++) {
        _cleanup_(assignment_clear) struct assignment a = {0};
        struct trial t;

        random_graph(&t);
        try_matchings(&t, 0, 0, 0, false);
        try_matchings(&t, 0, 0, 0, true);
        choose_best(&t);
        solve(t.n_left, t.n_right, t.first, t.right, &a);
        assert_int_equal(a.size, t.size);
        for (size_t v = 0; v < t.n_left; v++) {
            assert_int_equal(a.certain[v], t.covered_by_all[v]);
            assert_true(a.chosen[v] == t.best[v]);
        }
        for (size_t e = 0; e < t.first[t.n_left]; e++)
            assert_int_equal(a.admissible[e], t.in_some[e]);
        check_components(&t, &a);
    }
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
