#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "memory.h"

enum { MAX_UPLOAD = 256 << 20 };

/* One request from its first header to its last byte. */
struct exchange {
    struct server *server;
    struct MHD_Connection *connection;
    char *body;
    size_t length, allocated;
    struct reply reply;
    bool handled;
    int64_t wake_at; /* a suspended one is resumed then; INT64_MAX: only at the end */
    struct exchange *next_asleep;
};

struct server {
    struct MHD_Daemon *daemon;
    server_handler handler;
    void *userdata;
    struct exchange *asleep;
    bool stopping;
};

static void sleep_until(struct exchange *exchange, int64_t at)
{
    struct server *server = exchange->server;

    exchange->wake_at = at;
    exchange->next_asleep = server->asleep;
    server->asleep = exchange;
    MHD_suspend_connection(exchange->connection);
}

/* Resumes what is due at `now`; returns when there is something to do again. */
static int64_t wake(struct server *server, int64_t now)
{
    int64_t next = INT64_MAX;
    bool resumed = false;

    for (struct exchange **link = &server->asleep; *link;) {
        struct exchange *exchange = *link;

        if (exchange->wake_at <= now || server->stopping) {
            *link = exchange->next_asleep;
            MHD_resume_connection(exchange->connection);
            resumed = true;
        } else {
            if (exchange->wake_at < next)
                next = exchange->wake_at;
            link = &exchange->next_asleep;
        }
    }
    /* MHD_get_timeout() does not know of resumed connections before MHD_run() has seen them. */
    return resumed ? now : next;
}

/* --- the body ------------------------------------------------------------ */

static ssize_t read_body(void *cls, uint64_t position, char *buffer, size_t max)
{
    struct exchange *exchange = cls;
    const struct reply *reply = &exchange->reply;
    uint64_t end = reply->length;
    size_t n;

    if (reply->truncate >= 0 && (uint64_t)reply->truncate < end)
        end = (uint64_t)reply->truncate;
    if (exchange->server->stopping || position >= end)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    n = end - position < max ? (size_t)(end - position) : max;
    if (reply->drip_ms > 0) {
        int64_t now = clock_now(clock_real());

        if (now < exchange->wake_at) {
            sleep_until(exchange, exchange->wake_at);
            return 0;
        }
        exchange->wake_at = now + reply->drip_ms;
        n = 1;
    }
    for (size_t done = 0; done < n;) {
        size_t at = (size_t)((position + done) % reply->pattern_length);
        size_t piece = reply->pattern_length - at;

        if (piece > n - done)
            piece = n - done;
        memcpy(buffer + done, reply->pattern + at, piece);
        done += piece;
    }
    return (ssize_t)n;
}

static enum MHD_Result send_reply(struct exchange *exchange)
{
    const struct reply *reply = &exchange->reply;
    struct MHD_Response *response;
    const char *name;
    json_t *value;
    enum MHD_Result r;

    exchange->wake_at = 0;
    response =
        must(MHD_create_response_from_callback(reply->length, 16 << 10, read_body, exchange, NULL));
    json_object_foreach(reply->headers, name, value)
    {
        MHD_add_response_header(response, name, json_string_value(value));
    }
    r = MHD_queue_response(exchange->connection, reply->status, response);
    MHD_destroy_response(response);
    return r;
}

/* --- the request --------------------------------------------------------- */

static enum MHD_Result collect_parameter(void *cls, enum MHD_ValueKind kind, const char *name,
                                         const char *value)
{
    json_t *text = json_string(value ? value : "");

    (void)kind;
    /* jansson takes UTF-8 only. */
    json_object_set_new(cls, name, text ? text : json_string("\xef\xbf\xbd"));
    return MHD_YES;
}

static int append(struct exchange *exchange, const char *data, size_t n)
{
    if (n > MAX_UPLOAD - exchange->length)
        return -EFBIG;
    if (exchange->length + n >= exchange->allocated) {
        exchange->allocated = 2 * (exchange->length + n) + 1;
        exchange->body = must(realloc(exchange->body, exchange->allocated));
    }
    memcpy(exchange->body + exchange->length, data, n);
    exchange->length += n;
    exchange->body[exchange->length] = '\0';
    return 0;
}

