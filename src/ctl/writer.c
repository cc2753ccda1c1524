#include "ctl/writer.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* A table's widths come from its first rows; a long report then flows through. */
enum { ROWS_FOR_WIDTHS = 1000 };

struct text_cell {
    char *text; /* fit for a terminal */
    bool number;
};

struct writer {
    FILE *out;
    enum writer_format format;
    char *columns[REPORT_MAX_COLUMNS];
    size_t n_columns;
    const char *section;
    bool any_row;

    struct text_cell *cells; /* rows kept back until the widths are known */
    size_t n_rows;
    int widths[REPORT_MAX_COLUMNS];
    bool header_written;
};

/* --- text ---------------------------------------------------------------------------------------
 */

/* The bytes of the UTF-8 character at `s` (RFC 3629) and its code; 0 for what is none. */
static size_t utf8_character(const unsigned char *s, uint32_t *ret)
{
    static const struct {
        unsigned char mask, lead;
        uint32_t least;
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

    for (size_t n = 0; n < ELEMENTSOF(forms); n++) {
        uint32_t code = s[0] & (unsigned char)~forms[n].mask;

        if ((s[0] & forms[n].mask) != forms[n].lead)
            continue;
        for (size_t i = 1; i <= n; i++) {
            if ((s[i] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (s[i] & 0x3f);
        }
        if (code < forms[n].least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
            return 0;
        *ret = code;
        return n + 1;
    }
    return 0;
}

/* Controls, and what turns the direction of writing around: a record of the API must not steer the
 * reader's terminal. */
static bool unprintable(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0x200e || code == 0x200f ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

/* A copy in which '?' stands for what a terminal must not get. */
static char *printable(const char *text)
{
    char *copy = malloc(strlen(text) + 1), *to = copy;
    const unsigned char *s = (const unsigned char *)text;

    while (copy && *s) {
        uint32_t code;
        size_t n = utf8_character(s, &code);

        if (n == 0 || unprintable(code))
            *to++ = '?';
        else
            to = mempcpy(to, s, n);
        s += n ? n : 1;
    }
    if (copy)
        *to = '\0';
    return copy;
}

/* In characters; wide and combining ones count as one, which only costs alignment. */
static int width_of(const char *text)
{
    int width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void put_json_string(FILE *out, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    fputc('"', out);
    while (*s) {
        uint32_t code;
        size_t n = utf8_character(s, &code);

        if (n == 0)
            fputs("\\ufffd", out);
        else if (code == '"' || code == '\\')
            fprintf(out, "\\%c", *s);
        else if (unprintable(code))
            fprintf(out, "\\u%04" PRIx32, code);
        else
            fwrite(s, 1, n, out);
        s += n ? n : 1;
    }
    fputc('"', out);
}

static void put_csv_text(FILE *out, const char *text)
{
    size_t n = strlen(text);

    if (n > 0 && !strpbrk(text, "\",\r\n") && text[0] != ' ' && text[n - 1] != ' ') {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

/* --- tables -------------------------------------------------------------------------------------
 */

static void pad(FILE *out, int n)
{
    if (n > 0)
        fprintf(out, "%*s", n, "");
}

static void put_table_row(const struct writer *w, const struct text_cell *cells)
{
    for (size_t i = 0; i < w->n_columns; i++) {
        int space = w->widths[i] - width_of(cells[i].text);

        if (i > 0)
            fputs("  ", w->out);
        if (cells[i].number)
            pad(w->out, space);
        fputs(cells[i].text, w->out);
        if (!cells[i].number && i + 1 < w->n_columns)
            pad(w->out, space);
    }
    fputc('\n', w->out);
}

static void clear_cells(struct text_cell *cells, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(cells[i].text);
        cells[i].text = NULL;
    }
}

/* Writes the heading and the rows kept back. */
static void flush_table(struct writer *w)
{
    struct text_cell heading[REPORT_MAX_COLUMNS];

    if (w->n_columns == 0 || w->header_written)
        return;
    for (size_t i = 0; i < w->n_columns; i++) {
        heading[i] = (struct text_cell){w->columns[i], w->n_rows > 0 && w->cells[i].number};
        w->widths[i] = width_of(w->columns[i]);
        for (size_t row = 0; row < w->n_rows; row++) {
            int width = width_of(w->cells[row * w->n_columns + i].text);

            if (width > w->widths[i])
                w->widths[i] = width;
        }
    }
    put_table_row(w, heading);
    for (size_t row = 0; row < w->n_rows; row++)
        put_table_row(w, w->cells + row * w->n_columns);
    clear_cells(w->cells, w->n_rows * w->n_columns);
    w->n_rows = 0;
    w->header_written = true;
}

static int to_text_cells(const struct report_cell *cells, size_t n, struct text_cell *ret)
{
    for (size_t i = 0; i < n; i++) {
        switch (cells[i].type) {
        case CELL_NULL:
            ret[i] = (struct text_cell){strdup("-"), false};
            break;
        case CELL_INTEGER:
            ret[i].number = true;
            if (asprintf(&ret[i].text, "%" PRId64, cells[i].integer) < 0)
                ret[i].text = NULL;
            break;
        case CELL_TEXT:
            ret[i] = (struct text_cell){printable(cells[i].text), false};
            break;
        }
        if (!ret[i].text) {
            clear_cells(ret, i);
            return -ENOMEM;
        }
    }
    return 0;
}

static int table_row(struct writer *w, const struct report_cell *cells, size_t n)
{
    struct text_cell row[REPORT_MAX_COLUMNS];
    int r;

    if (!w->cells) {
        w->cells = calloc((size_t)ROWS_FOR_WIDTHS * REPORT_MAX_COLUMNS, sizeof(*w->cells));
        if (!w->cells)
            return -ENOMEM;
    }
    r = to_text_cells(cells, n, row);
    if (r < 0)
        return r;
    if (w->n_rows == ROWS_FOR_WIDTHS)
        flush_table(w);
    if (w->header_written) {
        put_table_row(w, row);
        clear_cells(row, n);
    } else {
        memcpy(w->cells + w->n_rows * n, row, n * sizeof(*row));
        w->n_rows++;
    }
    return 0;
}

static int record_row(struct writer *w, const struct report_cell *cells, size_t n)
{
    struct text_cell row[REPORT_MAX_COLUMNS];
    int width = 0;
    int r;

    r = to_text_cells(cells, n, row);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        if (width_of(w->columns[i]) > width)
            width = width_of(w->columns[i]);
    if (w->any_row)
        fputc('\n', w->out);
    for (size_t i = 0; i < n; i++)
        fprintf(w->out, "%-*s  %s\n", width, w->columns[i], row[i].text);
    clear_cells(row, n);
    return 0;
}

/* --- csv and json -------------------------------------------------------------------------------
 */

static void csv_row(const struct writer *w, const struct report_cell *cells, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            fputc(',', w->out);
        switch (cells[i].type) {
        case CELL_NULL:
            break;
        case CELL_INTEGER:
            fprintf(w->out, "%" PRId64, cells[i].integer);
            break;
        case CELL_TEXT:
            put_csv_text(w->out, cells[i].text);
            break;
        }
    }
    fputs("\r\n", w->out);
}

static void json_row(const struct writer *w, const struct report_cell *cells, size_t n)
{
    fputs(w->any_row ? ",\n{" : "[\n{", w->out);
    if (w->section) {
        fputs("\"section\":", w->out);
        put_json_string(w->out, w->section);
    }
    for (size_t i = 0; i < n; i++) {
        if (i > 0 || w->section)
            fputc(',', w->out);
        put_json_string(w->out, w->columns[i]);
        fputc(':', w->out);
        switch (cells[i].type) {
        case CELL_NULL:
            fputs("null", w->out);
            break;
        case CELL_INTEGER:
            fprintf(w->out, "%" PRId64, cells[i].integer);
            break;
        case CELL_TEXT:
            put_json_string(w->out, cells[i].text);
            break;
        }
    }
    fputc('}', w->out);
}

/* --- the writer ---------------------------------------------------------------------------------
 */

struct writer *writer_new(FILE *out, enum writer_format format)
{
    struct writer *w = calloc(1, sizeof(*w));

    if (w) {
        w->out = out;
        w->format = format;
    }
    return w;
}

static void forget_columns(struct writer *w)
{
    for (size_t i = 0; i < w->n_columns; i++)
        free(w->columns[i]);
    w->n_columns = 0;
}

struct writer *writer_free(struct writer *writer)
{
    if (!writer)
        return NULL;
    if (writer->cells)
        clear_cells(writer->cells, writer->n_rows * writer->n_columns);
    free(writer->cells);
    forget_columns(writer);
    free(writer);
    return NULL;
}

static void end_section(struct writer *w)
{
    if (w->format == WRITER_JSON)
        return;
    if (w->section && !w->any_row)
        fputs("none\n", w->out);
    else if (w->format == WRITER_TABLE)
        flush_table(w);
}

void writer_section(struct writer *writer, const char *title, enum writer_format layout)
{
    assert(writer->format != WRITER_CSV);
    if (writer->format != WRITER_JSON) {
        end_section(writer);
        fprintf(writer->out, "%s%s:\n", writer->section ? "\n" : "", title);
        writer->any_row = false;
        forget_columns(writer);
        writer->format = layout;
    }
    writer->section = title;
}

static int begin(void *userdata, const char *const *columns, size_t n)
{
    struct writer *w = userdata;

    assert(n <= REPORT_MAX_COLUMNS);
    assert(w->section || w->n_columns == 0);
    forget_columns(w);
    w->header_written = false;
    for (size_t i = 0; i < n; i++) {
        w->columns[i] = strdup(columns[i]);
        if (!w->columns[i])
            return -ENOMEM;
        w->n_columns++;
    }
    if (w->format == WRITER_CSV) {
        for (size_t i = 0; i < n; i++) {
            if (i > 0)
                fputc(',', w->out);
            put_csv_text(w->out, columns[i]);
        }
        fputs("\r\n", w->out);
    }
    return 0;
}

static int row(void *userdata, const struct report_cell *cells, size_t n)
{
    struct writer *w = userdata;
    int r = 0;

    assert(n == w->n_columns);
    switch (w->format) {
    case WRITER_TABLE:
        r = table_row(w, cells, n);
        break;
    case WRITER_RECORD:
        r = record_row(w, cells, n);
        break;
    case WRITER_CSV:
        csv_row(w, cells, n);
        break;
    case WRITER_JSON:
        json_row(w, cells, n);
        break;
    }
    w->any_row = true;
    return r == 0 && ferror(w->out) ? -EIO : r;
}

struct report_sink writer_sink(struct writer *writer)
{
    return (struct report_sink){begin, row, writer};
}

int writer_end(struct writer *writer)
{
    end_section(writer);
    if (writer->format == WRITER_JSON)
        fputs(writer->any_row ? "\n]\n" : "[]\n", writer->out);
    errno = 0;
    if (fflush(writer->out) != 0 || ferror(writer->out))
        return errno ? -errno : -EIO;
    return 0;
}
