/* One small question to the API, for `reconciled --probe` and `reconctl doctor`. */
#pragma once

#include "base/clock.h"
#include "config/config.h"

/* Asks for the last minute, one row, without retries; prints how it went on standard output.
 * Returns the exit code: 0, 75 (not reached or failing), 76 (not understood), 77 (key refused). */
int probe(const struct config *config, const struct clock *clock);
