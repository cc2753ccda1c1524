#include "store/permits.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "core/transaction.h"

int permits_withdraw(struct db *queue, const char *order_id, struct error *err)
{
    return db_run(queue, err, "DELETE FROM retry_offers WHERE order_id = ?", "t", order_id);
}

struct offer {
    char order_id[ID_SIZE], verdict[16];
    int64_t revision, last_attempt_at, last_taken_at;
};

static int offer_verdict(struct db *queue, const struct offer *offer, int64_t now,
                         struct error *err)
{
    return db_run(queue, err,
                  "INSERT INTO retry_offers (order_id, revision, verdict, offered_at)"
                  " SELECT ?1, ?2, ?3, ?4"
                  " WHERE NOT EXISTS (SELECT 1 FROM permits WHERE order_id = ?1"
                  "                   AND (revision = ?2"
                  "                        OR substr(taken_at, 1, 19) > substr(?5, 1, 19)"
                  "                        OR taken_at >= ?6))"
                  " AND NOT EXISTS (SELECT 1 FROM pending_orders WHERE order_id = ?1)"
                  " AND NOT EXISTS (SELECT 1 FROM earlier_attempts WHERE order_id = ?1)"
                  " AND NOT EXISTS (SELECT 1 FROM claims WHERE order_id = ?1)"
                  " AND NOT EXISTS (SELECT 1 FROM resolutions WHERE order_id = ?1)"
                  " ON CONFLICT (order_id) DO UPDATE SET revision = ?2, verdict = ?3,"
                  " offered_at = ?4 WHERE revision <> ?2",
                  "titTTT", offer->order_id, offer->revision, offer->verdict, now,
                  offer->last_attempt_at, offer->last_taken_at);
}

/* Offers for verdicts that are not there (any more). */
static int drop_stale(struct db *ledger, struct db *queue, struct error *err)
{
    _cleanup_free_ struct offer *stale = NULL;
    struct db_stmt *stmt;
    size_t n = 0;
    int r;

    r = db_query(queue, &stmt, err, "SELECT order_id, revision FROM retry_offers", "");
    while (r == 0 && (r = db_step(queue, stmt, err)) > 0) {
        struct offer offer = {.revision = db_int(stmt, 1)};
        int64_t holds;

        db_copy(stmt, 0, offer.order_id, sizeof(offer.order_id));
        r = db_value(ledger, &holds, 0, err,
                     "SELECT 1 FROM orders WHERE order_id = ? AND revision = ?"
                     " AND verdict IN ('not_charged', 'reversed')",
                     "ti", offer.order_id, offer.revision);
        if (r == 0 && !holds) {
            r = ARRAY_GROW(stale, n);
            if (r == 0)
                stale[n++] = offer;
            else
                error_set(err, r, "out of memory");
        }
        if (r < 0)
            db_done(stmt);
    }
    for (size_t i = 0; i < n && r == 0; i++)
        r = permits_withdraw(queue, stale[i].order_id, err);
    return r;
}

static int add_missing(struct db *ledger, struct db *queue, int64_t now, struct error *err)
{
    struct db_stmt *stmt;
    struct offer offer;
    int r;

    r = db_query(ledger, &stmt, err,
                 "SELECT order_id, revision, verdict, last_attempt_at,"
                 " (SELECT max(taken_at) FROM attempts a WHERE a.order_id = o.order_id)"
                 " FROM orders o"
                 " WHERE sealed = 0 AND verdict IN ('not_charged', 'reversed')",
                 "");
    while (r == 0 && (r = db_step(ledger, stmt, err)) > 0) {
        db_copy(stmt, 0, offer.order_id, sizeof(offer.order_id));
        offer.revision = db_int(stmt, 1);
        db_copy(stmt, 2, offer.verdict, sizeof(offer.verdict));
        offer.last_attempt_at = db_time(stmt, 3);
        offer.last_taken_at = db_time(stmt, 4);
        r = offer_verdict(queue, &offer, now, err);
        if (r < 0)
            db_done(stmt);
    }
    return r;
}

int permits_refresh(struct db *ledger, struct db *queue, bool all, int64_t now, struct error *err)
{
    int r;

    r = db_begin(queue, err);
    if (r == 0 && all)
        r = drop_stale(ledger, queue, err);
    if (r == 0)
        r = add_missing(ledger, queue, now, err);
    if (r == 0)
        r = db_commit(queue, err);
    if (r < 0)
        db_rollback(queue);
    return r;
}

int permit_take(struct db *queue, const char *order_id, const char *taken_by, struct error *err)
{
    int r;

    /* The write lock first: a statement that reads and then writes would fail with a snapshot that
     * another caller has overtaken. */
    r = db_begin(queue, err);
    if (r < 0)
        return r;
    r = db_run(queue, err,
               "INSERT INTO permits (order_id, revision, taken_by)"
               " SELECT order_id, revision, ?2 FROM retry_offers WHERE order_id = ?1",
               "tt", order_id, taken_by);
    if (r == 0 && db_changes(queue) == 0)
        r = PERMIT_NONE;
    else if (r == 0)
        r = PERMIT_TAKEN;
    else if (r == -EEXIST)
        r = PERMIT_GONE;
    if (r == PERMIT_TAKEN) {
        int c = db_commit(queue, err);

        if (c == 0)
            return r;
        r = c;
    }
    db_rollback(queue);
    return r;
}

int permit_last(struct db *queue, const char *order_id, char *ret_by, size_t by_size, char *ret_at,
                size_t at_size, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(queue, &stmt, err,
                 "SELECT coalesce(taken_by, ''), taken_at FROM permits WHERE order_id = ?"
                 " ORDER BY revision DESC LIMIT 1",
                 "t", order_id);
    if (r == 0)
        r = db_step(queue, stmt, err);
    if (r <= 0)
        return r;
    db_copy(stmt, 0, ret_by, by_size);
    db_copy(stmt, 1, ret_at, at_size);
    db_done(stmt);
    return 1;
}
