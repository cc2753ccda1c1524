#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/interval.h"

/* xorshift64: the same sequence in every run. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* The set is exactly the `n` intervals that follow. */
static void assert_set(const struct interval_set *set, size_t n, const int64_t (*expected)[2])
{
    assert_int_equal(set->n, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(set->items[i].from, expected[i][0]);
        assert_int_equal(set->items[i].to, expected[i][1]);
    }
}

#define ASSERT_SET(set, ...)                                                                       \
    do {                                                                                           \
        const int64_t expected_[][2] = {__VA_ARGS__};                                              \
        assert_set((set), ELEMENTSOF(expected_), expected_);                                       \
    } while (0)

static void test_add_merges_what_touches(void **state)
{
    _cleanup_(interval_set_clear) struct interval_set set = {0};

    (void)state;
    assert_int_equal(interval_set_add(&set, 10, 20), 0);
    assert_int_equal(interval_set_add(&set, 30, 40), 0);
    ASSERT_SET(&set, {10, 20}, {30, 40});
    interval_set_add(&set, 20, 25);
    ASSERT_SET(&set, {10, 25}, {30, 40});
    interval_set_add(&set, 0, 9); /* an instant short of touching */
    ASSERT_SET(&set, {0, 9}, {10, 25}, {30, 40});
    interval_set_add(&set, 12, 15);
    ASSERT_SET(&set, {0, 9}, {10, 25}, {30, 40});
    interval_set_add(&set, 9, 30);
    ASSERT_SET(&set, {0, 40});
    interval_set_add(&set, 50, 45);
    ASSERT_SET(&set, {0, 40});
}

static void test_add_an_instant(void **state)
{
    _cleanup_(interval_set_clear) struct interval_set set = {0};

    (void)state;
    interval_set_add(&set, 15, 15);
    ASSERT_SET(&set, {15, 15});
    interval_set_add(&set, 15, 15);
    ASSERT_SET(&set, {15, 15});
    assert_true(interval_set_covers(&set, 15, 15));
    interval_set_add(&set, 15, 20);
    ASSERT_SET(&set, {15, 20});
}

static void test_subtract(void **state)
{
    static const struct {
        int64_t member[2], minus[2];
        size_t n;
        int64_t left[2][2];
    } cases[] = {
        {{10, 20}, {10, 20}, 0, {{0}}},      {{10, 20}, {0, 30}, 0, {{0}}},
        {{10, 20}, {0, 20}, 0, {{0}}},       {{10, 20}, {0, 15}, 1, {{15, 20}}},
        {{10, 20}, {10, 15}, 1, {{15, 20}}}, {{10, 20}, {15, 30}, 1, {{10, 15}}},
        {{10, 20}, {15, 20}, 1, {{10, 15}}}, {{10, 20}, {12, 15}, 2, {{10, 12}, {15, 20}}},
        {{10, 20}, {0, 10}, 1, {{10, 20}}},  {{10, 20}, {20, 30}, 1, {{10, 20}}},
        {{10, 20}, {15, 15}, 1, {{10, 20}}}, /* a hole of no length */
        {{10, 20}, {10, 10}, 1, {{10, 20}}}, {{10, 20}, {15, 12}, 1, {{10, 20}}},
        {{15, 15}, {10, 20}, 0, {{0}}},      {{10, 10}, {10, 20}, 0, {{0}}},
        {{20, 20}, {10, 20}, 0, {{0}}},      {{15, 15}, {15, 15}, 0, {{0}}},
        {{15, 15}, {10, 14}, 1, {{15, 15}}},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_(interval_set_clear) struct interval_set set = {0};

        interval_set_add(&set, cases[i].member[0], cases[i].member[1]);
        assert_int_equal(interval_set_subtract(&set, cases[i].minus[0], cases[i].minus[1]), 0);
        assert_set(&set, cases[i].n, cases[i].left);
    }
}

/* What is read of what was asked for: the next window begins where the last one ended. */
static void test_subtract_over_many(void **state)
{
    _cleanup_(interval_set_clear) struct interval_set set = {0};

    (void)state;
    interval_set_add(&set, 0, 10);
    interval_set_add(&set, 20, 20);
    interval_set_add(&set, 30, 40);
    interval_set_add(&set, 50, 60);
    interval_set_subtract(&set, 5, 55);
    ASSERT_SET(&set, {0, 5}, {55, 60});
}

