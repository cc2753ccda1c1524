#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "loopback.h"
#include "remote/http.h"

#define SECRET_PATH "/sessions/THE-KEY-IN-THE-PATH"

struct fixture {
    sd_event *event;
    struct http *http;
    struct loopback *server;
};

/* What a callback saw. */
struct seen {
    unsigned calls;
    enum http_outcome outcome;
    long status;
    char *body;
    size_t length;
    char retry_after[64];
    char text[512];
};

static void setup(struct fixture *f, loopback_handler handler, void *userdata)
{
    *f = (struct fixture){0};
    assert_true(sd_event_new(&f->event) >= 0);
    assert_int_equal(http_new(f->event, &f->http), 0);
    if (handler)
        f->server = loopback_new(handler, userdata);
}

static void teardown(struct fixture *f)
{
    f->http = http_free(f->http);
    if (f->server)
        loopback_free(f->server);
    sd_event_unref(f->event);
}

static void on_done(const struct http_response *response, void *userdata)
{
    struct seen *seen = userdata;

    seen->calls++;
    seen->outcome = response->outcome;
    seen->status = response->status;
    seen->length = response->length;
    free(seen->body);
    seen->body = malloc(response->length + 1);
    assert_non_null(seen->body);
    memcpy(seen->body, response->body, response->length + 1);
    snprintf(seen->retry_after, sizeof(seen->retry_after), "%s",
             response->retry_after ? response->retry_after : "(none)");
    assert_non_null(response->text);
    snprintf(seen->text, sizeof(seen->text), "%s", response->text);
    /* Whatever happened, a message names the host and never the path. */
    assert_null(strstr(seen->text, "THE-KEY"));
    assert_null(strstr(seen->text, "sessions"));
}

static char *url_of(const char *scheme, int port, const char *path)
{
    char *url;

    assert_true(asprintf(&url, "%s://127.0.0.1:%d%s", scheme, port, path) > 0);
    return url;
}

static struct http_transfer *start(struct fixture *f, const char *path, int64_t timeout_ms,
                                   size_t max_body, http_done done, void *userdata)
{
    _cleanup_free_ char *url = url_of("http", f->server->port, path);
    struct http_request request = {
        .method = "GET", .url = url, .timeout_ms = timeout_ms, .max_body = max_body};
    struct http_transfer *transfer = NULL;

    assert_int_equal(http_start(f->http, &request, done, userdata, &transfer), 0);
    assert_non_null(transfer);
    return transfer;
}

/* One GET to its end. */
static void get(struct fixture *f, int64_t timeout_ms, size_t max_body, struct seen *seen)
{
    unsigned before = seen->calls;

    start(f, SECRET_PATH, timeout_ms, max_body, on_done, seen);
    assert_int_equal(seen->calls, before); /* never from http_start() */
    assert_true(loopback_run(f->event, &seen->calls, before + 1, 10000));
}

/* Starts, waits and checks the outcome against one kind of server. */
static void check_outcome(loopback_handler handler, int64_t timeout_ms, size_t max_body,
                          enum http_outcome outcome, struct seen *seen)
{
    struct fixture f;

    setup(&f, handler, NULL);
    get(&f, timeout_ms, max_body, seen);
    if (seen->outcome != outcome)
        fail_msg("outcome %d instead of %d: %s", seen->outcome, outcome, seen->text);
    if (outcome != HTTP_ANSWERED) {
        assert_int_equal(seen->length, 0);
        assert_int_equal(seen->status, 0);
    }
    assert_non_null(strstr(seen->text, "127.0.0.1:"));
    teardown(&f);
    free(seen->body);
    seen->body = NULL;
}

/* --- plain answers -------------------------------------------------------------- */

static void handle_hello(int fd, const char *request, unsigned number, void *userdata)
{
    (void)request;
    (void)number;
    (void)userdata;
    loopback_answer(fd, "200 OK", "retry-AFTER: Wed, 21 Oct 2026 07:28:00 GMT\r\n", "hello");
}

