/* Leave to charge an order again, given at most once. The verdict is in the ledger, the fence in
 * the queue, where the app can write: an offer names the verdict's revision, and a permit is an
 * INSERT under a unique key. Once taken, leave is not offered again before a further attempt is
 * reported. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "store/db.h"

/* Takes an offer back. To be called before a verdict that was safe to retry is replaced, so that
 * no moment is left in which the old leave can still be taken. */
int permits_withdraw(struct db *queue, const char *order_id, struct error *err);

/* Makes the offers agree with the verdicts: adds those that are missing, for orders that are not
 * sealed; with `all`, as after a death, also removes those whose verdict is another. Orders of
 * which the queue still holds news are not offered. */
int permits_refresh(struct db *ledger, struct db *queue, bool all, int64_t now, struct error *err);

enum permit {
    PERMIT_TAKEN = 1, /* by this call, and by no other ever */
    PERMIT_NONE,      /* there is no offer */
    PERMIT_GONE,      /* somebody has taken it */
};

/* Takes the leave. One of the above, or negative errno. `taken_by` says who, for the record. */
int permit_take(struct db *queue, const char *order_id, const char *taken_by, struct error *err);

/* Who took the last permit of the order and when: 1, or 0 when there is none. */
int permit_last(struct db *queue, const char *order_id, char *ret_by, size_t by_size, char *ret_at,
                size_t at_size, struct error *err);
