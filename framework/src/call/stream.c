/* stream.c: receiving and sending on a stream, blocking or told.
 *
 * One half:
 *
 *      IDLE ──begin──▶ BUSY ──────────── done ──────────▶ DONE ──reap──▶ IDLE
 *                       ├─ wait ───▶ BUSY|WAITED ─ done ──▶ │  posts the event
 *                       │               └─ interrupt ──▶ BUSY|WOKEN: posts the event; the waiter makes it BUSY again
 *                       ├─ tell ───▶ BUSY|TOLD ─── done ──▶ │  calls `ready`
 *                       └─ follow ─▶ BUSY|FOLLOWED  done ──▶ │  calls `after`
 *
 * Design notes
 * - `state` is moved by two parties only: the user of the half, and the completion, which comes once. So every step of
 *   the user's is one compare-and-swap that fails only because the completion was there first. A third may take WAITED
 *   away, and posts the event in the completion's place: who takes that bit posts, so that it is posted once.
 * - What the completion is to call is read before it makes the half DONE, because from then on the user may go on.
 * - A message is received when somebody asks for it, and at most one is under way: a stream that is not read holds back
 *   its sender. Sending returns when the message is on its way, so that the next one can be made meanwhile.
 */
#include "call/stream.h"

#include <errno.h>
#include <stdlib.h>

#include "base/thread.h"
#include "call/call.h"
#include "call/message.h"

static const int64_t ns_per_ms = 1000000;

enum {
    IDLE = 0,
    BUSY = 1,
    WAITED = 2,
    TOLD = 4,
    FOLLOWED = 8,
    DONE = 16,
    WOKEN = 32 /* was WAITED, until it was interrupted */
};

#ifndef NDEBUG
#define MISUSED(stream) ((stream)->vtable->misused != NULL && (stream)->vtable->misused((stream), __func__))
#else
#define MISUSED(stream) false
#endif

/* ---- a half ------------------------------------------------------------------------------------------------------ */

static void on_done(weft__op *op, int result)
{
    weft__half *half = WEFT__CONTAINER_OF(op, weft__half, op);
    weft_ready_fn ready = NULL;
    void *arg = NULL;
    half->result = result;
    unsigned state = atomic_load_explicit(&half->state, memory_order_acquire);
    do {
        if (state & TOLD) {
            ready = half->ready;
            arg = half->arg;
        }
    } while (
        !atomic_compare_exchange_weak_explicit(&half->state, &state, DONE, memory_order_acq_rel, memory_order_acquire));
    if (state & WAITED)
        half->engine->vtable->post(half->engine, &half->done);
    if (ready != NULL)
        ready(arg);
    if ((state & FOLLOWED) && half->after != NULL)
        half->after(half->owner);
}

int weft__half_init(weft__half *half, weft_engine *engine, weft_loop *loop, void (*after)(void *owner), void *owner)
{
    half->loop = loop;
    half->op.done = on_done;
    half->engine = engine;
    half->after = after;
    half->owner = owner;
    atomic_init(&half->state, IDLE);
    atomic_init(&half->interrupted, false);
    return weft__event_init(&half->done);
}

void weft__half_fini(weft__half *half)
{
    weft__event_fini(&half->done);
}

void weft__half_begin(weft__half *half)
{
    atomic_store_explicit(&half->state, BUSY, memory_order_release);
}

void weft__half_abandon(weft__half *half)
{
    atomic_store_explicit(&half->state, IDLE, memory_order_release);
}

static unsigned state_of(const weft__half *half)
{
    return atomic_load_explicit(&half->state, memory_order_acquire);
}

bool weft__half_idle(const weft__half *half)
{
    return state_of(half) == IDLE;
}

bool weft__half_done(const weft__half *half)
{
    return state_of(half) == DONE;
}

/* Adds a bit, or takes one out: true; false: the operation is done, or the bit is not there any more. Sequentially
 * consistent, for weft__half_interrupt: either it sees WAITED, or the waiter sees that it is interrupted. */
