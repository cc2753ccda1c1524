/* Which sessions are revoked and when, and which leave the queue. The Vault's answers and the clock
 * are the test's. Times are seconds after T0, when every session is made unless said otherwise. */
#include <errno.h>

#include "base/cleanup.h"
#include "base/secret.h"
#include "ledger_fixture.h"
#include "service/revoke.h"
#include "store/queue.h"
#include "store/sessions.h"

static const int64_t T0 = INT64_C(1750000000000);
#define MADE "2025-06-15T15:06:40.000Z" /* T0 */

static struct fixture *f;
static struct db *queue, *app;
static struct revoke *subject;
static struct revocation_task *task;
static int64_t now_ms, wait_ms;
static char key_text[16];

static int64_t now_of(void *userdata)
{
    (void)userdata;
    return now_ms;
}

static const struct clock test_clock = {now_of, NULL};

static void ok(int r, const struct error *err)
{
    if (r < 0)
        fail_msg("%s", err->text);
}

/* Two at once; idle after ten minutes. */
static void restart(void)
{
    revoke_free(subject);
    assert_int_equal(revoke_new(f->db, queue, &test_clock, 600000, 2, NULL, &subject), 0);
}

static int set_up(void **state)
{
    char path[128];
    struct error err = {0};

    fixture_set_up(state);
    f = *state;
    fixture_sql(f, "PRAGMA synchronous=OFF");
    snprintf(path, sizeof(path), "%s/queue.db", f->directory);
    ok(queue_open(path, &queue, NULL, 0, &err), &err);
    db_set_patience(queue, 0);
    ok(db_open(path, DB_WRITE, 0, &app, &err), &err);
    now_ms = T0;
    restart();
    return 0;
}

static int tear_down(void **state)
{
    subject = revoke_free(subject);
    app = db_close(app);
    queue = db_close(queue);
    return fixture_tear_down(state);
}

static int64_t number(struct db *db, const char *sql)
{
    struct error err = {0};
    int64_t value;

    ok(db_value(db, &value, -1, &err, sql, ""), &err);
    return value;
}

static void session_made(const char *id, const char *key, const char *made, const char *ended)
{
    struct error err = {0};

    ok(db_run(app, &err,
              "INSERT OR REPLACE INTO sessions (session_id, session_key, created_at, ended)"
              " VALUES (?, ?, ?, ?)",
              "ttte", id, key, made, ended),
       &err);
    revoke_poke(subject);
}

static void session(const char *id, const char *ended)
{
    session_made(id, id, MADE, ended);
}

static bool next(void)
{
    struct error err = {0};
    struct secret *key;
    int r = revoke_next(subject, &task, &key, &wait_ms, &err);

    ok(r, &err);
    if (r == 0)
        return false;
    snprintf(key_text, sizeof(key_text), "%s", secret_text(key));
    secret_free(key);
    return true;
}

static void assert_next(const char *key)
{
    assert_true(next());
    assert_string_equal(key_text, key);
}

static struct revoke_news answer_to(struct revocation_task *which, enum revoke_answer_kind kind)
{
    const struct revoke_answer answer = {.kind = kind, .text = "so", .wait_ms = 20000};
    struct revoke_news news = {.next_try_at = -2};
    struct error err = {0};

    ok(revoke_answer(subject, which, &answer, &news, &err), &err);
    return news;
}

static struct revoke_news answer(enum revoke_answer_kind kind)
{
    return answer_to(task, kind);
}

static int64_t waiting(void)
{
    return number(app, "SELECT count(*) FROM sessions");
}

static void session_in_use_is_left_alone(void **state)
{
    (void)state;
    session("a", "");
    assert_false(next());
    assert_true(wait_ms <= 60000);
    now_ms += 600000 - 2000;
    assert_false(next());
    assert_int_equal(wait_ms, 2000);
    now_ms += 2000 - 1;
    revoke_poke(subject);
    assert_false(next());
    now_ms += 1;
    revoke_poke(subject);
    assert_next("a");
}

static void each_is_handed_out_once_and_no_more_than_allowed(void **state)
{
    struct revocation_task *first, *second;

    (void)state;
    session("a", "paid");
    session("b", "cancelled");
    session("c", "abandoned");
    assert_next("a");
    first = task;
    assert_next("b");
    second = task;
    assert_false(next());
    assert_int_equal(answer_to(first, REVOKE_DONE).outcome, REVOCATION_REVOKED);
    assert_int_equal(waiting(), 2);
    assert_next("c");
    assert_false(next());
    answer_to(second, REVOKE_GONE);
    revoke_poke(subject);
    assert_false(next()); /* c is under way */
    answer(REVOKE_DONE);
    assert_int_equal(waiting(), 0);
    assert_int_equal(number(f->db, "SELECT count(*) FROM session_revocations"
                                   " WHERE closed_at IS NOT NULL"),
                     3);
}

static void session_that_was_not_revoked_stays_and_is_tried_again(void **state)
{
    struct revoke_news news;

    (void)state;
    session("a", "paid");
    assert_next("a");
    news = answer(REVOKE_FAILED);
    assert_int_equal(news.outcome, REVOCATION_WAITING);
    assert_int_equal(waiting(), 1);
    assert_int_equal(news.next_try_at, now_ms + 5000);
    assert_false(next());
    restart(); /* nothing of it is in memory */
    assert_false(next());
    now_ms += 4999;
    revoke_poke(subject);
    assert_false(next());
    now_ms += 1;
    revoke_poke(subject);
    assert_next("a");
    news = answer(REVOKE_LATER);
    assert_int_equal(news.next_try_at, now_ms + 20000);
    assert_int_equal(waiting(), 1);
}

