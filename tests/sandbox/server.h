/* HTTP on loopback, one thread, one loop. It knows how badly an answer may travel, and no API. */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "reply.h"
#include "request.h"

struct server;

/* Called once per request, from server_run(); fills `reply`. */
typedef void (*server_handler)(const struct request *request, struct reply *reply, void *userdata);

/* Listens on 127.0.0.1; port 0 lets the system choose. */
int server_new(uint16_t port, server_handler handler, void *userdata, struct server **ret,
               struct error *err);
struct server *server_free(struct server *server);

uint16_t server_port(const struct server *server);

/* Serves until `stop_fd` is readable. */
int server_run(struct server *server, int stop_fd, struct error *err);
