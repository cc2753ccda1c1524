/* The Vault's revocation: POST /sessions/revoke {"sessionKey": …}, or DELETE /sessions/KEY. */
#pragma once

#include "sandbox.h"

bool vault_is_for(const struct request *request);
void vault_answer(struct sandbox *sandbox, const struct request *request, bool key_ok,
                  struct reply *reply);

/* Makes a session key known; its first `fail_first` revocations are answered with 500. */
void vault_register(struct sandbox *sandbox, const char *key, int64_t fail_first);
