/* The sandbox's state, and who answers which request. */
#pragma once

#include <jansson.h>

#include "base/clock.h"
#include "faults.h"
#include "rate.h"
#include "records.h"
#include "reply.h"
#include "request.h"
#include "settings.h"

struct sandbox {
    struct clock clock; /* the real clock, shifted: --now */
    int64_t clock_offset;
    struct settings settings;
    struct records *records;
    struct rate *rate; /* of transQuery */
    uint64_t listings; /* requests that transQuery let in */
    struct faults *faults;
    json_t *requests; /* log: an array of objects */
    uint64_t n_requests;
    json_t *sessions;    /* session key: {"fail_first": n} */
    json_t *revocations; /* array of {"session_key", "at"} */
    json_t *truth;       /* {"orders": […], "sessions": […]} */
};

struct sandbox *sandbox_new(void);
struct sandbox *sandbox_free(struct sandbox *sandbox);

/* From here on the sandbox's clock shows `now` and goes on from there. */
void sandbox_set_now(struct sandbox *sandbox, int64_t now);

/* As settings_change(), with what follows from it. */
int sandbox_change_settings(struct sandbox *sandbox, const json_t *changes, struct error *err);

/* The server's handler. */
void sandbox_handle(const struct request *request, struct reply *reply, void *userdata);
