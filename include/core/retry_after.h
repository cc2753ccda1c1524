/* How long a server that answered 429 wants to be left alone. */
#pragma once

#include <stdint.h>

enum {
    RETRY_AFTER_DEFAULT_MS = 30 * 1000,   /* absent or absurd */
    RETRY_AFTER_MAX_MS = 10 * 60 * 1000,  /* never longer than this */
};

/* Reads a Retry-After value (RFC 9110 section 10.2.3: seconds, or an HTTP date compared with
 * `now_ms`). `value` may be NULL. Seconds may carry a fraction. A date in the past is no wait.
 * Absent, empty, negative or not understood: the default. Longer than the maximum: the maximum.
 * Returns milliseconds. */
int64_t retry_after_parse(const char *value, int64_t now_ms);
