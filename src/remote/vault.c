#include "remote/vault.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/backoff.h"
#include "remote/retry_hint.h"

#define PLACEHOLDER "{sessionKey}"

enum {
    BACKOFF_BASE_MS = 1000,
    BACKOFF_MAX_MS = 60 * 1000,
    TIMER_ACCURACY_US = 1000,
    MAX_BODY = 64 * 1024, /* an answer says hardly more than yes or no */
};

/* One revocation. */
struct job {
    struct vault *vault;
    struct job *next, **self;
    struct secret *key;
    vault_done done;
    void *userdata;
    struct http_transfer *transfer;
    sd_event_source *timer; /* on while it waits: to begin, for a retry */
    unsigned retries;
    long status;
};

struct vault {
    sd_event *event;
    struct http *http;
    const struct clock *clock;
    struct vault_settings settings;
    struct job *jobs;
};

static struct job *job_free(struct job *job)
{
    if (!job)
        return NULL;
    if (job->self) {
        *job->self = job->next;
        if (job->next)
            job->next->self = job->self;
    }
    http_cancel(job->transfer);
    sd_event_source_disable_unref(job->timer);
    secret_free(job->key);
    free(job);
    return NULL;
}

DEFINE_CLEANUP(struct job *, job_free)
DEFINE_CLEANUP(struct secret *, secret_free)

/* The job is over before the callback, which may begin another or free everything. */
static void finish(struct job *job, enum vault_outcome outcome, int64_t wait_ms, const char *text)
{
    struct vault_answer answer = {
        .outcome = outcome, .status = job->status, .wait_ms = wait_ms, .text = text};
    vault_done done = job->done;
    void *userdata = job->userdata;

    job_free(job);
    done(&answer, userdata);
}

static void step_later(struct job *job, int64_t wait_ms)
{
    sd_event_source_set_time_relative(job->timer, (uint64_t)wait_ms * 1000);
    sd_event_source_set_enabled(job->timer, SD_EVENT_ONESHOT);
}

static void retry_or_finish(struct job *job, const char *what)
{
    char text[640];

    if (job->retries < job->vault->settings.retries) {
        step_later(job, backoff_delay(BACKOFF_BASE_MS, job->retries++, BACKOFF_MAX_MS));
        return;
    }
    snprintf(text, sizeof(text), "%.560s (after %u retries)", what, job->retries);
    finish(job, VAULT_FAILED, 0, text);
}

static void handle_status(struct job *job, const struct http_response *response)
{
    long status = response->status;

    job->status = status;
    if (status >= 200 && status < 300)
        finish(job, VAULT_REVOKED, 0, response->text);
    else if (status == 404 || status == 410)
        finish(job, VAULT_GONE, 0, response->text);
    else if (status == 401 || status == 403)
        finish(job, VAULT_REFUSED, 0, response->text);
    else if (status == 429)
        finish(job, VAULT_LATER, retry_hint(response, true, clock_now(job->vault->clock)),
               response->text);
    else if (status >= 500 && status < 600)
        retry_or_finish(job, response->text);
    else
        finish(job, VAULT_REJECTED, 0, response->text);
}

static void on_response(const struct http_response *response, void *userdata)
{
    struct job *job = userdata;

    job->transfer = NULL;
    switch (response->outcome) {
    case HTTP_ANSWERED:
        handle_status(job, response);
        break;
    case HTTP_NEVER_SENT:
    case HTTP_NO_ANSWER:
        retry_or_finish(job, response->text);
        break;
    case HTTP_TOO_LARGE:
    case HTTP_NOT_HTTP:
        finish(job, VAULT_FAILED, 0, response->text);
        break;
    }
}

/* Appends `n` bytes; what was there before is wiped, as it may hold the key. */
static int append(char **text, const char *more, size_t n)
{
    size_t length = *text ? strlen(*text) : 0;
    char *longer = malloc(length + n + 1);

    if (!longer)
        return -ENOMEM;
    if (*text) {
        memcpy(longer, *text, length);
        secret_wipe(*text, length);
    }
    memcpy(longer + length, more, n);
    longer[length + n] = '\0';
    free(*text);
    *text = longer;
    return 0;
}