static void test_answer(void **state)
{
    struct fixture f;
    struct seen seen = {0};

    (void)state;
    setup(&f, handle_hello, NULL);
    get(&f, 5000, 1000, &seen);
    assert_int_equal(seen.outcome, HTTP_ANSWERED);
    assert_int_equal(seen.status, 200);
    assert_int_equal(seen.length, 5);
    assert_string_equal(seen.body, "hello");
    assert_string_equal(seen.retry_after, "Wed, 21 Oct 2026 07:28:00 GMT");
    loopback_run_for(f.event, 50);
    assert_int_equal(seen.calls, 1);
    teardown(&f);
    free(seen.body);
}

static void handle_copy(int fd, const char *request, unsigned number, void *userdata)
{
    (void)number;
    snprintf(userdata, LOOPBACK_REQUEST_SIZE, "%s", request);
    loopback_answer(fd, "204 No Content", "", "");
}

static void test_request(void **state)
{
    static char received[LOOPBACK_REQUEST_SIZE];
    static const char *const forbidden[] = {"Accept-Encoding", "Expect", "Cookie", "Referer",
                                            "Authorization"};
    struct fixture f;
    struct seen seen = {0};
    struct http_transfer *transfer;
    struct secret *key = secret_new("k3y", 3), *body = secret_new("{\"a\":1}", 7);
    _cleanup_free_ char *url = NULL;
    struct http_request request;

    (void)state;
    setup(&f, handle_copy, received);
    url = url_of("http", f.server->port, "/a/../b?c=%20");
    request = (struct http_request){.method = "PATCH",
                                    .url = url,
                                    .key_header = "X-API-Key",
                                    .key = key,
                                    .body = body,
                                    .timeout_ms = 5000,
                                    .max_body = 10};
    assert_int_equal(http_start(f.http, &request, on_done, &seen, &transfer), 0);
    /* All of it has been copied. */
    memset(url, 'x', strlen(url));
    secret_free(key);
    secret_free(body);
    assert_true(loopback_run(f.event, &seen.calls, 1, 10000));
    assert_int_equal(seen.status, 204);
    assert_string_equal(seen.retry_after, "(none)");

    assert_int_equal(strncmp(received, "PATCH /a/../b?c=%20 HTTP/1.1\r\n", 30), 0);
    assert_non_null(strstr(received, "\r\nX-API-Key: k3y\r\n"));
    assert_non_null(strstr(received, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(received, "\r\nUser-Agent: reconciled/"));
    assert_non_null(strstr(received, "\r\n\r\n{\"a\":1}"));
    for (size_t i = 0; i < ELEMENTSOF(forbidden); i++)
        assert_null(strcasestr(received, forbidden[i]));

    /* A POST without a body says so; many servers refuse it otherwise. */
    free(url);
    url = url_of("http", f.server->port, "/");
    request =
        (struct http_request){.method = "POST", .url = url, .timeout_ms = 5000, .max_body = 10};
    assert_int_equal(http_start(f.http, &request, on_done, &seen, &transfer), 0);
    assert_true(loopback_run(f.event, &seen.calls, 2, 10000));
    assert_int_equal(strncmp(received, "POST / ", 7), 0);
    assert_non_null(strstr(received, "\r\nContent-Length: 0\r\n"));
    request.method = "DELETE";
    assert_int_equal(http_start(f.http, &request, on_done, &seen, &transfer), 0);
    assert_true(loopback_run(f.event, &seen.calls, 3, 10000));
    assert_int_equal(strncmp(received, "DELETE / ", 9), 0);
    teardown(&f);
    free(seen.body);
}

static void test_refused_requests(void **state)
{
    static const char *const urls[] = {
        "",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://user:password@127.0.0.1/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\r\nX: y",
        "http://127.0.0.1:99999/",
        "127.0.0.1/",
    };
    struct fixture f;
    struct seen seen = {0};
    struct http_transfer *transfer = NULL;
    struct secret *key = secret_new("k\r\nX-Other: y", 13);
    struct http_request request = {.method = "GET", .timeout_ms = 1000, .max_body = 10};

    (void)state;
    setup(&f, NULL, NULL);
    for (size_t i = 0; i < ELEMENTSOF(urls); i++) {
        request.url = urls[i];
        if (http_start(f.http, &request, on_done, &seen, &transfer) != -EINVAL)
            fail_msg("taken: %s", urls[i]);
    }
    request.url = "http://127.0.0.1/";
    request.key_header = "x-api-key";
    request.key = key;
    assert_int_equal(http_start(f.http, &request, on_done, &seen, &transfer), -EINVAL);
    request.key_header = NULL;
    request.method = "GET / HTTP/1.1\r\nX: ";
    assert_int_equal(http_start(f.http, &request, on_done, &seen, &transfer), -EINVAL);
    request.method = "GET";
    request.timeout_ms = 0; /* to curl: for ever */
    assert_int_equal(http_start(f.http, &request, on_done, &seen, &transfer), -EINVAL);
    assert_null(transfer);
    loopback_run_for(f.event, 50);
    assert_int_equal(seen.calls, 0);
    secret_free(key);
    teardown(&f);
}

/* --- answers that do not come --------------------------------------------------- */

static void test_never_sent(void **state)
{
    struct fixture f;
    struct seen seen = {0};
    struct http_transfer *transfer;
    int fd, port = loopback_dead_port(&fd);
    _cleanup_free_ char *url = url_of("http", port, SECRET_PATH);
    struct http_request request = {.method = "GET", .timeout_ms = 5000, .max_body = 10};

    (void)state;
    setup(&f, NULL, NULL);
    request.url = url;
    assert_int_equal(http_start(f.http, &request, on_done, &seen, &transfer), 0);
    assert_true(loopback_run(f.event, &seen.calls, 1, 10000));
    assert_int_equal(seen.outcome, HTTP_NEVER_SENT);
    request.url = "http://no-such-host.invalid" SECRET_PATH;
    assert_int_equal(http_start(f.http, &request, on_done, &seen, &transfer), 0);
    assert_true(loopback_run(f.event, &seen.calls, 2, 10000));
    assert_int_equal(seen.outcome, HTTP_NEVER_SENT);
    teardown(&f);
    close(fd);
    free(seen.body);
}

static void handle_hang(int fd, const char *request, unsigned number, void *userdata)
{
    (void)request;
    (void)number;
    (void)userdata;
    loopback_hang(fd);
}

/* A byte each 20 ms: never idle, never done. */
static void handle_drip(int fd, const char *request, unsigned number, void *userdata)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n";
    struct pollfd p = {.fd = fd, .events = POLLIN};

    (void)request;
    (void)number;
    (void)userdata;
    loopback_write(fd, head, sizeof(head) - 1);
    while (poll(&p, 1, 20) == 0)
        loopback_write(fd, "x", 1);
}

