/* From the bytes of a listTransactions answer to core types, and nothing else: pure and fuzzed.
 * The envelopes and member names are those of the SDK page and of the wire notes that README.md
 * lists as assumed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/secret.h"
#include "core/transaction.h"

struct payapi_codec {
    const char *const *order_ref;    /* JSON Pointers (RFC 6901), NULL-terminated, tried in turn */
    const char *const *original_ref; /* likewise */
    bool keep_raw;
    const struct secret *email_key;
};

/* Understands one answer. Records that cannot be understood are in ret->bad; the rest of the page
 * is kept. -EBADMSG with a text when the answer as a whole is not understood (not JSON, no known
 * envelope, "success" that is not true, an "error" or "errors" that says something, an empty page
 * that promises more, a page that contradicts itself, more values than a page can hold); the text
 * quotes nothing of the body. -ENOMEM. The body is not changed. */
int payapi_decode(const struct payapi_codec *codec, const char *body, size_t length,
                  struct page **ret, struct error *err);
