#include "rate.h"

#include "memory.h"

enum { MINUTE = 60 * 1000 };

struct rate {
    unsigned limit;
    unsigned next;  /* where the next time goes; when full, it holds the oldest */
    unsigned taken; /* times in the ring */
    int64_t at[];
};

struct rate *rate_new(unsigned per_minute)
{
    struct rate *rate = must(calloc(1, sizeof(*rate) + per_minute * sizeof(rate->at[0])));

    rate->limit = per_minute;
    return rate;
}

struct rate *rate_free(struct rate *rate)
{
    free(rate);
    return NULL;
}

int64_t rate_take(struct rate *rate, int64_t now)
{
    if (rate->limit == 0)
        return 0;
    if (rate->taken == rate->limit) {
        int64_t wait = rate->at[rate->next] + MINUTE - now;

        if (wait > 0)
            return wait;
    } else {
        rate->taken++;
    }
    rate->at[rate->next] = now;
    rate->next = (rate->next + 1) % rate->limit;
    return 0;
}
