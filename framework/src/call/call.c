/* Design notes
 *
 * Parents and children know each other under one lock of the process: a child may be on another engine than its parent,
 * and outlive it. Only calls that have a parent or children take it.
 */
#include "call/call.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "call/stream.h"

void weft__call_reset(weft_call *call)
{
    call->client = NULL;
    call->method = NULL;
    call->definition = NULL;
    call->path = "";
    call->handled = false;
    call->mask = 0;
    call->started = 0;
    call->received = 0;
    call->sent = 0;
    call->deadline_ns = INT64_MAX;
    call->request.impl = NULL;
    call->watched = false;
    call->deferred = false;
    call->sent_headers = false;
    call->gzip = false;
    call->holds_worker = false;
    call->response_headers = (weft__pairs){NULL, 0, 0};
    call->response_trailers = (weft__pairs){NULL, 0, 0};
    call->message = (weft_sv){NULL, 0};
    call->details = (weft_sv){NULL, 0};
    call->details_cost = 0;
    call->peer = NULL;
    call->code = WEFT_OK;
    call->has_response = false;
    atomic_store_explicit(&call->cancelled, WEFT_NOT_CANCELLED, memory_order_relaxed);
    atomic_store_explicit(&call->has_children, false, memory_order_relaxed);
    atomic_store_explicit(&call->handover, 0, memory_order_relaxed);
    atomic_store_explicit(&call->telling, 0, memory_order_relaxed);
#ifndef NDEBUG
    atomic_store_explicit(&call->answered, false, memory_order_relaxed);
#endif
}

#ifndef NDEBUG
bool weft__call_misused(const weft_call *call, const char *function)
{
    if (!atomic_load_explicit(&call->answered, memory_order_relaxed))
        return false;
    weft_log_error(call->log, "a call was used after its answer",
                   WEFT_FIELDS(WEFT_STR("grpc.method", call->path), WEFT_STR("function", function)));
    return true;
}
#endif

static pthread_mutex_t family_lock = PTHREAD_MUTEX_INITIALIZER;

static void cancel_children_locked(weft_call *call)
{
    for (weft__list_node *node = weft__list_first(&call->children); node != NULL;
         node = weft__list_next(&call->children, node)) {
        weft__child *child = WEFT__CONTAINER_OF(node, weft__child, node);
        child->cancel(child);
    }
}

static weft_cancel_cause marked(const weft_call *call)
{
    return (weft_cancel_cause)atomic_load_explicit(&call->cancelled, memory_order_acquire);
}

void weft__call_cancelled(weft_call *call, weft_cancel_cause cause)
{
    pthread_mutex_lock(&family_lock);
    if (marked(call) == WEFT_NOT_CANCELLED) {
        atomic_store_explicit(&call->cancelled, (int)cause, memory_order_release);
        cancel_children_locked(call);
    }
    pthread_mutex_unlock(&family_lock);
}

int weft__call_watch(weft_call *call)
{
    if (call->watched)
        return 0;
    call->watched = true;
    return call->transport->vtable->watch(call->transport);
}

int weft__call_adopt(weft_call *parent, weft__child *child)
{
    int rc = weft__call_watch(parent) < 0 ? -ECANCELED : 0;
    child->adopted = true;
    pthread_mutex_lock(&family_lock);
    if (rc < 0 || marked(parent) != WEFT_NOT_CANCELLED) {
        rc = -ECANCELED;
    } else {
        atomic_store_explicit(&parent->has_children, true, memory_order_relaxed);
        weft__list_push_back(&parent->children, &child->node);
    }
    pthread_mutex_unlock(&family_lock);
    return rc;
}

void weft__call_release(weft__child *child)
{
    if (!child->adopted)
        return;
    pthread_mutex_lock(&family_lock);
    weft__list_remove(&child->node);
    pthread_mutex_unlock(&family_lock);
}

void weft__call_orphan(weft_call *call)
{
    if (!atomic_load_explicit(&call->has_children, memory_order_relaxed))
        return;
    pthread_mutex_lock(&family_lock);
    cancel_children_locked(call);
    while (weft__list_pop_front(&call->children) != NULL) {
    }
    pthread_mutex_unlock(&family_lock);
}

weft_arena *weft_call_arena(weft_call *call)
{
    (void)weft__call_misused(call, __func__);
    return call->arena;
}

weft_engine *weft_call_engine(const weft_call *call)
{
    return call->engine;
}

bool weft_call_is_client(const weft_call *call)
{
    return call->client != NULL;
}

