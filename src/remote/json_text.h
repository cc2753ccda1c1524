/* JSON as a server may really send it. jansson refuses a whole text for one lone surrogate,
 * \u0000, byte that is no UTF-8 or integer beyond 64 bits, and turns decimals into doubles. So the
 * text is first rewritten in one pass: each such character in a string becomes DEL (U+007F, a
 * control character, by which a reader can tell it), and each number becomes a marked string that
 * holds exactly its digits. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/error.h"

enum {
    JSON_TEXT_REPLACED = 0x7f,
    /* What the parsed values may take, so that a hostile body cannot fill the memory. */
    JSON_TEXT_MAX_TREE = 32 * 1024 * 1024,
};

/* Parses an object or array. -EBADMSG with a text that quotes nothing of the source: not JSON, or
 * more values than JSON_TEXT_MAX_TREE holds; -ENOMEM. Of equal keys the last one counts. */
int json_text_load(const char *text, size_t length, json_t **ret, struct error *err);

/* The text of a number as received, else NULL. NULL is accepted. */
const char *json_text_number(const json_t *value);
/* The text of a string that is no number, else NULL. NULL is accepted. */
const char *json_text_string(const json_t *value);

/* Compact JSON with numbers as received, to be freed; NULL when memory cannot be had. */
char *json_text_dump(const json_t *value);
