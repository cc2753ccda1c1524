#include "core/interval.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void interval_set_clear(struct interval_set *set)
{
    free(set->items);
    *set = (struct interval_set){0};
}

/* Opens a gap of one item at `at`. */
static int insert_gap(struct interval_set *set, size_t at)
{
    if (set->n == set->allocated) {
        size_t allocated = set->allocated ? 2 * set->allocated : 8;
        struct interval *items = reallocarray(set->items, allocated, sizeof(*items));

        if (!items)
            return -ENOMEM;
        set->items = items;
        set->allocated = allocated;
    }
    memmove(set->items + at + 1, set->items + at, (set->n - at) * sizeof(set->items[0]));
    set->n++;
    return 0;
}

/* Index of the first member that ends at or after `instant`; n if none does. */
static size_t first_reaching(const struct interval_set *set, int64_t instant)
{
    size_t low = 0, high = set->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (set->items[middle].to < instant)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int interval_set_add(struct interval_set *set, int64_t from, int64_t to)
{
    size_t first, end;

    if (from > to)
        return 0;
    /* The members [first, end) meet the new one and become one with it. */
    first = end = first_reaching(set, from);
    while (end < set->n && set->items[end].from <= to)
        end++;
    if (first == end) {
        int r = insert_gap(set, first);

        if (r < 0)
            return r;
        set->items[first] = (struct interval){from, to};
        return 0;
    }
    if (set->items[first].from < from)
        from = set->items[first].from;
    if (set->items[end - 1].to > to)
        to = set->items[end - 1].to;
    set->items[first] = (struct interval){from, to};
    memmove(set->items + first + 1, set->items + end, (set->n - end) * sizeof(set->items[0]));
    set->n -= end - first - 1;
    return 0;
}

int interval_set_subtract(struct interval_set *set, int64_t from, int64_t to)
{
    size_t first = first_reaching(set, from), kept = first;

    if (from > to || first == set->n)
        return 0;
    /* Only a hole within one member makes the set larger. No other member is met then. A hole of
     * no length is none. */
    if (from < to && set->items[first].from < from && set->items[first].to > to) {
        int r = insert_gap(set, first);

        if (r < 0)
            return r;
        set->items[first].to = from;
        set->items[first].from = set->items[first + 1].from;
        set->items[first + 1].from = to;
        return 0;
    }
    for (size_t i = first; i < set->n; i++) {
        struct interval item = set->items[i];

        if (item.from >= from && item.to <= to)
            continue;
        if (from < to) {
            if (item.from < from && item.to > from)
                item.to = from;
            else if (item.from < to && item.to > to)
                item.from = to;
        }
        set->items[kept++] = item;
    }
    set->n = kept;
    return 0;
}

bool interval_set_covers(const struct interval_set *set, int64_t from, int64_t to)
{
    size_t i;

    if (from > to)
        return false;
    i = first_reaching(set, to);
    return i < set->n && set->items[i].from <= from;
}
