/* base/clock.h: the time, behind a vtable so that tests can make their own. */
#ifndef WEFT_BASE_CLOCK_H
#define WEFT_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include <weft/version.h>

typedef struct weft__clock weft__clock;

/* A clock of one's own embeds this first. Both functions may be called on any thread. */
struct weft__clock {
    int64_t (*now_ns)(weft__clock *self);  /* monotonic; for durations and deadlines */
    int64_t (*wall_ns)(weft__clock *self); /* since 1970-01-01 UTC; for people; may jump */
};

/* The system's CLOCK_MONOTONIC and CLOCK_REALTIME. Static. */
WEFT_API weft__clock *weft__clock_system(void);

/* `now_ns` + `duration_ns`, INT64_MAX ("never") when that overflows or the duration is INT64_MAX. */
static inline int64_t weft__clock_deadline_ns(int64_t now_ns, int64_t duration_ns)
{
    return duration_ns > INT64_MAX - now_ns ? INT64_MAX : now_ns + duration_ns;
}

/* Enough for any text of weft__wall_format. */
#define WEFT__WALL_SIZE 32

/**
 * Writes a wall time as RFC 3339 in UTC: "2026-01-02T03:04:05.678Z".
 *
 * @param wall_ns from the year 1970 to 2262 (earlier counts as 1970). @param digits of the second's fraction, 1 to 9.
 * @return the length.
 */
size_t weft__wall_format(char out[WEFT__WALL_SIZE], int64_t wall_ns, int digits);

#endif
