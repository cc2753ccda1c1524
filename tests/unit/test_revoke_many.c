/* Many sessions at once: each is handed out for revocation once, in time, and looking for it is
 * cheap. */
#include <time.h>

#include "ledger_fixture.h"
#include "service/revoke.h"
#include "store/queue.h"

enum { CONCURRENCY = 8, MANY = 10000 };

static const int64_t NOW = 1780000000000;

struct scene {
    struct fixture *ledger;
    struct db *queue;
    struct revoke *revoke;
    int64_t now;
};

static int64_t fake_now(void *userdata)
{
    return ((struct scene *)userdata)->now;
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    static struct clock clock;
    struct error err = {0};
    void *ledger;
    char path[160];

    assert_non_null(s);
    assert_int_equal(fixture_set_up(&ledger), 0);
    s->ledger = ledger;
    snprintf(path, sizeof(path), "%s/queue.db", s->ledger->directory);
    if (queue_open(path, &s->queue, NULL, 0, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(db_exec(s->queue, "PRAGMA synchronous=OFF", &err), 0);
    assert_int_equal(db_exec(s->ledger->db, "PRAGMA synchronous=OFF", &err), 0);
    s->now = NOW;
    clock = (struct clock){.now = fake_now, .userdata = s};
    assert_int_equal(
        revoke_new(s->ledger->db, s->queue, &clock, 15 * 60000, CONCURRENCY, s, &s->revoke), 0);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    void *ledger = s->ledger;

    revoke_free(s->revoke);
    db_close(s->queue);
    fixture_tear_down(&ledger);
    free(s);
    return 0;
}

static void queue_sql(struct scene *s, const char *sql)
{
    struct error err = {0};

    if (db_exec(s->queue, sql, &err) < 0)
        fail_msg("%s", err.text);
}

/* `n` sessions s1, s2, ..., idle for long and not expired. */
static void add_sessions(struct scene *s, int64_t n)
{
    char seen[TIMESTAMP_TEXT_SIZE], sql[512];

    timestamp_format(s->now - 20 * 60000, seen);
    snprintf(sql, sizeof(sql),
             "INSERT INTO sessions (session_id, session_key, created_at)"
             " WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
             " SELECT 's' || i, 'key-' || i, '%s' FROM n",
             (int)n, seen);
    queue_sql(s, sql);
}

/* The next task, or NULL; checks that the key is the session's. */
static struct revocation_task *next(struct scene *s, int64_t *ret_wait)
{
    struct revocation_task *task = NULL;
    struct secret *key = NULL;
    struct error err = {0};
    int r = revoke_next(s->revoke, &task, &key, ret_wait, &err);

    if (r < 0)
        fail_msg("%s", err.text);
    secret_free(key);
    return task;
}

static void answer(struct scene *s, struct revocation_task *task, enum revoke_answer_kind kind,
                   const char *session_id)
{
    const struct revoke_answer given = {.kind = kind, .status = 200, .wait_ms = 4000, .text = ""};
    struct revoke_news news;
    struct error err = {0};

    if (revoke_answer(s->revoke, task, &given, &news, &err) < 0)
        fail_msg("%s", err.text);
    if (session_id)
        assert_string_equal(news.session_id, session_id);
}

static int64_t count(struct db *db, const char *sql)
{
    struct error err = {0};
    int64_t n;

    if (db_value(db, &n, -1, &err, sql, "") < 0)
        fail_msg("%s", err.text);
    return n;
}

/* Each is revoked once, and looking for the next one does not go through all of them. */
static void many_due_sessions_are_cheap(void **state)
{
    struct scene *s = *state;
    struct revocation_task *tasks[CONCURRENCY];
    clock_t began = clock();
    int64_t wait;
    int done = 0;

    add_sessions(s, MANY);
    for (size_t n;; done += (int)n) {
        for (n = 0; n < CONCURRENCY && (tasks[n] = next(s, &wait)); n++)
            ;
        if (n == 0)
            break;
        assert_false(revoke_idle(s->revoke));
        for (size_t i = 0; i < n; i++)
            answer(s, tasks[i], REVOKE_DONE, NULL);
        if ((clock() - began) / CLOCKS_PER_SEC > 60)
            fail_msg("%d of %d in a minute", done, MANY);
    }
    assert_int_equal(done, MANY);
    assert_int_equal(count(s->queue, "SELECT count(*) FROM sessions"), 0);
    assert_int_equal(count(s->ledger->db, "SELECT count(*) FROM session_revocations"
                                          " WHERE outcome = 'revoked' AND attempts = 1"),
                     MANY);
    assert_true(revoke_idle(s->revoke));
}

/* Thousands that wait for their next try are looked at once a second, not at each answer. */
static void waiting_ones_are_tried_in_time(void **state)
{
    struct scene *s = *state;
    int64_t wait;

    add_sessions(s, 2);
    answer(s, next(s, &wait), REVOKE_LATER, "s1");
    answer(s, next(s, &wait), REVOKE_DONE, "s2");
    assert_null(next(s, &wait));
    assert_true(revoke_idle(s->revoke));
    assert_in_range(wait, 1, 1000);
    s->now += wait;
    assert_null(next(s, &wait));
    assert_in_range(wait, 2000, 4000); /* when it is due, not only at the usual look */
    s->now = NOW + 4000;
    answer(s, next(s, &wait), REVOKE_DONE, "s1");
}

/* What was found is not handed out any more when the customer is back, or the row is gone. */
static void the_app_may_change_its_mind(void **state)
{
    struct scene *s = *state;
    char sql[128], now[TIMESTAMP_TEXT_SIZE];
    int64_t wait;

    add_sessions(s, 4);
    answer(s, next(s, &wait), REVOKE_DONE, "s1");
    snprintf(sql, sizeof(sql), "UPDATE sessions SET last_seen_at = '%s' WHERE session_id = 's2'",
             timestamp_format(s->now, now));
    queue_sql(s, sql);
    revoke_poke(s->revoke);
    answer(s, next(s, &wait), REVOKE_DONE, "s3");
    queue_sql(s, "DELETE FROM sessions WHERE session_id = 's4'"); /* before the daemon knows */
    assert_null(next(s, &wait));
    s->now += 15 * 60000;
    answer(s, next(s, &wait), REVOKE_DONE, "s2");
    assert_int_equal(count(s->ledger->db, "SELECT count(*) FROM session_revocations"), 3);
}

/* One that ends while another is under way need not wait for it. */
static void news_are_looked_at_at_once(void **state)
{
    struct scene *s = *state;
    struct revocation_task *slow;
    int64_t wait;

    add_sessions(s, 1);
    slow = next(s, &wait);
    assert_null(next(s, &wait));
    queue_sql(s, "INSERT INTO sessions (session_id, session_key, ended) VALUES ('t', 'k', 'paid')");
    revoke_poke(s->revoke);
    answer(s, next(s, &wait), REVOKE_DONE, "t");
    answer(s, slow, REVOKE_DONE, "s1");
    assert_null(next(s, &wait));
}

/* Rows that break the queue's constraints can be seen and not had. */
static void rows_that_cannot_be_had_do_not_hold_up_the_daemon(void **state)
{
    struct scene *s = *state;
    int64_t wait;

    queue_sql(s, "PRAGMA ignore_check_constraints=1;"
                 "INSERT INTO sessions (session_id, session_key, ended)"
                 " WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 64)"
                 " SELECT 'x' || i || char(0) || 'y', 'k', 'paid' FROM n");
    assert_null(next(s, &wait));
    assert_in_range(wait, 1000, 60000);
}

/* As when a backup of the queue was brought back. */
static void sessions_closed_before_leave_the_queue_in_one_look(void **state)
{
    struct scene *s = *state;
    int64_t wait;

    add_sessions(s, 1000);
    for (int i = 1; i <= 1000; i++) {
        char sql[256], at[TIMESTAMP_TEXT_SIZE];

        timestamp_format(NOW - 20 * 60000, at);
        snprintf(sql, sizeof(sql),
                 "INSERT INTO session_revocations (session_id, created_at, why, outcome, attempts,"
                 " closed_at) VALUES ('s%d', '%s', 'idle', 'revoked', 1, '%s')",
                 i, at, at);
        fixture_sql(s->ledger, sql);
    }
    assert_null(next(s, &wait));
    assert_int_equal(count(s->queue, "SELECT count(*) FROM sessions"), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(many_due_sessions_are_cheap),
        TEST(waiting_ones_are_tried_in_time),
        TEST(the_app_may_change_its_mind),
        TEST(news_are_looked_at_at_once),
        TEST(rows_that_cannot_be_had_do_not_hold_up_the_daemon),
        TEST(sessions_closed_before_leave_the_queue_in_one_look),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
