/* client_call.c: the life of one call on the client.
 *
 *   new ──▶ unary ──▶ one batch ──────────────▶ end ──▶ result ──▶ free: used again
 *      └──▶ start ──▶ send, recv, half_close ─▶ end ─┘
 *
 * Design notes
 * - A unary call is one batch for all but the response, a receive for that, and, once it is there, another receive,
 *   which must find the end. One batch would do for a server that keeps to one response; but gRPC core holds back the
 *   status while there is a message that nobody has received, so after two the call would never end.
 * - A stream's batches: "status", "start" (headers, and what start was given), "headers" (the server's), and those of
 *   send, recv and half_close. `end` is told when the status is there and nothing else is outstanding: who takes
 *   `outstanding` to zero tells it. (gRPC core gives the status after the last message has been received.)
 * - gRPC core allows one message on its way. The message that start was given may still be when `send` comes: that send
 *   then waits in `first`, and the completion of "start" begins it.
 * - gRPC core drops the messages of a stream that is cancelled, expires or loses its connection, but keeps an OK that
 *   has come and that nobody has asked for yet. So the status is asked for before anything is sent.
 * - That leaves a stream that is cancelled, or expires, while its last messages and its status come in: a receive may
 *   fail, or find no more, with an OK. Unless a receive has found before that there are no more, such a stream is not
 *   OK. That is settled when the end is told, before anybody looks at the result.
 * - cancel may come at any time from any thread, also before the call has a gRPC call: then start finds it.
 * - Objects are used again, and remember the path of their last call, which most likely is that of their next.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/slice_buffer.h>
#include <grpc/support/alloc.h>

#include "base/thread.h"
#include "transport/core/client.h"

enum {
    MAX_FREE_CALLS = 256
};

/* The first cancel counts. While it writes its words down, others have nothing to do: it cancels for them. */
enum cancelled {
    NOT_CANCELLED,
    BEING_CANCELLED,
    CANCELLED
};

/* What is with the message that start was given. */
enum first {
    FIRST_DONE,
    FIRST_UNDER_WAY,
    FIRST_THEN_SEND
};

struct weft_core_ccall {
    weft__ccall base;
    weft_core_channel *channel;
    weft_core_ccall *next; /* in the free list */
    grpc_slice path;       /* of the last call; empty at first */
    _Atomic(grpc_call *) call;
    atomic_int cancelled; /* enum cancelled */
    weft_code cancel_code;
    const char *cancel_message;

    grpc_metadata_array headers;
    grpc_metadata_array trailers;
    grpc_status_code status;
    grpc_slice details;
    const char *error; /* gRPC core's own words, for a status that is not OK */
    grpc_byte_buffer *received;
    grpc_byte_buffer *second; /* a response too many */
    grpc_byte_buffer message; /* to send */
    size_t sent_bytes;        /* the size of the latest one */

    atomic_int outstanding;
    atomic_int first;
    bool unary;
    bool none;      /* came, where there must be one response */
    bool whole;     /* a stream, of which all has been received */
    bool dropped;   /* a message, by gRPC core */
    bool cut_short; /* a stream, of which messages may be missing */
    int64_t deadline_ns;
    bool more;        /* of the latest send */
    weft__tx waiting; /* the send that waits for start's */
    weft__op *end_op;
    weft__op *recv_op;
    weft__op *send_op;
    weft__op *close_op;
    weft_core_tag on_end;
    weft_core_tag on_response;
    weft_core_tag on_second;
    weft_core_tag on_start;
    weft_core_tag on_headers;
    weft_core_tag on_recv;
    weft_core_tag on_send;
    weft_core_tag on_close;
    weft_core_tag on_last;
};

static const weft__ccall_vtable vtable;

static weft_core_ccall *from_base(weft__ccall *base)
{
    return WEFT__CONTAINER_OF(base, weft_core_ccall, base);
}

/* ---- call objects ------------------------------------------------------------------------------------------------ */

