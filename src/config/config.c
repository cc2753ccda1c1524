#include "config/config.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "config/base_url.h"
#include "config/credential.h"
#include "config/inifile.h"

#ifndef SYSCONFDIR
#define SYSCONFDIR "/etc"
#endif

#define STATE_VARIABLE    "$STATE_DIRECTORY"
#define STATE_DEFAULT     "/var/lib/reconciled"
#define MERCHANT_VARIABLE "$MERCHANT_ID"

enum {
    QUOTED_MAX = 60, /* bytes of a refused value that are shown */
    MERCHANT_ID_MAX = 30,
    METHOD_MAX = 16,
};

struct key;

/* Checks `value` and puts it in the key's place. 0, -ENOMEM, or -EINVAL with the reason. */
typedef int (*key_set)(struct config *config, const struct key *key, const char *value,
                       struct error *err);

struct key {
    struct config_key shown; /* section, name, default, help */
    key_set set;
    size_t offset; /* of the value in struct config */
    int64_t min, max;
};

static int set_merchant(struct config *, const struct key *, const char *, struct error *);
static int set_url(struct config *, const struct key *, const char *, struct error *);
static int set_request(struct config *, const struct key *, const char *, struct error *);
static int set_path(struct config *, const struct key *, const char *, struct error *);
static int set_duration(struct config *, const struct key *, const char *, struct error *);
static int set_count(struct config *, const struct key *, const char *, struct error *);
static int set_size(struct config *, const struct key *, const char *, struct error *);
static int set_percent(struct config *, const struct key *, const char *, struct error *);
static int set_bool(struct config *, const struct key *, const char *, struct error *);
static int set_claims(struct config *, const struct key *, const char *, struct error *);
static int set_pointers(struct config *, const struct key *, const char *, struct error *);
static int set_words(struct config *, const struct key *, const char *, struct error *);

#define AT(member) offsetof(struct config, member)
#define SECOND     INT64_C(1000)
#define MINUTE     (60 * SECOND)
#define HOUR       (60 * MINUTE)
#define DAY        (24 * HOUR)
#define KIB        INT64_C(1024)
#define MIB        (1024 * KIB)

/* Every key there is, sections together. tests/check-config-docs reads this text: an entry begins
 * with the section, the name and the default as strings on one line. */
