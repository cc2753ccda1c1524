#include "ledger_fixture.h"
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

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_fresh_ledger_knows_nothing),
        TEST(coverage_and_backfill),
        TEST(counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
