#include "remote/json_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* A number is the string of this character and its digits. A raw control character is not allowed
 * in JSON, so the mark is written as an escape. */
enum { MARK = 0x01 };
#define MARK_ESCAPE "\\u0001"
enum { MARK_ESCAPE_SIZE = sizeof(MARK_ESCAPE) - 1 };

/* What jansson 2.14 takes for a value on a 64-bit machine, malloc's share and the slot in the
 * container included; rounded up. */
enum {
    COST_OBJECT = 256,
    COST_ARRAY = 160,
    COST_STRING = 128, /* and its bytes; also covers a key with its hash table entry */
    COST_LITERAL = 32,
};

struct rewriter {
    const unsigned char *in, *end;
    char *out;
    size_t cost;
};

/* The length of the well-formed UTF-8 sequence (RFC 3629) at `p`, or 0. */
static size_t utf8_length(const unsigned char *p, size_t available)
{
    size_t length;
    uint32_t code, least;

    if ((p[0] & 0xe0) == 0xc0) {
        length = 2;
        code = p[0] & 0x1fU;
        least = 0x80;
    } else if ((p[0] & 0xf0) == 0xe0) {
        length = 3;
        code = p[0] & 0x0fU;
        least = 0x800;
    } else if ((p[0] & 0xf8) == 0xf0) {
        length = 4;
        code = p[0] & 0x07U;
        least = 0x10000;
    } else {
        return 0;
    }
    if (length > available)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3fU);
    }
    if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    return length;
}

/* The code unit of the escape \uXXXX at `p`, or -1. */
static int escaped_unit(const unsigned char *p, const unsigned char *end)
{
    int unit = 0;

    if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        if (!isxdigit(p[i]))
            return -1;
        unit = unit * 16 + (isdigit(p[i]) ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    }
    return unit;
}

static void copy(struct rewriter *w, size_t n)
{
    memcpy(w->out, w->in, n);
    w->out += n;
    w->in += n;
}

static void replace(struct rewriter *w, size_t n)
{
    *w->out++ = JSON_TEXT_REPLACED;
    w->in += n;
}

static int rewrite_escape(struct rewriter *w, bool is_first)
{
    int unit, next;

    if (w->end - w->in < 2)
        return -EBADMSG;
    if (w->in[1] != 'u') {
        copy(w, 2);
        return 0;
    }
    unit = escaped_unit(w->in, w->end);
    if (unit < 0)
        return -EBADMSG;
    if (unit >= 0xd800 && unit <= 0xdbff) {
        next = escaped_unit(w->in + 6, w->end);
        if (next >= 0xdc00 && next <= 0xdfff)
            copy(w, 12);
        else
            replace(w, 6);
    } else if (unit == 0 || (unit >= 0xdc00 && unit <= 0xdfff) || (is_first && unit == MARK)) {
        replace(w, 6);
    } else {
        copy(w, 6);
    }
    return 0;
}

static int rewrite_string(struct rewriter *w)
{
    const char *start;
    size_t n;
    int r;

    copy(w, 1);
    start = w->out;
    while (w->in < w->end) {
        if (*w->in == '"') {
            w->cost += COST_STRING + (size_t)(w->out - start);
            copy(w, 1);
            return 0;
        }
        if (*w->in == '\\') {
            r = rewrite_escape(w, w->out == start);
            if (r < 0)
                return r;
            continue;
        }
        n = *w->in < 0x20 ? 0 : *w->in < 0x80 ? 1 : utf8_length(w->in, (size_t)(w->end - w->in));
        if (n == 0)
            replace(w, 1);
        else
            copy(w, n);
    }
    return -EBADMSG;
}

static const unsigned char *skip_digits(const unsigned char *p, const unsigned char *end)
{
    while (p < end && isdigit(*p))
        p++;
    return p;
}

/* The end of the number at `p` by RFC 8259, or NULL. */
static const unsigned char *number_end(const unsigned char *p, const unsigned char *end)
{
    const unsigned char *digits;

    if (p < end && *p == '-')
        p++;
    digits = p;
    /* A leading zero stands alone; what follows it is then no JSON to jansson either. */
    p = p < end && *p == '0' ? p + 1 : skip_digits(p, end);
    if (p == digits)
        return NULL;
    if (p < end && *p == '.') {
        digits = p + 1;
        p = skip_digits(digits, end);
        if (p == digits)
            return NULL;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        digits = p + 1;
        if (digits < end && (*digits == '+' || *digits == '-'))
            digits++;
        p = skip_digits(digits, end);
        if (p == digits)
            return NULL;
    }
    return p;
}

