/* The key table: what a configuration may say, and how each value is read. */
#pragma once

#include "config/config.h"

struct key;

/* Checks `value` and puts it in the key's place, freeing what was there. 0, -ENOMEM, or -EINVAL
 * with the reason. */
typedef int (*key_set)(struct config *config, const struct key *key, const char *value,
                       struct error *err);

struct key {
    struct config_key shown; /* section, name, default, help */
    key_set set;
    size_t offset; /* of the value in struct config */
    int64_t min, max;
};

/* Every key there is, sections together. */
enum { KEY_COUNT = 34 };
extern const struct key key_table[KEY_COUNT];

/* The place of a key's value. */
void *key_value(struct config *config, const struct key *key);

void key_clear_list(struct config_list *list);

enum { KEY_QUOTED_MAX = 60 };

struct key_quoted {
    char text[KEY_QUOTED_MAX + sizeof("\"\"\u2026")];
};

/* A text in quotation marks for an error, cut before the character that would pass
 * KEY_QUOTED_MAX bytes. */
struct key_quoted key_quote(const char *text);

/* -EINVAL with "[section] name = "value": reason". */
int key_refuse(const struct key *key, const char *value, struct error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
