/* A server on 127.0.0.1 for the tests of the remote room: one thread a connection, one request a
 * connection, and a handler that writes whatever the test wants the client to suffer. */
#pragma once

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

enum { LOOPBACK_MAX = 512, LOOPBACK_REQUEST_SIZE = 16384 };

/* `number` counts requests from 0. The connection is closed when the handler returns. */
typedef void (*loopback_handler)(int fd, const char *request, unsigned number, void *userdata);

struct loopback {
    int fd;
    int port;
    loopback_handler handler;
    void *userdata;
    pthread_t acceptor;
    pthread_t threads[LOOPBACK_MAX];
    unsigned n_threads;
    atomic_uint requests;
};

struct loopback_connection {
    struct loopback *server;
    int fd;
};

static inline void loopback_write(int fd, const void *bytes, size_t n)
{
    const char *p = bytes;

    while (n > 0) {
        ssize_t written = send(fd, p, n, MSG_NOSIGNAL);

        if (written <= 0)
            return;
        p += written;
        n -= (size_t)written;
    }
}

/* Waits until the client has gone. */
static inline void loopback_hang(int fd)
{
    char byte;

    while (recv(fd, &byte, 1, 0) > 0)
        ;
}

static inline void loopback_answer(int fd, const char *status, const char *headers,
                                   const char *body)
{
    char head[1024];

    snprintf(head, sizeof(head),
             "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n", status,
             strlen(body), headers);
    loopback_write(fd, head, strlen(head));
    loopback_write(fd, body, strlen(body));
}

/* Reads the head and as much body as Content-Length says; false when the client goes before. */
static inline bool loopback_read_request(int fd, char *request)
{
    size_t length = 0, expected = 0;
    const char *end, *header;

    for (;;) {
        ssize_t n = recv(fd, request + length, LOOPBACK_REQUEST_SIZE - 1 - length, 0);

        if (n <= 0)
            return false;
        length += (size_t)n;
        request[length] = '\0';
        end = strstr(request, "\r\n\r\n");
        if (!end)
            continue;
        header = strcasestr(request, "\r\nContent-Length:");
        expected = header ? strtoul(header + 17, NULL, 10) : 0;
        if (length >= (size_t)(end + 4 - request) + expected)
            return true;
    }
}

static inline void *loopback_serve(void *userdata)
{
    struct loopback_connection *connection = userdata;
    struct loopback *server = connection->server;
    char *request = malloc(LOOPBACK_REQUEST_SIZE);

    if (request && loopback_read_request(connection->fd, request))
        server->handler(connection->fd, request, atomic_fetch_add(&server->requests, 1),
                        server->userdata);
    free(request);
    shutdown(connection->fd, SHUT_WR);
    close(connection->fd);
    free(connection);
    return NULL;
}

static inline void *loopback_accept(void *userdata)
{
    struct loopback *server = userdata;

    for (;;) {
        int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
        struct loopback_connection *connection;

        if (fd < 0)
            return NULL;
        connection = malloc(sizeof(*connection));
        if (!connection || server->n_threads == LOOPBACK_MAX)
            abort();
        *connection = (struct loopback_connection){server, fd};
        if (pthread_create(&server->threads[server->n_threads++], NULL, loopback_serve,
                           connection) != 0)
            abort();
    }
}

static inline struct loopback *loopback_new(loopback_handler handler, void *userdata)
{
    struct loopback *server = calloc(1, sizeof(*server));
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);

    if (!server)
        abort();
    signal(SIGPIPE, SIG_IGN);
    server->handler = handler;
    server->userdata = userdata;
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server->fd, (struct sockaddr *)&address, size) < 0 || listen(server->fd, 256) < 0 ||
        getsockname(server->fd, (struct sockaddr *)&address, &size) < 0 ||
        pthread_create(&server->acceptor, NULL, loopback_accept, server) != 0)
        abort();
    server->port = ntohs(address.sin_port);
    return server;
}

/* To be called after the client has closed its connections, else a handler may wait for it. */
static inline void loopback_free(struct loopback *server)
{
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->acceptor, NULL);
    for (unsigned i = 0; i < server->n_threads; i++)
        pthread_join(server->threads[i], NULL);
    close(server->fd);
    free(server);
}

/* A port of 127.0.0.1 on which nothing listens, for as long as *ret_fd stays open. */
static inline int loopback_dead_port(int *ret_fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);

    *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(*ret_fd, (struct sockaddr *)&address, size) < 0 ||
        getsockname(*ret_fd, (struct sockaddr *)&address, &size) < 0)
        abort();
    return ntohs(address.sin_port);
}

/* Milliseconds of the loop's monotonic clock. */
static inline int64_t loopback_now(sd_event *event)
{
    uint64_t usec = 0;

    /* sd_event_now() is the time of the last wake-up. */
    sd_event_run(event, 0);
    sd_event_now(event, CLOCK_MONOTONIC, &usec);
    return (int64_t)(usec / 1000);
}

/* Runs the loop until *counter is at least `wanted`, or for `ms`. True when it is. */
static inline bool loopback_run(sd_event *event, const unsigned *counter, unsigned wanted,
                                int64_t ms)
{
    int64_t end = loopback_now(event) + ms;

    while (*counter < wanted && loopback_now(event) < end)
        if (sd_event_run(event, 20000) < 0)
            return false;
    return *counter >= wanted;
}

/* Runs the loop for `ms`, whatever happens. */
static inline void loopback_run_for(sd_event *event, int64_t ms)
{
    unsigned never = 0;

    (void)loopback_run(event, &never, 1, ms);
}
