/* Arrays that grow at their end. */
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
