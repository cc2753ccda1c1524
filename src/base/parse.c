#include "base/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

struct unit {
    const char *name;
    int64_t factor;
};

static const char DIGITS[] = "0123456789";

/* The value of the first `n` characters, which are digits, with its sign turned: the negative
 * range reaches one further. */
static int negated_value(const char *digits, size_t n, int64_t *ret)
{
    int64_t value = 0;

    for (size_t i = 0; i < n; i++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digits[i] - '0', &value))
            return -ERANGE;
    *ret = value;
    return 0;
}

int parse_int(const char *text, int64_t min, int64_t max, int64_t *ret)
{
    bool negative = min < 0 && *text == '-';
    const char *digits = text + negative;
    size_t n = strspn(digits, DIGITS);
    int64_t value;

    if (n == 0 || digits[n])
        return -EINVAL;
    if (negated_value(digits, n, &value) < 0)
        return -ERANGE;
    if (!negative && __builtin_sub_overflow(0, value, &value))
        return -ERANGE;
    if (value < min || value > max)
        return -ERANGE;
    *ret = value;
    return 0;
}

static int parse_with_unit(const char *text, const struct unit *units, size_t n_units, int64_t *ret)
{
    size_t n = strspn(text, DIGITS);
    int64_t value;

    if (n == 0)
        return -EINVAL;
    for (size_t i = 0; i < n_units; i++)
        if (strcmp(text + n, units[i].name) == 0) {
            if (negated_value(text, n, &value) < 0 ||
                __builtin_mul_overflow(value, -units[i].factor, &value))
                return -ERANGE;
            *ret = value;
            return 0;
        }
    return -EINVAL;
}

int parse_duration(const char *text, int64_t *ret_ms)
{
    static const struct unit units[] = {{"", 1000},     {"ms", 1},      {"s", 1000},
                                        {"min", 60000}, {"h", 3600000}, {"d", 86400000}};

    return parse_with_unit(text, units, ELEMENTSOF(units), ret_ms);
}

int parse_size(const char *text, int64_t *ret_bytes)
{
    static const struct unit units[] = {{"", 1}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}};

    return parse_with_unit(text, units, ELEMENTSOF(units), ret_bytes);
}

int parse_percent(const char *text, int64_t *ret_percent)
{
    static const struct unit units[] = {{"%", 1}};
    int64_t value;
    int r;

    r = parse_with_unit(text, units, ELEMENTSOF(units), &value);
    if (r < 0)
        return r;
    if (value < 1 || value > 100)
        return -ERANGE;
    *ret_percent = value;
    return 0;
}

int parse_bool(const char *text, bool *ret)
{
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};

    for (size_t i = 0; i < ELEMENTSOF(yes); i++) {
        if (text_equal_nocase(text, yes[i])) {
            *ret = true;
            return 0;
        }
        if (text_equal_nocase(text, no[i])) {
            *ret = false;
            return 0;
        }
    }
    return -EINVAL;
}

char *format_duration(int64_t ms, char *buffer, size_t size)
{
    static const struct unit units[] = {
        {"d", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}};

    for (size_t i = 0; i < ELEMENTSOF(units); i++)
        if (ms != 0 && ms % units[i].factor == 0) {
            snprintf(buffer, size, "%" PRId64 "%s", ms / units[i].factor, units[i].name);
            return buffer;
        }
    snprintf(buffer, size, "%" PRId64 "ms", ms);
    return buffer;
}

int copy_text(char *to, size_t size, const char *text)
{
    size_t n = strlen(text);

    if (n >= size)
        return -ENAMETOOLONG;
    memcpy(to, text, n + 1);
    return 0;
}

bool text_equal_nocase(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        int ca = *a >= 'A' && *a <= 'Z' ? *a + 32 : *a;
        int cb = *b >= 'A' && *b <= 'Z' ? *b + 32 : *b;

        if (ca != cb)
            return false;
    }
    return *a == *b;
}
