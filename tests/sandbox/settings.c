#include "settings.h"

#include <errno.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "memory.h"

enum kind { TEXT, BOOLEAN, INTEGER, DRIFT };

static const struct setting {
    const char *name;
    enum kind kind;
    size_t offset;
    int64_t min, max;
} table[] = {
    {"api_key", TEXT, offsetof(struct settings, api_key), 0, 0},
    {"vault_key", TEXT, offsetof(struct settings, vault_key), 0, 0},
    {"envelope", INTEGER, offsetof(struct settings, envelope), 1, 3},
    {"success", BOOLEAN, offsetof(struct settings, success), 0, 0},
    {"totals", BOOLEAN, offsetof(struct settings, totals), 0, 0},
    {"whole_second", BOOLEAN, offsetof(struct settings, whole_second), 0, 0},
    {"rate_per_minute", INTEGER, offsetof(struct settings, rate_per_minute), 0, 1000000},
    {"burst_of_errors", BOOLEAN, offsetof(struct settings, burst_of_errors), 0, 0},
    {"insert_between_pages", DRIFT, offsetof(struct settings, insert_between_pages), 0, 0},
};

void settings_init(struct settings *settings)
{
    *settings = (struct settings){
        .api_key = copy_of("sandbox-key"),
        .vault_key = copy_of("sandbox-vault-key"),
        .envelope = ENVELOPE_TRANSACTIONS,
        .totals = true,
        .rate_per_minute = 200,
    };
}

void settings_clear(struct settings *settings)
{
    free(settings->api_key);
    free(settings->vault_key);
    json_decref(settings->insert_between_pages);
}

static const struct setting *find(const char *name)
{
    for (size_t i = 0; i < ELEMENTSOF(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

static bool drift_fits(const json_t *value)
{
    const json_t *records = json_object_get(value, "records");
    const json_t *ids = json_object_get(value, "delete");

    return json_is_null(value) || (json_integer_value(json_object_get(value, "after_page")) > 0 &&
                                   (!records || json_is_array(records)) &&
                                   (!ids || json_is_array(ids)) && (records || ids));
}

static bool value_fits(const struct setting *setting, const json_t *value)
{
    switch (setting->kind) {
    case TEXT:
        return json_is_string(value);
    case BOOLEAN:
        return json_is_boolean(value);
    case INTEGER:
        return json_is_integer(value) && json_integer_value(value) >= setting->min &&
               json_integer_value(value) <= setting->max;
    case DRIFT:
        return drift_fits(value);
    }
    return false;
}

static void set(struct settings *settings, const struct setting *setting, json_t *value)
{
    void *place = (char *)settings + setting->offset;

    switch (setting->kind) {
    case TEXT:
        free(*(char **)place);
        *(char **)place = copy_of(json_string_value(value));
        break;
    case BOOLEAN:
        *(bool *)place = json_is_true(value);
        break;
    case INTEGER:
        *(int64_t *)place = json_integer_value(value);
        break;
    case DRIFT:
        json_decref(*(json_t **)place);
        *(json_t **)place = json_is_null(value) ? NULL : json_incref(value);
        break;
    }
}

int settings_change(struct settings *settings, const json_t *changes, struct error *err)
{
    const char *name;
    json_t *value;

    if (!json_is_object(changes))
        return error_set(err, -EINVAL, "settings: not an object");
    json_object_foreach((json_t *)changes, name, value)
    {
        const struct setting *setting = find(name);

        if (!setting)
            return error_set(err, -EINVAL, "%s: no such setting", name);
        if (!value_fits(setting, value))
            return error_set(err, -EINVAL, "%s: not a value it can have", name);
    }
    json_object_foreach((json_t *)changes, name, value)
    {
        set(settings, find(name), value);
    }
    return 0;
}

static json_t *get(const struct settings *settings, const struct setting *setting)
{
    const void *place = (const char *)settings + setting->offset;

    switch (setting->kind) {
    case TEXT:
        return json_string(*(char *const *)place);
    case BOOLEAN:
        return json_boolean(*(const bool *)place);
    case INTEGER:
        return json_integer(*(const int64_t *)place);
    case DRIFT:
        return *(json_t *const *)place ? json_incref(*(json_t *const *)place) : json_null();
    }
    return NULL;
}

json_t *settings_to_json(const struct settings *settings)
{
    json_t *object = must(json_object());

    for (size_t i = 0; i < ELEMENTSOF(table); i++)
        json_object_set_new(object, table[i].name, get(settings, &table[i]));
    return object;
}
