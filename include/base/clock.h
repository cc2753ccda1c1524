/* Time comes from here and from nowhere else, so that a test or a simulation can say what time it
 * is. All instants in this program are milliseconds since 1970-01-01T00:00:00Z (UTC, without leap
 * seconds, as POSIX counts); all durations are milliseconds. */
#pragma once

#include <stdint.h>

struct clock {
    int64_t (*now)(void *userdata);
    void *userdata;
};

/* The machine's real-time clock. */
const struct clock *clock_real(void);
/* Time since the machine started, also while it slept. Nobody sets it: what it moved by is what has
 * passed. */
const struct clock *clock_boot(void);

static inline int64_t clock_now(const struct clock *clock)
{
    return clock->now(clock->userdata);
}