weft_method_kind weft_call_kind(const weft_call *call)
{
    return call->definition != NULL ? call->definition->kind : WEFT_UNARY;
}

const char *weft_call_method(const weft_call *call)
{
    (void)weft__call_misused(call, __func__);
    return call->path;
}

const char *weft_call_peer(weft_call *call)
{
    if (weft__call_misused(call, __func__))
        return "";
    if (call->peer == NULL) {
        char text[256];
        size_t len = call->client != NULL ? call->client->vtable->peer(call->client, text, sizeof text)
                                          : call->transport->vtable->peer(call->transport, text, sizeof text);
        char *copy = len > 0 ? weft_arena_strdup(call->arena, text) : NULL;
        call->peer = copy != NULL ? copy : "";
    }
    return call->peer;
}

int64_t weft_call_deadline_ns(const weft_call *call)
{
    (void)weft__call_misused(call, __func__);
    return call->deadline_ns;
}

int64_t weft__call_remaining_ns(const weft_call *call)
{
    if (call->deadline_ns == INT64_MAX)
        return INT64_MAX;
    int64_t left = call->deadline_ns - call->engine->clock->now_ns(call->engine->clock);
    return left > 0 ? left : 0;
}

int64_t weft_call_remaining_ns(const weft_call *call)
{
    (void)weft__call_misused(call, __func__);
    return weft__call_remaining_ns(call);
}

bool weft_call_cancelled(const weft_call *call)
{
    return weft_call_cancel_cause(call) != WEFT_NOT_CANCELLED;
}

weft_cancel_cause weft_call_cancel_cause(const weft_call *call)
{
    (void)weft__call_misused(call, __func__);
    weft_cancel_cause cause = marked(call);
    bool expired = /* and the engine has not said so */
        cause == WEFT_NOT_CANCELLED && weft__call_remaining_ns(call) == 0;
    return expired ? WEFT_CANCELLED_BY_DEADLINE : cause;
}

weft_sv weft_call_metadata(const weft_call *call, const char *key)
{
    if (weft__call_misused(call, __func__))
        return (weft_sv){NULL, 0};
    for (size_t i = 0; i < call->headers.count; i++) {
        weft_metadatum pair = call->engine->vtable->md_at(&call->headers, i);
        if (weft_sv_is(pair.key, key))
            return pair.value;
    }
    return (weft_sv){NULL, 0};
}

size_t weft_call_metadata_count(const weft_call *call)
{
    return weft__call_misused(call, __func__) ? 0 : call->headers.count;
}

weft_metadatum weft_call_metadata_at(const weft_call *call, size_t index)
{
    if (weft__call_misused(call, __func__))
        return (weft_metadatum){{NULL, 0}, {NULL, 0}};
    return call->engine->vtable->md_at(&call->headers, index);
}

/* What RFC 9113 (10.5.1) counts for a field beside its bytes. */
enum {
    FIELD_OVERHEAD = 32
};

int weft__pairs_add(weft_arena *arena, weft__pairs *pairs, weft_sv key, weft_sv value)
{
    if (pairs->count == pairs->capacity) {
        size_t capacity = pairs->capacity > 0 ? 2 * pairs->capacity : 4;
        weft_metadatum *items = weft_arena_calloc(arena, capacity, sizeof *items);
        if (items == NULL)
            return -ENOMEM;
        if (pairs->count > 0)
            memcpy(items, pairs->items, pairs->count * sizeof *items);
        pairs->items = items;
        pairs->capacity = capacity;
    }
    const char *key_copy = weft_arena_svdup(arena, key);
    const char *value_copy = weft_arena_svdup(arena, value);
    if (key_copy == NULL || value_copy == NULL)
        return -ENOMEM;
    pairs->items[pairs->count++] = (weft_metadatum){{key_copy, key.len}, {value_copy, value.len}};
    return 0;
}

size_t weft__pair_cost(weft_sv key, size_t value_len)
{
    size_t cost = key.len + FIELD_OVERHEAD;
    return value_len <= SIZE_MAX - cost ? cost + value_len : SIZE_MAX;
}

static int add(weft_call *call, weft__pairs *pairs, const char *name, weft_sv value)
{
    weft_sv key = weft_sv_from(name);
    int rc = weft__call_misused(call, "weft_call_add_…") ? -EALREADY : weft_metadata_check(key, value);
    if (rc < 0)
        return rc;
    size_t cost = weft__pair_cost(key, value.len);
    if (cost > call->metadata_left)
        return -E2BIG;
    rc = weft__pairs_add(call->arena, pairs, key, value);
    if (rc == 0)
        call->metadata_left -= cost;
    return rc;
}

