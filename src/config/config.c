#include "config/config.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "config/credential.h"
#include "config/inifile.h"
#include "config/key.h"

#ifndef SYSCONFDIR
#define SYSCONFDIR "/etc"
#endif

/* Where a key was given. `file` is NULL while it was not. */
struct place {
    const char *file;
    int line;
};

struct loader {
    struct config *config;
    const char *file; /* the one being read */
    struct place places[KEY_COUNT];
};

const char *config_default_path(void)
{
    return SYSCONFDIR "/reconciled/reconciled.conf";
}

const struct config_key *config_key(size_t i)
{
    return i < KEY_COUNT ? &key_table[i].shown : NULL;
}

static int out_of_memory(struct error *err)
{
    return error_set(err, -ENOMEM, "out of memory");
}

/* --- files ------------------------------------------------------------------ */

static bool is_section(const char *section)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strcmp(key_table[i].shown.section, section) == 0)
            return true;
    return false;
}

/* "a, b, c": the keys of a section, or with NULL the sections. */
static void list_names(const char *section, char *buffer, size_t size)
{
    size_t n = 0;

    buffer[0] = '\0';
    for (size_t i = 0; i < KEY_COUNT && n < size; i++) {
        const struct config_key *key = &key_table[i].shown;
        bool first = i == 0 || strcmp(key_table[i - 1].shown.section, key->section) != 0;

        if (section ? strcmp(key->section, section) == 0 : first)
            n += (size_t)snprintf(buffer + n, size - n, "%s%s", n > 0 ? ", " : "",
                                  section ? key->name : key->section);
    }
}

/* Asked only of names that are no keys. */
static bool looks_secret(const char *name)
{
    static const char *const words[] = {"key",        "secret", "password",  "passwd",
                                        "passphrase", "token",  "credential"};

    for (size_t i = 0; i < ELEMENTSOF(words); i++)
        if (strcasestr(name, words[i]))
            return true;
    return false;
}

static int on_section(const char *section, struct error *err)
{
    char names[256];

    if (is_section(section))
        return 0;
    list_names(NULL, names, sizeof(names));
    return error_set(err, -EINVAL, "unknown section %s: there are %s", key_quote(section).text,
                     names);
}

static int on_line(const char *section, const char *name, const char *value, int line,
                   void *userdata, struct error *err)
{
    struct loader *loader = userdata;
    char names[256];
    int r;

    if (!name)
        return on_section(section, err);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        struct place *place = &loader->places[i];

        if (strcmp(key_table[i].shown.section, section) != 0 ||
            strcmp(key_table[i].shown.name, name) != 0)
            continue;
        if (place->file == loader->file)
            return error_set(err, -EINVAL, "[%s] %s is given twice, first in line %d", section,
                             name, place->line);
        if (strstr(value, " #") || strstr(value, "\t#") || *value == '#')
            return error_set(err, -EINVAL,
                             "[%s] %s: a comment after a value begins with ' ;', or stands in its "
                             "own line",
                             section, name);
        r = key_table[i].set(loader->config, &key_table[i], value, err);
        if (r == 0)
            *place = (struct place){loader->file, line};
        return r;
    }
    /* The value is not shown: it belongs to nothing we know, and may be a secret. */
    if (looks_secret(name))
        return error_set(err, -EINVAL,
                         "%s: secrets do not belong in this file: use systemd credentials or "
                         "MERCHANT_API_KEY, VAULT_API_KEY in the environment",
                         key_quote(name).text);
    if (!*section)
        return error_set(err, -EINVAL, "%s stands before the first [section]",
                         key_quote(name).text);
    list_names(section, names, sizeof(names));
    return error_set(err, -EINVAL, "unknown key %s: [%s] has %s", key_quote(name).text, section,
                     names);
}

static int load_file(struct loader *loader, const char *path, struct error *err)
{
    loader->file = path;
    return inifile_read(path, on_line, loader, err);
}