static void handle_drip_head(int fd, const char *request, unsigned number, void *userdata)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    (void)request;
    (void)number;
    (void)userdata;
    loopback_write(fd, "HTTP/1.1 200 OK\r\nX: ", 20);
    while (poll(&p, 1, 20) == 0)
        loopback_write(fd, "x", 1);
}

static void test_timeouts(void **state)
{
    static const loopback_handler handlers[] = {handle_hang, handle_drip, handle_drip_head};
    struct seen seen = {0};
    sd_event *event;

    (void)state;
    assert_true(sd_event_new(&event) >= 0);
    for (size_t i = 0; i < ELEMENTSOF(handlers); i++) {
        int64_t begin = loopback_now(event), took;

        check_outcome(handlers[i], 300, 100000, HTTP_NO_ANSWER, &seen);
        took = loopback_now(event) - begin;
        assert_in_range(took, 250, 9000);
    }
    sd_event_unref(event);
}

static void handle_nothing(int fd, const char *request, unsigned number, void *userdata)
{
    (void)fd;
    (void)request;
    (void)number;
    (void)userdata;
}

static void handle_reset(int fd, const char *request, unsigned number, void *userdata)
{
    struct linger linger = {.l_onoff = 1};

    (void)request;
    (void)number;
    (void)userdata;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(dup(fd));
}

static void handle_partial(int fd, const char *request, unsigned number, void *userdata)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"a\":1}";

    (void)request;
    (void)number;
    (void)userdata;
    loopback_write(fd, text, sizeof(text) - 1);
}

static void handle_partial_chunks(int fd, const char *request, unsigned number, void *userdata)
{
    static const char text[] =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n";

    (void)request;
    (void)number;
    (void)userdata;
    loopback_write(fd, text, sizeof(text) - 1);
}

