#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "core/timestamp.h"
#include "loopback.h"
#include "remote/payapi.h"

#define API_KEY     "api-key-nobody-may-see"
#define PRIVATE     "jane@example.com"
#define EMPTY_PAGE  "{\"transactions\":[],\"pagination\":{\"hasNextPage\":false}}"
#define MAX_ANSWERS 16

/* What the server says to request 0, 1, 2 …; the last one is repeated. */
struct script {
    struct {
        const char *status; /* NULL: hang; "": close without an answer */
        const char *headers, *body;
    } answers[MAX_ANSWERS];
    char request[LOOPBACK_REQUEST_SIZE]; /* the last one */
};

struct fixture {
    struct script script;
    sd_event *event;
    struct http *http;
    struct loopback *server;
    struct secret *key, *email_key;
    char url[64];
    struct payapi *payapi;

    int64_t now;
    int64_t gate_answers[8]; /* taken in turn, then 0 */
    unsigned gated;
    enum rate_priority priority;

    unsigned calls;
    enum payapi_outcome outcome;
    long status;
    char text[800];
    unsigned requests;
    struct page *page;
    struct payapi_question *ask_again;
};

static void handle_script(int fd, const char *request, unsigned number, void *userdata)
{
    struct script *script = userdata;
    unsigned i = 0;

    while (i < number && i + 1 < MAX_ANSWERS && script->answers[i + 1].body)
        i++;
    snprintf(script->request, sizeof(script->request), "%s", request);
    if (!script->answers[i].status)
        loopback_hang(fd);
    else if (*script->answers[i].status)
        loopback_answer(fd, script->answers[i].status, script->answers[i].headers,
                        script->answers[i].body);
}

static int64_t fake_now(void *userdata)
{
    return *(int64_t *)userdata;
}

static int64_t gate(enum rate_priority priority, void *userdata)
{
    struct fixture *f = userdata;

    f->priority = priority;
    return f->gated < ELEMENTSOF(f->gate_answers) ? f->gate_answers[f->gated++] : 0;
}

static void setup(struct fixture *f, unsigned retries, int64_t timeout_ms)
{
    static const char *const pointers[] = {"/metadata/orderId", NULL};
    static struct clock clock;
    struct payapi_settings settings = {
        .merchant_id = "m 1&x",
        .timeout_ms = timeout_ms,
        .retries = retries,
        .page_size = 100,
        .max_body = 100000,
        .codec = {.order_ref = pointers, .original_ref = pointers},
    };

    clock = (struct clock){fake_now, &f->now};
    f->now = 1000;
    f->key = secret_new(API_KEY, strlen(API_KEY));
    f->email_key = email_key_new();
    settings.api_key = f->key;
    settings.codec.email_key = f->email_key;
    assert_true(sd_event_new(&f->event) >= 0);
    assert_int_equal(http_new(f->event, &f->http), 0);
    f->server = loopback_new(handle_script, &f->script);
    snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%d/v2//", f->server->port);
    settings.url = f->url;
    assert_int_equal(payapi_new(f->event, f->http, &clock, &settings, gate, f, &f->payapi), 0);
}

static void teardown(struct fixture *f)
{
    page_free(f->page);
    payapi_free(f->payapi);
    http_free(f->http);
    loopback_free(f->server);
    sd_event_unref(f->event);
    secret_free(f->key);
    secret_free(f->email_key);
}

static void on_answer(struct payapi_answer *answer, void *userdata)
{
    struct fixture *f = userdata;

    f->calls++;
    f->outcome = answer->outcome;
    f->status = answer->status;
    f->requests = answer->requests;
    assert_false(payapi_busy(f->payapi));
    assert_true((answer->outcome == PAYAPI_PAGE) == (answer->page != NULL));
    assert_true((answer->outcome == PAYAPI_PAGE) == (answer->text == NULL));
    page_free(f->page);
    f->page = TAKE_PTR(answer->page);
    snprintf(f->text, sizeof(f->text), "%s", answer->text ? answer->text : "");
    assert_null(strstr(f->text, API_KEY));
    assert_null(strstr(f->text, PRIVATE));
    if (f->ask_again) {
        assert_int_equal(payapi_list(f->payapi, TAKE_PTR(f->ask_again), on_answer, f), 0);
        assert_true(payapi_busy(f->payapi));
    }
}

