#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "core/timestamp.h"

#define LAST INT64_C(253402300799999)

/* xorshift64: the same sequence in every run. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int64_t parsed(const char *text)
{
    int64_t ms = -1;

    assert_int_equal(timestamp_parse(text, &ms), 0);
    return ms;
}

static void test_parse_accepts(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-11-22T14:03:07.250Z", 1795356187250},
        {"2026-11-22T14:03:07Z", 1795356187000},
        {"2026-11-22T14:03:07", 1795356187000},
        {"2026-11-22 14:03:07", 1795356187000},
        {"2026-11-22t14:03:07z", 1795356187000},
        {"2026-11-22T14:03:07.2Z", 1795356187200},
        {"2026-11-22T14:03:07.05Z", 1795356187050},
        {"2026-11-22T14:03:07.2509999999999Z", 1795356187250},
        {"2026-11-22T15:03:07+01:00", 1795356187000},
        {"2026-11-22T15:03:07+0100", 1795356187000},
        {"2026-11-22T08:33:07.250-05:30", 1795356187250},
        {"2026-11-22 14:03:07-00:00", 1795356187000},
        {"2026-11-23T13:59:07+23:56", 1795356187000},
        {"2024-02-29T00:00:00Z", 1709164800000},
        {"2000-02-29T00:00:00Z", 951782400000},
        {"2016-12-31T23:59:60Z", 1483228800000}, /* = 2017-01-01T00:00:00Z */
        {"2016-12-31T23:59:60.5Z", 1483228800500},
        {"9999-12-31T23:59:59.999Z", LAST},
        {"1969-12-31T23:00:00-01:00", 0},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        assert_true(parsed(cases[i].text) == cases[i].ms);
}

static void test_parse_refuses(void **state)
{
    static const char *const cases[] = {
        "",
        "2026",
        "2026-11-22",
        "2026-11-22T14:03",
        "2026-11-22T14:03Z",
        "2026-11-22T14:03:07.",
        "2026-11-22T14:03:07.Z",
        "2026-11-22T14:03:07,250Z",
        "2026-11-22T14:03:07ZZ",
        "2026-11-22T14:03:07Z ",
        " 2026-11-22T14:03:07Z",
        "2026-11-22  14:03:07",
        "2026-11-22T14:03:07 Z",
        "2026-11-22T14:03:07+01",
        "2026-11-22T14:03:07+1:00",
        "2026-11-22T14:03:07+24:00",
        "2026-11-22T14:03:07+00:60",
        "2026-11-22T14:03:07+01:00Z",
        "2026-11-22_14:03:07Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T14:60:00Z",
        "2026-11-22T14:03:61Z",
        "2026-00-22T14:03:07Z",
        "2026-13-22T14:03:07Z",
        "2026-11-00T14:03:07Z",
        "2026-11-31T14:03:07Z",
        "2026-02-29T14:03:07Z",
        "2100-02-29T14:03:07Z",
        "26-11-22T14:03:07Z",
        "2026-1-22T14:03:07Z",
        "20261122T140307Z",
        "+2026-11-22T14:03:07Z",
        "-026-11-22T14:03:07Z",
        "10000-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01", /* 1969 in UTC */
        "9999-12-31T23:59:59-00:01", /* 10000 in UTC */
        "9999-12-31T23:59:60Z",
        "1795356187",
        "2026-11-22T14:0\xc2\xb2:07Z",
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        int64_t ms = 42;

        if (timestamp_parse(cases[i], &ms) != -EINVAL)
            fail_msg("accepted: \"%s\"", cases[i]);
        assert_int_equal(ms, 42);
    }
}

/* Every prefix and every single changed byte of a good text: refused or read, never out of
 * bounds, and whatever is read can be written. */
static void test_parse_survives_damage(void **state)
{
    static const char good[] = "2026-11-22T14:03:07.250+01:30";
    char text[TIMESTAMP_TEXT_SIZE];
    int64_t ms;

    (void)state;
    for (size_t at = 0; at < sizeof(good) - 1; at++)
        for (int byte = 0; byte < 256; byte++) {
            char damaged[sizeof(good)];

            memcpy(damaged, good, sizeof(good));
            damaged[at] = (char)byte;
            if (timestamp_parse(damaged, &ms) == 0)
                assert_true(parsed(timestamp_format(ms, text)) == ms);
        }
}

/* Against the C library's calendar, over random instants and around every end of a month. */
static void check_against_gmtime(int64_t ms)
{
    char text[TIMESTAMP_TEXT_SIZE], query[TIMESTAMP_TEXT_SIZE], expected[64];
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;

    assert_non_null(gmtime_r(&seconds, &tm));
    strftime(expected, sizeof(expected), "%Y-%m-%d %H:%M:%S", &tm);
    assert_string_equal(timestamp_format_query(ms, query), expected);
    assert_true(parsed(query) == ms - ms % 1000);

    expected[10] = 'T';
    snprintf(expected + 19, sizeof(expected) - 19, ".%03dZ", (int)(ms % 1000));
    assert_string_equal(timestamp_format(ms, text), expected);
    assert_true(parsed(text) == ms);
}

static void test_round_trip_and_calendar(void **state)
{
    uint64_t random = 3;

    (void)state;
    for (int i = 0; i < 50000; i++)
        check_against_gmtime((int64_t)(next_random(&random) % (uint64_t)(LAST + 1)));
    for (int year = 1970; year <= 9999; year++)
        for (int month = 0; month < 12; month++) {
            struct tm tm = {.tm_year = year - 1900, .tm_mon = month, .tm_mday = 1};
            int64_t start = (int64_t)timegm(&tm) * 1000;

            check_against_gmtime(start);
            if (start > 0)
                check_against_gmtime(start - 1);
        }
}

