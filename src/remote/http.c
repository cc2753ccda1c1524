#include "remote/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/cleanup.h"

enum {
    CONNECT_TIMEOUT_MS = 10 * 1000,
    MAX_HEADERS = 64 * 1024,
    FIRST_BODY = 16 * 1024,
    TIMER_ACCURACY_US = 1000,
};

enum stage {
    STAGE_NEW,      /* not given to curl yet */
    STAGE_UNDERWAY, /* in curl's hands */
    STAGE_FINISHED, /* waits to be delivered */
};

struct http {
    sd_event *event;
    CURLM *multi;
    sd_event_source *timer;
    sd_event_source *deliver;
    struct http_transfer *transfers; /* all of them */
    struct http_transfer *finished, **finished_end;
};

struct http_transfer {
    struct http *http;
    struct http_transfer *next, **self;  /* in http->transfers */
    struct http_transfer *next_finished; /* in http->finished */
    enum stage stage;
    http_done done;
    void *userdata;

    CURL *easy;
    struct curl_slist *headers;
    struct secret *request_body;
    char *where; /* "host:port", for messages */
    char curl_error[CURL_ERROR_SIZE];

    char *body;
    size_t length, allocated, max_body;
    size_t headers_length;
    bool too_large, out_of_memory;
    CURLcode result;
};

DEFINE_CLEANUP(struct http *, http_free)
DEFINE_CLEANUP(struct http_transfer *, http_cancel)
DEFINE_CLEANUP(CURLU *, curl_url_cleanup)

/* --- curl's memory ------------------------------------------------------------ */

/* curl copies headers, bodies and URLs, and keys with them; so all that it frees is wiped. */

static void wiping_free(void *memory)
{
    if (memory)
        secret_wipe(memory, malloc_usable_size(memory));
    free(memory);
}

static void *wiping_realloc(void *memory, size_t n)
{
    size_t old = memory ? malloc_usable_size(memory) : 0;
    void *moved = malloc(n);

    if (!moved)
        return NULL;
    if (memory)
        memcpy(moved, memory, old < n ? old : n);
    wiping_free(memory);
    return moved;
}

static int init_curl(void)
{
    static bool done;

    if (done)
        return 0;
    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiping_free, wiping_realloc, strdup,
                             calloc) != CURLE_OK)
        return -ENOMEM;
    done = true;
    return 0;
}

/* --- transfers ---------------------------------------------------------------- */

static struct http_transfer *transfer_free(struct http_transfer *t)
{
    if (t->stage == STAGE_UNDERWAY)
        curl_multi_remove_handle(t->http->multi, t->easy);
    if (t->self) {
        *t->self = t->next;
        if (t->next)
            t->next->self = t->self;
    }
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    secret_free(t->request_body);
    free(t->where);
    if (t->body)
        secret_wipe(t->body, t->length);
    free(t->body);
    free(t);
    return NULL;
}

static void forget_finished(struct http *http, const struct http_transfer *t)
{
    struct http_transfer **p = &http->finished;

    while (*p != t)
        p = &(*p)->next_finished;
    *p = t->next_finished;
    if (!*p)
        http->finished_end = p;
}

struct http_transfer *http_cancel(struct http_transfer *transfer)
{
    if (!transfer)
        return NULL;
    if (transfer->stage == STAGE_FINISHED)
        forget_finished(transfer->http, transfer);
    return transfer_free(transfer);
}

/* Asked of the request's own bytes, so that a handshake that failed counts as never sent. */
static bool was_sent(CURL *easy)
{
    long size = 0;

    return curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &size) != CURLE_OK || size > 0;
}

static enum http_outcome outcome_of(const struct http_transfer *t, long status)
{
    if (t->too_large)
        return HTTP_TOO_LARGE;
    switch (t->result) {
    case CURLE_OK:
        return status > 0 ? HTTP_ANSWERED : HTTP_NOT_HTTP;
    case CURLE_FILESIZE_EXCEEDED:
        return HTTP_TOO_LARGE;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9, that is, no status line */
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return HTTP_NOT_HTTP;
    default:
        return was_sent(t->easy) ? HTTP_NO_ANSWER : HTTP_NEVER_SENT;
    }
}

