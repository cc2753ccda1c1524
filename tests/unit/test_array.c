#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/cleanup.h"

enum { MANY = 5000, FEW = 40 };

/* Under the address sanitizer a place that was not made room for ends the program. */
static void grows_one_at_a_time(void **state)
{
    _cleanup_free_ size_t *items = NULL;

    (void)state;
    for (size_t n = 0; n < MANY; n++) {
        assert_int_equal(ARRAY_GROW(items, n), 0);
        items[n] = n;
    }
    for (size_t n = 0; n < MANY; n++)
        assert_int_equal(items[n], n);
}

/* An array that was shortened, also to nothing, grows again. */
static void grows_after_it_was_shortened(void **state)
{
    _cleanup_free_ size_t *items = NULL;
    size_t n = 0;

    (void)state;
    for (size_t length = 1; length < 200; length++) {
        n = length % 3 == 0 ? 0 : n / 2;
        while (n < length) {
            assert_int_equal(ARRAY_GROW(items, n), 0);
            items[n++] = length;
        }
    }
    assert_int_equal(items[n - 1], 199);
}

static void nothing_is_sorted_and_searched(void **state)
{
    const size_t key = 7;

    (void)state;
    array_sort(NULL, 0, sizeof(size_t), compare_sizes);
    assert_int_equal(array_find(NULL, 0, sizeof(size_t), &key, compare_sizes), 0);
}

/* Beside going through all of them, with repeated items, ends and all lengths. */
static void finds_the_first_that_is_not_before(void **state)
{
    size_t items[FEW], x = 1;

    (void)state;
    for (size_t n = 0; n < FEW; n++) {
        for (size_t i = 0; i < n; i++) {
            x = x * 6364136223846793005U + 1442695040888963407U;
            items[i] = (x >> 33) % (n + 2);
        }
        array_sort(items, n, sizeof(*items), compare_sizes);
        for (size_t key = 0; key < n + 3; key++) {
            size_t first = 0;

            while (first < n && items[first] < key)
                first++;
            assert_int_equal(array_find(items, n, sizeof(*items), &key, compare_sizes), first);
        }
        for (size_t i = 1; i < n; i++)
            assert_true(items[i - 1] <= items[i]);
    }
}

static void compares_what_differs_by_more_than_an_int_holds(void **state)
{
    const size_t small = 1, large = (size_t)1 << 40;

    (void)state;
    assert_int_equal(compare_sizes(&small, &large), -1);
    assert_int_equal(compare_sizes(&large, &small), 1);
    assert_int_equal(compare_sizes(&large, &large), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_one_at_a_time),
        cmocka_unit_test(grows_after_it_was_shortened),
        cmocka_unit_test(nothing_is_sorted_and_searched),
        cmocka_unit_test(finds_the_first_that_is_not_before),
        cmocka_unit_test(compares_what_differs_by_more_than_an_int_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
