#include "store/daemon_state.h"

#include <unistd.h>

#include "core/timestamp.h"
#include "store/ledger.h"

int daemon_state_start(struct db *ledger, const char *version, int64_t rate_limit, int64_t now,
                       struct error *err)
{
    return db_run(ledger, err,
                  "INSERT INTO daemon_state (id, pid, version, started_at, updated_at, rate_limit)"
                  " VALUES (1, ?1, ?2, ?3, ?3, ?4) ON CONFLICT (id) DO UPDATE SET pid = ?1,"
                  " version = ?2, started_at = ?3, updated_at = ?3, stopped_at = NULL,"
                  " rate_limit = ?4, cycle_began_at = NULL, cycle_ended_at = NULL,"
                  " cycle_outcome = NULL, api_state = NULL, api_checked_at = NULL,"
                  " vault_state = NULL",
                  "itTi", (int64_t)getpid(), version, now, rate_limit);
}

int daemon_state_stop(struct db *ledger, int64_t now, struct error *err)
{
    return db_run(ledger, err, "UPDATE daemon_state SET stopped_at = ?1, updated_at = ?1", "T",
                  now);
}

int daemon_state_cycle(struct db *ledger, int64_t began_at, int64_t now, const char *outcome,
                       int64_t edge, int64_t origin, bool stretched, int64_t sessions_waiting,
                       struct error *err)
{
    return db_run(ledger, err,
                  "UPDATE daemon_state SET cycle_began_at = ?1, cycle_ended_at = ?2,"
                  " updated_at = ?2, cycle_outcome = ?3, edge = ?4, origin = ?5, stretched = ?6,"
                  " sessions_waiting = ?7",
                  "TTtTTbi", began_at, now, outcome, edge, origin, (int)stretched,
                  sessions_waiting);
}

int daemon_state_api(struct db *ledger, const char *state, int64_t now, struct error *err)
{
    return db_run(ledger, err,
                  "UPDATE daemon_state SET api_state = ?1, api_checked_at = ?2, updated_at = ?2",
                  "tT", state, now);
}

int daemon_state_vault(struct db *ledger, const char *state, int64_t now, struct error *err)
{
    return db_run(ledger, err, "UPDATE daemon_state SET vault_state = ?1, updated_at = ?2", "tT",
                  state, now);
}

int absence_hold(struct db *ledger, int64_t until, struct error *err)
{
    char text[TIMESTAMP_TEXT_SIZE];

    return ledger_set_meta(ledger, "absence_held_until", timestamp_format(until, text), err);
}

int absence_held_until(struct db *ledger, int64_t *ret, struct error *err)
{
    char text[TIMESTAMP_TEXT_SIZE];
    int r = ledger_get_meta(ledger, "absence_held_until", text, sizeof(text), err);

    if (r == 0 && timestamp_parse(text, ret) < 0)
        *ret = 0;
    return r;
}

int rate_log_note(struct db *ledger, int64_t now, struct error *err)
{
    int r;

    r = db_run(ledger, err, "DELETE FROM rate_log WHERE requested_at < ?", "T",
               now - RATE_WINDOW_MS);
    return r < 0 ? r
                 : db_run(ledger, err, "INSERT INTO rate_log (requested_at) VALUES (?)", "T", now);
}

int rate_log_restore(struct db *ledger, struct rate_budget *budget, int64_t now, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(ledger, &stmt, err,
                 "SELECT requested_at FROM rate_log WHERE requested_at >= ? ORDER BY requested_at",
                 "T", now - RATE_WINDOW_MS);
    while (r == 0 && (r = db_step(ledger, stmt, err)) > 0) {
        rate_budget_note(budget, db_time(stmt, 0));
        r = 0;
    }
    return r;
}
