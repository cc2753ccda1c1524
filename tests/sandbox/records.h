/* The records that the Pay API holds, in the order in which it lists them. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct record {
    char *id;             /* "" when it has none */
    char *type;           /* likewise */
    char *text;           /* its JSON, or whatever a test put in the place of it */
    int64_t created_at;   /* what the date range filters by */
    int64_t visible_at;   /* listed from then on: a late record; INT64_MIN: always */
    int64_t hidden_after; /* and no longer after that; INT64_MAX: always */
    uint64_t sequence;    /* order of arrival, the last resort of sorting */
};

struct records;

struct records *records_new(void);
struct records *records_free(struct records *records);

/* Takes over what `record` points to. */
void records_add(struct records *records, struct record record);

/* Reads one element of POST /_sandbox/records: a record in any shape, {"record": …} or
 * {"raw": "text"}; the latter two with created_at, visible_at, hidden_after and id. Without
 * created_at it is the record's own, else `now`. */
int record_from_json(const json_t *value, int64_t now, struct record *ret, struct error *err);

/* One element of GET /_sandbox/records. */
json_t *record_to_json(const struct record *record);

/* Removes the records with this id, or all with NULL; returns how many. */
size_t records_remove(struct records *records, const char *id);

/* All records sorted by creation time, id and arrival. Valid until the next change. */
const struct record *records_sorted(struct records *records, size_t *ret_n);

/* Index of the first record of `sorted` created at or after `at`. */
size_t records_first_at(const struct record *sorted, size_t n, int64_t at);
