#include "store/status.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "core/interval.h"
#include "core/rate_budget.h"
#include "store/ledger.h"

/* Longer than any wait that a cycle can need between two questions. */
enum { CYCLE_MAX_MS = 15 * 60 * 1000 };

static int read_state(struct db *db, struct status *s, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(db, &stmt, err,
                 "SELECT pid, version, started_at, updated_at, stopped_at, cycle_began_at,"
                 " cycle_ended_at, cycle_outcome, edge, origin, rate_limit, stretched, api_state,"
                 " api_checked_at, vault_state, sessions_waiting FROM daemon_state",
                 "");
    if (r == 0)
        r = db_step(db, stmt, err);
    if (r <= 0)
        return r;
    s->ran = true;
    s->pid = db_int(stmt, 0);
    db_copy(stmt, 1, s->version, sizeof(s->version));
    s->started_at = db_time(stmt, 2);
    s->updated_at = db_time(stmt, 3);
    s->stopped_at = db_time(stmt, 4);
    s->cycle_began_at = db_time(stmt, 5);
    s->cycle_ended_at = db_time(stmt, 6);
    db_copy(stmt, 7, s->cycle_outcome, sizeof(s->cycle_outcome));
    s->edge = db_time(stmt, 8);
    s->origin = db_time(stmt, 9);
    s->rate_limit = db_int(stmt, 10);
    s->stretched = db_int(stmt, 11) != 0;
    db_copy(stmt, 12, s->api_state, sizeof(s->api_state));
    s->api_checked_at = db_time(stmt, 13);
    db_copy(stmt, 14, s->vault_state, sizeof(s->vault_state));
    s->sessions_waiting = db_int(stmt, 15);
    db_done(stmt);
    return 0;
}

/* How much of [from, to] the set holds, in percent and rounded down, so that 100 means all of it.
 */
static int64_t percent_of(const struct interval_set *set, int64_t from, int64_t to)
{
    int64_t covered = 0;

    if (from < 0 || to < 0)
        return -1;
    if (from >= to)
        return 100;
    for (size_t i = 0; i < set->n; i++) {
        int64_t begin = set->items[i].from > from ? set->items[i].from : from;
        int64_t end = set->items[i].to < to ? set->items[i].to : to;

        if (begin < end)
            covered += end - begin;
    }
    return covered * 100 / (to - from);
}

static int read_coverage(struct db *db, struct status *s, struct error *err)
{
    _cleanup_(interval_set_clear) struct interval_set set = {0};
    struct db_stmt *stmt;
    int r;

    r = db_query(db, &stmt, err, "SELECT covered_from, covered_to, proof FROM coverage", "");
    if (r < 0)
        return r;
    while ((r = db_step(db, stmt, err)) > 0) {
        if (interval_set_add(&set, db_time(stmt, 0), db_time(stmt, 1)) < 0) {
            db_done(stmt);
            return error_set(err, -ENOMEM, "out of memory");
        }
        if (db_int(stmt, 2) && db_time(stmt, 1) > s->proven_to)
            s->proven_to = db_time(stmt, 1);
    }
    if (r < 0)
        return r;
    if (set.n > 0) {
        s->covered_from = set.items[0].from;
        s->covered_to = set.items[set.n - 1].to;
        s->gaps = (int64_t)set.n - 1;
    }
    s->backfill_percent = percent_of(&set, s->origin, s->edge);
    return 0;
}

static int read_orders(struct db *db, struct status *s, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(db, &stmt, err, "SELECT verdict, count(*) FROM orders GROUP BY verdict", "");
    if (r < 0)
        return r;
    while ((r = db_step(db, stmt, err)) > 0) {
        enum verdict verdict;

        if (verdict_from_name(db_text(stmt, 0), &verdict) == 0)
            s->orders[verdict] = db_int(stmt, 1);
    }
    return r;
}