static const struct payapi_question question = {
    .from = 1780000000000, .to = 1780003600000, .page = 3, .priority = RATE_CYCLE};

/* Asks and waits; returns the milliseconds it took. */
static int64_t ask(struct fixture *f)
{
    unsigned before = f->calls;
    int64_t begin = loopback_now(f->event);

    assert_int_equal(payapi_list(f->payapi, &question, on_answer, f), 0);
    assert_int_equal(f->calls, before);
    assert_true(payapi_busy(f->payapi));
    assert_int_equal(payapi_list(f->payapi, &question, on_answer, f), -EBUSY);
    assert_true(loopback_run(f->event, &f->calls, before + 1, 20000));
    return loopback_now(f->event) - begin;
}

static void test_question(void **state)
{
    static const char line[] = "GET /v2/transQuery?merchantId=m%201%26x"
                               "&dateFrom=2026-05-28%2020%3A26%3A40"
                               "&dateTo=2026-05-28%2021%3A26%3A40"
                               "&page=3&limit=100&sortBy=createdAt&sortOrder=asc HTTP/1.1\r\n";
    struct fixture f = {.script = {.answers = {{"200 OK", "", EMPTY_PAGE}}}};

    (void)state;
    setup(&f, 0, 5000);
    ask(&f);
    assert_int_equal(f.outcome, PAYAPI_PAGE);
    assert_int_equal(f.status, 200);
    assert_int_equal(f.requests, 1);
    assert_int_equal(f.priority, RATE_CYCLE);
    assert_int_equal(f.page->n_records, 0);
    assert_int_equal(strncmp(f.script.request, line, sizeof(line) - 1), 0);
    assert_non_null(strstr(f.script.request, "\r\nx-api-key: " API_KEY "\r\n"));
    teardown(&f);
}

static void test_outcomes(void **state)
{
    static const struct {
        const char *status, *headers, *body;
        enum payapi_outcome outcome;
    } cases[] = {
        {"200 OK", "", "<html>" PRIVATE "</html>", PAYAPI_NOT_UNDERSTOOD},
        {"200 OK", "", "", PAYAPI_NOT_UNDERSTOOD},
        {"200 OK", "", "{\"success\":false,\"message\":\"" PRIVATE "\"}", PAYAPI_NOT_UNDERSTOOD},
        {"200 OK", "", "{\"transactions\":[],\"pagination\":{\"hasNextPage\":false,\"page\":1}}",
         PAYAPI_NOT_UNDERSTOOD}, /* page 3 was asked */
        {"200 OK", "",
         "{\"transactions\":[],\"pagination\":{\"hasNextPage\":false,\"totalPages\":4}}",
         PAYAPI_NOT_UNDERSTOOD}, /* 3 cannot be the last of 4 */
        {"200 OK", "", "{\"transactions\":[],\"pagination\":{\"hasNextPage\":false,\"page\":3}}",
         PAYAPI_PAGE},
        {"201 Created", "", EMPTY_PAGE, PAYAPI_NOT_UNDERSTOOD},
        {"204 No Content", "", "", PAYAPI_NOT_UNDERSTOOD},
        {"206 Partial Content", "", EMPTY_PAGE, PAYAPI_NOT_UNDERSTOOD},
        {"301 Moved", "Location: http://127.0.0.1/\r\n", EMPTY_PAGE, PAYAPI_NOT_UNDERSTOOD},
        {"400 Bad Request", "", "{\"error\":\"" PRIVATE "\"}", PAYAPI_REJECTED},
        {"401 Unauthorized", "", "", PAYAPI_REFUSED},
        {"403 Forbidden", "", "", PAYAPI_REFUSED},
        {"404 Not Found", "", "", PAYAPI_REJECTED},
        {"422 Unprocessable", "", "", PAYAPI_REJECTED},
        {"600 What", "", "", PAYAPI_NOT_UNDERSTOOD},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct fixture f = {
            .script = {.answers = {{cases[i].status, cases[i].headers, cases[i].body}}}};

        /* Retries are allowed, and none of these is a reason for one. */
        setup(&f, 2, 5000);
        ask(&f);
        if (f.outcome != cases[i].outcome)
            fail_msg("case %zu: outcome %d: %s", i, f.outcome, f.text);
        assert_int_equal(f.requests, 1);
        assert_int_equal(f.server->requests, 1);
        assert_int_equal(f.status, strtol(cases[i].status, NULL, 10));
        if (f.outcome != PAYAPI_PAGE) {
            assert_non_null(strstr(f.text, "transQuery"));
            assert_non_null(strstr(f.text, "2026-05-28 20:26:40"));
            assert_non_null(strstr(f.text, "page 3"));
        }
        teardown(&f);
    }
}

