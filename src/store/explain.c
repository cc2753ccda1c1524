#include "store/explain.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "core/timestamp.h"

enum { MARGIN_MS = 10 * 60 * 1000 }; /* sales this near to the window are shown as well */

DEFINE_CLEANUP(struct explain *, explain_close)

static void copy_money(struct db_stmt *stmt, int minor, int currency, struct money *ret)
{
    ret->minor = db_int(stmt, minor);
    db_copy(stmt, currency, ret->currency, sizeof(ret->currency));
}

/* Four columns from `first` on. */
static void copy_card(struct db_stmt *stmt, int first, struct card *ret)
{
    db_copy(stmt, first, ret->last_four, sizeof(ret->last_four));
    db_copy(stmt, first + 1, ret->brand, sizeof(ret->brand));
    db_copy(stmt, first + 2, ret->bin, sizeof(ret->bin));
    db_copy(stmt, first + 3, ret->email_hash, sizeof(ret->email_hash));
}

static int load_order(struct explain *e, const char *order_id, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(e->ledger, &stmt, err,
                 "SELECT order_id, verdict, sealed, last_attempt_at FROM orders WHERE order_id = ?",
                 "t", order_id);
    if (r == 0)
        r = db_step(e->ledger, stmt, err);
    if (r <= 0)
        return r;
    db_copy(stmt, 0, e->order_id, sizeof(e->order_id));
    r = verdict_from_name(db_text(stmt, 1), &e->verdict);
    e->sealed = db_int(stmt, 2) != 0;
    e->last_attempt = db_time(stmt, 3);
    db_done(stmt);
    return r < 0 ? error_set(err, -EBADMSG, "%s: unknown verdict", db_path(e->ledger)) : 1;
}

static int load_attempts(struct explain *e, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(e->ledger, &stmt, err,
                 "SELECT attempted_at, amount_minor, currency, card_last_four, card_brand,"
                 " card_bin, email_hash, http_status, session_id, taken_at FROM attempts"
                 " WHERE order_id = ? ORDER BY attempted_at, taken_at",
                 "t", e->order_id);
    if (r < 0)
        return r;
    while ((r = db_step(e->ledger, stmt, err)) > 0) {
        struct match_attempt *attempt;
        struct explain_attempt *told;

        if (ARRAY_GROW(e->attempts, e->n_attempts) < 0 || ARRAY_GROW(e->told, e->n_attempts) < 0) {
            db_done(stmt);
            return error_set(err, -ENOMEM, "out of memory");
        }
        told = &e->told[e->n_attempts];
        attempt = &e->attempts[e->n_attempts++];
        attempt->at = db_time(stmt, 0);
        copy_money(stmt, 1, 2, &attempt->amount);
        copy_card(stmt, 3, &attempt->card);
        told->http_status = db_int(stmt, 7);
        db_copy(stmt, 8, told->session_id, sizeof(told->session_id));
        told->taken_at = db_time(stmt, 9);
    }
    if (r == 0 && e->n_attempts == 0)
        return error_set(err, -EBADMSG, "%s: order %s has no attempt", db_path(e->ledger),
                         e->order_id);
    return r;
}

/* Whatever a person may take for the order's sale: the amount or the card near the window, its id
 * on the record, the app's claim, or the latest verdict. */
#define SALE " AND t.type = 'CreditCardSale'"
#define NEARBY                                                                                     \
    "WITH span (low, high) AS (SELECT ?2, ?3),"                                                    \
    " ids (id) AS (SELECT t.transaction_id FROM attempts a JOIN span JOIN transactions t"          \
    "   ON t.currency = a.currency AND t.amount_minor = a.amount_minor"                            \
    "   AND t.transacted_at BETWEEN span.low AND span.high WHERE a.order_id = ?1" SALE             \
    "  UNION SELECT t.transaction_id FROM attempts a JOIN span JOIN transactions t"                \
    "   ON t.currency = a.currency AND t.net_minor = a.amount_minor"                               \
    "   AND t.transacted_at BETWEEN span.low AND span.high WHERE a.order_id = ?1" SALE             \
    "  UNION SELECT t.transaction_id FROM attempts a JOIN span JOIN transactions t"                \
    "   ON t.transacted_at BETWEEN span.low AND span.high"                                         \
    "   AND t.card_last_four = a.card_last_four WHERE a.order_id = ?1" SALE                        \
    "  UNION SELECT transaction_id FROM transactions WHERE order_ref = ?1"                         \
    "  UNION SELECT transaction_id FROM claims WHERE order_id = ?1"                                \
    "  UNION SELECT s.transaction_id FROM verdict_sales s JOIN latest l"                           \
    "   ON l.verdict_id = s.verdict_id),"                                                          \
    " latest (verdict_id) AS (SELECT v.verdict_id FROM orders o JOIN verdicts v"                   \
    "   ON v.order_id = o.order_id AND v.revision = o.revision WHERE o.order_id = ?1)"