static void run_end(weft_core_tag *tag, bool ok);
static void run_response(weft_core_tag *tag, bool ok);
static void run_second(weft_core_tag *tag, bool ok);
static void run_start(weft_core_tag *tag, bool ok);
static void run_headers(weft_core_tag *tag, bool ok);
static void run_recv(weft_core_tag *tag, bool ok);
static void run_send(weft_core_tag *tag, bool ok);
static void run_close(weft_core_tag *tag, bool ok);
static void run_last(weft_core_tag *tag, bool ok);

static weft_core_ccall *make(weft_core_channel *channel)
{
    weft_core_ccall *call = calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->base.vtable = &vtable;
    call->channel = channel;
    call->path = grpc_empty_slice();
    call->details = grpc_empty_slice();
    weft__core_buffer_init(&call->message);
    call->on_end.run = run_end;
    call->on_response.run = run_response;
    call->on_second.run = run_second;
    call->on_start.run = run_start;
    call->on_headers.run = run_headers;
    call->on_recv.run = run_recv;
    call->on_send.run = run_send;
    call->on_close.run = run_close;
    call->on_last.run = run_last;
    return call;
}

int weft__core_ccall_new(weft__tchannel *base, weft__ccall **out)
{
    weft_core_channel *channel = WEFT__CONTAINER_OF(base, weft_core_channel, base);
    pthread_mutex_lock(&channel->lock);
    weft_core_ccall *call = channel->free_calls;
    if (call != NULL) {
        channel->free_calls = call->next;
        channel->free_count--;
    }
    pthread_mutex_unlock(&channel->lock);
    if (call == NULL)
        call = make(channel);
    if (call == NULL)
        return -ENOMEM;
    atomic_store_explicit(&call->cancelled, NOT_CANCELLED, memory_order_relaxed);
    *out = &call->base;
    return 0;
}

static void unmake(weft_core_ccall *call)
{
    weft__core_buffer_fini(&call->message);
    grpc_slice_unref(call->path);
    free(call);
}

/* Drops what one gRPC call has left. */
static void reset(weft_core_ccall *call)
{
    grpc_call *grpc = atomic_exchange(&call->call, NULL);
    if (grpc == NULL)
        return;
    grpc_slice_buffer_reset_and_unref(&call->message.data.raw.slice_buffer);
    grpc_byte_buffer_destroy(call->received);
    grpc_byte_buffer_destroy(call->second);
    grpc_metadata_array_destroy(&call->headers);
    grpc_metadata_array_destroy(&call->trailers);
    grpc_slice_unref(call->details);
    gpr_free((void *)(uintptr_t)call->error);
    grpc_call_unref(grpc);
    call->received = NULL;
    call->second = NULL;
    call->details = grpc_empty_slice();
    call->error = NULL;
}

static void free_call(weft__ccall *base)
{
    weft_core_ccall *call = from_base(base);
    weft_core_channel *channel = call->channel;
    reset(call);
    pthread_mutex_lock(&channel->lock);
    bool keep = channel->free_count < MAX_FREE_CALLS;
    if (keep) {
        call->next = channel->free_calls;
        channel->free_calls = call;
        channel->free_count++;
    }
    pthread_mutex_unlock(&channel->lock);
    if (!keep)
        unmake(call);
}

void weft__core_ccall_free_all(weft_core_channel *channel)
{
    while (channel->free_calls != NULL) {
        weft_core_ccall *call = channel->free_calls;
        channel->free_calls = call->next;
        unmake(call);
    }
}

/* ---- cancel ------------------------------------------------------------------------------------------------------ */

static bool is_cancelled(const weft_core_ccall *call)
{
    return atomic_load(&call->cancelled) == CANCELLED;
}

static void apply_cancel(weft_core_ccall *call, grpc_call *grpc)
{
    (void)grpc_call_cancel_with_status(grpc, (grpc_status_code)call->cancel_code, call->cancel_message, NULL);
}

