/* money_parse() on "CUR amount" (the first three bytes name the currency): agrees with a reading
 * in 128 bits that knows nothing of it, and with money_format(). */
#include "fuzz.h"

#include <errno.h>

#include "core/money.h"

__extension__ typedef __int128 wide;

/* The value of a text that is well formed, in units of 10^-exponent; -EINVAL if it has more
 * decimals than that, -ERANGE if it does not fit. */
static int read_slowly(const char *text, int exponent, int64_t *ret)
{
    wide value = 0;
    int decimals = -1;
    int negative = *text == '-';

    for (text += negative; *text; text++) {
        if (*text == '.') {
            decimals = 0;
            continue;
        }
        if (decimals >= exponent) {
            if (*text != '0')
                return -EINVAL;
            continue;
        }
        value = value * 10 + (*text - '0');
        if (value > (wide)INT64_MAX * 1000000)
            return -ERANGE;
        if (decimals >= 0)
            decimals++;
    }
    for (decimals = decimals < 0 ? 0 : decimals; decimals < exponent; decimals++)
        value *= 10;
    if (negative)
        value = -value;
    if (value > INT64_MAX || value < INT64_MIN)
        return -ERANGE;
    *ret = (int64_t)value;
    return 0;
}

/* -?[0-9]+(\.[0-9]+)? */
static int is_well_formed(const char *text)
{
    size_t n;

    text += *text == '-';
    n = strspn(text, "0123456789");
    if (n == 0)
        return 0;
    text += n;
    if (*text != '.')
        return *text == '\0';
    n = strspn(++text, "0123456789");
    return n > 0 && text[n] == '\0';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), *amount;
    char currency[4], formatted[MONEY_TEXT_SIZE];
    struct money money = {.minor = 7}, again;
    int64_t expected = 0;
    int r, exponent;

    snprintf(currency, sizeof(currency), "%.3s", text);
    amount = text + strlen(currency);
    amount += *amount == ' ';
    exponent = currency_exponent(currency);
    r = money_parse(amount, currency, &money);
    if (r < 0)
        REQUIRE(money.minor == 7); /* untouched */
    if (exponent < 0) {
        REQUIRE(r == -ENOENT || (r == -EINVAL && !is_well_formed(amount)));
    } else if (!is_well_formed(amount)) {
        REQUIRE(r == -EINVAL);
    } else {
        int wanted = read_slowly(amount, exponent, &expected);

        /* Of a text that is both too long and too precise either may be said. */
        REQUIRE((r == 0) == (wanted == 0));
        REQUIRE(r == 0 || r == -EINVAL || r == -ERANGE);
    }
    if (r == 0) {
        REQUIRE(money.minor == expected && strcmp(money.currency, currency) == 0);
        money_format(money, formatted);
        REQUIRE(is_well_formed(formatted));
        REQUIRE(money_parse(formatted, currency, &again) == 0);
        REQUIRE(money_equal(money, again));
        REQUIRE((strchr(formatted, '.') != NULL) == (exponent > 0));
        if (money_add(money, money, &again) == 0) {
            REQUIRE(again.minor / 2 == money.minor && again.minor % 2 == 0);
            REQUIRE(money_sub(again, money, &again) == 0 && money_equal(again, money));
        }
        REQUIRE(money_sub(money, money, &again) == 0 && again.minor == 0);
    }
    free(text);
    return 0;
}
