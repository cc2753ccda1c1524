#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/money.h"

/* xorshift64: the same sequence in every run. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void test_exponents(void **state)
{
    (void)state;
    assert_int_equal(currency_exponent("USD"), 2);
    assert_int_equal(currency_exponent("JPY"), 0);
    assert_int_equal(currency_exponent("ISK"), 0);
    assert_int_equal(currency_exponent("HUF"), 2);
    assert_int_equal(currency_exponent("MRU"), 2);
    assert_int_equal(currency_exponent("KWD"), 3);
    assert_int_equal(currency_exponent("UYI"), 0);
    assert_int_equal(currency_exponent("UYW"), 4);
    assert_int_equal(currency_exponent("CLF"), 4);
    assert_int_equal(currency_exponent("AED"), 2); /* the first and the last of the list */
    assert_int_equal(currency_exponent("ZWG"), 2);
}

static void test_unknown_codes(void **state)
{
    static const char *const unknown[] = {"",    "US",  "USDX", "usd", "Usd", "XAU", "XXX",
                                          "XTS", "XDR", "HRK",  "AAA", "ZZZ", " USD"};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(unknown); i++)
        assert_int_equal(currency_exponent(unknown[i]), -EINVAL);
}

static void test_list_is_sorted_and_known(void **state)
{
    const char *const *codes = currency_codes();
    size_t n, by_exponent[5] = {0};

    (void)state;
    for (n = 0; codes[n]; n++) {
        int exponent = currency_exponent(codes[n]);

        assert_int_equal(strlen(codes[n]), 3);
        assert_in_range(exponent, 0, 4);
        by_exponent[exponent]++;
        if (n > 0)
            assert_true(strcmp(codes[n - 1], codes[n]) < 0);
    }
    assert_int_equal(n, 165);
    assert_int_equal(by_exponent[0], 17);
    assert_int_equal(by_exponent[1], 0);
    assert_int_equal(by_exponent[3], 7);
    assert_int_equal(by_exponent[4], 2);
}

static void test_parse_reads_exactly(void **state)
{
    static const struct {
        const char *text, *currency;
        int64_t minor;
    } cases[] = {
        {"49", "USD", 4900},
        {"49.00", "USD", 4900},
        {"49.5", "USD", 4950},
        {"0.07", "USD", 7},
        {"-1.5", "USD", -150},
        {"-0", "USD", 0},
        {"0049.00", "USD", 4900},
        {"49.000000", "USD", 4900},
        {"4900", "JPY", 4900},
        {"4900.00", "JPY", 4900},
        {"1.25", "KWD", 1250},
        {"1.2345", "CLF", 12345},
        {"1.23450", "CLF", 12345},
        {"92233720368547758.07", "USD", INT64_MAX},
        {"-92233720368547758.08", "USD", INT64_MIN},
        {"9223372036854775807.0", "JPY", INT64_MAX},
        {"00000000000000000000000000000000000000001", "JPY", 1},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct money money;

        assert_int_equal(money_parse(cases[i].text, cases[i].currency, &money), 0);
        assert_true(money.minor == cases[i].minor);
        assert_string_equal(money.currency, cases[i].currency);
    }
}

static void test_parse_refuses(void **state)
{
    static const struct {
        const char *text, *currency;
        int code;
    } cases[] = {
        {"", "USD", -EINVAL},
        {"-", "USD", -EINVAL},
        {".", "USD", -EINVAL},
        {".5", "USD", -EINVAL},
        {"5.", "USD", -EINVAL},
        {"-.5", "USD", -EINVAL},
        {"+5", "USD", -EINVAL},
        {"--5", "USD", -EINVAL},
        {"1,5", "USD", -EINVAL},
        {"1.2.3", "USD", -EINVAL},
        {"1.2-", "USD", -EINVAL},
        {" 1", "USD", -EINVAL},
        {"1 ", "USD", -EINVAL},
        {"1e2", "USD", -EINVAL},
        {"0x10", "USD", -EINVAL},
        {"1.001", "USD", -EINVAL},
        {"1.005", "USD", -EINVAL},
        {"1.0000000000001", "USD", -EINVAL},
        {"4900.50", "JPY", -EINVAL},
        {"1.2345", "KWD", -EINVAL},
        {"NaN", "USD", -EINVAL},
        {"99999999999999999999999x", "USD", -EINVAL},
        {"92233720368547758.08", "USD", -ERANGE},
        {"-92233720368547758.09", "USD", -ERANGE},
        {"92233720368547759", "USD", -ERANGE},
        {"99999999999999999999999", "JPY", -ERANGE},
        {"1", "usd", -ENOENT},
        {"1", "", -ENOENT},
        {"1", "XAU", -ENOENT},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct money money = {42, "EUR"};

        assert_int_equal(money_parse(cases[i].text, cases[i].currency, &money), cases[i].code);
        assert_int_equal(money.minor, 42);
        assert_string_equal(money.currency, "EUR");
    }
}

