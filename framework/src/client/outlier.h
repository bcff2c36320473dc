/* client/outlier.h: who is worse than the others. Arithmetic only: client/balancer.c tells it what happens. */
#ifndef WEFT_CLIENT_OUTLIER_H
#define WEFT_CLIENT_OUTLIER_H

#include <stdatomic.h>
#include <stdbool.h>

#include <weft/outlier.h>
#include <weft/status.h>

/* What is known of one instance. All zero: nothing. */
typedef struct weft__outlier {
    /* Any thread. */
    atomic_uint in_row;               /* failures */
    atomic_uint_least64_t successes;  /* in this interval */
    atomic_uint_least64_t failures;   /* in this interval */
    atomic_uint_least64_t latency_ns; /* the sum of both */

    /* Guarded by who judges. */
    bool ejected;
    unsigned times; /* ejected, less one for each interval without */
    int64_t until_ns;
} weft__outlier;

/* Checks options and puts the defaults in; NULL is all defaults. 0; -EINVAL; -E2BIG. */
int weft__outlier_options(weft_outlier_options *out, const weft_outlier_options *options);

/* Counts a call. True: it is to be ejected at once, if there may be one more. If there may not, the next true comes
 * after as many failures again: an outage does not ask all the time. Any thread. */
bool weft__outlier_count(weft__outlier *outlier, const weft_outlier_options *options, weft_code code,
                         int64_t latency_ns);

/* Ejects one of `count` instances, of which `ejected` are, unless these are enough. Whether it did. */
bool weft__outlier_eject(weft__outlier *outlier, const weft_outlier_options *options, size_t count, size_t ejected,
                         int64_t now_ns);

/* Ends an interval: lets those back whose time is over, ejects those that stand out, and begins to count anew.
 * @return whether any came or went. */
bool weft__outlier_judge(weft__outlier *const *outliers, size_t count, const weft_outlier_options *options,
                         int64_t now_ns);

#endif
