/* What goes back on one request: an answer, and how well it travels. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reply {
    unsigned status;
    json_t *headers; /* an object of texts, or NULL */
    /* The body is `pattern` over and over until `length` bytes are sent, so that a huge one needs
     * no memory. An ordinary body is its pattern once. */
    char *pattern;
    size_t pattern_length;
    uint64_t length;
    int64_t delay_ms; /* before the status line */
    int64_t drip_ms;  /* between two bytes of the body */
    int64_t truncate; /* bytes of the body after which the connection is closed; -1: never */
    bool close;       /* no answer, the connection is closed */
    bool hang;        /* no answer, the connection stays open */
};

#define REPLY_INIT ((struct reply){.truncate = -1})

void reply_clear(struct reply *reply);

/* Sets the status and the body; `text` and `body` are taken over. */
void reply_text(struct reply *reply, unsigned status, char *text, size_t length);
void reply_json(struct reply *reply, unsigned status, json_t *body);

/* {"success":false,"message":…,"data":null}, as the Vault's documentation has it. */
void reply_error(struct reply *reply, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void reply_header(struct reply *reply, const char *name, const char *value);
