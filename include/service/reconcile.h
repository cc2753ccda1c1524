/* From orders and records to verdicts: loads what the matcher needs, asks coverage whether an
 * absence is proved, lets the matcher decide, and appends what changed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "core/match.h"
#include "store/db.h"

/* A verdict that was just given. Texts live during the callback. */
struct verdict_change {
    const char *order_id;
    enum verdict from, to;
    enum rule rule;
    const char *transaction_id; /* empty when there is none */
    const char *reason;
    int64_t revision;
    bool critical; /* it takes back a leave to charge again */
};

struct reconcile_listener {
    /* Before anything is stored: a verdict that was safe to retry will be replaced, so that leave
     * given on its strength can be taken back first. A negative errno stops everything. May be
     * NULL. */
    int (*leaving)(const char *order_id, void *userdata, struct error *err);
    /* After all changes are committed, for each. */
    void (*changed)(const struct verdict_change *change, void *userdata);
    void *userdata;
};

/* Decides every order that is not sealed. Changes are committed together. 0 or negative errno (then
 * nothing is stored). */
int reconcile_run(struct db *ledger, const struct match_settings *settings, int64_t now,
                  const struct reconcile_listener *listener, struct error *err);

/* Whether the ledger proves that no record lies in the order's window unseen. `said`: the order's
 * latest verdict; what it rests on is not held back after the fact. `ret_since` (may be NULL): only
 * passes that began after it count. */
int reconcile_absence(struct db *ledger, const struct match_order *order, enum verdict said,
                      const struct match_settings *settings, int64_t now, enum absence *ret,
                      int64_t *ret_since, struct error *err);
