/* weft/limits.h: interceptors that come with Weft. Each is made by its …_new, put into the options of any number of
 * servers and channels, and freed after them with weft_interceptor_free. What they refuse, they refuse before the
 * request is read.
 */
#ifndef WEFT_LIMITS_H
#define WEFT_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/interceptor.h>

WEFT_BEGIN_DECLS

/**
 * Wants every call to have a deadline, and one that is not too far away; else INVALID_ARGUMENT.
 *
 * @param max_ms 0: any deadline will do.
 * @return 0; -EINVAL max_ms is negative; -ENOMEM.
 */
WEFT_API int weft_deadline_policy_new(weft_interceptor **out, int64_t max_ms);

/**
 * Lets so many calls run at once; else RESOURCE_EXHAUSTED.
 *
 * @return 0; -EINVAL max_calls is below 1; -ENOMEM.
 */
WEFT_API int weft_concurrency_limit_new(weft_interceptor **out, int64_t max_calls);

/* All fields are optional. */
typedef struct weft_adaptive_limit_options {
    size_t struct_size;    /* set by WEFT_ADAPTIVE_LIMIT_OPTIONS_INIT */
    int64_t min_calls;     /* the limit never falls below. Default: 4 */
    int64_t max_calls;     /* nor rises above. Default: 10,000 */
    int64_t initial_calls; /* until something was measured. Default: 40 */
    int64_t window_ms;     /* of one measurement. Default: 1,000 */
    int64_t min_samples;   /* calls in a window that count as a measurement. Default: 20 */
} weft_adaptive_limit_options;
#define WEFT_ADAPTIVE_LIMIT_OPTIONS_INIT WEFT__INIT(weft_adaptive_limit_options)

/**
 * Finds by itself how many calls may run at once; else RESOURCE_EXHAUSTED. By Little's law the calls in a system are
 * throughput times latency: with the best throughput and the latency of an idle server, both measured and slowly
 * forgotten, the limit is
 *
 *     best calls a second * (2.3 * least latency - latency now)
 *
 * which leaves room above the knee and shrinks as latency grows. Source: Apache brpc, "auto concurrency limiter".
 *
 * @param options may be NULL.
 * @return 0; -EINVAL; -E2BIG an option that this library does not know; -ENOMEM.
 */
WEFT_API int weft_adaptive_limit_new(weft_interceptor **out, const weft_adaptive_limit_options *options);

/* The limit now. Thread: any. */
WEFT_API int64_t weft_adaptive_limit_calls(const weft_interceptor *adaptive_limit);

/**
 * Lets so many calls begin a second, and `burst` at once after a pause; else RESOURCE_EXHAUSTED.
 *
 * @return 0; -EINVAL calls_per_second or burst is below 1; -ENOMEM.
 */
WEFT_API int weft_rate_limit_new(weft_interceptor **out, int64_t calls_per_second, int64_t burst);

/**
 * Takes an OK with nothing in it for what it is: a handler that has forgotten to answer. The call ends with INTERNAL.
 * It looks at methods with one response that has fields; name those for which an empty one cannot be right.
 *
 * Without it, too, each handler's call is answered: no response, one of another type, or a code that is none is
 * INTERNAL. Cost: the response is measured once more.
 *
 * @return 0; -ENOMEM.
 */
WEFT_API int weft_recovery_new(weft_interceptor **out);

/* Looks at a received message: WEFT_OK, or weft_fail(call, WEFT_INVALID_ARGUMENT, …). */
typedef weft_code (*weft_validate_fn)(weft_call *call, const ProtobufCMessage *message, void *arg);

/**
 * Has a function look at every message that is received, on a server before the handler sees it.
 *
 * @param type only messages of this type; NULL: all.
 * @return 0; -EINVAL no function; -ENOMEM.
 */
WEFT_API int weft_validation_new(weft_interceptor **out, const ProtobufCMessageDescriptor *type,
                                 weft_validate_fn validate, void *arg);

WEFT_END_DECLS
#endif
