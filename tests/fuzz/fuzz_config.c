/* The configuration reader over any bytes: what it takes is within the bounds that the rest of the
 * program relies on, what it refuses it refuses with a reason, and a comment line before the text
 * changes neither. */
#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void set_environment(void)
{
    unsetenv("CREDENTIALS_DIRECTORY");
    unsetenv("STATE_DIRECTORY");
    setenv("MERCHANT_ID", "merchant", 1);
}

static void check_url(const char *url)
{
    if (!url)
        return;
    assert(strncmp(url, "https://", 8) == 0 || strncmp(url, "http://127.", 11) == 0 ||
           strncmp(url, "http://[", 8) == 0 || strncasecmp(url, "http://localhost", 16) == 0);
    assert(url[strlen(url) - 1] != '/');
    for (const char *p = url; *p; p++)
        assert(*p > ' ' && *p <= '~' && *p != '?' && *p != '#' && *p != '\\');
}

static void check_list(const struct config_list *list, bool pointers)
{
    for (size_t i = 0; list->items[i]; i++) {
        assert(i < CONFIG_MAX_LIST);
        assert(*list->items[i] && !strchr(list->items[i], ','));
        assert(!pointers || *list->items[i] == '/');
    }
}

static void check_accepted(const struct config *config)
{
    check_url(config->pay_url);
    check_url(config->vault_url);
    assert(config->merchant_id && *config->merchant_id && strlen(config->merchant_id) <= 30);
    assert(*config->vault_method >= 'A' && *config->vault_method <= 'Z');
    assert(*config->vault_path == '/');
    assert(*config->ledger_path == '/' && *config->queue_path == '/');
    assert(strcmp(config->ledger_path, config->queue_path) != 0);
    assert(config->pay_timeout >= 100 && config->pay_timeout <= 600000);
    assert(config->pay_page_size >= 1 && config->pay_page_size <= 100);
    assert(config->pay_rate_per_minute * config->pay_rate_share >= 100);
    assert(config->pay_max_body >= 65536 && config->pay_max_body <= 67108864);
    assert(config->vault_concurrency >= 1 && config->vault_concurrency <= 64);
    assert(config->sync_fast_interval >= 100);
    assert(config->sync_fast_interval <= config->sync_interval);
    assert(config->sync_overlap > 0 && config->sync_overlap <= config->sync_deep_overlap);
    assert(config->sync_edge_lag >= 0 && config->match_before >= 0 && config->match_after >= 0);
    assert(config->sessions_idle_timeout > 0);
    check_list(&config->match_order_ref, true);
    check_list(&config->match_original_ref, true);
    check_list(&config->match_unsettled, false);
    assert(!config->merchant_api_key && !config->vault_api_key);
}

/* The file's text is `before` and the input. */
static int load(const char *before, const uint8_t *data, size_t size)
{
    _cleanup_close_ int fd = memfd_create("config", MFD_CLOEXEC);
    static char untouched;
    struct config *config = (void *)&untouched;
    struct error error = {0};
    char path[64];
    int r;

    assert(fd >= 0);
    assert(write(fd, before, strlen(before)) == (ssize_t)strlen(before));
    assert(write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    r = config_load(path, CONFIG_PATHS, true, &config, &error);
    if (r == 0) {
        check_accepted(config);
        config_free(config);
    } else {
        assert(r < 0 && error.code == r);
        assert(config == (void *)&untouched);
        assert(strncmp(error.text, path, strlen(path)) == 0 && error.text[strlen(path)] == ':');
        assert(!strpbrk(error.text, "\n\r\x1b"));
    }
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int r;

    set_environment();
    r = load("", data, size);
    /* A byte order mark is one only where the file begins. */
    if (size > 0 && data[0] != 0xef)
        assert(load("\xef\xbb\xbf; comment\r\n", data, size) == r);
    return 0;
}
