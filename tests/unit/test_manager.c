/* The daemon's turns, one at a time: what happens in one, and what is done again after a failure.
 * The loop, the clock, the API and the Vault are the test's; the linker takes these instead of the
 * program's own. Databases fail by triggers. Times are seconds after T0. */
#include <errno.h>
#include <sqlite3.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "config/config.h"
#include "daemon/manager.h"
#include "fake_loop.h"
#include "ledger_fixture.h"
#include "remote/http.h"
#include "remote/payapi.h"
#include "remote/vault.h"
#include "store/queue.h"

static const int64_t T0 = INT64_C(1750000000000); /* 2025-06-15T15:06:40Z */
static int64_t now_ms;

static int64_t s(int64_t seconds)
{
    return T0 + seconds * 1000;
}

static int64_t now_of(void *userdata)
{
    (void)userdata;
    return now_ms;
}

static const struct clock test_clock = {now_of, NULL};

/* --- what is not asked --------------------------------------------------------------------------
 */

int sd_event_now(sd_event *event, clockid_t clock, uint64_t *ret)
{
    (void)event;
    (void)clock;
    *ret = (uint64_t)now_ms * 1000;
    return 0;
}

int http_new(sd_event *event, struct http **ret)
{
    (void)event;
    *ret = NULL;
    return 0;
}

struct http *http_free(struct http *http)
{
    (void)http;
    return NULL;
}

int vault_new(sd_event *event, struct http *http, const struct clock *clock,
              const struct vault_settings *settings, struct vault **ret)
{
    (void)event;
    (void)http;
    (void)clock;
    (void)settings;
    (void)ret;
    return -ENOTSUP;
}

struct vault *vault_free(struct vault *vault)
{
    (void)vault;
    return NULL;
}

int vault_revoke(struct vault *vault, const struct secret *session_key, vault_done done,
                 void *userdata)
{
    (void)vault;
    (void)session_key;
    (void)done;
    (void)userdata;
    return -ENOTSUP;
}

/* --- the Pay API --------------------------------------------------------------------------------
 */

enum { RECORDS = 8 };

struct payapi {
    struct payapi_question question;
    payapi_done done;
    void *userdata;
    bool busy;
};

static struct payapi api;
static size_t page_size;
static struct transaction records[RECORDS]; /* by time */
static size_t n_records;

int payapi_new(sd_event *event, struct http *http, const struct clock *clock,
               const struct payapi_settings *settings, payapi_gate gate, void *gate_userdata,
               struct payapi **ret)
{
    (void)event;
    (void)http;
    (void)clock;
    (void)settings;
    (void)gate;
    (void)gate_userdata;
    api = (struct payapi){.busy = false};
    *ret = &api;
    return 0;
}

struct payapi *payapi_free(struct payapi *payapi)
{
    (void)payapi;
    return NULL;
}

int payapi_list(struct payapi *payapi, const struct payapi_question *question, payapi_done done,
                void *userdata)
{
    *payapi = (struct payapi){*question, done, userdata, true};
    return 0;
}

bool payapi_busy(const struct payapi *payapi)
{
    return payapi->busy;
}

static struct transaction *add_sale(const char *id, int64_t at, const char *order_ref)
{
    struct transaction *t = &records[n_records++];

    assert_true(n_records <= RECORDS);
    *t = (struct transaction){.amount = {4900, "USD"},
                              .net = {4900, "USD"},
                              .created_at = s(at),
                              .transacted_at = s(at),
                              .type = "CreditCardSale"};
    snprintf(t->id, sizeof(t->id), "%s", id);
    snprintf(t->order_ref, sizeof(t->order_ref), "%s", order_ref);
    return t;
}

/* To the question under way, with one page. */
static void answer(void)
{
    struct page page = {.number = -1, .total = -1, .total_pages = -1};
    struct payapi_answer to_manager = {
        .outcome = PAYAPI_PAGE, .status = 200, .text = "", .page = &page, .requests = 1};
    struct transaction shown[RECORDS];
    size_t skip = (size_t)(api.question.page - 1) * page_size, n = 0;

    assert_true(api.busy);
    for (size_t i = 0; i < n_records; i++) {
        if (records[i].created_at < api.question.from || records[i].created_at > api.question.to)
            continue;
        if (n >= skip && n < skip + page_size)
            shown[page.n_records++] = records[i];
        n++;
    }
    page.records = shown;
    page.has_next = n > skip + page_size;
    api.busy = false;
    api.done(&to_manager, api.userdata);
}

