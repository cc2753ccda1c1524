#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>

#include "core/backoff.h"

static void test_doubles_from_the_base(void **state)
{
    (void)state;
    assert_int_equal(backoff_delay(1000, 0, 60000), 1000);
    assert_int_equal(backoff_delay(1000, 1, 60000), 2000);
    assert_int_equal(backoff_delay(1000, 2, 60000), 4000);
    assert_int_equal(backoff_delay(1000, 5, 60000), 32000);
}

static void test_stops_at_the_maximum(void **state)
{
    (void)state;
    assert_int_equal(backoff_delay(1000, 6, 60000), 60000);
    assert_int_equal(backoff_delay(1000, 6, 64000), 64000);
    assert_int_equal(backoff_delay(1000, 6, 63999), 63999);
    assert_int_equal(backoff_delay(5000, 0, 3000), 3000);
}

/* No number of attempts makes it overflow, shrink or start again. */
static void test_many_attempts(void **state)
{
    int64_t last = 0;

    (void)state;
    for (unsigned attempt = 0; attempt < 200; attempt++) {
        int64_t delay = backoff_delay(3, attempt, INT64_MAX);

        assert_true(delay >= last && delay > 0);
        last = delay;
    }
    assert_true(last == INT64_MAX);
    assert_int_equal(backoff_delay(1000, 63, 60000), 60000);
    assert_int_equal(backoff_delay(1000, 64, 60000), 60000);
    assert_int_equal(backoff_delay(1000, UINT_MAX, 60000), 60000);
    assert_true(backoff_delay(1, 62, INT64_MAX) == INT64_C(1) << 62);
}

static void test_no_base_is_no_wait(void **state)
{
    (void)state;
    assert_int_equal(backoff_delay(0, 0, 60000), 0);
    assert_int_equal(backoff_delay(0, UINT_MAX, 60000), 0);
    assert_int_equal(backoff_delay(1000, 3, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles_from_the_base),
        cmocka_unit_test(test_stops_at_the_maximum),
        cmocka_unit_test(test_many_attempts),
        cmocka_unit_test(test_no_base_is_no_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
