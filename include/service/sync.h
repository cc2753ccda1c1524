/* What to ask the API next, and what an answer means: the way from a page to the ledger.
 *
 * Everything that is wanted of the API is a demand: "this interval, read by a pass that began not
 * before that instant". What coverage does not meet is a gap, and a gap is the next question. Four
 * lanes of demands, the first that has a gap goes first:
 *
 *   order    the windows of pending orders: often while nothing can be decided, and once more,
 *            by a pass that proves, when the grace is over
 *   recent   every cycle, from the overlap up to the edge
 *   deep     every deep_interval, from the deep overlap up to the edge
 *   history  whatever between the origin and the edge was never read, the newest first
 *
 * A window is closed: its end is fixed before its first page, whole seconds, ascending by creation.
 * A page and the cursor that says so are one transaction. A pass that drifted, failed or was not
 * understood covers nothing. This module does no I/O but the ledger's; the caller carries
 * questions and answers. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "core/rate_budget.h"
#include "core/transaction.h"
#include "store/db.h"
#include "store/sync_runs.h"

struct sync;

struct sync_settings { /* times in ms; as section [sync] and [match] of the configuration */
    int64_t interval, fast_interval;
    int64_t backfill;
    int64_t overlap;
    int64_t deep_overlap, deep_interval;
    int64_t edge_lag;
    int64_t before, after, absence_grace;
    unsigned requests_per_minute; /* our share of the limit */
    const char *source; /* names the API and the merchant; used in sync_new() only; or NULL */
    unsigned page_size; /* a page number has its meaning only together with it */
    const char *const *unsettled; /* must outlive the object */
    bool once;                    /* one whole cycle, then idle */
};

struct sync_question {
    enum sync_purpose purpose;
    enum rate_priority priority;
    int64_t from, to; /* whole seconds, in ms */
    int64_t page;
};

enum sync_answer_kind {
    SYNC_PAGE,
    SYNC_UNREACHABLE,    /* no answer */
    SYNC_FAILED,         /* 5xx, or 429 for too long */
    SYNC_REFUSED,        /* the key */
    SYNC_NOT_UNDERSTOOD, /* anything that is no page */
};

struct sync_answer {
    enum sync_answer_kind kind;
    const struct page *page; /* SYNC_PAGE */
    long status;
    const char *text; /* otherwise: what went wrong */
};

/* What an answer led to. */
struct sync_news {
    int64_t stored, new_records, bad_records;
    int64_t new_bad_records; /* that were not in quarantine before */
    int64_t vanished;        /* known records that the API does not show any more */
    bool pass_ended;         /* completely */
    bool drifted;            /* the pass will be asked again */
    bool not_understood;
    char text[512]; /* of a failure, drift or contradiction, for the log */
};

/* The worst that happened since sync_new(). */
struct sync_tally {
    bool unreachable, failed, refused, not_understood, drifted, quarantined;
};

struct sync_progress {
    int64_t origin, edge; /* -1 before the first cycle */
    int64_t cycle_began_at;
    int64_t history_left; /* ms between origin and edge that were never read */
    bool stretched;       /* the look-back does not fit the rate share */
};

/* Milliseconds until a request of this priority may be made; 0: now. */
typedef int64_t (*sync_rate_wait)(enum rate_priority priority, void *userdata);

/* The database must outlive the object. 0 or negative errno. */
int sync_new(struct db *ledger, const struct clock *clock, const struct sync_settings *settings,
             sync_rate_wait rate_wait, void *userdata, struct sync **ret, struct error *err);
struct sync *sync_free(struct sync *sync);

/* 1: *ret is to be asked, and sync_answer() to be called before the next sync_next(). 0: nothing to
 * ask for *ret_wait ms. Negative errno: the ledger failed; try again later. */
int sync_next(struct sync *sync, struct sync_question *ret, int64_t *ret_wait, struct error *err);

/* Takes the answer to the last question. On a negative errno nothing of it is stored, and
 * sync_next() will ask it again. */
int sync_answer(struct sync *sync, const struct sync_answer *answer, struct sync_news *ret,
                struct error *err);

/* The question under way was dropped; it will be asked again. */
void sync_forget_question(struct sync *sync);
/* The grace after which an order's window is asked for proof, from now on. */
void sync_set_grace(struct sync *sync, int64_t absence_grace);
/* A cycle is due now; a new order may be waiting. */
void sync_poke(struct sync *sync, bool cycle);
/* With `once`: the cycle is over, or cannot go on. */
bool sync_idle(const struct sync *sync);
/* A cycle ended since the last call; `*ret_outcome` is "ok" or what went wrong. */
bool sync_take_cycle_end(struct sync *sync, const char **ret_outcome);
void sync_get_tally(const struct sync *sync, struct sync_tally *ret);
int sync_get_progress(struct sync *sync, struct sync_progress *ret, struct error *err);
