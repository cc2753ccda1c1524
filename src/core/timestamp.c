#include "core/timestamp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"

#define SECOND_MS      INT64_C(1000)
#define MINUTE_MS      (60 * SECOND_MS)
#define DAY_MS         (24 * 60 * MINUTE_MS)
#define LAST_INSTANT   INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */
#define DAYS_PER_ERA   146097                   /* the Gregorian calendar repeats: 400 years */
#define EPOCH_FROM_ERA 719468                   /* days from 0000-03-01 to 1970-01-01 */

struct civil {
    int year, month, day, hour, minute, second, millisecond;
};

/* Both directions count years from March, so that the leap day is a year's last, and days from
 * 0000-03-01: within such a year (153 * m + 2) / 5 is the day on which its month m begins. */

static int64_t days_from_civil(int year, int month, int day)
{
    int y = month > 2 ? year : year - 1;
    int m = month > 2 ? month - 3 : month + 9;
    int era = y / 400, year_of_era = y % 400;
    int day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * m + 2) / 5 + day - 1;

    return (int64_t)era * DAYS_PER_ERA + day_of_era - EPOCH_FROM_ERA;
}

static struct civil civil_from_ms(int64_t ms)
{
    int64_t days = ms / DAY_MS + EPOCH_FROM_ERA;
    int rest = (int)(ms % DAY_MS);
    int era = (int)(days / DAYS_PER_ERA), day_of_era = (int)(days % DAYS_PER_ERA);
    int year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int m = (5 * day_of_year + 2) / 153;

    return (struct civil){
        .year = era * 400 + year_of_era + (m >= 10),
        .month = m < 10 ? m + 3 : m - 9,
        .day = day_of_year - (153 * m + 2) / 5 + 1,
        .hour = rest / 3600000,
        .minute = rest / 60000 % 60,
        .second = rest / 1000 % 60,
        .millisecond = rest % 1000,
    };
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && leap);
}

static int ms_from_civil(const struct civil *civil, int offset_minutes, int64_t *ret_ms)
{
    int64_t ms;

    if (civil->month < 1 || civil->month > 12 || civil->day < 1 ||
        civil->day > days_in_month(civil->year, civil->month))
        return -EINVAL;
    if (civil->hour > 23 || civil->minute > 59 || civil->second > 60)
        return -EINVAL;
    ms = days_from_civil(civil->year, civil->month, civil->day) * DAY_MS +
         (civil->hour * 60 + civil->minute - offset_minutes) * MINUTE_MS +
         civil->second * SECOND_MS + civil->millisecond;
    /* The offset or a leap second may carry the instant out of the years that can be written. */
    if (ms < 0 || ms > LAST_INSTANT)
        return -EINVAL;
    *ret_ms = ms;
    return 0;
}

/* The scanners below step over what they have taken; once one has failed, the text is refused. */

