#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "config/config.h"

/* What a configuration needs, apart from the key that a test is about. */
#define URL "[pay]\nurl = https://pay.example\n"

/* The longest key that is taken. */
enum { KEY_LONGEST = 4096 };

static const char *const variables[] = {"MERCHANT_ID",     "MERCHANT_API_KEY",
                                        "VAULT_API_KEY",   "CREDENTIALS_DIRECTORY",
                                        "STATE_DIRECTORY", NULL};

/* The directory of the running test, and the configuration in it. */
static char directory[64];
static char conf[96];
static struct config *config;
static struct error error;

/* --- files and environment ---------------------------------------------------- */

static const char *at(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

static void put_bytes(const char *name, const void *bytes, size_t n)
{
    FILE *file = fopen(at(name), "we");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static void put(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text));
}

static void make_directory(const char *name)
{
    assert_int_equal(mkdir(at(name), 0700), 0);
}

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; variables[i]; i++)
        unsetenv(variables[i]);
    setenv("MERCHANT_ID", "merchant-1", 1);
    setenv("MERCHANT_API_KEY", "env-pay-key", 1);
    snprintf(directory, sizeof(directory), "/tmp/test_config.XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(conf, sizeof(conf), "%s/reconciled.conf", directory);
    error = (struct error){0};
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    config = config_free(config);
    return nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* --- loading -------------------------------------------------------------------- */

static int load(enum config_scope scope)
{
    static char untouched;
    struct config *loaded = (void *)&untouched;
    int r;

    config = config_free(config);
    r = config_load(conf, scope, true, &loaded, &error);
    if (r == 0)
        config = loaded;
    else
        assert_ptr_equal(loaded, &untouched);
    return r;
}

static void accept(const char *text)
{
    put("reconciled.conf", text);
    if (load(CONFIG_ALL) < 0)
        fail_msg("refused: %s\n%s", error.text, text);
}

/* The error's text is "<directory>/" and `want`; with "…" at its end, `want` is its beginning. */
static void expect_error(const char *want)
{
    size_t n = strlen(directory), n_want = strlen(want), n_dots = strlen("…");
    const char *got = error.text;

    if (strncmp(got, directory, n) == 0 && got[n] == '/')
        got += n + 1;
    if (n_want >= n_dots && strcmp(want + n_want - n_dots, "…") == 0) {
        if (strncmp(got, want, n_want - n_dots) != 0)
            fail_msg("\ngot  %s\nwant %s", got, want);
    } else {
        assert_string_equal(got, want);
    }
}

static void refuse_code(const char *text, int code, const char *want)
{
    put("reconciled.conf", text);
    error = (struct error){0};
    assert_int_equal(load(CONFIG_ALL), code);
    assert_int_equal(error.code, code);
    expect_error(want);
}

static void refuse(const char *text, const char *want)
{
    refuse_code(text, -EINVAL, want);
}

/* `value` for a key of `section` after a valid beginning: line 4. */
static const char *with(const char *section, const char *name, const char *value)
{
    static char text[8192];

    snprintf(text, sizeof(text), "%s[%s]\n%s = %s\n", URL, section, name, value);
    return text;
}

static void accept_value(const char *section, const char *name, const char *value)
{
    accept(with(section, name, value));
}

static void refuse_value(const char *section, const char *name, const char *value,
                         const char *reason)
{
    char want[512];

    snprintf(want, sizeof(want), "reconciled.conf:4: [%s] %s = \"%s\": %s", section, name, value,
             reason);
    refuse(with(section, name, value), want);
}

static void assert_list(const struct config_list *list, const char *const *want)
{
    size_t i = 0;

    for (; want[i]; i++)
        assert_string_equal(list->items[i], want[i]);
    assert_null(list->items[i]);
}

/* --- defaults ------------------------------------------------------------------- */

static void test_defaults_are_those_of_the_contract(void **state)
{
    (void)state;
    accept(URL);
    assert_string_equal(config->merchant_id, "merchant-1");
    assert_string_equal(config->pay_url, "https://pay.example");
    assert_int_equal(config->pay_timeout, 30000);
    assert_int_equal(config->pay_retries, 2);
    assert_int_equal(config->pay_rate_per_minute, 200);
    assert_int_equal(config->pay_rate_share, 50);
    assert_int_equal(config->pay_page_size, 100);
    assert_int_equal(config->pay_max_body, 16 * 1024 * 1024);
    assert_null(config->vault_url);
    assert_string_equal(config->vault_method, "POST");
    assert_string_equal(config->vault_path, "/sessions/revoke");
    assert_int_equal(config->vault_timeout, 30000);
    assert_int_equal(config->vault_retries, 2);
    assert_int_equal(config->vault_concurrency, 8);
    assert_string_equal(config->ledger_path, "/var/lib/reconciled/ledger.db");
    assert_false(config->ledger_keep_raw);
    assert_string_equal(config->queue_path, "/var/lib/reconciled/queue/queue.db");
    assert_int_equal(config->sync_interval, 60000);
    assert_int_equal(config->sync_fast_interval, 2000);
    assert_int_equal(config->sync_backfill, 30 * INT64_C(86400000));
    assert_int_equal(config->sync_overlap, 3600000);
    assert_int_equal(config->sync_deep_overlap, 72 * 3600000);
    assert_int_equal(config->sync_deep_interval, 6 * 3600000);
    assert_int_equal(config->sync_edge_lag, 5000);
    assert_int_equal(config->match_before, 120000);
    assert_int_equal(config->match_after, 900000);
    assert_int_equal(config->match_absence_grace, 900000);
    assert_int_equal(config->match_late_watch, 72 * 3600000);
    assert_false(config->match_accept_amount_only);
    assert_int_equal(config->match_claims, CLAIMS_PARTIAL);
    assert_list(&config->match_order_ref,
                (const char *[]){"/metadata/orderId", "/metadata/order_id", "/orderId", NULL});
    assert_list(&config->match_original_ref,
                (const char *[]){"/originalTransactionId", "/parentTransactionId", NULL});
    assert_list(&config->match_unsettled,
                (const char *[]){"pending", "declined", "failed", "error", NULL});
    assert_int_equal(config->sessions_idle_timeout, 900000);
    assert_string_equal(secret_text(config->merchant_api_key), "env-pay-key");
    assert_null(config->vault_api_key);
}

/* Each key has a place of its own: a value that is not its default shows up there and only there.
 */
static void test_every_key_reaches_its_place(void **state)
{
    (void)state;
    setenv("VAULT_API_KEY", "v", 1);
    accept("[merchant]\nid = m\n"
           "[pay]\nurl = https://p\ntimeout = 101\nretries = 1\nrate_per_minute = 102\n"
           "rate_share = 3%\npage_size = 4\nmax_body = 105K\n"
           "[vault]\nurl = https://v\nrevoke = DELETE /s/{sessionKey}\ntimeout = 106\n"
           "retries = 7\nconcurrency = 9\n"
           "[ledger]\npath = /l\nkeep_raw = yes\n[queue]\npath = /q\n"
           "[sync]\ninterval = 110\nfast_interval = 11\nbackfill = 112\noverlap = 113\n"
           "deep_overlap = 114\ndeep_interval = 115\nedge_lag = 116\n"
           "[match]\nbefore = 117\nafter = 118\nabsence_grace = 119\nlate_watch = 120\n"
           "accept_amount_only = on\nclaims = complete\norder_ref = /a\noriginal_ref = /b\n"
           "unsettled = c\n[sessions]\nidle_timeout = 121\n[metrics]\npath = /m.prom\n");
    assert_string_equal(config->merchant_id, "m");
    assert_string_equal(config->pay_url, "https://p");
    assert_int_equal(config->pay_timeout, 101000);
    assert_int_equal(config->pay_retries, 1);
    assert_int_equal(config->pay_rate_per_minute, 102);
    assert_int_equal(config->pay_rate_share, 3);
    assert_int_equal(config->pay_page_size, 4);
    assert_int_equal(config->pay_max_body, 105 * 1024);
    assert_string_equal(config->vault_url, "https://v");
    assert_string_equal(config->vault_method, "DELETE");
    assert_string_equal(config->vault_path, "/s/{sessionKey}");
    assert_int_equal(config->vault_timeout, 106000);
    assert_int_equal(config->vault_retries, 7);
    assert_int_equal(config->vault_concurrency, 9);
    assert_string_equal(config->ledger_path, "/l");
    assert_true(config->ledger_keep_raw);
    assert_string_equal(config->queue_path, "/q");
    assert_int_equal(config->sync_interval, 110000);
    assert_int_equal(config->sync_fast_interval, 11000);
    assert_int_equal(config->sync_backfill, 112000);
    assert_int_equal(config->sync_overlap, 113000);
    assert_int_equal(config->sync_deep_overlap, 114000);
    assert_int_equal(config->sync_deep_interval, 115000);
    assert_int_equal(config->sync_edge_lag, 116000);
    assert_int_equal(config->match_before, 117000);
    assert_int_equal(config->match_after, 118000);
    assert_int_equal(config->match_absence_grace, 119000);
    assert_int_equal(config->match_late_watch, 120000);
    assert_true(config->match_accept_amount_only);
    assert_int_equal(config->match_claims, CLAIMS_COMPLETE);
    assert_list(&config->match_order_ref, (const char *[]){"/a", NULL});
    assert_list(&config->match_original_ref, (const char *[]){"/b", NULL});
    assert_list(&config->match_unsettled, (const char *[]){"c", NULL});
    assert_int_equal(config->sessions_idle_timeout, 121000);
    assert_string_equal(config->metrics_path, "/m.prom");
}

/* Whatever --show-keys prints as a default can be written in the file. */
static void test_defaults_can_be_written(void **state)
{
    char text[8192] = "";
    size_t n = 0, keys = 0;

    (void)state;
    for (const struct config_key *key; (key = config_key(keys)); keys++) {
        assert_non_null(key->help);
        n += (size_t)snprintf(text + n, sizeof(text) - n, "[%s]\n%s = %s\n", key->section,
                              key->name, key->fallback);
        assert_true(n < sizeof(text));
    }
    assert_int_equal(keys, 34);
    assert_null(config_key(keys + 1));
    put("reconciled.conf", text);
    assert_int_equal(load(CONFIG_PATHS), 0);
    assert_null(config->pay_url);
    assert_string_equal(config->merchant_id, "merchant-1");
    assert_string_equal(config->queue_path, "/var/lib/reconciled/queue/queue.db");
    assert_null(config->metrics_path);
}

/* --- the file's form ------------------------------------------------------------ */

static void test_form_that_is_accepted(void **state)
{
    (void)state;
    accept("\xef\xbb\xbf; a byte order mark, a comment\r\n"
           "  # an indented comment\r\n"
           "\r\n"
           "[pay]   ; a comment\r\n"
           "   timeout = 5s\r\n"
           "\turl: https://pay.example/v2/   ; a comment\r\n"
           "[sync]\r\n"
           "[pay]\r\n"
           "retries=3");
    assert_string_equal(config->pay_url, "https://pay.example/v2");
    assert_int_equal(config->pay_timeout, 5000);
    assert_int_equal(config->pay_retries, 3);
}

static void test_form_that_is_refused(void **state)
{
    (void)state;
    refuse(URL "timeout\n", "reconciled.conf:3: not understood…");
    refuse(URL "[sync\ninterval = 5s\n", "reconciled.conf:3: not understood…");
    refuse(URL "[sync] interval = 5s\n", "reconciled.conf:3: nothing but a comment…");
    refuse("url = https://pay.example\n",
           "reconciled.conf:1: \"url\" stands before the first [section]");
    refuse(URL "[Pay]\n",
           "reconciled.conf:3: unknown section \"Pay\": there are merchant, pay, vault, ledger, "
           "queue, sync, match, sessions, metrics");
    refuse(URL "[sync]\n\nintervall = 5s\n",
           "reconciled.conf:5: unknown key \"intervall\": [sync] has interval, fast_interval, "
           "backfill, overlap, deep_overlap, deep_interval, edge_lag");
    refuse(URL "Timeout = 5s\n", "reconciled.conf:3: unknown key \"Timeout\"…");
    refuse("[sync]\nurl = https://pay.example\n", "reconciled.conf:2: unknown key \"url\"…");
    refuse(URL "timeout = 5s # so\n", "reconciled.conf:3: [pay] timeout: a comment after…");
    refuse(URL "\n; timeout = 1s\ntimeout = 5s\n\n[pay]\n timeout = 5s\n",
           "reconciled.conf:8: [pay] timeout is given twice, first in line 5");
    refuse("\xef\xbb\xbf\xef\xbb\xbf[nowhere]\n", "reconciled.conf:1: a byte order mark…");
    refuse(" \xef\xbb\xbf[nowhere]\n", "reconciled.conf:1: a byte order mark…");
    refuse("\xff\xfe[", "reconciled.conf:1: not UTF-8 text");
    refuse("\xef\xbb[pay]\n", "reconciled.conf:1: not UTF-8 text");
    refuse(URL "[match]\norder_ref = /ordr\xe9\n", "reconciled.conf:4: not UTF-8 text");
    refuse(URL "[match]\norder_ref = /a\x1b[0m\n", "reconciled.conf:4: a control character");
    refuse(URL "\ftimeout = 5s\n", "reconciled.conf:3: a control character");
    refuse("[pay]\rurl = https://pay.example\r", "reconciled.conf:1: a control character");
    put_bytes("reconciled.conf", "[pay]\nurl = https://a\0b\n", 23);
    assert_int_equal(load(CONFIG_ALL), -EINVAL);
    expect_error("reconciled.conf:2: a control character");
}

/* RFC 3629: overlong forms, surrogates and what lies beyond U+10FFFF are no UTF-8. */
static void test_utf8(void **state)
{
    static const char *const good[] = {"\xc2\x80",         "\xdf\xbf",        "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",     "\xee\x80\x80",    "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc1\xbf",
                                      "\xc3",
                                      "\xc3\x28",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xe2\x82\x28",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xf0\x90\x80"};
    char value[16];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(good); i++) {
        snprintf(value, sizeof(value), "/%s", good[i]);
        accept_value("match", "order_ref", value);
        assert_string_equal(config->match_order_ref.items[0], value);
    }
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        snprintf(value, sizeof(value), "/%s", bad[i]);
        refuse(with("match", "order_ref", value), "reconciled.conf:4: not UTF-8 text");
    }
}

