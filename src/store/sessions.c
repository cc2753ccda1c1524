#include "store/sessions.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

static const char *const why_names[] = {"", "paid", "cancelled", "abandoned", "expired", "idle"};
static const char *const outcome_names[] = {"waiting", "revoked", "gone", "lapsed"};

const char *session_why_name(enum session_why why)
{
    return why_names[why];
}

const char *revocation_outcome_name(enum revocation_outcome outcome)
{
    return outcome_names[outcome];
}

enum session_why session_due(const struct session *session, int64_t idle_timeout, int64_t now,
                             int64_t *ret_due_at)
{
    int64_t idle_at = session->last_seen_at + idle_timeout;

    for (int why = SESSION_PAID; why <= SESSION_ABANDONED; why++)
        if (strcmp(session->ended, why_names[why]) == 0)
            return (enum session_why)why;
    if (now >= session->expires_at)
        return SESSION_EXPIRED;
    if (now >= idle_at)
        return SESSION_IDLE;
    if (ret_due_at)
        *ret_due_at = idle_at < session->expires_at ? idle_at : session->expires_at;
    return SESSION_NOT_DUE;
}

int sessions_each(struct db *queue, int (*each)(const struct session *session, void *userdata),
                  void *userdata, struct error *err)
{
    struct session session;
    struct db_stmt *stmt;
    int r;

    r = db_query(queue, &stmt, err,
                 "SELECT session_id, created_at, expires_in, last_seen_at, ended FROM sessions",
                 "");
    while (r == 0 && (r = db_step(queue, stmt, err)) > 0) {
        db_copy(stmt, 0, session.id, sizeof(session.id));
        db_copy(stmt, 1, session.created_text, sizeof(session.created_text));
        session.created_at = db_time(stmt, 1);
        session.expires_at = session.created_at + db_int(stmt, 2) * 1000;
        session.last_seen_at = db_time(stmt, 3);
        if (session.last_seen_at < session.created_at)
            session.last_seen_at = session.created_at;
        db_copy(stmt, 4, session.ended, sizeof(session.ended));
        r = each(&session, userdata);
        if (r != 0)
            db_done(stmt);
    }
    return r;
}

int sessions_count(struct db *queue, int64_t *ret, struct error *err)
{
    return db_value(queue, ret, 0, err, "SELECT count(*) FROM sessions", "");
}

int session_key(struct db *queue, const struct session *session, struct secret **ret,
                struct error *err)
{
    struct secret *key;
    struct db_stmt *stmt;
    const char *text;
    int r;

    r = db_query(queue, &stmt, err,
                 "SELECT session_key FROM sessions WHERE session_id = ? AND created_at = ?", "tt",
                 session->id, session->created_text);
    if (r == 0)
        r = db_step(queue, stmt, err);
    if (r < 0)
        return r;
    if (r == 0)
        return error_set(err, -ENOENT, "session %s left the queue", session->id);
    text = db_text(stmt, 0);
    key = secret_new(text, strlen(text));
    db_done(stmt);
    if (!key)
        return error_set(err, -ENOMEM, "out of memory");
    *ret = key;
    return 0;
}

int revocation_load(struct db *ledger, const struct session *session, struct revocation *ret,
                    struct error *err)
{
    struct db_stmt *stmt;
    int r;

    *ret = (struct revocation){.next_try_at = -1};
    r = db_query(ledger, &stmt, err,
                 "SELECT outcome <> 'waiting', attempts, next_try_at FROM session_revocations"
                 " WHERE session_id = ? AND created_at = ?",
                 "tT", session->id, session->created_at);
    if (r == 0)
        r = db_step(ledger, stmt, err);
    if (r <= 0)
        return r;
    ret->known = true;
    ret->closed = db_int(stmt, 0) != 0;
    ret->attempts = db_int(stmt, 1);
    ret->next_try_at = db_time(stmt, 2);
    db_done(stmt);
    return 0;
}

int revocation_note(struct db *ledger, const struct session *session, enum session_why why,
                    enum revocation_outcome outcome, long http_status, const char *detail,
                    int64_t next_try_at, int64_t now, struct error *err)
{
    bool waiting = outcome == REVOCATION_WAITING;

    return db_run(ledger, err,
                  "INSERT INTO session_revocations (session_id, created_at, why, outcome,"
                  " attempts, asked_at, closed_at, next_try_at, http_status, detail)"
                  " VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, ?8, ?9)"
                  " ON CONFLICT (session_id, created_at) DO UPDATE SET why = ?3, outcome = ?4,"
                  " attempts = attempts + 1, asked_at = ?5, closed_at = ?6, next_try_at = ?7,"
                  " http_status = ?8, detail = ?9",
                  "tTttTMMNe", session->id, session->created_at, why_names[why],
                  outcome_names[outcome], now, waiting ? (int64_t)-1 : now,
                  waiting ? next_try_at : (int64_t)-1,
                  http_status > 0 ? (int64_t)http_status : (int64_t)-1, detail);
}

int session_close(struct db *queue, const struct session *session, struct error *err)
{
    return db_run(queue, err, "DELETE FROM sessions WHERE session_id = ? AND created_at = ?", "tt",
                  session->id, session->created_text);
}

int sessions_rewrite(struct db *queue, struct error *err)
{
    return db_exec(queue, "VACUUM", err);
}

int sessions_empty_wal(struct db *queue, struct error *err)
{
    int64_t busy;
    int r;

    r = db_value(queue, &busy, 0, err, "PRAGMA wal_checkpoint(TRUNCATE)", "");
    if (r == 0 && busy)
        return error_set(err, -EBUSY, "%s: a reader keeps the WAL from being emptied",
                         db_path(queue));
    return r;
}