static bool take_char(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Exactly `n` digits. */
static bool take_number(const char **p, int n, int *ret)
{
    int value = 0;

    for (int i = 0; i < n; i++, (*p)++) {
        if (!is_digit(**p))
            return false;
        value = value * 10 + (**p - '0');
    }
    *ret = value;
    return true;
}

static bool take_time(const char **p, struct civil *civil)
{
    return take_number(p, 2, &civil->hour) && take_char(p, ':') &&
           take_number(p, 2, &civil->minute) && take_char(p, ':') &&
           take_number(p, 2, &civil->second);
}

/* At least one digit; those beyond the millisecond are cut off. */
static bool take_fraction(const char **p, int *ret_ms)
{
    int ms = 0, weight = 100;

    if (!is_digit(**p))
        return false;
    for (; is_digit(**p); (*p)++, weight /= 10)
        ms += (**p - '0') * weight;
    *ret_ms = ms;
    return true;
}

static bool take_offset(const char **p, int *ret_minutes)
{
    int sign, hours, minutes;

    if (take_char(p, 'Z') || take_char(p, 'z'))
        return true;
    if (take_char(p, '+'))
        sign = 1;
    else if (take_char(p, '-'))
        sign = -1;
    else
        return false;
    if (!take_number(p, 2, &hours))
        return false;
    take_char(p, ':');
    if (!take_number(p, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_minutes = sign * (hours * 60 + minutes);
    return true;
}

int timestamp_parse(const char *text, int64_t *ret_ms)
{
    const char *p = text;
    struct civil civil = {0};
    int offset = 0;

    if (!take_number(&p, 4, &civil.year) || !take_char(&p, '-') ||
        !take_number(&p, 2, &civil.month) || !take_char(&p, '-') || !take_number(&p, 2, &civil.day))
        return -EINVAL;
    if (!take_char(&p, 'T') && !take_char(&p, 't') && !take_char(&p, ' '))
        return -EINVAL;
    if (!take_time(&p, &civil))
        return -EINVAL;
    if (take_char(&p, '.') && !take_fraction(&p, &civil.millisecond))
        return -EINVAL;
    if (*p && !take_offset(&p, &offset))
        return -EINVAL;
    if (*p)
        return -EINVAL;
    return ms_from_civil(&civil, offset, ret_ms);
}

static struct civil civil_within_range(int64_t ms)
{
    return civil_from_ms(ms < 0 ? 0 : ms > LAST_INSTANT ? LAST_INSTANT : ms);
}

char *timestamp_format(int64_t ms, char buffer[TIMESTAMP_TEXT_SIZE])
{
    struct civil c = civil_within_range(ms);

    snprintf(buffer, TIMESTAMP_TEXT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", c.year, c.month,
             c.day, c.hour, c.minute, c.second, c.millisecond);
    return buffer;
}

char *timestamp_format_query(int64_t ms, char buffer[TIMESTAMP_TEXT_SIZE])
{
    struct civil c = civil_within_range(ms);

    snprintf(buffer, TIMESTAMP_TEXT_SIZE, "%04d-%02d-%02d %02d:%02d:%02d", c.year, c.month, c.day,
             c.hour, c.minute, c.second);
    return buffer;
}

/* Takes one of the names, the way the standard spells it. */
static bool take_name(const char **p, const char *const *names, size_t n, int *ret_index)
{
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(names[i]);

        if (strncmp(*p, names[i], length) == 0) {
            *p += length;
            *ret_index = (int)i;
            return true;
        }
    }
    return false;
}

static bool take_month(const char **p, int *ret_month)
{
    static const char *const names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int index;

    if (!take_name(p, names, ELEMENTSOF(names), &index))
        return false;
    *ret_month = index + 1;
    return true;
}

/* Sun, 06 Nov 1994 08:49:37 GMT; from behind the comma. */
static bool take_imf_fixdate(const char **p, struct civil *civil)
{
    return take_char(p, ' ') && take_number(p, 2, &civil->day) && take_char(p, ' ') &&
           take_month(p, &civil->month) && take_char(p, ' ') && take_number(p, 4, &civil->year) &&
           take_char(p, ' ') && take_time(p, civil) && text_equal_nocase(*p, " GMT");
}

/* Sunday, 06-Nov-94 08:49:37 GMT; from behind the comma. The century is not written; the program
 * has no use for instants before 1970. */
static bool take_rfc850(const char **p, struct civil *civil)
{
    if (!take_char(p, ' ') || !take_number(p, 2, &civil->day) || !take_char(p, '-') ||
        !take_month(p, &civil->month) || !take_char(p, '-') || !take_number(p, 2, &civil->year) ||
        !take_char(p, ' ') || !take_time(p, civil))
        return false;
    civil->year += civil->year < 70 ? 2000 : 1900;
    return text_equal_nocase(*p, " GMT");
}

/* Sun Nov  6 08:49:37 1994; from behind the day's name. */
static bool take_asctime(const char **p, struct civil *civil)
{
    if (!take_char(p, ' ') || !take_month(p, &civil->month) || !take_char(p, ' '))
        return false;
    if (!take_number(p, take_char(p, ' ') ? 1 : 2, &civil->day) || !take_char(p, ' '))
        return false;
    return take_time(p, civil) && take_char(p, ' ') && take_number(p, 4, &civil->year) &&
           **p == '\0';
}

int timestamp_parse_http(const char *text, int64_t *ret_ms)
{
    /* Each long name stands before the short one that it begins with. */
    static const char *const days[] = {"Monday",   "Tuesday", "Wednesday", "Thursday", "Friday",
                                       "Saturday", "Sunday",  "Mon",       "Tue",      "Wed",
                                       "Thu",      "Fri",     "Sat",       "Sun"};
    const char *p = text;
    struct civil civil = {0};
    int day;
    bool ok;

    /* Whether the day's name fits the date does not change the instant. */
    if (!take_name(&p, days, ELEMENTSOF(days), &day))
        return -EINVAL;
    if (day < 7)
        ok = take_char(&p, ',') && take_rfc850(&p, &civil);
    else if (take_char(&p, ','))
        ok = take_imf_fixdate(&p, &civil);
    else
        ok = take_asctime(&p, &civil);
    return ok ? ms_from_civil(&civil, 0, ret_ms) : -EINVAL;
}

int64_t timestamp_floor_second(int64_t ms)
{
    int64_t rest = ms % SECOND_MS;

    return ms - rest - (rest < 0 ? SECOND_MS : 0);
}

int64_t timestamp_ceil_second(int64_t ms)
{
    int64_t rest = ms % SECOND_MS;

    return ms - rest + (rest > 0 ? SECOND_MS : 0);
}