static void deliver(struct http_transfer *t)
{
    struct http_response response = {.body = t->body ? t->body : "", .length = t->length};
    struct curl_header *retry_after;
    char text[CURL_ERROR_SIZE + 320];
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    response.outcome = outcome_of(t, status);
    response.text = text;
    switch (response.outcome) {
    case HTTP_ANSWERED:
        response.status = status;
        if (curl_easy_header(t->easy, "Retry-After", 0, CURLH_HEADER, -1, &retry_after) ==
            CURLHE_OK)
            response.retry_after = retry_after->value;
        snprintf(text, sizeof(text), "%.300s: HTTP status %ld", t->where, status);
        break;
    case HTTP_TOO_LARGE:
        if (t->headers_length > MAX_HEADERS)
            snprintf(text, sizeof(text), "%.300s: the headers are larger than %d bytes", t->where,
                     MAX_HEADERS);
        else
            snprintf(text, sizeof(text), "%.300s: the answer is larger than %zu bytes", t->where,
                     t->max_body);
        break;
    case HTTP_NEVER_SENT:
    case HTTP_NO_ANSWER:
    case HTTP_NOT_HTTP:
        snprintf(text, sizeof(text), "%.300s: %s", t->where,
                 t->out_of_memory   ? "out of memory"
                 : t->curl_error[0] ? t->curl_error
                 : t->result        ? curl_easy_strerror(t->result)
                                    : "the answer has no status");
        break;
    }
    if (response.outcome != HTTP_ANSWERED) {
        response.body = "";
        response.length = 0;
    }
    t->done(&response, t->userdata);
}

/* One transfer per turn of the loop, and nothing of `http` is touched after its callback, which is
 * therefore free to start and cancel transfers and even to free `http`. */
static int on_deliver(sd_event_source *source, void *userdata)
{
    struct http *http = userdata;
    struct http_transfer *t = http->finished;

    if (!t)
        return 0;
    forget_finished(http, t);
    *t->self = t->next;
    if (t->next)
        t->next->self = t->self;
    t->self = NULL;
    t->stage = STAGE_NEW;
    if (http->finished)
        sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    deliver(t);
    transfer_free(t);
    return 0;
}

static void collect_finished(struct http *http)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(http->multi, &left))) {
        struct http_transfer *t = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        t->result = message->data.result;
        curl_multi_remove_handle(http->multi, t->easy);
        t->stage = STAGE_FINISHED;
        t->next_finished = NULL;
        *http->finished_end = t;
        http->finished_end = &t->next_finished;
    }
    if (http->finished)
        sd_event_source_set_enabled(http->deliver, SD_EVENT_ONESHOT);
}

/* --- curl's sockets and timer on the event loop ------------------------------ */

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct http *http = userdata;
    int action = 0, running;

    (void)source;
    if (revents & EPOLLIN)
        action |= CURL_CSELECT_IN;
    if (revents & EPOLLOUT)
        action |= CURL_CSELECT_OUT;
    if (revents & (EPOLLERR | EPOLLHUP))
        action |= CURL_CSELECT_ERR;
    curl_multi_socket_action(http->multi, fd, action, &running);
    collect_finished(http);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct http *http = userdata;
    int running;

    (void)source;
    (void)usec;
    curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect_finished(http);
    return 0;
}

/* A failure is not passed on, because curl would then give up every transfer, now and later. A
 * socket that cannot be watched lets its transfer run into its timeout. */
static int on_socket_change(CURL *easy, curl_socket_t fd, int what, void *userdata, void *socketp)
{
    struct http *http = userdata;
    sd_event_source *source = socketp;
    uint32_t events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        sd_event_source_disable_unref(source);
        curl_multi_assign(http->multi, fd, NULL);
        return 0;
    }
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= EPOLLOUT;
    if (source && sd_event_source_set_io_events(source, events) >= 0)
        return 0;
    /* New, or closed and opened again behind epoll's back. */
    sd_event_source_disable_unref(source);
    source = NULL;
    (void)sd_event_add_io(http->event, &source, fd, events, on_io, http);
    curl_multi_assign(http->multi, fd, source);
    return 0;
}

static int on_timer_change(CURLM *multi, long timeout_ms, void *userdata)
{
    struct http *http = userdata;

    (void)multi;
    if (timeout_ms < 0) {
        sd_event_source_set_enabled(http->timer, SD_EVENT_OFF);
        return 0;
    }
    sd_event_source_set_time_relative(http->timer, (uint64_t)timeout_ms * 1000);
    sd_event_source_set_enabled(http->timer, SD_EVENT_ONESHOT);
    return 0;
}

/* --- what arrives ------------------------------------------------------------- */

/* Returning anything but `n` makes curl break the transfer off. */
static size_t on_body(char *bytes, size_t size, size_t n, void *userdata)
{
    struct http_transfer *t = userdata;

    (void)size; /* always 1 */
    if (n > t->max_body - t->length) {
        t->too_large = true;
        return 0;
    }
    if (t->length + n + 1 > t->allocated) {
        size_t allocated = t->allocated ? t->allocated : FIRST_BODY;
        char *body;

        while (allocated < t->length + n + 1)
            allocated *= 2;
        if (allocated > t->max_body + 1)
            allocated = t->max_body + 1;
        body = realloc(t->body, allocated);
        if (!body) {
            t->out_of_memory = true;
            return 0;
        }
        t->body = body;
        t->allocated = allocated;
    }
    memcpy(t->body + t->length, bytes, n);
    t->length += n;
    t->body[t->length] = '\0';
    return n;
}