/* --- the daemon ---------------------------------------------------------------------------------
 */

static char directory[64];
static struct manager *manager;
static struct db *ledger, *queue; /* of whoever else opens them */
static int64_t slow;              /* how long the act() of a trigger takes */

static void ok(int r, const struct error *err)
{
    if (r < 0)
        fail_msg("%s", err->text);
}

static void in_file(const char *name, char *ret, size_t size)
{
    snprintf(ret, size, "%s/%s", directory, name);
}

static void start_as(bool once)
{
    char path[128], ledger_path[128], queue_path[128];
    struct manager_options options = {.config_path = path, .config_must_exist = true, .once = once};
    struct config *config;
    struct error err = {0};
    FILE *file;

    in_file("reconciled.conf", path, sizeof(path));
    in_file("ledger.db", ledger_path, sizeof(ledger_path));
    in_file("queue.db", queue_path, sizeof(queue_path));
    file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "[merchant]\nid = m\n[pay]\nurl = https://pay.invalid\nrate_per_minute = 1000\n"
            "page_size = %zu\n[ledger]\npath = %s\n[queue]\npath = %s\n"
            "[sync]\ninterval = 1d\nfast_interval = 30s\nbackfill = 2h\noverlap = 2h\n"
            "deep_overlap = 2h\ndeep_interval = 30d\nedge_lag = 0s\n"
            "[match]\nbefore = 60s\nafter = 60s\nabsence_grace = 120s\n",
            page_size, ledger_path, queue_path);
    fclose(file);
    ok(config_load(path, CONFIG_ALL, true, &config, &err), &err);
    ok(manager_new(config, &options, &test_clock, &test_clock, &manager, &err), &err);
    if (ledger)
        return;
    ok(db_open(ledger_path, DB_WRITE, 0, &ledger, &err), &err);
    ok(db_open(queue_path, DB_WRITE, 0, &queue, &err), &err);
}

static void start(void)
{
    start_as(false);
}

static void stop(void)
{
    manager = manager_free(manager);
}

static void tick(void)
{
    now_ms += 200;
    loop.tick(NULL, 0, loop.userdata);
}

/* Whatever is asked is answered, until nothing is. */
static void settle(void)
{
    tick();
    for (int i = 0; i < 100 && (api.busy || i < 3); i++) {
        if (api.busy)
            answer();
        tick();
    }
    assert_false(api.busy);
}

static void write_ledger(const char *sql)
{
    struct error err = {0};

    ok(db_exec(ledger, sql, &err), &err);
}

static void write_queue(const char *sql)
{
    struct error err = {0};

    ok(db_exec(queue, sql, &err), &err);
}

static void enqueue(const char *order_id, int64_t at)
{
    char text[TIMESTAMP_TEXT_SIZE];
    const struct queue_order order = {.order_id = order_id,
                                      .amount = "49.00",
                                      .attempted_at = timestamp_format(s(at), text),
                                      .http_status = 502};
    struct error err = {0};

    ok(queue_add_order(queue, &order, &err), &err);
}

static int64_t number(struct db *db, const char *sql)
{
    struct error err = {0};
    int64_t value;

    ok(db_value(db, &value, -1, &err, sql, ""), &err);
    return value;
}

static void assert_verdict(const char *order_id, const char *verdict)
{
    struct db_stmt *stmt;
    struct error err = {0};
    char text[32] = "none";

    ok(db_query(ledger, &stmt, &err, "SELECT verdict FROM orders WHERE order_id = ?", "t",
                order_id),
       &err);
    if (db_step(ledger, stmt, &err) > 0) {
        db_copy(stmt, 0, text, sizeof(text));
        db_done(stmt);
    }
    assert_string_equal(text, verdict);
}

static int64_t offers(void)
{
    return number(queue, "SELECT count(*) FROM retry_offers");
}