static void test_no_answer(void **state)
{
    struct seen seen = {0};

    (void)state;
    check_outcome(handle_nothing, 5000, 1000, HTTP_NO_ANSWER, &seen);
    check_outcome(handle_reset, 5000, 1000, HTTP_NO_ANSWER, &seen);
    check_outcome(handle_partial, 5000, 1000, HTTP_NO_ANSWER, &seen);
    check_outcome(handle_partial_chunks, 5000, 1000, HTTP_NO_ANSWER, &seen);
}

/* --- answers that are refused --------------------------------------------------- */

static void handle_ssh(int fd, const char *request, unsigned number, void *userdata)
{
    (void)request;
    (void)number;
    (void)userdata;
    loopback_write(fd, "SSH-2.0-OpenSSH_9.2p1\r\n", 23);
}

static void handle_http_09(int fd, const char *request, unsigned number, void *userdata)
{
    static const char text[] = "{\"transactions\":[],\"pagination\":{\"hasNextPage\":false}}";

    (void)request;
    (void)number;
    (void)userdata;
    loopback_write(fd, text, sizeof(text) - 1);
}

static void test_not_http(void **state)
{
    struct seen seen = {0};

    (void)state;
    check_outcome(handle_ssh, 5000, 1000, HTTP_NOT_HTTP, &seen);
    check_outcome(handle_http_09, 5000, 1000, HTTP_NOT_HTTP, &seen);
}

/* The body's length is the handler's userdata; without a Content-Length. */
static void handle_until_close(int fd, const char *request, unsigned number, void *userdata)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    char block[1000];

    (void)request;
    (void)number;
    memset(block, 'b', sizeof(block));
    loopback_write(fd, head, sizeof(head) - 1);
    for (size_t left = *(const size_t *)userdata; left > 0;) {
        size_t n = left < sizeof(block) ? left : sizeof(block);

        loopback_write(fd, block, n);
        left -= n;
    }
}

static void handle_large(int fd, const char *request, unsigned number, void *userdata)
{
    (void)request;
    (void)number;
    (void)userdata;
    loopback_answer(fd, "200 OK", "", "eleven byte");
}

static void handle_header_flood(int fd, const char *request, unsigned number, void *userdata)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    (void)request;
    (void)number;
    (void)userdata;
    loopback_write(fd, "HTTP/1.1 200 OK\r\n", 17);
    while (poll(&p, 1, 0) == 0)
        loopback_write(fd, "X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", 59);
}

static void test_too_large(void **state)
{
    static const struct {
        size_t body, cap;
        enum http_outcome outcome;
    } cases[] = {
        {50000, 50000, HTTP_ANSWERED},   {50001, 50000, HTTP_TOO_LARGE},
        {5000000, 1000, HTTP_TOO_LARGE}, {16384, 16384, HTTP_ANSWERED},
        {1, 1, HTTP_ANSWERED},           {0, 1, HTTP_ANSWERED},
    };
    struct seen seen = {0};

    (void)state;
    check_outcome(handle_large, 5000, 10, HTTP_TOO_LARGE, &seen);
    check_outcome(handle_large, 5000, 11, HTTP_ANSWERED, &seen);
    check_outcome(handle_header_flood, 5000, 1000, HTTP_TOO_LARGE, &seen);
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        size_t length = cases[i].body;
        struct fixture f;

        setup(&f, handle_until_close, &length);
        get(&f, 5000, cases[i].cap, &seen);
        assert_int_equal(seen.outcome, cases[i].outcome);
        assert_int_equal(seen.length, cases[i].outcome == HTTP_ANSWERED ? length : 0);
        assert_int_equal(strspn(seen.body, "b"), seen.length);
        teardown(&f);
        free(seen.body);
        seen.body = NULL;
    }
}

static void handle_redirect(int fd, const char *request, unsigned number, void *userdata)
{
    char header[64];

    (void)request;
    (void)number;
    snprintf(header, sizeof(header), "Location: http://127.0.0.1:%d/elsewhere\r\n",
             *(int *)userdata);
    loopback_answer(fd, "302 Found", header, "");
}

