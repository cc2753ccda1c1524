/* The daemon's loop: it carries questions to the API and the Vault and answers back, takes in the
 * queue, has verdicts given, and tells the world. */
#pragma once

#include <stdbool.h>

#include "base/clock.h"
#include "base/error.h"
#include "config/config.h"

struct manager;

struct manager_options {
    const char *config_path;
    bool config_must_exist;
    bool once; /* one whole cycle, then stop */
};

/* Opens both databases and everything else. `boot` is a clock that nobody sets, against which
 * `clock` is watched. Owns `config` from the call on, also when it fails.
 * Signals must be blocked. Negative errno: what ledger_open() and queue_open() return, -ENOMEM. */
int manager_new(struct config *config, const struct manager_options *options,
                const struct clock *clock, const struct clock *boot, struct manager **ret,
                struct error *err);
struct manager *manager_free(struct manager *manager);

/* Runs until a signal says stop, or, with `once`, until the cycle is over. Returns the exit code.
 */
int manager_run(struct manager *manager);