/* What comes first in the file is what is reported, whoever finds it. */
static void test_first_error_wins(void **state)
{
    (void)state;
    refuse(URL "no sense\ntimeout = never\n", "reconciled.conf:3: not understood…");
    refuse(URL "timeout = never\nno sense\n", "reconciled.conf:3: [pay] timeout = \"never\"…");
    refuse(URL "no sense\n[nowhere]\n", "reconciled.conf:3: not understood…");
    refuse(URL "timeout = never\n[nowhere]\n", "reconciled.conf:3: [pay] timeout = \"never\"…");
    refuse(URL "[nowhere]\nno sense\n", "reconciled.conf:3: unknown section…");
}

/* A line is read whole or refused; where the limit lies is libinih's business. A long comment is
 * nobody's. */
static void test_long_lines(void **state)
{
    char text[4096], filler[1024];
    size_t longest = 0;

    (void)state;
    memset(filler, 'x', sizeof(filler));
    for (int n = 1; n < 600; n++) {
        snprintf(text, sizeof(text), URL "[ledger]\npath = /%.*s\n[sync]\n", n, filler);
        put("reconciled.conf", text);
        if (load(CONFIG_ALL) == 0) {
            assert_int_equal(longest, n - 1);
            assert_int_equal(strlen(config->ledger_path), n + 1);
            longest = (size_t)n;
        } else {
            expect_error("reconciled.conf:4: a line may have …");
        }
    }
    assert_true(longest > 150 && longest < 599);
    snprintf(text, sizeof(text), "#%.600s\n" URL "; %.600s\nretries = 1 \n#%.600s", filler, filler,
             filler);
    accept(text);
    assert_int_equal(config->pay_retries, 1);
    snprintf(text, sizeof(text), URL "retries = 1 ;%.600s\n", filler);
    refuse(text, "reconciled.conf:3: a line may have …");
}

