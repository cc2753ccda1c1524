/* One HTTP request, whole. */
#pragma once

#include <jansson.h>
#include <stddef.h>

struct request {
    const char *method;
    const char *path;
    json_t *query;       /* an object of texts */
    const char *api_key; /* the header x-api-key (any case), or NULL */
    const char *body;
    size_t length;
};

/* A query parameter, or NULL. */
static inline const char *request_parameter(const struct request *request, const char *name)
{
    return json_string_value(json_object_get(request->query, name));
}
