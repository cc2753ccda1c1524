#include "store/sync_runs.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

_Static_assert(PURPOSE_ORDER == 0 && PURPOSE_COUNT == 4, "names below are in ledgers");
static const char *const purpose_names[] = {"order", "recent", "deep", "history"};
static const char *const outcome_names[] = {"complete", "drifted", "failed"};

const char *sync_purpose_name(enum sync_purpose purpose)
{
    return purpose_names[purpose];
}

int sync_run_begin(struct db *ledger, struct sync_run *run, struct error *err)
{
    int r;

    run->next_page = 1;
    run->rows_read = run->rows_new = run->rows_bad = run->rows_bad_new = run->repeats = 0;
    run->page_rows = run->total = -1;
    run->digest[0] = '\0';
    r = db_run(ledger, err,
               "INSERT INTO sync_runs (purpose, window_from, window_to, began_at, next_page,"
               " rows_read, rows_new, rows_bad, repeats, digest, outcome)"
               " VALUES (?, ?, ?, ?, 1, 0, 0, 0, 0, '', 'running')",
               "tTTT", purpose_names[run->purpose], run->from, run->to, run->began_at);
    if (r == 0)
        run->id = db_last_id(ledger);
    return r;
}

int sync_run_resume(struct db *ledger, enum sync_purpose purpose, struct sync_run *ret,
                    struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(ledger, &stmt, err,
                 "SELECT run_id, window_from, window_to, began_at, next_page, rows_read, rows_new,"
                 " rows_bad, page_rows, total, repeats, digest FROM sync_runs"
                 " WHERE outcome = 'running' AND purpose = ? ORDER BY run_id DESC LIMIT 1",
                 "t", purpose_names[purpose]);
    if (r == 0)
        r = db_step(ledger, stmt, err);
    if (r <= 0)
        return r;
    *ret = (struct sync_run){
        .id = db_int(stmt, 0),
        .purpose = purpose,
        .from = db_time(stmt, 1),
        .to = db_time(stmt, 2),
        .began_at = db_time(stmt, 3),
        .next_page = db_int(stmt, 4),
        .rows_read = db_int(stmt, 5),
        .rows_new = db_int(stmt, 6),
        .rows_bad = db_int(stmt, 7),
        .page_rows = db_is_null(stmt, 8) ? -1 : db_int(stmt, 8),
        .total = db_is_null(stmt, 9) ? -1 : db_int(stmt, 9),
        .repeats = db_int(stmt, 10),
    };
    db_copy(stmt, 11, ret->digest, sizeof(ret->digest));
    db_done(stmt);
    return 1;
}

int sync_run_advance(struct db *ledger, const struct sync_run *run, struct error *err)
{
    return db_run(ledger, err,
                  "UPDATE sync_runs SET next_page = ?2, rows_read = ?3, rows_new = ?4,"
                  " rows_bad = ?5, page_rows = ?6, total = ?7, repeats = ?8, digest = ?9"
                  " WHERE run_id = ?1",
                  "iiiiiNNit", run->id, run->next_page, run->rows_read, run->rows_new,
                  run->rows_bad, run->page_rows, run->total, run->repeats, run->digest);
}

int sync_run_end(struct db *ledger, const struct sync_run *run, enum run_outcome outcome,
                 bool proof, int64_t now, long http_status, const char *detail, struct error *err)
{
    return db_run(ledger, err,
                  "UPDATE sync_runs SET outcome = ?2, proof = ?3, ended_at = ?4,"
                  " http_status = ?5, detail = ?6 WHERE run_id = ?1",
                  "itbTNe", run->id, outcome_names[outcome], (int)proof, now,
                  http_status > 0 ? (int64_t)http_status : (int64_t)-1, detail);
}

