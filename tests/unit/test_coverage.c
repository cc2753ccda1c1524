/* What passes leave in the ledger, and when it proves an absence. Times are seconds after T0. */
#include "base/cleanup.h"
#include "ledger_fixture.h"
#include "service/reconcile.h"
#include "store/daemon_state.h"
#include "store/ledger.h"
#include "store/orders.h"
#include "store/sync_runs.h"
#include "store/transactions.h"

static const int64_t T0 = INT64_C(1750000000000);
static const char *const unsettled[] = {"declined", NULL};

static int64_t s(int64_t seconds)
{
    return T0 + seconds * 1000;
}

static void ok(int r, const struct error *err)
{
    if (r < 0)
        fail_msg("%s", err->text);
}

static int set_up(void **state)
{
    fixture_set_up(state);
    fixture_sql(*state, "PRAGMA synchronous=OFF");
    return 0;
}

static int64_t number(struct fixture *f, const char *sql)
{
    struct error err = {0};
    int64_t value;

    ok(db_value(f->db, &value, -1, &err, sql, ""), &err);
    return value;
}

/* --- passes -------------------------------------------------------------------------------------
 */

static struct sync_run begin(struct fixture *f, int64_t from, int64_t to, int64_t began)
{
    struct sync_run run = {
        .purpose = PURPOSE_RECENT, .from = s(from), .to = s(to), .began_at = s(began)};
    struct error err = {0};

    ok(sync_run_begin(f->db, &run, &err), &err);
    return run;
}

static void end(struct fixture *f, const struct sync_run *run, enum run_outcome outcome, bool proof)
{
    struct error err = {0};

    ok(sync_run_advance(f->db, run, &err), &err);
    ok(sync_run_end(f->db, run, outcome, proof, run->began_at, 200, NULL, &err), &err);
    if (outcome == RUN_COMPLETE)
        ok(coverage_add(f->db, run, proof, &err), &err);
}

/* A whole pass that shows nothing; its id. */
static int64_t read_window(struct fixture *f, int64_t from, int64_t to, int64_t began, bool proof)
{
    struct sync_run run = begin(f, from, to, began);

    end(f, &run, RUN_COMPLETE, proof);
    return run.id;
}

static struct transaction sale(const char *id, int64_t at)
{
    struct transaction t = {.amount = {4900, "USD"},
                            .net = {4900, "USD"},
                            .transacted_at = s(at),
                            .created_at = s(at),
                            .type = "CreditCardSale"};

    snprintf(t.id, sizeof(t.id), "%s", id);
    return t;
}

static void show(struct fixture *f, struct sync_run *run, struct transaction t, int64_t now)
{
    const struct page page = {.records = &t, .n_records = 1};
    struct error err = {0};

    ok(transactions_store(f->db, run, &page, unsettled, s(now), &err), &err);
}

static const int64_t NO_TIME = INT64_MIN;

/* A record that cannot be understood, created at an instant in ms after T0. */
static void show_bad(struct fixture *f, struct sync_run *run, const char *id, int64_t created_ms,
                     int64_t now)
{
    struct bad_record bad = {.has_time = created_ms != NO_TIME,
                             .created_at = T0 + created_ms,
                             .transacted_at = T0 - 86400000,
                             .reason = "amount: missing"};
    const struct page page = {.bad = &bad, .n_bad = 1};
    struct error err = {0};

    snprintf(bad.id, sizeof(bad.id), "%s", id);
    snprintf(bad.digest, sizeof(bad.digest), "digest of %s", id);
    ok(transactions_store(f->db, run, &page, unsettled, s(now), &err), &err);
}

static bool covered_ms(struct fixture *f, int64_t from, int64_t to, struct coverage_demand demand)
{
    _cleanup_(interval_set_clear) struct interval_set missing = {0};
    struct error err = {0};

    assert_int_equal(interval_set_add(&missing, T0 + from, T0 + to), 0);
    ok(coverage_subtract(f->db, T0 + from, T0 + to, &demand, &missing, &err), &err);
    return missing.n == 0;
}

static bool covered(struct fixture *f, int64_t from, int64_t to)
{
    return covered_ms(f, from * 1000, to * 1000, (struct coverage_demand){0});
}

static bool clear_ms(struct fixture *f, int64_t from, int64_t to)
{
    return covered_ms(f, from, to, (struct coverage_demand){.clear = true});
}

/* --- the map ------------------------------------------------------------------------------------
 */

enum { SECONDS = 20, READINGS = 24 };

struct reading {
    int64_t id, began;
    int from, to;
    bool proof;
};

/* Of each second, the passes that no other has replaced. */
struct oracle {
    struct reading readings[READINGS];
    int n;
    bool there[READINGS][SECONDS];
};

static void oracle_add(struct oracle *oracle, struct reading new)
{
    for (int second = new.from; second < new.to; second++) {
        for (int i = 0; i < oracle->n; i++)
            if (oracle->readings[i].began <= new.began && oracle->readings[i].proof <= new.proof)
                oracle->there[i][second] = false;
        oracle->there[oracle->n][second] = true;
    }
    oracle->readings[oracle->n++] = new;
}

struct ids {
    int64_t items[READINGS];
    int n;
};

static int collect_id(int64_t id, void *userdata)
{
    struct ids *ids = userdata;

    ids->items[ids->n++] = id;
    return 0;
}

static void assert_second(struct fixture *f, const struct oracle *oracle, int second,
                          struct coverage_demand demand)
{
    struct ids found = {.n = 0};
    struct error err = {0};
    int n = 0;

    ok(coverage_runs(f->db, s(second) + 400, s(second) + 600, &demand, collect_id, &found, &err),
       &err);
    for (int i = 0; i < oracle->n; i++) {
        const struct reading *r = &oracle->readings[i];

        if (!oracle->there[i][second] || s(r->began) < demand.since || r->proof < demand.proof)
            continue;
        assert_true(n < found.n);
        assert_int_equal(found.items[n++], r->id);
    }
    assert_int_equal(found.n, n);
    assert_int_equal(covered_ms(f, second * 1000, second * 1000 + 1000, demand), n > 0);
}