static void test_redirect_not_followed(void **state)
{
    struct fixture f;
    struct seen seen = {0};
    int port = 0;

    (void)state;
    setup(&f, handle_redirect, &port);
    port = f.server->port;
    get(&f, 5000, 1000, &seen);
    assert_int_equal(seen.outcome, HTTP_ANSWERED);
    assert_int_equal(seen.status, 302);
    loopback_run_for(f.event, 100);
    assert_int_equal(f.server->requests, 1);
    teardown(&f);
    free(seen.body);
}

static void test_proxy_not_used_for_http(void **state)
{
    struct fixture f;
    struct seen seen = {0};
    int fd, port = loopback_dead_port(&fd);
    _cleanup_free_ char *proxy = url_of("http", port, "");

    (void)state;
    setenv("http_proxy", proxy, 1);
    setenv("all_proxy", proxy, 1);
    setup(&f, handle_hello, NULL);
    get(&f, 5000, 1000, &seen);
    assert_int_equal(seen.outcome, HTTP_ANSWERED);
    teardown(&f);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    close(fd);
    free(seen.body);
}

/* --- TLS ------------------------------------------------------------------------- */

static void https_get(int port, int64_t timeout_ms, struct seen *seen)
{
    struct fixture f;
    struct http_transfer *transfer;
    _cleanup_free_ char *url = url_of("https", port, SECRET_PATH);
    struct http_request request = {
        .method = "GET", .url = url, .timeout_ms = timeout_ms, .max_body = 1000};
    unsigned before = seen->calls;

    setup(&f, NULL, NULL);
    assert_int_equal(http_start(f.http, &request, on_done, seen, &transfer), 0);
    assert_true(loopback_run(f.event, &seen->calls, before + 1, 10000));
    teardown(&f);
}

static void test_plain_server_for_https(void **state)
{
    struct loopback *server = loopback_new(handle_hello, NULL);
    struct seen seen = {0};

    (void)state;
    /* The handshake waits for what the server waits for, so the timeout ends it. */
    https_get(server->port, 300, &seen);
    assert_int_equal(seen.outcome, HTTP_NEVER_SENT);
    loopback_free(server);
    free(seen.body);
}

extern char **environ;

static pid_t spawn(char *const argv[])
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int r;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    r = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return r == 0 ? pid : -1;
}

static bool listens(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r = connect(fd, (struct sockaddr *)&address, sizeof(address));

    close(fd);
    return r == 0;
}

