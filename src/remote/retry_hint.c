#include "remote/retry_hint.h"

#include <stddef.h>

#include "base/cleanup.h"
#include "core/retry_after.h"
#include "remote/json_text.h"

DEFINE_CLEANUP(json_t *, json_decref)

static const char *find(const json_t *object)
{
    static const char *const names[] = {"retryAfter", "retry_after", "retry_after_seconds"};

    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        const json_t *value = json_object_get(object, names[i]);
        const char *text = json_text_number(value);

        if (!text)
            text = json_text_string(value);
        if (text)
            return text;
    }
    return NULL;
}

int64_t retry_hint(const struct http_response *response, bool body_first, int64_t now)
{
    _cleanup_(json_decref_p) json_t *root = NULL;
    const char *hint = body_first ? NULL : response->retry_after;

    if (!hint && json_text_load(response->body, response->length, &root, NULL) == 0) {
        hint = find(root);
        if (!hint)
            hint = find(json_object_get(root, "error"));
    }
    return retry_after_parse(hint ? hint : response->retry_after, now);
}