/* The names of files, and their number. */
struct names {
    char **items;
    size_t n;
};

static void names_clear(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->items[i]);
    free(names->items);
}

static int is_drop_in(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name), n_ending = strlen(".conf");

    return entry->d_name[0] != '.' && n > n_ending &&
           strcmp(entry->d_name + n - n_ending, ".conf") == 0;
}

/* alphasort() would follow the locale. */
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* The drop-in files beside `path`, in order; with none, or no such directory, none. */
static int list_drop_ins(const char *path, struct names *ret, struct error *err)
{
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *directory = NULL;
    struct dirent **entries;
    int n, r = 0;

    if (asprintf(&directory, "%.*sreconciled.conf.d", slash ? (int)(slash - path) + 1 : 0, path) <
        0) {
        directory = NULL;
        return out_of_memory(err);
    }
    n = scandir(directory, &entries, is_drop_in, by_bytes);
    if (n < 0 && errno == ENOENT)
        return 0;
    if (n < 0) {
        r = -errno;
        return error_set(err, r, "%s: %s", directory, strerror(-r));
    }
    ret->items = calloc((size_t)n + 1, sizeof(*ret->items));
    for (int i = 0; i < n; i++) {
        if (ret->items &&
            asprintf(&ret->items[ret->n], "%s/%s", directory, entries[i]->d_name) >= 0)
            ret->n++;
        else
            r = -ENOMEM;
        free(entries[i]);
    }
    free(entries);
    return ret->items && r == 0 ? 0 : out_of_memory(err);
}