/* For each instant the newest pass, and the newest that proves; older ones than that are gone. */
static void map_agrees_with_its_oracle(void **state)
{
    struct fixture *f = *state;
    uint64_t random = 7;

    for (int round = 0; round < 40; round++) {
        struct oracle oracle = {.n = 0};

        fixture_sql(f, "DELETE FROM coverage");
        for (int step = 0; step < READINGS; step++) {
            struct reading new;

            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            new.from = (int)(random >> 33) % (SECONDS - 1);
            new.to = new.from + 1 + (int)(random >> 40) % (SECONDS - new.from);
            new.to = new.to > SECONDS ? SECONDS : new.to;
            /* Sometimes one that began before the last, as with several lanes. */
            new.began = 100 + step - (int64_t)((random >> 50) % 4);
            new.proof = (random >> 60) % 2;
            new.id = read_window(f, new.from, new.to, new.began, new.proof);
            oracle_add(&oracle, new);
            assert_int_equal(
                number(f, "SELECT count(*) FROM coverage a JOIN coverage b ON a.run_id = b.run_id"
                          " AND a.rowid < b.rowid AND a.covered_from < b.covered_to"
                          " AND b.covered_from < a.covered_to"),
                0);
            for (int second = 0; second < SECONDS; second++)
                for (int proof = 0; proof < 2; proof++)
                    assert_second(
                        f, &oracle, second,
                        (struct coverage_demand){.since = s(100 + step - 3), .proof = proof != 0});
        }
        for (int second = 0; second < SECONDS; second++)
            assert_second(f, &oracle, second, (struct coverage_demand){0});
    }
}

static void demand_begins_at_its_instant(void **state)
{
    struct fixture *f = *state;

    read_window(f, 0, 60, 100, true);
    assert_true(covered_ms(f, 0, 60000, (struct coverage_demand){.since = s(100)}));
    assert_false(covered_ms(f, 0, 60000, (struct coverage_demand){.since = s(100) + 1}));
    assert_false(covered_ms(f, 0, 60001, (struct coverage_demand){0}));
    assert_false(covered_ms(f, -1, 60000, (struct coverage_demand){0}));
}

static void coverage_from_the_future_is_forgotten(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};

    read_window(f, 0, 60, 100, true);
    read_window(f, 60, 120, 101, true);
    ok(coverage_forget_after(f->db, s(100), &err), &err);
    assert_true(covered(f, 0, 60));
    assert_false(covered(f, 60, 120));
}

/* --- holes --------------------------------------------------------------------------------------
 */

static void hole_is_a_second_on_each_side(void **state)
{
    struct fixture *f = *state;
    struct sync_run run = begin(f, 0, 60, 100);

    show_bad(f, &run, "b", 30500, 101);
    end(f, &run, RUN_COMPLETE, true);
    assert_true(covered(f, 0, 60));
    assert_true(clear_ms(f, 0, 29499));
    assert_true(clear_ms(f, 31501, 60000));
    assert_false(clear_ms(f, 29499, 29500));
    assert_false(clear_ms(f, 30499, 30501));
    assert_false(clear_ms(f, 31500, 31501));
    /* Its pass is evidence for the rest of the window. */
    assert_int_equal(number(f, "SELECT count(*) FROM coverage WHERE clear = 0"), 1);
}

static void hole_ends_with_its_window(void **state)
{
    struct fixture *f = *state;
    struct sync_run run = begin(f, 0, 60, 100);

    show_bad(f, &run, "b", -500, 101);
    show_bad(f, &run, "c", 60500, 101);
    end(f, &run, RUN_COMPLETE, true);
    assert_false(clear_ms(f, 0, 501));
    assert_true(clear_ms(f, 501, 59499));
    assert_false(clear_ms(f, 59499, 60000));
    assert_false(covered_ms(f, -1000, 0, (struct coverage_demand){0}));
    assert_false(covered_ms(f, 60000, 61000, (struct coverage_demand){0}));
}

static void record_without_a_time_may_lie_anywhere_in_its_window(void **state)
{
    struct fixture *f = *state;
    struct sync_run run = begin(f, 0, 60, 100);

    show_bad(f, &run, "b", NO_TIME, 101);
    end(f, &run, RUN_COMPLETE, true);
    assert_true(covered(f, 0, 60));
    assert_false(clear_ms(f, 0, 1000));
    assert_false(clear_ms(f, 59000, 60000));
}

/* Another lane reads elsewhere meanwhile. */
static void hole_is_where_its_record_was_shown(void **state)
{
    struct fixture *f = *state;
    struct sync_run run = begin(f, 0, 60, 100), before = begin(f, -60, -30, 100),
                    behind = begin(f, 90, 120, 100), beside = begin(f, 0, 60, 100);

    show_bad(f, &before, "before", NO_TIME, 101);
    show_bad(f, &behind, "behind", NO_TIME, 101);
    show_bad(f, &run, "b", 30000, 101);
    end(f, &run, RUN_COMPLETE, true);
    assert_true(clear_ms(f, 0, 28000));
    assert_true(clear_ms(f, 32000, 60000));
    assert_false(clear_ms(f, 29000, 30000));
    /* One that was not shown a bad record has read its window clearly. */
    end(f, &beside, RUN_COMPLETE, true);
    assert_true(clear_ms(f, 0, 60000));
}

