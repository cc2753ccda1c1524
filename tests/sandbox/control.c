#include "control.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/timestamp.h"
#include "memory.h"
#include "vault.h"

static const char prefix[] = "/_sandbox/";

/* A verb's function gets the parsed body of a POST and returns what to answer with 200, or NULL
 * with `err` set for 400. */
typedef json_t *(*verb_function)(struct sandbox *sandbox, const struct request *request,
                                 const json_t *body, struct error *err);

static json_t *count(const char *what, size_t n)
{
    return json_pack("{s:I}", what, (json_int_t)n);
}

/* --- answers ------------------------------------------------------------- */

static json_t *get_answers(struct sandbox *sandbox, const struct request *request,
                           const json_t *body, struct error *err)
{
    (void)request, (void)body, (void)err;
    return faults_to_json(sandbox->faults);
}

static json_t *post_answers(struct sandbox *sandbox, const struct request *request,
                            const json_t *body, struct error *err)
{
    (void)request;
    if (faults_add(sandbox->faults, body, err) < 0)
        return NULL;
    return count("added", json_is_array(body) ? json_array_size(body) : 1);
}

static json_t *delete_answers(struct sandbox *sandbox, const struct request *request,
                              const json_t *body, struct error *err)
{
    (void)request, (void)body, (void)err;
    faults_forget(sandbox->faults);
    return json_object();
}

/* --- records ------------------------------------------------------------- */

static json_t *get_records(struct sandbox *sandbox, const struct request *request,
                           const json_t *body, struct error *err)
{
    size_t n;
    const struct record *records = records_sorted(sandbox->records, &n);
    json_t *list = must(json_array());

    (void)request, (void)body, (void)err;
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, record_to_json(&records[i]));
    return list;
}

static json_t *post_records(struct sandbox *sandbox, const struct request *request,
                            const json_t *body, struct error *err)
{
    size_t i;
    json_t *value;

    (void)request;
    if (!json_is_array(body)) {
        error_set(err, -EINVAL, "records: not an array");
        return NULL;
    }
    json_array_foreach((json_t *)body, i, value)
    {
        struct record record;

        if (record_from_json(value, clock_now(&sandbox->clock), &record, err) < 0)
            return NULL;
        records_add(sandbox->records, record);
    }
    return count("added", i);
}

static json_t *delete_records(struct sandbox *sandbox, const struct request *request,
                              const json_t *body, struct error *err)
{
    (void)body, (void)err;
    return count("deleted", records_remove(sandbox->records, request_parameter(request, "id")));
}

/* --- requests ------------------------------------------------------------ */

static json_t *get_requests(struct sandbox *sandbox, const struct request *request,
                            const json_t *body, struct error *err)
{
    (void)request, (void)body, (void)err;
    return json_incref(sandbox->requests);
}

static json_t *delete_requests(struct sandbox *sandbox, const struct request *request,
                               const json_t *body, struct error *err)
{
    (void)request, (void)body, (void)err;
    json_array_clear(sandbox->requests);
    return json_object();
}

/* --- settings ------------------------------------------------------------ */

static json_t *get_settings(struct sandbox *sandbox, const struct request *request,
                            const json_t *body, struct error *err)
{
    char now[TIMESTAMP_TEXT_SIZE];
    json_t *settings = settings_to_json(&sandbox->settings);

    (void)request, (void)body, (void)err;
    json_object_set_new(settings, "now",
                        json_string(timestamp_format(clock_now(&sandbox->clock), now)));
    return settings;
}

static json_t *post_settings(struct sandbox *sandbox, const struct request *request,
                             const json_t *body, struct error *err)
{
    json_auto_t *changes = json_copy((json_t *)body);
    const json_t *now = json_object_get(body, "now");
    int64_t at = 0;

    if (now && (!json_is_string(now) || timestamp_parse(json_string_value(now), &at) < 0)) {
        error_set(err, -EINVAL, "now: not a time");
        return NULL;
    }
    json_object_del(changes, "now");
    if (sandbox_change_settings(sandbox, changes, err) < 0)
        return NULL;
    if (now)
        sandbox_set_now(sandbox, at);
    return get_settings(sandbox, request, body, err);
}

/* --- the truth, the sessions --------------------------------------------- */

static json_t *get_truth(struct sandbox *sandbox, const struct request *request, const json_t *body,
                         struct error *err)
{
    (void)request, (void)body, (void)err;
    return json_incref(sandbox->truth);
}

static json_t *get_revocations(struct sandbox *sandbox, const struct request *request,
                               const json_t *body, struct error *err)
{
    (void)request, (void)body, (void)err;
    return json_incref(sandbox->revocations);
}

static json_t *get_sessions(struct sandbox *sandbox, const struct request *request,
                            const json_t *body, struct error *err)
{
    (void)request, (void)body, (void)err;
    return json_incref(sandbox->sessions);
}

static json_t *post_sessions(struct sandbox *sandbox, const struct request *request,
                             const json_t *body, struct error *err)
{
    size_t i;
    json_t *value;

    (void)request;
    if (!json_is_array(body)) {
        error_set(err, -EINVAL, "sessions: not an array");
        return NULL;
    }
    json_array_foreach((json_t *)body, i, value)
    {
        const char *key = json_string_value(
            json_is_string(value) ? value : json_object_get(value, "session_key"));

        if (!key) {
            error_set(err, -EINVAL, "session_key: not a text");
            return NULL;
        }
        vault_register(sandbox, key, json_integer_value(json_object_get(value, "fail_first")));
    }
    return count("added", i);
}

/* --- dispatch ------------------------------------------------------------ */

static const struct {
    const char *method, *name;
    verb_function function;
} verbs[] = {
    {"GET", "answers", get_answers},       {"POST", "answers", post_answers},
    {"DELETE", "answers", delete_answers}, {"GET", "records", get_records},
    {"POST", "records", post_records},     {"DELETE", "records", delete_records},
    {"GET", "requests", get_requests},     {"DELETE", "requests", delete_requests},
    {"GET", "settings", get_settings},     {"POST", "settings", post_settings},
    {"GET", "truth", get_truth},           {"GET", "revocations", get_revocations},
    {"GET", "sessions", get_sessions},     {"POST", "sessions", post_sessions},
};

bool control_is_for(const struct request *request)
{
    return strncmp(request->path, prefix, strlen(prefix)) == 0;
}

void control_answer(struct sandbox *sandbox, const struct request *request, struct reply *reply)
{
    const char *name = request->path + strlen(prefix);
    json_auto_t *body = NULL;
    json_error_t where;
    struct error err;
    json_t *answer;
    size_t i = 0;

    while (i < ELEMENTSOF(verbs) &&
           (strcmp(verbs[i].method, request->method) != 0 || strcmp(verbs[i].name, name) != 0))
        i++;
    if (i == ELEMENTSOF(verbs)) {
        reply_error(reply, 404, "no %s %s", request->method, request->path);
        return;
    }
    if (strcmp(request->method, "POST") == 0) {
        body = json_loadb(request->body, request->length, JSON_DECODE_ANY | JSON_ALLOW_NUL, &where);
        if (!body) {
            reply_error(reply, 400, "line %d: %s", where.line, where.text);
            return;
        }
    }
    answer = verbs[i].function(sandbox, request, body, &err);
    if (answer)
        reply_json(reply, 200, answer);
    else
        reply_error(reply, 400, "%s", err.text);
}
