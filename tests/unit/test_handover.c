/* From the queue to the ledger, and leave to charge again the other way: what the app writes while
 * the daemon is at it is neither lost nor overtaken. The app acts through a connection of its own,
 * at the moment that a test chooses: a trigger of the ledger calls act(). Times are seconds after
 * T0. */
#include <errno.h>
#include <sqlite3.h>

#include "base/cleanup.h"
#include "core/email_hash.h"
#include "ledger_fixture.h"
#include "service/reconcile.h"
#include "store/intake.h"
#include "store/permits.h"
#include "store/queue.h"

static const int64_t T0 = INT64_C(1750000000000);
#define AT(time) "'2025-06-15T15:" time "Z'" /* T0 is 15:06:40 */

static struct fixture *f;
static struct db *queue, *app;
static struct secret *email_key;
static const char *action; /* what the app does when act() is called; once */

static int64_t s(int64_t seconds)
{
    return T0 + seconds * 1000;
}

static void ok(int r, const struct error *err)
{
    if (r < 0)
        fail_msg("%s", err->text);
}

static void write_queue(const char *sql)
{
    struct error err = {0};

    ok(db_exec(app, sql, &err), &err);
}

static void on_act(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    const char *sql = action;

    (void)argc;
    (void)argv;
    action = NULL;
    if (sql)
        write_queue(sql);
    sqlite3_result_null(context);
}

static int add_act(sqlite3 *db, const char **error, const void *api)
{
    (void)error;
    (void)api;
    return sqlite3_create_function(db, "act", 0, SQLITE_UTF8 | SQLITE_INNOCUOUS, NULL, on_act, NULL,
                                   NULL);
}

static int set_up(void **state)
{
    char path[128];
    struct error err = {0};

    sqlite3_auto_extension((void (*)(void))add_act);
    fixture_set_up(state);
    f = *state;
    fixture_sql(f, "PRAGMA synchronous=OFF");
    snprintf(path, sizeof(path), "%s/queue.db", f->directory);
    ok(queue_open(path, &queue, NULL, 0, &err), &err);
    ok(db_open(path, DB_WRITE, 0, &app, &err), &err);
    write_queue("PRAGMA synchronous=OFF");
    ok(db_exec(queue, "PRAGMA synchronous=OFF", &err), &err);
    email_key = email_key_new();
    action = NULL;
    return 0;
}

static int tear_down(void **state)
{
    secret_free(email_key);
    app = db_close(app);
    queue = db_close(queue);
    sqlite3_reset_auto_extension();
    return fixture_tear_down(state);
}

static int64_t number_of(struct db *db, const char *sql)
{
    struct error err = {0};
    int64_t value;

    ok(db_value(db, &value, -1, &err, sql, ""), &err);
    return value;
}

static int64_t in_ledger(const char *sql)
{
    return number_of(f->db, sql);
}

static int64_t in_queue(const char *sql)
{
    return number_of(app, sql);
}

static struct intake_counts take_in(void)
{
    struct intake_counts counts = {0};
    struct error err = {0};

    ok(intake_run(f->db, queue, email_key, s(1000), &counts, &err), &err);
    return counts;
}

static void enqueue(const char *order_id, const char *at, const char *amount)
{
    char sql[512];

    snprintf(sql, sizeof(sql),
             "INSERT INTO pending_orders (order_id, amount, attempted_at) VALUES ('%s', '%s', %s)",
             order_id, amount, at);
    write_queue(sql);
}

/* --- attempts -----------------------------------------------------------------------------------
 */