static void hole_goes_with_its_record(void **state)
{
    struct fixture *f = *state;
    struct sync_run first = begin(f, 0, 60, 100), second, third, fourth;

    show_bad(f, &first, "a", 10000, 101);
    show_bad(f, &first, "b", 50000, 101);
    end(f, &first, RUN_COMPLETE, true);
    assert_false(clear_ms(f, 9000, 10000));
    /* Shown again; and one that is not. */
    second = begin(f, 0, 60, 200);
    show_bad(f, &second, "b", 50000, 201);
    end(f, &second, RUN_COMPLETE, true);
    assert_true(clear_ms(f, 0, 48000));
    assert_false(clear_ms(f, 49000, 50000));
    /* Understood. */
    third = begin(f, 0, 60, 300);
    show(f, &third, sale("b", 50), 301);
    show_bad(f, &third, "c", 1000, 301);
    assert_int_equal(number(f, "SELECT count(*) FROM quarantine WHERE transaction_id = 'b'"), 0);
    end(f, &third, RUN_COMPLETE, true);
    assert_true(clear_ms(f, 3000, 60000));
    /* One without a time, shown in another window. */
    third = begin(f, 0, 60, 400);
    show_bad(f, &third, "d", NO_TIME, 401);
    end(f, &third, RUN_COMPLETE, true);
    fourth = begin(f, 200, 260, 500);
    show_bad(f, &fourth, "d", NO_TIME, 501);
    end(f, &fourth, RUN_COMPLETE, true);
    assert_false(clear_ms(f, 200000, 260000));
}

/* A lane that began earlier and ended later than another was shown what that one was not. */
static void hole_is_no_evidence(void **state)
{
    struct fixture *f = *state;
    struct sync_run earlier = begin(f, 0, 60, 100);
    int64_t later = read_window(f, 0, 60, 200, true);
    struct ids found = {.n = 0};
    struct error err = {0};

    show_bad(f, &earlier, "b", NO_TIME, 201);
    end(f, &earlier, RUN_COMPLETE, true);
    assert_true(clear_ms(f, 0, 60000));
    ok(coverage_runs(f->db, s(0), s(60), &(struct coverage_demand){.proof = true, .clear = true},
                     collect_id, &found, &err),
       &err);
    assert_int_equal(found.n, 1);
    assert_int_equal(found.items[0], later);
}

/* --- passes as rows -----------------------------------------------------------------------------
 */

static int64_t past_pass(struct fixture *f, int64_t from, int64_t to, const char *digest,
                         const char *outcome)
{
    struct sync_run run = begin(f, from, to, 50);
    struct error err = {0};

    snprintf(run.digest, sizeof(run.digest), "%s", digest);
    run.rows_read = 7;
    ok(sync_run_advance(f->db, &run, &err), &err);
    ok(db_run(f->db, &err, "UPDATE sync_runs SET outcome = ?2 WHERE run_id = ?1", "it", run.id,
              outcome),
       &err);
    return run.id;
}

static void assert_twin(struct fixture *f, const char *digest, const char *outcome, int64_t from,
                        int64_t to, int expected)
{
    struct sync_run run;
    struct error err = {0};

    fixture_sql(f, "DELETE FROM sync_runs");
    past_pass(f, from, to, digest, outcome);
    run = begin(f, 0, 60, 100);
    snprintf(run.digest, sizeof(run.digest), "same");
    run.rows_read = 7;
    assert_int_equal(sync_run_has_twin(f->db, &run, &err), expected);
}

static void twin_is_an_earlier_pass_with_the_same_rows_over_the_same_window(void **state)
{
    struct fixture *f = *state;
    struct sync_run run;
    struct error err = {0};

    assert_twin(f, "same", "complete", 0, 60, 1);
    assert_twin(f, "same", "drifted", 0, 60, 1);
    assert_twin(f, "same", "failed", 0, 60, 0);
    assert_twin(f, "same", "running", 0, 60, 0);
    assert_twin(f, "other", "complete", 0, 60, 0);
    assert_twin(f, "same", "complete", -1, 60, 0);
    assert_twin(f, "same", "complete", 1, 60, 0);
    assert_twin(f, "same", "complete", 0, 59, 0);
    assert_twin(f, "same", "complete", 0, 61, 0);
    fixture_sql(f, "DELETE FROM sync_runs");
    run = begin(f, 0, 60, 100);
    snprintf(run.digest, sizeof(run.digest), "same");
    run.rows_read = 7;
    past_pass(f, 0, 60, "same", "complete");
    assert_int_equal(sync_run_has_twin(f->db, &run, &err), 0);
}

static void digest_is_of_rows_in_their_order(void **state)
{
    struct fixture *f = *state;
    struct sync_run one = begin(f, 0, 60, 100), other = begin(f, 0, 60, 100);

    show(f, &one, sale("a", 1), 101);
    show(f, &other, sale("b", 1), 101);
    assert_string_not_equal(one.digest, other.digest);
    show(f, &one, sale("b", 1), 101);
    show(f, &other, sale("a", 1), 101);
    assert_string_not_equal(one.digest, other.digest);
    one = begin(f, 0, 60, 100);
    other = begin(f, 0, 60, 100);
    show_bad(f, &one, "a", 1000, 101);
    show_bad(f, &other, "b", 1000, 101);
    assert_string_not_equal(one.digest, other.digest);
}

static void rows_are_counted(void **state)
{
    struct fixture *f = *state;
    struct sync_run run = begin(f, 0, 60, 100), next = begin(f, 0, 60, 200);

    show(f, &run, sale("a", 1), 101);
    show_bad(f, &run, "b", 1000, 101);
    assert_int_equal(run.repeats, 0);
    show(f, &run, sale("a", 1), 102);
    assert_int_equal(run.repeats, 1);
    show_bad(f, &run, "b", 1000, 102);
    assert_int_equal(run.repeats, 2);
    assert_int_equal(run.rows_read, 4);
    assert_int_equal(run.rows_bad, 2);
    assert_int_equal(run.rows_bad_new, 1);
    assert_int_equal(run.rows_new, 1);
    show(f, &next, sale("a", 1), 201);
    show_bad(f, &next, "b", 1000, 201);
    assert_int_equal(next.repeats, 0);
    assert_int_equal(next.rows_new + next.rows_bad_new, 0);
}

