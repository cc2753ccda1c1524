/* Sets of closed intervals of time. Intervals that touch at an instant are one, because the
 * windows of listTransactions include both ends. An interval of no length is a set member too. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct interval {
    int64_t from, to; /* from <= to, both included */
};

/* Sorted, disjoint, not touching. Zero-initialise; interval_set_clear() frees. */
struct interval_set {
    struct interval *items;
    size_t n, allocated;
};

void interval_set_clear(struct interval_set *set);

/* Adds [from, to]. 0 or -ENOMEM (the set is unchanged). Does nothing if from > to. */
int interval_set_add(struct interval_set *set, int64_t from, int64_t to);

/* Takes away the open interior of [from, to]: what stays still touches the ends, so that the next
 * window begins at the instant where the last one ended. An interval of no length that lies in
 * [from, to] goes away. 0 or -ENOMEM. */
int interval_set_subtract(struct interval_set *set, int64_t from, int64_t to);

/* True when one member holds all of [from, to]. */
bool interval_set_covers(const struct interval_set *set, int64_t from, int64_t to);
