/* What an answer of 429 says of the time to wait: the Retry-After header, and members of the body
 * by the names that the Pay API and the Vault give them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "remote/http.h"

/* Milliseconds, as retry_after_parse(); it is asked of the body before the header if `body_first`,
 * else after it. */
int64_t retry_hint(const struct http_response *response, bool body_first, int64_t now);
