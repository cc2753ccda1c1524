/* What follows for each order from the sales that may be its own: the verdict, and why in words. */
#pragma once

#include "core/matcher.h"

/* The verdict on an order and its reason; `result` is zero before. The order's links know then
 * which of their sales are assigned by it. */
void judge_order(struct matcher *m, size_t order, struct match_result *result);
