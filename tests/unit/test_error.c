#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"

enum { ROOM = sizeof(((struct error *)0)->text) - 1 };

static void test_set(void **state)
{
    struct error err = {0};

    (void)state;
    assert_int_equal(error_set(&err, -EIO, "%s: page %d", "transQuery", 3), -EIO);
    assert_int_equal(err.code, -EIO);
    assert_string_equal(err.text, "transQuery: page 3");
    assert_int_equal(error_set(&err, -EINVAL, "other"), -EINVAL);
    assert_int_equal(err.code, -EINVAL);
    assert_string_equal(err.text, "other");
}

static void test_nobody_listens(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, -EIO, "x"), -EIO);
    assert_int_equal(error_prefix(NULL, -ENOMEM, "x"), -ENOMEM);
}

static void test_prefix(void **state)
{
    struct error err = {0};

    (void)state;
    error_set(&err, -EIO, "disk full");
    assert_int_equal(error_prefix(&err, -ENOSPC, "ledger %s", "/a/b.db"), -ENOSPC);
    assert_int_equal(err.code, -ENOSPC);
    assert_string_equal(err.text, "ledger /a/b.db: disk full");
    error_prefix(&err, -ENOSPC, "start");
    assert_string_equal(err.text, "start: ledger /a/b.db: disk full");
}

/* A hostile server's text must neither forge a second line of the log nor drive a terminal. */
static void test_stays_one_line(void **state)
{
    struct error err = {0};

    (void)state;
    error_set(&err, -EIO, "a\nb\rc\td\x1b[31me\x7f.");
    assert_string_equal(err.text, "a b c d [31me .");
    error_set(&err, -EIO,
              "a\xc2\x85z \xc2\x9b"
              "31m"); /* next line and CSI of C1 */
    assert_string_equal(err.text, "a  z   31m");
    error_set(&err, -EIO, "J\xc3\xbcrgen \xc2\xa0\xe2\x82\xac"); /* no control characters */
    assert_string_equal(err.text, "J\xc3\xbcrgen \xc2\xa0\xe2\x82\xac");
    error_prefix(&err, -EIO, "x\ny");
    assert_string_equal(err.text, "x y: J\xc3\xbcrgen \xc2\xa0\xe2\x82\xac");
}

static void test_overlong_is_cut(void **state)
{
    struct error err = {0};
    char text[2 * ROOM + 1];

    (void)state;
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    error_set(&err, -EIO, "%s", text);
    assert_int_equal(strlen(err.text), ROOM);
}

/* A short prefix costs a text no more than its own length; the longest leaves half of it. */
static void test_prefix_keeps_the_text(void **state)
{
    struct error err = {0};
    char text[401], prefix[401];

    (void)state;
    memset(text, 'a', sizeof(text) - 1);
    memset(prefix, 'p', sizeof(prefix) - 1);
    text[sizeof(text) - 1] = prefix[sizeof(prefix) - 1] = '\0';

    error_set(&err, -EIO, "%s", text);
    error_prefix(&err, -EIO, "config");
    assert_int_equal(strlen(err.text), strlen("config: ") + strlen(text));
    assert_memory_equal(err.text, "config: aaa", 11);

    error_set(&err, -EIO, "%s", text);
    error_prefix(&err, -EIO, "%s", prefix);
    assert_int_equal(strlen(err.text), ROOM);
    assert_non_null(strstr(err.text, "ppp: aaa"));
    assert_true(strlen(strstr(err.text, ": ")) > ROOM / 2);
}

/* Wherever the cut falls, what was UTF-8 still is. */
static void test_cut_between_characters(void **state)
{
    static const char *const characters[] = {"\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x92\xb3"};

    (void)state;
    for (size_t i = 0; i < sizeof(characters) / sizeof(characters[0]); i++) {
        size_t length = strlen(characters[i]);

        for (size_t lead = 0; lead < 4; lead++) {
            struct error err = {0};
            char text[2 * ROOM + 8];

            memset(text, 'a', lead);
            for (size_t n = lead; n + length < sizeof(text); n += length)
                memcpy(text + n, characters[i], length + 1);
            error_set(&err, -EIO, "%s", text);
            assert_int_equal((strlen(err.text) - lead) % length, 0);
            assert_true(strlen(err.text) > ROOM - length);
            error_prefix(&err, -EIO, "pre");
            assert_int_equal((strlen(err.text) - lead - strlen("pre: ")) % length, 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_stays_one_line),
        cmocka_unit_test(test_overlong_is_cut),
        cmocka_unit_test(test_prefix_keeps_the_text),
        cmocka_unit_test(test_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