static void handle(struct exchange *exchange, const char *method, const char *path)
{
    struct request request = {
        .method = method,
        .path = path,
        .query = must(json_object()),
        .api_key = MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, "x-api-key"),
        .body = exchange->body ? exchange->body : "",
        .length = exchange->length,
    };

    MHD_get_connection_values(exchange->connection, MHD_GET_ARGUMENT_KIND, collect_parameter,
                              request.query);
    exchange->server->handler(&request, &exchange->reply, exchange->server->userdata);
    exchange->handled = true;
    json_decref(request.query);
}

/* MHD calls this with the headers, then with each piece of the body, then once more with none;
 * and again when a suspended exchange is resumed. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *n, void **ret_exchange)
{
    struct server *server = cls;
    struct exchange *exchange = *ret_exchange;

    (void)version;
    if (!exchange) {
        exchange = must(calloc(1, sizeof(*exchange)));
        exchange->server = server;
        exchange->connection = connection;
        exchange->reply = REPLY_INIT;
        *ret_exchange = exchange;
        return MHD_YES;
    }
    if (*n > 0) {
        int r = append(exchange, data, *n);

        *n = 0;
        return r < 0 ? MHD_NO : MHD_YES;
    }
    if (server->stopping)
        return MHD_NO;
    if (!exchange->handled) {
        handle(exchange, method, path);
        if (exchange->reply.hang || exchange->reply.delay_ms > 0) {
            sleep_until(exchange, exchange->reply.hang
                                      ? INT64_MAX
                                      : clock_now(clock_real()) + exchange->reply.delay_ms);
            return MHD_YES;
        }
    }
    return exchange->reply.close ? MHD_NO : send_reply(exchange);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **ret_exchange,
                         enum MHD_RequestTerminationCode why)
{
    struct exchange *exchange = *ret_exchange;

    (void)cls;
    (void)connection;
    (void)why;
    if (!exchange)
        return;
    reply_clear(&exchange->reply);
    free(exchange->body);
    free(exchange);
    *ret_exchange = NULL;
}

/* --- the loop ------------------------------------------------------------ */

int server_new(uint16_t port, server_handler handler, void *userdata, struct server **ret,
               struct error *err)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    struct server *server = must(calloc(1, sizeof(*server)));

    server->handler = handler;
    server->userdata = userdata;
    server->daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, port, NULL, NULL, on_request,
                         server, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
                         MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
    if (!server->daemon) {
        int code = errno > 0 ? -errno : -EIO;

        server_free(server);
        return error_set(err, code, "cannot listen on 127.0.0.1:%u: %s", (unsigned)port,
                         strerror(-code));
    }
    *ret = server;
    return 0;
}

struct server *server_free(struct server *server)
{
    if (!server)
        return NULL;
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    free(server);
    return NULL;
}

uint16_t server_port(const struct server *server)
{
    return MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
}

static int timeout_until(struct server *server, int64_t next, int64_t now)
{
    MHD_UNSIGNED_LONG_LONG own;
    int64_t timeout = next == INT64_MAX ? 60000 : next - now;

    if (MHD_get_timeout(server->daemon, &own) == MHD_YES && own < (unsigned long long)timeout)
        timeout = (int64_t)own;
    return timeout > 60000 ? 60000 : (int)timeout;
}

int server_run(struct server *server, int stop_fd, struct error *err)
{
    struct pollfd fds[] = {
        {.fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd,
         .events = POLLIN},
        {.fd = stop_fd, .events = POLLIN},
    };
    int r = 0;

    for (;;) {
        int64_t now = clock_now(clock_real());
        int64_t next = wake(server, now);

        if (poll(fds, ELEMENTSOF(fds), timeout_until(server, next, now)) < 0 && errno != EINTR) {
            r = error_set(err, -errno, "poll: %s", strerror(errno));
            break;
        }
        if (fds[1].revents)
            break;
        MHD_run(server->daemon);
    }
    /* MHD may not be stopped while it has suspended connections. */
    server->stopping = true;
    wake(server, INT64_MAX);
    MHD_run(server->daemon);
    return r;
}
