#include "base/clock.h"

#include <stddef.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t real_now(void *userdata)
{
    (void)userdata;
    return read_clock(CLOCK_REALTIME);
}

static int64_t boot_now(void *userdata)
{
    (void)userdata;
    return read_clock(CLOCK_BOOTTIME);
}

const struct clock *clock_real(void)
{
    static const struct clock clock = {.now = real_now};

    return &clock;
}

const struct clock *clock_boot(void)
{
    static const struct clock clock = {.now = boot_now};

    return &clock;
}
