#include "service/revoke.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/backoff.h"

enum {
    LOOK_AGAIN_MS = 60 * 1000,
    LOOK_PAUSE_MS = 1000, /* thousands may wait for their next try: not at each answer */
    MAX_FOUND = 64,
};

static const int64_t LAPSE_MS = 5 * 60 * 1000; /* after the session's own expiry */

struct revocation_task {
    struct session session;
    enum session_why why;
    struct revoke *owner;
    struct revocation_task *next;
};

/* What a look found to be due. */
struct found {
    struct session session;
    enum session_why why;
};

struct revoke {
    struct db *ledger, *queue;
    const struct clock *clock;
    int64_t idle_timeout;
    size_t concurrency, n_tasks;
    struct revocation_task *tasks;
    void *userdata;
    int64_t looked_at, look_at; /* the last look over the queue, and when the next one is due */
    struct found found[MAX_FOUND];
    size_t n_found, n_tried; /* the found ones before n_tried have been handed out */
    bool unwiped;            /* keys of closed sessions may be left in the file */
    bool rewritten;          /* or, since it was rewritten, only in its WAL */
};

int revoke_new(struct db *ledger, struct db *queue, const struct clock *clock, int64_t idle_timeout,
               size_t concurrency, void *userdata, struct revoke **ret)
{
    struct revoke *revoke = calloc(1, sizeof(*revoke));

    if (!revoke)
        return -ENOMEM;
    *revoke = (struct revoke){.ledger = ledger,
                              .queue = queue,
                              .clock = clock,
                              .idle_timeout = idle_timeout,
                              .concurrency = concurrency,
                              .userdata = userdata,
                              /* An earlier process may have died before it wiped. */
                              .unwiped = true};
    *ret = revoke;
    return 0;
}

struct revoke *revoke_free(struct revoke *revoke)
{
    if (!revoke)
        return NULL;
    for (struct revocation_task *task = revoke->tasks, *next; task; task = next) {
        next = task->next;
        free(task);
    }
    free(revoke);
    return NULL;
}

static bool is_under_way(const struct revoke *revoke, const struct session *session)
{
    for (const struct revocation_task *task = revoke->tasks; task; task = task->next)
        if (strcmp(task->session.id, session->id) == 0)
            return true;
    return false;
}

/* One look over the queue. */
struct look {
    struct revoke *revoke;
    int64_t now, next;
    struct session closed[MAX_FOUND];
    size_t n_closed;
    struct error *err;
};

static int look_at_session(const struct session *session, void *userdata)
{
    struct look *look = userdata;
    struct revoke *revoke = look->revoke;
    struct revocation revocation;
    enum session_why why;
    int64_t due_at = 0;
    int r;

    if (is_under_way(revoke, session))
        return 0;
    why = session_due(session, revoke->idle_timeout, look->now, &due_at);
    if (why == SESSION_NOT_DUE) {
        look->next = due_at < look->next ? due_at : look->next;
        return 0;
    }
    r = revocation_load(revoke->ledger, session, &revocation, look->err);
    if (r < 0)
        return r;
    if (revocation.closed) {
        /* We died between the ledger's commit and the queue's. */
        look->closed[look->n_closed++] = *session;
    } else if (revocation.next_try_at > look->now) {
        look->next = revocation.next_try_at < look->next ? revocation.next_try_at : look->next;
    } else {
        revoke->found[revoke->n_found++] = (struct found){*session, why};
    }
    return revoke->n_found == MAX_FOUND || look->n_closed == MAX_FOUND;
}

static int close_session(struct revoke *revoke, const struct session *session, struct error *err)
{
    revoke->unwiped = true;
    revoke->rewritten = false;
    return session_close(revoke->queue, session, err);
}

/* Fills `found`, and says when to look again: as soon as that is used up if there may be more. */
static int look_for_due(struct revoke *revoke, struct error *err)
{
    int64_t now = clock_now(revoke->clock), next;
    struct look look;
    int r, more;

    do {
        look = (struct look){.revoke = revoke, .now = now, .next = INT64_MAX, .err = err};
        revoke->n_found = revoke->n_tried = 0;
        more = sessions_each(revoke->queue, look_at_session, &look, err);
        r = more < 0 ? more : 0;
        for (size_t i = 0; i < look.n_closed && r == 0; i++)
            r = close_session(revoke, &look.closed[i], err);
    } while (r == 0 && look.n_closed == MAX_FOUND);
    if (r < 0) {
        revoke_poke(revoke);
        return r;
    }
    next = look.next < now + LOOK_AGAIN_MS ? look.next : now + LOOK_AGAIN_MS;
    if (next < now + LOOK_PAUSE_MS)
        next = now + LOOK_PAUSE_MS;
    revoke->looked_at = now;
    revoke->look_at = more > 0 ? 0 : next;
    return 0;
}

static bool is_time_to_look(const struct revoke *revoke, int64_t now)
{
    return now >= revoke->look_at || revoke->look_at - now > LOOK_AGAIN_MS;
}

