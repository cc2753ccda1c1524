#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"

struct parse_case {
    const char *text;
    int code;
    int64_t value;
};

static void check(int (*parse)(const char *text, int64_t *ret), const struct parse_case *cases,
                  size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int64_t value = 42;
        int r = parse(cases[i].text, &value);

        if (r != cases[i].code || value != (r == 0 ? cases[i].value : 42))
            fail_msg("\"%s\": %d, %lld", cases[i].text, r, (long long)value);
    }
}

static int parse_small(const char *text, int64_t *ret)
{
    return parse_int(text, 1, 100, ret);
}

static int parse_signed(const char *text, int64_t *ret)
{
    return parse_int(text, -5, 5, ret);
}

static int parse_any(const char *text, int64_t *ret)
{
    return parse_int(text, INT64_MIN, INT64_MAX, ret);
}

static void test_int(void **state)
{
    static const struct parse_case small[] = {
        {"1", 0, 1},
        {"100", 0, 100},
        {"007", 0, 7},
        {"0", -ERANGE, 0},
        {"101", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"1\n", -EINVAL, 0},
        {"1.0", -EINVAL, 0},
        {"0x1", -EINVAL, 0},
        {"1e1", -EINVAL, 0},
        {"seven", -EINVAL, 0},
        {"99999999999999999999", -ERANGE, 0},
        {"99999999999999999999x", -EINVAL, 0},
    };
    static const struct parse_case with_sign[] = {
        {"-5", 0, -5},       {"5", 0, 5},        {"-0", 0, 0},
        {"-6", -ERANGE, 0},  {"6", -ERANGE, 0},  {"-", -EINVAL, 0},
        {"--5", -EINVAL, 0}, {"5-", -EINVAL, 0}, {"- 5", -EINVAL, 0},
    };
    static const struct parse_case any[] = {
        {"9223372036854775807", 0, INT64_MAX},
        {"-9223372036854775808", 0, INT64_MIN},
        {"9223372036854775808", -ERANGE, 0},
        {"-9223372036854775809", -ERANGE, 0},
    };

    (void)state;
    check(parse_small, small, ELEMENTSOF(small));
    check(parse_signed, with_sign, ELEMENTSOF(with_sign));
    check(parse_any, any, ELEMENTSOF(any));
}

static void test_duration(void **state)
{
    static const struct parse_case cases[] = {
        {"0", 0, 0},
        {"30", 0, 30000},
        {"250ms", 0, 250},
        {"30s", 0, 30000},
        {"15min", 0, 900000},
        {"1h", 0, 3600000},
        {"72h", 0, 259200000},
        {"30d", 0, INT64_C(2592000000)},
        {"9223372036854775807ms", 0, INT64_MAX},
        {"9223372036854775808ms", -ERANGE, 0},
        {"9223372036854776", -ERANGE, 0},
        {"106751991168d", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"s", -EINVAL, 0},
        {"m", -EINVAL, 0},
        {"5m", -EINVAL, 0},
        {"5 s", -EINVAL, 0},
        {"5s ", -EINVAL, 0},
        {"5S", -EINVAL, 0},
        {"1.5h", -EINVAL, 0},
        {"-5s", -EINVAL, 0},
        {"+5s", -EINVAL, 0},
        {"1h30min", -EINVAL, 0},
        {"99999999999999999999weeks", -EINVAL, 0},
    };

    (void)state;
    check(parse_duration, cases, ELEMENTSOF(cases));
}

static void test_size(void **state)
{
    static const struct parse_case cases[] = {
        {"0", 0, 0},
        {"512", 0, 512},
        {"1K", 0, 1024},
        {"16M", 0, 16 << 20},
        {"2G", 0, INT64_C(2) << 30},
        {"8589934591G", 0, INT64_C(8589934591) << 30},
        {"8589934592G", -ERANGE, 0},
        {"16MB", -EINVAL, 0},
        {"16m", -EINVAL, 0},
        {"M", -EINVAL, 0},
        {"", -EINVAL, 0},
        {"-1K", -EINVAL, 0},
        {"1 K", -EINVAL, 0},
    };

    (void)state;
    check(parse_size, cases, ELEMENTSOF(cases));
}

