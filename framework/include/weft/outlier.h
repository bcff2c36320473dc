/* weft/outlier.h: taking instances out of a channel's choice that answer worse than the others, for a while.
 *
 * What counts as a failure: UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN, DATA_LOSS, RESOURCE_EXHAUSTED and
 * UNIMPLEMENTED; not what the caller cancelled, nor an answer like NOT_FOUND.
 *
 *     picked ◀──ejection_ms x how often──▶ ejected ◀── failures in a row; or, at the end of an interval: success rate,
 *                                                      latency
 *
 * Sources: gRFC A50 (outlier detection); Envoy's "Outlier detection", for failures in a row.
 */
#ifndef WEFT_OUTLIER_H
#define WEFT_OUTLIER_H

#include <stddef.h>
#include <stdint.h>

#include <weft/version.h>

WEFT_BEGIN_DECLS

/* All fields are optional. */
typedef struct weft_outlier_options {
    size_t struct_size;           /* set by WEFT_OUTLIER_OPTIONS_INIT */
    int64_t failures_in_row;      /* that eject at once. Default: 5; -1: none do */
    int64_t interval_ms;          /* between looks at the rates. Default: 10,000 */
    int64_t ejection_ms;          /* of the first time; twice as long the second, and so on. Default: 30,000 */
    int64_t max_ejection_ms;      /* Default: 300,000 */
    int64_t max_ejected_percent;  /* of the instances; one may be ejected at any rate, if there are two. Default: 50 */
    int64_t success_rate_stdev;   /* in thousandths: an instance is ejected when its success rate is so many standard
                                     deviations below the mean of all. Default: 1,900; -1: none is */
    int64_t success_rate_calls;   /* in an interval, for an instance to be looked at. Default: 100 */
    int64_t success_rate_minimum; /* instances that are looked at, or none is ejected by its rate. Default: 5 */
    int64_t latency_percent; /* of the median: one that is slower on average is ejected; above 100. Default: none */
} weft_outlier_options;
#define WEFT_OUTLIER_OPTIONS_INIT WEFT__INIT(weft_outlier_options)

WEFT_END_DECLS
#endif
