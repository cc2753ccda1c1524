#include "core/retry_after.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/parse.h"
#include "core/timestamp.h"

enum { TEXT_SIZE = 64 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int64_t at_most_max(int64_t ms)
{
    return ms < RETRY_AFTER_MAX_MS ? ms : RETRY_AFTER_MAX_MS;
}

/* Digits, and a fraction if there is a point; rounded up to the millisecond, so that nobody comes
 * back too early. */
static bool parse_seconds(const char *text, int64_t *ret_ms)
{
    int64_t ms = 0;
    int64_t weight = 100;
    bool more = false;
    const char *p = text;

    if (!is_digit(*p))
        return false;
    for (; is_digit(*p); p++)
        ms = at_most_max(ms * 10 + (*p - '0') * 1000);
    if (*p == '.') {
        p++;
        if (!is_digit(*p))
            return false;
        for (; is_digit(*p); p++, weight /= 10) {
            ms += (*p - '0') * weight;
            more = more || (weight == 0 && *p != '0');
        }
    }
    if (*p)
        return false;
    *ret_ms = at_most_max(ms + more);
    return true;
}

int64_t retry_after_parse(const char *value, int64_t now_ms)
{
    static const char blank[] = " \t\r\n";
    char text[TEXT_SIZE];
    int64_t ms, at;
    size_t n;

    if (!value)
        return RETRY_AFTER_DEFAULT_MS;
    value += strspn(value, blank);
    if (copy_text(text, sizeof(text), value) < 0)
        return RETRY_AFTER_DEFAULT_MS;
    for (n = strlen(text); n > 0 && strchr(blank, text[n - 1]); n--)
        text[n - 1] = '\0';

    if (parse_seconds(text, &ms))
        return ms;
    if (timestamp_parse_http(text, &at) < 0)
        return RETRY_AFTER_DEFAULT_MS;
    if (at <= now_ms)
        return 0;
    return __builtin_sub_overflow(at, now_ms, &ms) ? RETRY_AFTER_MAX_MS : at_most_max(ms);
}
