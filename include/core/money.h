/* Money: an integer of the currency's minor units beside an ISO 4217 alphabetic code. Never a
 * float. Nothing outside money.c computes with the member `minor`, except to store and compare. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct money {
    int64_t minor;
    char currency[4]; /* "USD" */
};

enum { MONEY_TEXT_SIZE = 32 };

/* The number of decimals of a currency by ISO 4217 (list one, active codes): 0 JPY, 2 USD, 3 BHD,
 * 4 CLF. -EINVAL for a code that is not on the list (lower case is not). */
int currency_exponent(const char *code);

/* All active codes, sorted, NULL-terminated. */
const char *const *currency_codes(void);

/* Reads a decimal text ("49", "49.00", "-1.5") as an amount of `currency`, exactly. At most one
 * point, digits on both of its sides, no sign but '-', no exponent, no spaces. Zeros beyond the
 * currency's decimals are accepted ("4900.00" JPY), other digits there are not.
 * -EINVAL: not such a text, or digits beyond the currency's decimals; -ERANGE: does not fit;
 * -ENOENT: the currency is not known. */
int money_parse(const char *text, const char *currency, struct money *ret);

/* Writes the amount with exactly the currency's decimals ("49.00", "4900", "1.250"), without the
 * code. Returns `buffer`. */
char *money_format(struct money money, char buffer[MONEY_TEXT_SIZE]);

bool money_equal(struct money a, struct money b);

/* a + b and a - b. -EINVAL when the currencies differ, -ERANGE on overflow. */
int money_add(struct money a, struct money b, struct money *ret);
int money_sub(struct money a, struct money b, struct money *ret);