/* clang-format off */
static const struct key keys[] = {
    {{"merchant", "id", "$MERCHANT_ID", "sent as merchantId"},
     set_merchant, AT(merchant_id), 0, 0},

    {{"pay", "url", "none", "base URL of the Pay API; required"},
     set_url, AT(pay_url), 0, 0},
    {{"pay", "timeout", "30s", "per request"},
     set_duration, AT(pay_timeout), 100, 10 * MINUTE},
    {{"pay", "retries", "2", "retries on 5xx and network errors"},
     set_count, AT(pay_retries), 0, 10},
    {{"pay", "rate_per_minute", "200", "the merchant's documented limit of requests"},
     set_count, AT(pay_rate_per_minute), 1, 100000},
    {{"pay", "rate_share", "50%", "the part of the limit that the daemon may use"},
     set_percent, AT(pay_rate_share), 1, 100},
    {{"pay", "page_size", "100", "records asked for in one request"},
     set_count, AT(pay_page_size), 1, 100},
    {{"pay", "max_body", "16M", "a larger answer is refused"},
     set_size, AT(pay_max_body), 64 * KIB, 64 * MIB},

    {{"vault", "url", "none", "base URL of the Vault; without it sessions are not revoked"},
     set_url, AT(vault_url), 0, 0},
    {{"vault", "revoke", "POST /sessions/revoke", "method and path of a revocation"},
     set_request, 0, 0, 0},
    {{"vault", "timeout", "30s", "per request"},
     set_duration, AT(vault_timeout), 100, 10 * MINUTE},
    {{"vault", "retries", "2", "retries on 5xx and network errors"},
     set_count, AT(vault_retries), 0, 10},
    {{"vault", "concurrency", "8", "revocations under way at once"},
     set_count, AT(vault_concurrency), 1, 64},

    {{"ledger", "path", "$STATE_DIRECTORY/ledger.db", "the ledger's database file"},
     set_path, AT(ledger_path), 0, 0},
    {{"ledger", "keep_raw", "no", "also keep each record's JSON as received"},
     set_bool, AT(ledger_keep_raw), 0, 0},

    {{"queue", "path", "$STATE_DIRECTORY/queue/queue.db", "the queue's database file"},
     set_path, AT(queue_path), 0, 0},

    {{"sync", "interval", "60s", "between cycles, with no order open"},
     set_duration, AT(sync_interval), 100, DAY},
    {{"sync", "fast_interval", "2s", "between cycles, while an order is open"},
     set_duration, AT(sync_fast_interval), 100, DAY},
    {{"sync", "backfill", "30d", "history fetched on an empty ledger"},
     set_duration, AT(sync_backfill), SECOND, 3650 * DAY},
    {{"sync", "overlap", "1h", "every cycle looks back this far"},
     set_duration, AT(sync_overlap), SECOND, 30 * DAY},
    {{"sync", "deep_overlap", "72h", "a deep look back reaches this far"},
     set_duration, AT(sync_deep_overlap), SECOND, 90 * DAY},
    {{"sync", "deep_interval", "6h", "between deep looks back"},
     set_duration, AT(sync_deep_interval), SECOND, 30 * DAY},
    {{"sync", "edge_lag", "5s", "nothing newer than now minus this counts as covered"},
     set_duration, AT(sync_edge_lag), 0, HOUR},

    {{"match", "before", "120s", "a sale may precede the first attempt by this much"},
     set_duration, AT(match_before), 0, DAY},
    {{"match", "after", "900s", "a sale may follow the last attempt by this much"},
     set_duration, AT(match_after), 0, 7 * DAY},
    {{"match", "absence_grace", "900s", "earliest age at which not_charged may be said"},
     set_duration, AT(match_absence_grace), 0, 7 * DAY},
    {{"match", "late_watch", "72h", "a verdict is still revised by a record this late"},
     set_duration, AT(match_late_watch), 0, 90 * DAY},
    {{"match", "accept_amount_only", "no", "let amount, currency and time alone decide"},
     set_bool, AT(match_accept_amount_only), 0, 0},
    {{"match", "claims", "partial", "complete: the app reports every sale it knows"},
     set_claims, AT(match_claims), 0, 0},
    {{"match", "order_ref", "/metadata/orderId, /metadata/order_id, /orderId",
      "where a record has the order's id: JSON Pointers tried in turn"},
     set_pointers, AT(match_order_ref), 0, 0},
    {{"match", "original_ref", "/originalTransactionId, /parentTransactionId",
      "where a void, reversal or return names its sale"},
     set_pointers, AT(match_original_ref), 0, 0},
    {{"match", "unsettled", "pending, declined, failed, error",
      "statuses of records that are no settled sales"},
     set_words, AT(match_unsettled), 0, 0},

    {{"sessions", "idle_timeout", "15min", "since a session was last seen, or created"},
     set_duration, AT(sessions_idle_timeout), 100, DAY},
};
/* clang-format on */

/* Where a key was given. `file` is NULL while it was not. */
struct place {
    const char *file;
    int line;
};

struct loader {
    struct config *config;
    const char *file; /* the one being read */
    struct place places[ELEMENTSOF(keys)];
};

const char *config_default_path(void)
{
    return SYSCONFDIR "/reconciled/reconciled.conf";
}

const struct config_key *config_key(size_t i)
{
    return i < ELEMENTSOF(keys) ? &keys[i].shown : NULL;
}

static int out_of_memory(struct error *err)
{
    return error_set(err, -ENOMEM, "out of memory");
}

/* --- values ----------------------------------------------------------------- */

struct quoted {
    char text[QUOTED_MAX + sizeof("\"\"\u2026")];
};

/* The text in quotation marks, cut before the character that would pass QUOTED_MAX. */
static struct quoted quote(const char *text)
{
    size_t n = strnlen(text, QUOTED_MAX + 1);
    bool cut = n > QUOTED_MAX;
    struct quoted quoted;

    if (cut)
        for (n = QUOTED_MAX; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80;)
            n--;
    snprintf(quoted.text, sizeof(quoted.text), "\"%.*s%s\"", (int)n, text, cut ? "\u2026" : "");
    return quoted;
}

__attribute__((format(printf, 4, 5))) static int refuse(const struct key *key, const char *value,
                                                        struct error *err, const char *format, ...)
{
    char reason[256];
    va_list args;

    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    return error_set(err, -EINVAL, "[%s] %s = %s: %s", key->shown.section, key->shown.name,
                     quote(value).text, reason);
}

static void *value_of(struct config *config, const struct key *key)
{
    return (char *)config + key->offset;
}

/* Puts `text`, whose ownership is taken over, in the place of what was there. */
static int set_text(struct config *config, const struct key *key, char *text)
{
    char **value = value_of(config, key);

    free(*value);
    *value = text;
    return 0;
}

static bool is_absent(const char *value)
{
    return strcmp(value, "none") == 0;
}

