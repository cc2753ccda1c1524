#include "reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "memory.h"

void reply_clear(struct reply *reply)
{
    json_decref(reply->headers);
    free(reply->pattern);
    *reply = REPLY_INIT;
}

void reply_header(struct reply *reply, const char *name, const char *value)
{
    if (!reply->headers)
        reply->headers = must(json_object());
    json_object_set_new(reply->headers, name, json_string(value));
}

void reply_text(struct reply *reply, unsigned status, char *text, size_t length)
{
    free(reply->pattern);
    reply->status = status;
    reply->pattern = text;
    reply->pattern_length = length;
    reply->length = length;
    reply_header(reply, "Content-Type", "application/json");
}

void reply_json(struct reply *reply, unsigned status, json_t *body)
{
    char *text = must(json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY));

    json_decref(body);
    reply_text(reply, status, text, strlen(text));
}

void reply_error(struct reply *reply, unsigned status, const char *format, ...)
{
    char message[256];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    /* It may quote a request, and jansson takes UTF-8 only. */
    for (char *p = message; *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    reply_json(reply, status,
               json_pack("{s:b, s:s, s:n}", "success", 0, "message", message, "data"));
}
