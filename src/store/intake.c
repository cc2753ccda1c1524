#include "store/intake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "core/email_hash.h"
#include "core/money.h"
#include "core/timestamp.h"
#include "core/transaction.h"

enum { BATCH = 200 };

/* The last row of each table that stays in the queue, because it is not understood or is not the
 * one that was read: it must not keep those behind it from being read. */
struct position {
    int64_t claim, earlier, pending, resolution; /* rowids */
};

#define ATTEMPT_COLUMNS                                                                            \
    "rowid, order_id, amount, currency, attempted_at, http_status, card_last_four, card_brand,"    \
    " card_bin, billing_email, session_id"

/* One attempt: a row of pending_orders or earlier_attempts. */
struct row {
    bool earlier; /* of earlier_attempts */
    int64_t rowid, at, http_status;
    char order_id[ID_SIZE], amount[64], currency[8], attempted_at[40], session_id[ID_SIZE];
    char email[EMAIL_SIZE * 4], brand[BRAND_SIZE * 4];
    struct card card;
    struct money money;
};

static int read_rows(struct db *queue, bool earlier, int64_t after, struct row *rows, size_t *ret_n,
                     struct error *err)
{
    struct db_stmt *stmt;
    size_t n = 0;
    int r;

    r = db_query(queue, &stmt, err,
                 earlier ? "SELECT " ATTEMPT_COLUMNS " FROM earlier_attempts"
                           " WHERE rowid > ? ORDER BY rowid LIMIT ?"
                         : "SELECT " ATTEMPT_COLUMNS " FROM pending_orders"
                           " WHERE rowid > ? ORDER BY rowid LIMIT ?",
                 "ii", after, (int64_t)BATCH);
    while (r == 0 && (r = db_step(queue, stmt, err)) > 0) {
        struct row *row = &rows[n++];

        row->earlier = earlier;
        row->rowid = db_int(stmt, 0);
        db_copy(stmt, 1, row->order_id, sizeof(row->order_id));
        db_copy(stmt, 2, row->amount, sizeof(row->amount));
        db_copy(stmt, 3, row->currency, sizeof(row->currency));
        db_copy(stmt, 4, row->attempted_at, sizeof(row->attempted_at));
        row->http_status = db_int(stmt, 5);
        db_copy(stmt, 6, row->card.last_four, sizeof(row->card.last_four));
        db_copy(stmt, 7, row->brand, sizeof(row->brand));
        db_copy(stmt, 8, row->card.bin, sizeof(row->card.bin));
        db_copy(stmt, 9, row->email, sizeof(row->email));
        db_copy(stmt, 10, row->session_id, sizeof(row->session_id));
        r = 0;
    }
    *ret_n = n;
    return r;
}

/* The queue's constraints have seen to this already, unless somebody took them away. */
static int understand(struct row *row, const struct secret *email_key, char *ret_why, size_t size)
{
    int r;

    r = money_parse(row->amount, row->currency, &row->money);
    if (r < 0) {
        snprintf(ret_why, size, "order %.64s: amount \"%.40s\" %.7s is not understood",
                 row->order_id, row->amount, row->currency);
        return r;
    }
    r = timestamp_parse(row->attempted_at, &row->at);
    if (r < 0) {
        snprintf(ret_why, size, "order %.64s: attempted_at \"%.39s\" is not understood",
                 row->order_id, row->attempted_at);
        return r;
    }
    email_hash(email_key, row->email, row->card.email_hash);
    /* One that is too long is as good as none: no record of the API can have it. */
    (void)copy_text(row->card.brand, sizeof(row->card.brand), row->brand);
    return 0;
}

/* A verdict stands for the attempts it knew: a further one sets it back, in the transaction that
 * makes the attempt known, so that nobody reads the old one as the new one's. */
static int reopen(struct db *ledger, const struct row *row, int64_t now,
                  struct intake_counts *counts, struct error *err)
{
    int r;

