#include "store/transactions.h"

#include <stdio.h>
#include <string.h>

#include "store/ledger.h"

/* What was there of a record before this page. */
struct before {
    bool known, settled, repeated;
};

static int look_up(struct db *ledger, const char *id, int64_t run_id, struct before *ret,
                   struct error *err)
{
    struct db_stmt *stmt;
    int r;

    *ret = (struct before){0};
    r = db_query(ledger, &stmt, err,
                 "SELECT settled, last_run_id FROM transactions WHERE transaction_id = ?", "t", id);
    if (r == 0)
        r = db_step(ledger, stmt, err);
    if (r <= 0)
        return r;
    ret->known = true;
    ret->settled = db_int(stmt, 0) != 0;
    ret->repeated = db_int(stmt, 1) == run_id;
    db_done(stmt);
    return 0;
}

static int upsert(struct db *ledger, const struct transaction *t, bool settled, int64_t run_id,
                  int64_t now, struct error *err)
{
    char amount[MONEY_TEXT_SIZE];

    return db_run(
        ledger, err,
        "INSERT INTO transactions (transaction_id, type, amount_minor, amount, currency, net_minor,"
        " card_last_four, card_brand, card_bin, email_hash, transacted_at, created_at, order_ref,"
        " original_transaction_id, status, transaction_status, settled, first_seen_at,"
        " last_seen_at, last_run_id, raw)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
        " ?18, ?19, ?20)"
        " ON CONFLICT (transaction_id) DO UPDATE SET type = ?2, amount_minor = ?3, amount = ?4,"
        " currency = ?5, net_minor = ?6, card_last_four = ?7, card_brand = ?8, card_bin = ?9,"
        " email_hash = ?10, transacted_at = ?11, created_at = ?12, order_ref = ?13,"
        " original_transaction_id = ?14, status = ?15, transaction_status = ?16, settled = ?17,"
        " last_seen_at = ?18, last_run_id = ?19, raw = coalesce(?20, raw)",
        "ttittieeeeTTeeeebTit", t->id, t->type, t->amount.minor, money_format(t->amount, amount),
        t->amount.currency, t->net.minor, t->card.last_four, t->card.brand, t->card.bin,
        t->card.email_hash, t->transacted_at, t->created_at, t->order_ref, t->original_id,
        t->status, t->transaction_status, (int)settled, now, run_id, t->raw);
}

/* An order that was left alone because its time of watch is over is looked at once more. */
static int unseal(struct db *ledger, const struct transaction *t, struct error *err)
{
    int r;

    r = db_run(ledger, err,
               "UPDATE orders SET sealed = 0 WHERE sealed = 1 AND order_id IN"
               " (SELECT v.order_id FROM verdict_sales s JOIN verdicts v"
               " ON v.verdict_id = s.verdict_id WHERE s.transaction_id IN (?1, ?2)"
               " AND s.assigned = 1)",
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
    int r;

    r = look_up(ledger, t->id, run->id, &before, err);
    if (r == 0)
        r = upsert(ledger, t, settled, run->id, now, err);
    if (r == 0 && (!before.known || before.settled != settled))
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
    run->rows_bad++;
    digest_extend(run->digest, bad->digest);
    return db_run(ledger, err,
                  "INSERT INTO quarantine (digest, transaction_id, created_at, reason, run_id,"
                  " window_from, window_to, page, first_seen_at, last_seen_at, raw)"
                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10)"
                  " ON CONFLICT (digest) DO UPDATE SET run_id = ?5, window_from = ?6,"
                  " window_to = ?7, page = ?8, last_seen_at = ?9",
                  "teMtiTTiTt", bad->digest, bad->id, bad->has_time ? bad->created_at : (int64_t)-1,
                  bad->reason, run->id, run->from, run->to, run->next_page, now, bad->raw);
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

int transactions_missing(struct db *ledger, const struct sync_run *run, int64_t *ret,
                         struct error *err)
{
    /* Whether a window's last second counts is not known, nor how long creation takes. */
    const int64_t margin = 5000;

    if (run->to - run->from <= 2 * margin) {
        *ret = 0;
        return 0;
    }
    return db_value(ledger, ret, 0, err,
                    "SELECT count(*) FROM transactions WHERE created_at BETWEEN ? AND ?"
                    " AND last_run_id <> ? AND last_seen_at < ?",
                    "TTiT", run->from + margin, run->to - margin, run->id, run->began_at);
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