static int64_t safe(void)
{
    return number(ledger, "SELECT count(*) FROM orders WHERE verdict IN ('not_charged',"
                          " 'reversed')");
}

static void on_act(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    (void)argv;
    now_ms += slow;
    sqlite3_result_null(context);
}

static int add_act(sqlite3 *db, const char **error, const void *unused)
{
    (void)error;
    (void)unused;
    return sqlite3_create_function(db, "act", 0, SQLITE_UTF8 | SQLITE_INNOCUOUS, NULL, on_act, NULL,
                                   NULL);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "/tmp/reconciled-test-XXXXXX");
    assert_non_null(mkdtemp(directory));
    sqlite3_auto_extension((void (*)(void))add_act);
    now_ms = T0;
    page_size = 50;
    n_records = 0;
    slow = 0;
    return 0;
}

static int tear_down(void **state)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;

    (void)state;
    stop();
    ledger = db_close(ledger);
    queue = db_close(queue);
    sqlite3_reset_auto_extension();
    while ((entry = readdir(dir)))
        unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    return rmdir(directory);
}

/* A shop whose order A was not charged, an hour ago; nothing is left to ask. */
static void with_a_safe_order(void)
{
    start();
    enqueue("A", -3600);
    settle();
    assert_verdict("A", "not_charged");
    assert_int_equal(offers(), 1);
}

/* --- what happens in one turn -------------------------------------------------------------------
 */

static void verdict_is_offered_in_the_turn_in_which_it_is_given(void **state)
{
    (void)state;
    start();
    enqueue("A", -3600);
    tick();
    assert_verdict("A", "pending");
    while (safe() == 0) {
        answer();
        assert_int_equal(offers(), safe());
        tick();
    }
    assert_int_equal(offers(), 1);
}

static void attempt_is_decided_in_the_turn_in_which_it_is_taken(void **state)
{
    (void)state;
    start();
    add_sale("sale", -3600, "B");
    settle();
    enqueue("B", -3600);
    tick();
    assert_verdict("B", "charged");
}

static void claim_is_decided_in_the_turn_in_which_it_is_taken(void **state)
{
    (void)state;
    with_a_safe_order();
    write_queue("INSERT INTO claims VALUES ('T', 'A')");
    tick();
    assert_verdict("A", "charged");
    assert_int_equal(offers(), 0);
}

static void decision_is_heard_in_the_turn_in_which_it_is_taken(void **state)
{
    (void)state;
    with_a_safe_order();
    write_queue("INSERT INTO resolutions (order_id, decision, transaction_id, note, decided_by)"
                " VALUES ('A', 'charged', 'T', 'so', 'ann')");
    tick();
    assert_verdict("A", "charged");
}

static void news_does_not_wait_for_the_pause_after_a_long_matching(void **state)
{
    (void)state;
    with_a_safe_order();
    write_ledger("CREATE TRIGGER acts AFTER INSERT ON verdicts BEGIN SELECT act(); END");
    slow = 10000;
    write_queue("INSERT INTO claims VALUES ('T', 'A')");
    tick();
    assert_verdict("A", "charged");
    write_queue("INSERT INTO resolutions (order_id, decision, note, decided_by)"
                " VALUES ('A', 'not_charged', 'so', 'ann')");
    tick();
    assert_verdict("A", "not_charged");
}

static void new_record_is_decided_before_its_pass_ends(void **state)
{
    (void)state;
    page_size = 1;
    add_sale("sale", -3600, "B");
    add_sale("other", -3590, "");
    start();
    enqueue("B", -3600);
    tick();
    answer();
    assert_verdict("B", "charged");
    assert_int_equal(number(ledger, "SELECT count(*) FROM sync_runs WHERE outcome <> 'running'"),
                     0);
}

static void absence_is_said_when_its_proof_is_read(void **state)
{
    (void)state;
    start();
    settle();
    enqueue("C", 0);
    settle();
    assert_verdict("C", "pending");
    now_ms = s(300);
    tick();
    answer();
    assert_verdict("C", "not_charged");
}

/* --- what an offer is taken back by, and made again ----------------------------------------------
 */

