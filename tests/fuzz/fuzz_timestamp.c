/* timestamp_parse() and timestamp_parse_http() on any text: what is taken is written and read
 * again as the same instant, agrees with timegm(3), and a text of one form is none of the other. */
#include "fuzz.h"

#include <errno.h>
#include <time.h>

#include "core/timestamp.h"

enum { SECOND = 1000 };
static const int64_t last = 253402300799999; /* 9999-12-31T23:59:59.999Z */

static void require_written(int64_t ms)
{
    char text[TIMESTAMP_TEXT_SIZE], query[TIMESTAMP_TEXT_SIZE];
    time_t seconds = (time_t)(timestamp_floor_second(ms) / SECOND);
    char expected[64];
    struct tm tm;
    int64_t again;

    REQUIRE(timestamp_parse(timestamp_format(ms, text), &again) == 0 && again == ms);
    REQUIRE(strlen(text) == 24);
    REQUIRE(timestamp_parse(timestamp_format_query(ms, query), &again) == 0);
    REQUIRE(again == timestamp_floor_second(ms));
    REQUIRE(gmtime_r(&seconds, &tm));
    strftime(expected, sizeof(expected), "%Y-%m-%d %H:%M:%S", &tm);
    REQUIRE(strcmp(query, expected) == 0);
    strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    REQUIRE(timestamp_parse_http(expected, &again) == 0 && again == timestamp_floor_second(ms));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    int64_t ms = -7, http = -7;
    int r = timestamp_parse(text, &ms);
    int r_http = timestamp_parse_http(text, &http);

    REQUIRE(r == 0 || (r == -EINVAL && ms == -7));
    REQUIRE(r_http == 0 || (r_http == -EINVAL && http == -7));
    REQUIRE(r != 0 || r_http != 0);
    if (r_http == 0)
        ms = http;
    if (r == 0 || r_http == 0) {
        int64_t down = timestamp_floor_second(ms), up = timestamp_ceil_second(ms);

        REQUIRE(down % SECOND == 0 && up % SECOND == 0);
        REQUIRE(down <= ms && ms <= up && up - down == (ms % SECOND ? SECOND : 0));
        if (ms >= 0 && ms <= last)
            require_written(ms);
    }
    free(text);
    return 0;
}