static int set_merchant(struct config *config, const struct key *key, const char *value,
                        struct error *err)
{
    const char *id = strcmp(value, MERCHANT_VARIABLE) == 0 ? getenv("MERCHANT_ID") : value;
    char *copy;
    size_t n;

    if (!id || (id != value && !*id))
        return set_text(config, key, NULL);
    n = strlen(id);
    for (size_t i = 0; i < n; i++)
        if (id[i] <= ' ' || id[i] > '~')
            n = 0;
    if (n < 1 || n > MERCHANT_ID_MAX) {
        static const char want[] = "must be 1 to 30 printable ASCII characters, without space";

        if (id != value)
            return error_set(err, -EINVAL, "MERCHANT_ID in the environment = %s: %s",
                             quote(id).text, want);
        return refuse(key, value, err, want);
    }
    copy = strdup(id);
    return copy ? set_text(config, key, copy) : out_of_memory(err);
}

static int set_url(struct config *config, const struct key *key, const char *value,
                   struct error *err)
{
    const char *reason;
    char *url = NULL;
    int r;

    r = is_absent(value) ? 0 : base_url_parse(value, &url, &reason);
    if (r == -ENOMEM)
        return out_of_memory(err);
    /* What stands before '@' or behind '?' may be a secret. */
    if (r < 0 && strpbrk(value, "@?#"))
        return error_set(err, -EINVAL, "[%s] %s: %s", key->shown.section, key->shown.name, reason);
    if (r < 0)
        return refuse(key, value, err, "%s", reason);
    return set_text(config, key, url);
}

/* A misspelt "{sessionkey}" would be sent as it stands. */
static bool is_request_path(const char *path)
{
    static const char placeholder[] = "{sessionKey}";
    bool replaced = false;

    if (*path != '/')
        return false;
    while (*path) {
        if (*path == '{' && !replaced && strncmp(path, placeholder, strlen(placeholder)) == 0) {
            path += strlen(placeholder);
            replaced = true;
        } else if (*path <= ' ' || *path > '~' || strchr("{}#\\", *path)) {
            return false;
        } else {
            path++;
        }
    }
    return true;
}

static int set_request(struct config *config, const struct key *key, const char *value,
                       struct error *err)
{
    size_t n = strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    size_t blank = strspn(value + n, " \t");
    const char *path = value + n + blank;
    char *method_copy, *path_copy;

    if (n == 0 || n > METHOD_MAX || blank == 0 || !is_request_path(path))
        return refuse(key, value, err,
                      "must be a method in capitals, a space and a path that begins with '/', with "
                      "{sessionKey} in it at most once");
    method_copy = strndup(value, n);
    path_copy = strdup(path);
    if (!method_copy || !path_copy) {
        free(method_copy);
        free(path_copy);
        return out_of_memory(err);
    }
    free(config->vault_method);
    free(config->vault_path);
    config->vault_method = method_copy;
    config->vault_path = path_copy;
    return 0;
}

/* systemd separates several state directories with ':'; the first is the service's main one. */
static int set_path(struct config *config, const struct key *key, const char *value,
                    struct error *err)
{
    const char *state = getenv("STATE_DIRECTORY"), *rest = value;
    char *path = NULL;
    int n = 0;

    if (strncmp(value, STATE_VARIABLE "/", strlen(STATE_VARIABLE "/")) == 0) {
        rest = value + strlen(STATE_VARIABLE);
        if (!state || !*state)
            state = STATE_DEFAULT;
        n = (int)strcspn(state, ":");
        if (*state != '/')
            return refuse(key, value, err, "STATE_DIRECTORY in the environment must be absolute");
    } else if (*value != '/') {
        return refuse(key, value, err, "must be an absolute path, or begin with %s/",
                      STATE_VARIABLE);
    }
    if (rest[strlen(rest) - 1] == '/')
        return refuse(key, value, err, "must name a file, not a directory");
    if (asprintf(&path, "%.*s%s", n, n > 0 ? state : "", rest) < 0)
        return out_of_memory(err);
    return set_text(config, key, path);
}

/* The kinds of values that are a number with a range. */
struct number {
    int (*parse)(const char *text, int64_t *ret);
    char *(*format)(int64_t value, char *buffer, size_t size);
    const char *what;
};

static int set_number(struct config *config, const struct key *key, const char *value,
                      const struct number *number, struct error *err)
{
    char min[32], max[32];
    int64_t parsed;

    if (number->parse(value, &parsed) < 0 || parsed < key->min || parsed > key->max)
        return refuse(key, value, err, "must be %s from %s to %s", number->what,
                      number->format(key->min, min, sizeof(min)),
                      number->format(key->max, max, sizeof(max)));
    *(int64_t *)value_of(config, key) = parsed;
    return 0;
}