static void attempt_is_taken_once(void **state)
{
    struct intake_counts counts;

    (void)state;
    enqueue("A", AT("06:40"), "49.00");
    counts = take_in();
    assert_int_equal(counts.attempts, 1);
    assert_int_equal(counts.reopened, 0);
    assert_int_equal(in_ledger("SELECT revision FROM orders"), 0);
    assert_int_equal(in_queue("SELECT count(*) FROM pending_orders"), 0);
    /* As when the process died before the row left the queue. */
    fixture_sql(f, "UPDATE orders SET verdict = 'not_charged', revision = 1");
    fixture_sql(f, "INSERT INTO verdicts (order_id, revision, verdict, safe_to_retry, reason,"
                   " decided_at) VALUES ('A', 1, 'not_charged', 1, 'so', '2025-06-15')");
    enqueue("A", AT("06:40"), "49.00");
    counts = take_in();
    assert_int_equal(counts.attempts + counts.reopened, 0);
    assert_int_equal(in_ledger("SELECT count(*) FROM attempts"), 1);
    assert_int_equal(in_ledger("SELECT revision FROM orders WHERE verdict = 'not_charged'"), 1);
    assert_int_equal(in_queue("SELECT count(*) FROM pending_orders"), 0);
}

static void further_attempt_sets_the_verdict_back_and_widens_the_window(void **state)
{
    (void)state;
    enqueue("A", AT("06:40"), "49.00");
    take_in();
    enqueue("A", AT("07:40"), "50.00");
    assert_int_equal(take_in().reopened, 0); /* nothing was said yet */
    assert_int_equal(in_ledger("SELECT count(*) FROM verdicts"), 0);
    fixture_sql(f, "UPDATE orders SET verdict = 'charged', revision = 1, sealed = 1");
    fixture_sql(f, "INSERT INTO verdicts (order_id, revision, verdict, safe_to_retry, reason,"
                   " decided_at) VALUES ('A', 1, 'charged', 0, 'so', '2025-06-15')");
    enqueue("A", AT("08:40"), "51.00");
    assert_int_equal(take_in().reopened, 1);
    assert_int_equal(in_ledger("SELECT count(*) FROM orders WHERE verdict = 'pending'"
                               " AND revision = 2 AND sealed = 0 AND amount_minor = 5100"
                               " AND first_attempt_at = '2025-06-15T15:06:40.000Z'"
                               " AND last_attempt_at = '2025-06-15T15:08:40.000Z'"),
                     1);
    assert_int_equal(in_ledger("SELECT count(*) FROM verdicts WHERE revision = 2"
                               " AND verdict = 'pending' AND safe_to_retry = 0"),
                     1);
    /* One that is told late widens it the other way; the amount stays that of the latest. */
    enqueue("A", AT("05:40"), "48.00");
    take_in();
    assert_int_equal(in_ledger("SELECT count(*) FROM orders WHERE amount_minor = 5100"
                               " AND first_attempt_at = '2025-06-15T15:05:40.000Z'"
                               " AND last_attempt_at = '2025-06-15T15:08:40.000Z'"),
                     1);
}

static void attempt_that_is_overwritten_is_kept(void **state)
{
    (void)state;
    enqueue("A", AT("06:40"), "49.00");
    write_queue("INSERT OR REPLACE INTO pending_orders (order_id, amount, attempted_at)"
                " VALUES ('A', '50.00', " AT("07:40") ")");
    assert_int_equal(take_in().attempts, 2);
    assert_int_equal(in_queue("SELECT count(*) FROM earlier_attempts"), 0);
}

/* Put in the place of the row that was read, after it was read. */
static void assert_kept(const char *change)
{
    write_queue("DELETE FROM pending_orders");
    fixture_sql(f, "DELETE FROM attempts; DELETE FROM orders");
    write_queue("INSERT INTO pending_orders (order_id, amount, currency, attempted_at, http_status,"
                " card_last_four, card_brand, card_bin, billing_email, session_id) VALUES ('A',"
                " '49.00', 'USD', " AT("06:40") ", 502, '4242', 'Visa', '424242',"
                                                " 'jane@example.com', 'session')");
    action = change;
    take_in();
    assert_null(action);
    assert_int_equal(in_ledger("SELECT count(*) FROM attempts"), 1);
    if (in_queue("SELECT count(*) FROM pending_orders") != 1)
        fail_msg("this row was lost: %s", change);
    take_in();
    assert_int_equal(in_ledger("SELECT count(*) FROM attempts"), 2);
    assert_int_equal(in_queue("SELECT count(*) FROM pending_orders"), 0);
}

