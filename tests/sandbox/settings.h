/* What can be changed while the sandbox runs (POST /_sandbox/settings). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { ENVELOPE_TRANSACTIONS = 1, ENVELOPE_DATA, ENVELOPE_NESTED };

struct settings {
    char *api_key;
    char *vault_key;
    int64_t envelope;        /* 1 {"transactions"}, 2 {"data":[]}, 3 {"data":{"transactions"}} */
    bool success;            /* "success": true beside it */
    bool totals;             /* page, totalPages and total in `pagination` */
    bool whole_second;       /* dateTo=10:00:00 includes 10:00:00.999 */
    int64_t rate_per_minute; /* 0: no limit */
    bool burst_of_errors;    /* a 503, a 429 and a 500 in every 20 requests */
    json_t *insert_between_pages; /* or NULL; see --help */
};

void settings_init(struct settings *settings);
void settings_clear(struct settings *settings);

/* Changes what `changes` names; all of it or, with a negative errno, nothing. */
int settings_change(struct settings *settings, const json_t *changes, struct error *err);

json_t *settings_to_json(const struct settings *settings);
