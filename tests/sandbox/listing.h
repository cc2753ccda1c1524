/* GET /transQuery: the Pay API's listTransactions. */
#pragma once

#include "sandbox.h"

void listing_answer(struct sandbox *sandbox, const struct request *request, bool key_ok,
                    struct reply *reply);