static void test_format(void **state)
{
    static const struct {
        struct money money;
        const char *text;
    } cases[] = {
        {{4900, "USD"}, "49.00"},
        {{7, "USD"}, "0.07"},
        {{-7, "USD"}, "-0.07"},
        {{0, "USD"}, "0.00"},
        {{4900, "JPY"}, "4900"},
        {{1250, "BHD"}, "1.250"},
        {{-12345, "CLF"}, "-1.2345"},
        {{INT64_MIN, "USD"}, "-92233720368547758.08"},
        {{INT64_MIN, "JPY"}, "-9223372036854775808"},
        {{INT64_MAX, "KWD"}, "9223372036854775.807"},
        {{4900, "HRK"}, "49.00"}, /* stored before the code left the list */
    };
    char text[MONEY_TEXT_SIZE];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        assert_string_equal(money_format(cases[i].money, text), cases[i].text);
}

/* Whatever is written is read back as the same amount, in every currency. */
static void test_round_trip(void **state)
{
    uint64_t random = 1;

    (void)state;
    for (const char *const *code = currency_codes(); *code; code++)
        for (int i = 0; i < 500; i++) {
            struct money money = {(int64_t)next_random(&random) >> (i % 64), ""}, back;
            char text[MONEY_TEXT_SIZE];

            memcpy(money.currency, *code, sizeof(money.currency));
            assert_int_equal(money_parse(money_format(money, text), *code, &back), 0);
            assert_true(money_equal(money, back));
        }
}

static void test_equal_needs_both(void **state)
{
    (void)state;
    assert_true(money_equal((struct money){1, "USD"}, (struct money){1, "USD"}));
    assert_false(money_equal((struct money){1, "USD"}, (struct money){1, "EUR"}));
    assert_false(money_equal((struct money){1, "USD"}, (struct money){2, "USD"}));
}

__extension__ typedef __int128 wide;

/* Sums against an integer that is wide enough. */
static void test_arithmetic_matches_wide_integers(void **state)
{
    uint64_t random = 7;
    unsigned out_of_range = 0;

    (void)state;
    for (int i = 0; i < 100000; i++) {
        struct money a = {(int64_t)next_random(&random) >> (i % 3), "USD"};
        struct money b = {(int64_t)next_random(&random), "USD"};
        wide sum = (wide)a.minor + b.minor;
        wide difference = (wide)a.minor - b.minor;
        struct money result = {99, "EUR"};
        bool fits = sum >= INT64_MIN && sum <= INT64_MAX;

        assert_int_equal(money_add(a, b, &result), fits ? 0 : -ERANGE);
        assert_true(result.minor == (fits ? (int64_t)sum : 99));
        assert_string_equal(result.currency, fits ? "USD" : "EUR");
        out_of_range += !fits;

        result = (struct money){99, "EUR"};
        fits = difference >= INT64_MIN && difference <= INT64_MAX;
        assert_int_equal(money_sub(a, b, &result), fits ? 0 : -ERANGE);
        assert_true(result.minor == (fits ? (int64_t)difference : 99));
    }
    assert_true(out_of_range > 100);
}

static void test_currencies_do_not_mix(void **state)
{
    struct money result = {99, "JPY"};

    (void)state;
    assert_int_equal(money_add((struct money){1, "USD"}, (struct money){1, "EUR"}, &result),
                     -EINVAL);
    assert_int_equal(money_sub((struct money){1, "USD"}, (struct money){1, "EUR"}, &result),
                     -EINVAL);
    assert_true(money_equal(result, (struct money){99, "JPY"}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exponents),
        cmocka_unit_test(test_unknown_codes),
        cmocka_unit_test(test_list_is_sorted_and_known),
        cmocka_unit_test(test_parse_reads_exactly),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_equal_needs_both),
        cmocka_unit_test(test_arithmetic_matches_wide_integers),
        cmocka_unit_test(test_currencies_do_not_mix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
