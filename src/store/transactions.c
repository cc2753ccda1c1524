#include "store/transactions.h"

#include <stdio.h>
#include <string.h>

#include "store/ledger.h"

enum {
    EDGE_MS = 5000,
    LATE_MIN = 3,                         /* late records before anything is learned of them */
    WATCHED_MS = 4 * 24 * 60 * 60 * 1000, /* records older than this were not watched for */
};

/* What was there of a record before this page. */
struct before {
    bool known, settled, repeated, vanished;
};

static int look_up(struct db *ledger, const char *id, int64_t run_id, struct before *ret,
                   struct error *err)
{
    struct db_stmt *stmt;
    int r;

    *ret = (struct before){0};
    r = db_query(ledger, &stmt, err,
                 "SELECT settled, last_run_id, vanished_at IS NOT NULL FROM transactions"
                 " WHERE transaction_id = ?",
                 "t", id);
    if (r == 0)
        r = db_step(ledger, stmt, err);
    if (r <= 0)
        return r;
    ret->known = true;
    ret->settled = db_int(stmt, 0) != 0;
    ret->repeated = db_int(stmt, 1) == run_id;
    ret->vanished = db_int(stmt, 2) != 0;
    db_done(stmt);
    return 0;
}

static int upsert(struct db *ledger, const struct transaction *t, bool settled, int64_t late,
                  int64_t run_id, int64_t now, struct error *err)
{
    char amount[MONEY_TEXT_SIZE];

    return db_run(
        ledger, err,
        "INSERT INTO transactions (transaction_id, type, amount_minor, amount, currency, net_minor,"
        " card_last_four, card_brand, card_bin, email_hash, transacted_at, created_at, order_ref,"
        " original_transaction_id, status, transaction_status, settled, first_seen_at,"
        " last_seen_at, last_run_id, raw, late_ms)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
        " ?18, ?19, ?20, ?21)"
        " ON CONFLICT (transaction_id) DO UPDATE SET type = ?2, amount_minor = ?3, amount = ?4,"
        " currency = ?5, net_minor = ?6, card_last_four = ?7, card_brand = ?8, card_bin = ?9,"
        " email_hash = ?10, transacted_at = ?11, created_at = ?12, order_ref = ?13,"
        " original_transaction_id = ?14, status = ?15, transaction_status = ?16, settled = ?17,"
        " last_seen_at = ?18, last_run_id = ?19, raw = coalesce(?20, raw), missed_at = NULL,"
        " vanished_at = NULL",
        "ttittieeeeTTeeeebTitN", t->id, t->type, t->amount.minor, money_format(t->amount, amount),
        t->amount.currency, t->net.minor, t->card.last_four, t->card.brand, t->card.bin,
        t->card.email_hash, t->transacted_at, t->created_at, t->order_ref, t->original_id,
        t->status, t->transaction_status, (int)settled, now, run_id, t->raw, late);
}

/* How late a record that we did not know is, in ms: 0 unless its time had been read by a pass that
 * would have shown it; -1 (not measured) for history, which we were not there to watch. */
static int measure_lateness(struct db *ledger, const struct transaction *t, int64_t now,
                            int64_t *ret, struct error *err)
{
    int64_t watched;
    int r;

    if (now - t->transacted_at > WATCHED_MS) {
        *ret = -1;
        return 0;
    }
    r = db_value(ledger, &watched, 0, err,
                 "SELECT 1 FROM coverage WHERE covered_from BETWEEN ?2 AND ?1 AND covered_to >= ?1"
                 " AND proof = 1 LIMIT 1",
                 "TT", t->transacted_at, t->transacted_at - SYNC_MAX_WINDOW_MS);
    if (r == 0)
        *ret = watched && now > t->transacted_at ? now - t->transacted_at : 0;
    return r;
}

