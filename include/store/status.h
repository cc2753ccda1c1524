/* What the ledger says of the daemon and its work. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "core/verdict.h"
#include "store/db.h"

/* Instants are -1, and texts empty, where nothing is known. */
struct status {
    bool ran; /* a daemon has run on this ledger; else the members up to sessions_waiting are empty
               */
    int64_t pid;
    char version[64];
    int64_t started_at, updated_at, stopped_at;
    int64_t cycle_began_at, cycle_ended_at;
    char cycle_outcome[512];
    int64_t edge, origin;
    int64_t rate_limit;
    bool stretched; /* the look-back does not fit the rate share */
    char api_state[512];
    int64_t api_checked_at;
    char vault_state[512];
    int64_t sessions_waiting;

    int64_t covered_from, covered_to; /* the ends of what was ever read completely */
    int64_t gaps;                     /* between them */
    int64_t proven_to;                /* the newest instant that was read with proof */
    int64_t backfill_percent;         /* of [origin, edge], rounded down; -1: not known */

    int64_t orders[VERDICT_COUNT];
    int64_t quarantined;
    int64_t requests_last_minute;
    int64_t last_run_at; /* when the newest pass ended, or began */
};

int status_read(struct db *ledger, int64_t now, struct status *ret, struct error *err);