int sync_run_give_up(struct db *ledger, bool all, int64_t now, const char *why, struct error *err)
{
    return db_run(ledger, err,
                  "UPDATE sync_runs SET outcome = 'failed', ended_at = ?2, detail = ?3"
                  " WHERE outcome = 'running' AND (?1 OR began_at > ?2)",
                  "bTt", (int)all, now, why);
}

int sync_run_has_twin(struct db *ledger, const struct sync_run *run, struct error *err)
{
    int64_t found;
    int r;

    r = db_value(ledger, &found, 0, err,
                 "SELECT 1 FROM sync_runs WHERE window_from = ?1 AND window_to = ?2"
                 " AND run_id < ?3 AND outcome IN ('complete', 'drifted') AND digest = ?4"
                 " AND rows_read = ?5 LIMIT 1",
                 "TTiti", run->from, run->to, run->id, run->digest, run->rows_read);
    return r < 0 ? r : (int)found;
}

int sync_run_prune(struct db *ledger, int64_t before, struct error *err)
{
    return db_run(ledger, err,
                  "DELETE FROM sync_runs WHERE ended_at < ?1"
                  " AND run_id NOT IN (SELECT run_id FROM coverage)"
                  " AND run_id NOT IN (SELECT run_id FROM verdict_runs)"
                  " AND run_id NOT IN (SELECT run_id FROM quarantine)",
                  "T", before);
}

/* --- coverage ------------------------------------------------------------------------------- */

static int insert_interval(struct db *ledger, int64_t run_id, int64_t from, int64_t to,
                           int64_t began_at, bool proof, bool clear, struct error *err)
{
    return db_run(ledger, err,
                  "INSERT INTO coverage (run_id, covered_from, covered_to, began_at, proof, clear)"
                  " VALUES (?, ?, ?, ?, ?, ?)",
                  "iTTTbb", run_id, from, to, began_at, (int)proof, (int)clear);
}

/* Older coverage of the same instants says nothing that the new pass does not say better, unless it
 * is a proof and the new one is none. What sticks out on either side stays. */
static int cut_older(struct db *ledger, const struct sync_run *run, bool proof, struct error *err)
{
    int r;

    r = db_run(ledger, err,
               "INSERT INTO coverage (run_id, covered_from, covered_to, began_at, proof, clear)"
               " SELECT run_id, ?2, covered_to, began_at, proof, clear FROM coverage"
               " WHERE covered_from < ?1 AND covered_to > ?2 AND began_at <= ?3 AND proof <= ?4",
               "TTTb", run->from, run->to, run->began_at, (int)proof);
    if (r == 0)
        r = db_run(ledger, err,
                   "UPDATE coverage SET covered_to = ?1 WHERE covered_from < ?1"
                   " AND covered_to > ?1 AND began_at <= ?2 AND proof <= ?3",
                   "TTb", run->from, run->began_at, (int)proof);
    if (r == 0)
        r = db_run(ledger, err,
                   "DELETE FROM coverage WHERE covered_from >= ?1 AND covered_to <= ?2"
                   " AND began_at <= ?3 AND proof <= ?4",
                   "TTTb", run->from, run->to, run->began_at, (int)proof);
    if (r == 0)
        r = db_run(ledger, err,
                   "UPDATE coverage SET covered_from = ?2 WHERE covered_from >= ?1"
                   " AND covered_from < ?2 AND covered_to > ?2 AND began_at <= ?3 AND proof <= ?4",
                   "TTTb", run->from, run->to, run->began_at, (int)proof);
    return r;
}

enum { HOLE_MARGIN_MS = 1001 };

/* Where quarantined records that this pass saw may lie. Another pass may have seen them since, so
 * they are found by time, not by pass. */
