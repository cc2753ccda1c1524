/* Strict parsing of the small values that configuration and arguments are made of. The whole text
 * must be the value; white space, signs and trailing characters are refused. Each function returns
 * 0, -EINVAL (not such a value) or -ERANGE (outside the type or the given bounds). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A decimal integer within [min, max]; a leading '-' is taken only if min is negative. */
int parse_int(const char *text, int64_t min, int64_t max, int64_t *ret);

/* A duration: digits and one of ms, s, min, h, d; a bare number is seconds. Milliseconds out. */
int parse_duration(const char *text, int64_t *ret_ms);

/* A size in bytes: digits and optionally K, M or G (powers of 1024). */
int parse_size(const char *text, int64_t *ret_bytes);

/* A percentage 1%..100%, as its number. */
int parse_percent(const char *text, int64_t *ret_percent);

/* yes, no, true, false, on, off, 1, 0; any case. */
int parse_bool(const char *text, bool *ret);

/* Writes a duration in the largest unit that is exact ("15min"), for messages. */
char *format_duration(int64_t ms, char *buffer, size_t size);

/* Copies `text` if it fits with its terminator; -ENAMETOOLONG and no change otherwise. */
int copy_text(char *to, size_t size, const char *text);

/* ASCII case is folded, other bytes must be equal; locale plays no part. */
bool text_equal_nocase(const char *a, const char *b);
