#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "remote/json_text.h"

#define DEL "\x7f"

/* Loads `text`, `n` bytes of it, and compares it dumped again with `expected` (NULL: refused). */
static void check_n(const char *text, size_t n, const char *expected)
{
    /* A copy of exactly the size, so that a sanitizer sees a read beyond it. */
    _cleanup_free_ char *copy = malloc(n);
    _cleanup_free_ char *dump = NULL;
    struct error err = {0};
    json_t *root = NULL;
    int r;

    memcpy(copy, text, n);
    r = json_text_load(copy, n, &root, &err);
    if (!expected) {
        if (r != -EBADMSG)
            fail_msg("taken (%d): %.100s", r, text);
        assert_null(root);
        assert_int_equal(err.code, -EBADMSG);
        return;
    }
    if (r != 0)
        fail_msg("refused: %s: %.100s", err.text, text);
    dump = json_text_dump(root);
    json_decref(root);
    assert_string_equal(dump, expected);
}

static void check(const char *text, const char *expected)
{
    check_n(text, strlen(text), expected);
}

static void test_numbers_are_kept(void **state)
{
    static const char *const numbers[] = {
        "0",
        "-0",
        "1.10",
        "0.000000000000000000000000000000000000001",
        "1e5",
        "1E+5",
        "-1.5e-7",
        "99999999999999999999999999999999999999999999999999",
        "12345678901234567890.123456789",
        "1e999999999",
        "-9223372036854775809",
    };
    static const char *const others[] = {
        "01",    "1.",  ".5",       "-",         "+1",  "1e", "1e+",    "--1", "0x10",
        "1.2.3", "NaN", "Infinity", "-Infinity", "1 2", "1a", "1\"a\"", "- 1", "1_000",
    };
    char text[200];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(numbers); i++) {
        json_t *root = NULL;

        snprintf(text, sizeof(text), "[%s]", numbers[i]);
        check(text, text);
        assert_int_equal(json_text_load(text, strlen(text), &root, NULL), 0);
        assert_string_equal(json_text_number(json_array_get(root, 0)), numbers[i]);
        assert_null(json_text_string(json_array_get(root, 0)));
        json_decref(root);
        snprintf(text, sizeof(text), "{\"a\":%s,\"b\":[%s,\"%s\"]}", numbers[i], numbers[i],
                 numbers[i]);
        check(text, text);
    }
    for (size_t i = 0; i < ELEMENTSOF(others); i++) {
        snprintf(text, sizeof(text), "[%s]", others[i]);
        check(text, NULL);
        snprintf(text, sizeof(text), "{\"a\":%s}", others[i]);
        check(text, NULL);
    }
}

/* A text must not be able to pass for a number, in a value or in what is dumped. */
static void test_mark_cannot_be_forged(void **state)
{
    static const char mixed[] = "[\"\\u00011\",\"1\",true]";
    json_t *root = NULL;

    (void)state;
    check("[\"\\u0001123\"]", "[\"" DEL "123\"]");
    check("[\"\x01"
          "123\"]",
          "[\"" DEL "123\"]");
    check("[\"a\\u0001123\"]", "[\"a\\u0001123\"]");
    check("[\"\\\"\\u0001,1\",5]", "[\"\\\"\\u0001,1\",5]");
    check("[\"\\\\\",7,\"\\\\\\\"\"]", "[\"\\\\\",7,\"\\\\\\\"\"]");
    check("{\"\\u0001k\":1}", "{\"" DEL "k\":1}");
    assert_int_equal(json_text_load(mixed, sizeof(mixed) - 1, &root, NULL), 0);
    for (size_t i = 0; i < 3; i++)
        assert_null(json_text_number(json_array_get(root, i)));
    assert_string_equal(json_text_string(json_array_get(root, 1)), "1");
    assert_null(json_text_string(json_array_get(root, 2)));
    assert_null(json_text_number(NULL));
    assert_null(json_text_string(NULL));
    json_decref(root);
}