/* *ret may hold a part of the URL on failure too. */
static int make_url(const struct job *job, char **ret)
{
    const struct vault_settings *settings = &job->vault->settings;
    const char *path = settings->path, *placeholder;
    size_t length = strlen(settings->url);
    int r;

    while (length > 0 && settings->url[length - 1] == '/')
        length--;
    r = append(ret, settings->url, length);
    while (r >= 0 && (placeholder = strstr(path, PLACEHOLDER))) {
        r = append(ret, path, (size_t)(placeholder - path));
        if (r >= 0)
            r = http_append_encoded(ret, secret_text(job->key));
        path = placeholder + strlen(PLACEHOLDER);
    }
    return r < 0 ? r : append(ret, path, strlen(path));
}

/* {"sessionKey":"…"}. -EINVAL for a key that is no UTF-8. */
static int make_body(const struct secret *key, struct secret **ret)
{
    json_t *object = json_object();
    json_t *value = json_stringn(secret_text(key), secret_length(key));
    char *text = NULL;
    size_t size = 0;
    int r = -ENOMEM;

    if (!value)
        r = -EINVAL;
    if (object && value && json_object_set(object, "sessionKey", value) == 0) {
        size = json_dumpb(object, NULL, 0, JSON_COMPACT);
        text = malloc(size);
    }
    if (text && json_dumpb(object, text, size, JSON_COMPACT) == size) {
        *ret = secret_new(text, size);
        r = *ret ? 0 : -ENOMEM;
    }
    if (text)
        secret_wipe(text, size);
    free(text);
    if (value) /* jansson has no memory of its own to wipe, but this copy */
        secret_wipe((char *)json_string_value(value), json_string_length(value));
    json_decref(value);
    json_decref(object);
    return r;
}

static int send_request(struct job *job)
{
    const struct vault_settings *settings = &job->vault->settings;
    _cleanup_(secret_free_p) struct secret *body = NULL;
    char *url = NULL;
    int r = 0;

    if (!strstr(settings->path, PLACEHOLDER))
        r = make_body(job->key, &body);
    if (r >= 0)
        r = make_url(job, &url);
    if (r >= 0) {
        struct http_request request = {
            .method = settings->method,
            .url = url,
            .key_header = "X-API-Key",
            .key = settings->api_key,
            .body = body,
            .timeout_ms = settings->timeout_ms,
            .max_body = MAX_BODY,
        };

        r = http_start(job->vault->http, &request, on_response, job, &job->transfer);
    }
    if (url)
        secret_wipe(url, strlen(url));
    free(url);
    return r;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct job *job = userdata;
    int r;

    (void)source;
    (void)usec;
    r = send_request(job);
    if (r < 0)
        finish(job, VAULT_FAILED, 0,
               r == -ENOMEM ? "out of memory" : "the URL or a key cannot be used");
    return 0;
}

int vault_new(sd_event *event, struct http *http, const struct clock *clock,
              const struct vault_settings *settings, struct vault **ret)
{
    struct vault *vault = calloc(1, sizeof(*vault));

    if (!vault)
        return -ENOMEM;
    vault->event = sd_event_ref(event);
    vault->http = http;
    vault->clock = clock;
    vault->settings = *settings;
    *ret = vault;
    return 0;
}

struct vault *vault_free(struct vault *vault)
{
    if (!vault)
        return NULL;
    while (vault->jobs)
        job_free(vault->jobs);
    sd_event_unref(vault->event);
    free(vault);
    return NULL;
}

int vault_revoke(struct vault *vault, const struct secret *session_key, vault_done done,
                 void *userdata)
{
    _cleanup_(job_free_p) struct job *job = calloc(1, sizeof(*job));

    if (!job)
        return -ENOMEM;
    job->vault = vault;
    job->done = done;
    job->userdata = userdata;
    job->key = secret_new(secret_text(session_key), secret_length(session_key));
    if (!job->key)
        return -ENOMEM;
    if (sd_event_add_time_relative(vault->event, &job->timer, CLOCK_MONOTONIC, 0, TIMER_ACCURACY_US,
                                   on_timer, job) < 0)
        return -ENOMEM;
    job->next = vault->jobs;
    if (job->next)
        job->next->self = &job->next;
    job->self = &vault->jobs;
    vault->jobs = job;
    TAKE_PTR(job);
    return 0;
}