static void cancel(weft__ccall *base, weft_code code, const char *message)
{
    weft_core_ccall *call = from_base(base);
    int not_cancelled = NOT_CANCELLED;
    if (!atomic_compare_exchange_strong(&call->cancelled, &not_cancelled, BEING_CANCELLED))
        return;
    call->cancel_code = code;
    call->cancel_message = message != NULL ? message : "";
    atomic_store(&call->cancelled, CANCELLED);
    grpc_call *grpc = atomic_load(&call->call);
    if (grpc != NULL) /* or begin_call will find that it is cancelled */
        apply_cancel(call, grpc);
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

static void set_path(weft_core_ccall *call, const char *path)
{
    size_t len = strlen(path);
    if (len == GRPC_SLICE_LENGTH(call->path) && memcmp(GRPC_SLICE_START_PTR(call->path), path, len) == 0)
        return;
    grpc_slice_unref(call->path);
    call->path = grpc_slice_from_copied_buffer(path, len);
}

/* Makes the gRPC call and copies the metadata; a cancel that came before the call did is caught up with.
 *
 * @param link is to be let go once the first batch has been started: on a link that was replaced, and destroyed before
 *             it had a connection, that would wait in gRPC core for ever. */
static int begin_call(weft_core_ccall *call, const weft__call_args *args, weft_core_metadata *metadata,
                      weft_core_link **link)
{
    int rc = weft__core_metadata_copy(metadata, args->metadata, args->metadata_count);
    if (rc < 0)
        return rc;
    weft__core_metadata_add_accept_encoding(metadata);
    if (args->gzip)
        weft__core_metadata_add_encoding(metadata);
    set_path(call, args->method->path);
    grpc_metadata_array_init(&call->headers);
    grpc_metadata_array_init(&call->trailers);
    call->status = GRPC_STATUS_UNKNOWN;
    call->none = false;
    call->whole = false;
    call->dropped = false;
    call->cut_short = false;
    call->deadline_ns = args->deadline_ns;
    *link = weft__core_channel_hold(call->channel);
    grpc_call *grpc = grpc_channel_create_call((*link)->grpc, NULL, 0, call->channel->queue, call->path, NULL,
                                               weft__core_time(args->deadline_ns), NULL);
    weft__clock *clock = call->channel->engine->clock;
    atomic_store(&call->call, grpc);
    if (is_cancelled(call))
        apply_cancel(call, grpc);
    else if (args->deadline_ns <= clock->now_ns(clock)) /* gRPC core's timer may come later than an answer */
        cancel(&call->base, WEFT_DEADLINE_EXCEEDED, "Deadline Exceeded");
    return 0;
}

static grpc_op send_headers_op(const weft__call_args *args, const weft_core_metadata *metadata)
{
    return (grpc_op){
        .op = GRPC_OP_SEND_INITIAL_METADATA,
        .flags = args->wait_for_ready
                     ? GRPC_INITIAL_METADATA_WAIT_FOR_READY | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET
                     : 0,
        .data.send_initial_metadata = {.count = metadata->count, .metadata = metadata->items},
    };
}

static grpc_op receive_headers_op(weft_core_ccall *call)
{
    return (grpc_op){.op = GRPC_OP_RECV_INITIAL_METADATA,
                     .data.recv_initial_metadata.recv_initial_metadata = &call->headers};
}

static grpc_op receive_message_op(grpc_byte_buffer **out)
{
    return (grpc_op){.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = out};
}

static grpc_op receive_status_op(weft_core_ccall *call)
{
    return (grpc_op){.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                     .data.recv_status_on_client = {.trailing_metadata = &call->trailers,
                                                    .status = &call->status,
                                                    .status_details = &call->details,
                                                    .error_string = &call->error}};
}

/* Takes the message's reference along; it is the last operation of its batch, so that nothing fails after it. */
static grpc_op send_message_op(weft_core_ccall *call, const weft__tx *message, bool more)
{
    call->sent_bytes = message->len;
    return weft__core_send_message(&call->message, message, more);
}

/* Gives the reference of a message back to the caller, whose batch did not start. */
static void give_message_back(weft_core_ccall *call)
{
    if (call->message.data.raw.slice_buffer.count > 0)
        (void)grpc_slice_buffer_take_first(&call->message.data.raw.slice_buffer);
}

/* ---- completing -------------------------------------------------------------------------------------------------- */

/* Whether gRPC core may have dropped messages by now. */
static bool may_drop(const weft_core_ccall *call)
{
    weft__clock *clock = call->channel->engine->clock;
    return is_cancelled(call) || (call->deadline_ns != INT64_MAX && call->deadline_ns <= clock->now_ns(clock));
}

static void run_last(weft_core_tag *tag, bool ok)
{
    weft_core_ccall *call = WEFT__CONTAINER_OF(tag, weft_core_ccall, on_last);
    (void)ok;
    call->cut_short = !call->unary && !call->whole && (call->dropped || may_drop(call));
    call->end_op->done(call->end_op, 0);
}

static void complete_one(weft_core_ccall *call)
{
    if (atomic_fetch_sub_explicit(&call->outstanding, 1, memory_order_acq_rel) > 1)
        return;
    if (weft__thread_is_loop())
        run_last(&call->on_last, true);
    else /* it completed where it was started, and the program's callback must not run there */
        (void)grpc_call_start_batch(atomic_load_explicit(&call->call, memory_order_relaxed), NULL, 0, &call->on_last,
                                    NULL);
}

static void run_end(weft_core_tag *tag, bool ok)
{
    (void)ok;
    complete_one(WEFT__CONTAINER_OF(tag, weft_core_ccall, on_end));
}

/* For a batch that the end waits for and that did not start: cancels the call, and completes it by an empty one. */
static void abandon(weft_core_ccall *call, weft_core_tag *tag)
{
    grpc_call *grpc = atomic_load_explicit(&call->call, memory_order_relaxed);
    (void)grpc_call_cancel(grpc, NULL);
    (void)grpc_call_start_batch(grpc, NULL, 0, tag, NULL);
}

/* Starts a batch that the end waits for: 0; -ESHUTDOWN the end has been told; -EIO. */
static int start_batch(weft_core_ccall *call, const grpc_op *ops, size_t count, weft_core_tag *tag)
{
    grpc_call *grpc = atomic_load_explicit(&call->call, memory_order_relaxed);
    int outstanding = atomic_load_explicit(&call->outstanding, memory_order_relaxed);
    do {
        if (outstanding == 0)
            return -ESHUTDOWN;
    } while (!atomic_compare_exchange_weak(&call->outstanding, &outstanding, outstanding + 1));
    if (weft__core_start(call->channel->queue, grpc, ops, count, tag) == GRPC_CALL_OK)
        return 0;
    (void)grpc_call_cancel(grpc, NULL);
    complete_one(call);
    return -EIO;
}

/* ---- unary ------------------------------------------------------------------------------------------------------- */

static int unary(weft__ccall *base, const weft__call_args *args, weft__op *op)
{
    weft_core_ccall *call = from_base(base);
    weft_core_metadata metadata;
    weft_core_link *link;
    int rc = begin_call(call, args, &metadata, &link);
    if (rc < 0)
        return rc;
    call->unary = true;
    call->end_op = op;
    atomic_store_explicit(&call->outstanding, 2, memory_order_relaxed); /* until the response's receive is started */
    const grpc_op ops[] = {
        send_headers_op(args, &metadata), {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},      receive_headers_op(call),
        receive_status_op(call),          send_message_op(call, args->message, false),
    };
    grpc_call *grpc = atomic_load_explicit(&call->call, memory_order_relaxed);
    grpc_call_error error = grpc_call_start_batch(grpc, ops, sizeof ops / sizeof *ops, &call->on_end, NULL);
    weft__core_channel_let_go(call->channel, link); /* the call has not ended: see outstanding */
    weft__core_metadata_drop(&metadata);
    if (error != GRPC_CALL_OK) {
        give_message_back(call);
        reset(call);
        return -EINVAL;
    }
    grpc_op receive = receive_message_op(&call->received);
    if (grpc_call_start_batch(grpc, &receive, 1, &call->on_response, NULL) != GRPC_CALL_OK)
        abandon(call, &call->on_response);
    return 0;
}

static void run_response(weft_core_tag *tag, bool ok)
{
    weft_core_ccall *call = WEFT__CONTAINER_OF(tag, weft_core_ccall, on_response);
    (void)ok;
    call->none = call->received == NULL;
    if (call->received != NULL) {
        grpc_op receive = receive_message_op(&call->second);
        (void)start_batch(call, &receive, 1, &call->on_second);
    }
    complete_one(call);
}

static void run_second(weft_core_tag *tag, bool ok)
{
    weft_core_ccall *call = WEFT__CONTAINER_OF(tag, weft_core_ccall, on_second);
    (void)ok;
    if (call->second != NULL) /* and there may be more, which would hold back the status */
        (void)grpc_call_cancel(atomic_load_explicit(&call->call, memory_order_relaxed), NULL);
    complete_one(call);
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

static void run_headers(weft_core_tag *tag, bool ok)
{
    (void)ok;
    complete_one(WEFT__CONTAINER_OF(tag, weft_core_ccall, on_headers));
}

/* The batch "start". */
static void start_sending(weft_core_ccall *call, const weft__call_args *args, const weft_core_metadata *metadata)
{
    grpc_op ops[3];
    size_t count = 0;
    ops[count++] = send_headers_op(args, metadata);
    if (args->half_close)
        ops[count++] = (grpc_op){.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    if (args->message != NULL)
        ops[count++] = send_message_op(call, args->message, false);
    grpc_call *grpc = atomic_load_explicit(&call->call, memory_order_relaxed);
    if (grpc_call_start_batch(grpc, ops, count, &call->on_start, NULL) == GRPC_CALL_OK)
        return;
    grpc_slice_buffer_reset_and_unref(&call->message.data.raw.slice_buffer); /* the call has begun, and owns it */
    abandon(call, &call->on_start);
}

static int start(weft__ccall *base, const weft__call_args *args, weft__op *end_op)
{
    weft_core_ccall *call = from_base(base);
    weft_core_metadata metadata;
    weft_core_link *link;
    for (size_t i = 0; i < args->metadata_count; i++) /* gRPC core would say so when the status is asked for already */
        if (!weft__metadata_is_legal(args->metadata[i].key, args->metadata[i].value))
            return -EINVAL;
    int rc = begin_call(call, args, &metadata, &link);
    if (rc < 0)
        return rc;
    call->unary = false;
    call->end_op = end_op;
    atomic_store_explicit(&call->first, FIRST_UNDER_WAY, memory_order_relaxed);
    atomic_store_explicit(&call->outstanding, 3, memory_order_relaxed); /* "status", "start" and "headers" */
    grpc_call *grpc = atomic_load_explicit(&call->call, memory_order_relaxed);
    grpc_op status = receive_status_op(call);
    grpc_call_error error = grpc_call_start_batch(grpc, &status, 1, &call->on_end, NULL);
    if (error == GRPC_CALL_OK)
        start_sending(call, args, &metadata);
    weft__core_channel_let_go(call->channel, link); /* the call has not ended: see outstanding */
    weft__core_metadata_drop(&metadata);
    if (error != GRPC_CALL_OK) {
        reset(call);
        return -EINVAL;
    }
    grpc_op headers = receive_headers_op(call);
    if (grpc_call_start_batch(grpc, &headers, 1, &call->on_headers, NULL) != GRPC_CALL_OK)
        abandon(call, &call->on_headers);
    return 0;
}

static int start_send(weft_core_ccall *call, const weft__tx *message)
{
    grpc_op send = send_message_op(call, message, call->more);
    return start_batch(call, &send, 1, &call->on_send);
}

static int send_message(weft__ccall *base, weft__tx *message, bool more, weft__op *op)
{
    weft_core_ccall *call = from_base(base);
    int under_way = FIRST_UNDER_WAY;
    call->send_op = op;
    call->more = more;
    if (atomic_load(&call->first) == FIRST_UNDER_WAY) {
        call->waiting = *message;
        if (atomic_compare_exchange_strong(&call->first, &under_way, FIRST_THEN_SEND))
            return 0;
    }
    int rc = start_send(call, message);
    if (rc < 0)
        give_message_back(call);
    return rc;
}

static void run_start(weft_core_tag *tag, bool ok)
{
    weft_core_ccall *call = WEFT__CONTAINER_OF(tag, weft_core_ccall, on_start);
    (void)ok;
    if (atomic_exchange(&call->first, FIRST_DONE) == FIRST_THEN_SEND && start_send(call, &call->waiting) < 0)
        call->send_op->done(call->send_op, -ECANCELED);
    complete_one(call);
}

static void run_send(weft_core_tag *tag, bool ok)
{
    weft_core_ccall *call = WEFT__CONTAINER_OF(tag, weft_core_ccall, on_send);
    call->send_op->done(call->send_op, ok ? 0 : -ECANCELED);
    complete_one(call);
}

static int half_close(weft__ccall *base, weft__op *op)
{
    weft_core_ccall *call = from_base(base);
    grpc_op close = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    call->close_op = op;
    return start_batch(call, &close, 1, &call->on_close);
}

static void run_close(weft_core_tag *tag, bool ok)
{
    weft_core_ccall *call = WEFT__CONTAINER_OF(tag, weft_core_ccall, on_close);
    call->close_op->done(call->close_op, ok ? 0 : -ECANCELED);
    complete_one(call);
}

static int recv_message(weft__ccall *base, weft__op *op)
{
    weft_core_ccall *call = from_base(base);
    grpc_op receive = receive_message_op(&call->received);
    call->recv_op = op;
    return start_batch(call, &receive, 1, &call->on_recv);
}

static void run_recv(weft_core_tag *tag, bool ok)
{
    weft_core_ccall *call = WEFT__CONTAINER_OF(tag, weft_core_ccall, on_recv);
    if (call->received == NULL && !ok)
        call->dropped = true;
    else if (call->received == NULL && !may_drop(call))
        call->whole = true;
    call->recv_op->done(call->recv_op, ok ? 0 : -ECANCELED);
    complete_one(call);
}

static void take(weft__ccall *base, weft__rx *out)
{
    weft_core_ccall *call = from_base(base);
    *out = weft__core_rx(atomic_load_explicit(&call->call, memory_order_relaxed), call->received);
    call->received = NULL;
}

/* ---- the result -------------------------------------------------------------------------------------------------- */

static bool begins(const char *text, const char *with)
{
    return text != NULL && strncmp(text, with, strlen(with)) == 0;
}

/* Whether a text is what the system calls an error of a socket, which gRPC core may lead in by the name of the function
 * that failed. */
static bool is_socket_error(weft_sv text)
{
    static const size_t lead_in = sizeof "recvmsg:" - 1;
    if (text.len > lead_in &&
        (memcmp(text.data, "recvmsg:", lead_in) == 0 || memcmp(text.data, "sendmsg:", lead_in) == 0))
        text = (weft_sv){text.data + lead_in, text.len - lead_in};
    static const int errors[] = {ECONNRESET, EPIPE, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ENETDOWN, ECONNABORTED};
    char name[128];
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strerror_r(errors[i], name, sizeof name) == 0 && weft_sv_is(text, name))
            return true;
    return false;
}

/* Whether a text is one that gRPC core makes up when a connection or stream breaks. */
static bool is_broken_connection(weft_sv text)
{
    static const char *const texts[] = {
        "Socket closed",        "Transport closed",
        "Transport destroyed",  "GOAWAY received",
        "Endpoint read failed", "Failed parsing HTTP/2",
        "Stream IDs exhausted", "Delayed close due to in-progress write",
        "Stream removed",       "keepalive watchdog timeout",
        "Buffers full",
    };
    static const char reset[] = "Received RST_STREAM with error code ";
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (weft_sv_is(text, texts[i]))
            return true;
    return (text.len > sizeof reset - 1 && memcmp(text.data, reset, sizeof reset - 1) == 0) || is_socket_error(text);
}

static bool is_own_cancel(weft_core_ccall *call, weft_sv text)
{
    return is_cancelled(call) && (int)call->cancel_code == (int)call->status && weft_sv_is(text, call->cancel_message);
}

/* Whether it was this channel's limit that the response was over. The peer says the same of a request over its own
 * limit, but then with the size that was sent. */
static bool is_own_limit(const weft_core_ccall *call, weft_sv text)
{
    char copy[96];
    uint64_t size;
    int64_t max;
    if (text.len >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return sscanf(copy, "Received message larger than max (%" SCNu64 " vs. %" SCNd64 ")", &size, &max) == 2 &&
           max == call->channel->config.max_message_bytes && size != call->sent_bytes;
}

/* Whether the peer itself told this status. Not easy to know: when a call ends here (by its deadline, by cancel, by a
 * lost connection), gRPC core makes up trailers that look as if the peer had sent them, but for their texts. A peer
 * that sends one of these texts is not believed: it is a proxy that speaks of its own connection. */
static bool from_peer(weft_core_ccall *call)
{
    weft_sv text = weft__core_sv(&call->details);
    if (call->status == GRPC_STATUS_OK)
        return true;
    if (!begins(call->error, "UNKNOWN:Error received from peer"))
        return false;
    if (call->status == GRPC_STATUS_DEADLINE_EXCEEDED && weft_sv_is(text, "Deadline Exceeded"))
        return false;
    return !is_own_cancel(call, text) && !is_own_limit(call, text) && !is_broken_connection(text);
}

/* Whether it waited for a link to connect, and that is destroyed, because its certificates are old. gRPC core calls
 * that UNKNOWN. */
static bool lost_its_link(const weft_core_ccall *call)
{
    return begins(call->error, "UNKNOWN:Channel Destroyed");
}

/* Whether gRPC core gave up before there was a connection. */
static bool never_connected(const weft_core_ccall *call)
{
    return lost_its_link(call) || begins(call->error, "UNKNOWN:failed to connect to all addresses") ||
           begins(call->error, "UNKNOWN:DNS resolution failed") || begins(call->error, "UNKNOWN:empty address list");
}

static weft__seen seen(weft_core_ccall *call)
{
    if (from_peer(call) || call->headers.count > 0 || is_own_limit(call, weft__core_sv(&call->details)))
        return WEFT__SEEN_YES;
    return never_connected(call) ? WEFT__SEEN_NO : WEFT__SEEN_MAYBE;
}

static void decide(weft__result *out, weft_code code, const char *text)
{
    out->code = code;
    out->from_peer = false;
    out->message = weft_sv_from(text);
}

static void decide_cut_short(const weft_core_ccall *call, weft__result *out)
{
    if (is_cancelled(call))
        decide(out, call->cancel_code, call->cancel_message);
    else if (may_drop(call))
        decide(out, WEFT_DEADLINE_EXCEEDED, "Deadline Exceeded");
    else
        decide(out, WEFT_INTERNAL, "messages of the answer were lost");
}

static void result(weft__ccall *base, weft__result *out)
{
    weft_core_ccall *call = from_base(base);
    *out = (weft__result){
        .code = (int)call->status >= 0 && (int)call->status <= 16 ? (weft_code)call->status : WEFT_UNKNOWN,
        .from_peer = from_peer(call),
        .seen = seen(call),
        .message = weft__core_sv(&call->details),
        .headers = weft__core_md(&call->headers),
        .trailers = weft__core_md(&call->trailers),
        .response = weft__core_rx(NULL, NULL),
    };
    if (lost_its_link(call))
        decide(out, WEFT_UNAVAILABLE, "the certificates were rotated before there was a connection");
    if (call->status == GRPC_STATUS_OK && (call->cut_short || (call->none && may_drop(call))))
        decide_cut_short(call, out);
    if (!call->unary)
        return;
    out->response = weft__core_rx(atomic_load_explicit(&call->call, memory_order_relaxed), call->received);
    call->received = NULL;
    if (call->second != NULL)
        decide(out, WEFT__CARDINALITY_VIOLATION, "the server answered with more than one response");
    else if (call->none && out->code == WEFT_OK)
        decide(out, WEFT__CARDINALITY_VIOLATION, "the server answered OK without a response");
}

static size_t peer(weft__ccall *base, char *out, size_t size)
{
    weft_core_ccall *call = from_base(base);
    grpc_call *grpc = atomic_load_explicit(&call->call, memory_order_relaxed);
    /* For a call that failed here gRPC core names the channel's target instead. */
    return weft__core_peer(grpc, from_peer(call) ? NULL : call->channel->target, out, size);
}

static const weft__ccall_vtable vtable = {
    .unary = unary,
    .start = start,
    .recv = recv_message,
    .take = take,
    .send = send_message,
    .half_close = half_close,
    .cancel = cancel,
    .result = result,
    .peer = peer,
    .free = free_call,
};