static void offer_is_made_again_when_news_changes_nothing(void **state)
{
    static const char decision[] = "INSERT INTO resolutions (order_id, decision, note, decided_by)"
                                   " VALUES ('A', 'not_charged', 'so', 'ann')";

    (void)state;
    with_a_safe_order();
    write_queue(decision);
    assert_int_equal(offers(), 0);
    settle();
    assert_int_equal(offers(), 1);
    assert_int_equal(number(ledger, "SELECT revision FROM orders"), 2);
    write_queue(decision);
    assert_int_equal(offers(), 0);
    settle();
    assert_int_equal(offers(), 1);
    assert_int_equal(number(ledger, "SELECT revision FROM orders"), 2);
}

/* An app that does not know whether its row was written writes it again. */
static void offer_is_made_again_when_a_known_attempt_is_told_again(void **state)
{
    (void)state;
    with_a_safe_order();
    enqueue("A", -3600);
    assert_int_equal(offers(), 0);
    settle();
    assert_verdict("A", "not_charged");
    assert_int_equal(number(ledger, "SELECT revision FROM orders"), 1);
    assert_int_equal(offers(), 1);
}

/* One that thinks better of it. */
static void offer_is_made_again_when_a_row_is_gone_before_it_was_seen(void **state)
{
    (void)state;
    with_a_safe_order();
    enqueue("A", -1800);
    write_queue("DELETE FROM pending_orders");
    assert_int_equal(offers(), 0);
    settle();
    assert_verdict("A", "not_charged");
    assert_int_equal(offers(), 1);
}

/* --- failures -----------------------------------------------------------------------------------
 */

static void offers_that_could_not_be_made_are_made_later(void **state)
{
    (void)state;
    start();
    settle();
    enqueue("A", -3600);
    write_queue("CREATE TRIGGER fails BEFORE INSERT ON retry_offers"
                " BEGIN SELECT RAISE(ABORT, 'disk full'); END");
    settle();
    now_ms += 5000;
    settle();
    assert_verdict("A", "not_charged");
    assert_int_equal(offers(), 0);
    write_queue("DROP TRIGGER fails");
    now_ms += 5000;
    tick();
    assert_int_equal(offers(), 1);
}

/* Nothing in the queue tells that the lock is gone. */
static void offers_that_met_a_lock_are_made_later(void **state)
{
    (void)state;
    with_a_safe_order();
    write_queue("DELETE FROM retry_offers");
    write_queue("BEGIN IMMEDIATE");
    tick();
    write_queue("ROLLBACK");
    assert_int_equal(offers(), 0);
    now_ms += 5000;
    tick();
    assert_int_equal(offers(), 1);
}

static void matching_that_failed_is_done_again_after_a_while(void **state)
{
    (void)state;
    with_a_safe_order();
    write_ledger("CREATE TRIGGER fails BEFORE INSERT ON verdicts"
                 " BEGIN SELECT RAISE(ABORT, 'disk full'); END");
    write_queue("INSERT INTO claims VALUES ('T', 'A')");
    tick();
    write_ledger("DROP TRIGGER fails");
    now_ms += 4000;
    tick();
    assert_verdict("A", "not_charged"); /* a database that fails is left alone for 5 s */
    assert_int_equal(offers(), 0);
    now_ms += 1000;
    tick();
    assert_verdict("A", "charged");
}

static void rows_that_could_not_be_taken_are_taken_later(void **state)
{
    (void)state;
    start();
    settle();
    write_ledger("CREATE TRIGGER fails BEFORE INSERT ON attempts"
                 " BEGIN SELECT RAISE(ABORT, 'disk full'); END");
    enqueue("A", -3600);
    tick();
    write_ledger("DROP TRIGGER fails");
    assert_verdict("A", "none");
    now_ms += 5000;
    tick();
    assert_int_equal(number(ledger, "SELECT count(*) FROM orders"), 1);
}