static void row_that_came_in_its_place_is_not_deleted(void **state)
{
    (void)state;
    fixture_sql(f, "CREATE TRIGGER acts AFTER INSERT ON attempts BEGIN SELECT act(); END");
    assert_kept("UPDATE pending_orders SET order_id = 'B'");
    assert_kept("UPDATE pending_orders SET amount = '50.00'");
    assert_kept("UPDATE pending_orders SET currency = 'EUR'");
    assert_kept("UPDATE pending_orders SET attempted_at = " AT("06:41"));
    assert_kept("UPDATE pending_orders SET http_status = 504");
    assert_kept("UPDATE pending_orders SET card_last_four = NULL");
    assert_kept("UPDATE pending_orders SET card_brand = 'Mastercard'");
    assert_kept("UPDATE pending_orders SET card_bin = NULL");
    assert_kept("UPDATE pending_orders SET billing_email = 'john@example.com'");
    assert_kept("UPDATE pending_orders SET session_id = NULL");
}

static void assert_earlier_kept(const char *change)
{
    write_queue("DELETE FROM pending_orders; DELETE FROM earlier_attempts");
    fixture_sql(f, "DELETE FROM attempts; DELETE FROM orders");
    write_queue(
        "INSERT INTO earlier_attempts (order_id, amount, currency, attempted_at,"
        " http_status, card_last_four) VALUES ('A', '49.00', 'USD', " AT("06:40") ", 502,"
                                                                                  " '4242')");
    action = change;
    take_in();
    assert_null(action);
    take_in();
    if (in_ledger("SELECT count(*) FROM attempts") != 2 ||
        in_queue("SELECT count(*) FROM earlier_attempts") != 0)
        fail_msg("this attempt was lost: %s", change);
}

static void earlier_attempt_that_came_meanwhile_is_not_deleted(void **state)
{
    (void)state;
    fixture_sql(f, "CREATE TRIGGER acts AFTER INSERT ON attempts BEGIN SELECT act(); END");
    /* The same second and amount with another card. */
    assert_earlier_kept(
        "INSERT INTO earlier_attempts (order_id, amount, currency, attempted_at,"
        " http_status, card_last_four) VALUES ('A', '49.00', 'USD', " AT("06:40") ", 502, '1111')");
    assert_earlier_kept("UPDATE earlier_attempts SET order_id = 'B'");
    assert_earlier_kept("UPDATE earlier_attempts SET amount = '50.00'");
    assert_earlier_kept("UPDATE earlier_attempts SET attempted_at = " AT("06:41"));
}

static void row_that_is_not_understood_stays_and_holds_up_nothing(void **state)
{
    struct intake_counts counts;

    (void)state;
    /* Somebody took the constraints away. */
    write_queue("PRAGMA ignore_check_constraints=ON");
    enqueue("A", AT("06:40"), "forty-nine");
    write_queue("PRAGMA ignore_check_constraints=OFF");
    enqueue("B", AT("06:40"), "49.00");
    counts = take_in();
    assert_int_equal(counts.refused, 1);
    assert_int_equal(counts.attempts, 1);
    assert_int_equal(in_queue("SELECT count(*) FROM pending_orders WHERE order_id = 'A'"), 1);
    assert_int_equal(in_queue("SELECT count(*) FROM pending_orders"), 1);
}

static void everything_is_taken_however_much_waits(void **state)
{
    (void)state;
    write_queue("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450)"
                " INSERT INTO pending_orders (order_id, amount, attempted_at)"
                " SELECT 'order ' || i, '49.00', " AT("06:40") " FROM n");
    assert_int_equal(take_in().attempts, 450);
    assert_int_equal(in_queue("SELECT count(*) FROM pending_orders"), 0);
}

