/* retry_after_parse() on any text (the first byte chooses the time): always within its bounds, and
 * for whole seconds and HTTP dates what a plain reading says. */
#include "fuzz.h"

#include "core/retry_after.h"
#include "core/timestamp.h"

static int64_t at_most_maximum(int64_t ms)
{
    return ms < RETRY_AFTER_MAX_MS ? ms : RETRY_AFTER_MAX_MS;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t times[] = {
        0, 999, 784111777000, 784111477001, 1780000000123, 253402300799999};
    int64_t now, wait, date;
    size_t digits;
    char *text;

    if (size == 0)
        return 0;
    now = times[data[0] % (sizeof(times) / sizeof(times[0]))];
    text = fuzz_text(data + 1, size - 1);
    wait = retry_after_parse(text, now);
    REQUIRE(wait >= 0 && wait <= RETRY_AFTER_MAX_MS);
    REQUIRE(wait == retry_after_parse(text, now));
    digits = strspn(text, "0123456789");
    if (digits > 0 && text[digits] == '\0') {
        if (digits <= 9)
            REQUIRE(wait == at_most_maximum(strtol(text, NULL, 10) * 1000));
    } else if (timestamp_parse_http(text, &date) == 0) {
        REQUIRE(wait == (date <= now ? 0 : at_most_maximum(date - now)));
    } else if (!strpbrk(text, "0123456789")) {
        REQUIRE(wait == RETRY_AFTER_DEFAULT_MS);
    }
    free(text);
    return 0;
}