/* An order that was left alone because its time of watch is over is looked at once more. */
static int unseal(struct db *ledger, const struct transaction *t, struct error *err)
{
    int r;

    r = db_run(ledger, err,
               "UPDATE orders SET sealed = 0 WHERE sealed = 1 AND order_id IN"
               " (SELECT v.order_id FROM verdict_sales s JOIN verdicts v"
               " ON v.verdict_id = s.verdict_id WHERE s.transaction_id IN (?1, ?2)"
               " AND s.assigned = 1"
               " UNION ALL SELECT order_id FROM claims WHERE transaction_id = ?1)",
               "te", t->id, t->original_id);
    if (r == 0 && *t->order_ref)
        r = db_run(ledger, err, "UPDATE orders SET sealed = 0 WHERE sealed = 1 AND order_id = ?",
                   "t", t->order_ref);
    return r;
}

static int store_record(struct db *ledger, struct sync_run *run, const struct transaction *t,
                        const char *const *unsettled, int64_t now, struct error *err)
{
    bool settled = transaction_settled(t, unsettled);
    struct before before;
    int64_t late = -1;
    int r;

    r = look_up(ledger, t->id, run->id, &before, err);
    if (r == 0 && !before.known)
        r = measure_lateness(ledger, t, now, &late, err);
    if (r == 0)
        r = upsert(ledger, t, settled, late, run->id, now, err);
    if (r == 0 && (!before.known || before.settled != settled || before.vanished))
        r = unseal(ledger, t, err);
    if (r == 0)
        r = db_run(ledger, err, "DELETE FROM quarantine WHERE transaction_id = ?", "t", t->id);
    run->rows_new += !before.known;
    run->repeats += before.repeated;
    digest_extend(run->digest, t->id);
    return r;
}

static int store_bad(struct db *ledger, struct sync_run *run, const struct bad_record *bad,
                     int64_t now, struct error *err)
{
    int64_t repeated;
    int r;

    run->rows_bad++;
    digest_extend(run->digest, bad->digest);
    r = db_value(ledger, &repeated, -1, err, "SELECT run_id = ?2 FROM quarantine WHERE digest = ?1",
                 "ti", bad->digest, run->id);
    if (r < 0)
        return r;
    run->repeats += repeated > 0;
    run->rows_bad_new += repeated < 0;
    return db_run(ledger, err,
                  "INSERT INTO quarantine (digest, transaction_id, created_at, reason, run_id,"
                  " window_from, window_to, page, first_seen_at, last_seen_at, raw, transacted_at)"
                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11)"
                  " ON CONFLICT (digest) DO UPDATE SET run_id = ?5, window_from = ?6,"
                  " window_to = ?7, page = ?8, last_seen_at = ?9",
                  "teMtiTTiTtM", bad->digest, bad->id,
                  bad->has_time ? bad->created_at : (int64_t)-1, bad->reason, run->id, run->from,
                  run->to, run->next_page, now, bad->raw,
                  bad->has_time ? bad->transacted_at : (int64_t)-1);
}

int transactions_quarantined(struct db *ledger, int64_t from, int64_t to, bool *ret,
                             struct error *err)
{
    int64_t found;
    int r = db_value(ledger, &found, 0, err,
                     "SELECT 1 FROM quarantine WHERE transacted_at BETWEEN ? AND ? LIMIT 1", "TT",
                     from, to);

    if (r == 0)
        *ret = found != 0;
    return r;
}

int transactions_store(struct db *ledger, struct sync_run *run, const struct page *page,
                       const char *const *unsettled, int64_t now, struct error *err)
{
    int r = 0;

    for (size_t i = 0; i < page->n_records && r == 0; i++)
        r = store_record(ledger, run, &page->records[i], unsettled, now, err);
    for (size_t i = 0; i < page->n_bad && r == 0; i++)
        r = store_bad(ledger, run, &page->bad[i], now, err);
    run->rows_read += (int64_t)(page->n_records + page->n_bad);
    return r;
}

/* The part of a window that is surely shown: whether its last second counts is not known, nor how
 * long creation takes. */
static int64_t surely_from(const struct sync_run *run)
{
    return run->from + EDGE_MS;
}

static int64_t surely_to(const struct sync_run *run)
{
    return run->to - EDGE_MS;
}

int transactions_missing(struct db *ledger, const struct sync_run *run, int64_t *ret,
                         struct error *err)
{
    return db_value(ledger, ret, 0, err,
                    "SELECT count(*) FROM transactions WHERE created_at BETWEEN ? AND ?"
                    " AND last_run_id <> ? AND last_seen_at < ? AND vanished_at IS NULL",
                    "TTiT", surely_from(run), surely_to(run), run->id, run->began_at);
}