/* --- claims and decisions -----------------------------------------------------------------------
 */

static void claim_is_taken_once_and_opens_what_it_concerns(void **state)
{
    (void)state;
    fixture_order(f, "A", 4900, "2025-06-15T15:06:40.000Z", "", "charged");
    fixture_order(f, "B", 4900, "2025-06-15T15:06:40.000Z", "", "charged");
    fixture_order(f, "C", 4900, "2025-06-15T15:06:40.000Z", "", "charged");
    fixture_sql(f, "INSERT INTO verdict_sales SELECT verdict_id, 'T', 'identity', 1 FROM verdicts"
                   " WHERE order_id = 'B'");
    fixture_sql(f, "UPDATE orders SET sealed = 1");
    write_queue("INSERT INTO claims VALUES ('T', 'A')");
    assert_int_equal(take_in().claims, 1);
    assert_int_equal(in_ledger("SELECT sealed FROM orders WHERE order_id = 'A'"), 0);
    assert_int_equal(in_ledger("SELECT sealed FROM orders WHERE order_id = 'B'"), 0);
    assert_int_equal(in_ledger("SELECT sealed FROM orders WHERE order_id = 'C'"), 1);
    write_queue("INSERT INTO claims VALUES ('T', 'A')");
    assert_int_equal(take_in().claims, 0);
    assert_int_equal(in_ledger("SELECT count(*) FROM claims"), 1);
    assert_int_equal(in_queue("SELECT count(*) FROM claims"), 0);
}

static void claim_that_came_meanwhile_is_not_deleted(void **state)
{
    (void)state;
    fixture_sql(f, "CREATE TRIGGER acts AFTER INSERT ON claims BEGIN SELECT act(); END");
    write_queue("INSERT INTO claims VALUES ('T', 'A')");
    action = "UPDATE claims SET order_id = 'B'";
    take_in();
    take_in();
    assert_int_equal(in_ledger("SELECT count(*) FROM claims WHERE order_id = 'B'"), 1);
    write_queue("INSERT INTO claims VALUES ('U', 'A')");
    action = "INSERT INTO claims VALUES ('V', 'A')";
    take_in();
    take_in();
    assert_int_equal(in_ledger("SELECT count(*) FROM claims WHERE order_id = 'A'"), 3);
    assert_int_equal(in_queue("SELECT count(*) FROM claims"), 0);
}

/* Both written together, after the daemon has looked for claims and before it looks for attempts:
 * the attempt is seen first, and nothing but the next look brings the claim. Written before, they
 * are seen together. */
static void claim_is_there_when_its_attempt_is(void **state)
{
    (void)state;
    fixture_sql(f, "CREATE TABLE seen (claims)");
    fixture_sql(f, "CREATE TRIGGER sees AFTER INSERT ON attempts BEGIN"
                   " INSERT INTO seen SELECT count(*) FROM claims; END");
    enqueue("A", AT("06:40"), "49.00");
    write_queue("INSERT INTO claims VALUES ('T', 'A')");
    take_in();
    assert_int_equal(in_ledger("SELECT claims FROM seen"), 1);
}

static const char DECIDE[] = "INSERT INTO resolutions (resolution_key, order_id, decision, note,"
                             " decided_by) VALUES ('%s', 'A', '%s', 'so', 'ann')";

static void resolve(const char *key, const char *decision)
{
    char sql[256];

    snprintf(sql, sizeof(sql), DECIDE, key, decision);
    write_queue(sql);
}

static void decision_counts_once_and_the_last_one_holds(void **state)
{
    (void)state;
    fixture_order(f, "A", 4900, "2025-06-15T15:06:40.000Z", "", "charged");
    fixture_sql(f, "UPDATE orders SET sealed = 1");
    resolve("1", "charged");
    resolve("2", "not_charged");
    assert_int_equal(take_in().resolutions, 2);
    assert_int_equal(in_ledger("SELECT sealed FROM orders"), 0);
    assert_int_equal(in_ledger("SELECT decision = 'not_charged' FROM resolutions"
                               " ORDER BY resolution_id DESC LIMIT 1"),
                     1);
    resolve("1", "charged"); /* as when it did not leave the queue */
    assert_int_equal(take_in().resolutions, 0);
    assert_int_equal(in_ledger("SELECT count(*) FROM resolutions"), 2);
    assert_int_equal(in_queue("SELECT count(*) FROM resolutions"), 0);
}

