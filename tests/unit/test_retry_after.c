#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "core/retry_after.h"

#define NOW INT64_C(1795356187000) /* 2026-11-22T14:03:07Z */

static void test_values(void **state)
{
    static const struct {
        const char *value;
        int64_t ms;
    } cases[] = {
        {"0", 0},
        {"1", 1000},
        {"120", 120000},
        {"007", 7000},
        {" 5 ", 5000},
        {"5\r\n", 5000},
        {"1.5", 1500},
        {"0.25", 250},
        {"0.0001", 1}, /* never too early */
        {"1.5000", 1500},
        {"1.50001", 1501},
        {"599.9999", RETRY_AFTER_MAX_MS},
        {"600", RETRY_AFTER_MAX_MS},
        {"601", RETRY_AFTER_MAX_MS},
        {"600.5", RETRY_AFTER_MAX_MS},
        {"86400", RETRY_AFTER_MAX_MS},
        {"9223372036854775808", RETRY_AFTER_MAX_MS},
        {"99999999999999999999999999999999", RETRY_AFTER_MAX_MS},
        {"Sun, 22 Nov 2026 14:03:37 GMT", 30000},
        {" Sun, 22 Nov 2026 14:03:37 GMT ", 30000},
        {"Sunday, 22-Nov-26 14:04:07 GMT", 60000},
        {"Sun Nov 22 14:03:08 2026", 1000},
        {"Sun, 22 Nov 2026 14:03:07 GMT", 0},
        {"Sun, 06 Nov 1994 08:49:37 GMT", 0}, /* in the past */
        {"Mon, 22 Nov 2027 14:03:07 GMT", RETRY_AFTER_MAX_MS},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        int64_t ms = retry_after_parse(cases[i].value, NOW);

        if (ms != cases[i].ms)
            fail_msg("\"%s\" is %lld ms", cases[i].value, (long long)ms);
    }
}

static void test_not_understood_is_the_default(void **state)
{
    static const char *const cases[] = {
        NULL,
        "",
        " ",
        "-1",
        "+5",
        ".5",
        "5.",
        "1e3",
        "0x10",
        "5s",
        "5 6",
        "soon",
        "null",
        "1,5",
        "NaN",
        "inf",
        "1.-",
        "1.5.5",
        "Sun, 31 Nov 2026 14:03:37 GMT",
        "2026-11-22T14:03:37Z",
        "111111111111111111111111111111111111111111111111111111111111111111111111111111",
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        if (retry_after_parse(cases[i], NOW) != RETRY_AFTER_DEFAULT_MS)
            fail_msg("understood: \"%s\"", cases[i]);
}

static void test_date_with_a_mad_clock(void **state)
{
    static const char *date = "Sun, 22 Nov 2026 14:03:37 GMT";

    (void)state;
    assert_int_equal(retry_after_parse(date, INT64_MIN), RETRY_AFTER_MAX_MS);
    assert_int_equal(retry_after_parse(date, INT64_MAX), 0);
    assert_int_equal(retry_after_parse(date, NOW + 1), 29999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_not_understood_is_the_default),
        cmocka_unit_test(test_date_with_a_mad_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
