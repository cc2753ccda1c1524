#include "base/clock.h"

#include <stddef.h>
#include <time.h>

static int64_t real_now(void *userdata)
{
    struct timespec ts;

    (void)userdata;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

const struct clock *clock_real(void)
{
    static const struct clock clock = {.now = real_now};

    return &clock;
}