    r = db_run(ledger, err,
               "UPDATE orders SET amount = ?2, amount_minor = ?3, currency = ?4"
               " WHERE order_id = ?1 AND last_attempt_at <= ?5",
               "ttitT", row->order_id, row->amount, row->money.minor, row->money.currency, row->at);
    if (r == 0)
        r = db_run(ledger, err,
                   "UPDATE orders SET first_attempt_at = min(first_attempt_at, ?2),"
                   " last_attempt_at = max(last_attempt_at, ?2), sealed = 0 WHERE order_id = ?1",
                   "tT", row->order_id, row->at);
    if (r == 0)
        r = db_run(ledger, err,
                   "INSERT INTO verdicts (order_id, revision, verdict, safe_to_retry, reason,"
                   " decided_at) SELECT order_id, revision + 1, 'pending', 0,"
                   " 'a further attempt was reported', ?2 FROM orders"
                   " WHERE order_id = ?1 AND verdict <> 'pending'",
                   "tT", row->order_id, now);
    if (r < 0 || db_changes(ledger) == 0)
        return r;
    counts->reopened++;
    return db_run(ledger, err,
                  "UPDATE orders SET verdict = 'pending', revision = revision + 1"
                  " WHERE order_id = ?",
                  "t", row->order_id);
}

static int take_attempt(struct db *ledger, const struct row *row, int64_t now,
                        struct intake_counts *counts, struct error *err)
{
    bool new_order;
    int r;

    r = db_run(ledger, err,
               "INSERT INTO orders (order_id, amount, amount_minor, currency, first_attempt_at,"
               " last_attempt_at, taken_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)"
               " ON CONFLICT (order_id) DO NOTHING",
               "ttitTT", row->order_id, row->amount, row->money.minor, row->money.currency, row->at,
               now);
    if (r < 0)
        return r;
    new_order = db_changes(ledger) > 0;
    r = db_run(ledger, err,
               "INSERT INTO attempts (order_id, attempted_at, http_status, amount_minor, currency,"
               " card_last_four, card_brand, card_bin, email_hash, session_id, taken_at)"
               " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
               "tTiittttttT", row->order_id, row->at, row->http_status, row->money.minor,
               row->money.currency, row->card.last_four, row->card.brand, row->card.bin,
               row->card.email_hash, row->session_id, now);
    if (r < 0 || db_changes(ledger) == 0)
        return r;
    counts->attempts++;
    return new_order ? 0 : reopen(ledger, row, now, counts, err);
}

/* Only the row that was read: the app may have put another in its place meanwhile. */
static int drop_attempt(struct db *queue, const struct row *row, struct error *err)
{
    if (row->earlier)
        return db_run(queue, err,
                      "DELETE FROM earlier_attempts WHERE rowid = ? AND order_id = ?"
                      " AND attempted_at = ? AND amount = ?",
                      "ittt", row->rowid, row->order_id, row->attempted_at, row->amount);
    return db_run(queue, err,
                  "DELETE FROM pending_orders WHERE rowid = ? AND order_id = ?"
                  " AND attempted_at = ? AND amount = ? AND currency = ? AND http_status = ?"
                  " AND coalesce(card_last_four, '') = ? AND coalesce(card_brand, '') = ?"
                  " AND coalesce(card_bin, '') = ? AND coalesce(billing_email, '') = ?"
                  " AND coalesce(session_id, '') = ?",
                  "ittttittttt", row->rowid, row->order_id, row->attempted_at, row->amount,
                  row->currency, row->http_status, row->card.last_four, row->brand, row->card.bin,
                  row->email, row->session_id);
}