static bool turn(weft__half *half, unsigned bit, bool on)
{
    unsigned state = state_of(half);
    do {
        if (on ? state == DONE : !(state & bit))
            return false;
    } while (!atomic_compare_exchange_weak(&half->state, &state, on ? state | bit : state & ~bit));
    return true;
}

void weft__half_interrupt(weft__half *half)
{
    atomic_store(&half->interrupted, true);
    unsigned state = atomic_load(&half->state);
    do {
        if (!(state & WAITED))
            return;
    } while (!atomic_compare_exchange_weak(&half->state, &state, (state & ~(unsigned)WAITED) | WOKEN));
    half->engine->vtable->post(half->engine, &half->done);
}

int weft__half_wait(weft__half *half, int64_t deadline_ns)
{
    if (!turn(half, WAITED, true))
        return 0;
    int rc = -EINTR;
    if (!atomic_load(&half->interrupted))
        rc = weft__engine_wait(half->engine, &half->done, deadline_ns);
    if (rc < 0 && turn(half, WAITED, false))
        return rc;
    if (rc < 0) /* the post is on its way */
        (void)weft__engine_wait(half->engine, &half->done, INT64_MAX);
    weft__event_reset(&half->done);
    return turn(half, WOKEN, false) ? -EINTR : 0;
}

int weft__half_reap(weft__half *half)
{
    int result = half->result;
    atomic_store_explicit(&half->state, IDLE, memory_order_release);
    return result;
}

int weft__half_tell(weft__half *half, weft_ready_fn ready, void *arg)
{
    if (state_of(half) & TOLD)
        return -EALREADY;
    if (state_of(half) == DONE)
        return 1;
    weft__told *told = NULL;
    if (half->loop != NULL && weft__told_new(&told, half->loop, ready, arg) < 0)
        return -ENOMEM;
    half->ready = told != NULL ? weft__told_post : ready;
    half->arg = told != NULL ? told : arg;
    if (turn(half, TOLD, true))
        return 0;
    weft__told_free(told);
    return 1;
}

bool weft__half_follow(weft__half *half)
{
    return state_of(half) != IDLE && turn(half, FOLLOWED, true);
}

/* ---- the stream -------------------------------------------------------------------------------------------------- */

int weft__stream_init(weft_stream *stream, const weft__stream_vtable *vtable, weft_call *call, weft_loop *loop,
                      void (*after)(void *owner), void *owner)
{
    weft_engine *engine = call->engine;
    stream->vtable = vtable;
    stream->call = call;
    stream->engine = engine;
    stream->scratch = NULL;
    stream->max_message_bytes = INT64_MAX;
    stream->max_send_bytes = INT64_MAX;
    int rc = weft__half_init(&stream->in, engine, loop, after, owner);
    if (rc < 0)
        return rc;
    rc = weft__half_init(&stream->out, engine, loop, after, owner);
    if (rc < 0)
        weft__half_fini(&stream->in);
    return rc;
}

void weft__stream_fini(weft_stream *stream)
{
    weft_arena_free(stream->scratch);
    weft__half_fini(&stream->in);
    weft__half_fini(&stream->out);
}

