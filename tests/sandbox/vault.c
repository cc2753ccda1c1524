#include "vault.h"

#include <string.h>

#include "core/timestamp.h"
#include "memory.h"

static const char revoke_path[] = "/sessions/revoke";
static const char session_prefix[] = "/sessions/";

bool vault_is_for(const struct request *request)
{
    if (strcmp(request->method, "DELETE") == 0)
        return strncmp(request->path, session_prefix, strlen(session_prefix)) == 0;
    return strcmp(request->path, revoke_path) == 0;
}

void vault_register(struct sandbox *sandbox, const char *key, int64_t fail_first)
{
    json_object_set_new(sandbox->sessions, key,
                        json_pack("{s:I}", "fail_first", (json_int_t)fail_first));
}

static void revoke(struct sandbox *sandbox, const char *key, struct reply *reply)
{
    json_t *session = json_object_get(sandbox->sessions, key);
    json_int_t fail_first = json_integer_value(json_object_get(session, "fail_first"));
    char at[TIMESTAMP_TEXT_SIZE];

    if (!session) {
        reply_error(reply, 404, "Session not found");
        return;
    }
    if (fail_first > 0) {
        json_object_set_new(session, "fail_first", json_integer(fail_first - 1));
        reply_error(reply, 500, "Something went wrong");
        return;
    }
    timestamp_format(clock_now(&sandbox->clock), at);
    json_array_append_new(sandbox->revocations,
                          json_pack("{s:s, s:s}", "session_key", key, "at", at));
    json_object_del(sandbox->sessions, key);
    reply_json(reply, 200,
               json_pack("{s:b, s:s, s:n}", "success", 1, "message", "Session revoked", "data"));
}

void vault_answer(struct sandbox *sandbox, const struct request *request, bool key_ok,
                  struct reply *reply)
{
    json_auto_t *body = NULL;
    const char *key;

    if (!key_ok) {
        reply_error(reply, 401, "Invalid API key");
        return;
    }
    if (strcmp(request->method, "DELETE") == 0) {
        revoke(sandbox, request->path + strlen(session_prefix), reply);
        return;
    }
    if (strcmp(request->method, "POST") != 0) {
        reply_error(reply, 405, "%s takes POST", revoke_path);
        return;
    }
    body = json_loadb(request->body, request->length, 0, NULL);
    key = json_string_value(json_object_get(body, "sessionKey"));
    if (!key) {
        reply_error(reply, 400, "sessionKey is missing");
        return;
    }
    revoke(sandbox, key, reply);
}