static int read_rest(struct db *db, int64_t now, struct status *s, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(db, &stmt, err,
                 "SELECT (SELECT count(*) FROM quarantine),"
                 " (SELECT count(*) FROM rate_log WHERE requested_at > ?),"
                 " (SELECT coalesce(ended_at, began_at) FROM sync_runs"
                 " ORDER BY run_id DESC LIMIT 1)",
                 "T", now - RATE_WINDOW_MS);
    if (r == 0)
        r = db_step(db, stmt, err);
    if (r < 0)
        return r;
    s->quarantined = db_int(stmt, 0);
    s->requests_last_minute = db_int(stmt, 1);
    s->last_run_at = db_time(stmt, 2);
    db_done(stmt);
    return 0;
}

static int read_grace(struct db *db, struct status *s, struct error *err)
{
    char grace[24];
    int r = ledger_get_meta(db, "absence_grace_ms", grace, sizeof(grace), err);

    if (r == 0 && *grace)
        parse_int(grace, 0, INT64_MAX, &s->absence_grace);
    return r;
}

int status_read(struct db *ledger, int64_t now, struct status *ret, struct error *err)
{
    struct status s = {.started_at = -1,
                       .updated_at = -1,
                       .stopped_at = -1,
                       .cycle_began_at = -1,
                       .cycle_ended_at = -1,
                       .edge = -1,
                       .origin = -1,
                       .api_checked_at = -1,
                       .covered_from = -1,
                       .covered_to = -1,
                       .proven_to = -1,
                       .absence_grace = -1};
    int r;

    r = read_state(ledger, &s, err);
    if (r == 0)
        r = read_coverage(ledger, &s, err);
    if (r == 0)
        r = read_orders(ledger, &s, err);
    if (r == 0)
        r = read_rest(ledger, now, &s, err);
    if (r == 0)
        r = read_grace(ledger, &s, err);
    if (r < 0)
        return r;
    *ret = s;
    return 0;
}

bool status_is_late(const struct status *status, int64_t interval, int64_t now)
{
    return status->cycle_ended_at >= 0 &&
           now - status->cycle_ended_at > CYCLE_MAX_MS + 2 * interval;
}

int status_read_lateness(struct db *ledger, struct status_lateness *ret, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(ledger, &stmt, err, "SELECT median_s, p99_s, max_s FROM lateness", "");
    if (r == 0)
        r = db_step(ledger, stmt, err);
    if (r < 0)
        return r;
    *ret = (struct status_lateness){-1, -1, -1};
    if (!db_is_null(stmt, 0))
        *ret = (struct status_lateness){db_int(stmt, 0), db_int(stmt, 1), db_int(stmt, 2)};
    db_done(stmt);
    return 0;
}

/* By the verdict's number, so that a growing ledger is not read again and again. */
int status_count_revisions(struct db *ledger, struct status_revisions *counts, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(ledger, &stmt, err,
                 "SELECT coalesce(max(n.verdict_id), ?1), count(r.revision),"
                 " coalesce(sum(r.critical), 0) FROM verdicts n LEFT JOIN revisions r"
                 " ON r.order_id = n.order_id AND r.revision = n.revision WHERE n.verdict_id > ?1",
                 "i", counts->seen);
    if (r == 0)
        r = db_step(ledger, stmt, err);
    if (r < 0)
        return r;
    counts->seen = db_int(stmt, 0);
    counts->all += db_int(stmt, 1);
    counts->critical += db_int(stmt, 2);
    db_done(stmt);
    return 0;
}

int status_count_sessions(struct db *ledger, int64_t ret[REVOCATION_OUTCOMES], struct error *err)
{
    int64_t counts[REVOCATION_OUTCOMES] = {0};
    struct db_stmt *stmt;
    int r;

    r = db_query(ledger, &stmt, err,
                 "SELECT outcome, count(*) FROM session_revocations WHERE closed_at IS NOT NULL"
                 " GROUP BY outcome",
                 "");
    if (r < 0)
        return r;
    while ((r = db_step(ledger, stmt, err)) > 0)
        for (size_t i = 0; i < REVOCATION_OUTCOMES; i++)
            if (strcmp(db_text(stmt, 0), revocation_outcome_name((enum revocation_outcome)i)) == 0)
                counts[i] = db_int(stmt, 1);
    if (r == 0)
        memcpy(ret, counts, sizeof(counts));
    return r;
}