static void pass_is_resumed_by_its_own_lane_until_it_ends(void **state)
{
    struct fixture *f = *state;
    struct sync_run run = begin(f, 0, 60, 100), found = {0};
    struct error err = {0};

    assert_int_equal(sync_run_resume(f->db, PURPOSE_DEEP, &found, &err), 0);
    run.next_page = 4;
    run.rows_read = 30;
    ok(sync_run_advance(f->db, &run, &err), &err);
    assert_int_equal(sync_run_resume(f->db, PURPOSE_RECENT, &found, &err), 1);
    assert_int_equal(found.id, run.id);
    assert_int_equal(found.next_page, 4);
    assert_int_equal(found.rows_read, 30);
    assert_int_equal(found.total, -1);
    end(f, &run, RUN_DRIFTED, false);
    assert_int_equal(sync_run_resume(f->db, PURPOSE_RECENT, &found, &err), 0);
}

static void passes_of_the_future_are_given_up(void **state)
{
    struct fixture *f = *state;
    struct sync_run ended = begin(f, 0, 60, 300);
    struct error err = {0};

    end(f, &ended, RUN_COMPLETE, true);
    begin(f, 0, 60, 100);
    begin(f, 0, 60, 101);
    ok(sync_run_give_up(f->db, false, s(100), "why", &err), &err);
    assert_int_equal(number(f, "SELECT count(*) FROM sync_runs WHERE outcome = 'running'"), 1);
    assert_int_equal(number(f, "SELECT count(*) FROM sync_runs WHERE outcome = 'complete'"), 1);
    ok(sync_run_give_up(f->db, true, s(100), "why", &err), &err);
    assert_int_equal(number(f, "SELECT count(*) FROM sync_runs WHERE outcome = 'running'"), 0);
    assert_int_equal(number(f, "SELECT count(*) FROM sync_runs WHERE outcome = 'complete'"), 1);
}

static void pass_on_which_something_rests_is_not_pruned(void **state)
{
    struct fixture *f = *state;
    struct sync_run shows_bad = begin(f, 0, 60, 10);
    struct error err = {0};
    int64_t evidence, replaced;

    show_bad(f, &shows_bad, "b", 1000, 11);
    end(f, &shows_bad, RUN_FAILED, false);
    evidence = read_window(f, 100, 160, 10, true);
    replaced = read_window(f, 100, 160, 20, true);
    read_window(f, 100, 160, 30, true);
    fixture_order(f, "A", 4900, "2026-11-22T09:00:30.000Z", "", "not_charged");
    ok(orders_add_evidence(f->db, 1, evidence, &err), &err);
    ok(sync_run_prune(f->db, s(1000), &err), &err);
    assert_int_equal(number(f, "SELECT count(*) FROM sync_runs"), 3);
    ok(db_run(f->db, &err, "DELETE FROM sync_runs WHERE run_id = ?", "i", replaced), &err);
    assert_int_equal(db_changes(f->db), 0);
}

static void assert_refused(struct fixture *f, const char *sql)
{
    struct error err = {0};

    if (db_exec(f->db, sql, &err) >= 0)
        fail_msg("this was done: %s", sql);
}

static void evidence_cannot_be_taken_away(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};

    read_window(f, 0, 60, 100, true);
    read_window(f, 0, 60, 200, true);
    fixture_order(f, "A", 4900, "2026-11-22T09:00:30.000Z", "", "not_charged");
    ok(orders_add_evidence(f->db, 1, 1, &err), &err);
    fixture_sql(f, "INSERT INTO verdict_sales VALUES (1, 'sale', 'time differs', 0)");
    fixture_sql(f, "PRAGMA foreign_keys=OFF"); /* as anybody may who opens the file */
    assert_refused(f, "DELETE FROM sync_runs WHERE run_id = 1");
    assert_refused(f, "UPDATE sync_runs SET began_at = '2020-01-01' WHERE run_id = 1");
    assert_refused(f, "DELETE FROM verdict_runs");
    assert_refused(f, "UPDATE verdict_runs SET run_id = 2");
    assert_refused(f, "DELETE FROM verdict_sales");
    assert_refused(f, "UPDATE verdict_sales SET assigned = 1");
    assert_refused(f, "DELETE FROM verdicts");
    assert_refused(f, "UPDATE verdicts SET reason = 'another'");
    fixture_sql(f, "UPDATE sync_runs SET detail = 'so' WHERE run_id = 2");
    fixture_sql(f, "DELETE FROM sync_runs WHERE run_id = 2");
}

/* --- records that are known ---------------------------------------------------------------------
 */

static int64_t missing(struct fixture *f, const struct sync_run *run)
{
    struct error err = {0};
    int64_t n;

    ok(transactions_missing(f->db, run, &n, &err), &err);
    return n;
}

static int64_t note_missing(struct fixture *f, const struct sync_run *run)
{
    struct error err = {0};
    int64_t vanished;

    ok(transactions_note_missing(f->db, run, run->began_at, &vanished, &err), &err);
    return vanished;
}

/* What is within five seconds of a window's ends may be shown or not. */
static void record_is_missing_from_well_within_the_window(void **state)
{
    struct fixture *f = *state;
    struct sync_run first = begin(f, 0, 60, 100), second, beside;

    show(f, &first, sale("at 4", 4), 101);
    show(f, &first, sale("at 56", 56), 101);
    second = begin(f, 0, 60, 200);
    assert_int_equal(missing(f, &second), 0);
    assert_int_equal(note_missing(f, &second), 0);
    assert_int_equal(number(f, "SELECT count(missed_at) FROM transactions"), 0);
    show(f, &first, sale("at 5", 5), 101);
    show(f, &first, sale("at 55", 55), 101);
    assert_int_equal(missing(f, &second), 2);
    /* Another lane has just been shown it. */
    beside = begin(f, 0, 60, 200);
    show(f, &beside, sale("at 5", 5), 200);
    assert_int_equal(missing(f, &second), 1);
    show(f, &second, sale("at 55", 55), 200);
    assert_int_equal(missing(f, &second), 0);
}