static size_t on_header(char *bytes, size_t size, size_t n, void *userdata)
{
    struct http_transfer *t = userdata;

    (void)bytes;
    (void)size; /* always 1 */
    t->headers_length += n;
    if (t->headers_length > MAX_HEADERS) {
        t->too_large = true;
        return 0;
    }
    return n;
}

/* --- a request ---------------------------------------------------------------- */

/* Splits off what messages may say of a URL, and refuses what must not be asked for. */
static int check_url(const char *text, char **ret_where, bool *ret_tls)
{
    _cleanup_(curl_url_cleanup_p) CURLU *url = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL;
    bool tls;
    int r = -EINVAL;

    if (!url)
        return -ENOMEM;
    if (curl_url_set(url, CURLUPART_URL, text, CURLU_DISALLOW_USER | CURLU_PATH_AS_IS) !=
            CURLUE_OK ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
        goto out;
    tls = strcmp(scheme, "https") == 0;
    if (!tls && strcmp(scheme, "http") != 0)
        goto out;
    r = -ENOMEM;
    if (asprintf(ret_where, "%s:%s", host, port) < 0)
        goto out;
    *ret_tls = tls;
    r = 0;
out:
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    return r;
}

/* Adds "name: value"; curl copies it. */
static int add_header(struct curl_slist **headers, const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 3;
    char *line = malloc(size);
    struct curl_slist *list;

    if (!line)
        return -ENOMEM;
    snprintf(line, size, "%s: %s", name, value);
    list = curl_slist_append(*headers, line);
    secret_wipe(line, size);
    free(line);
    if (!list)
        return -ENOMEM;
    *headers = list;
    return 0;
}

/* A control character would end the header's line and begin another. */
static bool fits_header(const char *value)
{
    for (const unsigned char *p = (const unsigned char *)value; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            return false;
    return true;
}

static int set_headers(struct http_transfer *t, const struct http_request *request)
{
    int r;

    /* Without a value curl leaves the header out: no "100 Continue" is waited for. */
    t->headers = curl_slist_append(NULL, "Expect:");
    if (!t->headers)
        return -ENOMEM;
    r = add_header(&t->headers, "Accept", "application/json");
    if (r >= 0 && request->body)
        r = add_header(&t->headers, "Content-Type", "application/json");
    if (r >= 0 && request->key_header)
        r = add_header(&t->headers, request->key_header, secret_text(request->key));
    if (r < 0)
        return r;
    return curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers) == CURLE_OK ? 0 : -ENOMEM;
}

static int set_method(struct http_transfer *t, const struct http_request *request)
{
    CURLcode c;

    if (request->body) {
        t->request_body = secret_new(secret_text(request->body), secret_length(request->body));
        if (!t->request_body)
            return -ENOMEM;
    }
    if (!request->body && strcmp(request->method, "GET") == 0)
        return 0;
    if (!request->body && strcmp(request->method, "HEAD") == 0)
        return curl_easy_setopt(t->easy, CURLOPT_NOBODY, 1L) == CURLE_OK ? 0 : -ENOMEM;
    if (request->body || strcmp(request->method, "DELETE") != 0) {
        /* An empty body is sent as one, for a POST without Content-Length is often refused. */
        c = curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE,
                             (curl_off_t)(request->body ? secret_length(request->body) : 0));
        if (c == CURLE_OK)
            c = curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS,
                                 request->body ? secret_text(t->request_body) : "");
        if (c != CURLE_OK)
            return -ENOMEM;
    }
    c = curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, request->method);
    return c == CURLE_OK ? 0 : -ENOMEM;
}

static int set_options(struct http_transfer *t, const struct http_request *request, bool tls)
{
    CURL *easy = t->easy;
    long timeout =
        request->timeout_ms < 1000 * 1000 * 1000 ? (long)request->timeout_ms : 1000 * 1000 * 1000;
    CURLcode c = CURLE_OK;

#define SET(option, value)                                                                         \
    do {                                                                                           \
        if (c == CURLE_OK)                                                                         \
            c = curl_easy_setopt(easy, (option), (value));                                         \
    } while (0)
    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1); /* so that no answer delays another */
    SET(CURLOPT_HTTP09_ALLOWED, 0L);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    if (!tls)
        SET(CURLOPT_PROXY, "");
    SET(CURLOPT_USERAGENT, "reconciled/" RECONCILED_VERSION);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* a resolver that hangs must not block a cancel */
    SET(CURLOPT_TIMEOUT_MS, timeout);
    SET(CURLOPT_CONNECTTIMEOUT_MS,
        timeout < CONNECT_TIMEOUT_MS ? timeout : (long)CONNECT_TIMEOUT_MS);
    SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)request->max_body);
    SET(CURLOPT_ERRORBUFFER, t->curl_error);
    SET(CURLOPT_PRIVATE, t);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
