#include "config/key.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "config/base_url.h"

#define STATE_VARIABLE    "$STATE_DIRECTORY"
#define STATE_DEFAULT     "/var/lib/reconciled"
#define MERCHANT_VARIABLE "$MERCHANT_ID"

enum {
    MERCHANT_ID_MAX = 30,
    METHOD_MAX = 16,
};

static int set_merchant(struct config *, const struct key *, const char *, struct error *);
static int set_url(struct config *, const struct key *, const char *, struct error *);
static int set_request(struct config *, const struct key *, const char *, struct error *);
static int set_path(struct config *, const struct key *, const char *, struct error *);
static int set_path_or_none(struct config *, const struct key *, const char *, struct error *);
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

/* tests/check-config-docs reads this text: an entry begins with the section, the name and the
 * default as strings on one line. */
/* clang-format off */
const struct key key_table[] = {
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

    {{"metrics", "path", "none", "file to write metrics to, for Prometheus"},
     set_path_or_none, AT(metrics_path), 0, 0},
};
/* clang-format on */

static_assert(ELEMENTSOF(key_table) == KEY_COUNT, "KEY_COUNT counts the table's entries");

static int out_of_memory(struct error *err)
{
    return error_set(err, -ENOMEM, "out of memory");
}

struct key_quoted key_quote(const char *text)
{
    size_t n = strnlen(text, KEY_QUOTED_MAX + 1);
    bool cut = n > KEY_QUOTED_MAX;
    struct key_quoted quoted;

    if (cut)
        n = KEY_QUOTED_MAX;
    while (cut && n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--;
    snprintf(quoted.text, sizeof(quoted.text), "\"%.*s%s\"", (int)n, text, cut ? "\u2026" : "");
    return quoted;
}

int key_refuse(const struct key *key, const char *value, struct error *err, const char *format, ...)
{
    char reason[256];
    va_list args;

    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    return error_set(err, -EINVAL, "[%s] %s = %s: %s", key->shown.section, key->shown.name,
                     key_quote(value).text, reason);
}

void *key_value(struct config *config, const struct key *key)
{
    return (char *)config + key->offset;
}

/* Puts `text`, whose ownership is taken over, in the place of what was there. */
static int set_text(struct config *config, const struct key *key, char *text)
{
    char **value = key_value(config, key);

    free(*value);
    *value = text;
    return 0;
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
                             key_quote(id).text, want);
        return key_refuse(key, value, err, "%s", want);
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

    r = strcmp(value, "none") == 0 ? 0 : base_url_parse(value, &url, &reason);
    if (r == -ENOMEM)
        return out_of_memory(err);
    /* What stands before '@' or behind '?' may be a secret. */
    if (r < 0 && strpbrk(value, "@?#"))
        return error_set(err, -EINVAL, "[%s] %s: %s", key->shown.section, key->shown.name, reason);
    if (r < 0)
        return key_refuse(key, value, err, "%s", reason);
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
        return key_refuse(
            key, value, err,
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
            return key_refuse(key, value, err,
                              "STATE_DIRECTORY in the environment must be absolute");
    } else if (*value != '/') {
        return key_refuse(key, value, err, "must be an absolute path, or begin with %s/",
                          STATE_VARIABLE);
    }
    if (rest[strlen(rest) - 1] == '/')
        return key_refuse(key, value, err, "must name a file, not a directory");
    if (asprintf(&path, "%.*s%s", n, n > 0 ? state : "", rest) < 0)
        return out_of_memory(err);
    return set_text(config, key, path);
}

static int set_path_or_none(struct config *config, const struct key *key, const char *value,
                            struct error *err)
{
    return strcmp(value, "none") == 0 ? set_text(config, key, NULL)
                                      : set_path(config, key, value, err);
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
        return key_refuse(key, value, err, "must be %s from %s to %s", number->what,
                          number->format(key->min, min, sizeof(min)),
                          number->format(key->max, max, sizeof(max)));
    *(int64_t *)key_value(config, key) = parsed;
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
    if (parse_bool(value, key_value(config, key)) < 0)
        return key_refuse(key, value, err, "must be yes or no");
    return 0;
}

static int set_claims(struct config *config, const struct key *key, const char *value,
                      struct error *err)
{
    enum config_claims *claims = key_value(config, key);

    if (strcmp(value, "partial") == 0)
        *claims = CLAIMS_PARTIAL;
    else if (strcmp(value, "complete") == 0)
        *claims = CLAIMS_COMPLETE;
    else
        return key_refuse(key, value, err, "must be partial or complete");
    return 0;
}

void key_clear_list(struct config_list *list)
{
    for (size_t i = 0; i < CONFIG_MAX_LIST; i++)
        free(list->items[i]);
    *list = (struct config_list){0};
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
    _cleanup_(key_clear_list) struct config_list list = {0};
    struct config_list *old = key_value(config, key);
    size_t n = 0;

    for (const char *rest = value; *value && rest;) {
        const char *item = rest + strspn(rest, " \t"), *end = item + strcspn(item, ",");

        rest = *end == ',' ? end + 1 : NULL;
        while (end > item && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        if (n == CONFIG_MAX_LIST)
            return key_refuse(key, value, err, "must have at most %d items", CONFIG_MAX_LIST);
        list.items[n] = strndup(item, (size_t)(end - item));
        if (!list.items[n])
            return out_of_memory(err);
        if (!is_item(list.items[n]))
            return key_refuse(key, value, err,
                              "%s is no item: must be %s, with commas between them",
                              key_quote(list.items[n]).text, want);
        n++;
    }
    key_clear_list(old);
    *old = list;
    list = (struct config_list){0};
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
