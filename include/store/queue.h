/* The queue file, from the daemon's side (taking rows out) and from reconctl's (putting them in).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/secret.h"
#include "core/transaction.h"
#include "store/db.h"

#define QUEUE_GROUP "reconciled-queue"

/* Opens the queue, making it (and its directory) if missing: the file 0660, the directory 2770,
 * both of the group reconciled-queue where that exists and we may give it. `ret_note` (may be NULL)
 * gets a remark when the group could not be given, else an empty text. */
int queue_open(const char *path, struct db **ret, char *ret_note, size_t note_size,
               struct error *err);

/* --- the app's side; every text may be NULL where the table's column may ------------------------
 */

struct queue_order {
    const char *order_id, *amount, *currency, *attempted_at;
    int64_t http_status;
    const char *card_last_four, *card_brand, *card_bin, *billing_email, *session_id;
};

/* NULL currency and attempted_at take the table's defaults. -EEXIST with the constraint's name for
 * a row that is refused. */
int queue_add_order(struct db *queue, const struct queue_order *order, struct error *err);
/* The same claim again is no error. -EALREADY when the transaction waits as another order's. */
int queue_add_claim(struct db *queue, const char *transaction_id, const char *order_id,
                    struct error *err);
int queue_add_session(struct db *queue, const char *session_id, const struct secret *key,
                      int64_t expires_in, const char *order_id, struct error *err);
/* -ENOENT: no such session waits. */
int queue_touch_session(struct db *queue, const char *session_id, struct error *err);
int queue_end_session(struct db *queue, const char *session_id, const char *ended,
                      struct error *err);
int queue_add_resolution(struct db *queue, const char *order_id, const char *decision,
                         const char *transaction_id, const char *note, const char *decided_by,
                         struct error *err);
int queue_request_sync(struct db *queue, struct error *err);
/* 1 when the order waits in the queue, 0 when not, negative errno. */
int queue_has_order(struct db *queue, const char *order_id, struct error *err);

/* How many rows wait. */
struct queue_depth {
    int64_t orders, claims, sessions, resolutions;
};
int queue_depth(struct db *queue, struct queue_depth *ret, struct error *err);
