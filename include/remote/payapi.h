/* The Pay API: listTransactions with its retries (SDK page, "Retry behavior") and the wait that a
 * 429 asks for. One question is under way at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/clock.h"
#include "core/rate_budget.h"
#include "remote/http.h"
#include "remote/payapi_codec.h"

struct payapi;

struct payapi_settings {
    const char *url; /* base URL, no trailing slash needed */
    const char *merchant_id;
    const struct secret *api_key;
    int64_t timeout_ms;
    unsigned retries;
    unsigned page_size;
    size_t max_body;
    struct payapi_codec codec;
};

/* Asked before every HTTP request, retries included: 0 to go ahead (and the request is counted),
 * else the milliseconds to wait before asking again; negative errno to give up. */
typedef int64_t (*payapi_gate)(enum rate_priority priority, void *userdata);

struct payapi_question {
    int64_t from, to; /* whole seconds, in ms; both included */
    int64_t page;     /* from 1 */
    enum rate_priority priority;
};

enum payapi_outcome {
    PAYAPI_PAGE,        /* answer.page is set */
    PAYAPI_UNREACHABLE, /* network error or timeout, after the retries; or nothing could be sent */
    PAYAPI_FAILED,      /* 5xx after the retries, or 429 too many times in a row */
    PAYAPI_REFUSED,     /* 401 or 403: the key */
    PAYAPI_REJECTED,    /* another 4xx: the request */
    PAYAPI_NOT_UNDERSTOOD, /* a redirect, no HTTP, too large, or a body that says nothing known */
    PAYAPI_STOPPED,        /* the gate gave up */
};

struct payapi_answer {
    enum payapi_outcome outcome;
    long status;       /* of the last HTTP answer, or 0 */
    const char *text;  /* for a person, unless PAYAPI_PAGE: what went wrong, and where */
    struct page *page; /* the callee may take it with TAKE_PTR() */
    unsigned requests; /* HTTP requests made for this question */
};

/* Called exactly once per question that was not cancelled, from the event loop. */
typedef void (*payapi_done)(struct payapi_answer *answer, void *userdata);

enum {
    PAYAPI_MAX_429 = 5, /* a question is given up at this many in a row */
};

/* Settings are copied (the strings, lists and secrets they point to must outlive the object).
 * 0, -ENOMEM or what sd-event returned. */
int payapi_new(sd_event *event, struct http *http, const struct clock *clock,
               const struct payapi_settings *settings, payapi_gate gate, void *gate_userdata,
               struct payapi **ret);
struct payapi *payapi_free(struct payapi *payapi);

/* Asks. 0, -EBUSY while a question is under way, -ENOMEM. */
int payapi_list(struct payapi *payapi, const struct payapi_question *question, payapi_done done,
                void *userdata);
bool payapi_busy(const struct payapi *payapi);
/* Drops the question under way; no callback will come. */
void payapi_cancel(struct payapi *payapi);