static void test_files_that_cannot_be_read(void **state)
{
    struct config *loaded = NULL;

    (void)state;
    assert_int_equal(load(CONFIG_ALL), -ENOENT);
    expect_error("reconciled.conf: No such file or directory");
    assert_int_equal(config_load(conf, CONFIG_ALL, false, &loaded, NULL), -ENOENT);
    assert_int_equal(config_load(conf, CONFIG_PATHS, true, &loaded, NULL), -ENOENT);
    assert_int_equal(config_load(conf, CONFIG_PATHS, false, &loaded, NULL), 0);
    assert_string_equal(loaded->ledger_path, "/var/lib/reconciled/ledger.db");
    config_free(loaded);
    make_directory("reconciled.conf");
    assert_int_equal(load(CONFIG_ALL), -EISDIR);
}

/* --- drop-ins ------------------------------------------------------------------- */

static void test_drop_ins_override_in_byte_order(void **state)
{
    (void)state;
    make_directory("reconciled.conf.d");
    put("reconciled.conf.d/10-a.conf", "[pay]\ntimeout = 2s\nretries = 2\n");
    put("reconciled.conf.d/9-b.conf", "[pay]\ntimeout = 3s\n");
    put("reconciled.conf.d/Z.conf", "[sync]\ninterval = 4s\n[vault]\nrevoke = PUT /r\n");
    put("reconciled.conf.d/a.conf", "[sync]\ninterval = 5s\n[match]\nunsettled = b, c\n");
    put("reconciled.conf.d/.hidden.conf", "nonsense\n");
    put("reconciled.conf.d/old.conf~", "nonsense\n");
    put("reconciled.conf.d/conf", "nonsense\n");
    make_directory("reconciled.conf.d/b.conf");
    assert_int_equal(symlink("/dev/null", at("reconciled.conf.d/c.conf")), 0);
    accept(URL "timeout = 1s\nretries = 1\n[vault]\nrevoke = DELETE /q\n[match]\nunsettled = a\n");
    assert_int_equal(config->pay_timeout, 3000);
    assert_int_equal(config->pay_retries, 2);
    assert_int_equal(config->sync_interval, 5000);
    assert_string_equal(config->vault_method, "PUT");
    assert_string_equal(config->vault_path, "/r");
    assert_list(&config->match_unsettled, (const char *[]){"b", "c", NULL});

    /* What an earlier file says is checked even where a later one overrides it. */
    refuse(URL "timeout = soon\n", "reconciled.conf:3: [pay] timeout = \"soon\"…");
}

