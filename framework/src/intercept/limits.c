/* limits.c: the simple interceptors of weft/limits.h. Counters are atomics of their own; nothing here takes a lock. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <weft/limits.h>

#include "base/list.h"

static void destroy(weft_interceptor *self)
{
    free(self); /* every object here begins with its interceptor */
}

/* ---- deadline ---------------------------------------------------------------------------------------------------- */

struct deadline_policy {
    weft_interceptor base;
    int64_t max_ms; /* 0: any */
};

static weft_code check_deadline(weft_interceptor *self, weft_call *call, void *state)
{
    const struct deadline_policy *policy = WEFT__CONTAINER_OF(self, struct deadline_policy, base);
    int64_t left_ns = weft_call_remaining_ns(call);
    (void)state;
    if (left_ns == INT64_MAX)
        return weft_fail(call, WEFT_INVALID_ARGUMENT, "the call has no deadline: set one");
    if (policy->max_ms > 0 && left_ns / 1000000 > policy->max_ms)
        return weft_fail(call, WEFT_INVALID_ARGUMENT, "the deadline is more than %lld ms away",
                         (long long)policy->max_ms);
    return WEFT_OK;
}

int weft_deadline_policy_new(weft_interceptor **out, int64_t max_ms)
{
    static const weft_interceptor_vtable vtable = {
        .struct_size = sizeof vtable, .name = "deadline_policy", .start = check_deadline, .destroy = destroy};
    if (max_ms < 0)
        return -EINVAL;
    struct deadline_policy *policy = malloc(sizeof *policy);
    if (policy == NULL)
        return -ENOMEM;
    *policy = (struct deadline_policy){{&vtable}, max_ms};
    *out = &policy->base;
    return 0;
}

/* ---- concurrency ------------------------------------------------------------------------------------------------- */

struct concurrency_limit {
    weft_interceptor base;
    int64_t max_calls;
    atomic_int_least64_t calls;
};

struct admission {
    bool admitted;
};

static weft_code admit(weft_interceptor *self, weft_call *call, void *state)
{
    struct concurrency_limit *limit = WEFT__CONTAINER_OF(self, struct concurrency_limit, base);
    struct admission *admission = state;
    if (atomic_fetch_add_explicit(&limit->calls, 1, memory_order_relaxed) >= limit->max_calls) {
        atomic_fetch_sub_explicit(&limit->calls, 1, memory_order_relaxed);
        return weft_fail(call, WEFT_RESOURCE_EXHAUSTED, "more than %lld calls at once", (long long)limit->max_calls);
    }
    admission->admitted = true;
    return WEFT_OK;
}

static void leave(weft_interceptor *self, weft_call *call, const weft_status *status, void *state)
{
    struct concurrency_limit *limit = WEFT__CONTAINER_OF(self, struct concurrency_limit, base);
    const struct admission *admission = state;
    (void)call;
    (void)status;
    if (admission->admitted)
        atomic_fetch_sub_explicit(&limit->calls, 1, memory_order_relaxed);
}

int weft_concurrency_limit_new(weft_interceptor **out, int64_t max_calls)
{
    static const weft_interceptor_vtable vtable = {.struct_size = sizeof vtable,
                                                   .name = "concurrency_limit",
                                                   .state_size = sizeof(struct admission),
                                                   .start = admit,
                                                   .end = leave,
                                                   .destroy = destroy};
    if (max_calls < 1)
        return -EINVAL;
    struct concurrency_limit *limit = calloc(1, sizeof *limit);
    if (limit == NULL)
        return -ENOMEM;
    limit->base.vtable = &vtable;
    limit->max_calls = max_calls;
    *out = &limit->base;
    return 0;
}

/* ---- rate -------------------------------------------------------------------------------------------------------- */

/* A token bucket without a clock tick: `due_ns` is when the bucket will be full again. (The generic cell rate
 * algorithm: ITU-T I.371, annex A.) */
