#include "base/cleanup.h"
#include "ledger_fixture.h"
#include "store/daemon_state.h"
#include "store/status.h"

static struct status read_status(struct fixture *f, const char *now)
{
    struct error err = {0};
    struct status s;

    if (status_read(f->db, instant(now), &s, &err) < 0)
        fail_msg("%s", err.text);
    return s;
}

static void a_fresh_ledger_knows_nothing(void **state)
{
    struct status s = read_status(*state, "2026-11-22T10:00:00Z");

    assert_false(s.ran);
    assert_int_equal(s.started_at, -1);
    assert_int_equal(s.covered_from, -1);
    assert_int_equal(s.proven_to, -1);
    assert_int_equal(s.gaps, 0);
    assert_int_equal(s.backfill_percent, -1);
    assert_int_equal(s.last_run_at, -1);
}

static void daemon_state(struct fixture *f)
{
    fixture_sql(f, FIXTURE_RUN);
    fixture_sql(f, "INSERT INTO daemon_state (id, pid, version, started_at, updated_at,"
                   " cycle_outcome, edge, origin, rate_limit) VALUES (1, 42, '0.1.0',"
                   " '2026-11-22T09:00:00.000Z', '2026-11-22T09:00:00.000Z', 'ok',"
                   " '2026-11-22T10:00:00.000Z', '2026-11-22T00:00:00.000Z', 100)");
}

/* Passes that meet are one interval; what lies outside history does not count for it; 100 percent
 * is said only when nothing is missing. */
static void coverage_and_backfill(void **state)
{
    struct fixture *f = *state;
    struct status s;

    daemon_state(f);
    fixture_sql(f, "INSERT INTO coverage VALUES"
                   " (1, '2026-11-22T05:00:00.000Z', '2026-11-22T08:00:00.000Z', '', 1, 1),"
                   " (1, '2026-11-22T08:00:00.000Z', '2026-11-22T10:00:00.000Z', '', 0, 1),"
                   " (1, '2026-11-21T00:00:00.000Z', '2026-11-22T01:00:00.000Z', '', 1, 0)");
    s = read_status(f, "2026-11-22T10:00:00Z");
    assert_true(s.ran);
    assert_int_equal(s.covered_from, instant("2026-11-21T00:00:00Z"));
    assert_int_equal(s.covered_to, instant("2026-11-22T10:00:00Z"));
    assert_int_equal(s.proven_to, instant("2026-11-22T08:00:00Z"));
    assert_int_equal(s.gaps, 1);
    assert_int_equal(s.backfill_percent, 60);
    fixture_sql(f, "INSERT INTO coverage VALUES"
                   " (1, '2026-11-22T01:00:00.001Z', '2026-11-22T05:00:00.000Z', '', 1, 1)");
    assert_int_equal(read_status(f, "2026-11-22T10:00:00Z").backfill_percent, 99);
    fixture_sql(f, "INSERT INTO coverage VALUES"
                   " (1, '2026-11-22T01:00:00.000Z', '2026-11-22T01:00:00.001Z', '', 1, 1)");
    assert_int_equal(read_status(f, "2026-11-22T10:00:00Z").backfill_percent, 100);
}

static void counts(void **state)
{
    struct fixture *f = *state;
    struct status s;

    daemon_state(f);
    fixture_order(f, "A-1", 4900, "2026-11-22T09:00:00.000Z", "", "pending");
    fixture_order(f, "A-2", 4900, "2026-11-22T09:00:00.000Z", "", "pending");
    fixture_order(f, "A-3", 4900, "2026-11-22T09:00:00.000Z", "", "needs_review");
    fixture_sql(f, "INSERT INTO rate_log VALUES ('2026-11-22T09:59:00.000Z'),"
                   " ('2026-11-22T09:59:00.001Z'), ('2026-11-22T10:00:00.000Z')");
    s = read_status(f, "2026-11-22T10:00:00Z");
    assert_int_equal(s.orders[VERDICT_PENDING], 2);
    assert_int_equal(s.orders[VERDICT_NEEDS_REVIEW], 1);
    assert_int_equal(s.orders[VERDICT_CHARGED], 0);
    assert_int_equal(s.requests_last_minute, 2);
    assert_int_equal(s.last_run_at, instant("2026-11-22T10:00:07Z"));
}

