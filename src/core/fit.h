/* How one sale fits one order: what match_fit() is made of. */
#pragma once

#include "core/match.h"

/* BINs are compared by what both have of them, if that is at least this long. */
enum { BIN_COMMON_MIN = 6 };

/* What was compared equal, beyond amount and time. */
enum {
    AGREES_LAST_FOUR = 1 << 0,
    AGREES_BIN = 1 << 1,
    AGREES_EMAIL = 1 << 2,
};

/* A text that is there and not empty. */
static inline bool given(const char *text)
{
    return text && *text;
}

/* at + duration, or the nearest that there is. */
int64_t add_time(int64_t at, int64_t duration);

void attempts_span(const struct match_order *order, int64_t *ret_first, int64_t *ret_last);

/* The amount as is, or less surcharge, tip and tax. */
bool money_agrees(const struct match_attempt *attempt, const struct match_sale *sale);

/* FIT_COUNT when the sale agrees with an attempt as a whole; `ret_agrees` then holds what was equal
 * in those with which it does. Else the refusal of the attempt that agrees furthest. `timely`: the
 * sale lies in the order's window. */
enum fit compare_attempts(const struct match_attempt *attempts, size_t n_attempts,
                          const struct match_sale *sale, bool timely, unsigned *ret_agrees);

/* Voided, or returned in full. */
bool sale_reversed(const struct match_sale *sale);