static void test_text_order_is_time_order(void **state)
{
    uint64_t random = 11;

    (void)state;
    for (int i = 0; i < 10000; i++) {
        int64_t a = (int64_t)(next_random(&random) % (uint64_t)(LAST + 1));
        int64_t b = (int64_t)(next_random(&random) % (uint64_t)(LAST + 1));
        char text_a[TIMESTAMP_TEXT_SIZE], text_b[TIMESTAMP_TEXT_SIZE];
        int order = strcmp(timestamp_format(a, text_a), timestamp_format(b, text_b));

        assert_int_equal(a < b, order < 0);
        assert_int_equal(strlen(text_a), 24);
    }
}

static void test_format_clamps(void **state)
{
    char text[TIMESTAMP_TEXT_SIZE];

    (void)state;
    assert_string_equal(timestamp_format(-1, text), "1970-01-01T00:00:00.000Z");
    assert_string_equal(timestamp_format(INT64_MIN, text), "1970-01-01T00:00:00.000Z");
    assert_string_equal(timestamp_format(LAST + 1, text), "9999-12-31T23:59:59.999Z");
    assert_string_equal(timestamp_format(INT64_MAX, text), "9999-12-31T23:59:59.999Z");
    assert_string_equal(timestamp_format_query(-1, text), "1970-01-01 00:00:00");
    assert_string_equal(timestamp_format_query(INT64_MAX, text), "9999-12-31 23:59:59");
    assert_string_equal(timestamp_format_query(1795356187999, text), "2026-11-22 14:03:07");
}

/* The example of RFC 9110 in its three forms, and others. */
static void test_http_accepts(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777000},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777000},
        {"Sun Nov  6 08:49:37 1994", 784111777000},
        {"Sun Nov 22 14:03:07 2026", 1795356187000},
        {"Mon, 22 Nov 2026 14:03:07 GMT", 1795356187000}, /* it was a Sunday */
        {"Sunday, 22-Nov-26 14:03:07 GMT", 1795356187000},
        {"Saturday, 31-Dec-99 23:59:60 GMT", 946684800000},
        {"Thursday, 01-Jan-70 00:00:00 GMT", 0},
        {"Monday, 31-Dec-69 00:00:00 GMT", 3155673600000}, /* 2069 */
        {"Thu, 29 Feb 2024 00:00:00 GMT", 1709164800000},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        int64_t ms = -1;

        assert_int_equal(timestamp_parse_http(cases[i].text, &ms), 0);
        assert_true(ms == cases[i].ms);
    }
}

static void test_http_refuses(void **state)
{
    static const char *const cases[] = {
        "",
        "Sun",
        "Sun,",
        "Sunday",
        "120",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sunday Nov  6 08:49:37 1994",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov 06 08:49:37 1994 GMT",
        "Son, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nix 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Wed, 29 Feb 2023 00:00:00 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Wed, 31 Dec 1969 23:59:59 GMT",
        "1994-11-06T08:49:37Z",
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        int64_t ms = 42;

        if (timestamp_parse_http(cases[i], &ms) != -EINVAL)
            fail_msg("accepted: \"%s\"", cases[i]);
        assert_int_equal(ms, 42);
    }
}

/* What strftime() writes in the three forms, in every month. */
static void test_http_against_strftime(void **state)
{
    uint64_t random = 5;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        /* Before 2070, or two digits of a year say another century. */
        int64_t ms = (int64_t)(next_random(&random) % 3155760000) * 1000;
        time_t seconds = (time_t)(ms / 1000);
        char texts[3][64];
        struct tm tm;
        size_t n;

        gmtime_r(&seconds, &tm);
        strftime(texts[0], sizeof(texts[0]), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        n = strftime(texts[1], sizeof(texts[1]), "%A, %d-%b-", &tm);
        snprintf(texts[1] + n, sizeof(texts[1]) - n, "%02d %02d:%02d:%02d GMT", tm.tm_year % 100,
                 tm.tm_hour, tm.tm_min, tm.tm_sec);
        strftime(texts[2], sizeof(texts[2]), "%a %b %e %H:%M:%S %Y", &tm);
        for (size_t form = 0; form < ELEMENTSOF(texts); form++) {
            int64_t back = -1;

            assert_int_equal(timestamp_parse_http(texts[form], &back), 0);
            assert_true(back == ms);
        }
    }
}

static void test_seconds_are_rounded_outwards(void **state)
{
    static const struct {
        int64_t ms, floor, ceil;
    } cases[] = {
        {0, 0, 0},          {1, 0, 1000},          {999, 0, 1000},
        {1000, 1000, 1000}, {1001, 1000, 2000},    {-1, -1000, 0},
        {-999, -1000, 0},   {-1000, -1000, -1000}, {-1001, -2000, -1000},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        assert_int_equal(timestamp_floor_second(cases[i].ms), cases[i].floor);
        assert_int_equal(timestamp_ceil_second(cases[i].ms), cases[i].ceil);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_accepts),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_parse_survives_damage),
        cmocka_unit_test(test_round_trip_and_calendar),
        cmocka_unit_test(test_text_order_is_time_order),
        cmocka_unit_test(test_format_clamps),
        cmocka_unit_test(test_http_accepts),
        cmocka_unit_test(test_http_refuses),
        cmocka_unit_test(test_http_against_strftime),
        cmocka_unit_test(test_seconds_are_rounded_outwards),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
