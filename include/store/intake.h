/* From queue to ledger: what the app wrote is taken over. The ledger commits first, then the queue
 * lets go of exactly the rows that were taken; a row taken twice, because the program died between
 * the two, changes nothing the second time. */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/secret.h"
#include "store/db.h"

struct intake_counts {
    int64_t attempts, claims, resolutions, sync_requests;
    int64_t reopened;       /* orders whose verdict a further attempt set back to pending */
    int64_t refused;        /* rows that could not be understood: they stay in the queue */
    char refused_text[256]; /* why, for the last of them */
};

/* Takes what waits, in batches. 0 or negative errno; counts say what was done until then. */
int intake_run(struct db *ledger, struct db *queue, const struct secret *email_key, int64_t now,
               struct intake_counts *ret, struct error *err);