static void cycle_that_was_asked_for_is_told_once(void **state)
{
    (void)state;
    write_queue("INSERT INTO sync_requests DEFAULT VALUES");
    assert_int_equal(take_in().sync_requests, 1);
    assert_int_equal(take_in().sync_requests, 0);
}

/* --- the ledger first, then the queue -----------------------------------------------------------
 */

static void intake_fails(void)
{
    struct intake_counts counts = {0};
    struct error err = {0};

    assert_true(intake_run(f->db, queue, email_key, s(1000), &counts, &err) < 0);
    assert_true(db_begin(f->db, &err) == 0); /* nothing was left open */
    assert_true(db_begin(queue, &err) == 0);
    db_rollback(f->db);
    db_rollback(queue);
}

/* A foreign key that is looked at when all is done: the commit is what fails. */
static void assert_waits_for_the_ledger(const char *table, const char *row)
{
    char sql[256];

    fixture_sql(f, "CREATE TABLE IF NOT EXISTS fails (x REFERENCES meta (name)"
                   " DEFERRABLE INITIALLY DEFERRED)");
    snprintf(sql, sizeof(sql),
             "CREATE TRIGGER fails_%s AFTER INSERT ON %s BEGIN INSERT INTO fails VALUES (1); END",
             table, table);
    fixture_sql(f, sql);
    write_queue(row);
    intake_fails();
    intake_fails();
    snprintf(sql, sizeof(sql), "DROP TRIGGER fails_%s", table);
    fixture_sql(f, sql);
    assert_int_equal(take_in().refused, 0);
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", table);
    assert_int_equal(in_ledger(sql), 1);
}

static void row_stays_in_the_queue_until_the_ledger_has_it(void **state)
{
    char sql[256];

    (void)state;
    snprintf(sql, sizeof(sql), DECIDE, "1", "charged");
    assert_waits_for_the_ledger("resolutions", sql);
    assert_waits_for_the_ledger("claims", "INSERT INTO claims VALUES ('T', 'A')");
    assert_waits_for_the_ledger("attempts",
                                "INSERT INTO pending_orders (order_id, amount,"
                                " attempted_at) VALUES ('A', '49.00', " AT("06:40") ")");
}

/* --- offers -------------------------------------------------------------------------------------
 */

static void refresh(bool all)
{
    struct error err = {0};

    ok(permits_refresh(f->db, queue, all, s(2000), &err), &err);
}

static int64_t offers(void)
{
    return in_queue("SELECT count(*) FROM retry_offers");
}

static void order(const char *id, const char *verdict)
{
    fixture_order(f, id, 4900, "2025-06-15T15:06:40.000Z", "", verdict);
}

static void what_is_safe_is_offered_and_nothing_else(void **state)
{
    static const char *const others[] = {"pending", "charged", "double_charged", "needs_review"};
    struct error err = {0};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(others); i++)
        order(others[i], others[i]);
    order("not_charged", "not_charged");
    order("reversed", "reversed");
    order("sealed", "not_charged");
    fixture_sql(f, "UPDATE orders SET sealed = 1 WHERE order_id = 'sealed'");
    refresh(false);
    assert_int_equal(offers(), 2);
    assert_int_equal(in_queue("SELECT count(*) FROM retry_offers WHERE order_id = verdict"
                              " AND revision = 1"),
                     2);
    ok(permits_withdraw(queue, "not_charged", &err), &err);
    assert_int_equal(offers(), 1);
}

