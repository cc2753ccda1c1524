#include "config/inifile.h"

#include <errno.h>
#include <ini.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

struct reader {
    FILE *file;
    const char *path;
    int line;
    int code; /* the first failure, in the line that was current then */
    inifile_handler handler;
    void *userdata;
    struct error *err;
};

DEFINE_CLEANUP(FILE *, fclose)

/* Gives the reason, which `err` holds already, its place. */
static int fail_here(struct reader *reader, int code)
{
    reader->code = code;
    return error_prefix(reader->err, code, "%s:%d", reader->path, reader->line);
}

static int fail(struct reader *reader, const char *reason)
{
    error_set(reader->err, -EINVAL, "%s", reason);
    return fail_here(reader, -EINVAL);
}

static bool is_utf8(const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + n;

    while (p < end) {
        size_t more = *p < 0x80 ? 0 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;
        /* A lead byte's own bits decide which second bytes would be overlong, a surrogate or
         * beyond U+10FFFF. */
        unsigned char low = *p == 0xe0 ? 0xa0 : *p == 0xf0 ? 0x90 : 0x80;
        unsigned char high = *p == 0xed ? 0x9f : *p == 0xf4 ? 0x8f : 0xbf;

        if ((*p >= 0x80 && *p < 0xc2) || *p > 0xf4 || (size_t)(end - p) <= more)
            return false;
        if (more > 0 && (p[1] < low || p[1] > high))
            return false;
        for (size_t i = 2; i <= more; i++)
            if ((p[i] & 0xc0) != 0x80)
                return false;
        p += more + 1;
    }
    return true;
}

static bool has_control(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
            return true;
    return false;
}

/* libinih says nothing of a section without entries and ignores what follows its bracket. A missing
 * bracket is left to it. */
static int check_section(struct reader *reader, char *line)
{
    char *close = strchr(line, ']'), *rest;
    int r;

    if (line[0] != '[' || !close)
        return 0;
    rest = close + 1 + strspn(close + 1, " \t");
    if (*rest && *rest != ';')
        return fail(reader, "nothing but a comment (;) may follow a [section]");
    *close = '\0';
    r = reader->handler(line + 1, NULL, NULL, reader->line, reader->userdata, reader->err);
    *close = ']';
    return r < 0 ? fail_here(reader, r) : 0;
}

/* libinih's fgets(): at most `size` bytes with newline and terminator. The whole line or nothing,
 * as libinih would silently go on with the rest of a line as if it were the next. Leading white
 * space is taken away, as libinih would take the line for a further value of the key before. */
static char *next_line(char *to, int size, void *userdata)
{
    struct reader *reader = userdata;
    size_t n = 0, limit = (size_t)size - strlen("\n") - 1;
    bool comment = false;
    int c;

    if (reader->code < 0)
        return NULL;
    reader->line++;
    while ((c = getc_unlocked(reader->file)) != EOF && c != '\n') {
        if (comment || (n == 0 && (c == ' ' || c == '\t')))
            continue;
        if (n == 0 && (c == ';' || c == '#')) {
            comment = true;
            continue;
        }
        if (n == limit) {
            error_set(reader->err, -EINVAL, "a line may have %zu bytes, this one has more", limit);
            fail_here(reader, -EINVAL);
            return NULL;
        }
        to[n++] = (char)c;
    }
    if (ferror_unlocked(reader->file)) {
        reader->code = -errno;
        error_set(reader->err, reader->code, "%s: %s", reader->path, strerror(errno));
        return NULL;
    }
    if (c == EOF && n == 0)
        return NULL;
    if (n > 0 && to[n - 1] == '\r')
        n--;
    to[n] = '\0';
    if (has_control(to, n)) {
        fail(reader, "a control character");
        return NULL;
    }
    if (!is_utf8(to, n)) {
        fail(reader, "not UTF-8 text");
        return NULL;
    }
    /* libinih skips one in the first line, section or not. */
    if (strncmp(to, "\xef\xbb\xbf", 3) == 0) {
        fail(reader, "a byte order mark that does not begin the file");
        return NULL;
    }
    if (check_section(reader, to) < 0)
        return NULL;
    to[n] = '\n';
    to[n + 1] = '\0';
    return to;
}

static int on_entry(void *userdata, const char *section, const char *name, const char *value)
{
    struct reader *reader = userdata;
    int r;

    if (reader->code < 0)
        return 0;
    r = reader->handler(section, name, value, reader->line, reader->userdata, reader->err);
    if (r < 0)
        fail_here(reader, r);
    return r == 0;
}

/* The mark is three bytes, of which ungetc() promises to take back one: text that begins with the
 * first and lacks the others could not be an entry anyway. */
static bool skip_byte_order_mark(FILE *file)
{
    int c = getc(file);

    if (c == 0xef)
        return getc(file) == 0xbb && getc(file) == 0xbf;
    ungetc(c, file);
    return true;
}

int inifile_read(const char *path, inifile_handler handler, void *userdata, struct error *err)
{
    _cleanup_(fclose_p) FILE *file = fopen(path, "re");
    struct reader reader = {
        .file = file,
        .path = path,
        .handler = handler,
        .userdata = userdata,
        .err = err,
    };
    int r;

    if (!file) {
        r = -errno;
        return error_set(err, r, "%s: %s", path, strerror(-r));
    }
    if (!skip_byte_order_mark(file))
        return error_set(err, -EINVAL, "%s:1: not UTF-8 text", path);
    r = ini_parse_stream(next_line, &reader, on_entry, &reader);
    /* The number of the first line that libinih or on_entry() refused. */
    if (r > 0 && (reader.code == 0 || r < reader.line))
        return error_set(err, -EINVAL,
                         "%s:%d: not understood: a line is 'key = value', '[section]' or a comment",
                         path, r);
    if (r < 0 && reader.code == 0)
        return error_set(err, -ENOMEM, "%s: out of memory", path);
    return reader.code;
}
