#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "loopback.h"
#include "remote/vault.h"

#define VAULT_KEY   "vault-key-nobody-may-see"
#define SESSION_KEY "session/key \"\xc3\xa9"

struct script {
    const char *status; /* NULL: hang; "": close without an answer */
    const char *headers, *body;
    unsigned recovers_after; /* 204 from this request on; 0: never */
    char request[LOOPBACK_REQUEST_SIZE];
};

struct seen {
    unsigned calls;
    enum vault_outcome outcome;
    long status;
    int64_t wait_ms;
};

struct fixture {
    struct script script;
    sd_event *event;
    struct http *http;
    struct loopback *server;
    struct secret *key;
    char url[64];
    struct vault *vault;
    struct seen seen;
};

static void handle_script(int fd, const char *request, unsigned number, void *userdata)
{
    struct script *script = userdata;

    memcpy(script->request, request, strlen(request) + 1);
    if (script->recovers_after && number >= script->recovers_after)
        loopback_answer(fd, "204 No Content", "", "");
    else if (!script->status)
        loopback_hang(fd);
    else if (*script->status)
        loopback_answer(fd, script->status, script->headers, script->body);
}

static int64_t fake_now(void *userdata)
{
    (void)userdata;
    return 0;
}

static void setup(struct fixture *f, loopback_handler handler, const char *method, const char *path,
                  unsigned retries)
{
    static const struct clock clock = {.now = fake_now};
    struct vault_settings settings = {
        .method = method, .path = path, .timeout_ms = 1500, .retries = retries};

    f->key = secret_new(VAULT_KEY, strlen(VAULT_KEY));
    settings.api_key = f->key;
    assert_true(sd_event_new(&f->event) >= 0);
    assert_int_equal(http_new(f->event, &f->http), 0);
    f->server = loopback_new(handler, &f->script);
    snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%d/", f->server->port);
    settings.url = f->url;
    assert_int_equal(vault_new(f->event, f->http, &clock, &settings, &f->vault), 0);
}

static void teardown(struct fixture *f)
{
    vault_free(f->vault);
    http_free(f->http);
    loopback_free(f->server);
    sd_event_unref(f->event);
    secret_free(f->key);
}

static void on_answer(const struct vault_answer *answer, void *userdata)
{
    struct seen *seen = userdata;

    seen->calls++;
    seen->outcome = answer->outcome;
    seen->status = answer->status;
    seen->wait_ms = answer->wait_ms;
    assert_non_null(answer->text);
    assert_null(strstr(answer->text, VAULT_KEY));
    assert_null(strcasestr(answer->text, "session"));
}

/* The caller's copy of the key is gone as soon as the call returns. */
static void begin_revoke(struct fixture *f, const char *session_key, struct seen *seen)
{
    struct secret *key = secret_new(session_key, strlen(session_key));

    assert_int_equal(vault_revoke(f->vault, key, on_answer, seen), 0);
    secret_free(key);
}

static void revoke_and_wait(struct fixture *f)
{
    unsigned before = f->seen.calls;

    begin_revoke(f, SESSION_KEY, &f->seen);
    assert_int_equal(f->seen.calls, before);
    assert_true(loopback_run(f->event, &f->seen.calls, before + 1, 20000));
}

static void test_key_in_body(void **state)
{
    struct fixture f = {.script = {"200 OK", "", "{\"success\":true}", 0, ""}};

    (void)state;
    setup(&f, handle_script, "POST", "/sessions/revoke", 0);
    revoke_and_wait(&f);
    assert_int_equal(f.seen.outcome, VAULT_REVOKED);
    assert_int_equal(strncmp(f.script.request, "POST /sessions/revoke HTTP/1.1\r\n", 32), 0);
    assert_non_null(strstr(f.script.request, "\r\nX-API-Key: " VAULT_KEY "\r\n"));
    assert_non_null(
        strstr(f.script.request, "\r\n\r\n{\"sessionKey\":\"session/key \\\"\xc3\xa9\"}"));
    teardown(&f);
}

static void test_key_in_path(void **state)
{
    struct fixture f = {.script = {"404 Not Found", "", "", 0, ""}};

    (void)state;
    setup(&f, handle_script, "DELETE", "/sessions/{sessionKey}/now", 0);
    revoke_and_wait(&f);
    assert_int_equal(f.seen.outcome, VAULT_GONE);
    assert_int_equal(strncmp(f.script.request,
                             "DELETE /sessions/session%2Fkey%20%22%C3%A9/now HTTP/1.1\r\n", 57),
                     0);
    assert_null(strstr(f.script.request, "sessionKey"));
    teardown(&f);
}

