/* A world as files and JSON: the truth for who compares, the queue for who plays the app. */
#pragma once

#include <jansson.h>

#include "world.h"

/* {"orders": [{"order_id", "expected_verdict", "transaction_id", "story"}],
 *  "sessions": [{"session_id", "session_key", "expected_outcome", "story"}]} */
json_t *export_truth_json(const struct world *world);

/* The orders as CSV: order_id,expected_verdict,transaction_id,story. */
int export_truth_csv(const struct world *world, const char *path, struct error *err);

/* INSERTs into pending_orders, claims and sessions of queue.db, in one transaction. */
int export_queue_sql(const struct world *world, const char *path, struct error *err);