static int rewrite_number(struct rewriter *w)
{
    const unsigned char *end = number_end(w->in, w->end);

    if (!end)
        return -EBADMSG;
    w->cost += COST_STRING + (size_t)(end - w->in);
    *w->out++ = '"';
    memcpy(w->out, MARK_ESCAPE, MARK_ESCAPE_SIZE);
    w->out += MARK_ESCAPE_SIZE;
    copy(w, (size_t)(end - w->in));
    *w->out++ = '"';
    return 0;
}

/* Structure is left to jansson to judge. */
static int rewrite_token(struct rewriter *w)
{
    if (*w->in == '"')
        return rewrite_string(w);
    if (*w->in == '-' || isdigit(*w->in))
        return rewrite_number(w);
    switch (*w->in) {
    case '{':
        w->cost += COST_OBJECT;
        break;
    case '[':
        w->cost += COST_ARRAY;
        break;
    case 't': /* true, false and null have one of these each */
    case 'f':
    case 'n':
        w->cost += COST_LITERAL;
        break;
    }
    copy(w, 1);
    return 0;
}

static int rewrite(const char *text, size_t length, char **ret, size_t *ret_length,
                   struct error *err)
{
    /* Only numbers grow, and the tree's limit bounds how many are written. */
    size_t most_numbers = JSON_TEXT_MAX_TREE / COST_STRING + 1;
    size_t size = length + (length < most_numbers ? length : most_numbers) * (MARK_ESCAPE_SIZE + 2);
    char *clean = malloc(size + 1);
    struct rewriter w = {.in = (const unsigned char *)text,
                         .end = (const unsigned char *)text + length,
                         .out = clean};
    int r;

    if (!clean)
        return -ENOMEM;
    /* RFC 8259 section 8.1: a byte order mark may be ignored. */
    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        w.in += 3;
    while (w.in < w.end) {
        r = rewrite_token(&w);
        if (r < 0) {
            free(clean);
            return error_set(err, r, "not JSON (at byte %td)", (const char *)w.in - text);
        }
        if (w.cost > JSON_TEXT_MAX_TREE) {
            free(clean);
            return error_set(err, -EBADMSG, "JSON with too many values");
        }
    }
    *ret = clean;
    *ret_length = (size_t)(w.out - clean);
    return 0;
}

int json_text_load(const char *text, size_t length, json_t **ret, struct error *err)
{
    _cleanup_free_ char *clean = NULL;
    size_t clean_length = 0;
    json_error_t json_error;
    json_t *root;
    int r;

    r = rewrite(text, length, &clean, &clean_length, err);
    if (r < 0)
        return r;
    root = json_loadb(clean, clean_length, JSON_ALLOW_NUL, &json_error);
    if (!root) {
        if (json_error_code(&json_error) == json_error_out_of_memory)
            return -ENOMEM;
        /* jansson's own text quotes the source. */
        return error_set(err, -EBADMSG, "not JSON (at line %d)", json_error.line);
    }
    *ret = root;
    return 0;
}

const char *json_text_number(const json_t *value)
{
    const char *text = json_string_value(value);

    return text && text[0] == MARK ? text + 1 : NULL;
}

const char *json_text_string(const json_t *value)
{
    const char *text = json_string_value(value);

    return text && text[0] != MARK ? text : NULL;
}

char *json_text_dump(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    char *out = text;
    const char *in = text;

    if (!text)
        return NULL;
    while (*in) {
        if (*in != '"') {
            *out++ = *in++;
            continue;
        }
        if (strncmp(in + 1, MARK_ESCAPE, MARK_ESCAPE_SIZE) == 0) {
            for (in += 1 + MARK_ESCAPE_SIZE; *in != '"'; in++)
                *out++ = *in;
            in++;
            continue;
        }
        do {
            if (*in == '\\')
                *out++ = *in++;
            *out++ = *in++;
        } while (*in != '"');
        *out++ = *in++;
    }
    *out = '\0';
    return text;
}
