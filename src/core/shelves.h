/* Sales on shelves: what only amount, time and card may give to an order.
 *
 * Orders that ask for the same (amounts and cards) are answered from the same shelves, on which
 * sales stand by time. An order's candidates are then a stretch of a shelf, its window, and cost
 * nothing more however many they are. */
#pragma once

#include "core/match.h"

/* lists[begin] .. lists[end - 1] are the places of sales, ascending. */
struct shelf {
    size_t begin, end;
    enum fit fit; /* FIT_IDENTITY or FIT_AMOUNT */
    bool live;    /* else reversed */
};

enum { SHELVES_EACH = 4 };

struct shelves {
    size_t *lists;
    size_t n_lists;
    struct shelf *shelves; /* in the order of `lists`, in which they lie one after the other */
    size_t n_shelves;
    size_t (*of_order)[SHELVES_EACH]; /* the order's shelves: identity live, identity reversed,
                                       * amount live, amount reversed */
};

/* `orders` are by first attempt and `sales` by time; only what is `shelved`, and in some window of
 * those who ask, stands on a shelf. Fills `ret`, which shelves_clear() releases. 0 or -ENOMEM. */
int shelves_build(const struct match_order *const *orders, size_t n_orders,
                  const struct match_sale *const *sales, const bool *shelved, size_t n_sales,
                  const struct match_settings *settings, struct shelves *ret);
void shelves_clear(struct shelves *shelves);
