/* Payment sessions in the queue, and the record of their revocation in the ledger. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/secret.h"
#include "core/transaction.h"
#include "store/db.h"

/* A session that waits in the queue. */
struct session {
    char id[ID_SIZE];
    char created_text[40]; /* created_at as the app wrote it */
    int64_t created_at;
    int64_t expires_at;   /* created_at + expires_in */
    int64_t last_seen_at; /* or created_at */
    char ended[16];       /* empty while the customer is at it */
};

/* Why a session is to be revoked. */
enum session_why {
    SESSION_NOT_DUE,
    SESSION_PAID,
    SESSION_CANCELLED,
    SESSION_ABANDONED,
    SESSION_EXPIRED,
    SESSION_IDLE,
};
const char *session_why_name(enum session_why why);
/* Pure. `idle_timeout` in ms. *ret_due_at (may be NULL): when a session that is not due will be. */
enum session_why session_due(const struct session *session, int64_t idle_timeout, int64_t now,
                             int64_t *ret_due_at);

/* Calls back with each session of the queue; a return other than 0 ends it, and is returned.
 * `userdata` is passed on. */
int sessions_each(struct db *queue, int (*each)(const struct session *session, void *userdata),
                  void *userdata, struct error *err);
int sessions_count(struct db *queue, int64_t *ret, struct error *err);
/* The session's key, or -ENOENT when it is not in the queue any more. The caller frees it. */
int session_key(struct db *queue, const struct session *session, struct secret **ret,
                struct error *err);

/* What the ledger knows of a session's revocation. */
struct revocation {
    bool known, closed;
    int64_t attempts;
    int64_t next_try_at; /* -1: none */
};
int revocation_load(struct db *ledger, const struct session *session, struct revocation *ret,
                    struct error *err);

enum revocation_outcome {
    REVOCATION_WAITING,
    REVOCATION_REVOKED,
    REVOCATION_GONE,
    REVOCATION_LAPSED,
};
enum { REVOCATION_OUTCOMES = REVOCATION_LAPSED + 1 };
const char *revocation_outcome_name(enum revocation_outcome outcome);
/* Notes one more attempt and what came of it. `next_try_at` counts while waiting. */
int revocation_note(struct db *ledger, const struct session *session, enum session_why why,
                    enum revocation_outcome outcome, long http_status, const char *detail,
                    int64_t next_try_at, int64_t now, struct error *err);

/* Deletes a closed session's row from the queue; SQLite overwrites it (secure_delete). */
int session_close(struct db *queue, const struct session *session, struct error *err);
/* Rewrites the queue file: the app's own updates may have left copies of a deleted key in the free
 * space of its pages. */
int sessions_rewrite(struct db *queue, struct error *err);
/* Moves the WAL into the file and empties it. -EBUSY while a reader holds an old snapshot: to be
 * tried again. */
int sessions_empty_wal(struct db *queue, struct error *err);