/* The offer is withdrawn first; then its verdict cannot be replaced; then there is no reason to. */
static void offer_of_a_verdict_that_was_not_replaced_after_all_is_made_again(void **state)
{
    struct transaction *late;

    (void)state;
    with_a_safe_order();
    late = add_sale("late", -3600, "A");
    write_ledger("CREATE TRIGGER fails BEFORE INSERT ON verdicts"
                 " BEGIN SELECT RAISE(ABORT, 'disk full'); END");
    write_queue("INSERT INTO sync_requests DEFAULT VALUES");
    settle();
    assert_int_equal(offers(), 0);
    assert_verdict("A", "not_charged");
    snprintf(late->status, sizeof(late->status), "declined");
    write_ledger("UPDATE transactions SET settled = 0, status = 'declined'");
    write_ledger("DROP TRIGGER fails");
    now_ms += 5000;
    settle();
    assert_verdict("A", "not_charged");
    assert_int_equal(number(ledger, "SELECT revision FROM orders"), 1);
    assert_int_equal(offers(), 1);
}

/* --- what an earlier process did not come to
 * ------------------------------------------------------ */

static void start_makes_offers_that_are_missing(void **state)
{
    (void)state;
    with_a_safe_order();
    stop();
    write_queue("DELETE FROM retry_offers");
    start();
    tick();
    assert_int_equal(offers(), 1);
}

static void start_withdraws_offers_that_no_verdict_gives(void **state)
{
    (void)state;
    with_a_safe_order();
    stop();
    write_queue("INSERT INTO retry_offers VALUES ('B', 1, 'not_charged', 'then')");
    start();
    tick();
    assert_int_equal(offers(), 1);
}

static void start_decides_what_is_known(void **state)
{
    (void)state;
    with_a_safe_order();
    stop();
    write_ledger("INSERT INTO claims VALUES ('T', 'A', '2025-06-15T15:06:40.000Z')");
    start();
    tick();
    assert_verdict("A", "charged");
    assert_int_equal(offers(), 0);
}

/* --- a single cycle ------------------------------------------------------------------------------
 */

/* A matching that takes long is followed by a pause; the cycle does not end in it. */
static void single_cycle_ends_with_a_last_look(void **state)
{
    (void)state;
    page_size = 1;
    add_sale("sale", -3600, "B");
    add_sale("other", -3000, "");
    start_as(true);
    enqueue("B", -3600);
    enqueue("D", -1800);
    write_ledger("CREATE TRIGGER acts AFTER INSERT ON verdicts BEGIN SELECT act(); END");
    slow = 10000;
    loop.tick(NULL, 0, loop.userdata);
    for (int i = 0; i < 100 && !loop.exit; i++) {
        answer();
        if (!loop.exit)
            loop.tick(NULL, 0, loop.userdata);
    }
    assert_true(loop.exit);
    assert_verdict("B", "charged");
    assert_verdict("D", "not_charged");
    assert_int_equal(offers(), 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(verdict_is_offered_in_the_turn_in_which_it_is_given),
        TEST(attempt_is_decided_in_the_turn_in_which_it_is_taken),
        TEST(claim_is_decided_in_the_turn_in_which_it_is_taken),
        TEST(decision_is_heard_in_the_turn_in_which_it_is_taken),
        TEST(news_does_not_wait_for_the_pause_after_a_long_matching),
        TEST(new_record_is_decided_before_its_pass_ends),
        TEST(absence_is_said_when_its_proof_is_read),
        TEST(offer_is_made_again_when_news_changes_nothing),
        TEST(offer_is_made_again_when_a_known_attempt_is_told_again),
        TEST(offer_is_made_again_when_a_row_is_gone_before_it_was_seen),
        TEST(offers_that_could_not_be_made_are_made_later),
        TEST(offers_that_met_a_lock_are_made_later),
        TEST(matching_that_failed_is_done_again_after_a_while),
        TEST(rows_that_could_not_be_taken_are_taken_later),
        TEST(offer_of_a_verdict_that_was_not_replaced_after_all_is_made_again),
        TEST(start_makes_offers_that_are_missing),
        TEST(start_withdraws_offers_that_no_verdict_gives),
        TEST(start_decides_what_is_known),
        TEST(single_cycle_ends_with_a_last_look),
    };

    setenv("MERCHANT_API_KEY", "key", 1);
    log_open(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