static void test_retries(void **state)
{
    struct fixture f = {.script = {.answers = {{"503 Busy", "", ""}, {"200 OK", "", EMPTY_PAGE}}}};
    int64_t took;

    (void)state;
    setup(&f, 1, 5000);
    took = ask(&f);
    assert_int_equal(f.outcome, PAYAPI_PAGE);
    assert_int_equal(f.requests, 2);
    assert_int_equal(f.gated, 2); /* retries are asked for too */
    assert_in_range(took, 950, 6000);
    /* The next question begins to count anew. */
    f.server->requests = 0;
    took = ask(&f);
    assert_int_equal(f.outcome, PAYAPI_PAGE);
    assert_int_equal(f.requests, 2);
    assert_in_range(took, 950, 6000);
    teardown(&f);

    f = (struct fixture){.script = {.answers = {{"500 Error", "", PRIVATE}}}};
    setup(&f, 2, 5000);
    took = ask(&f);
    assert_int_equal(f.outcome, PAYAPI_FAILED);
    assert_int_equal(f.status, 500);
    assert_int_equal(f.requests, 3);
    assert_in_range(took, 2950, 9000); /* 1 s and 2 s */
    teardown(&f);

    f = (struct fixture){.script = {.answers = {{"", "", ""}}}};
    setup(&f, 1, 5000);
    ask(&f);
    assert_int_equal(f.outcome, PAYAPI_UNREACHABLE);
    assert_int_equal(f.status, 0);
    assert_int_equal(f.requests, 2);
    teardown(&f);

    f = (struct fixture){.script = {.answers = {{NULL, "", ""}}}};
    setup(&f, 0, 200);
    took = ask(&f);
    assert_int_equal(f.outcome, PAYAPI_UNREACHABLE);
    assert_int_equal(f.requests, 1);
    assert_in_range(took, 150, 6000);
    teardown(&f);
}

static void test_throttled(void **state)
{
    struct fixture f = {
        .script = {.answers = {{"429 Slow", "Retry-After: 1\r\n", "{\"retryAfter\":60}"},
                               {"429 Slow", "", "{\"retry_after_seconds\":0.2}"},
                               {"429 Slow", "", "{\"error\":{\"retry_after\":\"0\"}}"},
                               {"429 Slow", "Retry-After: Thu, 01 Jan 1970 00:00:02 GMT\r\n", ""},
                               {"200 OK", "", EMPTY_PAGE}}}};
    int64_t took;

    (void)state;
    setup(&f, 0, 5000); /* no retries, for these are none */
    took = ask(&f);
    assert_int_equal(f.outcome, PAYAPI_PAGE);
    assert_int_equal(f.requests, 5);
    assert_in_range(took, 2150, 9000); /* 1 s, 0.2 s, 0 s, and 1 s of the clock that stands at 1 */
    teardown(&f);

    f = (struct fixture){.script = {.answers = {{"429 Slow", "Retry-After: 0\r\n", ""}}}};
    setup(&f, 2, 5000);
    ask(&f);
    assert_int_equal(f.outcome, PAYAPI_FAILED);
    assert_int_equal(f.status, 429);
    assert_int_equal(f.requests, PAYAPI_MAX_429);
    teardown(&f);

    /* In a row, that is. */
    f = (struct fixture){.script = {.answers = {{"429 Slow", "Retry-After: 0\r\n", ""},
                                                {"429 Slow", "Retry-After: 0\r\n", ""},
                                                {"429 Slow", "Retry-After: 0\r\n", ""},
                                                {"429 Slow", "Retry-After: 0\r\n", ""},
                                                {"500 Error", "", ""},
                                                {"429 Slow", "Retry-After: 0\r\n", ""},
                                                {"200 OK", "", EMPTY_PAGE}}}};
    setup(&f, 1, 5000);
    ask(&f);
    assert_int_equal(f.outcome, PAYAPI_PAGE);
    assert_int_equal(f.requests, 7);
    teardown(&f);
}

