/* Exponential backoff: 1 s, 2 s, 4 s … (the SDK page, "Retry behavior"). */
#pragma once

#include <stdint.h>

/* The wait before retry number `attempt` (0 is the first): base * 2^attempt, at most `max`. */
int64_t backoff_delay(int64_t base_ms, unsigned attempt, int64_t max_ms);