static void test_drop_ins_that_are_refused(void **state)
{
    struct config *loaded = NULL;

    (void)state;
    make_directory("reconciled.conf.d");
    put("reconciled.conf.d/a.conf", "\n[pay]\ntimeout = soon\n");
    refuse(URL, "reconciled.conf.d/a.conf:3: [pay] timeout = \"soon\"…");
    put("reconciled.conf.d/a.conf", "[pay]\ntimeout = 1s\ntimeout = 2s\n");
    refuse(URL "timeout = 3s\n",
           "reconciled.conf.d/a.conf:3: [pay] timeout is given twice, first in line 2");
    put("reconciled.conf.d/a.conf", "[sync]\nfast_interval = 2min\n");
    refuse(URL, "reconciled.conf.d/a.conf:2: [sync] fast_interval (2min) must not be longer than "
                "[sync] interval (1min)");
    put("reconciled.conf.d/a.conf", "");
    assert_int_equal(symlink("nowhere", at("reconciled.conf.d/b.conf")), 0);
    refuse_code(URL, -ENOENT, "reconciled.conf.d/b.conf: No such file or directory");

    /* A missing main file does not hide them. */
    assert_int_equal(unlink(conf), 0);
    assert_int_equal(unlink(at("reconciled.conf.d/b.conf")), 0);
    put("reconciled.conf.d/a.conf", "[ledger]\npath = /x.db\n");
    assert_int_equal(config_load(conf, CONFIG_PATHS, false, &loaded, &error), 0);
    assert_string_equal(loaded->ledger_path, "/x.db");
    config_free(loaded);
}

/* --- values --------------------------------------------------------------------- */

/* Each number key takes both ends of its range and refuses what lies beyond. */
static void test_ranges(void **state)
{
    static const struct {
        const char *section, *name, *min, *max, *below, *above, *range;
    } rows[] = {
        {"pay", "timeout", "100ms", "10min", "99ms", "600001ms", "100ms to 10min"},
        {"pay", "retries", "0", "10", "-1", "11", "0 to 10"},
        {"pay", "rate_per_minute", "2", "100000", "0", "100001", "1 to 100000"},
        {"pay", "rate_share", "1%", "100%", "0%", "101%", "1% to 100%"},
        {"pay", "page_size", "1", "100", "0", "101", "1 to 100"},
        {"pay", "max_body", "64K", "64M", "65535", "67108865", "64K to 64M"},
        {"vault", "timeout", "100ms", "10min", "99ms", "11min", "100ms to 10min"},
        {"vault", "retries", "0", "10", "two", "11", "0 to 10"},
        {"vault", "concurrency", "1", "64", "0", "65", "1 to 64"},
        {"sync", "interval", "100ms", "1d", "0", "25h", "100ms to 1d"},
        {"sync", "fast_interval", "100ms", "60s", "99ms", "2d", "100ms to 1d"},
        {"sync", "backfill", "1s", "3650d", "0", "3651d", "1s to 3650d"},
        {"sync", "overlap", "1s", "72h", "0s", "31d", "1s to 30d"},
        {"sync", "deep_overlap", "1s", "90d", "0", "91d", "1s to 90d"},
        {"sync", "deep_interval", "1s", "30d", "0", "31d", "1s to 30d"},
        {"sync", "edge_lag", "0", "1h", "-1", "61min", "0ms to 1h"},
        {"match", "before", "0", "1d", "1w", "2d", "0ms to 1d"},
        {"match", "after", "0s", "7d", "", "8d", "0ms to 7d"},
        {"match", "absence_grace", "0", "7d", "1.5h", "8d", "0ms to 7d"},
        {"match", "late_watch", "0", "90d", "5 min", "91d", "0ms to 90d"},
        {"sessions", "idle_timeout", "100ms", "1d", "0", "9999999999999999d", "100ms to 1d"},
    };
    char want[512];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        const char *const refused[] = {rows[i].below, rows[i].above};
        const char *const taken[] = {rows[i].min, rows[i].max};

        for (size_t k = 0; k < 2; k++) {
            /* [pay] is there already; its keys follow in line 4 as well. */
            accept_value(rows[i].section, rows[i].name, taken[k]);
            refuse(with(rows[i].section, rows[i].name, refused[k]), "reconciled.conf:4: …");
            snprintf(want, sizeof(want), "[%s] %s = \"%s\": must be a", rows[i].section,
                     rows[i].name, refused[k]);
            assert_non_null(strstr(error.text, want));
            assert_non_null(strstr(error.text, rows[i].range));
        }
    }
    refuse_value("pay", "timeout", "soon",
                 "must be a duration (ms, s, min, h, d) from 100ms to 10min");
    refuse_value("pay", "max_body", "1T", "must be a size (bytes, K, M, G) from 64K to 64M");
    refuse_value("pay", "page_size", "1e2", "must be a whole number from 1 to 100");
    refuse_value("pay", "rate_share", "50", "must be a percentage from 1% to 100%");
}