/* A certificate for the right address, signed by itself. */
static void test_untrusted_certificate(void **state)
{
    char directory[] = "/tmp/test_http.XXXXXX";
    char key[64], certificate[64], port_text[16];
    struct seen seen = {0};
    int fd, port, status, tries = 0;
    pid_t pid;

    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(key, sizeof(key), "%s/key.pem", directory);
    snprintf(certificate, sizeof(certificate), "%s/certificate.pem", directory);
    pid = spawn((char *[]){"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                           "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out",
                           certificate, "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                           "subjectAltName=IP:127.0.0.1", NULL});
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        rmdir(directory);
        skip(); /* no openssl(1) here */
    }
    port = loopback_dead_port(&fd);
    close(fd);
    snprintf(port_text, sizeof(port_text), "%d", port);
    pid = spawn((char *[]){"openssl", "s_server", "-accept", port_text, "-key", key, "-cert",
                           certificate, "-www", "-quiet", NULL});
    assert_true(pid > 0);
    while (!listens(port) && tries++ < 100)
        usleep(50000);
    https_get(port, 5000, &seen);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    unlink(key);
    unlink(certificate);
    rmdir(directory);
    assert_int_equal(seen.outcome, HTTP_NEVER_SENT);
    assert_non_null(strcasestr(seen.text, "certificate"));
    free(seen.body);
}

/* --- many, and reentrancy ------------------------------------------------------- */

static void handle_by_path(int fd, const char *request, unsigned number, void *userdata)
{
    (void)number;
    (void)userdata;
    if (strncmp(request, "GET /hang", 9) == 0)
        loopback_hang(fd);
    else
        loopback_answer(fd, "200 OK", "", "ok");
}

static void count_done(const struct http_response *response, void *userdata)
{
    assert_int_equal(response->outcome, HTTP_ANSWERED);
    ++*(unsigned *)userdata;
}

static void test_many_with_one_that_hangs(void **state)
{
    struct fixture f;
    struct seen hung = {0};
    unsigned done = 0;

    (void)state;
    setup(&f, handle_by_path, NULL);
    start(&f, "/hang", 60000, 100, on_done, &hung);
    for (int i = 0; i < 100; i++)
        start(&f, "/", 10000, 100, count_done, &done);
    assert_true(loopback_run(f.event, &done, 100, 10000));
    loopback_run_for(f.event, 50);
    assert_int_equal(done, 100);
    assert_int_equal(hung.calls, 0);
    /* http_free() with one under way: no callback, no leak, and at once. */
    teardown(&f);
    assert_int_equal(hung.calls, 0);
}

static void test_cancel(void **state)
{
    struct fixture f;
    struct seen seen = {0};
    struct http_transfer *transfer;

    (void)state;
    setup(&f, handle_by_path, NULL);
    assert_null(http_cancel(NULL));
    transfer = start(&f, "/hang", 200, 100, on_done, &seen);
    assert_null(http_cancel(transfer)); /* before anything happened */
    transfer = start(&f, "/hang", 300, 100, on_done, &seen);
    loopback_run_for(f.event, 100);
    assert_int_equal(f.server->requests, 1);
    assert_null(http_cancel(transfer)); /* while the answer is awaited */
    loopback_run_for(f.event, 400);
    assert_int_equal(seen.calls, 0);
    teardown(&f);
}

/* Answers all at once, when there are as many as *userdata. */
static void handle_together(int fd, const char *request, unsigned number, void *userdata)
{
    static atomic_uint waiting;
    unsigned wanted = *(unsigned *)userdata;

    (void)request;
    if (number == 0)
        waiting = 0;
    waiting++;
    while (waiting < wanted)
        usleep(1000);
    loopback_answer(fd, "200 OK", "", "ok");
}

enum { TOGETHER = 6 };

struct together {
    struct fixture f;
    unsigned wanted, calls;
};

/* Lets the loop wake up to six answers at once, so that all have finished when the first of them
 * is delivered. */
static void start_together(struct together *t, http_done done)
{
    t->wanted = TOGETHER;
    setup(&t->f, handle_together, &t->wanted);
    for (size_t i = 0; i < TOGETHER; i++)
        start(&t->f, "/", 5000, 100, done, t);
    while (t->f.server->requests < TOGETHER)
        sd_event_run(t->f.event, 10000);
    usleep(100000);
}

static void on_together(const struct http_response *response, void *userdata)
{
    struct together *t = userdata;

    assert_int_equal(response->outcome, HTTP_ANSWERED);
    t->calls++;
}

static void on_first_free(const struct http_response *response, void *userdata)
{
    struct together *t = userdata;

    t->f.http = http_free(t->f.http);
    on_together(response, t); /* which outlives the client that brought it */
}

static void test_all_are_delivered(void **state)
{
    struct together t = {.calls = 0};

    (void)state;
    start_together(&t, on_together);
    assert_true(loopback_run(t.f.event, &t.calls, TOGETHER, 3000));
    teardown(&t.f);
}

struct member {
    struct member *all;
    struct fixture *f;
    struct http_transfer *transfer;
    unsigned *calls;
};

static void on_member(const struct http_response *response, void *userdata)
{
    struct member *me = userdata;

    me->transfer = NULL;
    if (++*me->calls > 1) {
        assert_int_equal(response->outcome, HTTP_ANSWERED);
        return;
    }
    assert_int_equal(response->outcome, HTTP_NO_ANSWER);
    for (size_t i = 0; i < TOGETHER; i++)
        me->all[i].transfer = http_cancel(me->all[i].transfer);
    me->transfer = start(me->f, "/", 5000, 100, on_member, me);
}

/* The first callback cancels the others: some are under way, and those whose time has run out in
 * the same call of curl have finished and wait for their callback. */
static void test_cancel_from_callback(void **state)
{
    struct fixture f;
    struct member members[TOGETHER];
    unsigned calls = 0;

    (void)state;
    setup(&f, handle_by_path, NULL);
    for (size_t i = 0; i < TOGETHER; i++) {
        members[i] = (struct member){members, &f, NULL, &calls};
        members[i].transfer =
            start(&f, "/hang", i < TOGETHER - 1 ? 300 : 1000, 100, on_member, &members[i]);
    }
    while (f.server->requests < TOGETHER)
        sd_event_run(f.event, 10000);
    usleep(400000);
    assert_true(loopback_run(f.event, &calls, 2, 3000));
    loopback_run_for(f.event, 1000);
    assert_int_equal(calls, 2); /* the first, and the one that it started */
    teardown(&f);
}

static void test_free_from_callback(void **state)
{
    struct together t = {.calls = 0};

    (void)state;
    start_together(&t, on_first_free);
    assert_true(loopback_run(t.f.event, &t.calls, 1, 3000));
    loopback_run_for(t.f.event, 100);
    assert_int_equal(t.calls, 1);
    teardown(&t.f);
}

/* Several end in one and the same call of curl. */
static void test_common_timeout(void **state)
{
    struct fixture f;
    struct seen seen = {0};

    (void)state;
    setup(&f, handle_hang, NULL);
    for (int i = 0; i < 5; i++)
        start(&f, "/", 300, 100, on_done, &seen);
    assert_true(loopback_run(f.event, &seen.calls, 5, 3000));
    assert_int_equal(seen.outcome, HTTP_NO_ANSWER);
    teardown(&f);
    free(seen.body);
}

/* Says nothing of closing, and closes: the client must not trip over its cached connection. */
static void handle_silent_close(int fd, const char *request, unsigned number, void *userdata)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    (void)request;
    (void)number;
    (void)userdata;
    loopback_write(fd, text, sizeof(text) - 1);
}