static int set_duration(struct config *config, const struct key *key, const char *value,
                        struct error *err)
{
    static const struct number number = {parse_duration, format_duration,
                                         "a duration (ms, s, min, h, d)"};

    return set_number(config, key, value, &number, err);
}

static int parse_count(const char *text, int64_t *ret)
{
    return parse_int(text, 0, INT64_MAX, ret);
}

static char *format_count(int64_t value, char *buffer, size_t size)
{
    snprintf(buffer, size, "%" PRId64, value);
    return buffer;
}

static int set_count(struct config *config, const struct key *key, const char *value,
                     struct error *err)
{
    static const struct number number = {parse_count, format_count, "a whole number"};

    return set_number(config, key, value, &number, err);
}

static char *format_size(int64_t value, char *buffer, size_t size)
{
    bool mib = value % MIB == 0;

    snprintf(buffer, size, "%" PRId64 "%c", value / (mib ? MIB : KIB), mib ? 'M' : 'K');
    return buffer;
}

static int set_size(struct config *config, const struct key *key, const char *value,
                    struct error *err)
{
    static const struct number number = {parse_size, format_size, "a size (bytes, K, M, G)"};

    return set_number(config, key, value, &number, err);
}

static char *format_percent(int64_t value, char *buffer, size_t size)
{
    snprintf(buffer, size, "%" PRId64 "%%", value);
    return buffer;
}

static int set_percent(struct config *config, const struct key *key, const char *value,
                       struct error *err)
{
    static const struct number number = {parse_percent, format_percent, "a percentage"};

    return set_number(config, key, value, &number, err);
}

static int set_bool(struct config *config, const struct key *key, const char *value,
                    struct error *err)
{
    if (parse_bool(value, value_of(config, key)) < 0)
        return refuse(key, value, err, "must be yes or no");
    return 0;
}

static int set_claims(struct config *config, const struct key *key, const char *value,
                      struct error *err)
{
    enum config_claims *claims = value_of(config, key);

    if (strcmp(value, "partial") == 0)
        *claims = CLAIMS_PARTIAL;
    else if (strcmp(value, "complete") == 0)
        *claims = CLAIMS_COMPLETE;
    else
        return refuse(key, value, err, "must be partial or complete");
    return 0;
}

static void list_clear(struct config_list *list)
{
    for (size_t i = 0; i < CONFIG_MAX_LIST; i++)
        free(list->items[i]);
    *list = (struct config_list){};
}

/* RFC 6901: "" would be the whole record, which is no id; '~' begins "~0" or "~1". */
static bool is_pointer(const char *text)
{
    if (*text != '/')
        return false;
    for (; (text = strchr(text, '~')); text++)
        if (text[1] != '0' && text[1] != '1')
            return false;
    return true;
}

static bool is_word(const char *text)
{
    return *text != '\0';
}