int transactions_note_missing(struct db *ledger, const struct sync_run *run, int64_t now,
                              int64_t *ret_vanished, struct error *err)
{
    int64_t vanished;
    int r;

    r = db_run(ledger, err,
               "UPDATE orders SET sealed = 0 WHERE sealed = 1 AND order_id IN"
               " (SELECT v.order_id FROM transactions t"
               " JOIN verdict_sales s ON s.transaction_id = t.transaction_id AND s.assigned = 1"
               " JOIN verdicts v ON v.verdict_id = s.verdict_id"
               " WHERE t.created_at BETWEEN ? AND ? AND t.last_run_id <> ?"
               " AND t.last_seen_at < ? AND t.missed_at IS NOT NULL AND t.vanished_at IS NULL)",
               "TTiT", surely_from(run), surely_to(run), run->id, run->began_at);
    if (r == 0)
        r = db_run(ledger, err,
                   "UPDATE transactions SET vanished_at = ?5 WHERE created_at BETWEEN ?1 AND ?2"
                   " AND last_run_id <> ?3 AND last_seen_at < ?4 AND missed_at IS NOT NULL"
                   " AND vanished_at IS NULL",
                   "TTiTT", surely_from(run), surely_to(run), run->id, run->began_at, now);
    vanished = db_changes(ledger);
    if (r == 0)
        r = db_run(ledger, err,
                   "UPDATE transactions SET missed_at = ?5 WHERE created_at BETWEEN ?1 AND ?2"
                   " AND last_run_id <> ?3 AND last_seen_at < ?4 AND missed_at IS NULL",
                   "TTiTT", surely_from(run), surely_to(run), run->id, run->began_at, now);
    if (r == 0)
        *ret_vanished = vanished;
    return r;
}

int transactions_lateness(struct db *ledger, int64_t since, int64_t *ret_p99_ms, struct error *err)
{
    int64_t measured;
    int r;

    r = db_value(ledger, &measured, 0, err,
                 "SELECT count(*) FROM transactions WHERE first_seen_at >= ?"
                 " AND late_ms IS NOT NULL",
                 "T", since);
    return r < 0 ? r
                 : db_value(ledger, ret_p99_ms, 0, err,
                            "SELECT late_ms FROM transactions WHERE first_seen_at >= ?"
                            " AND late_ms > 0 ORDER BY late_ms DESC LIMIT 1 OFFSET ?",
                            "Ti", since,
                            measured / 100 < LATE_MIN - 1 ? (int64_t)LATE_MIN - 1 : measured / 100);
}

static int reclassify(struct db *ledger, const char *const *unsettled, struct error *err)
{
    int r;

    r = db_run(ledger, err, "UPDATE transactions SET settled = 1 WHERE settled = 0", "");
    for (size_t i = 0; unsettled[i] && r == 0; i++)
        r = db_run(ledger, err,
                   "UPDATE transactions SET settled = 0 WHERE lower(trim(status)) = lower(?1)"
                   " OR lower(trim(transaction_status)) = lower(?1)",
                   "t", unsettled[i]);
    return r;
}

int transactions_set_unsettled(struct db *ledger, const char *const *unsettled, struct error *err)
{
    char wanted[1024] = "", known[1024];
    size_t n = 0;
    int r;

    for (size_t i = 0; unsettled[i] && n < sizeof(wanted); i++)
        n += (size_t)snprintf(wanted + n, sizeof(wanted) - n, "%s,", unsettled[i]);
    r = ledger_get_meta(ledger, "unsettled", known, sizeof(known), err);
    if (r < 0 || strcmp(known, wanted) == 0)
        return r;
    r = db_begin(ledger, err);
    if (r == 0)
        r = reclassify(ledger, unsettled, err);
    if (r == 0)
        r = ledger_set_meta(ledger, "unsettled", wanted, err);
    if (r == 0)
        r = db_commit(ledger, err);
    if (r < 0)
        db_rollback(ledger);
    return r;
}
