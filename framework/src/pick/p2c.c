/* p2c.c: power of two choices by peak EWMA: the better of two that are drawn at random.
 *
 *   score = latency x (calls + 1) / weight          the smaller the better
 *
 * Design notes
 * - An answer that is slower than the average replaces it at once: a peer that gets slow is felt after one call. A
 *   faster one moves it by the share of the decay time that has passed. An average that nobody refreshes fades, when it
 *   is read, so that who was slow once is tried again.
 * - A failure counts as an answer that took twice the average, if it did not take longer, up to the decay time; where
 *   there is no average yet, as a hundredth of the decay time: failing fast must not look good. Calls that were under
 *   way at a failure, and fail too, do not double it again: a connection that is lost is one event for all its calls.
 * - An attempt that another one has overtaken says only that it would have taken longer.
 * - The average and its times are atomics without a lock. Two calls that end at the same time may cost one of them
 *   its say, which the next one makes up for.
 * - Who is new starts with the mean of the others, as they stand at the latest answer. With none to go by, or none that
 *   has answered, all are equal, and calls under way decide.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/options.h"
#include "pick/pick.h"

static const int64_t ns_per_ms = 1000000;
static const double first_failure = 0.01; /* of the decay time: what it takes when nothing is known to double */

struct p2c {
    weft_picker base;
    int64_t decay_ns;
};

/* In each endpoint. */
struct average {
    atomic_int_least64_t latency_ns; /* 0: nothing is known */
    atomic_int_least64_t at_ns;      /* when it was made */
    atomic_int_least64_t failed_ns;  /* when a failure counted last */
};

static struct average *average_of(weft_endpoint *endpoint)
{
    return weft_endpoint_state(endpoint);
}

/* What is left of an average after a time. */
static double faded(int64_t latency_ns, int64_t age_ns, int64_t decay_ns)
{
    return age_ns > 0 ? (double)latency_ns * exp(-(double)age_ns / (double)decay_ns) : (double)latency_ns;
}

/* The latency to reckon with now. */
static double latency_of(const struct p2c *p2c, weft_endpoint *endpoint, int64_t now_ns)
{
    static const double least_ns = 1000;
    struct average *average = average_of(endpoint);
    int64_t latency_ns = atomic_load_explicit(&average->latency_ns, memory_order_relaxed);
    int64_t at_ns = atomic_load_explicit(&average->at_ns, memory_order_relaxed);
    double latency = faded(latency_ns, now_ns - at_ns, p2c->decay_ns);
    return latency > least_ns ? latency : least_ns;
}

static double score(const struct p2c *p2c, weft_endpoint *endpoint, int64_t now_ns)
{
    return latency_of(p2c, endpoint, now_ns) * ((double)weft_endpoint_calls(endpoint) + 1) /
           (double)weft_endpoint_weight(endpoint);
}

static void join(weft_picker *self, weft_endpoint *endpoint, weft_endpoint *const *peers, size_t peer_count)
{
    const struct p2c *p2c = WEFT__CONTAINER_OF(self, struct p2c, base);
    double sum = 0;
    size_t known = 0;
    int64_t latest_ns = 0;
    for (size_t i = 0; i < peer_count; i++) {
        int64_t at_ns = atomic_load_explicit(&average_of(peers[i])->at_ns, memory_order_relaxed);
        latest_ns = at_ns > latest_ns ? at_ns : latest_ns;
    }
    for (size_t i = 0; i < peer_count; i++) {
        int64_t latency_ns = atomic_load_explicit(&average_of(peers[i])->latency_ns, memory_order_relaxed);
        if (latency_ns == 0)
            continue;
        sum += latency_of(p2c, peers[i], latest_ns);
        known++;
    }
    if (known == 0)
        return;
    atomic_store_explicit(&average_of(endpoint)->latency_ns, (int64_t)(sum / (double)known), memory_order_relaxed);
    atomic_store_explicit(&average_of(endpoint)->at_ns, latest_ns, memory_order_relaxed);
}

