/* Passes over windows, and what they prove. A pass (a "run") is one reading of a closed window from
 * its first page to its last; while it runs, its row is the cursor. Coverage says, for every
 * instant that was ever read completely, which pass did so last. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "core/digest.h"
#include "core/interval.h"
#include "store/db.h"

/* Names of meta values (store/ledger.h): between these instants everything is to be read once. */
#define SYNC_ORIGIN "sync_origin" /* where history began when the ledger was empty */
#define SYNC_EDGE   "sync_edge"   /* of the last cycle that began */

/* No window is longer (a day, and what rounding adds), so older coverage need not be looked at. */
enum { SYNC_MAX_WINDOW_MS = 86400000 + 5000 };

enum sync_purpose { PURPOSE_ORDER, PURPOSE_RECENT, PURPOSE_DEEP, PURPOSE_HISTORY, PURPOSE_COUNT };

const char *sync_purpose_name(enum sync_purpose purpose);

struct sync_run {
    int64_t id; /* 0: there is none */
    enum sync_purpose purpose;
    int64_t from, to; /* whole seconds, in ms */
    int64_t began_at;
    int64_t next_page;
    int64_t rows_read, rows_new, rows_bad;
    int64_t rows_bad_new; /* of those that were not known before; not stored */
    int64_t page_rows;    /* -1 before the first page */
    int64_t total;        /* -1: the API does not say */
    int64_t repeats;
    char digest[DIGEST_SIZE];
};

enum run_outcome { RUN_COMPLETE, RUN_DRIFTED, RUN_FAILED };

/* Notes the beginning of a pass; sets run->id and the counters. */
int sync_run_begin(struct db *ledger, struct sync_run *run, struct error *err);
/* The pass of this purpose that was not ended, if any: 1 and *ret, else 0. */
int sync_run_resume(struct db *ledger, enum sync_purpose purpose, struct sync_run *ret,
                    struct error *err);
/* Stores the counters and the cursor, and the window's end, which may have come nearer. */
int sync_run_advance(struct db *ledger, const struct sync_run *run, struct error *err);
/* Ends the pass. `proof`: nothing can have moved while it read. */
int sync_run_end(struct db *ledger, const struct sync_run *run, enum run_outcome outcome,
                 bool proof, int64_t now, long http_status, const char *detail, struct error *err);
/* Gives up the passes under way: they began after `now`, or `all` of them must begin again. */
int sync_run_give_up(struct db *ledger, bool all, int64_t now, const char *why, struct error *err);
/* 1 when an earlier ended pass over the same window saw the very same sequence of rows. */
int sync_run_has_twin(struct db *ledger, const struct sync_run *run, struct error *err);
/* Deletes passes that ended before `before` and that nothing rests on. */
int sync_run_prune(struct db *ledger, int64_t before, struct error *err);

/* Records that a complete pass covers its window. Where the pass quarantined a record, the place
 * where that may lie (its second and the ones beside it, or, without a time, the whole window) is
 * covered but not clear. */
int coverage_add(struct db *ledger, const struct sync_run *run, bool proof, struct error *err);
/* Drops what was read after `now`: the clock was ahead then, and it is no proof of anything. */
int coverage_forget_after(struct db *ledger, int64_t now, struct error *err);

struct coverage_demand {
    int64_t since; /* only passes that began at or after this */
    bool proof;    /* only passes where nothing can have moved */
    bool clear;    /* only where no quarantined record may lie */
};
/* Takes from `set` what lies in [from, to] and is covered as demanded. */
int coverage_subtract(struct db *ledger, int64_t from, int64_t to,
                      const struct coverage_demand *demand, struct interval_set *set,
                      struct error *err);
/* Calls back with each pass that covers a part of [from, to] as demanded, once each. */
int coverage_runs(struct db *ledger, int64_t from, int64_t to, const struct coverage_demand *demand,
                  int (*each)(int64_t run_id, void *userdata), void *userdata, struct error *err);