static void test_pairs(void **state)
{
    (void)state;
    refuse(URL "[sync]\nfast_interval = 5s\ninterval = 4s\n",
           "reconciled.conf:4: [sync] fast_interval (5s) must not be longer than [sync] interval "
           "(4s)");
    refuse(URL "[sync]\n\noverlap = 2h\ndeep_overlap = 119min\n",
           "reconciled.conf:5: [sync] overlap (2h) must not be longer than [sync] deep_overlap "
           "(119min)");
    refuse_value("sync", "overlap", "", "must be a duration (ms, s, min, h, d) from 1s to 30d");
    accept(URL "[sync]\nfast_interval = 5s\ninterval = 5s\noverlap = 2h\ndeep_overlap = 2h\n");

    /* A default is no wish: it gives way. */
    accept(URL "[sync]\ninterval = 1s\ndeep_overlap = 10min\n");
    assert_int_equal(config->sync_fast_interval, 1000);
    assert_int_equal(config->sync_overlap, 600000);

    refuse(URL "rate_per_minute = 10\nrate_share = 9%\n",
           "reconciled.conf: [pay] rate_share (9%) of [pay] rate_per_minute (10) is less than one "
           "request a minute");
    accept(URL "rate_per_minute = 10\nrate_share = 10%\n");
}

static void test_merchant_id(void **state)
{
    static const char reason[] = "must be 1 to 30 printable ASCII characters, without space";
    static const char thirty[] = "123456789012345678901234567890";

    (void)state;
    accept_value("merchant", "id", thirty);
    assert_string_equal(config->merchant_id, thirty);
    refuse_value("merchant", "id", "1234567890123456789012345678901", reason);
    refuse_value("merchant", "id", "", reason);
    refuse_value("merchant", "id", "a b", reason);
    refuse_value("merchant", "id", "h\xc3\xa4ndler", reason);
    setenv("MERCHANT_ID", "in the environment", 1);
    refuse(URL, "MERCHANT_ID in the environment = \"in the environment\": must be 1 to 30…");
    accept_value("merchant", "id",
                 "in-file"); /* the file goes first, the environment is not read */
    setenv("MERCHANT_ID", "", 1);
    refuse(URL, "reconciled.conf: [merchant] id is required, or MERCHANT_ID in the environment");
    unsetenv("MERCHANT_ID");
    refuse(URL, "reconciled.conf: [merchant] id is required, or MERCHANT_ID in the environment");
}

static void test_urls_accepted(void **state)
{
    static const char *const rows[][2] = {
        {"https://pay.example", "https://pay.example"},
        {"https://pay.example/", "https://pay.example"},
        {"https://pay.example:8443/v1/pay///", "https://pay.example:8443/v1/pay"},
        {"https://pay.example/a//b", "https://pay.example/a//b"},
        {"https://10.0.0.1", "https://10.0.0.1"},
        {"https://[2001:db8::1]:443/x", "https://[2001:db8::1]:443/x"},
        {"https://ozurapay-pay-api-v2.eastus-01.azurewebsites.net", NULL},
        {"http://127.0.0.1:8080", "http://127.0.0.1:8080"},
        {"http://127.255.255.254/x", "http://127.255.255.254/x"},
        {"http://[::1]:8080/", "http://[::1]:8080"},
        {"http://[0:0:0:0:0:0:0:1]", "http://[0:0:0:0:0:0:0:1]"},
        {"http://localhost:65535", "http://localhost:65535"},
        {"http://LocalHost", "http://LocalHost"},
    };

    (void)state;
    setenv("VAULT_API_KEY", "v", 1);
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        accept_value("vault", "url", rows[i][0]);
        assert_string_equal(config->vault_url, rows[i][1] ? rows[i][1] : rows[i][0]);
    }
    accept_value("vault", "url", "none");
    assert_null(config->vault_url);
}

