#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/cleanup.h"
#include "ctl/writer.h"

static const struct report_cell null_cell = {.type = CELL_NULL};

static struct report_cell text(const char *s)
{
    return (struct report_cell){.type = CELL_TEXT, .text = s};
}

static struct report_cell number(int64_t i)
{
    return (struct report_cell){.type = CELL_INTEGER, .integer = i};
}

/* What rows of the columns a and b come out as. To be freed. */
static char *write_rows(enum writer_format format, const struct report_cell (*rows)[2], size_t n)
{
    static const char *const columns[] = {"a", "b"};
    char *output;
    size_t size;
    FILE *out = open_memstream(&output, &size);
    struct writer *writer = writer_new(out, format);
    const struct report_sink sink = writer_sink(writer);

    assert_int_equal(sink.begin(sink.userdata, columns, 2), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(sink.row(sink.userdata, rows[i], 2), 0);
    assert_int_equal(writer_end(writer), 0);
    writer_free(writer);
    fclose(out);
    return output;
}

#define assert_written(format, rows, n, expected)                                                  \
    do {                                                                                           \
        _cleanup_free_ char *output_ = write_rows(format, rows, n);                                \
        assert_string_equal(output_, expected);                                                    \
    } while (0)

static void table_is_aligned(void **state)
{
    const struct report_cell rows[][2] = {
        {text("x"), number(5)}, {text("M\xc3\xbcller"), number(-1234)}, {null_cell, null_cell}};

    (void)state;
    assert_written(WRITER_TABLE, rows, 3,
                   "a           b\n"
                   "x           5\n"
                   "M\xc3\xbcller  -1234\n"
                   "-       -\n");
    assert_written(WRITER_TABLE, rows, 0, "a  b\n");
}

/* A record of the API must not steer a terminal: escapes, C1, direction, and bytes that are none.
 */
static void table_and_record_are_safe_to_print(void **state)
{
    const struct report_cell rows[][2] = {
        {text("\x1b[2J\r\n"), text("\xc2\x9b\x7f\xe2\x80\xae\xff\xc3")}};

    (void)state;
    assert_written(WRITER_TABLE, rows, 1, "a       b\n?[2J??  ?????\n");
    assert_written(WRITER_RECORD, rows, 1, "a  ?[2J??\nb  ?????\n");
}

static void long_table_flows(void **state)
{
    enum { ROWS = 2500 };
    struct report_cell(*rows)[2] = calloc(ROWS, sizeof(*rows));
    _cleanup_free_ char *output = NULL;
    size_t lines = 0;

    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        rows[i][0] = text("t");
        rows[i][1] = number((int64_t)i);
    }
    output = write_rows(WRITER_TABLE, (const struct report_cell(*)[2])rows, ROWS);
    for (const char *p = output; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, ROWS + 1);
    assert_non_null(strstr(output, "\nt  999\nt  1000\nt  1001\n"));
    assert_non_null(strstr(output, "\nt  2499\n"));
    free(rows);
}

static void csv_follows_rfc_4180(void **state)
{
    const struct report_cell rows[][2] = {
        {text("plain"), number(INT64_MIN)}, {null_cell, text("")},
        {text("a,b"), text("say \"hi\"")},  {text("two\nlines"), text("cr\r")},
        {text(" lead"), text("trail ")},
    };

    (void)state;
    assert_written(WRITER_CSV, rows, 5,
                   "a,b\r\n"
                   "plain,-9223372036854775808\r\n"
                   ",\"\"\r\n"
                   "\"a,b\",\"say \"\"hi\"\"\"\r\n"
                   "\"two\nlines\",\"cr\r\"\r\n"
                   "\" lead\",\"trail \"\r\n");
    assert_written(WRITER_CSV, rows, 0, "a,b\r\n");
}

static void json_is_one_array(void **state)
{
    const struct report_cell rows[][2] = {{text("x"), number(5)}, {null_cell, text("")}};

    (void)state;
    assert_written(WRITER_JSON, rows, 2, "[\n{\"a\":\"x\",\"b\":5},\n{\"a\":null,\"b\":\"\"}\n]\n");
    assert_written(WRITER_JSON, rows, 0, "[]\n");
}

/* Texts of any bytes but NUL, with many that are special. */
static void random_text(char *to, size_t size)
{
    static const char *const pieces[] = {
        "\"",           "\\",   ",", "\r",       "\n",           "\t",
        "\x01",         "\x7f", " ", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
        "\xe2\x80\xa8", "a",    "0"};
    size_t n = 0;

    while (n + 5 < size && rand() % 12) {
        if (rand() % 8)
            n += (size_t)snprintf(to + n, size - n, "%s",
                                  pieces[(size_t)rand() % ELEMENTSOF(pieces)]);
        else
            to[n++] = (char)(1 + rand() % 255);
    }
    to[n] = '\0';
}

