/* The error contract of every module.
 *
 * A function that can fail returns int:
 *   0          done;
 *   negative   a negated errno, forwarded unchanged (-ENOMEM, -EIO, -EINVAL for bad input, …);
 *   positive   a named enum value that the function's own header lists: an outcome the caller
 *              must handle, not a failure.
 *
 * Outputs are named ret_* and are untouched on failure. A function that can say more than a
 * number takes a `struct error *`, which may be NULL; only the caller that handles the failure
 * logs it. */
#pragma once

#include <stdarg.h>

struct error {
    int code;       /* the negated errno that was returned */
    char text[512]; /* one line for a person: what, where and, if known, what to do */
};

/* Records `code` and the formatted text in `err` (may be NULL) and returns `code`.
 * Control characters in the result are replaced, so that the text stays one line. */
int error_set(struct error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text that `err` already holds and returns its code. */
int error_prefix(struct error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
