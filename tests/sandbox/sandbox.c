#include "sandbox.h"

#include <string.h>

#include "control.h"
#include "core/timestamp.h"
#include "listing.h"
#include "memory.h"
#include "vault.h"

enum { MAX_LOGGED = 100000 };

static int64_t shifted_now(void *userdata)
{
    const struct sandbox *sandbox = userdata;

    return clock_now(clock_real()) + sandbox->clock_offset;
}

struct sandbox *sandbox_new(void)
{
    struct sandbox *sandbox = must(calloc(1, sizeof(*sandbox)));

    sandbox->clock = (struct clock){.now = shifted_now, .userdata = sandbox};
    settings_init(&sandbox->settings);
    sandbox->records = records_new();
    sandbox->rate = rate_new((unsigned)sandbox->settings.rate_per_minute);
    sandbox->faults = faults_new();
    sandbox->requests = must(json_array());
    sandbox->sessions = must(json_object());
    sandbox->revocations = must(json_array());
    sandbox->truth = must(json_pack("{s:[], s:[]}", "orders", "sessions"));
    return sandbox;
}

struct sandbox *sandbox_free(struct sandbox *sandbox)
{
    if (!sandbox)
        return NULL;
    settings_clear(&sandbox->settings);
    records_free(sandbox->records);
    rate_free(sandbox->rate);
    faults_free(sandbox->faults);
    json_decref(sandbox->requests);
    json_decref(sandbox->sessions);
    json_decref(sandbox->revocations);
    json_decref(sandbox->truth);
    free(sandbox);
    return NULL;
}

void sandbox_set_now(struct sandbox *sandbox, int64_t now)
{
    sandbox->clock_offset = now - clock_now(clock_real());
}

int sandbox_change_settings(struct sandbox *sandbox, const json_t *changes, struct error *err)
{
    int r = settings_change(&sandbox->settings, changes, err);

    if (r == 0 && json_object_get(changes, "rate_per_minute")) {
        rate_free(sandbox->rate);
        sandbox->rate = rate_new((unsigned)sandbox->settings.rate_per_minute);
    }
    return r;
}

/* --- routing ------------------------------------------------------------- */

static bool key_is(const struct request *request, const char *key)
{
    return request->api_key && strcmp(request->api_key, key) == 0;
}

/* jansson takes UTF-8 only. */
static json_t *text_or_null(const char *text)
{
    json_t *value = json_string(text);

    return value ? value : json_null();
}

static void log_request(struct sandbox *sandbox, const struct request *request,
                        const struct reply *reply, bool key_ok)
{
    char at[TIMESTAMP_TEXT_SIZE];

    if (json_array_size(sandbox->requests) == MAX_LOGGED)
        json_array_remove(sandbox->requests, 0);
    timestamp_format(clock_now(&sandbox->clock), at);
    json_array_append_new(sandbox->requests,
                          json_pack("{s:I, s:o, s:o, s:O, s:s, s:i, s:b, s:o}", "number",
                                    (json_int_t)++sandbox->n_requests, "method",
                                    text_or_null(request->method), "path",
                                    text_or_null(request->path), "query", request->query, "at", at,
                                    "status", reply->close || reply->hang ? 0 : (int)reply->status,
                                    "key_ok", key_ok, "body", text_or_null(request->body)));
}

void sandbox_handle(const struct request *request, struct reply *reply, void *userdata)
{
    struct sandbox *sandbox = userdata;
    bool pay = strcmp(request->path, "/transQuery") == 0;
    bool key_ok = key_is(request, pay ? sandbox->settings.api_key : sandbox->settings.vault_key);
    json_auto_t *canned = NULL;

    if (control_is_for(request)) {
        control_answer(sandbox, request, reply);
        return;
    }
    canned = faults_match(sandbox->faults, request);
    if (!canned || !fault_answer(canned, reply)) {
        if (pay)
            listing_answer(sandbox, request, key_ok, reply);
        else if (vault_is_for(request))
            vault_answer(sandbox, request, key_ok, reply);
        else
            reply_error(reply, 404, "nothing at %s", request->path);
    }
    if (canned)
        fault_travel(canned, reply);
    log_request(sandbox, request, reply, key_ok);
}