static void record_vanishes_when_it_is_missed_twice(void **state)
{
    struct fixture *f = *state;
    struct sync_run run = begin(f, 0, 60, 100), beside;

    show(f, &run, sale("a", 30), 101);
    show(f, &run, sale("b", 31), 101);
    run = begin(f, 0, 60, 200);
    show(f, &run, sale("b", 31), 201);
    assert_int_equal(note_missing(f, &run), 0);
    assert_int_equal(number(f, "SELECT count(missed_at) FROM transactions"), 1);
    /* Shown to another lane meanwhile, it is not missed; nor does it vanish. */
    run = begin(f, 0, 60, 300);
    beside = begin(f, 0, 60, 300);
    show(f, &beside, sale("b", 31), 301);
    fixture_sql(f, "UPDATE transactions SET last_seen_at = (SELECT last_seen_at FROM transactions"
                   " WHERE transaction_id = 'b') WHERE transaction_id = 'a'");
    assert_int_equal(note_missing(f, &run), 0);
    assert_int_equal(number(f, "SELECT count(missed_at) FROM transactions"), 1);
    /* Shown again, it begins anew. */
    run = begin(f, 0, 60, 400);
    show(f, &run, sale("a", 30), 401);
    show(f, &run, sale("b", 31), 401);
    assert_int_equal(number(f, "SELECT count(missed_at) FROM transactions"), 0);
    run = begin(f, 0, 60, 500);
    show(f, &run, sale("b", 31), 501);
    assert_int_equal(note_missing(f, &run), 0);
    run = begin(f, 0, 60, 600);
    show(f, &run, sale("b", 31), 601);
    assert_int_equal(missing(f, &run), 1);
    assert_int_equal(note_missing(f, &run), 1);
    assert_int_equal(missing(f, &run), 0);
    run = begin(f, 0, 60, 700);
    show(f, &run, sale("b", 31), 701);
    assert_int_equal(note_missing(f, &run), 0);
    assert_int_equal(
        number(f, "SELECT count(*) FROM transactions t JOIN sync_runs m ON m.began_at = t.missed_at"
                  " JOIN sync_runs v ON v.began_at = t.vanished_at"
                  " WHERE t.transaction_id = 'a' AND m.run_id = 6 AND v.run_id = 7"),
        1);
    run = begin(f, 0, 60, 800);
    show(f, &run, sale("a", 30), 801);
    assert_int_equal(number(f, "SELECT count(vanished_at) FROM transactions"), 0);
}

static void seal(struct fixture *f)
{
    fixture_sql(f, "UPDATE orders SET sealed = 1");
}

static int64_t sealed(struct fixture *f)
{
    return number(f, "SELECT sealed FROM orders WHERE order_id = 'A'");
}

static void sealed_order_is_opened_by_what_concerns_it(void **state)
{
    struct fixture *f = *state;
    struct sync_run run = begin(f, 0, 60, 100);
    struct transaction t = sale("sale", 30);

    show(f, &run, t, 101);
    fixture_order(f, "A", 4900, "2026-11-22T09:00:30.000Z", "", "charged");
    fixture_sql(f, "INSERT INTO verdict_sales VALUES (1, 'sale', 'identity', 1)");
    seal(f);
    show(f, &run, t, 102); /* nothing new */
    assert_int_equal(sealed(f), 1);
    snprintf(t.status, sizeof(t.status), "declined");
    show(f, &run, t, 102);
    assert_int_equal(sealed(f), 0);
    seal(f);
    t = sale("void", 40);
    snprintf(t.original_id, sizeof(t.original_id), "sale");
    show(f, &run, t, 103);
    assert_int_equal(sealed(f), 0);
    seal(f);
    t = sale("other", 41);
    show(f, &run, t, 104);
    assert_int_equal(sealed(f), 1);
    t = sale("referring", 41);
    snprintf(t.order_ref, sizeof(t.order_ref), "A");
    show(f, &run, t, 105);
    assert_int_equal(sealed(f), 0);
    seal(f);
    t = sale("declined", 42);
    snprintf(t.order_ref, sizeof(t.order_ref), "A");
    snprintf(t.status, sizeof(t.status), "declined");
    show(f, &run, t, 106);
    assert_int_equal(sealed(f), 0);
    seal(f);
    /* It vanishes, and comes back. */
    t = sale("sale", 30);
    snprintf(t.status, sizeof(t.status), "declined");
    run = begin(f, 0, 60, 200);
    note_missing(f, &run);
    assert_int_equal(sealed(f), 1);
    run = begin(f, 0, 60, 300);
    note_missing(f, &run);
    assert_int_equal(sealed(f), 0);
    seal(f);
    show(f, &run, t, 301);
    assert_int_equal(sealed(f), 0);
}

/* --- how late records come ----------------------------------------------------------------------
 */

static int64_t late_of(struct fixture *f, const char *id)
{
    struct error err = {0};
    int64_t late;

    ok(db_value(f->db, &late, -1, &err, "SELECT late_ms FROM transactions WHERE transaction_id = ?",
                "t", id),
       &err);
    return late;
}

static void record_is_late_when_a_proof_had_not_shown_it(void **state)
{
    struct fixture *f = *state;
    struct sync_run run;

    read_window(f, 0, 60, 100, true);
    read_window(f, 60, 120, 130, false);
    run = begin(f, 0, 200, 210);
    show(f, &run, sale("proved", 30), 230);
    show(f, &run, sale("unproved", 90), 230);
    show(f, &run, sale("unread", 150), 230);
    assert_int_equal(late_of(f, "proved"), 200000);
    assert_int_equal(late_of(f, "unproved"), 0);
    assert_int_equal(late_of(f, "unread"), 0);
    show(f, &run, sale("proved", 30), 240);
    assert_int_equal(late_of(f, "proved"), 200000);
    /* Nobody watched for what is days old. */
    read_window(f, -400000, -390000, 100, true);
    show(f, &run, sale("old", -395000), 230);
    assert_int_equal(late_of(f, "old"), -1);
}

