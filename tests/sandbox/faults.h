/* Canned answers: what a test wants the next requests to meet instead of, or on top of, the truth.
 *
 * Which requests: path, method, page, query (every member equal), nth (from the nth such request
 * on), times (how many of them; 0: all, until deleted). The first canned answer that applies wins.
 *
 * What they meet: status, headers, body (a text, any other JSON value to be sent as JSON,
 * {"repeat": text, "count": n}, or {"hex": "c328"} for bytes that are no text), close, hang. With
 * none of these the sandbox answers as ever. How it travels, either way: delay_ms, drip_ms,
 * truncate. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "reply.h"
#include "request.h"

struct faults;

struct faults *faults_new(void);
struct faults *faults_free(struct faults *faults);

/* Adds one answer, or an array of them: all, or with -EINVAL none. */
int faults_add(struct faults *faults, const json_t *answers, struct error *err);
void faults_forget(struct faults *faults);

/* What is left, as it was given, with `times` counted down. */
json_t *faults_to_json(const struct faults *faults);

/* The canned answer for this request (a reference for the caller), or NULL; it counts as used. */
json_t *faults_match(struct faults *faults, const struct request *request);

/* Gives the canned answer, if it has one; false when the sandbox is to answer itself. */
bool fault_answer(const json_t *canned, struct reply *reply);
/* Makes the answer travel as `canned` says. */
void fault_travel(const json_t *canned, struct reply *reply);
