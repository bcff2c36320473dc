#include "base/clock.h"

#include <time.h>

#define NS_PER_S 1000000000

static int64_t read_ns(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now); /* cannot fail for the two clocks below */
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

static int64_t now_ns(weft__clock *self)
{
    (void)self;
    return read_ns(CLOCK_MONOTONIC);
}

static int64_t wall_ns(weft__clock *self)
{
    (void)self;
    return read_ns(CLOCK_REALTIME);
}

weft__clock *weft__clock_system(void)
{
    static weft__clock system = {.now_ns = now_ns, .wall_ns = wall_ns};

    return &system;
}

/* Writes `value` at `at` in `width` digits and returns what follows. */
static char *put_digits(char *at, int64_t value, int width)
{
    for (int i = width - 1; i >= 0; i--, value /= 10)
        at[i] = (char)('0' + value % 10);
    return at + width;
}

/* gmtime_r would do, but glibc guards it with a lock of the whole process. */
size_t weft__wall_format(char out[WEFT__WALL_SIZE], int64_t wall_ns, int digits)
{
    int64_t fraction = wall_ns > 0 ? wall_ns % NS_PER_S : 0;
    int64_t seconds = wall_ns > 0 ? wall_ns / NS_PER_S : 0;

    /* Count days from 1 March of the year 0, so that a leap day is the last of its year. 400 years are 146,097 days. */
    int64_t days = seconds / 86400 + 719468;
    int64_t era = days / 146097;
    int64_t era_day = days % 146097;
    int64_t era_year = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
    int64_t year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    int64_t march_month = (5 * year_day + 2) / 153; /* from March on, five months are 153 days */
    int64_t day = year_day - (153 * march_month + 2) / 5 + 1;
    int64_t month = march_month < 10 ? march_month + 3 : march_month - 9;
    int64_t year = era * 400 + era_year + (month <= 2 ? 1 : 0);

    char *at = put_digits(out, year, 4);
    *at++ = '-';
    at = put_digits(at, month, 2);
    *at++ = '-';
    at = put_digits(at, day, 2);
    *at++ = 'T';
    at = put_digits(at, seconds / 3600 % 24, 2);
    *at++ = ':';
    at = put_digits(at, seconds / 60 % 60, 2);
    *at++ = ':';
    at = put_digits(at, seconds % 60, 2);
    *at++ = '.';
    put_digits(at, fraction, 9);
    at += digits;
    *at++ = 'Z';
    *at = '\0';
    return (size_t)(at - out);
}