static void test_broken_characters(void **state)
{
    (void)state;
    check("[\"a\\ud800b\"]", "[\"a" DEL "b\"]");
    check("[\"\\uDFFF\"]", "[\"" DEL "\"]");
    check("[\"\\ud800\\ud800\\udc00\"]", "[\"" DEL "\xf0\x90\x80\x80\"]");
    check("[\"\\ud83d\\ude00\"]", "[\"\xf0\x9f\x98\x80\"]");
    check("[\"\\ud83d\\n\"]", "[\"" DEL "\\n\"]");
    check("[\"\\ud83d\"]", "[\"" DEL "\"]");
    check("[\"a\\u0000b\"]", "[\"a" DEL "b\"]");
    check_n("[\"a\0b\"]", 7, "[\"a" DEL "b\"]");
    check("[\"\t\n\"]", "[\"" DEL DEL "\"]");
    check("[\"\xc3\xa9\xff\xc3\"]", "[\"\xc3\xa9" DEL DEL "\"]");
    check("[\"\xc0\x80\"]", "[\"" DEL DEL "\"]");                 /* overlong */
    check("[\"\xed\xa0\x80\"]", "[\"" DEL DEL DEL "\"]");         /* a surrogate in UTF-8 */
    check("[\"\xf4\x90\x80\x80\"]", "[\"" DEL DEL DEL DEL "\"]"); /* beyond U+10FFFF */
    check("[\"\xf4\x8f\xbf\xbf\xef\xbf\xbf\"]", "[\"\xf4\x8f\xbf\xbf\xef\xbf\xbf\"]");
    check("{\"k\\ud800\\u0000\xff\":1}", "{\"k" DEL DEL DEL "\":1}");
    check("\xef\xbb\xbf[1]", "[1]");
}

/* Every sequence of up to three bytes of interest in a string: what comes out is what jansson
 * takes, and it is the input where that was UTF-8. */
static void test_utf8_against_jansson(void **state)
{
    static const unsigned char bytes[] = {0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0,
                                          0xbf, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xed,
                                          0xee, 0xef, 0xf0, 0xf4, 0xf5, 0xff};
    enum { N = ELEMENTSOF(bytes) };

    (void)state;
    for (size_t i = 0; i < N * N * N * N; i++) {
        char text[9] = {'[',
                        '"',
                        (char)bytes[i % N],
                        (char)bytes[i / N % N],
                        (char)bytes[i / N / N % N],
                        (char)bytes[i / N / N / N],
                        '"',
                        ']',
                        '\0'};
        json_t *direct = json_loads(text, 0, NULL), *root = NULL;
        const char *value;

        assert_int_equal(json_text_load(text, 8, &root, NULL), 0);
        value = json_text_string(json_array_get(root, 0));
        if (direct)
            assert_string_equal(value, json_string_value(json_array_get(direct, 0)));
        else
            assert_non_null(strchr(value, JSON_TEXT_REPLACED));
        json_decref(direct);
        json_decref(root);
    }
}

static void test_not_json(void **state)
{
    static const char whole[] = "{\"a\":[1,\"b\\u00e9\\ud83d\\ude00\",true,null,{\"c\":-1.5e3}]}";
    static const char *const texts[] = {
        "",      " ",         "<html></html>", "1",           "\"a\"", "null",   "[1",
        "[1,]",  "{\"a\"}",   "{\"a\":}",      "{a:1}",       "['a']", "[1]]",   "[1] x",
        "[\"a]", "[\"\\x\"]", "[\"\\u12g4\"]", "[\"\\u12\"]", "[\"\\", "[\"\\u", "[\"\\ud8",
        "[tru]", "[True]",    "[truefalse]",   "[/**/1]",     "{,}",
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(texts); i++)
        check(texts[i], NULL);
    /* Cut off anywhere, it is no JSON. */
    for (size_t n = 0; n < sizeof(whole) - 1; n++)
        check_n(whole, n, NULL);
    check(whole, "{\"a\":[1,\"b\xc3\xa9\xf0\x9f\x98\x80\",true,null,{\"c\":-1.5e3}]}");
    check_n("[1]\0", 4, NULL);
}

/* What an error says is logged, so it must quote nothing. */
static void test_errors_quote_nothing(void **state)
{
    static const char *const texts[] = {"{\"email\":jane@example.com}", "[\"jane@example.com",
                                        "{\"a\":\"jane@example.com\"\"b\"}", "jane@example.com"};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
        struct error err = {0};
        json_t *root = NULL;

        assert_int_equal(json_text_load(texts[i], strlen(texts[i]), &root, &err), -EBADMSG);
        assert_null(strstr(err.text, "jane"));
        assert_true(err.text[0]);
    }
}

static void test_last_of_equal_keys_counts(void **state)
{
    (void)state;
    check("{\"a\":1,\"a\":2}", "{\"a\":2}");
}

/* --- memory: what jansson holds at its peak, whatever comes ------------------------ */

