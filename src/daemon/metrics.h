/* What the daemon does, as a file in the text format of Prometheus, for a textfile collector. */
#pragma once

#include "base/error.h"
#include "core/rate_budget.h"
#include "remote/payapi.h"
#include "store/db.h"
#include "store/sessions.h"

struct metrics;

/* Reads from the ledger what was counted before this process. */
int metrics_new(struct db *ledger, struct metrics **ret, struct error *err);
/* NULL is accepted and returned. */
struct metrics *metrics_free(struct metrics *metrics);

/* One question to the API was answered, or a session's revocation was tried. NULL is accepted. */
void metrics_count_request(struct metrics *metrics, enum payapi_outcome outcome);
void metrics_count_session(struct metrics *metrics, enum revocation_outcome outcome);

struct metrics_scene {
    const char *merchant_id;
    struct db *ledger, *queue;
    const struct rate_budget *budget;
    bool running; /* false: the last word of a daemon that ends */
};

/* Replaces the file at `path` as a whole: a reader never sees half of it. Everybody may read it. */
int metrics_write(struct metrics *metrics, const char *path, const struct metrics_scene *scene,
                  int64_t now, struct error *err);
