#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "core/rate_budget.h"

DEFINE_CLEANUP(struct rate_budget *, rate_budget_free)

#define NOW INT64_C(1795356187000)

/* xorshift64: the same sequence in every run. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void note_many(struct rate_budget *budget, unsigned n, int64_t at)
{
    while (n-- > 0)
        rate_budget_note(budget, at);
}

static void test_fresh_budget_is_free(void **state)
{
    _cleanup_(rate_budget_free_p) struct rate_budget *budget = rate_budget_new(10);

    (void)state;
    assert_int_equal(rate_budget_limit(budget), 10);
    assert_int_equal(rate_budget_used(budget, NOW), 0);
    assert_int_equal(rate_budget_wait(budget, RATE_ORDER, NOW), 0);
    assert_int_equal(rate_budget_wait(budget, RATE_HISTORY, NOW), 0);
    assert_null(rate_budget_free(NULL));
}

static void test_waits_until_the_oldest_is_a_minute_old(void **state)
{
    _cleanup_(rate_budget_free_p) struct rate_budget *budget = rate_budget_new(3);

    (void)state;
    rate_budget_note(budget, NOW);
    rate_budget_note(budget, NOW + 10000);
    assert_int_equal(rate_budget_wait(budget, RATE_ORDER, NOW + 10000), 0);
    rate_budget_note(budget, NOW + 20000);
    assert_int_equal(rate_budget_wait(budget, RATE_ORDER, NOW + 20000), 40000);
    assert_int_equal(rate_budget_wait(budget, RATE_ORDER, NOW + 59999), 1);
    assert_int_equal(rate_budget_used(budget, NOW + 59999), 3);
    assert_int_equal(rate_budget_wait(budget, RATE_ORDER, NOW + 60000), 0);
    assert_int_equal(rate_budget_used(budget, NOW + 60000), 2);
    rate_budget_note(budget, NOW + 60000);
    assert_int_equal(rate_budget_wait(budget, RATE_ORDER, NOW + 60000), 10000);
}

static void test_priorities_have_shares(void **state)
{
    _cleanup_(rate_budget_free_p) struct rate_budget *budget = rate_budget_new(100);

    (void)state;
    note_many(budget, 79, NOW);
    assert_int_equal(rate_budget_wait(budget, RATE_HISTORY, NOW), 0);
    note_many(budget, 1, NOW + 1000);
    assert_int_equal(rate_budget_wait(budget, RATE_HISTORY, NOW + 1000), 59000);
    assert_int_equal(rate_budget_wait(budget, RATE_CYCLE, NOW + 1000), 0);
    note_many(budget, 10, NOW + 2000);
    assert_int_equal(rate_budget_wait(budget, RATE_CYCLE, NOW + 2000), 58000);
    assert_int_equal(rate_budget_wait(budget, RATE_ORDER, NOW + 2000), 0);
    /* 90 are noted: history has to see eleven go, of which the eleventh is among the first 79. */
    assert_int_equal(rate_budget_wait(budget, RATE_HISTORY, NOW + 2000), 58000);
    note_many(budget, 10, NOW + 3000);
    assert_int_equal(rate_budget_wait(budget, RATE_ORDER, NOW + 3000), 57000);
    assert_int_equal(rate_budget_used(budget, NOW + 3000), 100);
}

static void test_a_small_limit_lets_everyone_have_one(void **state)
{
    (void)state;
    for (unsigned limit = 0; limit <= 2; limit++) {
        _cleanup_(rate_budget_free_p) struct rate_budget *budget = rate_budget_new(limit);

        assert_int_equal(rate_budget_wait(budget, RATE_HISTORY, NOW), 0);
        rate_budget_note(budget, NOW);
        assert_int_equal(rate_budget_wait(budget, RATE_HISTORY, NOW), RATE_WINDOW_MS);
        assert_int_equal(rate_budget_wait(budget, RATE_CYCLE, NOW), RATE_WINDOW_MS);
        assert_int_equal(rate_budget_wait(budget, RATE_ORDER, NOW),
                         limit == 2 ? 0 : RATE_WINDOW_MS);
    }
}