static void offer_is_of_the_latest_verdict(void **state)
{
    (void)state;
    order("A", "not_charged");
    refresh(false);
    fixture_sql(f, "UPDATE orders SET revision = 2, verdict = 'reversed'");
    refresh(false);
    assert_int_equal(in_queue("SELECT revision FROM retry_offers WHERE verdict = 'reversed'"), 2);
    /* And stays as it was made. */
    write_queue("UPDATE retry_offers SET offered_at = 'then'");
    refresh(true);
    assert_int_equal(in_queue("SELECT count(*) FROM retry_offers WHERE offered_at = 'then'"), 1);
}

static void offer_that_a_dead_process_left_goes(void **state)
{
    (void)state;
    order("holds", "not_charged");
    order("changed", "charged");
    order("older", "not_charged");
    fixture_sql(f, "UPDATE orders SET revision = 2, sealed = 1 WHERE order_id = 'older'");
    write_queue("INSERT INTO retry_offers VALUES ('holds', 1, 'not_charged', 'then'),"
                " ('changed', 1, 'not_charged', 'then'), ('older', 1, 'not_charged', 'then'),"
                " ('unknown', 1, 'not_charged', 'then')");
    refresh(false);
    assert_int_equal(offers(), 4);
    refresh(true);
    assert_int_equal(offers(), 1);
    assert_int_equal(in_queue("SELECT count(*) FROM retry_offers WHERE offered_at = 'then'"), 1);
}

static void nothing_is_offered_while_the_queue_holds_news(void **state)
{
    static const char *const news[][2] = {
        {"INSERT INTO pending_orders (order_id, amount, attempted_at)"
         " VALUES ('A', '49.00', " AT("06:40") ")",
         "DELETE FROM pending_orders"},
        {"INSERT INTO earlier_attempts (order_id, amount, currency, attempted_at, http_status)"
         " VALUES ('A', '49.00', 'USD', " AT("06:40") ", 502)",
         "DELETE FROM earlier_attempts"},
        {"INSERT INTO claims VALUES ('T', 'A')", "DELETE FROM claims"},
        {"INSERT INTO resolutions (order_id, decision, note, decided_by)"
         " VALUES ('A', 'charged', 'so', 'ann')",
         "DELETE FROM resolutions"},
    };

    (void)state;
    order("A", "not_charged");
    order("B", "not_charged");
    for (size_t i = 0; i < ELEMENTSOF(news); i++) {
        write_queue("DELETE FROM retry_offers");
        write_queue(news[i][0]);
        refresh(true);
        assert_int_equal(offers(), 1);
        write_queue(news[i][1]);
        refresh(true);
        assert_int_equal(offers(), 2);
        if (i == 1) /* the daemon moves these, nobody inserts them */
            continue;
        write_queue(news[i][0]);
        assert_int_equal(offers(), 1);
        write_queue(news[i][1]);
    }
}

static int take(const char *order_id)
{
    struct error err = {0};

    return permit_take(queue, order_id, "me", &err);
}

static void leave_is_taken_once_and_by_an_offer_only(void **state)
{
    struct error err = {0};

    (void)state;
    assert_int_equal(take("A"), PERMIT_NONE);
    order("A", "not_charged");
    order("B", "charged");
    refresh(false);
    assert_int_equal(take("B"), PERMIT_NONE);
    assert_int_equal(take("A"), PERMIT_TAKEN);
    assert_int_equal(in_queue("SELECT count(*) FROM permits"), 1);
    assert_int_equal(take("A"), PERMIT_GONE);
    assert_int_equal(in_queue("SELECT count(*) FROM permits"), 1);
    assert_true(db_exec(app, "INSERT INTO permits (order_id, revision) VALUES ('A', 1)", &err) < 0);
    assert_true(db_exec(app, "INSERT INTO permits (order_id, revision) VALUES ('A', 2)", &err) < 0);
    assert_true(db_exec(app, "INSERT INTO permits (order_id, revision) VALUES ('B', 1)", &err) < 0);
    assert_int_equal(in_queue("SELECT count(*) FROM permits"), 1);
}

