/* The Vault: revocation of a payment session. Many at once. */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/clock.h"
#include "remote/http.h"

struct vault;

struct vault_settings {
    const char *url;
    const char *method; /* "POST" */
    const char *path;   /* "/sessions/revoke"; "{sessionKey}" in it is replaced, percent-encoded,
                         * else the key goes in the body as {"sessionKey":"…"} */
    const struct secret *api_key; /* header X-API-Key */
    int64_t timeout_ms;
    unsigned retries; /* on 5xx and network errors: 1 s, 2 s, 4 s … */
};

enum vault_outcome {
    VAULT_REVOKED,  /* 2xx */
    VAULT_GONE,     /* 404 or 410 */
    VAULT_REFUSED,  /* 401 or 403: our key */
    VAULT_LATER,    /* 429: after wait_ms */
    VAULT_FAILED,   /* 5xx or network error, after the retries; no HTTP, or too large */
    VAULT_REJECTED, /* a redirect or another 4xx */
};

struct vault_answer {
    enum vault_outcome outcome;
    long status;      /* of the last HTTP answer, or 0 */
    int64_t wait_ms;  /* VAULT_LATER: from the body's retry_after_seconds, else Retry-After */
    const char *text; /* for a person; never the key */
};

/* Called exactly once per revocation, from the event loop; not after vault_free(). */
typedef void (*vault_done)(const struct vault_answer *answer, void *userdata);

/* As payapi_new(). */
int vault_new(sd_event *event, struct http *http, const struct clock *clock,
              const struct vault_settings *settings, struct vault **ret);
/* Drops what is under way without calling back. */
struct vault *vault_free(struct vault *vault);

/* The key is copied into secret memory. 0 or -ENOMEM. */
int vault_revoke(struct vault *vault, const struct secret *session_key, vault_done done,
                 void *userdata);