/* After a restart the past minute comes back, maybe more of it than the limit (it was lowered)
 * and in any order. */
static void test_restored_in_any_order(void **state)
{
    _cleanup_(rate_budget_free_p) struct rate_budget *budget = rate_budget_new(3);

    (void)state;
    rate_budget_note(budget, NOW - 10000);
    rate_budget_note(budget, NOW - 20000);
    rate_budget_note(budget, NOW - 50000);
    rate_budget_note(budget, NOW - 30000);
    rate_budget_note(budget, NOW - 55000);
    assert_int_equal(rate_budget_used(budget, NOW), 3);
    assert_int_equal(rate_budget_wait(budget, RATE_ORDER, NOW), 30000);
}

/* The clock was an hour fast when the requests were noted. */
static void test_clock_set_back(void **state)
{
    _cleanup_(rate_budget_free_p) struct rate_budget *budget = rate_budget_new(5);
    int64_t waited = 0, wait;

    (void)state;
    note_many(budget, 5, NOW + 3600000);
    while ((wait = rate_budget_wait(budget, RATE_ORDER, NOW + waited)) > 0) {
        waited += wait < 1000 ? wait : 1000;
        assert_true(waited <= RATE_WINDOW_MS);
    }
    assert_int_equal(waited, RATE_WINDOW_MS);
    assert_int_equal(rate_budget_used(budget, NOW + waited), 0);
}

static void test_clock_set_back_a_little(void **state)
{
    _cleanup_(rate_budget_free_p) struct rate_budget *budget = rate_budget_new(2);

    (void)state;
    rate_budget_note(budget, NOW - 40000);
    rate_budget_note(budget, NOW + 500);
    assert_int_equal(rate_budget_wait(budget, RATE_ORDER, NOW), 20000);
    rate_budget_note(budget, NOW + 20000);
    assert_int_equal(rate_budget_wait(budget, RATE_ORDER, NOW + 20000), 40000);
}

/* The oracle is the list of all requests ever made: no window of a minute holds more than the
 * priority's share, and the wait is the shortest that keeps it so. */
static void test_no_minute_holds_more(void **state)
{
    enum { N = 4000 };
    static int64_t made[N];
    uint64_t random = 9;

    (void)state;
    for (unsigned limit = 1; limit <= 61; limit += 12) {
        _cleanup_(rate_budget_free_p) struct rate_budget *budget = rate_budget_new(limit);
        const unsigned share[] = {limit, limit * 9 / 10, limit * 4 / 5};
        int64_t now = NOW;

        for (size_t n = 0; n < N;) {
            unsigned priority = (unsigned)(next_random(&random) % 3);
            unsigned cap = share[priority] > 0 ? share[priority] : 1, used = 0;
            int64_t wait, expected = 0;

            now += (int64_t)(next_random(&random) % (60000 / limit));
            for (size_t i = n; i > 0 && made[i - 1] > now - RATE_WINDOW_MS; i--)
                if (++used == cap)
                    expected = made[i - 1] + RATE_WINDOW_MS - now;
            wait = rate_budget_wait(budget, (enum rate_priority)priority, now);
            assert_int_equal(wait, expected);
            assert_int_equal(rate_budget_used(budget, now), used);
            now += wait;
            rate_budget_note(budget, now);
            made[n++] = now;
            if (n > limit)
                assert_true(made[n - 1] - made[n - 1 - limit] >= RATE_WINDOW_MS);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh_budget_is_free),
        cmocka_unit_test(test_waits_until_the_oldest_is_a_minute_old),
        cmocka_unit_test(test_priorities_have_shares),
        cmocka_unit_test(test_a_small_limit_lets_everyone_have_one),
        cmocka_unit_test(test_restored_in_any_order),
        cmocka_unit_test(test_clock_set_back),
        cmocka_unit_test(test_clock_set_back_a_little),
        cmocka_unit_test(test_no_minute_holds_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
