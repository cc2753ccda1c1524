/* Records of the API in the ledger. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "core/transaction.h"
#include "store/db.h"
#include "store/sync_runs.h"

/* Stores a page of a pass: each record once, whatever it was before; a record that could not be
 * understood goes to quarantine, one that was there and is understood now leaves it. Updates the
 * pass's counters and digest (not its cursor). Reopens sealed orders that a record concerns: one
 * that carries their id, that voids or returns their sale, or that is their sale and changed.
 * To be called in a transaction. */
int transactions_store(struct db *ledger, struct sync_run *run, const struct page *page,
                       const char *const *unsettled, int64_t now, struct error *err);

/* How many records, known to have been created well within the pass's window, it did not show. */
int transactions_missing(struct db *ledger, const struct sync_run *run, int64_t *ret,
                         struct error *err);

/* Recomputes `settled` for every record when the configured list differs from the one that the
 * ledger was written with. */
int transactions_set_unsettled(struct db *ledger, const char *const *unsettled, struct error *err);
