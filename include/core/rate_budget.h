/* The rate budget: at most `limit` requests in any 60 seconds, counted exactly (a sliding window,
 * not a bucket, so no minute however it is cut holds more). Low-priority work (history, look-back)
 * may use only part of it, so that an open order never waits for the window to move on. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct rate_budget;

enum rate_priority { RATE_ORDER, RATE_CYCLE, RATE_HISTORY };

enum { RATE_WINDOW_MS = 60 * 1000 };

/* `limit` is the requests per minute that this process may make, at least 1.
 * NULL when memory cannot be had. */
struct rate_budget *rate_budget_new(unsigned limit);
struct rate_budget *rate_budget_free(struct rate_budget *budget);

/* Notes a request made at `at` (also used to restore the past minute after a restart). */
void rate_budget_note(struct rate_budget *budget, int64_t at);

/* 0 when a request of this priority may be made at `now`, else the milliseconds until it may.
 * RATE_ORDER may use the whole limit, RATE_CYCLE nine tenths, RATE_HISTORY four fifths (each at
 * least one request). A clock that was set back does not stall the budget for more than a minute:
 * requests noted later than `now` count as made at `now` from here on. */
int64_t rate_budget_wait(struct rate_budget *budget, enum rate_priority priority, int64_t now);

/* Requests noted in the minute before `now`. */
unsigned rate_budget_used(const struct rate_budget *budget, int64_t now);
unsigned rate_budget_limit(const struct rate_budget *budget);