static size_t held, peak;

static void *counting_malloc(size_t n)
{
    void *memory = malloc(n);

    if (memory)
        held += malloc_usable_size(memory) + 16; /* and malloc's own header */
    if (held > peak)
        peak = held;
    return memory;
}

static void counting_free(void *memory)
{
    if (memory)
        held -= malloc_usable_size(memory) + 16;
    free(memory);
}

static void check_memory(const char *prefix, const char *repeated, const char *suffix, size_t slack)
{
    enum { SIZE = 16 * 1024 * 1024 };
    _cleanup_free_ char *text = malloc(SIZE + 1);
    size_t n = strlen(prefix), step = strlen(repeated), end = strlen(suffix);
    json_t *root = NULL;

    assert_non_null(text);
    memcpy(text, prefix, n);
    while (n + step + end < SIZE) {
        memcpy(text + n, repeated, step);
        n += step;
    }
    memcpy(text + n, suffix, end + 1);
    held = peak = 0;
    json_set_alloc_funcs(counting_malloc, counting_free);
    if (json_text_load(text, n + end, &root, NULL) == 0)
        json_decref(root);
    json_set_alloc_funcs(malloc, free);
    assert_int_equal(held, 0);
    if (peak > JSON_TEXT_MAX_TREE + slack + 4096)
        fail_msg("%zu bytes for %s%s…", peak, prefix, repeated);
}

static void test_memory_is_bounded(void **state)
{
    enum {
        OBJECTS = 100000,
        /* jansson gathers a string in a buffer of its own, which it doubles. */
        ONE_STRING = 32 * 1024 * 1024,
    };
    static char objects[4 * OBJECTS + 3], text[1000];
    char *p = stpcpy(objects, "[0");

    (void)state;
    check_memory("[0", ",0", "]", 0);
    check_memory("[[]", ",[]", "]", 0);
    check_memory("[{}", ",{}", "]", 0);
    check_memory("[{\"a\":{}}", ",{\"a\":{}}", "]", 0);
    check_memory("[[0]", ",[0]", "]", 0);
    check_memory("[\"\"", ",\"\"", "]", 0);
    check_memory("[null", ",null", "]", 0);
    check_memory("[", "[", "", 0);
    check_memory("{\"a\":", "{\"a\":", "", 0);
    check_memory("[\"", "x", "\"]", ONE_STRING);
    check_memory("[", "9", "]", ONE_STRING);
    /* Many small values, then much text. */
    for (int i = 0; i < OBJECTS; i++)
        p = stpcpy(p, ",{}");
    snprintf(text, sizeof(text), ",\"%0900d\"", 0);
    check_memory(objects, text, "]", 0);
    stpcpy(p, ",\"");
    check_memory(objects, "x", "\"]", ONE_STRING);
}

/* Objects of many members, all different: the hash table grows as well. */
static void test_memory_of_keys(void **state)
{
    enum { SIZE = 16 * 1024 * 1024 };
    _cleanup_free_ char *text = malloc(SIZE + 64);
    size_t n = 1;
    json_t *root = NULL;

    (void)state;
    assert_non_null(text);
    text[0] = '{';
    for (unsigned i = 0; n < SIZE; i++)
        n += (size_t)snprintf(text + n, 64, "\"%u\":0,", i);
    n += (size_t)snprintf(text + n, 64, "\"z\":0}");
    held = peak = 0;
    json_set_alloc_funcs(counting_malloc, counting_free);
    assert_int_equal(json_text_load(text, n, &root, NULL), -EBADMSG);
    /* And as many as are taken. */
    for (n = SIZE; n > 0 && json_text_load(text, n, &root, NULL) < 0; n -= n / 16) {
        size_t cut = n;

        while (text[cut - 1] != ',')
            cut--;
        text[cut - 1] = '}';
        n = cut;
    }
    assert_non_null(root);
    json_decref(root);
    json_set_alloc_funcs(malloc, free);
    assert_int_equal(held, 0);
    assert_true(peak <= JSON_TEXT_MAX_TREE + 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_kept),
        cmocka_unit_test(test_mark_cannot_be_forged),
        cmocka_unit_test(test_broken_characters),
        cmocka_unit_test(test_utf8_against_jansson),
        cmocka_unit_test(test_not_json),
        cmocka_unit_test(test_errors_quote_nothing),
        cmocka_unit_test(test_last_of_equal_keys_counts),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_memory_of_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