static void test_percent(void **state)
{
    static const struct parse_case cases[] = {
        {"1%", 0, 1},
        {"50%", 0, 50},
        {"100%", 0, 100},
        {"0%", -ERANGE, 0},
        {"101%", -ERANGE, 0},
        {"50", -EINVAL, 0},
        {"%", -EINVAL, 0},
        {"50 %", -EINVAL, 0},
        {"-5%", -EINVAL, 0},
        {"5%%", -EINVAL, 0},
        {"0.5%", -EINVAL, 0},
        {"", -EINVAL, 0},
        {"99999999999999999999%", -ERANGE, 0},
    };

    (void)state;
    check(parse_percent, cases, ELEMENTSOF(cases));
}

static void test_bool(void **state)
{
    static const char *const yes[] = {"yes", "true", "on", "1", "YES", "True", "oN"};
    static const char *const no[] = {"no", "false", "off", "0", "NO", "False", "oFF"};
    static const char *const neither[] = {"", "y", "n", "2", "00", "yes ", " no", "truefalse"};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(yes); i++) {
        bool value = false;

        assert_int_equal(parse_bool(yes[i], &value), 0);
        assert_true(value);
    }
    for (size_t i = 0; i < ELEMENTSOF(no); i++) {
        bool value = true;

        assert_int_equal(parse_bool(no[i], &value), 0);
        assert_false(value);
    }
    for (size_t i = 0; i < ELEMENTSOF(neither); i++) {
        bool value = true;

        assert_int_equal(parse_bool(neither[i], &value), -EINVAL);
        assert_true(value);
    }
}

static void test_format_duration(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "0ms"},       {1, "1ms"},       {999, "999ms"},    {1000, "1s"},
        {1500, "1500ms"}, {90000, "90s"},   {900000, "15min"}, {5400000, "90min"},
        {3600000, "1h"},  {86400000, "1d"}, {259200000, "3d"}, {90000000, "25h"},
    };
    char text[32];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        int64_t back = -1;

        assert_string_equal(format_duration(cases[i].ms, text, sizeof(text)), cases[i].text);
        assert_int_equal(parse_duration(text, &back), 0);
        assert_int_equal(back, cases[i].ms);
    }
}

static void test_copy_text(void **state)
{
    char to[4] = "old";

    (void)state;
    assert_int_equal(copy_text(to, sizeof(to), "four"), -ENAMETOOLONG);
    assert_string_equal(to, "old");
    assert_int_equal(copy_text(to, sizeof(to), "new"), 0);
    assert_string_equal(to, "new");
    assert_int_equal(copy_text(to, sizeof(to), ""), 0);
    assert_string_equal(to, "");
    assert_int_equal(copy_text(to, 0, ""), -ENAMETOOLONG);
}

static void test_text_equal_nocase(void **state)
{
    (void)state;
    assert_true(text_equal_nocase("", ""));
    assert_true(text_equal_nocase("Visa", "vISA"));
    assert_true(text_equal_nocase("AZaz09", "azAZ09"));
    assert_false(text_equal_nocase("Visa", "Visa "));
    assert_false(text_equal_nocase("Visa", "Vis"));
    assert_false(text_equal_nocase("", "a"));
    /* The neighbours of the letters, which a careless fold of one bit takes for letters. */
    assert_false(text_equal_nocase("@", "`"));
    assert_false(text_equal_nocase("[", "{"));
    assert_false(text_equal_nocase("\xc3\x84", "\xc3\xa4")); /* Ä and ä: only ASCII folds */
    assert_true(text_equal_nocase("\xc3\x84", "\xc3\x84"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_int),       cmocka_unit_test(test_duration),
        cmocka_unit_test(test_size),      cmocka_unit_test(test_percent),
        cmocka_unit_test(test_bool),      cmocka_unit_test(test_format_duration),
        cmocka_unit_test(test_copy_text), cmocka_unit_test(test_text_equal_nocase),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
