#include "store/report.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/money.h"
#include "core/verdict.h"

/* Two parameters, the ends of the report's time as ledger text, NULL for open. Text order is time
 * order; '' lies before and '~' behind every time. */
#define FROM                               "coalesce(?1, '')"
#define TO                                 "coalesce(?2, '~')"
#define WITHIN(time)                       " WHERE " time " >= " FROM " AND " time " <= " TO
#define SPANS(first, last)                 " WHERE " last " >= " FROM " AND " first " <= " TO
#define BY_TIME(select, time, then)        select WITHIN(time) " ORDER BY " time ", " then
#define BY_SPAN(select, first, last, then) select SPANS(first, last) " ORDER BY " first ", " then

/* `raw` is left out of every report: it holds personal data. */
static const struct {
    const char *name;
    const char *sql; /* NULL: made by code */
} reports[] = {
    {"summary", NULL},
    {"transactions",
     BY_TIME("SELECT transaction_id, type, amount, amount_minor, currency, net_minor,"
             " card_last_four, card_brand, card_bin, email_hash, transacted_at, created_at,"
             " order_ref, original_transaction_id, status, transaction_status, settled,"
             " first_seen_at, last_seen_at, last_run_id, missed_at, vanished_at, late_ms"
             " FROM transactions",
             "transacted_at", "transaction_id")},
    {"order_status",
     BY_SPAN("SELECT * FROM order_status", "first_attempt_at", "last_attempt_at", "order_id")},
    {"verdicts", BY_TIME("SELECT verdict_id, order_id, revision, verdict, safe_to_retry,"
                         " transaction_id, rule, reason, decided_at, decided_by FROM verdicts",
                         "decided_at", "verdict_id")},
    {"revisions", BY_TIME("SELECT * FROM revisions", "decided_at", "order_id")},
    {"review_queue",
     BY_SPAN("SELECT * FROM review_queue", "first_attempt_at", "last_attempt_at", "order_id")},
    {"double_charges",
     BY_SPAN("SELECT * FROM double_charges", "first_attempt_at", "last_attempt_at", "order_id")},
    {"unclaimed_sales",
     BY_TIME("SELECT * FROM unclaimed_sales", "transacted_at", "transaction_id")},
    {"vanished_transactions",
     BY_TIME("SELECT * FROM vanished_transactions", "transacted_at", "transaction_id")},
    {"daily_totals", "SELECT * FROM daily_totals WHERE day >= substr(" FROM ", 1, 10)"
                     " AND day <= substr(" TO ", 1, 10) ORDER BY day, type, currency"},
    {"session_revocations",
     BY_TIME("SELECT session_id, created_at, why, outcome, attempts, asked_at, closed_at,"
             " next_try_at, http_status, detail FROM session_revocations",
             "created_at", "session_id")},
    {"quarantine",
     BY_SPAN("SELECT quarantine_id, digest, transaction_id, created_at, reason, run_id,"
             " window_from, window_to, page, first_seen_at, last_seen_at FROM quarantine",
             "first_seen_at", "last_seen_at", "quarantine_id")},
    {"sync_runs",
     BY_TIME("SELECT run_id, purpose, window_from, window_to, began_at, ended_at, next_page,"
             " rows_read, rows_new, rows_bad, page_rows, total, repeats, digest, outcome, proof,"
             " http_status, detail FROM sync_runs",
             "began_at", "run_id")},
    {"sync_coverage",
     BY_SPAN("SELECT * FROM sync_coverage", "covered_from", "covered_to", "covered_to")},
    /* Of a time of its own, whatever is asked for. */
    {"lateness", "SELECT * FROM lateness WHERE ?1 IS ?1 AND ?2 IS ?2"},
};

const char *const *report_names(void)
{
    static const char *names[ELEMENTSOF(reports) + 1];

    for (size_t i = 0; i < ELEMENTSOF(reports); i++)
        names[i] = reports[i].name;
    return names;
}

static int refused(int r, struct error *err)
{
    return r < 0 ? error_set(err, r, "cannot write the report: %s", strerror(-r)) : 0;
}

static int begin(const struct report_sink *sink, const char *const *columns, size_t n,
                 struct error *err)
{
    return refused(sink->begin(sink->userdata, columns, n), err);
}

static int give(const struct report_sink *sink, const struct report_cell *cells, size_t n,
                struct error *err)
{
    return refused(sink->row(sink->userdata, cells, n), err);
}

static struct report_cell cell_of(struct db_stmt *stmt, int column)
{
    if (db_is_null(stmt, column))
        return (struct report_cell){.type = CELL_NULL};
    if (db_is_integer(stmt, column))
        return (struct report_cell){.type = CELL_INTEGER, .integer = db_int(stmt, column)};
    return (struct report_cell){.type = CELL_TEXT, .text = db_text(stmt, column)};
}

