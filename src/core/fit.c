#include "core/fit.h"

#include <string.h>

#include "base/parse.h"

const char *fit_text(enum fit fit)
{
    switch (fit) {
    case FIT_CLAIM:
        return "claim";
    case FIT_REFERENCE:
        return "reference";
    case FIT_IDENTITY:
        return "identity";
    case FIT_AMOUNT:
        return "amount";
    case FIT_NOT_A_SALE:
        return "not a settled sale";
    case FIT_CLAIMED_BY_OTHER:
        return "belongs to another order";
    case FIT_OTHER_REFERENCE:
        return "carries another order's id";
    case FIT_CURRENCY:
        return "currency differs";
    case FIT_MONEY:
        return "amount differs";
    case FIT_TIME:
        return "outside the window";
    case FIT_LAST_FOUR:
        return "last four differ";
    case FIT_BIN:
        return "BIN differs";
    case FIT_BRAND:
        return "brand differs";
    case FIT_EMAIL:
        return "e-mail differs";
    case FIT_COUNT:
        break;
    }
    return "";
}

int64_t add_time(int64_t at, int64_t duration)
{
    int64_t sum;

    if (__builtin_add_overflow(at, duration, &sum))
        return duration < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

void attempts_span(const struct match_order *order, int64_t *ret_first, int64_t *ret_last)
{
    int64_t first = order->attempts[0].at, last = first;

    for (size_t i = 1; i < order->n_attempts; i++) {
        if (order->attempts[i].at < first)
            first = order->attempts[i].at;
        if (order->attempts[i].at > last)
            last = order->attempts[i].at;
    }
    *ret_first = first;
    *ret_last = last;
}

void match_window(const struct match_order *order, const struct match_settings *settings,
                  int64_t *ret_from, int64_t *ret_to)
{
    int64_t first, last;

    attempts_span(order, &first, &last);
    *ret_from = add_time(first, -settings->before);
    *ret_to = add_time(last, settings->after);
}

static bool in_window(const struct match_order *order, const struct match_sale *sale,
                      bool referenced, const struct match_settings *settings)
{
    struct match_settings wide = *settings;
    int64_t from, to;

    if (referenced && wide.before < wide.late_watch)
        wide.before = wide.late_watch;
    if (referenced && wide.after < wide.late_watch)
        wide.after = wide.late_watch;
    match_window(order, &wide, &from, &to);
    return from <= sale->at && sale->at <= to;
}

bool money_agrees(const struct match_attempt *attempt, const struct match_sale *sale)
{
    return money_equal(attempt->amount, sale->amount) || money_equal(attempt->amount, sale->net);
}

/* The first thing in the order of `enum fit` that does not agree with the attempt, or FIT_COUNT. */
static enum fit first_refusal(const struct match_attempt *attempt, const struct match_sale *sale,
                              bool timely, unsigned *ret_agrees)
{
    const struct card *a = &attempt->card, *b = &sale->card;
    size_t bin = strnlen(a->bin, sizeof(a->bin)), other_bin = strnlen(b->bin, sizeof(b->bin));
    unsigned agrees = 0;

    if (strcmp(attempt->amount.currency, sale->amount.currency) != 0)
        return FIT_CURRENCY;
    if (!money_agrees(attempt, sale))
        return FIT_MONEY;
    if (!timely)
        return FIT_TIME;
    if (*a->last_four && *b->last_four) {
        if (strcmp(a->last_four, b->last_four) != 0)
            return FIT_LAST_FOUR;
        agrees |= AGREES_LAST_FOUR;
    }
    /* A BIN has six to eight digits, of which a longer form only says more. */
    if (other_bin < bin)
        bin = other_bin;
    if (bin >= BIN_COMMON_MIN) {
        if (memcmp(a->bin, b->bin, bin) != 0)
            return FIT_BIN;
        agrees |= AGREES_BIN;
    }
    /* Half of all cards share a brand: it can contradict, but it identifies nobody. */
    if (*a->brand && *b->brand && !text_equal_nocase(a->brand, b->brand))
        return FIT_BRAND;
    if (*a->email_hash && *b->email_hash) {
        if (strcmp(a->email_hash, b->email_hash) != 0)
            return FIT_EMAIL;
        agrees |= AGREES_EMAIL;
    }
    *ret_agrees |= agrees;
    return FIT_COUNT;
}

enum fit compare_attempts(const struct match_attempt *attempts, size_t n_attempts,
                          const struct match_sale *sale, bool timely, unsigned *ret_agrees)
{
    enum fit furthest = FIT_CURRENCY;

    *ret_agrees = 0;
    for (size_t i = 0; i < n_attempts; i++) {
        enum fit refusal = first_refusal(&attempts[i], sale, timely, ret_agrees);

        if (refusal > furthest)
            furthest = refusal;
    }
    return furthest;
}

enum fit match_fit(const struct match_order *order, const struct match_sale *sale,
                   bool claimed_by_order, bool claimed_by_other,
                   const struct match_settings *settings)
{
    bool referenced = given(sale->order_ref) && strcmp(sale->order_ref, order->id) == 0;
    unsigned agrees;
    enum fit refusal;

    if (!sale->is_sale)
        return FIT_NOT_A_SALE;
    if (claimed_by_other || (given(sale->sealed_for) && strcmp(sale->sealed_for, order->id) != 0))
        return FIT_CLAIMED_BY_OTHER;
    if (claimed_by_order)
        return FIT_CLAIM;
    if (given(sale->order_ref) && !referenced)
        return FIT_OTHER_REFERENCE;
    refusal = compare_attempts(order->attempts, order->n_attempts, sale,
                               in_window(order, sale, referenced, settings), &agrees);
    if (refusal != FIT_COUNT)
        return refusal;
    if (referenced)
        return FIT_REFERENCE;
    return agrees ? FIT_IDENTITY : FIT_AMOUNT;
}

bool sale_reversed(const struct match_sale *sale)
{
    return sale->voided || (sale->amount.minor > 0 && sale->returned_minor >= sale->amount.minor);
}
