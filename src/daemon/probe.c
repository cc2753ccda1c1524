#include "daemon/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "core/timestamp.h"
#include "remote/http.h"
#include "remote/payapi.h"

static int64_t no_gate(enum rate_priority priority, void *userdata)
{
    (void)priority;
    (void)userdata;
    return 0;
}

static int exit_code(enum payapi_outcome outcome)
{
    switch (outcome) {
    case PAYAPI_PAGE:
        return EX_OK;
    case PAYAPI_REFUSED:
        return EX_NOPERM;
    case PAYAPI_REJECTED:
    case PAYAPI_NOT_UNDERSTOOD:
        return EX_PROTOCOL;
    case PAYAPI_UNREACHABLE:
    case PAYAPI_FAILED:
    case PAYAPI_STOPPED:
        break;
    }
    return EX_TEMPFAIL;
}

static void on_answer(struct payapi_answer *answer, void *userdata)
{
    if (answer->outcome == PAYAPI_PAGE)
        printf("the Pay API answers and accepts the key\n");
    else
        printf("%s\n", answer->text);
    sd_event_exit(userdata, exit_code(answer->outcome));
}

int probe(const struct config *config, const struct clock *clock)
{
    static const char *const none[] = {NULL};
    struct secret *email_key = email_key_new(); /* for hashes that nobody will see */
    const struct payapi_settings settings = {
        .url = config->pay_url,
        .merchant_id = config->merchant_id,
        .api_key = config->merchant_api_key,
        .timeout_ms = config->pay_timeout,
        .page_size = 1,
        .max_body = (size_t)config->pay_max_body,
        .codec = {.order_ref = none, .original_ref = none, .email_key = email_key},
    };
    int64_t now = timestamp_floor_second(clock_now(clock));
    const struct payapi_question question = {
        .from = now - 60 * 1000, .to = now, .page = 1, .priority = RATE_ORDER};
    struct payapi *payapi = NULL;
    struct http *http = NULL;
    sd_event *event = NULL;
    int r;

    r = email_key ? sd_event_new(&event) : -ENOMEM;
    if (r >= 0)
        r = http_new(event, &http);
    if (r >= 0)
        r = payapi_new(event, http, clock, &settings, no_gate, NULL, &payapi);
    if (r >= 0)
        r = payapi_list(payapi, &question, on_answer, event);
    if (r >= 0)
        r = sd_event_loop(event);
    if (r < 0) {
        printf("the request could not be made: %s\n", strerror(-r));
        r = EX_TEMPFAIL;
    }
    payapi_free(payapi);
    http_free(http);
    sd_event_unref(event);
    secret_free(email_key);
    return r;
}