/* One that the daemon took in at that time. */
static void later_attempt(const char *id, const char *taken_at)
{
    char sql[512];

    snprintf(sql, sizeof(sql),
             "INSERT INTO attempts (order_id, attempted_at, amount_minor, currency, http_status,"
             " card_last_four, card_brand, card_bin, email_hash, session_id, taken_at)"
             " SELECT order_id, 'told at ' || %s, amount_minor, currency, http_status,"
             " card_last_four, card_brand, card_bin, email_hash, session_id, %s"
             " FROM attempts WHERE order_id = '%s' LIMIT 1",
             taken_at, taken_at, id);
    fixture_sql(f, sql);
}

static void leave_that_was_taken_is_not_offered_before_a_later_attempt(void **state)
{
    (void)state;
    order("A", "not_charged");
    write_queue("INSERT INTO retry_offers VALUES ('A', 1, 'not_charged', 'then')");
    write_queue(
        "INSERT INTO permits (order_id, revision, taken_at) VALUES ('A', 1, " AT("10:00.500") ")");
    write_queue("DELETE FROM retry_offers");
    refresh(false);
    assert_int_equal(offers(), 0);
    /* Nor under another verdict on the same attempts, whatever brought it about. */
    fixture_sql(f, "UPDATE orders SET revision = 2");
    refresh(false);
    assert_int_equal(offers(), 0);
    fixture_sql(f, "UPDATE orders SET revision = 3, last_attempt_at = " AT("10:00.000"));
    refresh(false); /* only the app says so, and its clock may be ahead: nothing came since */
    assert_int_equal(offers(), 0);
    later_attempt("A", AT("10:00.500"));
    refresh(false);
    assert_int_equal(offers(), 0);
    later_attempt("A", AT("10:00.501"));
    refresh(false); /* of the same second: it is the attempt that leave was taken for */
    assert_int_equal(offers(), 1);
    /* The verdict that leave was taken under does not come back with a later attempt. */
    write_queue("DELETE FROM retry_offers");
    fixture_sql(f, "UPDATE orders SET revision = 1, last_attempt_at = " AT("11:00.000"));
    refresh(false);
    assert_int_equal(offers(), 0);
}

/* It was made before: of what leave was taken for nothing is known yet. */
static void leave_that_was_taken_is_not_offered_for_an_earlier_attempt_told_late(void **state)
{
    (void)state;
    order("A", "not_charged");
    write_queue("INSERT INTO retry_offers VALUES ('A', 1, 'not_charged', 'then')");
    write_queue(
        "INSERT INTO permits (order_id, revision, taken_at) VALUES ('A', 1, " AT("10:00.500") ")");
    write_queue("DELETE FROM retry_offers");
    later_attempt("A", AT("10:30.000"));
    fixture_sql(f, "UPDATE orders SET revision = 2, last_attempt_at = " AT("09:59.000"));
    refresh(false);
    assert_int_equal(offers(), 0);
}

static void offers_are_made_together_or_not_at_all(void **state)
{
    struct error err = {0};

    (void)state;
    order("A", "not_charged");
    order("B", "not_charged");
    write_queue("CREATE TRIGGER fails BEFORE INSERT ON retry_offers WHEN NEW.order_id = 'B'"
                " BEGIN SELECT RAISE(ABORT, 'disk full'); END");
    assert_true(permits_refresh(f->db, queue, false, s(2000), &err) < 0);
    assert_int_equal(offers(), 0);
}

/* --- before a verdict goes ----------------------------------------------------------------------
 */

struct heard {
    int leaving, changed, fails;
    bool stored; /* when it was to leave */
};

static int on_leaving(const char *order_id, void *userdata, struct error *err)
{
    struct heard *heard = userdata;

    assert_string_equal(order_id, "safe");
    heard->leaving++;
    heard->stored = in_ledger("SELECT count(*) FROM verdicts WHERE revision > 1") > 0;
    return heard->fails ? error_set(err, -EIO, "no") : 0;
}