void weft__stream_reset(weft_stream *stream, const ProtobufCMessageDescriptor *receives,
                        const ProtobufCMessageDescriptor *sends)
{
    stream->receives = receives;
    stream->sends = sends;
    stream->in_over = false;
    stream->in_compressed = false;
    stream->in_error = 0;
    stream->out_error = 0;
    stream->gzip = false;
    atomic_store_explicit(&stream->in.interrupted, false, memory_order_relaxed);
    weft__half_abandon(&stream->in);
    weft__half_abandon(&stream->out);
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

static int end_input(weft_stream *stream, int rc)
{
    stream->in_over = true;
    stream->in_error = rc;
    return rc;
}

int weft__stream_begin_recv(weft_stream *stream)
{
    if (stream->in_over)
        return stream->in_error;
    if (!weft__half_idle(&stream->in))
        return 0;
    weft__half_begin(&stream->in);
    int rc = stream->vtable->recv(stream, &stream->in.op);
    if (rc == 0)
        return 0;
    weft__half_abandon(&stream->in);
    if (rc != -ESHUTDOWN) /* else the end has been told; a call that goes on must not do so without this side */
        stream->vtable->fail(stream, rc == -ENOMEM ? WEFT_RESOURCE_EXHAUSTED : stream->bad_code,
                             "a message could not be received");
    return end_input(stream, rc == -ENOMEM ? rc : stream->vtable->over(stream, rc));
}

static int read_message(weft_stream *stream, weft__rx *rx, ProtobufCMessage **out)
{
    int rc = 0;
    if (stream->scratch == NULL)
        rc = weft_arena_new(&stream->scratch, stream->scratch_bytes);
    if (rc < 0) {
        stream->engine->vtable->rx_release(rx);
    } else {
        weft_arena_reset(stream->scratch);
        rc = weft__message_unpack(stream->engine, rx, stream->receives, stream->guard, stream->max_message_bytes,
                                  stream->scratch, out, &stream->bad);
    }
    weft_code code = WEFT_OK;
    if (rc == 0)
        code = weft__intercept_recv(stream->call, *out);
    if (rc == 0 && code == WEFT_OK)
        return 1;
    if (rc < 0)
        stream->vtable->fail(stream, weft__message_code(rc, stream->call->client == NULL),
                             rc == -ENOMEM ? "a message needs more memory than a call may use" : stream->bad.text);
    else
        stream->vtable->fail(stream, code, stream->call->message.data);
    return end_input(stream, rc == -ENOMEM || rc == -EMSGSIZE ? rc : -EBADMSG);
}

int weft_stream_recv(weft_stream *stream, ProtobufCMessage **out)
{
    if (MISUSED(stream) || atomic_load_explicit(&stream->in.interrupted, memory_order_acquire))
        return -ECANCELED;
    int rc = weft__stream_begin_recv(stream);
    if (stream->in_over)
        return rc;
    if (!weft__half_done(&stream->in)) {
        if (weft__thread_is_loop())
            return -EAGAIN;
        rc = weft__half_wait(&stream->in, INT64_MAX);
        if (rc < 0)
            return rc == -EINTR ? -ECANCELED : rc;
    }
    weft__rx rx;
    int result = weft__half_reap(&stream->in);
    stream->vtable->take(stream, &rx);
    if (rx.impl == NULL)
        return end_input(stream, stream->vtable->over(stream, result));
    stream->in_compressed = rx.coding != WEFT__CODING_NONE;
    return read_message(stream, &rx, out);
}

bool weft_stream_recv_compressed(const weft_stream *stream)
{
    return stream->in_compressed;
}

int weft_stream_when_readable(weft_stream *stream, weft_ready_fn ready, void *arg)
{
    if (MISUSED(stream))
        return 1;
    (void)weft__stream_begin_recv(stream);
    return stream->in_over ? 1 : weft__half_tell(&stream->in, ready, arg);
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

/* The send that is done, if there is one, was the last: its error stays. */
static int reap_send(weft_stream *stream)
{
    if (weft__half_done(&stream->out) && weft__half_reap(&stream->out) < 0 && stream->out_error == 0)
        stream->out_error = stream->vtable->broken(stream);
    return stream->out_error;
}

int weft__stream_flush(weft_stream *stream)
{
    if (weft__half_idle(&stream->out) || weft__half_done(&stream->out))
        return reap_send(stream);
    if (weft__thread_is_loop())
        return -EAGAIN;
    int64_t deadline_ns = INT64_MAX;
    if (stream->stall_ms != INT64_MAX)
        deadline_ns = weft_engine_now_ns(stream->engine) + stream->stall_ms * ns_per_ms;
    int rc = weft__half_wait(&stream->out, deadline_ns);
    if (rc == -ETIMEDOUT) {
        stream->out_error = -ETIMEDOUT;
        stream->vtable->stalled(stream);
        rc = weft__half_wait(&stream->out, INT64_MAX);
    }
    return rc < 0 ? rc : reap_send(stream);
}

int weft__stream_send_tx(weft_stream *stream, weft__tx *message)
{
    weft__half_begin(&stream->out);
    int rc = stream->vtable->send(stream, message, &stream->out.op);
    if (rc == 0)
        return 0;
    weft__half_abandon(&stream->out);
    if (message != NULL)
        stream->engine->vtable->tx_unref(message);
    if (rc == -ENOMEM)
        return rc;
    stream->out_error = stream->vtable->broken(stream);
    return stream->out_error;
}

/* 0; -EPERM an interceptor refuses the message, and the call fails. */
static int intercept_send(weft_stream *stream, const ProtobufCMessage *message)
{
    weft_code code = weft__intercept_send(stream->call, message);
    if (code == WEFT_OK)
        return 0;
    stream->vtable->fail(stream, code, stream->call->message.data);
    stream->out_error = -EPERM;
    return -EPERM;
}

static int send_message(weft_stream *stream, const ProtobufCMessage *message, bool gzip)
{
    weft__tx tx;
    if (message->descriptor != stream->sends)
        return -EINVAL;
    int rc = weft__stream_flush(stream);
    if (rc == 0)
        rc = intercept_send(stream, message);
    if (rc == 0)
        rc = weft__message_pack(stream->engine, message, gzip, stream->max_send_bytes, &tx);
    return rc < 0 ? rc : weft__stream_send_tx(stream, &tx);
}

int weft_stream_send(weft_stream *stream, const ProtobufCMessage *message)
{
    return MISUSED(stream) ? -ECANCELED : send_message(stream, message, stream->gzip);
}

int weft_stream_send_plain(weft_stream *stream, const ProtobufCMessage *message)
{
    return MISUSED(stream) ? -ECANCELED : send_message(stream, message, false);
}

int weft_stream_when_writable(weft_stream *stream, weft_ready_fn ready, void *arg)
{
    return MISUSED(stream) || weft__half_idle(&stream->out) ? 1 : weft__half_tell(&stream->out, ready, arg);
}

/* ---- one message to many streams --------------------------------------------------------------------------------- */

struct weft_packed {
    weft_engine *engine;
    const ProtobufCMessageDescriptor *type;
    weft__tx tx;
    weft__tx compressed; /* the same, if it is not smaller */
};

int weft_packed_new(weft_packed **out, weft_engine *engine, const ProtobufCMessage *message)
{
    weft_packed *packed = malloc(sizeof *packed);
    if (packed == NULL)
        return -ENOMEM;
    packed->engine = engine;
    packed->type = message->descriptor;
    int rc = weft__message_pack(engine, message, false, INT64_MAX, &packed->tx);
    if (rc < 0) {
        free(packed);
        return rc;
    }
    packed->compressed = packed->tx;
    engine->vtable->tx_ref(&packed->compressed);
    *out = packed;
    return 0;
}

int weft_packed_compress(weft_packed *packed)
{
    return packed->compressed.gzip ? 0 : weft__message_compress(packed->engine, &packed->compressed);
}

int64_t weft__packed_bytes(const weft_packed *packed)
{
    return (int64_t)packed->tx.len + (packed->compressed.gzip ? (int64_t)packed->compressed.len : 0);
}

void weft_packed_free(weft_packed *packed)
{
    if (packed == NULL)
        return;
    packed->engine->vtable->tx_unref(&packed->tx);
    packed->engine->vtable->tx_unref(&packed->compressed);
    free(packed);
}

int weft_stream_send_packed(weft_stream *stream, const weft_packed *packed)
{
    if (MISUSED(stream))
        return -ECANCELED;
    if (packed->engine != stream->engine || packed->type != stream->sends)
        return -EINVAL;
    if ((uint64_t)packed->tx.len > (uint64_t)stream->max_send_bytes)
        return -EMSGSIZE;
    int rc = weft__stream_flush(stream);
    if (rc == 0)
        rc = intercept_send(stream, NULL);
    if (rc < 0)
        return rc;
    weft__tx tx = stream->gzip ? packed->compressed : packed->tx;
    stream->engine->vtable->tx_ref(&tx);
    return weft__stream_send_tx(stream, &tx);
}
