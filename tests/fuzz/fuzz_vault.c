/* What the Vault may answer, through the client itself: the kind of failure, the status,
 * Retry-After and the body are the input, HTTP and the loop are ours. An answer comes exactly once,
 * means what its status says, waits as long as a plain reading of it, and never shows the key. */
#include "fuzz.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>

#include "core/retry_after.h"
#include "remote/vault.h"

static const char session_key[] = "key \"1\" \xc3\xa4/?&";

/* --- the loop and HTTP, instead of the program's own ------------------------------------------ */

static struct {
    sd_event_time_handler_t handler;
    void *userdata;
    bool on;
} timer;

static struct {
    http_done done;
    void *userdata;
    unsigned started;
    bool under_way;
} transfer;

sd_event *sd_event_ref(sd_event *event)
{
    return event;
}

sd_event *sd_event_unref(sd_event *event)
{
    (void)event;
    return NULL;
}

int sd_event_add_time_relative(sd_event *event, sd_event_source **ret, clockid_t clock,
                               uint64_t usec, uint64_t accuracy, sd_event_time_handler_t handler,
                               void *userdata)
{
    (void)event;
    (void)clock;
    (void)usec;
    (void)accuracy;
    timer.handler = handler;
    timer.userdata = userdata;
    timer.on = true;
    *ret = (sd_event_source *)&timer;
    return 0;
}

int sd_event_source_set_time_relative(sd_event_source *source, uint64_t usec)
{
    (void)source;
    REQUIRE(usec > 0 && usec <= 60 * 1000000);
    return 0;
}

int sd_event_source_set_enabled(sd_event_source *source, int on)
{
    (void)source;
    timer.on = on == SD_EVENT_ONESHOT;
    return 0;
}

sd_event_source *sd_event_source_disable_unref(sd_event_source *source)
{
    (void)source;
    timer.on = false;
    return NULL;
}

int http_start(struct http *http, const struct http_request *request, http_done done,
               void *userdata, struct http_transfer **ret)
{
    json_t *body;

    (void)http;
    REQUIRE(!transfer.under_way && request->body && !strstr(request->url, session_key));
    body = json_loadb(secret_text(request->body), secret_length(request->body), 0, NULL);
    REQUIRE(body && json_object_size(body) == 1);
    REQUIRE(strcmp(json_string_value(json_object_get(body, "sessionKey")), session_key) == 0);
    json_decref(body);
    transfer.done = done;
    transfer.userdata = userdata;
    transfer.under_way = true;
    transfer.started++;
    *ret = (struct http_transfer *)&transfer;
    return 0;
}

struct http_transfer *http_cancel(struct http_transfer *under_way)
{
    REQUIRE(!under_way);
    return NULL;
}

int http_append_encoded(char **text, const char *value)
{
    (void)text;
    (void)value;
    return -ENOMEM; /* the key is not in the path */
}

/* --- an answer -------------------------------------------------------------------------------- */

static int64_t now(void *userdata)
{
    (void)userdata;
    return 1780000000123;
}

static struct vault_answer answer;
static char answer_text[700];
static unsigned answers;

static void on_answer(const struct vault_answer *given, void *userdata)
{
    REQUIRE(userdata == &answers);
    answers++;
    answer = *given;
    snprintf(answer_text, sizeof(answer_text), "%s", given->text);
}

static enum vault_outcome outcome_of(const struct http_response *response)
{
    if (response->outcome != HTTP_ANSWERED)
        return VAULT_FAILED;
    if (response->status / 100 == 2)
        return VAULT_REVOKED;
    if (response->status / 100 == 5)
        return VAULT_FAILED;
    switch (response->status) {
    case 404:
    case 410:
        return VAULT_GONE;
    case 401:
    case 403:
        return VAULT_REFUSED;
    case 429:
        return VAULT_LATER;
    default:
        return VAULT_REJECTED;
    }
}

/* A body that anyone reads alike: one member of that name, a number of seconds. */
static void require_plain_wait(const struct http_response *response)
{
    json_t *root = json_loadb(response->body, response->length, JSON_REJECT_DUPLICATES, NULL);
    json_t *seconds = json_object_get(root, "retry_after_seconds");

    /* jansson takes a NUL behind a number for an end of the text. */
    if (root && !memchr(response->body, '\0', response->length) && !strchr(response->body, '-') &&
        json_object_size(root) == 1 && json_is_integer(seconds) &&
        json_integer_value(seconds) >= 0 && json_integer_value(seconds) <= 600)
        REQUIRE(answer.wait_ms == json_integer_value(seconds) * 1000);
    if (!memchr(response->body, '{', response->length))
        REQUIRE(answer.wait_ms == retry_after_parse(response->retry_after, now(NULL)));
    json_decref(root);
}

static void require_answer(const struct http_response *response, unsigned retries)
{
    bool again = response->outcome == HTTP_NEVER_SENT || response->outcome == HTTP_NO_ANSWER ||
                 (response->outcome == HTTP_ANSWERED && response->status / 100 == 5);

    REQUIRE(answers == 1 && answer.outcome == outcome_of(response));
    REQUIRE(transfer.started == (again ? retries + 1 : 1));
    REQUIRE(answer.status == (response->outcome == HTTP_ANSWERED ? response->status : 0));
    REQUIRE(strstr(answer_text, response->text) && !strstr(answer_text, session_key));
    REQUIRE(answer.wait_ms >= 0 && answer.wait_ms <= RETRY_AFTER_MAX_MS);
    if (answer.outcome == VAULT_LATER)
        require_plain_wait(response);
    else
        REQUIRE(answer.wait_ms == 0);
}

/* Kind of failure and retries, the status in two bytes, then Retry-After to the end of its line
 * (none if the line begins with '-'), then the body. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct clock clock = {now, NULL};
    struct vault_settings settings = {.url = "https://vault.example",
                                      .method = "POST",
                                      .path = "/sessions/revoke",
                                      .timeout_ms = 1000};
    struct http_response response = {.text = "vault.example: an answer"};
    struct secret *key = secret_new(session_key, strlen(session_key));
    struct vault *vault;
    char *text, *line;

    if (size < 3) {
        secret_free(key);
        return 0;
    }
    settings.retries = data[0] / 16 % 4;
    response.outcome = data[0] % 16 < 5 ? (enum http_outcome)(data[0] % 16) : HTTP_ANSWERED;
    if (response.outcome == HTTP_ANSWERED)
        response.status = 100 + (data[1] * 256 + data[2]) % 500;
    text = fuzz_text(data + 3, size - 3);
    line = memchr(text, '\n', size - 3);
    response.body = line ? line + 1 : "";
    response.length = line ? size - 3 - (size_t)(line + 1 - text) : 0;
    if (line)
        *line = '\0';
    response.retry_after = *text == '-' ? NULL : text;
    answers = transfer.started = 0;
    REQUIRE(key && vault_new(NULL, NULL, &clock, &settings, &vault) == 0);
    REQUIRE(vault_revoke(vault, key, on_answer, &answers) == 0);
    secret_free(key);
    while (timer.on) {
        timer.on = false;
        timer.handler(NULL, 0, timer.userdata);
        if (transfer.under_way) {
            transfer.under_way = false;
            transfer.done(&response, transfer.userdata);
        }
    }
    require_answer(&response, settings.retries);
    vault_free(vault);
    free(text);
    return 0;
}
