/* What must hold whenever the daemon is not there, however it went. The databases are read as
 * anyone may read them, without the program's own code. */
#include <limits.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "core/timestamp.h"
#include "shop.h"

/* The power went before it was in WAL mode: its next writer rolls back, a reader cannot. */
static bool is_being_made(const char *path)
{
    char journal[PATH_MAX + 16];

    snprintf(journal, sizeof(journal), "%s-journal", path);
    return access(journal, F_OK) == 0;
}

static sqlite3 *open_reader(const char *name)
{
    char path[PATH_MAX];
    sqlite3 *db;

    shop_path(name, path, sizeof(path));
    if (access(path, F_OK) < 0 || is_being_made(path))
        return NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        complain("%s cannot be opened: %s", name, sqlite3_errmsg(db));
    return db;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        complain("%s: %s", sql, sqlite3_errmsg(db));
    return stmt;
}

static const char *column(sqlite3_stmt *stmt, int i)
{
    const unsigned char *text = sqlite3_column_text(stmt, i);

    return text ? (const char *)text : "";
}

/* The number that `sql` gives; each `?` is the text `argument`. */
static int64_t number(sqlite3 *db, const char *sql, const char *argument)
{
    sqlite3_stmt *stmt = prepare(db, sql);
    int64_t value = -1;

    for (int i = 1; i <= sqlite3_bind_parameter_count(stmt); i++)
        sqlite3_bind_text(stmt, i, argument, -1, SQLITE_STATIC);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        value = sqlite3_column_int64(stmt, 0);
    else
        complain("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(stmt);
    return value;
}

/* Complains for each row that `sql` finds. */
static void none(sqlite3 *db, const char *what, const char *sql)
{
    sqlite3_stmt *stmt = prepare(db, sql);

    while (sqlite3_step(stmt) == SQLITE_ROW)
        complain("%s: %s %s", what, column(stmt, 0), column(stmt, 1));
    sqlite3_finalize(stmt);
}

static void check_sound(sqlite3 *db, const char *name)
{
    sqlite3_stmt *stmt = prepare(db, "PRAGMA integrity_check");

    if (sqlite3_step(stmt) != SQLITE_ROW || strcmp(column(stmt, 0), "ok") != 0)
        complain("%s is damaged: %s", name, column(stmt, 0));
    sqlite3_finalize(stmt);
    none(db, "a row points nowhere", "PRAGMA foreign_key_check");
}

/* --- what the app wrote is in the queue or in the ledger -------------------------------------- */

static void check_attempts(sqlite3 *ledger, sqlite3 *queue)
{
    for (size_t i = 0; i < shop->n_attempts; i++) {
        const struct shop_attempt *attempt = &shop->attempts[i];
        char at[TIMESTAMP_TEXT_SIZE];
        char key[128];
        int64_t waiting, taken;

        snprintf(key, sizeof(key), "%s %s", attempt->order_id, timestamp_format(attempt->at, at));
        waiting = number(queue,
                         "SELECT count(*) FROM (SELECT order_id, attempted_at FROM pending_orders"
                         " UNION ALL SELECT order_id, attempted_at FROM earlier_attempts)"
                         " WHERE order_id || ' ' || attempted_at = ?",
                         key);
        taken = number(
            ledger, "SELECT count(*) FROM attempts WHERE order_id || ' ' || attempted_at = ?", key);
        if (waiting + taken == 0)
            complain("attempt %s is lost", key);
        if (waiting > 1 || taken > 1)
            complain("attempt %s is there %d times", key, (int)(waiting + taken));
    }
    if (number(ledger, "SELECT count(*) FROM attempts", "") > (int64_t)shop->n_attempts)
        complain("the ledger has more attempts than were made");
}

static void check_spool(sqlite3 *ledger, sqlite3 *queue)
{
    if (shop->claimed && number(queue, "SELECT count(*) FROM claims", "") +
                                 number(ledger, "SELECT count(*) FROM claims", "") ==
                             0)
        complain("the claim is lost");
    if (shop->resolved && number(queue, "SELECT count(*) FROM resolutions", "") +
                                  number(ledger, "SELECT count(*) FROM resolutions", "") ==
                              0)
        complain("the decision is lost");
    if (number(ledger, "SELECT count(*) FROM resolutions", "") > 1)
        complain("the decision was taken twice");
}

static void check_sessions(sqlite3 *ledger, sqlite3 *queue)
{
    char id[] = "session-1";

    for (size_t i = 0; shop->opened && i < SHOP_SESSIONS; i++) {
        int64_t waiting, closed;

        id[strlen(id) - 1] = (char)('1' + i);
        waiting = number(queue, "SELECT count(*) FROM sessions WHERE session_id = ?", id);
        closed = number(ledger,
                        "SELECT count(*) FROM session_revocations WHERE session_id = ?"
                        " AND closed_at IS NOT NULL",
                        id);
        if (waiting + closed == 0)
            complain("%s is lost", id);
        if (closed && !shop->vault_closed[i])
            complain("%s counts as closed, and the Vault never said so", id);
    }
}

/* --- what the API showed ---------------------------------------------------------------------- */

static void check_record(sqlite3 *ledger, const struct shop_record *record)
{
    static const char stored[] = "SELECT (SELECT count(*) FROM transactions WHERE transaction_id"
                                 " = ?) + (SELECT count(*) FROM quarantine WHERE transaction_id"
                                 " = ?)";
    sqlite3_stmt *stmt;
    char at[TIMESTAMP_TEXT_SIZE], visible[TIMESTAMP_TEXT_SIZE];
    int64_t there = number(ledger, stored, record->id);

    if (there > 1)
        complain("record %s is stored twice", record->id);
    stmt =
        prepare(ledger, "SELECT run_id FROM coverage WHERE ?1 BETWEEN covered_from AND covered_to"
                        " AND began_at >= ?2 UNION ALL"
                        " SELECT run_id FROM sync_runs WHERE outcome = 'complete'"
                        " AND ?1 BETWEEN window_from AND window_to AND began_at >= ?2");
    sqlite3_bind_text(stmt, 1, timestamp_format(record->created_at, at), -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, timestamp_format(record->visible_at, visible), -1, SQLITE_STATIC);
    if (sqlite3_step(stmt) == SQLITE_ROW && there == 0)
        complain("pass %s covers %s, and has not stored it", column(stmt, 0), record->id);
    sqlite3_finalize(stmt);
}

static void check_records(sqlite3 *ledger)
{
    for (size_t i = 0; i < shop->n_records; i++)
        check_record(ledger, &shop->records[i]);
    if (number(ledger, "SELECT count(*) FROM transactions", "") > (int64_t)shop->n_records)
        complain("there are more records than the API has");
    /* A page and its cursor are one: the pages before the last are full. */
    none(ledger, "the cursor of a pass is not where its rows are",
         "SELECT run_id, rows_read || ' rows, page ' || next_page FROM sync_runs"
         " WHERE outcome = 'running'"
         " AND rows_read <> coalesce(page_rows, 0) * (next_page - 1)");
    none(ledger, "a pass has shown rows that it does not count",
         "SELECT run_id, rows_read FROM sync_runs s WHERE rows_read <"
         " (SELECT count(*) FROM transactions t WHERE t.last_run_id = s.run_id)"
         " + (SELECT count(*) FROM quarantine q WHERE q.run_id = s.run_id)");
    none(ledger, "coverage by a pass that is not complete",
         "SELECT run_id, outcome FROM coverage JOIN sync_runs USING (run_id)"
         " WHERE outcome <> 'complete' OR coverage.proof > sync_runs.proof");
}

/* --- verdicts --------------------------------------------------------------------------------- */

static void check_verdicts(sqlite3 *ledger, sqlite3 *queue)
{
    sqlite3_stmt *stmt;

    none(ledger, "an order and its verdicts differ",
         "SELECT o.order_id, o.verdict FROM orders o LEFT JOIN verdicts v"
         " ON v.order_id = o.order_id AND v.revision = o.revision"
         " WHERE o.verdict <> coalesce(v.verdict, 'pending') OR o.revision <>"
         " (SELECT count(*) FROM verdicts c WHERE c.order_id = o.order_id)"
         " OR o.revision < (SELECT max(revision) FROM verdicts m WHERE m.order_id = o.order_id)");
    none(ledger, "an absence without evidence",
         "SELECT order_id, revision FROM verdicts v WHERE rule = 'absence'"
         " AND NOT EXISTS (SELECT 1 FROM verdict_runs r WHERE r.verdict_id = v.verdict_id)");
    none(ledger, "a sale given twice",
         "SELECT s.transaction_id, count(*) FROM orders o JOIN verdicts v"
         " ON v.order_id = o.order_id AND v.revision = o.revision"
         " JOIN verdict_sales s ON s.verdict_id = v.verdict_id AND s.assigned = 1"
         " GROUP BY s.transaction_id HAVING count(*) > 1");
    none(ledger, "an order and its attempts differ",
         "SELECT o.order_id, '' FROM orders o WHERE o.first_attempt_at <>"
         " (SELECT min(attempted_at) FROM attempts a WHERE a.order_id = o.order_id)"
         " OR o.last_attempt_at <>"
         " (SELECT max(attempted_at) FROM attempts a WHERE a.order_id = o.order_id)");
    stmt = prepare(queue, "SELECT order_id || ' ' || revision FROM retry_offers");
    while (sqlite3_step(stmt) == SQLITE_ROW)
        if (number(ledger,
                   "SELECT count(*) FROM orders WHERE order_id || ' ' || revision = ?"
                   " AND verdict IN ('not_charged', 'reversed')",
                   column(stmt, 0)) != 1)
            complain("leave is offered that no verdict gives: %s", column(stmt, 0));
    sqlite3_finalize(stmt);
}

void audit(void)
{
    sqlite3 *ledger = open_reader("ledger.db"), *queue = open_reader("queue/queue.db");

    if (ledger)
        check_sound(ledger, "the ledger");
    if (queue)
        check_sound(queue, "the queue");
    /* Before the queue exists, nobody has written anything. */
    if (ledger && queue && number(queue, "PRAGMA user_version", "") >= 2) {
        check_attempts(ledger, queue);
        check_spool(ledger, queue);
        check_sessions(ledger, queue);
        check_records(ledger);
        check_verdicts(ledger, queue);
    }
    sqlite3_close(ledger);
    sqlite3_close(queue);
}

/* --- what it comes to ------------------------------------------------------------------------- */

static void print_rows(FILE *out, sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = prepare(db, sql);

    while (sqlite3_step(stmt) == SQLITE_ROW)
        fprintf(out, "%s\n", column(stmt, 0));
    sqlite3_finalize(stmt);
}

char *audit_result(void)
{
    sqlite3 *ledger = open_reader("ledger.db"), *queue = open_reader("queue/queue.db");
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!ledger || !queue || !out)
        abort();
    print_rows(
        out, ledger,
        "SELECT 'record ' || transaction_id || ' ' || type || ' ' || amount || currency"
        " || ' ' || settled || coalesce(' of ' || order_ref, '')"
        " || iif(vanished_at IS NULL, '', ' vanished') FROM transactions ORDER BY transaction_id");
    print_rows(
        out, ledger,
        "SELECT 'quarantined ' || transaction_id || ' ' || reason FROM quarantine ORDER BY 1");
    print_rows(out, ledger,
               "SELECT 'order ' || o.order_id || ' ' || o.amount || ' ' || o.verdict || ' '"
               " || coalesce(v.transaction_id, '-') || ' ' || coalesce(v.rule, '-') || ' '"
               " || (SELECT count(*) FROM attempts a WHERE a.order_id = o.order_id"
               "     AND length(email_hash) = 32)"
               " FROM orders o LEFT JOIN verdicts v"
               " ON v.order_id = o.order_id AND v.revision = o.revision ORDER BY 1");
    print_rows(out, ledger, "SELECT 'claim ' || transaction_id || ' ' || order_id FROM claims");
    print_rows(out, ledger,
               "SELECT 'decision ' || order_id || ' ' || decision || ' ' || transaction_id"
               " FROM resolutions");
    print_rows(out, ledger,
               "SELECT 'session ' || session_id || ' ' || why || ' ' || outcome"
               " FROM session_revocations ORDER BY 1");
    print_rows(out, ledger,
               "SELECT 'unread ' || a.covered_to FROM coverage a"
               " WHERE covered_to < (SELECT max(covered_to) FROM coverage)"
               " AND NOT EXISTS (SELECT 1 FROM coverage b WHERE b.covered_from <= a.covered_to"
               "                 AND b.covered_to > a.covered_to)");
    print_rows(out, ledger, "SELECT 'read from ' || min(covered_from) FROM coverage");
    print_rows(out, queue,
               "SELECT 'waiting ' || ((SELECT count(*) FROM pending_orders)"
               " + (SELECT count(*) FROM earlier_attempts) + (SELECT count(*) FROM claims)"
               " + (SELECT count(*) FROM resolutions) + (SELECT count(*) FROM sessions)"
               " + (SELECT count(*) FROM sync_requests))");
    print_rows(out, queue,
               "SELECT 'offer ' || order_id || ' ' || verdict FROM retry_offers ORDER BY 1");
    print_rows(out, queue, "SELECT 'permit ' || order_id || ' ' || taken_by FROM permits");
    fclose(out);
    sqlite3_close(ledger);
    sqlite3_close(queue);
    return text;
}