static void session_that_was_closed_before_a_death_leaves_the_queue(void **state)
{
    (void)state;
    session("a", "paid");
    session("b", "");
    fixture_sql(f,
                "INSERT INTO session_revocations (session_id, created_at, why, outcome,"
                " attempts, closed_at) VALUES ('a', '" MADE "', 'paid', 'revoked', 1, '" MADE "')");
    assert_false(next());
    assert_int_equal(waiting(), 1);
}

static void session_stays_until_the_ledger_knows(void **state)
{
    const struct revoke_answer done = {.kind = REVOKE_DONE, .text = "so"};
    struct revoke_news news;
    struct error err = {0};

    (void)state;
    session("a", "paid");
    assert_next("a");
    fixture_sql(f, "CREATE TRIGGER fails BEFORE INSERT ON session_revocations"
                   " BEGIN SELECT RAISE(ABORT, 'disk full'); END");
    assert_true(revoke_answer(subject, task, &done, &news, &err) < 0);
    assert_int_equal(waiting(), 1);
    fixture_sql(f, "DROP TRIGGER fails");
    now_ms += 1000;
    assert_next("a");
}

/* The app may open another session under an id that it has used. */
static void session_under_a_used_id_is_another(void **state)
{
    struct session old = {.created_text = MADE, .created_at = T0};
    struct secret *key = NULL;
    struct error err = {0};

    (void)state;
    session("a", "paid");
    assert_next("a");
    session_made("a", "new", "2025-06-15T15:06:41.000Z", "paid");
    snprintf(old.id, sizeof(old.id), "a");
    assert_int_equal(session_key(queue, &old, &key, &err), -ENOENT);
    answer(REVOKE_DONE);
    assert_int_equal(waiting(), 1);
    assert_next("new");
    answer(REVOKE_DONE);
    assert_int_equal(waiting(), 0);
}

static void session_is_given_up_some_time_after_it_expired(void **state)
{
    const int64_t lapses_at = T0 + 1800000 + 300000;
    struct revoke_news news;

    (void)state;
    session("a", "paid");
    now_ms = lapses_at - 1;
    assert_next("a");
    news = answer(REVOKE_FAILED);
    assert_int_equal(news.outcome, REVOCATION_WAITING);
    assert_int_equal(news.next_try_at, lapses_at); /* one last try */
    now_ms = lapses_at;
    revoke_poke(subject);
    assert_next("a");
    assert_int_equal(answer(REVOKE_FAILED).outcome, REVOCATION_LAPSED);
    assert_int_equal(waiting(), 0);
}

/* That is for a person to mend; the session can be revoked once it is. */
static void session_is_not_given_up_because_our_key_is_wrong(void **state)
{
    struct revoke_news news;

    (void)state;
    session("a", "paid");
    now_ms = T0 + 86400000;
    assert_next("a");
    news = answer(REVOKE_REFUSED);
    assert_int_equal(news.outcome, REVOCATION_WAITING);
    assert_int_equal(news.next_try_at, now_ms + 30000);
    assert_int_equal(waiting(), 1);
}

static void long_session(const char *id)
{
    char key[4097];

    memset(key, 'k', 4096);
    key[4096] = '\0';
    session_made(id, key, MADE, "paid");
}

static void keys_are_wiped_until_nothing_is_left_of_them(void **state)
{
    struct db_stmt *reader;
    struct error err = {0};

    (void)state;
    assert_true(revoke_unwiped(subject)); /* an earlier process may have left some */
    assert_int_equal(revoke_wipe(subject, &err), 0);
    assert_false(revoke_unwiped(subject));
    long_session("a");
    long_session("b");
    assert_true(next());
    answer(REVOKE_DONE);
    assert_true(revoke_unwiped(subject));
    ok(db_query(app, &reader, &err, "SELECT session_id FROM sessions", ""), &err);
    assert_int_equal(db_step(app, reader, &err), 1);
    assert_true(revoke_wipe(subject, &err) < 0); /* a reader holds on to it */
    assert_true(revoke_unwiped(subject));
    db_done(reader);
    /* Another is closed before the wiping comes to its end: it begins anew. */
    assert_true(next());
    answer(REVOKE_DONE);
    assert_true(number(queue, "PRAGMA freelist_count") > 0);
    assert_int_equal(revoke_wipe(subject, &err), 0);
    assert_false(revoke_unwiped(subject));
    assert_int_equal(number(queue, "PRAGMA freelist_count"), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(session_in_use_is_left_alone),
        TEST(each_is_handed_out_once_and_no_more_than_allowed),
        TEST(session_that_was_not_revoked_stays_and_is_tried_again),
        TEST(session_that_was_closed_before_a_death_leaves_the_queue),
        TEST(session_stays_until_the_ledger_knows),
        TEST(session_under_a_used_id_is_another),
        TEST(session_is_given_up_some_time_after_it_expired),
        TEST(session_is_not_given_up_because_our_key_is_wrong),
        TEST(keys_are_wiped_until_nothing_is_left_of_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
