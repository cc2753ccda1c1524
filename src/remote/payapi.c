#include "remote/payapi.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/backoff.h"
#include "core/timestamp.h"
#include "remote/retry_hint.h"

enum {
    BACKOFF_BASE_MS = 1000,
    BACKOFF_MAX_MS = 60 * 1000,
    TIMER_ACCURACY_US = 1000,
};

struct payapi {
    struct http *http;
    const struct clock *clock;
    struct payapi_settings settings;
    payapi_gate gate;
    void *gate_userdata;
    sd_event_source *timer; /* on while the question waits: to begin, for the gate, for a retry */

    /* The question under way. */
    bool busy;
    struct payapi_question question;
    payapi_done done;
    void *userdata;
    struct http_transfer *transfer;
    unsigned retries, throttled, requests;
    long status;
};

DEFINE_CLEANUP(struct payapi *, payapi_free)
DEFINE_CLEANUP(struct page *, page_free)

/* The next step is taken from the loop in `wait_ms`. */
static void step_later(struct payapi *payapi, int64_t wait_ms)
{
    sd_event_source_set_time_relative(payapi->timer, (uint64_t)wait_ms * 1000);
    sd_event_source_set_enabled(payapi->timer, SD_EVENT_ONESHOT);
}

/* The question is over before the callback, which may ask the next one or free everything. */
static void finish(struct payapi *payapi, enum payapi_outcome outcome, struct page *page,
                   const char *what)
{
    struct payapi_answer answer = {
        .outcome = outcome, .status = payapi->status, .page = page, .requests = payapi->requests};
    char from[TIMESTAMP_TEXT_SIZE], to[TIMESTAMP_TEXT_SIZE];
    char text[768];

    if (outcome != PAYAPI_PAGE) {
        snprintf(text, sizeof(text), "transQuery from %s to %s, page %" PRId64 ": %s",
                 timestamp_format_query(payapi->question.from, from),
                 timestamp_format_query(payapi->question.to, to), payapi->question.page, what);
        answer.text = text;
    }
    payapi->busy = false;
    payapi->done(&answer, payapi->userdata);
    page_free(answer.page);
}

static void retry_or_finish(struct payapi *payapi, enum payapi_outcome outcome, const char *what)
{
    char text[640];

    payapi->throttled = 0;
    if (payapi->retries < payapi->settings.retries) {
        step_later(payapi, backoff_delay(BACKOFF_BASE_MS, payapi->retries++, BACKOFF_MAX_MS));
        return;
    }
    snprintf(text, sizeof(text), "%.560s (after %u retries)", what, payapi->retries);
    finish(payapi, outcome, NULL, text);
}

static void handle_throttled(struct payapi *payapi, const struct http_response *response)
{
    if (++payapi->throttled >= PAYAPI_MAX_429)
        finish(payapi, PAYAPI_FAILED, NULL, response->text);
    else
        step_later(payapi, retry_hint(response, false, clock_now(payapi->clock)));
}

static void handle_body(struct payapi *payapi, const struct http_response *response)
{
    const struct payapi_question *question = &payapi->question;
    _cleanup_(page_free_p) struct page *page = NULL;
    struct error err = {0};
    int r;

    r = payapi_decode(&payapi->settings.codec, response->body, response->length, &page, &err);
    if (r == -ENOMEM)
        error_set(&err, r, "out of memory while reading the answer");
    else if (r >= 0 && page->number >= 0 && page->number != question->page)
        r = error_set(&err, -EBADMSG, "page %" PRId64 " came instead", page->number);
    else if (r >= 0 && !page->has_next && page->total_pages > question->page)
        r = error_set(&err, -EBADMSG, "it claims to be the last of %" PRId64 " pages",
                      page->total_pages);
    if (r < 0)
        finish(payapi, PAYAPI_NOT_UNDERSTOOD, NULL, err.text);
    else
        finish(payapi, PAYAPI_PAGE, TAKE_PTR(page), NULL);
}

static void handle_status(struct payapi *payapi, const struct http_response *response)
{
    long status = response->status;

    payapi->status = status;
    if (status == 200)
        handle_body(payapi, response);
    else if (status == 429)
        handle_throttled(payapi, response);
    else if (status == 401 || status == 403)
        finish(payapi, PAYAPI_REFUSED, NULL, response->text);
    else if (status >= 400 && status < 500)
        finish(payapi, PAYAPI_REJECTED, NULL, response->text);
    else if (status >= 500 && status < 600)
        retry_or_finish(payapi, PAYAPI_FAILED, response->text);
    else
        finish(payapi, PAYAPI_NOT_UNDERSTOOD, NULL, response->text);
}

