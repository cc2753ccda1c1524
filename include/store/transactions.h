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

/* Whether a record that could not be understood has its own time in [from, to]; when it was
 * created, and so by which pass it was shown, is another matter. */
int transactions_quarantined(struct db *ledger, int64_t from, int64_t to, bool *ret,
                             struct error *err);

/* How many records, known to have been created well within the pass's window, it did not show.
 * Those that have vanished before do not count. */
int transactions_missing(struct db *ledger, const struct sync_run *run, int64_t *ret,
                         struct error *err);

/* Notes what a complete pass did not show: a record that is missing for the first time, and one
 * that was missing before and has therefore vanished. Orders that rest on one are looked at again.
 */
int transactions_note_missing(struct db *ledger, const struct sync_run *run, int64_t now,
                              int64_t *ret_vanished, struct error *err);

/* How late the latest hundredth (but no fewer than three) of the records first seen since `since`
 * became visible, at least; 0 when the first pass over their time shows that part too. */
int transactions_lateness(struct db *ledger, int64_t since, int64_t *ret_p99_ms, struct error *err);

/* Recomputes `settled` for every record when the configured list differs from the one that the
 * ledger was written with. */
int transactions_set_unsettled(struct db *ledger, const char *const *unsettled, struct error *err);
