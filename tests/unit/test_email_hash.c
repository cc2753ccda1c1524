#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <locale.h>
#include <sodium.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/email_hash.h"

DEFINE_CLEANUP(struct secret *, secret_free)

static struct secret *fixed_key(unsigned char byte)
{
    unsigned char bytes[EMAIL_KEY_SIZE];
    struct secret *key;

    memset(bytes, byte, sizeof(bytes));
    key = secret_new(bytes, sizeof(bytes));
    assert_non_null(key);
    return key;
}

static void assert_same(const struct secret *key, const char *a, const char *b, int same)
{
    char hash_a[EMAIL_HASH_SIZE], hash_b[EMAIL_HASH_SIZE];

    email_hash(key, a, hash_a);
    email_hash(key, b, hash_b);
    if ((strcmp(hash_a, hash_b) == 0) != same)
        fail_msg("\"%s\" and \"%s\" %s", a, b, same ? "differ" : "are the same");
}

/* The stored form is pinned: ledgers hold it. */
static void test_is_keyed_blake2b_of_the_folded_text(void **state)
{
    _cleanup_(secret_free_p) struct secret *key = fixed_key(7);
    static const char folded[] = "j\xc3\xbcrgen@example.com"; /* jürgen */
    unsigned char hash[16];
    char expected[EMAIL_HASH_SIZE], actual[EMAIL_HASH_SIZE];

    (void)state;
    crypto_generichash(hash, sizeof(hash), (const unsigned char *)folded, strlen(folded),
                       (const unsigned char *)secret_text(key), EMAIL_KEY_SIZE);
    sodium_bin2hex(expected, sizeof(expected), hash, sizeof(hash));
    email_hash(key, "J\xc3\x9cRGEN@Example.COM", actual);
    assert_string_equal(actual, expected);
    assert_int_equal(strlen(actual), 32);
}

static void test_case_and_outer_space_play_no_part(void **state)
{
    _cleanup_(secret_free_p) struct secret *key = fixed_key(1);

    (void)state;
    assert_same(key, "Jane@Example.com", "jANE@eXAMPLE.COM", 1);
    assert_same(key, " \t\r\njane@example.com\v\f ", "jane@example.com", 1);
    assert_same(key, "\xd0\x96@x.org", "\xd0\xb6@x.org", 1);     /* Ж, ж */
    assert_same(key, "\xc8\xba@x.org", "\xe2\xb1\xa5@x.org", 1); /* Ⱥ, ⱥ: of unequal length */
    assert_same(key, "\xf0\x90\x90\x80@x", "\xf0\x90\x90\xa8@x", 1); /* Deseret, beyond the BMP */
    assert_same(key, "jane@example.com", "jan@example.com", 0);
    assert_same(key, "jane@example.com", "ja ne@example.com", 0);
    assert_same(key, "\xc3\xbc@x.org", "u@x.org", 0);
    assert_same(key, "\xc3\xa9@x.org", "\xc3\xa8@x.org", 0);
}

/* The same whatever locale the program or the thread is in. */
static void test_locale_plays_no_part(void **state)
{
    _cleanup_(secret_free_p) struct secret *key = fixed_key(1);
    char in_c[EMAIL_HASH_SIZE], in_utf8[EMAIL_HASH_SIZE];
    locale_t before;

    (void)state;
    setlocale(LC_ALL, "C");
    before = uselocale((locale_t)0);
    email_hash(key, "\xc3\x9cmit@x.org", in_c);
    assert_ptr_equal(uselocale((locale_t)0), before);
    setlocale(LC_ALL, "C.UTF-8");
    email_hash(key, "\xc3\xbcMIT@x.org", in_utf8);
    assert_string_equal(in_c, in_utf8);
    assert_string_equal(setlocale(LC_ALL, NULL), "C.UTF-8");
    setlocale(LC_ALL, "C");
}

static void test_bytes_that_are_not_utf8(void **state)
{
    _cleanup_(secret_free_p) struct secret *key = fixed_key(1);

    (void)state;
    assert_same(key, "A\xff@x.org", "a\xff@X.ORG", 1);
    assert_same(key, "a\xff@x.org", "a\xfe@x.org", 0);
    assert_same(key, "a\xff@x.org", "a@x.org", 0);
    assert_same(key, "a@x.org\xe2\x82", "A@x.org\xe2\x82", 1); /* cut off in a character */
    assert_same(key, "a@x.org\xe2\x82", "a@x.org\xe2", 0);
    assert_same(key, "\xed\xa0\x80@x", "\xed\xa0\x81@x", 0); /* lone surrogates */
    assert_same(key, "\xc1\x81@x", "a@x", 0);                /* overlong 'A' is no letter */
}

static void test_empty_is_empty(void **state)
{
    _cleanup_(secret_free_p) struct secret *key = fixed_key(1);
    char hash[EMAIL_HASH_SIZE];

    (void)state;
    email_hash(key, "", hash);
    assert_string_equal(hash, "");
    email_hash(key, " \t ", hash);
    assert_string_equal(hash, "");
}

static void test_another_key_is_another_hash(void **state)
{
    _cleanup_(secret_free_p) struct secret *a = fixed_key(1);
    _cleanup_(secret_free_p) struct secret *b = fixed_key(2);
    char hash_a[EMAIL_HASH_SIZE], hash_b[EMAIL_HASH_SIZE];

    (void)state;
    email_hash(a, "jane@example.com", hash_a);
    email_hash(b, "jane@example.com", hash_b);
    assert_string_not_equal(hash_a, hash_b);
}

static void test_new_keys_differ(void **state)
{
    _cleanup_(secret_free_p) struct secret *a = email_key_new();
    _cleanup_(secret_free_p) struct secret *b = email_key_new();

    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(secret_length(a), EMAIL_KEY_SIZE);
    assert_memory_not_equal(secret_text(a), secret_text(b), EMAIL_KEY_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_keyed_blake2b_of_the_folded_text),
        cmocka_unit_test(test_case_and_outer_space_play_no_part),
        cmocka_unit_test(test_locale_plays_no_part),
        cmocka_unit_test(test_bytes_that_are_not_utf8),
        cmocka_unit_test(test_empty_is_empty),
        cmocka_unit_test(test_another_key_is_another_hash),
        cmocka_unit_test(test_new_keys_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