/* Splits at commas and trims. An empty value is an empty list, an empty item is a mistake. */
static int set_list(struct config *config, const struct key *key, const char *value,
                    bool (*is_item)(const char *), const char *want, struct error *err)
{
    _cleanup_(list_clear) struct config_list list = {};
    struct config_list *old = value_of(config, key);
    size_t n = 0;

    for (const char *rest = value; *value && rest;) {
        const char *item = rest + strspn(rest, " \t"), *end = item + strcspn(item, ",");

        rest = *end == ',' ? end + 1 : NULL;
        while (end > item && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        if (n == CONFIG_MAX_LIST)
            return refuse(key, value, err, "must have at most %d items", CONFIG_MAX_LIST);
        list.items[n] = strndup(item, (size_t)(end - item));
        if (!list.items[n])
            return out_of_memory(err);
        if (!is_item(list.items[n]))
            return refuse(key, value, err, "%s is no item: must be %s, with commas between them",
                          quote(list.items[n]).text, want);
        n++;
    }
    list_clear(old);
    *old = list;
    list = (struct config_list){};
    return 0;
}

static int set_pointers(struct config *config, const struct key *key, const char *value,
                        struct error *err)
{
    return set_list(config, key, value, is_pointer, "JSON Pointers (/name/name)", err);
}

static int set_words(struct config *config, const struct key *key, const char *value,
                     struct error *err)
{
    return set_list(config, key, value, is_word, "words", err);
}

/* --- files ------------------------------------------------------------------ */

static bool is_section(const char *section)
{
    for (size_t i = 0; i < ELEMENTSOF(keys); i++)
        if (strcmp(keys[i].shown.section, section) == 0)
            return true;
    return false;
}

/* "a, b, c": the keys of a section, or with NULL the sections. */
static void list_names(const char *section, char *buffer, size_t size)
{
    size_t n = 0;

    buffer[0] = '\0';
    for (size_t i = 0; i < ELEMENTSOF(keys) && n < size; i++) {
        const struct config_key *key = &keys[i].shown;
        bool first = i == 0 || strcmp(keys[i - 1].shown.section, key->section) != 0;

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
    return error_set(err, -EINVAL, "unknown section %s: there are %s", quote(section).text, names);
}

static int on_line(const char *section, const char *name, const char *value, int line,
                   void *userdata, struct error *err)
{
    struct loader *loader = userdata;
    char names[256];
    int r;

    if (!name)
        return on_section(section, err);
    for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
        struct place *place = &loader->places[i];

        if (strcmp(keys[i].shown.section, section) != 0 || strcmp(keys[i].shown.name, name) != 0)
            continue;
        if (place->file == loader->file)
            return error_set(err, -EINVAL, "[%s] %s is given twice, first in line %d", section,
                             name, place->line);
        if (strstr(value, " #") || strstr(value, "\t#") || *value == '#')
            return refuse(&keys[i], value, err,
                          "a comment after a value begins with ' ;', or stands in its own line");
        r = keys[i].set(loader->config, &keys[i], value, err);
        if (r == 0)
            *place = (struct place){loader->file, line};
        return r;
    }
    /* The value is not shown: it belongs to nothing we know, and may be a secret. */
    if (looks_secret(name))
        return error_set(err, -EINVAL,
                         "%s: secrets do not belong in this file: use systemd credentials or "
                         "MERCHANT_API_KEY",
                         quote(name).text);
    if (!*section)
        return error_set(err, -EINVAL, "%s stands before the first [section]", quote(name).text);
    list_names(section, names, sizeof(names));
    return error_set(err, -EINVAL, "unknown key %s: [%s] has %s", quote(name).text, section, names);
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
    for (size_t i = 0; i < ELEMENTSOF(keys); i++)
        if (!loader->places[i].file) {
            int r = keys[i].set(loader->config, &keys[i], keys[i].shown.fallback, err);

            if (r < 0)
                return r;
        }
    return 0;
}

/* The place of the key whose value lies at `offset`. */
static const struct place *place_of(const struct loader *loader, size_t offset)
{
    size_t i = 0;

    while (keys[i].offset != offset)
        i++;
    return &loader->places[i];
}

/* A duration that must not be longer than another. While it is only a default, it gives way. */
static int check_pair(struct loader *loader, size_t shorter, size_t longer, const char *names,
                      struct error *err)
{
    int64_t *a = (void *)((char *)loader->config + shorter);
    const int64_t *b = (void *)((char *)loader->config + longer);
    const struct place *place = place_of(loader, shorter);
    char a_text[32], b_text[32];

    if (*a <= *b)
        return 0;
    if (!place->file) {
        *a = *b;
        return 0;
    }
    error_set(err, -EINVAL, names, format_duration(*a, a_text, sizeof(a_text)),
              format_duration(*b, b_text, sizeof(b_text)));
    return error_prefix(err, -EINVAL, "%s:%d", place->file, place->line);
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

    r = check_pair(loader, AT(sync_fast_interval), AT(sync_interval),
                   "[sync] fast_interval (%s) must not be longer than [sync] interval (%s)", err);
    if (r < 0)
        return r;
    r = check_pair(loader, AT(sync_overlap), AT(sync_deep_overlap),
                   "[sync] overlap (%s) must not be longer than [sync] deep_overlap (%s)", err);
    if (r < 0)
        return r;
    if (config->pay_rate_per_minute * config->pay_rate_share < 100)
        return error_set(err, -EINVAL,
                         "%s: [pay] rate_share (%" PRId64 "%%) of [pay] rate_per_minute (%" PRId64
                         ") is less than one request a minute",
                         path, config->pay_rate_share, config->pay_rate_per_minute);
    if (same_file(config->ledger_path, config->queue_path))
        return error_set(err, -EINVAL, "%s: [ledger] path and [queue] path are the same file %s",
                         path, quote(config->ledger_path).text);
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
    _cleanup_(names_clear) struct names drop_ins = {};
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
    list_clear(&config->match_order_ref);
    list_clear(&config->match_original_ref);
    list_clear(&config->match_unsettled);
    secret_free(config->merchant_api_key);
    secret_free(config->vault_api_key);
    free(config);
    return NULL;
}
