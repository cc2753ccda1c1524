/* The configuration: INI files, a key table, and the secrets that come from elsewhere. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/secret.h"

enum { CONFIG_MAX_LIST = 16 };

/* A comma-separated value, NULL-terminated. */
struct config_list {
    char *items[CONFIG_MAX_LIST + 1];
};

enum config_claims { CLAIMS_PARTIAL, CLAIMS_COMPLETE };

/* Times in ms, sizes in bytes. Texts are owned by the configuration. */
struct config {
    char *merchant_id;

    char *pay_url;
    int64_t pay_timeout;
    int64_t pay_retries;
    int64_t pay_rate_per_minute;
    int64_t pay_rate_share; /* percent */
    int64_t pay_page_size;
    int64_t pay_max_body;

    char *vault_url;                 /* NULL: sessions are not revoked */
    char *vault_method, *vault_path; /* the two words of [vault] revoke */
    int64_t vault_timeout;
    int64_t vault_retries;
    int64_t vault_concurrency;

    char *ledger_path;
    bool ledger_keep_raw;
    char *queue_path;

    int64_t sync_interval;
    int64_t sync_fast_interval;
    int64_t sync_backfill;
    int64_t sync_overlap;
    int64_t sync_deep_overlap;
    int64_t sync_deep_interval;
    int64_t sync_edge_lag;

    int64_t match_before, match_after;
    int64_t match_absence_grace;
    int64_t match_late_watch;
    bool match_accept_amount_only;
    enum config_claims match_claims;
    struct config_list match_order_ref;
    struct config_list match_original_ref;
    struct config_list match_unsettled;

    int64_t sessions_idle_timeout;

    char *metrics_path; /* NULL: none are written */

    /* From $CREDENTIALS_DIRECTORY/merchant_api_key, vault_api_key, else the environment's
     * MERCHANT_API_KEY, VAULT_API_KEY. NULL where not asked for, or (the Vault's) not needed. */
    struct secret *merchant_api_key;
    struct secret *vault_api_key;
};

enum config_scope {
    CONFIG_PATHS, /* what reconctl needs: everything is checked that is there; [pay] url, the
                   * merchant id and the keys need not be */
    CONFIG_ALL,   /* what the daemon needs */
};

/* The default of --config. */
const char *config_default_path(void);

/* Reads `path`, then reconciled.conf.d/ *.conf beside it in name order (of bytes; hidden files and
 * what is no regular file are skipped), then defaults and environment. A later file overrides an
 * earlier one. With CONFIG_PATHS a missing `path` is as an empty one, unless `must_exist`. Where
 * [sync] fast_interval or overlap is not given and its default is longer than the given interval or
 * deep_overlap, it is cut to that.
 * -EINVAL with "file:line: reason" for anything refused: an unknown section or key, a bad value, a
 * value outside its range, a key given twice in one file, a secret in a file, a URL that is not
 * https:// (http:// to a loopback address excepted); with "file: reason" for what is missing; with
 * the source's name, never the value, for a bad secret.
 * -ENOENT, -EACCES, … when a file cannot be read; -ENOMEM. */
int config_load(const char *path, enum config_scope scope, bool must_exist, struct config **ret,
                struct error *err);
/* Whether the file at `path` holds a key as the daemon takes it: 0, or negative errno with what is
 * wrong, never the key, in `err`. */
int config_check_key(const char *path, struct error *err);
/* Wipes the secrets and frees; NULL is accepted and returned. */
struct config *config_free(struct config *config);

/* The key table, for documentation checks and `reconciled --show-keys`. Entry i, or NULL behind the
 * last. */
struct config_key {
    const char *section, *name;
    const char *fallback; /* the default, as it could be written */
    const char *help;     /* one line */
};
const struct config_key *config_key(size_t i);
