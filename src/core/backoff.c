#include "core/backoff.h"

int64_t backoff_delay(int64_t base_ms, unsigned attempt, int64_t max_ms)
{
    if (base_ms <= 0 || max_ms <= 0)
        return 0;
    /* Compared before it is shifted, so that no attempt overflows. */
    if (attempt >= 63 || base_ms > max_ms >> attempt)
        return max_ms;
    return base_ms << attempt;
}