static int64_t lateness(struct fixture *f, int64_t since)
{
    struct error err = {0};
    int64_t late;

    ok(transactions_lateness(f->db, s(since), &late, &err), &err);
    return late;
}

static void late_records(struct fixture *f, struct sync_run *run, int64_t n, int64_t shown)
{
    for (int64_t i = 0; i < n; i++) {
        char id[32];

        snprintf(id, sizeof(id), "%lld-%lld", (long long)shown, (long long)i);
        show(f, run, sale(id, i % 50), shown + i % 50);
    }
}

static void latest_hundredth_of_the_records_counts(void **state)
{
    struct fixture *f = *state;
    struct sync_run run = begin(f, 0, 60, 50);

    late_records(f, &run, 500, 0); /* in time */
    assert_int_equal(lateness(f, 0), 0);
    read_window(f, 0, 60, 100, true);
    late_records(f, &run, 2, 400);
    assert_int_equal(lateness(f, 0), 0);
    late_records(f, &run, 3, 300);
    late_records(f, &run, 1, 500);
    /* Six of some five hundred: the sixth. */
    assert_int_equal(lateness(f, 0), 300000);
    /* What was seen before is not looked at; of few records, the third counts. */
    assert_int_equal(lateness(f, 300), 400000);
    assert_int_equal(lateness(f, 400), 400000);
    assert_int_equal(lateness(f, 401), 0);
}

/* --- absence ------------------------------------------------------------------------------------
 */

/* Two attempts, the later one first; window [880, 1300], grace until 1600. */
static const struct match_settings settings = {
    .before = 120000, .after = 300000, .absence_grace = 600000, .late_watch = 7200000};
enum { FIRST = 1000, LAST = 1010, RIPE = 1610, FROM = 880 };

static enum absence absence_with(struct fixture *f, int64_t ms, int64_t grace, int64_t now)
{
    const struct match_attempt attempts[] = {
        {.at = s(LAST) + ms}, {.at = s(FIRST) + ms}, {.at = s(FIRST) + ms + 1}};
    const struct match_order order = {.id = "A", .attempts = attempts, .n_attempts = 3};
    struct match_settings with = settings;
    enum absence absence = ABSENCE_STANDS;
    struct error err = {0};
    int64_t since;

    with.absence_grace = grace;
    ok(reconcile_absence(f->db, &order, VERDICT_PENDING, &with, now, &absence, &since, &err), &err);
    assert_int_equal(since, s(LAST) + ms + grace + 1);
    return absence;
}

static enum absence absence(struct fixture *f)
{
    return absence_with(f, 0, 600000, s(9000));
}

static void between(struct fixture *f, int64_t origin, int64_t edge)
{
    char text[TIMESTAMP_TEXT_SIZE];
    struct error err = {0};

    ok(ledger_set_meta(f->db, SYNC_ORIGIN, timestamp_format(s(origin), text), &err), &err);
    ok(ledger_set_meta(f->db, SYNC_EDGE, timestamp_format(s(edge), text), &err), &err);
}

static enum absence absence_for(struct fixture *f, enum verdict said, int64_t *ret_since)
{
    const struct match_attempt attempt = {.at = s(LAST)};
    const struct match_order order = {.id = "A", .attempts = &attempt, .n_attempts = 1};
    enum absence absence = ABSENCE_STANDS;
    struct error err = {0};

    ok(reconcile_absence(f->db, &order, said, &settings, s(9000), &absence, ret_since, &err), &err);
    return absence;
}

/* A clock that was set ahead holds back what is about to be said, and takes nothing back. */
static void absence_is_held_back_and_not_taken_back(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    int64_t since;

    between(f, 0, 0);
    read_window(f, FROM, RIPE, RIPE + 1, true);
    assert_int_equal(absence_for(f, VERDICT_PENDING, &since), ABSENCE_PROVEN);
    ok(absence_hold(f->db, s(5000), &err), &err);
    assert_int_equal(absence_for(f, VERDICT_PENDING, &since), ABSENCE_UNPROVEN);
    assert_int_equal(since, s(5000) + 1);
    assert_int_equal(absence_for(f, VERDICT_CHARGED, &since), ABSENCE_UNPROVEN);
    assert_int_equal(absence_for(f, VERDICT_NOT_CHARGED, &since), ABSENCE_PROVEN);
    assert_int_equal(absence_for(f, VERDICT_REVERSED, &since), ABSENCE_PROVEN);
    assert_int_equal(since, s(RIPE) + 1);
    read_window(f, FROM, RIPE, 5000, true); /* began with the hold's last instant */
    assert_int_equal(absence_for(f, VERDICT_PENDING, &since), ABSENCE_UNPROVEN);
    read_window(f, FROM, RIPE, 5001, true);
    assert_int_equal(absence_for(f, VERDICT_PENDING, &since), ABSENCE_PROVEN);
}

static void absence_is_proved_by_the_whole_window_after_the_grace(void **state)
{
    struct fixture *f = *state;

    between(f, 0, 0);
    assert_int_equal(absence(f), ABSENCE_UNPROVEN);
    read_window(f, FROM, RIPE, RIPE + 1, false);
    assert_int_equal(absence(f), ABSENCE_UNPROVEN);
    read_window(f, FROM, RIPE, RIPE, true); /* began with the grace's last instant */
    assert_int_equal(absence(f), ABSENCE_UNPROVEN);
    read_window(f, FROM, RIPE - 1, RIPE + 1, true); /* the grace's last second is missing */
    assert_int_equal(absence(f), ABSENCE_UNPROVEN);
    read_window(f, RIPE - 1, RIPE, RIPE + 1, true);
    assert_int_equal(absence(f), ABSENCE_PROVEN);
    /* By a clock that was set back since, neither the grace nor the window is over. */
    assert_int_equal(absence_with(f, 0, 600000, s(RIPE)), ABSENCE_UNPROVEN);
    assert_int_equal(absence_with(f, 0, 600000, s(RIPE) + 1), ABSENCE_PROVEN);
    /* The grace ends within the window. */
    assert_int_equal(absence_with(f, 0, 100000, s(LAST + 299)), ABSENCE_UNPROVEN);
    assert_int_equal(absence_with(f, 0, 100000, s(LAST + 300)), ABSENCE_PROVEN);
}