/* Jansson is the judge of what is JSON, and of what UTF-8 is valid. */
static void json_is_read_back(void **state)
{
    (void)state;
    srand(7);
    for (int i = 0; i < 20000; i++) {
        _cleanup_free_ char *output = NULL;
        char s[64], t[64];
        const struct report_cell row[][2] = {{text(s), text(t)}};
        json_t *array, *valid;
        const char *read;

        random_text(s, sizeof(s));
        random_text(t, sizeof(t));
        output = write_rows(WRITER_JSON, row, 1);
        array = json_loads(output, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(array);
        assert_int_equal(json_array_size(array), 1);
        read = json_string_value(json_object_get(json_array_get(array, 0), "a"));
        assert_non_null(read);
        valid = json_string(s);
        if (valid)
            assert_string_equal(read, s);
        else
            assert_non_null(strstr(read, "\xef\xbf\xbd"));
        json_decref(valid);
        json_decref(array);
    }
}

/* Reads one field the way RFC 4180 says; returns what follows it. */
static const char *read_csv_field(const char *p, char *to, size_t size)
{
    size_t n = 0;

    if (*p == '"') {
        for (p++; *p && !(p[0] == '"' && p[1] != '"'); p++) {
            p += *p == '"';
            to[n++] = *p;
        }
        p++;
    } else {
        for (; *p && *p != ',' && *p != '\r'; p++)
            to[n++] = *p;
    }
    assert_true(n < size);
    to[n] = '\0';
    return p;
}

static void csv_is_read_back(void **state)
{
    (void)state;
    srand(8);
    for (int i = 0; i < 20000; i++) {
        _cleanup_free_ char *output = NULL;
        char s[64], t[64], back[64];
        const struct report_cell row[][2] = {{text(s), text(t)}};
        const char *p;

        random_text(s, sizeof(s));
        random_text(t, sizeof(t));
        output = write_rows(WRITER_CSV, row, 1);
        p = read_csv_field(output + strlen("a,b\r\n"), back, sizeof(back));
        assert_string_equal(back, s);
        assert_int_equal(*p, ',');
        p = read_csv_field(p + 1, back, sizeof(back));
        assert_string_equal(back, t);
        assert_string_equal(p, "\r\n");
    }
}

static char *write_sections(enum writer_format format)
{
    static const char *const first[] = {"a"}, *const last[] = {"b", "c"};
    const struct report_cell one = number(1), two[] = {text("x"), null_cell};
    char *output;
    size_t size;
    FILE *out = open_memstream(&output, &size);
    struct writer *writer = writer_new(out, format);
    const struct report_sink sink = writer_sink(writer);

    writer_section(writer, "one", WRITER_TABLE);
    sink.begin(sink.userdata, first, 1);
    sink.row(sink.userdata, &one, 1);
    writer_section(writer, "empty", WRITER_TABLE);
    writer_section(writer, "no rows", WRITER_RECORD);
    sink.begin(sink.userdata, first, 1);
    writer_section(writer, "two", WRITER_RECORD);
    sink.begin(sink.userdata, last, 2);
    sink.row(sink.userdata, two, 2);
    sink.row(sink.userdata, two, 2);
    assert_int_equal(writer_end(writer), 0);
    writer_free(writer);
    fclose(out);
    return output;
}

static void sections(void **state)
{
    _cleanup_free_ char *table = write_sections(WRITER_TABLE), *json = write_sections(WRITER_JSON);

    (void)state;
    assert_string_equal(table, "one:\na\n1\n\nempty:\nnone\n\nno rows:\nnone\n\n"
                               "two:\nb  x\nc  -\n\nb  x\nc  -\n");
    assert_string_equal(json, "[\n{\"section\":\"one\",\"a\":1},\n"
                              "{\"section\":\"two\",\"b\":\"x\",\"c\":null},\n"
                              "{\"section\":\"two\",\"b\":\"x\",\"c\":null}\n]\n");
}

/* A full disk behind a redirection is a failure, not a short report. */
static void lost_output_is_an_error(void **state)
{
    const enum writer_format formats[] = {WRITER_TABLE, WRITER_RECORD, WRITER_CSV, WRITER_JSON};
    static const char *const columns[] = {"a"};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(formats); i++) {
        FILE *full = fopen("/dev/full", "w");
        struct writer *writer = writer_new(full, formats[i]);
        const struct report_sink sink = writer_sink(writer);
        const struct report_cell cell = text("x");

        sink.begin(sink.userdata, columns, 1);
        sink.row(sink.userdata, &cell, 1);
        assert_true(writer_end(writer) < 0);
        writer_free(writer);
        fclose(full);
    }
}

static void writer_can_be_dropped_half_way(void **state)
{
    static const char *const columns[] = {"a"};
    struct writer *writer = writer_new(stdout, WRITER_TABLE);
    const struct report_sink sink = writer_sink(writer);
    const struct report_cell cell = text("x");

    (void)state;
    sink.begin(sink.userdata, columns, 1);
    sink.row(sink.userdata, &cell, 1);
    assert_null(writer_free(writer));
    assert_null(writer_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_aligned),
        cmocka_unit_test(table_and_record_are_safe_to_print),
        cmocka_unit_test(long_table_flows),
        cmocka_unit_test(csv_follows_rfc_4180),
        cmocka_unit_test(json_is_one_array),
        cmocka_unit_test(json_is_read_back),
        cmocka_unit_test(csv_is_read_back),
        cmocka_unit_test(sections),
        cmocka_unit_test(lost_output_is_an_error),
        cmocka_unit_test(writer_can_be_dropped_half_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