int report_rows(struct db *db, struct db_stmt *stmt, const struct report_sink *sink,
                struct error *err)
{
    const char *columns[REPORT_MAX_COLUMNS];
    struct report_cell cells[REPORT_MAX_COLUMNS];
    int n = db_columns(stmt);
    int r, found;

    assert(n <= REPORT_MAX_COLUMNS);
    for (int i = 0; i < n; i++)
        columns[i] = db_column_name(stmt, i);
    r = begin(sink, columns, (size_t)n, err);
    while (r == 0) {
        found = db_step(db, stmt, err);
        if (found <= 0)
            return found;
        for (int i = 0; i < n; i++)
            cells[i] = cell_of(stmt, i);
        r = give(sink, cells, (size_t)n, err);
    }
    db_done(stmt);
    return r;
}

/* --- summary ------------------------------------------------------------------------------------
 */

/* Rows of name and value. `from` and `to` bound what has a time of its own. */
struct summary {
    struct db *db;
    int64_t from, to;
    const struct report_sink *sink;
    struct error *err;
};

static int put(const struct summary *s, const char *name, struct report_cell value)
{
    const struct report_cell cells[] = {{.type = CELL_TEXT, .text = name}, value};

    return give(s->sink, cells, ELEMENTSOF(cells), s->err);
}

static int put_integer(const struct summary *s, const char *name, int64_t value)
{
    return put(s, name, (struct report_cell){.type = CELL_INTEGER, .integer = value});
}

/* A query of one integer, bounded in time by its two parameters. */
static int put_count(const struct summary *s, const char *name, const char *sql)
{
    int64_t value;
    int r = db_value(s->db, &value, 0, s->err, sql, "MM", s->from, s->to);

    return r < 0 ? r : put_integer(s, name, value);
}

static int put_sales(const struct summary *s)
{
    char name[64], amount[MONEY_TEXT_SIZE];
    struct money sum;
    struct db_stmt *stmt;
    int r;

    r = db_query(s->db, &stmt, s->err,
                 "SELECT currency, count(*), sum(amount_minor) FROM transactions"
                 " WHERE transacted_at >= " FROM " AND transacted_at <= " TO
                 " AND type = 'CreditCardSale' AND settled = 1"
                 " GROUP BY currency ORDER BY currency",
                 "MM", s->from, s->to);
    if (r < 0)
        return r;
    while ((r = db_step(s->db, stmt, s->err)) > 0) {
        db_copy(stmt, 0, sum.currency, sizeof(sum.currency));
        sum.minor = db_int(stmt, 2);
        snprintf(name, sizeof(name), "settled_sales_%s", sum.currency);
        r = put_integer(s, name, db_int(stmt, 1));
        if (r == 0) {
            snprintf(name, sizeof(name), "settled_sum_%s", sum.currency);
            r = put(s, name,
                    (struct report_cell){.type = CELL_TEXT, .text = money_format(sum, amount)});
        }
        if (r < 0) {
            db_done(stmt);
            return r;
        }
    }
    return r;
}

/* Every verdict has its row, so that a zero is seen as one. */
static int put_orders(const struct summary *s)
{
    char name[64];
    int64_t counts[VERDICT_COUNT] = {0}, total = 0;
    struct db_stmt *stmt;
    int r;

    r = db_query(s->db, &stmt, s->err,
                 "SELECT verdict, count(*) FROM orders"
                 " WHERE last_attempt_at >= " FROM " AND first_attempt_at <= " TO
                 " GROUP BY verdict",
                 "MM", s->from, s->to);
    if (r < 0)
        return r;
    while ((r = db_step(s->db, stmt, s->err)) > 0) {
        enum verdict verdict;

        total += db_int(stmt, 1);
        if (verdict_from_name(db_text(stmt, 0), &verdict) == 0)
            counts[verdict] = db_int(stmt, 1);
    }
    if (r == 0)
        r = put_integer(s, "orders", total);
    for (size_t i = 0; i < VERDICT_COUNT && r == 0; i++) {
        snprintf(name, sizeof(name), "orders_%s", verdict_name((enum verdict)i));
        r = put_integer(s, name, counts[i]);
    }
    return r;
}

static int put_coverage(const struct summary *s)
{
    struct report_cell from, to;
    struct db_stmt *stmt;
    int r;

    r = db_query(s->db, &stmt, s->err,
                 "SELECT min(covered_from), max(covered_to) FROM sync_coverage"
                 " WHERE covered_to >= " FROM " AND covered_from <= " TO,
                 "MM", s->from, s->to);
    if (r == 0)
        r = db_step(s->db, stmt, s->err);
    if (r < 0)
        return r;
    from = cell_of(stmt, 0);
    to = cell_of(stmt, 1);
    r = put(s, "coverage_from", from);
    if (r == 0)
        r = put(s, "coverage_to", to);
    db_done(stmt);
    return r;
}

#define COUNT(table, where) "SELECT count(*) FROM " table where

