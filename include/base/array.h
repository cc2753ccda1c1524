/* Arrays: to let them grow at their end, to sort and to search them. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

enum { ARRAY_FIRST_ROOM = 16 };

/* Whether an array of n elements, which ARRAY_GROW() alone has made room in, is full. */
static inline bool array_full(size_t n)
{
    return n == 0 || (n >= ARRAY_FIRST_ROOM && (n & (n - 1)) == 0);
}

/* Makes room for one more element after the n that the array has (NULL at first); it grows in
 * powers of two. 0, or -ENOMEM and no change. */
#define ARRAY_GROW(array, n)                                                                       \
    __extension__({                                                                                \
        int _r = 0;                                                                                \
        if (array_full(n)) {                                                                       \
            __typeof__(array) _bigger =                                                            \
                reallocarray((array), (n) == 0 ? ARRAY_FIRST_ROOM : 2 * (n), sizeof(*(array)));    \
            if (_bigger)                                                                           \
                (array) = _bigger;                                                                 \
            else                                                                                   \
                _r = -ENOMEM;                                                                      \
        }                                                                                          \
        _r;                                                                                        \
    })

/* -1, 0 or 1, as comparing functions want it. */
#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

typedef int (*compare_function)(const void *, const void *);

/* Compares two size_t. */
int compare_sizes(const void *left, const void *right);

/* As qsort(), but with nothing to sort `items` may be NULL. */
void array_sort(void *items, size_t n, size_t size, compare_function compare);

/* The index of the first of n sorted items that does not come before `key`; n if there is none. */
size_t array_find(const void *items, size_t n, size_t size, const void *key,
                  compare_function compare);