int weft_call_add_header(weft_call *call, const char *key, weft_sv value)
{
    return call->sent_headers ? -EALREADY : add(call, &call->response_headers, key, value);
}

int weft_call_add_trailer(weft_call *call, const char *key, weft_sv value)
{
    return call->client != NULL ? -EINVAL : add(call, &call->response_trailers, key, value);
}

bool weft_call_request_compressed(const weft_call *call)
{
    return call->request_compressed;
}

static weft_code valid_failure(weft_code code)
{
    return (int)code <= 0 || (int)code > 16 ? WEFT_INTERNAL : code;
}

/* The last failure is the one that counts: details of one before it are forgotten. */
static weft_code failed(weft_call *call, weft_code code, weft_sv message)
{
    call->code = valid_failure(code);
    call->message = message;
    weft__details_forget(call);
    return call->code;
}

weft_code weft__call_failed_with(weft_call *call, weft_code code)
{
    return code == call->code ? code : failed(call, code, (weft_sv){"", 0});
}

enum {
    MAX_SEQUENCE = 4 /* bytes of a UTF-8 sequence */
};

weft_code weft_fail(weft_call *call, weft_code code, const char *format, ...)
{
    va_list args;
    if (weft__call_misused(call, __func__))
        return valid_failure(code);
    va_start(args, format);
    char *text = weft_arena_vprintf(call->arena, format, args);
    va_end(args);
    size_t len = text != NULL ? strlen(text) : 0;
    if (len > WEFT__STATUS_MESSAGE_MAX + MAX_SEQUENCE)
        len = WEFT__STATUS_MESSAGE_MAX + MAX_SEQUENCE;
    if (len > 0) {
        weft__utf8_repair(text, len);
        len = weft__utf8_cut(text, len, WEFT__STATUS_MESSAGE_MAX);
        text[len] = '\0';
    }
    return failed(call, code, weft_sv_of(text != NULL ? text : "", len));
}

/* Whether a handler fails because nobody waits any more, or because of a message that the peer has sent, whose status
   the stream knows better. */
static bool is_the_peers(weft_call *call, int error)
{
    if (weft_call_cancelled(call))
        return true;
    bool receives = call->definition != NULL && call->definition->kind != WEFT_UNARY && call->stream != NULL;
    return receives && (error == -EBADMSG || error == -EMSGSIZE) && error == call->stream->in_error;
}

weft_code weft_fail_errno(weft_call *call, int rc)
{
    int error = rc > 0 ? -rc : rc; /* this way round it cannot overflow */
    weft_code code = WEFT_INTERNAL;
    const char *text = "internal error";
    if (error == -ENOMEM) {
        code = WEFT_RESOURCE_EXHAUSTED;
        text = "out of memory";
    } else if (error == -ETIMEDOUT) {
        code = WEFT_DEADLINE_EXCEEDED;
        text = "deadline exceeded";
    } else if (error == -ECANCELED) {
        code = WEFT_CANCELLED;
        text = "cancelled";
    }
    /* What the peer has done is no error: it could fill the log with them. */
    weft_log_write(call->log, is_the_peers(call, error) ? WEFT_LOG_DEBUG : WEFT_LOG_ERROR, "handler failed",
                   WEFT_FIELDS(WEFT_STR("grpc.method", call->path), WEFT_INT("errno", -(int64_t)error),
                               WEFT_STR("grpc.code", weft_code_name(code))));
    return failed(call, code, weft_sv_from(text));
}

weft_code weft_fail_store(weft_call *call, int rc)
{
    switch (rc) {
    case -ENOSPC:
        return weft_fail(call, WEFT_RESOURCE_EXHAUSTED, "the disk is full");
    case -EBUSY:
        return weft_fail(call, WEFT_UNAVAILABLE, "the database is locked; try again");
    case -EROFS:
        return weft_fail(call, WEFT_UNAVAILABLE, "the database cannot be written");
    default:
        return weft_fail_errno(call, rc);
    }
}

weft_code weft_fail_from(weft_call *call, const weft_status *status)
{
    if (status->code == WEFT_OK)
        return weft_fail(call, WEFT_INTERNAL, "a successful status was passed on as a failure");
    weft_code code = weft_fail(call, status->code, "%s", status->message != NULL ? status->message : "");
    weft__details_pass_on(call, status);
    return code;
}
