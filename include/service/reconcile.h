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

typedef void (*verdict_changed)(const struct verdict_change *change, void *userdata);

/* Decides every order that is not sealed. Changes are committed together before `changed` is called
 * for each. 0 or negative errno (then nothing is stored). */
int reconcile_run(struct db *ledger, const struct match_settings *settings, int64_t now,
                  verdict_changed changed, void *userdata, struct error *err);

/* Whether the ledger proves that no record lies in the order's window unseen. `ret_since` (may be
 * NULL): only passes that began after it count. */
int reconcile_absence(struct db *ledger, const struct match_order *order,
                      const struct match_settings *settings, int64_t now, enum absence *ret,
                      int64_t *ret_since, struct error *err);