static void on_response(const struct http_response *response, void *userdata)
{
    struct payapi *payapi = userdata;

    payapi->transfer = NULL;
    switch (response->outcome) {
    case HTTP_ANSWERED:
        handle_status(payapi, response);
        break;
    case HTTP_NEVER_SENT:
    case HTTP_NO_ANSWER:
        retry_or_finish(payapi, PAYAPI_UNREACHABLE, response->text);
        break;
    case HTTP_TOO_LARGE:
    case HTTP_NOT_HTTP:
        finish(payapi, PAYAPI_NOT_UNDERSTOOD, NULL, response->text);
        break;
    }
}

static int make_url(const struct payapi *payapi, char **ret)
{
    const struct payapi_settings *settings = &payapi->settings;
    const struct payapi_question *question = &payapi->question;
    char from[TIMESTAMP_TEXT_SIZE], to[TIMESTAMP_TEXT_SIZE], page[24], limit[24];
    const struct {
        const char *name, *value;
    } parameters[] = {
        {"?merchantId=", settings->merchant_id},
        {"&dateFrom=", timestamp_format_query(question->from, from)},
        {"&dateTo=", timestamp_format_query(question->to, to)},
        {"&page=", page},
        {"&limit=", limit},
        {"&sortBy=", "createdAt"},
        {"&sortOrder=", "asc"},
    };
    size_t length = strlen(settings->url);
    char *url;

    snprintf(page, sizeof(page), "%" PRId64, question->page);
    snprintf(limit, sizeof(limit), "%u", settings->page_size);
    while (length > 0 && settings->url[length - 1] == '/')
        length--;
    if (asprintf(&url, "%.*s/transQuery", (int)length, settings->url) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < ELEMENTSOF(parameters); i++) {
        char *longer;

        if (asprintf(&longer, "%s%s", url, parameters[i].name) < 0)
            longer = NULL;
        free(url);
        url = longer;
        if (!url || http_append_encoded(&url, parameters[i].value) < 0) {
            free(url);
            return -ENOMEM;
        }
    }
    *ret = url;
    return 0;
}

static int send_request(struct payapi *payapi)
{
    _cleanup_free_ char *url = NULL;
    struct http_request request = {
        .method = "GET",
        .key_header = "x-api-key",
        .key = payapi->settings.api_key,
        .timeout_ms = payapi->settings.timeout_ms,
        .max_body = payapi->settings.max_body,
    };
    int r;

    r = make_url(payapi, &url);
    if (r < 0)
        return r;
    request.url = url;
    return http_start(payapi->http, &request, on_response, payapi, &payapi->transfer);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct payapi *payapi = userdata;
    int64_t wait;
    int r;

    (void)source;
    (void)usec;
    wait = payapi->gate(payapi->question.priority, payapi->gate_userdata);
    if (wait < 0) {
        finish(payapi, PAYAPI_STOPPED, NULL, "stopped");
        return 0;
    }
    if (wait > 0) {
        step_later(payapi, wait);
        return 0;
    }
    payapi->requests++;
    r = send_request(payapi);
    if (r < 0)
        finish(payapi, PAYAPI_UNREACHABLE, NULL,
               r == -ENOMEM ? "out of memory" : "the URL or the key cannot be used");
    return 0;
}

int payapi_new(sd_event *event, struct http *http, const struct clock *clock,
               const struct payapi_settings *settings, payapi_gate gate, void *gate_userdata,
               struct payapi **ret)
{
    _cleanup_(payapi_free_p) struct payapi *payapi = calloc(1, sizeof(*payapi));
    int r;

    if (!payapi)
        return -ENOMEM;
    payapi->http = http;
    payapi->clock = clock;
    payapi->settings = *settings;
    payapi->gate = gate;
    payapi->gate_userdata = gate_userdata;
    r = sd_event_add_time_relative(event, &payapi->timer, CLOCK_MONOTONIC, 0, TIMER_ACCURACY_US,
                                   on_timer, payapi);
    if (r < 0)
        return r;
    sd_event_source_set_enabled(payapi->timer, SD_EVENT_OFF);
    *ret = TAKE_PTR(payapi);
    return 0;
}

struct payapi *payapi_free(struct payapi *payapi)
{
    if (!payapi)
        return NULL;
    payapi_cancel(payapi);
    sd_event_source_disable_unref(payapi->timer);
    free(payapi);
    return NULL;
}

int payapi_list(struct payapi *payapi, const struct payapi_question *question, payapi_done done,
                void *userdata)
{
    if (payapi->busy)
        return -EBUSY;
    payapi->busy = true;
    payapi->question = *question;
    payapi->done = done;
    payapi->userdata = userdata;
    payapi->retries = payapi->throttled = payapi->requests = 0;
    payapi->status = 0;
    step_later(payapi, 0);
    return 0;
}

bool payapi_busy(const struct payapi *payapi)
{
    return payapi->busy;
}

void payapi_cancel(struct payapi *payapi)
{
    payapi->transfer = http_cancel(payapi->transfer);
    if (payapi->timer)
        sd_event_source_set_enabled(payapi->timer, SD_EVENT_OFF);
    payapi->busy = false;
}
