/* A test program has nothing to do when memory is out but to say so and end. */
#pragma once

#include <stdlib.h>
#include <string.h>

static inline void *must(void *pointer)
{
    if (!pointer)
        abort();
    return pointer;
}

static inline char *copy_of(const char *text)
{
    return must(strdup(text));
}

/* A copy with a terminator; the bytes may hold NUL. */
static inline char *copy_of_bytes(const char *bytes, size_t n)
{
    char *copy = must(malloc(n + 1));

    memcpy(copy, bytes, n);
    copy[n] = '\0';
    return copy;
}

/* Makes room for one more element in an array that grows by doubling. */
#define GROW(array, n, allocated)                                                                  \
    do {                                                                                           \
        if ((n) == (allocated)) {                                                                  \
            (allocated) = (allocated) ? 2 * (allocated) : 16;                                      \
            (array) = must(reallocarray((array), (allocated), sizeof(*(array))));                  \
        }                                                                                          \
    } while (0)