static int load_sales(struct explain *e, const struct match_settings *settings, size_t max_sales,
                      struct error *err)
{
    const struct match_order order = {
        .id = e->order_id, .attempts = e->attempts, .n_attempts = e->n_attempts};
    struct db_stmt *stmt;
    int r;

    r = db_query(e->ledger, &stmt, err,
                 NEARBY
                 " SELECT t.transaction_id, t.type, coalesce(t.status, t.transaction_status),"
                 " t.amount_minor, t.net_minor, t.currency, t.transacted_at, t.card_last_four,"
                 " t.card_brand, t.card_bin, t.email_hash, t.order_ref,"
                 " t.type = 'CreditCardSale' AND t.settled = 1,"
                 " EXISTS (SELECT 1 FROM claims c"
                 "  WHERE c.transaction_id = t.transaction_id AND c.order_id = ?1),"
                 " (SELECT min(c.order_id) FROM claims c"
                 "  WHERE c.transaction_id = t.transaction_id AND c.order_id <> ?1),"
                 " (SELECT min(o.order_id) FROM verdict_sales s"
                 "  JOIN verdicts v ON v.verdict_id = s.verdict_id"
                 "  JOIN orders o ON o.order_id = v.order_id AND o.revision = v.revision"
                 "  WHERE s.transaction_id = t.transaction_id AND s.assigned = 1"
                 "  AND o.order_id <> ?1),"
                 " (SELECT o.sealed FROM verdict_sales s"
                 "  JOIN verdicts v ON v.verdict_id = s.verdict_id"
                 "  JOIN orders o ON o.order_id = v.order_id AND o.revision = v.revision"
                 "  WHERE s.transaction_id = t.transaction_id AND s.assigned = 1"
                 "  AND o.order_id <> ?1 ORDER BY o.order_id),"
                 " (SELECT group_concat(u.transaction_id || ' (' || u.type || ')', ', ')"
                 "  FROM transactions u WHERE u.original_transaction_id = t.transaction_id"
                 "  AND u.settled = 1),"
                 " s.fit, s.assigned, t.vanished_at"
                 " FROM ids JOIN transactions t ON t.transaction_id = ids.id"
                 " LEFT JOIN verdict_sales s ON s.transaction_id = t.transaction_id"
                 "  AND s.verdict_id = (SELECT verdict_id FROM latest)"
                 " ORDER BY coalesce(s.assigned, 0) DESC, s.fit IS NULL, t.order_ref IS NOT ?1,"
                 " abs(julianday(t.transacted_at) - julianday(?4)), t.transaction_id LIMIT ?5",
                 "tTTTi", e->order_id, e->window_from - MARGIN_MS, e->window_to + MARGIN_MS,
                 e->last_attempt, (int64_t)max_sales + 1);
    if (r < 0)
        return r;
    while ((r = db_step(e->ledger, stmt, err)) > 0) {
        struct explain_sale *sale;
        bool claimed, claimed_by_other;

        if (e->n_sales == max_sales) {
            e->more_sales = true;
            db_done(stmt);
            return 0;
        }
        if (ARRAY_GROW(e->sales, e->n_sales) < 0) {
            db_done(stmt);
            return error_set(err, -ENOMEM, "out of memory");
        }
        sale = &e->sales[e->n_sales++];
        db_copy(stmt, 0, sale->id, sizeof(sale->id));
        db_copy(stmt, 1, sale->type, sizeof(sale->type));
        db_copy(stmt, 2, sale->status, sizeof(sale->status));
        copy_money(stmt, 3, 5, &sale->amount);
        copy_money(stmt, 4, 5, &sale->net);
        sale->at = db_time(stmt, 6);
        copy_card(stmt, 7, &sale->card);
        db_copy(stmt, 11, sale->order_ref, sizeof(sale->order_ref));
        claimed = db_int(stmt, 13) != 0;
        claimed_by_other = !db_is_null(stmt, 14);
        db_copy(stmt, claimed_by_other ? 14 : 15, sale->belongs_to, sizeof(sale->belongs_to));
        db_copy(stmt, 17, sale->undone_by, sizeof(sale->undone_by));
        db_copy(stmt, 18, sale->recorded, sizeof(sale->recorded));
        sale->assigned = db_int(stmt, 19) != 0;
        sale->vanished_at = db_time(stmt, 20);
        sale->fit =
            match_fit(&order,
                      &(struct match_sale){.id = sale->id,
                                           .amount = sale->amount,
                                           .net = sale->net,
                                           .at = sale->at,
                                           .card = sale->card,
                                           .order_ref = sale->order_ref,
                                           .sealed_for = db_int(stmt, 16) ? sale->belongs_to : NULL,
                                           .is_sale = db_int(stmt, 12) != 0},
                      claimed, claimed_by_other, settings);
    }
    return r;
}

static int by_time(const void *a, const void *b)
{
    const struct explain_sale *left = a, *right = b;

    return COMPARE(left->at, right->at);
}

