/* What the ledger says of the daemon and its work. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "core/verdict.h"
#include "store/db.h"
#include "store/sessions.h"

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

    int64_t absence_grace; /* ms; the configured one or a longer, learned one; -1: not known */
};

int status_read(struct db *ledger, int64_t now, struct status *ret, struct error *err);
/* The last cycle ended longer ago than any wait explains; `interval` is that of the cycles. */
bool status_is_late(const struct status *status, int64_t interval, int64_t now);

/* How late records were seen to be over the past 30 days, in seconds; -1: not measured. Reads all
 * of them: not for every cycle. */
struct status_lateness {
    int64_t median, p99, max;
};
int status_read_lateness(struct db *ledger, struct status_lateness *ret, struct error *err);

/* Verdicts that replaced another, and those of them that took back a leave to charge again. */
struct status_revisions {
    int64_t seen; /* the newest verdict that was looked at */
    int64_t all, critical;
};
/* Adds what came since the last call; zero-initialise before the first. */
int status_count_revisions(struct db *ledger, struct status_revisions *counts, struct error *err);

/* Sessions that were closed, by outcome, indexed by enum revocation_outcome. */
int status_count_sessions(struct db *ledger, int64_t ret[REVOCATION_OUTCOMES], struct error *err);
