/* At most so many requests in any 60 seconds. */
#pragma once

#include <stdint.h>

struct rate;

/* `per_minute` 0: no limit. */
struct rate *rate_new(unsigned per_minute);
struct rate *rate_free(struct rate *rate);

/* 0: the request is let in, and counted. Else the milliseconds until one would be. */
int64_t rate_take(struct rate *rate, int64_t now);