/* What an earlier process left says nothing of the one that starts. */
static void a_start_forgets_how_the_last_one_fared(void **state)
{
    struct fixture *f = *state;
    struct status s;

    daemon_state(f);
    assert_int_equal(daemon_state_cycle(f->db, 1, 2, "ok", 3, 1, true, 4, NULL), 0);
    assert_int_equal(daemon_state_api(f->db, "ok", 2, NULL), 0);
    assert_int_equal(daemon_state_vault(f->db, "HTTP status 401", 2, NULL), 0);
    assert_int_equal(daemon_state_start(f->db, "0.2.0", 7, instant("2026-11-22T10:00:00Z"), NULL),
                     0);
    s = read_status(f, "2026-11-22T10:00:00Z");
    assert_string_equal(s.version, "0.2.0");
    assert_string_equal(s.cycle_outcome, "");
    assert_int_equal(s.cycle_ended_at, -1);
    assert_string_equal(s.api_state, "");
    assert_int_equal(s.api_checked_at, -1);
    assert_string_equal(s.vault_state, "");
}

static void late_is_longer_than_any_wait(void **state)
{
    struct status s = {.cycle_ended_at = 1000};
    int64_t limit = 15 * 60 * 1000 + 2 * 60 * 1000;

    (void)state;
    assert_false(status_is_late(&s, 60 * 1000, 1000 + limit));
    assert_true(status_is_late(&s, 60 * 1000, 1000 + limit + 1));
    s.cycle_ended_at = -1; /* it has just begun */
    assert_false(status_is_late(&s, 60 * 1000, 1000 + limit + 1));
}

static void verdict_row(struct fixture *f, int64_t revision, const char *verdict)
{
    assert_int_equal(
        db_run(f->db, NULL,
               "INSERT INTO verdicts (order_id, revision, verdict, safe_to_retry, reason,"
               " decided_at) VALUES ('A-1', ?1, ?2, ?2 IN ('reversed', 'not_charged'), 'r',"
               " '2026-11-22T10:00:00.000Z')",
               "it", revision, verdict),
        0);
}

/* Counted bit by bit or at once, it comes to what the view says. */
static void revisions_are_counted_once(void **state)
{
    static const char *const history[] = {"pending",  "not_charged",  "charged", "charged",
                                          "reversed", "needs_review", "pending", "charged"};
    struct status_revisions counts = {0}, whole = {0};
    struct fixture *f = *state;
    int64_t all, critical;

    fixture_order(f, "A-1", 4900, "2026-11-22T09:00:00.000Z", "", "pending");
    assert_int_equal(status_count_revisions(f->db, &counts, NULL), 0);
    for (size_t i = 0; i < ELEMENTSOF(history); i++) {
        verdict_row(f, 100 + (int64_t)i, history[i]);
        assert_int_equal(status_count_revisions(f->db, &counts, NULL), 0);
    }
    assert_int_equal(status_count_revisions(f->db, &counts, NULL), 0);
    assert_int_equal(status_count_revisions(f->db, &whole, NULL), 0);
    db_value(f->db, &all, -1, NULL, "SELECT count(*) FROM revisions", "");
    db_value(f->db, &critical, -1, NULL, "SELECT sum(critical) FROM revisions", "");
    assert_int_equal(all, 4);
    assert_int_equal(critical, 2);
    assert_int_equal(counts.all, all);
    assert_int_equal(counts.critical, critical);
    assert_int_equal(whole.all, all);
    assert_int_equal(whole.critical, critical);
}

static void sessions_by_outcome(void **state)
{
    int64_t counts[REVOCATION_OUTCOMES];
    struct fixture *f = *state;

    fixture_sql(f,
                "INSERT INTO session_revocations (session_id, created_at, why, outcome, attempts,"
                " closed_at) VALUES ('1', '', 'paid', 'revoked', 1, 'x'),"
                " ('2', '', 'paid', 'revoked', 1, 'x'), ('3', '', 'idle', 'lapsed', 9, 'x'),"
                " ('4', '', 'idle', 'waiting', 1, NULL)");
    assert_int_equal(status_count_sessions(f->db, counts, NULL), 0);
    assert_int_equal(counts[REVOCATION_REVOKED], 2);
    assert_int_equal(counts[REVOCATION_GONE], 0);
    assert_int_equal(counts[REVOCATION_LAPSED], 1);
    assert_int_equal(counts[REVOCATION_WAITING], 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_fresh_ledger_knows_nothing),
        TEST(coverage_and_backfill),
        TEST(counts),
        TEST(a_start_forgets_how_the_last_one_fared),
        cmocka_unit_test(late_is_longer_than_any_wait),
        TEST(revisions_are_counted_once),
        TEST(sessions_by_outcome),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