static void absence_needs_the_windows_first_second(void **state)
{
    struct fixture *f = *state;

    between(f, 0, 0);
    read_window(f, FROM + 1, RIPE, RIPE + 1, true);
    assert_int_equal(absence(f), ABSENCE_UNPROVEN);
    read_window(f, FROM, FROM + 1, RIPE + 1, true);
    assert_int_equal(absence(f), ABSENCE_PROVEN);
}

static void half_a_window_on_either_side_proves_nothing(void **state)
{
    struct fixture *f = *state;

    between(f, 0, 0);
    read_window(f, FROM, 1200, RIPE + 1, true);
    assert_int_equal(absence(f), ABSENCE_UNPROVEN);
    read_window(f, 1201, RIPE, RIPE + 1, true);
    assert_int_equal(absence(f), ABSENCE_UNPROVEN);
    read_window(f, 1200, 1201, RIPE + 1, true);
    assert_int_equal(absence(f), ABSENCE_PROVEN);
}

/* What is no whole second is rounded outwards, so a hole that ends within the second counts. */
static void hole_within_the_windows_first_or_last_second_blocks(void **state)
{
    struct fixture *f = *state;
    struct sync_run run = begin(f, 0, 2000, 3000);

    between(f, 0, 0);
    /* First attempt - before is 880.5; the hole ends at 880.3. */
    show_bad(f, &run, "b", 880300 - 1001, 3001);
    end(f, &run, RUN_COMPLETE, true);
    assert_int_equal(absence_with(f, 500, 600000, s(9000)), ABSENCE_BLOCKED);
    assert_int_equal(absence_with(f, 1500, 600000, s(9000)), ABSENCE_PROVEN);
    fixture_sql(f, "DELETE FROM quarantine");
    /* Last attempt + after is 1310.5, and the grace is over before; the hole begins at 1310.7. */
    run = begin(f, 0, 2000, 4000);
    show_bad(f, &run, "b", 1310700 + 1001, 4001);
    end(f, &run, RUN_COMPLETE, true);
    assert_int_equal(absence_with(f, 500, 100000, s(9000)), ABSENCE_BLOCKED);
    assert_int_equal(absence_with(f, -500, 100000, s(9000)), ABSENCE_PROVEN);
}

static void unreadable_record_blocks(void **state)
{
    struct fixture *f = *state;
    struct sync_run run = begin(f, FROM, RIPE, RIPE + 1);

    between(f, 0, 0);
    show_bad(f, &run, "b", 1200000, RIPE + 1);
    end(f, &run, RUN_COMPLETE, true);
    assert_int_equal(absence(f), ABSENCE_BLOCKED);
}

/* It was created long after its own time, and shown by another pass. */
static void unreadable_record_blocks_by_its_own_time(void **state)
{
    static const struct {
        int64_t ms;
        enum absence absence;
    } cases[] = {{880000 - 1, ABSENCE_PROVEN},
                 {880000, ABSENCE_BLOCKED},
                 {1200000, ABSENCE_BLOCKED},
                 {1610000, ABSENCE_BLOCKED},
                 {1610000 + 1, ABSENCE_PROVEN}};
    struct fixture *f = *state;
    struct sync_run run = begin(f, 5000, 6000, 6000);
    struct error err = {0};

    between(f, 0, 0);
    read_window(f, FROM, RIPE, RIPE + 1, true);
    show_bad(f, &run, "b", 5500000, 6001);
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        ok(db_run(f->db, &err, "UPDATE quarantine SET transacted_at = ?", "T", T0 + cases[i].ms),
           &err);
        assert_int_equal(absence(f), cases[i].absence);
    }
}

/* A record that carries the order's id counts from as far away as `late_watch`. */
static void absence_is_not_said_while_something_around_is_unread(void **state)
{
    struct fixture *f = *state;

    read_window(f, FROM, RIPE, RIPE + 1, true);
    assert_int_equal(absence(f), ABSENCE_PROVEN); /* nothing else was ever asked for */
    between(f, -50000, 50000);
    read_window(f, RIPE, LAST + 7200, 8500, false);
    assert_int_equal(absence(f), ABSENCE_UNPROVEN);
    read_window(f, FIRST - 7200, FROM - 1, 8500, false);
    assert_int_equal(absence(f), ABSENCE_UNPROVEN);
    read_window(f, FROM - 1, FROM, 8500, false);
    assert_int_equal(absence(f), ABSENCE_PROVEN);
    fixture_sql(f, "DELETE FROM coverage WHERE run_id = 2");
    assert_int_equal(absence(f), ABSENCE_UNPROVEN);
    between(f, -50000, RIPE);
    assert_int_equal(absence(f), ABSENCE_PROVEN);
    fixture_sql(f, "DELETE FROM coverage WHERE run_id > 1");
    assert_int_equal(absence(f), ABSENCE_UNPROVEN);
    between(f, FROM, RIPE);
    assert_int_equal(absence(f), ABSENCE_PROVEN);
}

/* --- verdicts of absence ------------------------------------------------------------------------
 */

static void on_verdict(const struct verdict_change *change, void *userdata)
{
    (void)change;
    (void)userdata;
}

static void decide(struct fixture *f, int64_t grace, int64_t now)
{
    const struct reconcile_listener listener = {.changed = on_verdict};
    struct match_settings with = settings;
    struct error err = {0};

    with.absence_grace = grace * 1000;
    ok(reconcile_run(f->db, &with, s(now), &listener, &err), &err);
}