static void test_stale_connections(void **state)
{
    struct fixture f;
    struct seen seen = {0};

    (void)state;
    setup(&f, handle_silent_close, NULL);
    for (int i = 0; i < 20; i++) {
        get(&f, 5000, 100, &seen);
        assert_int_equal(seen.outcome, HTTP_ANSWERED);
        assert_string_equal(seen.body, "ok");
        if (i % 2)
            usleep(2000);
    }
    teardown(&f);
    free(seen.body);
}

/* --- text ------------------------------------------------------------------------ */

/* Every byte there and back, by an independent decoder. */
static void test_append_encoded(void **state)
{
    char *text = NULL;
    char all[256], decoded[256];
    size_t n = 0;

    (void)state;
    for (int i = 1; i < 256; i++)
        all[i - 1] = (char)i;
    all[255] = '\0';
    assert_int_equal(http_append_encoded(&text, all), 0);
    for (const char *p = text; *p; n++) {
        unsigned value;

        assert_true(n < sizeof(decoded));
        if (*p == '%') {
            assert_int_equal(sscanf(p + 1, "%2X", &value), 1);
            assert_false(value < 128 && (isalnum((int)value) || strchr("-._~", (int)value)));
            decoded[n] = (char)value;
            p += 3;
        } else {
            assert_true(isalnum((unsigned char)*p) || strchr("-._~", *p));
            decoded[n] = *p++;
        }
    }
    assert_int_equal(n, 255);
    assert_memory_equal(decoded, all, 255);
    free(text);
    text = strdup("/x?d=");
    assert_int_equal(http_append_encoded(&text, "2026-01-02 03:04:05"), 0);
    assert_string_equal(text, "/x?d=2026-01-02%2003%3A04%3A05");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_refused_requests),
        cmocka_unit_test(test_never_sent),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_not_http),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_redirect_not_followed),
        cmocka_unit_test(test_proxy_not_used_for_http),
        cmocka_unit_test(test_plain_server_for_https),
        cmocka_unit_test(test_untrusted_certificate),
        cmocka_unit_test(test_many_with_one_that_hangs),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_from_callback),
        cmocka_unit_test(test_all_are_delivered),
        cmocka_unit_test(test_free_from_callback),
        cmocka_unit_test(test_common_timeout),
        cmocka_unit_test(test_stale_connections),
        cmocka_unit_test(test_append_encoded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