/* In the order in which they are printed. */
static const struct {
    const char *name;
    const char *sql; /* of one integer, or: */
    int (*put)(const struct summary *s);
} summary_rows[] = {
    {.name = "transactions", .sql = COUNT("transactions", WITHIN("transacted_at"))},
    {.put = put_sales},
    {.put = put_orders},
    {.name = "review_queue",
     .sql = COUNT("review_queue", SPANS("first_attempt_at", "last_attempt_at"))},
    {.name = "double_charges",
     .sql = COUNT("double_charges", SPANS("first_attempt_at", "last_attempt_at"))},
    {.name = "unclaimed_sales", .sql = COUNT("unclaimed_sales", WITHIN("transacted_at"))},
    {.put = put_coverage},
    {.name = "quarantine", .sql = COUNT("quarantine", SPANS("first_seen_at", "last_seen_at"))},
    {.name = "sessions_waiting",
     .sql = COUNT("session_revocations", WITHIN("created_at")) " AND outcome = 'waiting'"},
    {.name = "sessions_closed",
     .sql = COUNT("session_revocations", WITHIN("created_at")) " AND outcome <> 'waiting'"},
};

static int run_summary(const struct summary *s)
{
    static const char *const columns[] = {"name", "value"};
    int r;

    r = begin(s->sink, columns, ELEMENTSOF(columns), s->err);
    for (size_t i = 0; i < ELEMENTSOF(summary_rows) && r == 0; i++)
        r = summary_rows[i].put ? summary_rows[i].put(s)
                                : put_count(s, summary_rows[i].name, summary_rows[i].sql);
    return r;
}

/* --- the reports --------------------------------------------------------------------------------
 */

int report_run(struct db *ledger, const char *name, int64_t from, int64_t to,
               const struct report_sink *sink, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    for (size_t i = 0; i < ELEMENTSOF(reports); i++) {
        if (strcmp(reports[i].name, name) != 0)
            continue;
        if (!reports[i].sql)
            return run_summary(&(struct summary){ledger, from, to, sink, err});
        r = db_query(ledger, &stmt, err, reports[i].sql, "MM", from, to);
        return r < 0 ? r : report_rows(ledger, stmt, sink, err);
    }
    return error_set(err, -ENOENT, "no report %s", name);
}

int report_orders(struct db *ledger, const char *verdict, int64_t limit,
                  const struct report_sink *sink, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(ledger, &stmt, err,
                 "SELECT * FROM order_status WHERE ?1 IS NULL OR verdict = ?1"
                 " ORDER BY last_attempt_at DESC, order_id LIMIT ?2",
                 "ti", verdict, limit < 0 ? (int64_t)-1 : limit);
    return r < 0 ? r : report_rows(ledger, stmt, sink, err);
}

int report_revisions(struct db *ledger, const char *verdict, int64_t limit,
                     const struct report_sink *sink, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(ledger, &stmt, err,
                 "SELECT * FROM revisions WHERE ?1 IS NULL OR verdict = ?1"
                 " ORDER BY decided_at DESC, order_id, revision DESC LIMIT ?2",
                 "ti", verdict, limit < 0 ? (int64_t)-1 : limit);
    return r < 0 ? r : report_rows(ledger, stmt, sink, err);
}

/* Lets the caller know whether there was a row. */
struct counting {
    const struct report_sink *sink;
    int rows;
};

static int counting_begin(void *userdata, const char *const *columns, size_t n)
{
    const struct counting *counting = userdata;

    return counting->sink->begin(counting->sink->userdata, columns, n);
}

static int counting_row(void *userdata, const struct report_cell *cells, size_t n)
{
    struct counting *counting = userdata;

    counting->rows++;
    return counting->sink->row(counting->sink->userdata, cells, n);
}

int report_order(struct db *ledger, const char *order_id, const struct report_sink *sink,
                 struct error *err)
{
    struct counting counting = {.sink = sink};
    const struct report_sink counted = {counting_begin, counting_row, &counting};
    struct db_stmt *stmt;
    int r;

    r = db_query(ledger, &stmt, err, "SELECT * FROM order_status WHERE order_id = ?", "t",
                 order_id);
    if (r == 0)
        r = report_rows(ledger, stmt, &counted, err);
    return r < 0 ? r : counting.rows;
}

int report_verdict(struct db *ledger, const char *order_id, enum verdict *ret,
                   int64_t *ret_last_attempt, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(ledger, &stmt, err,
                 "SELECT verdict, last_attempt_at FROM orders WHERE order_id = ?", "t", order_id);
    if (r == 0)
        r = db_step(ledger, stmt, err);
    if (r <= 0)
        return r;
    r = verdict_from_name(db_text(stmt, 0), ret);
    if (r == 0)
        *ret_last_attempt = db_time(stmt, 1);
    db_done(stmt);
    return r < 0 ? error_set(err, -EBADMSG, "%s: unknown verdict", db_path(ledger)) : 1;
}
