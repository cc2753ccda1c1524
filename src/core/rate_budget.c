#include "core/rate_budget.h"

#include <stdlib.h>
#include <string.h>

/* The times of the latest requests, ascending. Only the latest `limit` matter: whether one more may
 * be made depends on the limit-th latest at most. */
struct rate_budget {
    unsigned limit;
    size_t n;
    int64_t times[];
};

struct rate_budget *rate_budget_new(unsigned limit)
{
    struct rate_budget *budget;

    if (limit == 0)
        limit = 1;
    budget = calloc(1, sizeof(*budget) + limit * sizeof(budget->times[0]));
    if (budget)
        budget->limit = limit;
    return budget;
}

struct rate_budget *rate_budget_free(struct rate_budget *budget)
{
    free(budget);
    return NULL;
}

void rate_budget_note(struct rate_budget *budget, int64_t at)
{
    int64_t *times = budget->times;
    size_t i = budget->n;

    while (i > 0 && times[i - 1] > at)
        i--;
    if (budget->n < budget->limit) {
        memmove(times + i + 1, times + i, (budget->n - i) * sizeof(times[0]));
        times[i] = at;
        budget->n++;
    } else if (i > 0) {
        /* Full: the oldest makes room. */
        memmove(times, times + 1, (i - 1) * sizeof(times[0]));
        times[i - 1] = at;
    }
}

static size_t share_of(unsigned limit, enum rate_priority priority)
{
    uint64_t share = limit;

    switch (priority) {
    case RATE_ORDER:
        break;
    case RATE_CYCLE:
        share = share * 9 / 10;
        break;
    case RATE_HISTORY:
        share = share * 4 / 5;
        break;
    }
    return share > 0 ? (size_t)share : 1;
}

int64_t rate_budget_wait(struct rate_budget *budget, enum rate_priority priority, int64_t now)
{
    size_t share = share_of(budget->limit, priority);
    int64_t free_at;

    /* A request in the future: the clock was set back, and how long ago it was made is no longer
     * known. "Just now" is the careful answer that ends after a minute. */
    for (size_t i = budget->n; i > 0 && budget->times[i - 1] > now; i--)
        budget->times[i - 1] = now;

    if (budget->n < share)
        return 0;
    free_at = budget->times[budget->n - share] + RATE_WINDOW_MS;
    return free_at > now ? free_at - now : 0;
}

unsigned rate_budget_used(const struct rate_budget *budget, int64_t now)
{
    unsigned used = 0;

    for (size_t i = budget->n; i > 0 && budget->times[i - 1] > now - RATE_WINDOW_MS; i--)
        used++;
    return used;
}

unsigned rate_budget_limit(const struct rate_budget *budget)
{
    return budget->limit;
}
