/* adaptive_limit.c: how many calls may run at once, found by measuring.
 *
 * Design notes
 * - Calls add to counters of the window that is open. The first that ends after the window's time closes it: the lock
 *   is only ever tried, so nobody waits for it.
 * - The best throughput and the least latency are forgotten slowly, a tenth and a hundredth a window, so that a server
 *   that has become slower or faster for good is believed after a while.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <weft/limits.h>

#include "base/list.h"
#include "base/options.h"

static const double room = 2.3; /* 2 + alpha: how far above the knee calls may pile up */

struct adaptive_limit {
    weft_interceptor base;
    weft_adaptive_limit_options options;
    atomic_int_least64_t limit;
    atomic_int_least64_t calls;

    /* The window that is open. */
    atomic_int_least64_t began_ns;
    atomic_int_least64_t samples;
    atomic_int_least64_t total_ns;

    pthread_mutex_t lock; /* of what is below */
    double best_rate;     /* calls a second */
    double least_ns;      /* latency */
};

struct timing {
    bool admitted;
    int64_t began_ns;
};

static struct adaptive_limit *from_base(const weft_interceptor *base)
{
    return WEFT__CONTAINER_OF((uintptr_t)base, struct adaptive_limit, base);
}

static int64_t now_of(const weft_call *call)
{
    return weft_engine_now_ns(weft_call_engine(call));
}

static weft_code start(weft_interceptor *self, weft_call *call, void *state)
{
    struct adaptive_limit *limit = from_base(self);
    struct timing *timing = state;
    int64_t most = atomic_load_explicit(&limit->limit, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&limit->calls, 1, memory_order_relaxed) >= most) {
        atomic_fetch_sub_explicit(&limit->calls, 1, memory_order_relaxed);
        return weft_fail(call, WEFT_RESOURCE_EXHAUSTED, "overloaded: more than %lld calls at once", (long long)most);
    }
    timing->admitted = true;
    timing->began_ns = now_of(call);
    return WEFT_OK;
}

static int64_t clamp(const struct adaptive_limit *limit, double calls)
{
    if (calls < (double)limit->options.min_calls)
        return limit->options.min_calls;
    return calls > (double)limit->options.max_calls ? limit->options.max_calls : (int64_t)calls;
}

/* Learns from a window. */
static void measure_locked(struct adaptive_limit *limit, double samples, double total_ns, double window_ns)
{
    double latency_ns = total_ns / samples;
    double rate = samples / window_ns * 1e9;
    limit->best_rate = rate > limit->best_rate ? rate : limit->best_rate * 0.9 + rate * 0.1;
    if (limit->least_ns == 0 || latency_ns < limit->least_ns)
        limit->least_ns = latency_ns;
    else
        limit->least_ns = limit->least_ns * 0.99 + latency_ns * 0.01;
    double calls = limit->best_rate * (room * limit->least_ns - latency_ns) / 1e9;
    atomic_store_explicit(&limit->limit, clamp(limit, calls), memory_order_relaxed);
}

static void close_window(struct adaptive_limit *limit, int64_t now)
{
    if (pthread_mutex_trylock(&limit->lock) != 0)
        return;
    int64_t window_ns = now - atomic_load_explicit(&limit->began_ns, memory_order_relaxed);
    if (window_ns >= limit->options.window_ms * 1000000) { /* and nobody else has closed it */
        int64_t samples = atomic_exchange_explicit(&limit->samples, 0, memory_order_relaxed);
        int64_t total_ns = atomic_exchange_explicit(&limit->total_ns, 0, memory_order_relaxed);
        atomic_store_explicit(&limit->began_ns, now, memory_order_relaxed);
        if (samples >= limit->options.min_samples)
            measure_locked(limit, (double)samples, (double)total_ns, (double)window_ns);
    }
    pthread_mutex_unlock(&limit->lock);
}

static void end(weft_interceptor *self, weft_call *call, const weft_status *status, void *state)
{
    struct adaptive_limit *limit = from_base(self);
    const struct timing *timing = state;
    (void)status;
    if (!timing->admitted)
        return;
    int64_t now = now_of(call);
    int64_t never = 0;
    atomic_fetch_sub_explicit(&limit->calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&limit->samples, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&limit->total_ns, now - timing->began_ns, memory_order_relaxed);
    if (atomic_compare_exchange_strong(&limit->began_ns, &never, timing->began_ns))
        return;
    if (now - atomic_load_explicit(&limit->began_ns, memory_order_relaxed) >= limit->options.window_ms * 1000000)
        close_window(limit, now);
}

static void destroy(weft_interceptor *self)
{
    struct adaptive_limit *limit = from_base(self);
    pthread_mutex_destroy(&limit->lock);
    free(limit);
}

static int read_options(weft_adaptive_limit_options *out, const weft_adaptive_limit_options *options)
{
    weft_adaptive_limit_options o;
    memset(&o, 0, sizeof o);
    int rc = weft__options_copy(&o, sizeof o, options);
    const struct {
        int64_t *value;
        int64_t default_value;
    } fields[] = {
        {&o.min_calls, 4}, {&o.max_calls, 10000}, {&o.initial_calls, 40}, {&o.window_ms, 1000}, {&o.min_samples, 20}};
    for (size_t i = 0; rc == 0 && i < sizeof fields / sizeof *fields; i++) {
        if (*fields[i].value < 0)
            rc = -EINVAL;
        else if (*fields[i].value == 0)
            *fields[i].value = fields[i].default_value;
    }
    if (rc == 0 && (o.min_calls > o.max_calls || o.initial_calls > o.max_calls))
        rc = -EINVAL;
    *out = o;
    return rc;
}

int weft_adaptive_limit_new(weft_interceptor **out, const weft_adaptive_limit_options *options)
{
    static const weft_interceptor_vtable vtable = {.struct_size = sizeof vtable,
                                                   .name = "adaptive_limit",
                                                   .state_size = sizeof(struct timing),
                                                   .start = start,
                                                   .end = end,
                                                   .destroy = destroy};
    weft_adaptive_limit_options o;
    int rc = read_options(&o, options);
    if (rc < 0)
        return rc;
    struct adaptive_limit *limit = calloc(1, sizeof *limit);
    if (limit == NULL)
        return -ENOMEM;
    rc = -pthread_mutex_init(&limit->lock, NULL);
    if (rc < 0) {
        free(limit);
        return rc;
    }
    limit->base.vtable = &vtable;
    limit->options = o;
    atomic_init(&limit->limit, o.initial_calls);
    *out = &limit->base;
    return 0;
}

int64_t weft_adaptive_limit_calls(const weft_interceptor *adaptive_limit)
{
    return atomic_load_explicit(&from_base(adaptive_limit)->limit, memory_order_relaxed);
}