static int take_attempts(struct db *ledger, struct db *queue, const struct secret *email_key,
                         bool earlier, int64_t *after, int64_t now, struct intake_counts *counts,
                         size_t *ret_n, struct error *err)
{
    _cleanup_free_ struct row *rows = calloc(BATCH, sizeof(*rows));
    bool taken[BATCH] = {false};
    size_t n;
    int r;

    if (!rows)
        return error_set(err, -ENOMEM, "out of memory");
    r = read_rows(queue, earlier, *after, rows, &n, err);
    if (r < 0 || n == 0)
        return r;
    *ret_n += n;
    r = db_begin(ledger, err);
    for (size_t i = 0; i < n && r == 0; i++) {
        if (understand(&rows[i], email_key, counts->refused_text, sizeof(counts->refused_text)) <
            0) {
            counts->refused++;
            continue;
        }
        r = take_attempt(ledger, &rows[i], now, counts, err);
        taken[i] = true;
    }
    if (r == 0)
        r = db_commit(ledger, err);
    if (r == 0)
        r = db_begin(queue, err);
    for (size_t i = 0; i < n && r == 0; i++) {
        if (taken[i])
            r = drop_attempt(queue, &rows[i], err);
        if (!taken[i] || db_changes(queue) == 0)
            *after = rows[i].rowid;
    }
    return r == 0 ? db_commit(queue, err) : r;
}

struct pair {
    int64_t rowid;
    char transaction_id[ID_SIZE], order_id[ID_SIZE];
};

static int take_claims(struct db *ledger, struct db *queue, int64_t *after, int64_t now,
                       struct intake_counts *counts, size_t *ret_n, struct error *err)
{
    _cleanup_free_ struct pair *pairs = calloc(BATCH, sizeof(*pairs));
    struct db_stmt *stmt;
    size_t n = 0;
    int r;

    if (!pairs)
        return error_set(err, -ENOMEM, "out of memory");
    r = db_query(queue, &stmt, err,
                 "SELECT rowid, transaction_id, order_id FROM claims"
                 " WHERE rowid > ? ORDER BY rowid LIMIT ?",
                 "ii", *after, (int64_t)BATCH);
    while (r == 0 && (r = db_step(queue, stmt, err)) > 0) {
        pairs[n].rowid = db_int(stmt, 0);
        db_copy(stmt, 1, pairs[n].transaction_id, sizeof(pairs[n].transaction_id));
        db_copy(stmt, 2, pairs[n].order_id, sizeof(pairs[n].order_id));
        n++;
        r = 0;
    }
    if (r < 0 || n == 0)
        return r;
    *ret_n += n;
    r = db_begin(ledger, err);
    for (size_t i = 0; i < n && r == 0; i++) {
        r = db_run(ledger, err,
                   "INSERT INTO claims (transaction_id, order_id, taken_at) VALUES (?, ?, ?)"
                   " ON CONFLICT DO NOTHING",
                   "ttT", pairs[i].transaction_id, pairs[i].order_id, now);
        if (r == 0)
            counts->claims += db_changes(ledger);
        /* It may change this order's verdict, and that of an order that was given the sale. */
        if (r == 0)
            r = db_run(ledger, err,
                       "UPDATE orders SET sealed = 0 WHERE sealed = 1 AND (order_id = ?2"
                       " OR order_id IN (SELECT v.order_id FROM verdict_sales s"
                       " JOIN verdicts v ON v.verdict_id = s.verdict_id"
                       " WHERE s.transaction_id = ?1))",
                       "tt", pairs[i].transaction_id, pairs[i].order_id);
    }
    if (r == 0)
        r = db_commit(ledger, err);
    if (r == 0)
        r = db_begin(queue, err);
    for (size_t i = 0; i < n && r == 0; i++) {
        r = db_run(queue, err, "DELETE FROM claims WHERE transaction_id = ? AND order_id = ?", "tt",
                   pairs[i].transaction_id, pairs[i].order_id);
        if (db_changes(queue) == 0)
            *after = pairs[i].rowid;
    }
    return r == 0 ? db_commit(queue, err) : r;
}

struct decision {
    char key[ID_SIZE], order_id[ID_SIZE], decision[16], transaction_id[ID_SIZE], note[4001],
        decided_by[ID_SIZE], decided_at[40];
};