#undef SET
    return c == CURLE_OK ? 0 : -ENOMEM;
}

static bool is_valid(const struct http_request *request)
{
    if (!*request->method || request->method[strspn(request->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")])
        return false;
    if (request->timeout_ms <= 0 || request->max_body == 0 || request->max_body >= INT32_MAX)
        return false;
    return !request->key_header ||
           (fits_header(request->key_header) && fits_header(secret_text(request->key)));
}

int http_start(struct http *http, const struct http_request *request, http_done done,
               void *userdata, struct http_transfer **ret)
{
    _cleanup_(http_cancel_p) struct http_transfer *t = NULL;
    bool tls = false;
    int r;

    if (!is_valid(request))
        return -EINVAL;
    t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->http = http;
    t->done = done;
    t->userdata = userdata;
    t->max_body = request->max_body;
    t->easy = curl_easy_init();
    if (!t->easy)
        return -ENOMEM;
    r = check_url(request->url, &t->where, &tls);
    if (r >= 0)
        r = set_options(t, request, tls);
    if (r >= 0)
        r = set_method(t, request);
    if (r >= 0)
        r = set_headers(t, request);
    if (r < 0)
        return r;
    if (curl_multi_add_handle(http->multi, t->easy) != CURLM_OK)
        return -ENOMEM;
    t->stage = STAGE_UNDERWAY;
    t->next = http->transfers;
    if (t->next)
        t->next->self = &t->next;
    t->self = &http->transfers;
    http->transfers = t;
    *ret = TAKE_PTR(t);
    return 0;
}

/* --- the whole ------------------------------------------------------------------ */

int http_new(sd_event *event, struct http **ret)
{
    _cleanup_(http_free_p) struct http *http = NULL;
    int r;

    r = init_curl();
    if (r < 0)
        return r;
    http = calloc(1, sizeof(*http));
    if (!http)
        return -ENOMEM;
    http->event = sd_event_ref(event);
    http->finished_end = &http->finished;
    r = sd_event_add_time_relative(event, &http->timer, CLOCK_MONOTONIC, 0, TIMER_ACCURACY_US,
                                   on_timer, http);
    if (r < 0)
        return r;
    sd_event_source_set_enabled(http->timer, SD_EVENT_OFF);
    r = sd_event_add_defer(event, &http->deliver, on_deliver, http);
    if (r < 0)
        return r;
    sd_event_source_set_enabled(http->deliver, SD_EVENT_OFF);
    http->multi = curl_multi_init();
    if (!http->multi ||
        curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket_change) != CURLM_OK ||
        curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http) != CURLM_OK ||
        curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer_change) != CURLM_OK ||
        curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http) != CURLM_OK)
        return -ENOMEM;
    *ret = TAKE_PTR(http);
    return 0;
}

struct http *http_free(struct http *http)
{
    if (!http)
        return NULL;
    while (http->transfers)
        http_cancel(http->transfers);
    /* Closes idle connections and so may still call on_socket_change(). */
    curl_multi_cleanup(http->multi);
    sd_event_source_disable_unref(http->timer);
    sd_event_source_disable_unref(http->deliver);
    sd_event_unref(http->event);
    free(http);
    return NULL;
}

/* --- text ----------------------------------------------------------------------- */

int http_append_encoded(char **text, const char *value)
{
    static const char unreserved[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    static const char digits[] = "0123456789ABCDEF";
    size_t length = *text ? strlen(*text) : 0;
    char *longer = malloc(length + 3 * strlen(value) + 1);
    char *out;

    if (!longer)
        return -ENOMEM;
    if (*text)
        memcpy(longer, *text, length);
    out = longer + length;
    for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
        if (strchr(unreserved, *p)) {
            *out++ = (char)*p;
            continue;
        }
        *out++ = '%';
        *out++ = digits[*p >> 4];
        *out++ = digits[*p & 15];
    }
    *out = '\0';
    /* It may hold a session key. */
    if (*text)
        secret_wipe(*text, length);
    free(*text);
    *text = longer;
    return 0;
}