static int collect_holes(struct db *ledger, const struct sync_run *run, struct interval_set *holes,
                         struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(ledger, &stmt, err,
                 "SELECT created_at FROM quarantine WHERE last_seen_at >= ?3"
                 " AND coalesce(created_at, window_from) <= ?2"
                 " AND coalesce(created_at, window_to) >= ?1",
                 "TTT", run->from - HOLE_MARGIN_MS, run->to + HOLE_MARGIN_MS, run->began_at);
    while (r == 0 && (r = db_step(ledger, stmt, err)) > 0) {
        int64_t at = db_time(stmt, 0);

        r = at < 0 ? interval_set_add(holes, run->from, run->to)
                   : interval_set_add(holes, at - HOLE_MARGIN_MS, at + HOLE_MARGIN_MS);
        if (r < 0) {
            db_done(stmt);
            return error_set(err, r, "out of memory");
        }
    }
    return r;
}

static void interval_set_clear_p(struct interval_set *set)
{
    interval_set_clear(set);
}

int coverage_add(struct db *ledger, const struct sync_run *run, bool proof, struct error *err)
{
    _cleanup_(interval_set_clear_p) struct interval_set holes = {0}, clear = {0};
    int r;

    r = cut_older(ledger, run, proof, err);
    if (r == 0 && run->rows_bad > 0)
        r = collect_holes(ledger, run, &holes, err);
    if (r < 0)
        return r;
    r = interval_set_add(&clear, run->from, run->to);
    for (size_t i = 0; i < holes.n && r == 0; i++)
        r = interval_set_subtract(&clear, holes.items[i].from, holes.items[i].to);
    if (r < 0)
        return error_set(err, r, "out of memory");
    for (size_t i = 0; i < clear.n && r == 0; i++)
        r = insert_interval(ledger, run->id, clear.items[i].from, clear.items[i].to, run->began_at,
                            proof, true, err);
    for (size_t i = 0; i < holes.n && r == 0; i++) {
        int64_t from = holes.items[i].from < run->from ? run->from : holes.items[i].from;
        int64_t to = holes.items[i].to > run->to ? run->to : holes.items[i].to;

        if (from <= to)
            r = insert_interval(ledger, run->id, from, to, run->began_at, proof, false, err);
    }
    return r;
}

int coverage_forget_after(struct db *ledger, int64_t now, struct error *err)
{
    return db_run(ledger, err, "DELETE FROM coverage WHERE began_at > ?", "T", now);
}

int coverage_subtract(struct db *ledger, int64_t from, int64_t to,
                      const struct coverage_demand *demand, struct interval_set *set,
                      struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(ledger, &stmt, err,
                 "SELECT covered_from, covered_to FROM coverage WHERE covered_from <= ?2"
                 " AND covered_to >= ?1 AND began_at >= ?3 AND proof >= ?4 AND clear >= ?5"
                 " AND covered_from >= ?6",
                 "TTTbbT", from, to, demand->since, (int)demand->proof, (int)demand->clear,
                 from - SYNC_MAX_WINDOW_MS);
    while (r == 0 && (r = db_step(ledger, stmt, err)) > 0) {
        r = interval_set_subtract(set, db_time(stmt, 0), db_time(stmt, 1));
        if (r < 0) {
            db_done(stmt);
            return error_set(err, r, "out of memory");
        }
    }
    return r;
}

int coverage_runs(struct db *ledger, int64_t from, int64_t to, const struct coverage_demand *demand,
                  int (*each)(int64_t run_id, void *userdata), void *userdata, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(ledger, &stmt, err,
                 "SELECT DISTINCT run_id FROM coverage WHERE covered_from <= ?2"
                 " AND covered_to >= ?1 AND began_at >= ?3 AND proof >= ?4 AND clear >= ?5"
                 " AND covered_from >= ?6 ORDER BY run_id",
                 "TTTbbT", from, to, demand->since, (int)demand->proof, (int)demand->clear,
                 from - SYNC_MAX_WINDOW_MS);
    while (r == 0 && (r = db_step(ledger, stmt, err)) > 0) {
        r = each(db_int(stmt, 0), userdata);
        if (r < 0)
            db_done(stmt);
    }
    return r;
}