static int take_resolutions(struct db *ledger, struct db *queue, int64_t *after, int64_t now,
                            struct intake_counts *counts, size_t *ret_n, struct error *err)
{
    struct decision d;
    struct db_stmt *stmt;
    int64_t rowid, at;
    int r;

    r = db_query(queue, &stmt, err,
                 "SELECT rowid, resolution_key, order_id, decision, transaction_id, note,"
                 " decided_by, decided_at FROM resolutions WHERE rowid > ? ORDER BY rowid LIMIT 1",
                 "i", *after);
    if (r == 0)
        r = db_step(queue, stmt, err);
    if (r <= 0)
        return r;
    rowid = db_int(stmt, 0);
    db_copy(stmt, 1, d.key, sizeof(d.key));
    db_copy(stmt, 2, d.order_id, sizeof(d.order_id));
    db_copy(stmt, 3, d.decision, sizeof(d.decision));
    db_copy(stmt, 4, d.transaction_id, sizeof(d.transaction_id));
    db_copy(stmt, 5, d.note, sizeof(d.note));
    db_copy(stmt, 6, d.decided_by, sizeof(d.decided_by));
    db_copy(stmt, 7, d.decided_at, sizeof(d.decided_at));
    db_done(stmt);
    ++*ret_n;
    if (strcmp(d.decision, "charged") != 0 && strcmp(d.decision, "not_charged") != 0) {
        snprintf(counts->refused_text, sizeof(counts->refused_text),
                 "order %.64s: decision \"%s\" is not understood", d.order_id, d.decision);
        counts->refused++;
        *after = rowid;
        return 0;
    }
    /* The queue's constraints see to the time; a decision is not lost over it. */
    if (timestamp_parse(d.decided_at, &at) < 0)
        at = now;
    r = db_begin(ledger, err);
    if (r == 0)
        r = db_run(ledger, err,
                   "INSERT INTO resolutions (queue_key, order_id, decision, transaction_id, note,"
                   " decided_by, decided_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
                   " ON CONFLICT (queue_key) DO NOTHING",
                   "tttettT", d.key, d.order_id, d.decision, d.transaction_id, d.note, d.decided_by,
                   at);
    if (r == 0)
        counts->resolutions += db_changes(ledger);
    if (r == 0)
        r = db_run(ledger, err, "UPDATE orders SET sealed = 0 WHERE order_id = ?", "t", d.order_id);
    if (r == 0)
        r = db_commit(ledger, err);
    if (r == 0)
        r = db_run(queue, err, "DELETE FROM resolutions WHERE resolution_key = ?", "t", d.key);
    if (r == 0 && db_changes(queue) == 0)
        *after = rowid;
    return r;
}

int intake_run(struct db *ledger, struct db *queue, const struct secret *email_key, int64_t now,
               struct intake_counts *ret, struct error *err)
{
    struct position at = {INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN};
    struct intake_counts counts = {0};
    size_t n;
    int r;

    do {
        n = 0;
        /* Claims first: an attempt and its claim that were written together are seen together. */
        r = take_claims(ledger, queue, &at.claim, now, &counts, &n, err);
        if (r == 0)
            r = take_attempts(ledger, queue, email_key, true, &at.earlier, now, &counts, &n, err);
        if (r == 0)
            r = take_attempts(ledger, queue, email_key, false, &at.pending, now, &counts, &n, err);
        if (r == 0)
            r = take_resolutions(ledger, queue, &at.resolution, now, &counts, &n, err);
    } while (r == 0 && n > 0);
    if (r == 0) {
        int64_t asked;

        r = db_value(queue, &asked, 0, err, "SELECT count(*) FROM sync_requests", "");
        if (r == 0 && asked > 0)
            r = db_run(queue, err, "DELETE FROM sync_requests", "");
        if (r == 0)
            counts.sync_requests = asked;
    }
    if (r < 0) {
        db_rollback(ledger);
        db_rollback(queue);
    }
    *ret = counts;
    return r;
}