static void test_urls_refused(void **state)
{
    static const char form[] = "must be https://host[:port][/path]";
    static const char tls[] =
        "must be https://; http:// only to a loopback address (127.0.0.0/8, [::1], localhost)";
    static const char host[] =
        "the host must be a name, an IPv4 address or an IPv6 address in brackets";
    static const char port[] = "the port must be 1 to 65535";
    static const char *const rows[][2] = {
        {"pay.example", form},
        {"", form},
        {"https:/pay.example", form},
        {"HTTPS://pay.example", form},
        {"ftp://pay.example", form},
        {"file:///etc/passwd", form},
        {"https://", host},
        {"https:///v1", host},
        {"https://:443", host},
        {"https://pay example", host},
        {"https://pay\\example", host},
        {"https://..", host},
        {"https://-x", host},
        {"https://[::1", "the host's ']' is missing"},
        {"https://[localhost]", host},
        {"https://[127.0.0.1]", host},
        {"https://2001:db8::1", port},
        {"https://[::1]x", "a host is followed by ':' and its port, or by '/' and a path"},
        {"https://pay.example:", port},
        {"https://pay.example:0", port},
        {"https://pay.example:65536", port},
        {"https://pay.example:+80", port},
        {"https://pay.example:80:80", port},
        {"http://pay.example", tls},
        {"http://127.0.0.1.pay.example", tls},
        {"http://localhost.pay.example", tls},
        {"http://localhost.", tls},
        {"http://127.1", tls},
        {"http://2130706433", tls},
        {"http://0x7f.0.0.1", tls},
        {"http://0177.0.0.1", tls},
        {"http://126.255.255.255", tls},
        {"http://128.0.0.1", tls},
        {"http://0.0.0.0", tls},
        {"http://[::]", tls},
        {"http://[::2]", tls},
        {"http://[::ffff:127.0.0.1]", tls},
        {"https://pay.example/a b",
         "the path may have printable ASCII characters only, others as %XX"},
        {"https://pay.example/caf\xc3\xa9",
         "the path may have printable ASCII characters only, others as %XX"},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        refuse_value("vault", "url", rows[i][0], rows[i][1]);
    refuse("[pay]\nurl = http://pay.example\n",
           "reconciled.conf:2: [pay] url = \"http://pay.example\": must be https://; http:// only "
           "to a loopback address (127.0.0.0/8, [::1], localhost)");
}

/* What people put before '@' or behind '?' is a secret: the reason is given, the value is not. */
static void test_urls_with_secrets_are_not_shown(void **state)
{
    static const char *const values[] = {
        "https://user:hunter2@pay.example",
        "https://hunter2@pay.example/",
        "http://localhost:hunter2@pay.example",
        "https://pay.example/?key=hunter2",
        "https://pay.example#hunter2",
        "https://pay.example?hunter2",
        "ftp://hunter2@pay.example",
        "https://user:p/hunter2@pay.example",
        "https://hunter2@pay.example # main",
        "https://a/?hunter2 # main",
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(values); i++) {
        refuse(with("vault", "url", values[i]), "reconciled.conf:4: [vault] url: …");
        assert_null(strstr(error.text, "hunter2"));
    }
    refuse(with("vault", "url", "https://user:hunter2@pay.example"),
           "reconciled.conf:4: [vault] url: a user or password in a URL is a secret, which does "
           "not belong in this file");
    refuse(with("vault", "url", "https://pay.example/?hunter2"),
           "reconciled.conf:4: [vault] url: a base URL has no query and no fragment");
}

static void test_revoke(void **state)
{
    static const char reason[] =
        "must be a method in capitals, a space and a path that begins with '/', with {sessionKey} "
        "in it at most once";
    static const char *const bad[] = {
        "POST",
        "/sessions/revoke",
        "",
        "post /sessions/revoke",
        "POST sessions/revoke",
        "POST/sessions/revoke",
        "POST https://vault.example/revoke",
        "POST /sessions/{sessionkey}",
        "POST /sessions/{sessionKey",
        "POST /{sessionKey}/{sessionKey}",
        "POST /a b",
        "POST /a#b",
        "ABCDEFGHIJKLMNOPQ /a",
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        refuse_value("vault", "revoke", bad[i], reason);
    accept_value("vault", "revoke", "PATCH \t /s/{sessionKey}/end?force=1");
    assert_string_equal(config->vault_method, "PATCH");
    assert_string_equal(config->vault_path, "/s/{sessionKey}/end?force=1");
}

static void test_lists(void **state)
{
    char value[512] = "/0";

    (void)state;
    accept_value("match", "order_ref", " /a b ,/c~0d~1e\t,  /\xc3\xa9  ; a comment");
    assert_list(&config->match_order_ref, (const char *[]){"/a b", "/c~0d~1e", "/\xc3\xa9", NULL});
    accept_value("match", "unsettled", "");
    assert_list(&config->match_unsettled, (const char *[]){NULL});
    refuse_value("match", "order_ref", "/a, orderId",
                 "\"orderId\" is no item: must be JSON Pointers (/name/name), with commas between "
                 "them");
    refuse(with("match", "order_ref", "/a,"),
           "reconciled.conf:4: [match] order_ref = \"/a,\": \"\" is no item…");
    refuse(with("match", "original_ref", "/a,,/b"),
           "reconciled.conf:4: [match] original_ref = \"/a,,/b\": \"\" is no item…");
    refuse(with("match", "original_ref", "/a~2"),
           "reconciled.conf:4: [match] original_ref = \"/a~2\": \"/a~2\" is no item…");
    refuse(with("match", "original_ref", "/a~"),
           "reconciled.conf:4: [match] original_ref = \"/a~\": \"/a~\" is no item…");
    refuse(with("match", "unsettled", ", a"),
           "reconciled.conf:4: [match] unsettled = \", a\": \"\" is no item: must be words…");
    for (int i = 1; i < CONFIG_MAX_LIST; i++)
        snprintf(value + strlen(value), sizeof(value) - strlen(value), ",/%d", i);
    accept_value("match", "order_ref", value);
    assert_string_equal(config->match_order_ref.items[CONFIG_MAX_LIST - 1], "/15");
    assert_null(config->match_order_ref.items[CONFIG_MAX_LIST]);
    snprintf(value + strlen(value), sizeof(value) - strlen(value), ",/x");
    refuse(with("match", "order_ref", value), "reconciled.conf:4: [match] order_ref = …");
    assert_non_null(strstr(error.text, "must have at most 16 items"));
}

static void test_words_of_choice(void **state)
{
    (void)state;
    accept_value("ledger", "keep_raw", "TRUE");
    assert_true(config->ledger_keep_raw);
    refuse_value("ledger", "keep_raw", "maybe", "must be yes or no");
    refuse_value("match", "accept_amount_only", "", "must be yes or no");
    refuse_value("match", "claims", "Complete", "must be partial or complete");
}

/* A long value is cut between characters. */
static void test_quoted_values_are_cut(void **state)
{
    (void)state;
    refuse(with("match", "claims", "123456789012345678901234567890123456789012345678901234567890"),
           "reconciled.conf:4: [match] claims = "
           "\"123456789012345678901234567890123456789012345678901234567890\": must be…");
    refuse(with("match", "claims", "1234567890123456789012345678901234567890123456789012345678901"),
           "reconciled.conf:4: [match] claims = "
           "\"123456789012345678901234567890123456789012345678901234567890…\": must be…");
    refuse(with("match", "claims",
                "12345678901234567890123456789012345678901234567890123456789é and more"),
           "reconciled.conf:4: [match] claims = "
           "\"12345678901234567890123456789012345678901234567890123456789…\": must be…");
}

static void test_paths(void **state)
{
    char first[256], second[256], text[1024];

    (void)state;
    setenv("STATE_DIRECTORY", "/srv/a:/srv/b", 1);
    accept(URL);
    assert_string_equal(config->ledger_path, "/srv/a/ledger.db");
    assert_string_equal(config->queue_path, "/srv/a/queue/queue.db");
    accept_value("ledger", "path", "$STATE_DIRECTORY/x y.db");
    assert_string_equal(config->ledger_path, "/srv/a/x y.db");
    setenv("STATE_DIRECTORY", "srv", 1);
    refuse(URL, "[ledger] path = \"$STATE_DIRECTORY/ledger.db\": STATE_DIRECTORY in the "
                "environment must be absolute");
    setenv("STATE_DIRECTORY", "", 1);
    accept(URL);
    assert_string_equal(config->ledger_path, "/var/lib/reconciled/ledger.db");

    refuse_value("ledger", "path", "ledger.db",
                 "must be an absolute path, or begin with $STATE_DIRECTORY/");
    refuse_value("queue", "path", "./queue.db",
                 "must be an absolute path, or begin with $STATE_DIRECTORY/");
    refuse_value("queue", "path", "$STATE_DIRECTORYqueue.db",
                 "must be an absolute path, or begin with $STATE_DIRECTORY/");
    refuse_value("queue", "path", "", "must be an absolute path, or begin with $STATE_DIRECTORY/");
    refuse_value("queue", "path", "/var/lib/", "must name a file, not a directory");
    refuse(URL "[ledger]\npath = /x.db\n[queue]\npath = /x.db\n",
           "reconciled.conf: [ledger] path and [queue] path are the same file \"/x.db\"");

    /* One file by two names. */
    put("first.db", "");
    snprintf(first, sizeof(first), "%s", at("first.db"));
    snprintf(second, sizeof(second), "%s", at("second.db"));
    assert_int_equal(symlink(first, second), 0);
    snprintf(text, sizeof(text), URL "[ledger]\npath = %s\n[queue]\npath = %s\n", first, second);
    refuse(text, "reconciled.conf: [ledger] path and [queue] path are the same file…");
}

/* --- secrets -------------------------------------------------------------------- */

static void test_secrets_in_the_file(void **state)
{
    static const char *const names[] = {
        "api_key",          "key",           "secret",     "password", "token",
        "merchant_api_key", "vault_api_key", "x-api-key",  "apiKey",   "ACCESS_TOKEN",
        "client_secret",    "passwd",        "credentials"};
    static const char *const sections[] = {"merchant", "pay",  "vault", "ledger",
                                           "queue",    "sync", "match", "sessions"};
    char text[256], want[256];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        for (size_t k = 0; k < ELEMENTSOF(sections); k++) {
            snprintf(text, sizeof(text), "\n[%s]\n%s = hunter2\n", sections[k], names[i]);
            snprintf(want, sizeof(want),
                     "reconciled.conf:3: \"%s\": secrets do not belong in this file: use systemd "
                     "credentials or MERCHANT_API_KEY…",
                     names[i]);
            refuse(text, want);
            assert_null(strstr(error.text, "hunter2"));
        }
    refuse("api_key = hunter2\n", "reconciled.conf:1: \"api_key\": secrets do not belong…");
    refuse("[pay]\nhunter = hunter2\n", "reconciled.conf:2: unknown key \"hunter\"…");
    assert_null(strstr(error.text, "hunter2"));
}

static void use_credentials(void)
{
    make_directory("credentials");
    setenv("CREDENTIALS_DIRECTORY", at("credentials"), 1);
}

static void test_credentials_go_before_the_environment(void **state)
{
    (void)state;
    use_credentials();
    setenv("VAULT_API_KEY", "env-vault-key", 1);
    put("credentials/merchant_api_key", "file-pay-key\n");
    accept(with("vault", "url", "https://v"));
    assert_string_equal(secret_text(config->merchant_api_key), "file-pay-key");
    assert_string_equal(secret_text(config->vault_api_key), "env-vault-key");
    put("credentials/vault_api_key", "file-vault-key");
    accept(with("vault", "url", "https://v"));
    assert_string_equal(secret_text(config->vault_api_key), "file-vault-key");

    /* A reload finds the variable again. */
    assert_int_equal(unlink(at("credentials/merchant_api_key")), 0);
    accept(URL);
    accept(URL);
    assert_string_equal(secret_text(config->merchant_api_key), "env-pay-key");
    assert_null(config->vault_api_key);
    setenv("CREDENTIALS_DIRECTORY", "", 1);
    accept(URL);
}

static void test_keys_that_are_missing(void **state)
{
    (void)state;
    unsetenv("MERCHANT_API_KEY");
    refuse(URL, "reconciled.conf: the Pay API needs a key: the systemd credential "
                "merchant_api_key, or MERCHANT_API_KEY in the environment");
    setenv("MERCHANT_API_KEY", "p", 1);
    refuse(with("vault", "url", "https://v"),
           "reconciled.conf: [vault] url needs a key: the systemd credential vault_api_key, or "
           "VAULT_API_KEY in the environment");
    refuse("", "reconciled.conf: [pay] url is required");
    refuse("[pay]\nurl = none\n", "reconciled.conf: [pay] url is required");

    /* Not needed, not looked at. */
    setenv("VAULT_API_KEY", "not a key", 1);
    accept(URL);
    setenv("MERCHANT_API_KEY", "not a key", 1);
    unsetenv("MERCHANT_ID");
    put("reconciled.conf", "[vault]\nurl = https://v\n");
    assert_int_equal(load(CONFIG_PATHS), 0);
    assert_null(config->merchant_id);
    assert_null(config->pay_url);
    assert_null(config->merchant_api_key);
    assert_null(config->vault_api_key);
    put("reconciled.conf", "[pay]\nurl = http://pay.example\n");
    assert_int_equal(load(CONFIG_PATHS), -EINVAL);
}

static void test_keys_that_are_taken(void **state)
{
    char longest[KEY_LONGEST + 64];

    (void)state;
    use_credentials();
    put("credentials/merchant_api_key", "~!key\r\n\n\r\n");
    accept(URL);
    assert_string_equal(secret_text(config->merchant_api_key), "~!key");
    memset(longest, 'k', KEY_LONGEST);
    memset(longest + KEY_LONGEST, '\n', 60);
    put_bytes("credentials/merchant_api_key", longest, KEY_LONGEST + 60);
    accept(URL);
    assert_int_equal(secret_length(config->merchant_api_key), KEY_LONGEST);
    assert_int_equal(unlink(at("credentials/merchant_api_key")), 0);
    setenv("MERCHANT_API_KEY", "stray\n", 1);
    accept(URL);
    assert_string_equal(secret_text(config->merchant_api_key), "stray");
    assert_int_equal(secret_length(config->merchant_api_key), 5);
}

static void test_keys_that_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
    } bad[] = {{"hunter2 hunter2", 15},    {" hunter2", 8},          {"hunter2 \n", 9},
               {"hunter2\t", 8},           {"hunter2\nhunter2", 15}, {"hunter2\0", 8},
               {"hunter2\x7f", 8},         {"hunter2\x1b", 8},       {"hunter2\xc3\xa9", 9},
               {"\xef\xbb\xbfhunter2", 10}};
    char longest[16384];

    (void)state;
    use_credentials();
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        put_bytes("credentials/merchant_api_key", bad[i].bytes, bad[i].n);
        refuse(URL, "credentials/merchant_api_key: the key has white space, a control character "
                    "or a character that is not ASCII in it");
        assert_null(strstr(error.text, "hunter2"));
    }
    put("credentials/merchant_api_key", "");
    refuse(URL, "credentials/merchant_api_key: the key is empty");
    put("credentials/merchant_api_key", "\n\n");
    refuse(URL, "credentials/merchant_api_key: the key is empty");
    memset(longest, 'k', sizeof(longest));
    put_bytes("credentials/merchant_api_key", longest, KEY_LONGEST + 1);
    refuse(URL, "credentials/merchant_api_key: the key is longer than 4096 bytes");
    put_bytes("credentials/merchant_api_key", longest, sizeof(longest));
    refuse(URL, "credentials/merchant_api_key: the key is longer than 4096 bytes");
    assert_int_equal(unlink(at("credentials/merchant_api_key")), 0);
    assert_int_equal(mkfifo(at("credentials/merchant_api_key"), 0600), 0);
    refuse(URL, "credentials/merchant_api_key: the key must be in a regular file");
    assert_int_equal(unlink(at("credentials/merchant_api_key")), 0);
    setenv("MERCHANT_API_KEY", "hunter2 ", 1);
    refuse(URL, "MERCHANT_API_KEY in the environment: the key has white space…");
    assert_null(strstr(error.text, "hunter2"));
    setenv("MERCHANT_API_KEY", "", 1);
    refuse(URL, "MERCHANT_API_KEY in the environment: the key is empty");

    /* Something is there and cannot be had: that is no reason to use something else. */
    setenv("MERCHANT_API_KEY", "fine", 1);
    assert_int_equal(symlink("merchant_api_key", at("credentials/merchant_api_key")), 0);
    refuse_code(URL, -ELOOP, "credentials/merchant_api_key: Too many levels of symbolic links");
}

