/* Instants as text. An instant is milliseconds since 1970-01-01T00:00:00Z (see base/clock.h). */
#pragma once

#include <stdint.h>

enum { TIMESTAMP_TEXT_SIZE = 32 };

/* Reads what the API and the queue write: ISO 8601 extended format, "T" or a space between date
 * and time (as RFC 3339 allows, any case), seconds required, an optional fraction (digits beyond
 * the millisecond are cut off), an optional offset ("Z", "+01:00", "+0100"); without an offset the
 * time is UTC. A leap second (:60) is read as the second after it. Years 1970 to 9999.
 * -EINVAL for anything else, impossible dates included. */
int timestamp_parse(const char *text, int64_t *ret_ms);

/* "2026-11-22T14:03:07.250Z": what the ledger stores. Fixed width, so text order is time order.
 * Instants outside the years 1970..9999 are brought to the nearest end. Returns `buffer`. */
char *timestamp_format(int64_t ms, char buffer[TIMESTAMP_TEXT_SIZE]);

/* "2026-11-22 14:03:07", the form of dateFrom and dateTo on the SDK page (ListTransactionsInput);
 * a fraction of a second is cut off. Returns `buffer`. */
char *timestamp_format_query(int64_t ms, char buffer[TIMESTAMP_TEXT_SIZE]);

/* Reads an HTTP date (RFC 9110 section 5.6.7: IMF-fixdate, RFC 850 and asctime forms). -EINVAL. */
int timestamp_parse_http(const char *text, int64_t *ret_ms);

/* The last whole second at or before, and the first at or after, an instant (negative ones too). */
int64_t timestamp_floor_second(int64_t ms);
int64_t timestamp_ceil_second(int64_t ms);
