#include "base/array.h"

int compare_sizes(const void *left, const void *right)
{
    const size_t *a = left, *b = right;

    return COMPARE(*a, *b);
}

void array_sort(void *items, size_t n, size_t size, compare_function compare)
{
    if (n > 1)
        qsort(items, n, size, compare);
}

size_t array_find(const void *items, size_t n, size_t size, const void *key,
                  compare_function compare)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare((const char *)items + middle * size, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