static void on_changed(const struct verdict_change *change, void *userdata)
{
    struct heard *heard = userdata;

    (void)change;
    heard->changed++;
}

static int decide(struct heard *heard)
{
    const struct match_settings settings = {
        .before = 60000, .after = 60000, .absence_grace = 60000, .late_watch = INT64_C(86400000)};
    const struct reconcile_listener listener = {on_leaving, on_changed, heard};
    struct error err = {0};

    return reconcile_run(f->db, &settings, s(3000), &listener, &err);
}

static void leave_is_withdrawn_before_its_verdict_is_replaced(void **state)
{
    struct heard heard = {.fails = 1};

    (void)state;
    /* Nothing proves the absence of either by now; what was said stands. */
    order("safe", "not_charged");
    order("other", "pending");
    fixture_sql(f, FIXTURE_RUN);
    fixture_transaction(f, "sale-2", "CreditCardSale", 4900, "USD", "2025-06-15T15:06:45.000Z", "",
                        "other", "", 1);
    fixture_sql(f, "DELETE FROM transactions");
    assert_int_equal(decide(&heard), -EIO);
    assert_int_equal(heard.leaving, 1); /* its rule and reason were another program's */
    assert_int_equal(in_ledger("SELECT count(*) FROM verdicts WHERE revision > 1"), 0);
    heard = (struct heard){0};
    assert_int_equal(decide(&heard), 0);
    assert_int_equal(heard.leaving, 1);
    assert_false(heard.stored);
    /* It stays: its leave stays. */
    heard = (struct heard){0};
    assert_int_equal(decide(&heard), 0);
    assert_int_equal(heard.leaving + heard.changed, 0);
    /* A verdict that gave no leave has none to withdraw. */
    fixture_transaction(f, "sale-1", "CreditCardSale", 4900, "USD", "2025-06-15T15:06:45.000Z", "",
                        "other", "", 1);
    assert_int_equal(decide(&heard), 0);
    assert_int_equal(heard.leaving, 0);
    assert_int_equal(heard.changed, 1);
    fixture_transaction(f, "sale-3", "CreditCardSale", 4900, "USD", "2025-06-15T15:06:45.000Z", "",
                        "safe", "", 1);
    assert_int_equal(decide(&heard), 0);
    assert_int_equal(heard.leaving, 1);
    assert_false(heard.changed != 2);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(attempt_is_taken_once),
        TEST(further_attempt_sets_the_verdict_back_and_widens_the_window),
        TEST(attempt_that_is_overwritten_is_kept),
        TEST(row_that_came_in_its_place_is_not_deleted),
        TEST(earlier_attempt_that_came_meanwhile_is_not_deleted),
        TEST(row_that_is_not_understood_stays_and_holds_up_nothing),
        TEST(everything_is_taken_however_much_waits),
        TEST(claim_is_taken_once_and_opens_what_it_concerns),
        TEST(claim_that_came_meanwhile_is_not_deleted),
        TEST(claim_is_there_when_its_attempt_is),
        TEST(decision_counts_once_and_the_last_one_holds),
        TEST(cycle_that_was_asked_for_is_told_once),
        TEST(row_stays_in_the_queue_until_the_ledger_has_it),
        TEST(what_is_safe_is_offered_and_nothing_else),
        TEST(offer_is_of_the_latest_verdict),
        TEST(offer_that_a_dead_process_left_goes),
        TEST(nothing_is_offered_while_the_queue_holds_news),
        TEST(leave_is_taken_once_and_by_an_offer_only),
        TEST(leave_that_was_taken_is_not_offered_before_a_later_attempt),
        TEST(leave_that_was_taken_is_not_offered_for_an_earlier_attempt_told_late),
        TEST(offers_are_made_together_or_not_at_all),
        TEST(leave_is_withdrawn_before_its_verdict_is_replaced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