static void test_covers(void **state)
{
    _cleanup_(interval_set_clear) struct interval_set set = {0};

    (void)state;
    assert_false(interval_set_covers(&set, 0, 0));
    interval_set_add(&set, 10, 20);
    interval_set_add(&set, 21, 30);
    assert_true(interval_set_covers(&set, 10, 20));
    assert_true(interval_set_covers(&set, 12, 12));
    assert_false(interval_set_covers(&set, 9, 12));
    assert_false(interval_set_covers(&set, 12, 21));
    assert_false(interval_set_covers(&set, 10, 30)); /* two members, and a gap between them */
    assert_false(interval_set_covers(&set, 15, 12)); /* no interval: proves nothing */
}

static void test_extremes(void **state)
{
    _cleanup_(interval_set_clear) struct interval_set set = {0};

    (void)state;
    interval_set_add(&set, INT64_MIN, INT64_MAX);
    assert_true(interval_set_covers(&set, INT64_MIN, INT64_MAX));
    interval_set_subtract(&set, -1, 1);
    ASSERT_SET(&set, {INT64_MIN, -1}, {1, INT64_MAX});
    interval_set_clear(&set);
    interval_set_clear(&set);
    assert_int_equal(set.n, 0);
}

/* The oracle: a line of cells, the even ones the instants 0, 1, 2 …, the odd ones the open spaces
 * between them. A closed interval is a run of cells that begins and ends with an instant. */
enum { INSTANTS = 64, CELLS = 2 * INSTANTS - 1 };

static void oracle_add(bool *cells, int from, int to)
{
    for (int i = 2 * from; i <= 2 * to; i++)
        cells[i] = true;
}

static void oracle_drop_if_alone(bool *cells, int instant)
{
    int i = 2 * instant;

    if (!(i > 0 && cells[i - 1]) && !(i < CELLS - 1 && cells[i + 1]))
        cells[i] = false;
}

static void oracle_subtract(bool *cells, int from, int to)
{
    for (int i = 2 * from + 1; i < 2 * to; i++)
        cells[i] = false;
    oracle_drop_if_alone(cells, from);
    oracle_drop_if_alone(cells, to);
}

static void assert_same_as_oracle(const struct interval_set *set, const bool *cells)
{
    size_t n = 0;

    for (int i = 0; i < CELLS; i++) {
        int start = i;

        if (!cells[i])
            continue;
        while (i + 1 < CELLS && cells[i + 1])
            i++;
        assert_true(n < set->n);
        assert_int_equal(set->items[n].from, start / 2);
        assert_int_equal(set->items[n].to, i / 2);
        n++;
    }
    assert_int_equal(set->n, n);
}

static void test_against_oracle(void **state)
{
    uint64_t random = 13;
    size_t most = 0;

    (void)state;
    for (int round = 0; round < 300; round++) {
        _cleanup_(interval_set_clear) struct interval_set set = {0};
        bool cells[CELLS] = {false};

        for (int step = 0; step < 200; step++) {
            int from = (int)(next_random(&random) % INSTANTS);
            int to = from + (int)(next_random(&random) % 8);
            bool covered = true;

            to = to < INSTANTS ? to : INSTANTS - 1;
            if (next_random(&random) % 2) {
                assert_int_equal(interval_set_add(&set, from, to), 0);
                oracle_add(cells, from, to);
            } else {
                assert_int_equal(interval_set_subtract(&set, from, to), 0);
                oracle_subtract(cells, from, to);
            }
            assert_same_as_oracle(&set, cells);
            most = set.n > most ? set.n : most;

            from = (int)(next_random(&random) % INSTANTS);
            to = from + (int)(next_random(&random) % 4);
            to = to < INSTANTS ? to : INSTANTS - 1;
            for (int i = 2 * from; i <= 2 * to; i++)
                covered = covered && cells[i];
            assert_int_equal(interval_set_covers(&set, from, to), covered);
        }
    }
    assert_true(most > 8); /* the array had to grow */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_merges_what_touches),
        cmocka_unit_test(test_add_an_instant),
        cmocka_unit_test(test_subtract),
        cmocka_unit_test(test_subtract_over_many),
        cmocka_unit_test(test_covers),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_against_oracle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