static int load_drop_ins(struct loader *loader, const struct names *paths, struct error *err)
{
    struct stat st;
    int r;

    for (size_t i = 0; i < paths->n; i++) {
        /* A directory, or a link to /dev/null, which is how a packaged file is masked. A link to
         * nowhere is left to fail below. */
        if (stat(paths->items[i], &st) == 0 && !S_ISREG(st.st_mode))
            continue;
        r = load_file(loader, paths->items[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- the whole -------------------------------------------------------------- */

static int apply_defaults(struct loader *loader, struct error *err)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct key *key = &key_table[i];
        int r = 0;

        if (!loader->places[i].file)
            r = key->set(loader->config, key, key->shown.fallback, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The number of the key whose value lies at `offset`. */
static size_t key_at(size_t offset)
{
    size_t i = 0;

    while (key_table[i].offset != offset)
        i++;
    return i;
}

/* A duration that must not be longer than another. While it is only a default, it gives way. */
static int check_pair(struct loader *loader, size_t shorter, size_t longer, struct error *err)
{
    const struct key *a = &key_table[key_at(shorter)], *b = &key_table[key_at(longer)];
    const struct place *place = &loader->places[key_at(shorter)];
    const int64_t *b_value = key_value(loader->config, b);
    int64_t *a_value = key_value(loader->config, a);
    char a_text[32], b_text[32];

    if (*a_value <= *b_value)
        return 0;
    if (!place->file) {
        *a_value = *b_value;
        return 0;
    }
    return error_set(err, -EINVAL, "%s:%d: [%s] %s (%s) must not be longer than [%s] %s (%s)",
                     place->file, place->line, a->shown.section, a->shown.name,
                     format_duration(*a_value, a_text, sizeof(a_text)), b->shown.section,
                     b->shown.name, format_duration(*b_value, b_text, sizeof(b_text)));
}

static bool same_file(const char *a, const char *b)
{
    struct stat st_a, st_b;

    if (strcmp(a, b) == 0)
        return true;
    return stat(a, &st_a) == 0 && stat(b, &st_b) == 0 && st_a.st_dev == st_b.st_dev &&
           st_a.st_ino == st_b.st_ino;
}

/* What no key can know alone. */
static int check_together(struct loader *loader, const char *path, struct error *err)
{
    struct config *config = loader->config;
    int r;

    r = check_pair(loader, offsetof(struct config, sync_fast_interval),
                   offsetof(struct config, sync_interval), err);
    if (r < 0)
        return r;
    r = check_pair(loader, offsetof(struct config, sync_overlap),
                   offsetof(struct config, sync_deep_overlap), err);
    if (r < 0)
        return r;
    if (config->pay_rate_per_minute * config->pay_rate_share < 100)
        return error_set(err, -EINVAL,
                         "%s: [pay] rate_share (%" PRId64 "%%) of [pay] rate_per_minute (%" PRId64
                         ") is less than one request a minute",
                         path, config->pay_rate_share, config->pay_rate_per_minute);
    if (same_file(config->ledger_path, config->queue_path))
        return error_set(err, -EINVAL, "%s: [ledger] path and [queue] path are the same file %s",
                         path, key_quote(config->ledger_path).text);
    return 0;
}

static int load_secret(const char *path, const char *name, const char *variable, const char *why,
                       struct secret **ret, struct error *err)
{
    int r = credential_read(name, variable, ret, err);

    if (r == CREDENTIAL_ABSENT)
        return error_set(err, -EINVAL,
                         "%s: %s needs a key: the systemd credential %s, or %s in the environment",
                         path, why, name, variable);
    return r;
}

/* What the daemon cannot start without. */
static int load_required(struct config *config, const char *path, struct error *err)
{
    int r;

    if (!config->pay_url)
        return error_set(err, -EINVAL, "%s: [pay] url is required", path);
    if (!config->merchant_id)
        return error_set(err, -EINVAL,
                         "%s: [merchant] id is required, or MERCHANT_ID in the environment", path);
    r = load_secret(path, "merchant_api_key", "MERCHANT_API_KEY", "the Pay API",
                    &config->merchant_api_key, err);
    if (r < 0 || !config->vault_url)
        return r;
    return load_secret(path, "vault_api_key", "VAULT_API_KEY", "[vault] url",
                       &config->vault_api_key, err);
}

DEFINE_CLEANUP(struct config *, config_free)

int config_load(const char *path, enum config_scope scope, bool must_exist, struct config **ret,
                struct error *err)
{
    _cleanup_(config_free_p) struct config *config = calloc(1, sizeof(*config));
    _cleanup_(names_clear) struct names drop_ins = {0};
    struct loader loader = {.config = config};
    int r;

    if (!config)
        return out_of_memory(err);
    r = load_file(&loader, path, err);
    if (r < 0 && !(r == -ENOENT && scope == CONFIG_PATHS && !must_exist))
        return r;
    r = list_drop_ins(path, &drop_ins, err);
    if (r < 0)
        return r;
    r = load_drop_ins(&loader, &drop_ins, err);
    if (r < 0)
        return r;
    r = apply_defaults(&loader, err);
    if (r < 0)
        return r;
    r = check_together(&loader, path, err);
    if (r < 0)
        return r;
    if (scope == CONFIG_ALL) {
        r = load_required(config, path, err);
        if (r < 0)
            return r;
    }
    *ret = TAKE_PTR(config);
    return 0;
}

int config_check_key(const char *path, struct error *err)
{
    struct secret *key;
    int r = credential_read_file(path, &key, err);

    if (r == CREDENTIAL_ABSENT)
        return error_set(err, -ENOENT, "%s: %s", path, strerror(ENOENT));
    if (r == 0)
        secret_free(key);
    return r;
}

struct config *config_free(struct config *config)
{
    if (!config)
        return NULL;
    free(config->merchant_id);
    free(config->pay_url);
    free(config->vault_url);
    free(config->vault_method);
    free(config->vault_path);
    free(config->ledger_path);
    free(config->queue_path);
    free(config->metrics_path);
    key_clear_list(&config->match_order_ref);
    key_clear_list(&config->match_original_ref);
    key_clear_list(&config->match_unsettled);
    secret_free(config->merchant_api_key);
    secret_free(config->vault_api_key);
    free(config);
    return NULL;
}
