/* The verdict of one order: printing it, and waiting for it. */
#pragma once

#include <stdint.h>

#include "ctl/ctl.h"

/* 1 when the order waits in the queue, 0 when not, -1 when the queue cannot be read. `queue` may be
 * NULL. */
int waiting_in_queue(struct db *queue, const char *order_id);

/* Prints the order's row of order_status (nothing, or an empty array, without a ledger or row).
 * Returns `status`, or EX_IOERR after saying why. */
int waiting_print(struct ctl *ctl, struct db *ledger, const char *order_id, int status);

/* Waits until the order has left the queue, is known with a last attempt not before `attempt`
 * (negative: any), and has a verdict, and prints it: CTL_DONE. Says why and returns CTL_NO when
 * `timeout` has passed, or when neither file knows the order and `attempt` is negative. `queue` is
 * NULL when it cannot be read. */
int waiting_run(struct ctl *ctl, struct db *queue, const char *order_id, int64_t attempt,
                int64_t timeout);