static weft_pick pick(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    const struct p2c *p2c = WEFT__CONTAINER_OF(self, struct p2c, base);
    size_t count = args->endpoint_count;
    size_t first = weft__any_index(args);
    weft_endpoint *a = weft__untried_from(args, first);
    if (count > 1) { /* another one than the first */
        size_t second = (first + 1 + (size_t)weft__random_below(weft__random_source(), count - 1)) % count;
        weft_endpoint *b = weft__untried_from(args, second);
        if (a != b && score(p2c, b, args->now_ns) < score(p2c, a, args->now_ns))
            a = b;
    }
    *out = a;
    return WEFT_PICK_ENDPOINT;
}

/* What a failure counts as, in nanoseconds. */
static double penalty(const struct p2c *p2c, struct average *average, int64_t before_ns, const weft_pick_result *result)
{
    int64_t failed_ns = atomic_exchange_explicit(&average->failed_ns, result->now_ns, memory_order_relaxed);
    bool together = result->now_ns - result->latency_ns < failed_ns;
    double least = (double)before_ns * (together ? 1 : 2);
    if (before_ns == 0)
        least = (double)p2c->decay_ns * first_failure;
    least = least < (double)p2c->decay_ns ? least : (double)p2c->decay_ns;
    return (double)result->latency_ns > least ? (double)result->latency_ns : least;
}

static void done(weft_picker *self, weft_endpoint *endpoint, const weft_pick_result *result)
{
    const struct p2c *p2c = WEFT__CONTAINER_OF(self, struct p2c, base);
    struct average *average = average_of(endpoint);
    int64_t before_ns = atomic_load_explicit(&average->latency_ns, memory_order_relaxed);
    bool overtaken = result->code == WEFT_CANCELLED && !result->from_peer;
    if (result->caller_cancelled || (overtaken && result->latency_ns < before_ns))
        return;
    int64_t at_ns = atomic_exchange_explicit(&average->at_ns, result->now_ns, memory_order_relaxed);
    double latency = (double)result->latency_ns;
    if (weft__is_failure(result->code))
        latency = penalty(p2c, average, before_ns, result);
    double kept = faded(before_ns, result->now_ns - at_ns, p2c->decay_ns);
    if (before_ns > 0 && latency < (double)before_ns)
        latency = kept + latency * (1 - kept / (double)before_ns);
    atomic_store_explicit(&average->latency_ns, latency >= 1 ? (int64_t)latency : 1, memory_order_relaxed);
}

static int64_t known_latency_ns(weft_picker *self, weft_endpoint *endpoint, int64_t now_ns)
{
    const struct p2c *p2c = WEFT__CONTAINER_OF(self, struct p2c, base);
    bool known = atomic_load_explicit(&average_of(endpoint)->latency_ns, memory_order_relaxed) > 0;
    return known ? (int64_t)latency_of(p2c, endpoint, now_ns) : 0;
}

static void destroy(weft_picker *self)
{
    free(WEFT__CONTAINER_OF(self, struct p2c, base));
}

int weft_p2c_new(weft_picker **out, const weft_p2c_options *options)
{
    static const weft_picker_vtable vtable = {.struct_size = sizeof vtable,
                                              .name = "p2c",
                                              .endpoint_size = sizeof(struct average),
                                              .join = join,
                                              .pick = pick,
                                              .done = done,
                                              .destroy = destroy,
                                              .latency_ns = known_latency_ns};
    weft_p2c_options o;
    memset(&o, 0, sizeof o);
    int rc = weft__options_copy(&o, sizeof o, options);
    if (rc == 0)
        rc = weft__limit(&o.decay_ms, 10000, 1);
    if (rc == 0 && o.decay_ms > INT64_MAX / ns_per_ms / 4)
        rc = -EINVAL;
    if (rc < 0)
        return rc;
    struct p2c *p2c = malloc(sizeof *p2c);
    if (p2c == NULL)
        return -ENOMEM;
    *p2c = (struct p2c){{&vtable}, o.decay_ms * ns_per_ms};
    *out = &p2c->base;
    return 0;
}