static void test_outcomes(void **state)
{
    static const struct {
        const char *status, *headers, *body;
        enum vault_outcome outcome;
        int64_t wait_ms;
    } cases[] = {
        {"200 OK", "", "", VAULT_REVOKED, 0},
        {"202 Accepted", "", "", VAULT_REVOKED, 0},
        {"204 No Content", "", "", VAULT_REVOKED, 0},
        {"302 Found", "Location: http://127.0.0.1/\r\n", "", VAULT_REJECTED, 0},
        {"400 Bad Request", "", SESSION_KEY, VAULT_REJECTED, 0},
        {"401 Unauthorized", "", "", VAULT_REFUSED, 0},
        {"403 Forbidden", "", "", VAULT_REFUSED, 0},
        {"404 Not Found", "", "", VAULT_GONE, 0},
        {"410 Gone", "", "", VAULT_GONE, 0},
        {"429 Slow", "", "", VAULT_LATER, 30000},
        {"429 Slow", "Retry-After: 7\r\n", "", VAULT_LATER, 7000},
        {"429 Slow", "Retry-After: Thu, 01 Jan 1970 00:00:09 GMT\r\n", "{}", VAULT_LATER, 9000},
        {"429 Slow", "Retry-After: 7\r\n",
         "{\"success\":false,\"message\":\"m\",\"data\":null,\"retry_after_seconds\":12}",
         VAULT_LATER, 12000},
        {"429 Slow", "Retry-After: 7\r\n", "<html>", VAULT_LATER, 7000},
        {"429 Slow", "", "{\"retry_after_seconds\":1e99}", VAULT_LATER, -1},
        {"500 Error", "", "", VAULT_FAILED, 0},
        {"", "", "", VAULT_FAILED, 0},
        {NULL, "", "", VAULT_FAILED, 0},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct fixture f = {.script = {cases[i].status, cases[i].headers, cases[i].body, 0, ""}};

        setup(&f, handle_script, "POST", "/sessions/revoke", 0);
        revoke_and_wait(&f);
        if (f.seen.outcome != cases[i].outcome)
            fail_msg("case %zu: outcome %d", i, f.seen.outcome);
        if (cases[i].wait_ms >= 0)
            assert_int_equal(f.seen.wait_ms, cases[i].wait_ms);
        assert_in_range(f.seen.wait_ms, 0, 600000);
        assert_int_equal(f.seen.status, cases[i].status ? strtol(cases[i].status, NULL, 10) : 0);
        assert_int_equal(f.server->requests, 1);
        teardown(&f);
    }
}

static void test_retries(void **state)
{
    struct fixture f = {.script = {"503 Busy", "", "", 1, ""}};

    (void)state;
    setup(&f, handle_script, "POST", "/sessions/revoke", 1);
    revoke_and_wait(&f);
    assert_int_equal(f.seen.outcome, VAULT_REVOKED);
    assert_int_equal(f.server->requests, 2);
    teardown(&f);

    f = (struct fixture){.script = {"503 Busy", "", "", 0, ""}};
    setup(&f, handle_script, "POST", "/sessions/revoke", 1);
    revoke_and_wait(&f);
    assert_int_equal(f.seen.outcome, VAULT_FAILED);
    assert_int_equal(f.seen.status, 503);
    assert_int_equal(f.server->requests, 2);
    teardown(&f);
}

static void test_unusable_key(void **state)
{
    struct fixture f = {.script = {"200 OK", "", "", 0, ""}};

    (void)state;
    setup(&f, handle_script, "POST", "/sessions/revoke", 2);
    begin_revoke(&f, "no \xff UTF-8", &f.seen);
    assert_true(loopback_run(f.event, &f.seen.calls, 1, 5000));
    assert_int_equal(f.seen.outcome, VAULT_FAILED);
    assert_int_equal(f.server->requests, 0);
    teardown(&f);
}

static void handle_by_key(int fd, const char *request, unsigned number, void *userdata)
{
    (void)number;
    (void)userdata;
    if (strstr(request, "\"slow\""))
        loopback_hang(fd);
    else
        loopback_answer(fd, "200 OK", "", "");
}

static void test_one_delays_no_other(void **state)
{
    struct fixture f = {.url = ""};
    struct seen slow = {0}, dropped = {0}, fast = {0};
    int64_t begin;

    (void)state;
    setup(&f, handle_by_key, "POST", "/sessions/revoke", 0);
    begin = loopback_now(f.event);
    begin_revoke(&f, "slow", &slow);
    for (int i = 0; i < 100; i++)
        begin_revoke(&f, "fast", &fast);
    assert_true(loopback_run(f.event, &fast.calls, 100, 10000));
    assert_int_equal(fast.outcome, VAULT_REVOKED);
    if (loopback_now(f.event) - begin < 1300)
        assert_int_equal(slow.calls, 0);
    assert_true(loopback_run(f.event, &slow.calls, 1, 10000));
    assert_int_equal(slow.outcome, VAULT_FAILED);
    /* Under way when the Vault is freed: no callback, no leak. */
    begin_revoke(&f, "slow", &dropped);
    loopback_run_for(f.event, 100);
    begin_revoke(&f, "slow", &dropped);
    f.vault = vault_free(f.vault);
    loopback_run_for(f.event, 1700);
    assert_int_equal(dropped.calls, 0);
    assert_int_equal(fast.calls, 100);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_in_body),  cmocka_unit_test(test_key_in_path),
        cmocka_unit_test(test_outcomes),     cmocka_unit_test(test_retries),
        cmocka_unit_test(test_unusable_key), cmocka_unit_test(test_one_delays_no_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