int revoke_next(struct revoke *revoke, struct revocation_task **ret_task, struct secret **ret_key,
                int64_t *ret_wait, struct error *err)
{
    _cleanup_free_ struct revocation_task *task = NULL;
    int64_t now = clock_now(revoke->clock);
    int r;

    *ret_wait = LOOK_AGAIN_MS;
    if (revoke->n_tasks >= revoke->concurrency)
        return 0;
    task = calloc(1, sizeof(*task));
    if (!task)
        return error_set(err, -ENOMEM, "out of memory");
    if (revoke->n_tried == revoke->n_found && is_time_to_look(revoke, now)) {
        r = look_for_due(revoke, err);
        if (r < 0)
            return r;
    }
    do {
        const struct found *found;

        if (revoke->n_tried == revoke->n_found) {
            /* Perhaps because none of those that were found can be had: not again at once. */
            *ret_wait = revoke->look_at > now ? revoke->look_at - now : LOOK_PAUSE_MS;
            return 0;
        }
        found = &revoke->found[revoke->n_tried++];
        *task =
            (struct revocation_task){.session = found->session, .why = found->why, .owner = revoke};
        r = session_key(revoke->queue, &task->session, ret_key, err);
    } while (r == -ENOENT); /* it left the queue since the look */
    if (r < 0) {
        revoke_poke(revoke);
        return r;
    }
    task->next = revoke->tasks;
    revoke->tasks = task;
    revoke->n_tasks++;
    *ret_task = TAKE_PTR(task);
    return 1;
}

static void drop_task(struct revoke *revoke, struct revocation_task *task)
{
    for (struct revocation_task **at = &revoke->tasks; *at; at = &(*at)->next)
        if (*at == task) {
            *at = task->next;
            break;
        }
    revoke->n_tasks--;
    /* The last look did not see to this one. */
    if (revoke->look_at > revoke->looked_at + LOOK_PAUSE_MS)
        revoke->look_at = revoke->looked_at + LOOK_PAUSE_MS;
    free(task);
}

/* What the answer makes of the session; *ret_next_try_at counts while it waits. */
static enum revocation_outcome judge(const struct session *session,
                                     const struct revoke_answer *answer, int64_t attempts,
                                     int64_t now, int64_t *ret_next_try_at)
{
    unsigned n = attempts > 20 ? 20 : (unsigned)attempts;
    int64_t lapse_at = session->expires_at + LAPSE_MS;

    *ret_next_try_at = -1;
    switch (answer->kind) {
    case REVOKE_DONE:
        return REVOCATION_REVOKED;
    case REVOKE_GONE:
        return REVOCATION_GONE;
    case REVOKE_REFUSED:
        /* Our own key is wrong; until somebody mends it, the session stays to be revoked. */
        *ret_next_try_at = now + backoff_delay(30 * 1000, n, 10 * 60 * 1000);
        return REVOCATION_WAITING;
    case REVOKE_LATER:
        *ret_next_try_at = now + answer->wait_ms;
        break;
    case REVOKE_FAILED:
        *ret_next_try_at = now + backoff_delay(5 * 1000, n, 5 * 60 * 1000);
        break;
    }
    if (now >= lapse_at) {
        *ret_next_try_at = -1;
        return REVOCATION_LAPSED;
    }
    if (answer->kind == REVOKE_FAILED && *ret_next_try_at > lapse_at)
        *ret_next_try_at = lapse_at;
    return REVOCATION_WAITING;
}

int revoke_answer(struct revoke *revoke, struct revocation_task *task,
                  const struct revoke_answer *answer, struct revoke_news *ret, struct error *err)
{
    int64_t now = clock_now(revoke->clock);
    struct revocation before;
    struct revoke_news news = {.why = task->why};
    int r;

    memcpy(news.session_id, task->session.id, sizeof(news.session_id));
    r = revocation_load(revoke->ledger, &task->session, &before, err);
    if (r == 0) {
        news.outcome = judge(&task->session, answer, before.attempts, now, &news.next_try_at);
        r = revocation_note(revoke->ledger, &task->session, task->why, news.outcome, answer->status,
                            answer->text, news.next_try_at, now, err);
    }
    if (r == 0 && news.outcome != REVOCATION_WAITING)
        r = close_session(revoke, &task->session, err);
    drop_task(revoke, task);
    if (r == 0)
        *ret = news;
    return r;
}

void *revoke_task_userdata(const struct revocation_task *task)
{
    return task->owner->userdata;
}

void revoke_poke(struct revoke *revoke)
{
    revoke->look_at = 0;
    revoke->n_found = revoke->n_tried = 0; /* the app may have changed its mind */
}

bool revoke_idle(const struct revoke *revoke)
{
    return revoke->n_tasks == 0 && revoke->n_tried == revoke->n_found;
}

bool revoke_unwiped(const struct revoke *revoke)
{
    return revoke->unwiped;
}

int revoke_wipe(struct revoke *revoke, struct error *err)
{
    int r = 0;

    if (!revoke->unwiped)
        return 0;
    if (!revoke->rewritten) {
        r = sessions_rewrite(revoke->queue, err);
        revoke->rewritten = r == 0;
    }
    if (r == 0)
        r = sessions_empty_wal(revoke->queue, err);
    if (r == 0)
        revoke->unwiped = false;
    return r;
}
