/* The control interface under /_sandbox/: JSON, no key, loopback only. */
#pragma once

#include "sandbox.h"

bool control_is_for(const struct request *request);
void control_answer(struct sandbox *sandbox, const struct request *request, struct reply *reply);