static int load_coverage(struct explain *e, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(e->ledger, &stmt, err,
                 "SELECT covered_from, covered_to, run_id, began_at, proof, clear FROM coverage"
                 " WHERE covered_from <= ?2 AND covered_to >= ?1 ORDER BY covered_from,"
                 " covered_to, run_id",
                 "TT", e->read_from, e->read_to);
    if (r < 0)
        return r;
    while ((r = db_step(e->ledger, stmt, err)) > 0) {
        if (ARRAY_GROW(e->coverage, e->n_coverage) < 0) {
            db_done(stmt);
            return error_set(err, -ENOMEM, "out of memory");
        }
        e->coverage[e->n_coverage++] = (struct explain_coverage){
            .from = db_time(stmt, 0),
            .to = db_time(stmt, 1),
            .run_id = db_int(stmt, 2),
            .began_at = db_time(stmt, 3),
            .proof = db_int(stmt, 4) != 0,
            .clear = db_int(stmt, 5) != 0,
        };
    }
    return r;
}

int explain_open(struct db *ledger, const char *order_id, const struct match_settings *settings,
                 size_t max_sales, struct explain **ret, struct error *err)
{
    _cleanup_(explain_close_p) struct explain *e = calloc(1, sizeof(*e));
    int r;

    if (!e)
        return error_set(err, -ENOMEM, "out of memory");
    e->ledger = ledger;
    r = db_exec(ledger, "BEGIN", err);
    if (r == 0)
        r = load_order(e, order_id, err);
    if (r <= 0)
        return r;
    r = load_attempts(e, err);
    if (r == 0) {
        match_window(&(struct match_order){.attempts = e->attempts, .n_attempts = e->n_attempts},
                     settings, &e->window_from, &e->window_to);
        e->read_from = timestamp_floor_second(e->window_from);
        e->read_to = timestamp_ceil_second(e->window_to);
        r = load_sales(e, settings, max_sales, err);
    }
    if (r == 0)
        r = load_coverage(e, err);
    if (r < 0)
        return r;
    array_sort(e->sales, e->n_sales, sizeof(*e->sales), by_time);
    *ret = TAKE_PTR(e);
    return 1;
}

struct explain *explain_close(struct explain *explain)
{
    if (!explain)
        return NULL;
    db_rollback(explain->ledger);
    free(explain->attempts);
    free(explain->told);
    free(explain->sales);
    free(explain->coverage);
    free(explain);
    return NULL;
}

int explain_rows(struct explain *explain, enum explain_section section,
                 const struct report_sink *sink, struct error *err)
{
    static const char *const queries[] = {
        [EXPLAIN_ORDER] = "SELECT * FROM order_status WHERE order_id = ?",
        [EXPLAIN_CLAIMS] =
            "SELECT c.transaction_id, c.taken_at, EXISTS (SELECT 1 FROM transactions t"
            " WHERE t.transaction_id = c.transaction_id) AS in_ledger"
            " FROM claims c WHERE c.order_id = ? ORDER BY c.taken_at, c.transaction_id",
        [EXPLAIN_VERDICTS] =
            "SELECT revision, verdict, safe_to_retry, transaction_id, rule, reason, decided_at,"
            " decided_by FROM verdicts WHERE order_id = ? ORDER BY revision",
        [EXPLAIN_RESOLUTIONS] =
            "SELECT decision, transaction_id, note, decided_by, decided_at FROM resolutions"
            " WHERE order_id = ? ORDER BY resolution_id",
        [EXPLAIN_RUNS] =
            "SELECT r.run_id, r.purpose, r.window_from, r.window_to, r.began_at, r.ended_at,"
            " r.rows_read, r.outcome, r.proof FROM orders o"
            " JOIN verdicts v ON v.order_id = o.order_id AND v.revision = o.revision"
            " JOIN verdict_runs w ON w.verdict_id = v.verdict_id"
            " JOIN sync_runs r ON r.run_id = w.run_id WHERE o.order_id = ? ORDER BY r.run_id",
    };
    struct db_stmt *stmt;
    int r;

    if (section == EXPLAIN_QUARANTINE)
        r = db_query(explain->ledger, &stmt, err,
                     "SELECT quarantine_id, transaction_id, created_at, reason, run_id,"
                     " window_from, window_to, page, last_seen_at FROM quarantine"
                     " WHERE CASE WHEN created_at IS NULL"
                     "  THEN window_from <= ?2 AND window_to >= ?1"
                     "  ELSE created_at BETWEEN ?1 AND ?2 END ORDER BY quarantine_id",
                     "TT", explain->read_from, explain->read_to);
    else
        r = db_query(explain->ledger, &stmt, err, queries[section], "t", explain->order_id);
    return r < 0 ? r : report_rows(explain->ledger, stmt, sink, err);
}

int explain_has_transaction(struct db *ledger, const char *transaction_id, struct error *err)
{
    int64_t found;
    int r = db_value(ledger, &found, 0, err, "SELECT 1 FROM transactions WHERE transaction_id = ?",
                     "t", transaction_id);

    return r < 0 ? r : (int)found;
}