static void order_a(struct fixture *f)
{
    char at[TIMESTAMP_TEXT_SIZE];

    between(f, 0, 0);
    fixture_order(f, "A", 4900, timestamp_format(s(FIRST + 10), at), "4242", "pending");
}

static void assert_verdict(struct fixture *f, const char *verdict)
{
    struct db_stmt *stmt = NULL;
    struct error err = {0};

    ok(db_query(f->db, &stmt, &err, "SELECT verdict FROM orders WHERE order_id = 'A'", ""), &err);
    assert_int_equal(db_step(f->db, stmt, &err), 1);
    assert_string_equal(db_text(stmt, 0), verdict);
    db_done(stmt);
}

static void verdict_names_the_passes_that_it_rests_on(void **state)
{
    struct fixture *f = *state;
    int64_t first, second;

    order_a(f);
    read_window(f, 500, 890, RIPE - 100, true); /* touches the window; began too early */
    first = read_window(f, 890, 1200, RIPE + 1, true);
    second = read_window(f, 1200, RIPE, RIPE + 2, true);
    read_window(f, 1000, 1400, RIPE + 3, false); /* proves nothing */
    read_window(f, RIPE + 1, 3000, RIPE + 4, true);
    assert_verdict(f, "pending");
    decide(f, 600, 5000);
    assert_verdict(f, "not_charged");
    assert_int_equal(number(f, "SELECT count(*) FROM verdict_runs"), 2);
    assert_int_equal(number(f, "SELECT min(run_id) FROM verdict_runs"), first);
    assert_int_equal(number(f, "SELECT max(run_id) FROM verdict_runs"), second);
}

static void decision_of_a_person_rests_on_no_pass(void **state)
{
    struct fixture *f = *state;

    order_a(f);
    read_window(f, 500, 3000, 3000, true);
    fixture_sql(f, "INSERT INTO resolutions (queue_key, order_id, decision, note, decided_by,"
                   " decided_at) VALUES ('k', 'A', 'not_charged', 'so', 'me',"
                   " '2026-11-22T09:00:00.000Z')");
    decide(f, 600, 5000);
    assert_verdict(f, "not_charged");
    assert_int_equal(number(f, "SELECT count(*) FROM verdict_runs"), 0);
}

static void absence_that_was_said_stands_when_more_is_asked_for(void **state)
{
    struct fixture *f = *state;

    order_a(f);
    read_window(f, 500, 3000, 3000, true);
    decide(f, 600, 3001);
    assert_verdict(f, "not_charged");
    decide(f, 3600, 3002);
    assert_verdict(f, "not_charged");
    assert_int_equal(number(f, "SELECT count(*) FROM verdicts"), 1);
}

static void absence_that_was_not_said_does_not_stand(void **state)
{
    struct fixture *f = *state;

    order_a(f);
    read_window(f, 500, 3000, 3000, false);
    decide(f, 600, 3001);
    assert_verdict(f, "pending");
}

static void absence_does_not_stand_against_an_unreadable_record(void **state)
{
    struct fixture *f = *state;
    struct sync_run run;

    order_a(f);
    read_window(f, 500, 3000, 3000, true);
    decide(f, 600, 3001);
    run = begin(f, 500, 3000, 4000);
    show_bad(f, &run, "b", 1100000, 4001);
    end(f, &run, RUN_COMPLETE, true);
    decide(f, 600, 4002);
    assert_verdict(f, "needs_review");
}

/* The clock was ahead when it was said: what was read then is forgotten, and so is this. */
static void absence_does_not_stand_that_was_said_by_a_clock_that_was_ahead(void **state)
{
    struct fixture *f = *state;

    order_a(f);
    read_window(f, 500, 3000, 3000, true);
    decide(f, 600, 3001);
    fixture_sql(f, "DELETE FROM coverage");
    decide(f, 600, 3001);
    assert_verdict(f, "not_charged");
    decide(f, 600, 3000);
    assert_verdict(f, "pending");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(map_agrees_with_its_oracle),
        TEST(demand_begins_at_its_instant),
        TEST(coverage_from_the_future_is_forgotten),
        TEST(hole_is_a_second_on_each_side),
        TEST(hole_ends_with_its_window),
        TEST(record_without_a_time_may_lie_anywhere_in_its_window),
        TEST(hole_is_where_its_record_was_shown),
        TEST(hole_goes_with_its_record),
        TEST(hole_is_no_evidence),
        TEST(twin_is_an_earlier_pass_with_the_same_rows_over_the_same_window),
        TEST(digest_is_of_rows_in_their_order),
        TEST(rows_are_counted),
        TEST(pass_is_resumed_by_its_own_lane_until_it_ends),
        TEST(passes_of_the_future_are_given_up),
        TEST(pass_on_which_something_rests_is_not_pruned),
        TEST(evidence_cannot_be_taken_away),
        TEST(record_is_missing_from_well_within_the_window),
        TEST(record_vanishes_when_it_is_missed_twice),
        TEST(sealed_order_is_opened_by_what_concerns_it),
        TEST(record_is_late_when_a_proof_had_not_shown_it),
        TEST(latest_hundredth_of_the_records_counts),
        TEST(absence_is_proved_by_the_whole_window_after_the_grace),
        TEST(absence_is_held_back_and_not_taken_back),
        TEST(absence_needs_the_windows_first_second),
        TEST(half_a_window_on_either_side_proves_nothing),
        TEST(hole_within_the_windows_first_or_last_second_blocks),
        TEST(unreadable_record_blocks),
        TEST(unreadable_record_blocks_by_its_own_time),
        TEST(absence_is_not_said_while_something_around_is_unread),
        TEST(verdict_names_the_passes_that_it_rests_on),
        TEST(decision_of_a_person_rests_on_no_pass),
        TEST(absence_that_was_said_stands_when_more_is_asked_for),
        TEST(absence_that_was_not_said_does_not_stand),
        TEST(absence_does_not_stand_against_an_unreadable_record),
        TEST(absence_does_not_stand_that_was_said_by_a_clock_that_was_ahead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