/* --- the sample ------------------------------------------------------------------- */

/* The sample, run from the top directory of the source; `all`: every commented key uncommented,
 * else only [pay] url. */
static void accept_sample(bool all)
{
    FILE *sample = fopen("systemd/reconciled.conf", "re");
    _cleanup_free_ char *line = NULL;
    char text[32768];
    size_t size = 0, n = 0, keys = 0;
    bool pay = false;

    assert_non_null(sample);
    while (getline(&line, &size, sample) >= 0) {
        bool key = line[0] == '#' && line[1] >= 'a' && line[1] <= 'z' && strstr(line, " = ");

        if (line[0] == '[')
            pay = strncmp(line, "[pay]", 5) == 0;
        keys += key;
        key = key && (all || (pay && strncmp(line, "#url =", 6) == 0));
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s", line + key);
        assert_true(n < sizeof(text));
    }
    fclose(sample);
    assert_int_equal(keys, 34);
    accept(text);
    assert_string_equal(config->pay_url, "https://pay.example.com");
    assert_null(config->vault_url);
}

static void test_sample(void **state)
{
    (void)state;
    accept_sample(false);
    accept_sample(true);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_defaults_are_those_of_the_contract),
        TEST(test_every_key_reaches_its_place),
        TEST(test_defaults_can_be_written),
        TEST(test_form_that_is_accepted),
        TEST(test_form_that_is_refused),
        TEST(test_utf8),
        TEST(test_first_error_wins),
        TEST(test_long_lines),
        TEST(test_files_that_cannot_be_read),
        TEST(test_drop_ins_override_in_byte_order),
        TEST(test_drop_ins_that_are_refused),
        TEST(test_ranges),
        TEST(test_pairs),
        TEST(test_merchant_id),
        TEST(test_urls_accepted),
        TEST(test_urls_refused),
        TEST(test_urls_with_secrets_are_not_shown),
        TEST(test_revoke),
        TEST(test_lists),
        TEST(test_words_of_choice),
        TEST(test_quoted_values_are_cut),
        TEST(test_paths),
        TEST(test_secrets_in_the_file),
        TEST(test_credentials_go_before_the_environment),
        TEST(test_keys_that_are_missing),
        TEST(test_keys_that_are_taken),
        TEST(test_keys_that_are_refused),
        TEST(test_sample),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
