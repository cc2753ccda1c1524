#include "core/money.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* ISO 4217 list one as of 2026, sorted for bsearch(). Codes without a minor unit (precious metals,
 * drawing rights and units of account, XTS, XXX) are left out: no card is charged in them. */
static const char *const codes[] = {
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BHD",
    "BIF", "BMD", "BND", "BOB", "BOV", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF",
    "CHE", "CHF", "CHW", "CLF", "CLP", "CNY", "COP", "COU", "CRC", "CUP", "CVE", "CZK", "DJF",
    "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP",
    "GMD", "GNF", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IQD", "IRR",
    "ISK", "JMD", "JOD", "JPY", "KES", "KGS", "KHR", "KMF", "KPW", "KRW", "KWD", "KYD", "KZT",
    "LAK", "LBP", "LKR", "LRD", "LSL", "LYD", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP",
    "MRU", "MUR", "MVR", "MWK", "MXN", "MXV", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR",
    "NZD", "OMR", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB",
    "RWF", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN",
    "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH",
    "UGX", "USD", "USN", "UYI", "UYU", "UYW", "UZS", "VED", "VES", "VND", "VUV", "WST", "XAD",
    "XAF", "XCD", "XCG", "XOF", "XPF", "YER", "ZAR", "ZMW", "ZWG", NULL,
};

/* The currencies that do not have two decimals. */
static const struct {
    char code[4];
    int exponent;
} exceptions[] = {
    {"BHD", 3}, {"BIF", 0}, {"CLF", 4}, {"CLP", 0}, {"DJF", 0}, {"GNF", 0}, {"IQD", 3},
    {"ISK", 0}, {"JOD", 3}, {"JPY", 0}, {"KMF", 0}, {"KRW", 0}, {"KWD", 3}, {"LYD", 3},
    {"OMR", 3}, {"PYG", 0}, {"RWF", 0}, {"TND", 3}, {"UGX", 0}, {"UYI", 0}, {"UYW", 4},
    {"VND", 0}, {"VUV", 0}, {"XAF", 0}, {"XOF", 0}, {"XPF", 0},
};

static const char DIGITS[] = "0123456789";

/* Does not ask whether the code is on the list, so that an amount which was stored before its
 * currency left the list (all that did lately had two decimals) is still written right. */
static int decimals_of(const char *code)
{
    for (size_t i = 0; i < ELEMENTSOF(exceptions); i++)
        if (strcmp(exceptions[i].code, code) == 0)
            return exceptions[i].exponent;
    return 2;
}

static int compare_codes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int currency_exponent(const char *code)
{
    if (!bsearch(&code, codes, ELEMENTSOF(codes) - 1, sizeof(codes[0]), compare_codes))
        return -EINVAL;
    return decimals_of(code);
}

const char *const *currency_codes(void)
{
    return codes;
}

/* Takes the digit away from the value, not adds it: the negative range reaches one further. */
static int push_digit(int64_t *negated, int digit)
{
    if (__builtin_mul_overflow(*negated, 10, negated) ||
        __builtin_sub_overflow(*negated, digit, negated))
        return -ERANGE;
    return 0;
}

int money_parse(const char *text, const char *currency, struct money *ret)
{
    bool negative = *text == '-';
    const char *whole = text + negative, *fraction;
    size_t n_whole, n_fraction = 0, n_decimals;
    struct money money = {0};
    int exponent;
    int64_t negated = 0;

    exponent = currency_exponent(currency);
    if (exponent < 0)
        return -ENOENT;
    n_decimals = (size_t)exponent;

    n_whole = strspn(whole, DIGITS);
    fraction = whole + n_whole;
    if (n_whole == 0)
        return -EINVAL;
    if (*fraction == '.') {
        fraction++;
        n_fraction = strspn(fraction, DIGITS);
        if (n_fraction == 0)
            return -EINVAL;
    }
    if (fraction[n_fraction] != '\0')
        return -EINVAL;
    if (n_fraction > n_decimals && strspn(fraction + n_decimals, "0") != n_fraction - n_decimals)
        return -EINVAL;

    for (size_t i = 0; i < n_whole; i++)
        if (push_digit(&negated, whole[i] - '0') < 0)
            return -ERANGE;
    for (size_t i = 0; i < n_decimals; i++)
        if (push_digit(&negated, i < n_fraction ? fraction[i] - '0' : 0) < 0)
            return -ERANGE;
    money.minor = negated;
    if (!negative && __builtin_sub_overflow(0, negated, &money.minor))
        return -ERANGE;
    memcpy(money.currency, currency, sizeof(money.currency));
    *ret = money;
    return 0;
}

char *money_format(struct money money, char buffer[MONEY_TEXT_SIZE])
{
    /* Unsigned, because the magnitude of INT64_MIN has no signed form. */
    uint64_t magnitude = money.minor < 0 ? -(uint64_t)money.minor : (uint64_t)money.minor;
    const char *sign = money.minor < 0 ? "-" : "";
    int decimals = decimals_of(money.currency);
    uint64_t scale = 1;

    for (int i = 0; i < decimals; i++)
        scale *= 10;
    if (decimals == 0)
        snprintf(buffer, MONEY_TEXT_SIZE, "%s%" PRIu64, sign, magnitude);
    else
        snprintf(buffer, MONEY_TEXT_SIZE, "%s%" PRIu64 ".%0*" PRIu64, sign, magnitude / scale,
                 decimals, magnitude % scale);
    return buffer;
}

bool money_equal(struct money a, struct money b)
{
    return a.minor == b.minor && strcmp(a.currency, b.currency) == 0;
}

int money_add(struct money a, struct money b, struct money *ret)
{
    if (strcmp(a.currency, b.currency) != 0)
        return -EINVAL;
    if (__builtin_add_overflow(a.minor, b.minor, &a.minor))
        return -ERANGE;
    *ret = a;
    return 0;
}

int money_sub(struct money a, struct money b, struct money *ret)
{
    if (strcmp(a.currency, b.currency) != 0)
        return -EINVAL;
    if (__builtin_sub_overflow(a.minor, b.minor, &a.minor))
        return -ERANGE;
    *ret = a;
    return 0;
}
