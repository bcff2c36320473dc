/* call.h: a call on the server, as the layers above the seam share it. */
#ifndef WEFT_CALL_CALL_H
#define WEFT_CALL_CALL_H

#include <pthread.h>
#include <stdatomic.h>

#include <weft/call.h>
#include <weft/stream.h>

#include "base/list.h"
#include "base/pool.h"
#include "call/intercept.h"
#include "transport/transport.h"

/* The longest status message sent; the rest is cut. It travels in a header, which peers limit to 8 KiB in all. */
#define WEFT__STATUS_MESSAGE_MAX 2048

/* Pairs to send, in the call's arena. */
typedef struct weft__pairs {
    weft_metadatum *items;
    size_t count;
    size_t capacity;
} weft__pairs;

/* Appends a copy of a pair. 0; -ENOMEM. */
int weft__pairs_add(weft_arena *arena, weft__pairs *pairs, weft_sv key, weft_sv value);

/* What a pair takes of a metadata limit. */
size_t weft__pair_cost(weft_sv key, size_t value_len);

/* A call made on behalf of another one: told when the parent is cancelled, or answered. */
typedef struct weft__child {
    weft__list_node node;
    bool adopted; /* it may have a parent */
    void (*cancel)(struct weft__child *child);
} weft__child;

struct weft_call {
    /* Set once, when the object is made. */
    weft__scall *transport;
    struct weft_server *server;
    weft_engine *engine;
    weft_log *log;
    weft_arena *arena;
    weft_stream *stream; /* used by streaming methods only */
    const weft__chain *chain;

    /* Set when a call begins. */
    weft__ccall *client;                /* NULL: a call that is served */
    struct weft__served_method *method; /* of a call that is served and admitted */
    const weft_method *definition;      /* NULL: an unknown method */
    const char *path;
    int64_t began_ns; /* kept for observers only */
    int64_t deadline_ns;
    weft__md headers;
    weft__rx request;
    size_t metadata_left; /* bytes of headers and trailers that may still be added */
    bool watched;
    bool deferred;
    bool sent_headers; /* with the first message of a stream */
    bool request_compressed;
    bool gzip; /* what is sent is compressed */
    bool handled;

    /* Interceptors: which look at this call, and of which `end` is owed; their states; messages so far. */
    uint64_t mask;
    uint64_t started;
    void *slots;
    uint64_t received;
    uint64_t sent;
    bool holds_worker; /* a stream; counted in worker_streams */

    /* The answer as it grows; touched by whoever runs the handler. */
    weft__pairs response_headers;
    weft__pairs response_trailers;
    weft_sv message;     /* of a failure; NUL-terminated */
    weft_sv details;     /* of a failure: a google.rpc.Status with nothing but details */
    size_t details_cost; /* what they have taken of metadata_left */
    const char *peer;

    atomic_int cancelled;     /* weft_cancel_cause */
    atomic_bool has_children; /* since it began */
    atomic_uint handover;     /* of a deferred call: see dispatch.c */
    atomic_uint telling;      /* of weft_call_when_cancelled: see dispatch.c */
    weft_cancelled_fn cancelled_fn;
    void *cancelled_arg;
    weft_code code; /* of the last weft_fail; of a deferred call, what it is to be answered with */
    weft__tx response;
    bool has_response;

    weft__list children;
    weft__job job;
#ifndef NDEBUG
    atomic_bool answered;          /* and not begun again */
    weft__list_node deferred_node; /* in the server's deferred_calls, until it is answered */
#endif
};

/* Takes over the details of another call's status, as far as they can be read and the metadata limit allows. */
void weft__details_pass_on(weft_call *call, const weft_status *status);

/* Forgets the details of a failure, for another failure. */
void weft__details_forget(weft_call *call);

/* Adds the details of a failure to the trailers of the answer, unless memory is short. */
void weft__details_tell(weft_call *call, weft_code code);

/* The code a failure ends with: INTERNAL for what is none. Words that weft_fail left for another code are forgotten. */
weft_code weft__call_failed_with(weft_call *call, weft_code code);
/* Debug builds tell of a call that is used after its answer, when the object waits for its next call: true, and the
 * error is logged. Objects that are in use again, or freed, are not found out. */
#ifndef NDEBUG
bool weft__call_misused(const weft_call *call, const char *function);
#else
static inline bool weft__call_misused(const weft_call *call, const char *function)
{
    (void)call;
    (void)function;
    return false;
}
#endif

/* As weft_call_remaining_ns, for an engine's event, which may come beside the answer. */
int64_t weft__call_remaining_ns(const weft_call *call);

/* Makes ready for a new call; the arena is empty already. */
void weft__call_reset(weft_call *call);

/* Marks the call cancelled, unless it was before, and cancels its children. */
void weft__call_cancelled(weft_call *call, weft_cancel_cause cause);

/* Asks the engine to tell of cancellation, once. 0; -errno the call is lost. Thread: who holds the call. */
int weft__call_watch(weft_call *call);

/* Joins a child to a parent, which is watched from now on: 0; -ECANCELED when the parent is cancelled already, and the
 * child is not joined. */
int weft__call_adopt(weft_call *parent, weft__child *child);

/* Parts a child from its parent, which may be gone. Does nothing for one that was never joined. */
void weft__call_release(weft__child *child);

/* Cancels and parts from the children that are left, when the call is about to be answered. */
void weft__call_orphan(weft_call *call);

#endif