struct rate_limit {
    weft_interceptor base;
    int64_t interval_ns; /* one call takes */
    int64_t depth_ns;    /* the whole bucket */
    atomic_int_least64_t due_ns;
};

static weft_code take_token(weft_interceptor *self, weft_call *call, void *state)
{
    struct rate_limit *limit = WEFT__CONTAINER_OF(self, struct rate_limit, base);
    int64_t now = weft_engine_now_ns(weft_call_engine(call));
    int64_t due = atomic_load_explicit(&limit->due_ns, memory_order_relaxed);
    int64_t next;
    (void)state;
    do {
        next = (due > now ? due : now) + limit->interval_ns;
        if (next - now > limit->depth_ns)
            return weft_fail(call, WEFT_RESOURCE_EXHAUSTED, "too many calls a second");
    } while (
        !atomic_compare_exchange_weak_explicit(&limit->due_ns, &due, next, memory_order_relaxed, memory_order_relaxed));
    return WEFT_OK;
}

int weft_rate_limit_new(weft_interceptor **out, int64_t calls_per_second, int64_t burst)
{
    static const weft_interceptor_vtable vtable = {
        .struct_size = sizeof vtable, .name = "rate_limit", .start = take_token, .destroy = destroy};
    static const int64_t ns_per_s = 1000000000;
    if (calls_per_second < 1 || calls_per_second > ns_per_s || burst < 1 || burst > INT32_MAX)
        return -EINVAL;
    struct rate_limit *limit = calloc(1, sizeof *limit);
    if (limit == NULL)
        return -ENOMEM;
    limit->base.vtable = &vtable;
    limit->interval_ns = ns_per_s / calls_per_second;
    limit->depth_ns = limit->interval_ns * burst;
    *out = &limit->base;
    return 0;
}

/* ---- recovery ---------------------------------------------------------------------------------------------------- */

static weft_code refuse_nothing(weft_interceptor *self, weft_call *call, const ProtobufCMessage *message, void *state)
{
    weft_method_kind kind = weft_call_kind(call);
    bool one_response = kind == WEFT_UNARY || kind == WEFT_CLIENT_STREAM;
    (void)self;
    (void)state;
    if (weft_call_is_client(call) || !one_response || message->descriptor->n_fields == 0 ||
        protobuf_c_message_get_packed_size(message) > 0)
        return WEFT_OK;
    return weft_fail(call, WEFT_INTERNAL, "the handler answered nothing");
}

int weft_recovery_new(weft_interceptor **out)
{
    static const weft_interceptor_vtable vtable = {
        .struct_size = sizeof vtable, .name = "recovery", .send = refuse_nothing, .destroy = destroy};
    weft_interceptor *recovery = malloc(sizeof *recovery);
    if (recovery == NULL)
        return -ENOMEM;
    recovery->vtable = &vtable;
    *out = recovery;
    return 0;
}

/* ---- validation -------------------------------------------------------------------------------------------------- */

struct validation {
    weft_interceptor base;
    const ProtobufCMessageDescriptor *type;
    weft_validate_fn validate;
    void *arg;
};

static weft_code look(weft_interceptor *self, weft_call *call, const ProtobufCMessage *message, void *state)
{
    const struct validation *validation = WEFT__CONTAINER_OF(self, struct validation, base);
    (void)state;
    if (validation->type != NULL && message->descriptor != validation->type)
        return WEFT_OK;
    return validation->validate(call, message, validation->arg);
}

int weft_validation_new(weft_interceptor **out, const ProtobufCMessageDescriptor *type, weft_validate_fn validate,
                        void *arg)
{
    static const weft_interceptor_vtable vtable = {
        .struct_size = sizeof vtable, .name = "validation", .recv = look, .destroy = destroy};
    if (validate == NULL)
        return -EINVAL;
    struct validation *validation = malloc(sizeof *validation);
    if (validation == NULL)
        return -ENOMEM;
    *validation = (struct validation){{&vtable}, type, validate, arg};
    *out = &validation->base;
    return 0;
}
