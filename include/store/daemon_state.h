/* What the daemon tells `reconctl status` through the ledger, and the requests of the past minute,
 * so that a restart does not forget the rate limit. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "core/rate_budget.h"
#include "store/db.h"

/* Replaces the one row: this process runs from now on. How an earlier one fared is forgotten: it
 * says nothing of this one. */
int daemon_state_start(struct db *ledger, const char *version, int64_t rate_limit, int64_t now,
                       struct error *err);
int daemon_state_stop(struct db *ledger, int64_t now, struct error *err);
/* A cycle ended; `outcome` is "ok" or what went wrong. */
int daemon_state_cycle(struct db *ledger, int64_t began_at, int64_t now, const char *outcome,
                       int64_t edge, int64_t origin, bool stretched, int64_t sessions_waiting,
                       struct error *err);
/* How the API, or the Vault, answered last: "ok" or what it said. */
int daemon_state_api(struct db *ledger, const char *state, int64_t now, struct error *err);
int daemon_state_vault(struct db *ledger, const char *state, int64_t now, struct error *err);

/* The clock was set ahead: attempts look older than they are, and passes that began before `until`
 * prove no absence. 0: never was. */
int absence_hold(struct db *ledger, int64_t until, struct error *err);
int absence_held_until(struct db *ledger, int64_t *ret, struct error *err);

/* Notes a request before it is made, and forgets those that no longer count. */
int rate_log_note(struct db *ledger, int64_t now, struct error *err);
/* Tells the budget of the requests that an earlier process made. */
int rate_log_restore(struct db *ledger, struct rate_budget *budget, int64_t now, struct error *err);
