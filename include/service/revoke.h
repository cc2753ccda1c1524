/* Which sessions to revoke now, and what an answer of the Vault means. Many revocations are under
 * way at once; the caller carries them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/secret.h"
#include "store/db.h"
#include "store/sessions.h"

struct revoke;
struct revocation_task; /* one revocation under way */

enum revoke_answer_kind {
    REVOKE_DONE,    /* 2xx */
    REVOKE_GONE,    /* 404 or 410 */
    REVOKE_REFUSED, /* 401 or 403 */
    REVOKE_LATER,   /* 429 */
    REVOKE_FAILED,  /* anything else */
};

struct revoke_answer {
    enum revoke_answer_kind kind;
    long status;     /* 0: no answer */
    int64_t wait_ms; /* REVOKE_LATER */
    const char *text;
};

/* What came of it; texts live during the call. */
struct revoke_news {
    char session_id[ID_SIZE];
    enum session_why why;
    enum revocation_outcome outcome;
    int64_t next_try_at; /* while waiting */
};

/* Both databases must outlive the object. `userdata` is for revoke_task_userdata(). */
int revoke_new(struct db *ledger, struct db *queue, const struct clock *clock, int64_t idle_timeout,
               size_t concurrency, void *userdata, struct revoke **ret);
/* Forgets what is under way; it will be asked again. */
struct revoke *revoke_free(struct revoke *revoke);

/* 1: revoke the session with *ret_key (to be freed by the caller) and call revoke_answer() with
 * *ret_task. 0: nothing now; *ret_wait is when to look again, in ms. Negative errno. */
int revoke_next(struct revoke *revoke, struct revocation_task **ret_task, struct secret **ret_key,
                int64_t *ret_wait, struct error *err);

/* Frees the task. On a negative errno nothing is noted, and the session will be asked again. */
int revoke_answer(struct revoke *revoke, struct revocation_task *task,
                  const struct revoke_answer *answer, struct revoke_news *ret, struct error *err);

/* What revoke_new() was given: the way back from a task to its caller. */
void *revoke_task_userdata(const struct revocation_task *task);

/* The queue may have changed: look at once. */
void revoke_poke(struct revoke *revoke);
/* Nothing is under way, and nothing that is due now is left to be tried. */
bool revoke_idle(const struct revoke *revoke);
/* Whether revoke_wipe() has anything to do. */
bool revoke_unwiped(const struct revoke *revoke);
/* Overwrites the keys of closed sessions on disk, if any are left there. 0, or -EBUSY to be called
 * again. */
int revoke_wipe(struct revoke *revoke, struct error *err);