static void test_gate(void **state)
{
    struct fixture f = {.script = {.answers = {{"200 OK", "", EMPTY_PAGE}}},
                        .gate_answers = {150, 150, 0}};
    int64_t took;

    (void)state;
    setup(&f, 0, 5000);
    took = ask(&f);
    assert_int_equal(f.outcome, PAYAPI_PAGE);
    assert_int_equal(f.gated, 3);
    assert_in_range(took, 290, 6000);
    teardown(&f);

    f = (struct fixture){.script = {.answers = {{"200 OK", "", EMPTY_PAGE}}},
                         .gate_answers = {-ECANCELED}};
    setup(&f, 2, 5000);
    ask(&f);
    assert_int_equal(f.outcome, PAYAPI_STOPPED);
    assert_int_equal(f.requests, 0);
    assert_int_equal(f.server->requests, 0);
    teardown(&f);
}

static void test_cancel(void **state)
{
    struct fixture f = {.script = {.answers = {{NULL, "", ""}, {"200 OK", "", EMPTY_PAGE}}}};

    (void)state;
    setup(&f, 2, 300);
    payapi_cancel(f.payapi); /* nothing is under way */
    assert_int_equal(payapi_list(f.payapi, &question, on_answer, &f), 0);
    payapi_cancel(f.payapi); /* before the first request */
    loopback_run_for(f.event, 50);
    assert_int_equal(f.server->requests, 0);
    assert_int_equal(payapi_list(f.payapi, &question, on_answer, &f), 0);
    loopback_run_for(f.event, 100);
    assert_int_equal(f.server->requests, 1);
    payapi_cancel(f.payapi); /* while it hangs */
    assert_false(payapi_busy(f.payapi));
    loopback_run_for(f.event, 500);
    assert_int_equal(f.calls, 0);
    ask(&f);
    assert_int_equal(f.outcome, PAYAPI_PAGE);
    teardown(&f);
}

static void test_ask_from_callback(void **state)
{
    struct fixture f = {.script = {.answers = {{"200 OK", "", EMPTY_PAGE}}}};
    struct payapi_question next = question;

    (void)state;
    setup(&f, 0, 5000);
    next.page = 4;
    f.ask_again = &next;
    ask(&f);
    assert_true(loopback_run(f.event, &f.calls, 2, 5000));
    assert_int_equal(f.outcome, PAYAPI_PAGE);
    assert_non_null(strstr(f.script.request, "&page=4&"));
    /* Left under way: freed without a callback. */
    assert_int_equal(payapi_list(f.payapi, &question, on_answer, &f), 0);
    teardown(&f);
    assert_int_equal(f.calls, 2);
}

static void free_all(struct payapi_answer *answer, void *userdata)
{
    struct fixture *f = userdata;

    assert_int_equal(answer->outcome, PAYAPI_PAGE);
    f->payapi = payapi_free(f->payapi);
    f->http = http_free(f->http);
    f->calls++; /* the page is not taken: it is freed */
}

static void test_free_from_callback(void **state)
{
    struct fixture f = {.script = {.answers = {{"200 OK", "", EMPTY_PAGE}}}};

    (void)state;
    setup(&f, 0, 5000);
    assert_int_equal(payapi_list(f.payapi, &question, free_all, &f), 0);
    assert_true(loopback_run(f.event, &f.calls, 1, 5000));
    loopback_run_for(f.event, 50);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_question),
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_throttled),
        cmocka_unit_test(test_gate),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_ask_from_callback),
        cmocka_unit_test(test_free_from_callback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
