#include "client/outlier.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "pick/endpoint.h"

static const int64_t ns_per_ms = 1000000;

int weft__outlier_options(weft_outlier_options *out, const weft_outlier_options *options)
{
    weft_outlier_options o;
    memset(&o, 0, sizeof o);
    int rc = weft__options_copy(&o, sizeof o, options);
    const struct {
        int64_t *value;
        int64_t default_value;
        int64_t min;
    } limits[] = {
        {&o.failures_in_row, 5, 1},      {&o.interval_ms, 10000, 10},     {&o.ejection_ms, 30000, 1},
        {&o.max_ejection_ms, 300000, 1}, {&o.max_ejected_percent, 50, 1}, {&o.success_rate_stdev, 1900, 1},
        {&o.success_rate_calls, 100, 1}, {&o.success_rate_minimum, 5, 2}, {&o.latency_percent, INT64_MAX, 101},
    };
    for (size_t i = 0; rc == 0 && i < sizeof limits / sizeof *limits; i++)
        rc = weft__limit(limits[i].value, limits[i].default_value, limits[i].min);
    if (rc == 0 && (o.max_ejected_percent > 100 || o.interval_ms > INT32_MAX || o.max_ejection_ms < o.ejection_ms))
        rc = -EINVAL;
    if (rc == 0)
        *out = o;
    return rc;
}

bool weft__outlier_count(weft__outlier *outlier, const weft_outlier_options *options, weft_code code,
                         int64_t latency_ns)
{
    bool failure = weft__is_failure(code);
    atomic_fetch_add_explicit(failure ? &outlier->failures : &outlier->successes, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&outlier->latency_ns, (uint64_t)latency_ns, memory_order_relaxed);
    if (!failure) {
        atomic_store_explicit(&outlier->in_row, 0, memory_order_relaxed);
        return false;
    }
    uint64_t in_row = (uint64_t)atomic_fetch_add_explicit(&outlier->in_row, 1, memory_order_relaxed) + 1;
    return in_row % (uint64_t)options->failures_in_row == 0;
}

bool weft__outlier_eject(weft__outlier *outlier, const weft_outlier_options *options, size_t count, size_t ejected,
                         int64_t now_ns)
{
    size_t most = count * (size_t)options->max_ejected_percent / 100;
    if (most == 0 && count > 1)
        most = 1;
    if (outlier->ejected || ejected >= most)
        return false;
    int64_t ms = options->max_ejection_ms;
    outlier->times++;
    if ((int64_t)outlier->times < ms / options->ejection_ms)
        ms = options->ejection_ms * outlier->times;
    outlier->ejected = true;
    outlier->until_ns = ms < (INT64_MAX - now_ns) / ns_per_ms ? now_ns + ms * ns_per_ms : INT64_MAX;
    atomic_store_explicit(&outlier->in_row, 0, memory_order_relaxed);
    return true;
}

/* ---- at the end of an interval ----------------------------------------------------------------------------------- */

/* An instance with enough calls to be looked at. */
struct rate {
    weft__outlier *outlier;
    double success;
    double latency;
};

static size_t measure(struct rate *rates, weft__outlier *const *outliers, size_t count,
                      const weft_outlier_options *options)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        weft__outlier *outlier = outliers[i];
        uint64_t successes = atomic_exchange_explicit(&outlier->successes, 0, memory_order_relaxed);
        uint64_t failures = atomic_exchange_explicit(&outlier->failures, 0, memory_order_relaxed);
        uint64_t latency = atomic_exchange_explicit(&outlier->latency_ns, 0, memory_order_relaxed);
        uint64_t calls = successes + failures;
        if (calls >= (uint64_t)options->success_rate_calls)
            rates[used++] = (struct rate){outlier, (double)successes / (double)calls, (double)latency / (double)calls};
    }
    return used;
}

/* How the success rates lie. */
struct spread {
    double mean;
    double variance;
};

static struct spread spread_of(const struct rate *rates, size_t count)
{
    struct spread spread = {0, 0};
    for (size_t i = 0; i < count; i++)
        spread.mean += rates[i].success / (double)count;
    for (size_t i = 0; i < count; i++) {
        double off = rates[i].success - spread.mean;
        spread.variance += off * off / (double)count;
    }
    return spread;
}

/* Whether a rate is so many standard deviations below the mean. In squares, which need no root. */
static bool is_far_below(double success, struct spread spread, int64_t stdev_thousandths)
{
    static const double rounding = 1e-9;
    double below = spread.mean - success - rounding;
    double factor = (double)stdev_thousandths / 1000;
    return stdev_thousandths != INT64_MAX && below > 0 && below * below > factor * factor * spread.variance;
}

static int by_latency(const void *a, const void *b)
{
    double first = ((const struct rate *)a)->latency;
    double second = ((const struct rate *)b)->latency;
    return (first > second) - (first < second);
}

bool weft__outlier_judge(weft__outlier *const *outliers, size_t count, const weft_outlier_options *options,
                         int64_t now_ns)
{
    bool changed = false;
    size_t ejected = 0;
    for (size_t i = 0; i < count; i++) {
        weft__outlier *outlier = outliers[i];
        if (outlier->ejected && outlier->until_ns <= now_ns) {
            outlier->ejected = false;
            changed = true;
        } else if (!outlier->ejected && outlier->times > 0) {
            outlier->times--;
        }
        ejected += outlier->ejected;
    }
    struct rate *rates = count > 0 ? malloc(count * sizeof *rates) : NULL;
    if (rates == NULL) /* the next interval has memory */
        return changed;
    size_t used = measure(rates, outliers, count, options);
    bool judges = used >= (size_t)options->success_rate_minimum;
    const struct spread spread = spread_of(rates, used);
    double slowest = INFINITY;
    if (judges && options->latency_percent != INT64_MAX) {
        qsort(rates, used, sizeof *rates, by_latency);
        slowest = rates[used / 2].latency * (double)options->latency_percent / 100;
    }
    for (size_t i = 0; judges && i < used; i++) {
        if (!is_far_below(rates[i].success, spread, options->success_rate_stdev) && rates[i].latency <= slowest)
            continue;
        if (weft__outlier_eject(rates[i].outlier, options, count, ejected, now_ns)) {
            ejected++;
            changed = true;
        }
    }
    free(rates);
    return changed;
}
