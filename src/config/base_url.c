#include "config/base_url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"

#define LETTERS_AND_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/* Host and port, taken from the text. */
struct authority {
    char host[254];  /* without brackets */
    bool bracketed;  /* an IPv6 address */
    const char *end; /* where the path begins */
};

static bool is_name(const char *host)
{
    return host[0] != '\0' && host[strspn(host, LETTERS_AND_DIGITS "-._")] == '\0' &&
           host[0] != '.' && host[0] != '-' && !strstr(host, "..");
}

/* Only what cannot be resolved to somewhere else: "127.1" or "localhost." is for the resolver. */
static bool is_loopback(const struct authority *authority)
{
    struct in6_addr six;
    struct in_addr four;

    if (authority->bracketed)
        return inet_pton(AF_INET6, authority->host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
    if (inet_pton(AF_INET, authority->host, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    return text_equal_nocase(authority->host, "localhost");
}

static const char *parse_port(const char *text, size_t n)
{
    char digits[sizeof("65535")];
    int64_t port;

    if (n >= sizeof(digits))
        return "the port must be 1 to 65535";
    memcpy(digits, text, n);
    digits[n] = '\0';
    return parse_int(digits, 1, 65535, &port) < 0 ? "the port must be 1 to 65535" : NULL;
}

/* NULL, or what is wrong. */
static const char *parse_authority(const char *text, struct authority *ret)
{
    size_t n = strcspn(text, "/?#"), n_host;
    const char *host = text, *after;
    struct in6_addr six;

    if (memchr(text, '@', n))
        return "a user or password in a URL is a secret, which does not belong in this file";
    ret->end = text + n;
    ret->bracketed = *text == '[';
    if (ret->bracketed) {
        host = text + 1;
        after = memchr(host, ']', n - 1);
        if (!after)
            return "the host's ']' is missing";
        n_host = (size_t)(after++ - host);
    } else {
        n_host = strcspn(host, ":/?#");
        after = host + n_host;
    }
    if (n_host >= sizeof(ret->host))
        return "the host's name is too long";
    memcpy(ret->host, host, n_host);
    ret->host[n_host] = '\0';
    if (ret->bracketed ? inet_pton(AF_INET6, ret->host, &six) != 1 : !is_name(ret->host))
        return "the host must be a name, an IPv4 address or an IPv6 address in brackets";
    if (after == ret->end)
        return NULL;
    if (*after != ':')
        return "a host is followed by ':' and its port, or by '/' and a path";
    return parse_port(after + 1, (size_t)(ret->end - after - 1));
}

/* NULL, or what is wrong. */
static const char *check(const char *text)
{
    static const char form[] = "must be https://host[:port][/path]";
    struct authority authority;
    const char *reason;
    bool plain;

    plain = strncmp(text, "http://", strlen("http://")) == 0;
    if (!plain && strncmp(text, "https://", strlen("https://")) != 0)
        return form;
    reason = parse_authority(text + strlen(plain ? "http://" : "https://"), &authority);
    if (reason)
        return reason;
    if (plain && !is_loopback(&authority))
        return "must be https://; http:// only to a loopback address (127.0.0.0/8, [::1], "
               "localhost)";
    for (const char *p = authority.end; *p; p++) {
        if (*p == '?' || *p == '#')
            return "a base URL has no query and no fragment";
        if (*p <= ' ' || *p > '~' || *p == '\\')
            return "the path may have printable ASCII characters only, others as %XX";
    }
    return NULL;
}

int base_url_parse(const char *text, char **ret, const char **ret_reason)
{
    const char *reason = check(text);
    size_t n = strlen(text);
    char *copy;

    if (reason) {
        *ret_reason = reason;
        return -EINVAL;
    }
    while (text[n - 1] == '/')
        n--;
    copy = strndup(text, n);
    if (!copy)
        return -ENOMEM;
    *ret = copy;
    return 0;
}
