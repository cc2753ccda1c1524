/* Thin glue between libcurl's multi interface and sd-event: many requests at once on one loop,
 * nothing blocks. It knows HTTP and no API.
 *
 * TLS certificates and host names are always verified, redirects are never followed, no
 * compression is asked for, no protocol but http and https is spoken, an answer's body is bounded.
 * A plain http:// request is made directly, never through a proxy. What curl allocates is wiped
 * when freed. SIGPIPE must be ignored by the program. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/error.h"
#include "base/secret.h"

struct http;
struct http_transfer;

enum http_outcome {
    HTTP_ANSWERED,   /* a status line, headers and the whole body arrived */
    HTTP_NEVER_SENT, /* no connection: name, route, refusal, TLS; the request was not sent */
    HTTP_NO_ANSWER,  /* sent (or perhaps sent), and no whole answer came: reset, cut off, timeout */
    HTTP_TOO_LARGE,  /* the body passed max_body, or the headers 64 KiB; broken off */
    HTTP_NOT_HTTP,   /* what came is no HTTP */
};

struct http_request {
    const char *method;     /* "GET", "POST", … */
    const char *url;        /* complete, with the query */
    const char *key_header; /* name of the header that carries `key`, or NULL */
    const struct secret *key;
    const struct secret *body; /* a JSON body, or NULL; secret, as it may hold a session key */
    int64_t timeout_ms;        /* for the whole request, connecting and a slow drip included */
    size_t max_body;
};

struct http_response {
    enum http_outcome outcome;
    long status;      /* 0 unless HTTP_ANSWERED */
    const char *body; /* NUL-terminated, `length` bytes before that; valid in the callback */
    size_t length;
    const char *retry_after; /* header value, or NULL */
    const char *text;        /* for a person: host, port and what came; no path, no body */
};

/* Called exactly once per started transfer that was not cancelled, from the event loop, never from
 * http_start(). The transfer is gone by then and must not be cancelled; new ones may be started,
 * others cancelled, and the struct http itself freed. */
typedef void (*http_done)(const struct http_response *response, void *userdata);

/* 0 or -ENOMEM, or what sd-event returned. `event` is referenced. */
int http_new(sd_event *event, struct http **ret);
/* Cancels what is under way without calling back; NULL is accepted and returned. */
struct http *http_free(struct http *http);

/* Everything in `request` is copied or used up before the call returns. 0, -ENOMEM, -EINVAL (a URL
 * that is not http or https or has a user in it, a key that does not fit a header, no timeout). */
int http_start(struct http *http, const struct http_request *request, http_done done,
               void *userdata, struct http_transfer **ret);

/* Forgets a transfer: no callback will come. NULL is accepted. Returns NULL. */
struct http_transfer *http_cancel(struct http_transfer *transfer);

/* Appends `value`, percent-encoded but for RFC 3986's unreserved characters, to a malloc'd string
 * or NULL. What was there before is wiped. 0 or -ENOMEM. */
int http_append_encoded(char **text, const char *value);
