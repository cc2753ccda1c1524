/* Ownership by shape: a local that owns something says so in its declaration. */
#pragma once

#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((cleanup(function)))

/* Defines `function##_p`, to be named in _cleanup_(), for a destructor that accepts NULL. */
#define DEFINE_CLEANUP(type, function)                                                             \
    static inline void function##_p(type *value)                                                   \
    {                                                                                              \
        if (*value)                                                                                \
            function(*value);                                                                      \
    }

/* Hands the pointer's ownership to the expression's reader. */
#define TAKE_PTR(ptr)                                                                              \
    __extension__({                                                                                \
        __typeof__(ptr) _taken = (ptr);                                                            \
        (ptr) = NULL;                                                                              \
        _taken;                                                                                    \
    })

static inline void free_p(void *value)
{
    free(*(void **)value);
}

static inline void close_p(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#define _cleanup_free_  _cleanup_(free_p)
#define _cleanup_close_ _cleanup_(close_p)

#define ELEMENTSOF(array) (sizeof(array) / sizeof((array)[0]))
