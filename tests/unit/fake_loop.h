/* An event loop that never waits: whoever includes this calls its tick by hand. The linker takes it
 * instead of libsystemd's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct sd_event {
    sd_event_time_handler_t tick;
    void *userdata;
    int code;
    bool exit;
};

static struct sd_event loop;

int sd_event_new(sd_event **ret)
{
    loop = (struct sd_event){0};
    *ret = &loop;
    return 0;
}

sd_event *sd_event_unref(sd_event *event)
{
    (void)event;
    return NULL;
}

int sd_event_add_signal(sd_event *event, sd_event_source **ret, int number,
                        sd_event_signal_handler_t handler, void *userdata)
{
    (void)event;
    (void)number;
    (void)handler;
    (void)userdata;
    *ret = NULL;
    return 0;
}

int sd_event_set_watchdog(sd_event *event, int on)
{
    (void)event;
    (void)on;
    return 0;
}

int sd_event_add_time_relative(sd_event *event, sd_event_source **ret, clockid_t clock,
                               uint64_t usec, uint64_t accuracy, sd_event_time_handler_t handler,
                               void *userdata)
{
    (void)clock;
    (void)usec;
    (void)accuracy;
    event->tick = handler;
    event->userdata = userdata;
    *ret = NULL;
    return 0;
}

int sd_event_source_set_time_relative(sd_event_source *source, uint64_t usec)
{
    (void)source;
    (void)usec;
    return 0;
}

int sd_event_source_set_enabled(sd_event_source *source, int on)
{
    (void)source;
    (void)on;
    return 0;
}

sd_event_source *sd_event_source_disable_unref(sd_event_source *source)
{
    (void)source;
    return NULL;
}

int sd_event_exit(sd_event *event, int code)
{
    event->exit = true;
    event->code = code;
    return 0;
}
