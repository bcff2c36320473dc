/* server_call.c: the life of one call on the server.
 *
 *   arrival ──▶ [second receive] ──▶ begin ──▶ finish ──▶ all outstanding completed ──▶ ended ──▶ used again
 *                one_request only          └─▶ cancel ─▶
 *
 * Design notes
 * - `outstanding` counts the operations under way, as one the life of the call from arrival to the completion of the
 *   batch that ends it (finish, or the empty batch of cancel), and as another the begin, so that no begin still runs
 *   when the server is told to be closed. Whoever takes it to zero ends the call, always on a thread of the queue:
 *   what completes on the thread that started it is within the call's life.
 * - gRPC core answers OK to a unary call with no request and with two. So a second receive is started before begin: it
 *   must find the end. It also ends when the call was cancelled; grpc_call_failed_before_recv_message tells the two
 *   apart, and a handler never begins for a request that its client has not completed.
 * - `ending` says who ends the call. It is set before the last batch starts, so that a cancellation that comes after
 *   is not told: it no longer matters.
 * - A batch that gRPC core refuses has burnt a slot of the call, so nothing can be tried again: the call is cancelled.
 *   All arguments are checked above the seam, so this is not expected.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/slice_buffer.h>

#include "transport/core/server.h"

enum {
    MAX_FREE_CALLS = 256 /* a lane */
};

enum ending {
    RUNNING,
    FINISHED,
    CANCELLED
};

struct weft_core_scall {
    weft__scall base;
    weft_core_lane *lane;
    weft_core_scall *next; /* in the free list */
    grpc_call *call;
    const weft_core_method *method;
    grpc_metadata_array headers;
    gpr_timespec deadline;
    grpc_slice path;
    grpc_byte_buffer *request;
    grpc_byte_buffer *received; /* by the second receive, or a stream's */
    grpc_byte_buffer message;   /* to send */
    atomic_int outstanding;
    atomic_int ending;
    bool watched;
    bool sent_headers;
    bool strange_coding; /* a message came that is compressed in a way we do not take */
    int cancelled;
    weft__op *recv_op;
    weft__op *send_op;
    weft_core_tag on_second;
    weft_core_tag on_close;
    weft_core_tag on_end;
    weft_core_tag on_recv;
    weft_core_tag on_send;
    _Alignas(max_align_t) unsigned char state[];
};

static const weft__scall_vtable vtable;

static weft_core_scall *from_base(weft__scall *base)
{
    return WEFT__CONTAINER_OF(base, weft_core_scall, base);
}

static const weft__server_config *config_of(const weft_core_scall *call)
{
    return &call->lane->server->config;
}

/* ---- call objects ------------------------------------------------------------------------------------------------ */

static void run_second(weft_core_tag *tag, bool ok);
static void run_close(weft_core_tag *tag, bool ok);
static void run_end(weft_core_tag *tag, bool ok);
static void run_recv(weft_core_tag *tag, bool ok);
static void run_send(weft_core_tag *tag, bool ok);

static weft_core_scall *make(weft_core_lane *lane)
{
    const weft__server_config *config = &lane->server->config;
    weft_core_scall *call = malloc(sizeof *call + config->call_size);
    if (call == NULL)
        return NULL;
    memset(call, 0, sizeof *call);
    call->base.vtable = &vtable;
    call->base.state = call->state;
    call->lane = lane;
    call->on_second.run = run_second;
    call->on_close.run = run_close;
    call->on_end.run = run_end;
    call->on_recv.run = run_recv;
    call->on_send.run = run_send;
    if (config->events->init(config->user, &call->base) < 0) {
        free(call);
        return NULL;
    }
    weft__core_buffer_init(&call->message);
    return call;
}

static void unmake(weft_core_scall *call)
{
    config_of(call)->events->fini(config_of(call)->user, &call->base);
    weft__core_buffer_fini(&call->message);
    free(call);
}

weft_core_scall *weft__core_scall_take(weft_core_lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    weft_core_scall *call = lane->free_calls;
    if (call != NULL) {
        lane->free_calls = call->next;
        lane->free_count--;
    }
    lane->users++;
    pthread_mutex_unlock(&lane->lock);
    if (call == NULL)
        call = make(lane);
    if (call == NULL)
        weft__core_lane_leave(lane);
    return call;
}

static void give_back(weft_core_scall *call)
{
    weft_core_lane *lane = call->lane;
    pthread_mutex_lock(&lane->lock);
    bool keep = lane->free_count < MAX_FREE_CALLS;
    if (keep) {
        call->next = lane->free_calls;
        lane->free_calls = call;
        lane->free_count++;
    }
    bool last = --lane->users == 0;
    pthread_mutex_unlock(&lane->lock);
    if (!keep)
        unmake(call);
    if (last)
        weft__core_server_close_one(lane->server);
}

void weft__core_scall_free_all(weft_core_lane *lane)
{
    while (lane->free_calls != NULL) {
        weft_core_scall *call = lane->free_calls;
        lane->free_calls = call->next;
        unmake(call);
    }
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void end(weft_core_scall *call)
{
    const weft__server_config *config = config_of(call);
    config->events->ended(config->user, &call->base);
    grpc_byte_buffer_destroy(call->request);
    grpc_byte_buffer_destroy(call->received);
    grpc_slice_buffer_reset_and_unref(&call->message.data.raw.slice_buffer);
    grpc_metadata_array_destroy(&call->headers);
    grpc_slice_unref(call->path);
    grpc_call_unref(call->call);
    give_back(call);
}

static void complete_one(weft_core_scall *call)
{
    if (atomic_fetch_sub_explicit(&call->outstanding, 1, memory_order_acq_rel) == 1)
        end(call);
}

/* ---- from arrival to begin --------------------------------------------------------------------------------------- */

/* What has been received. */
static weft__rx receive(weft_core_scall *call, grpc_byte_buffer *buffer)
{
    weft__rx rx = weft__core_rx(call->call, buffer);
    call->strange_coding |= rx.coding == WEFT__CODING_OTHER || rx.coding == WEFT__CODING_UNNAMED;
    return rx;
}

static void begin(weft_core_scall *call, weft_code refuse, const char *refuse_message)
{
    const weft__server_config *config = config_of(call);
    const weft__server_method *method = call->method->method;
    grpc_byte_buffer *request = call->request;
    weft__call_start start = {
        .method = method,
        .path = method != NULL ? weft_sv_from(method->path) : weft__core_sv(&call->path),
        .deadline_ns = weft__core_time_ns(call->deadline),
        .headers = weft__core_md(&call->headers),
        .refuse = refuse,
        .refuse_message = refuse_message,
    };
    if (refuse == WEFT_OK && request != NULL) {
        call->request = NULL;
        start.message = receive(call, request);
    }
    config->events->begin(config->user, &call->base, &start);
    complete_one(call);
}

static void run_second(weft_core_tag *tag, bool ok)
{
    weft_core_scall *call = WEFT__CONTAINER_OF(tag, weft_core_scall, on_second);
    if (!ok || call->received != NULL)
        begin(call, WEFT__CARDINALITY_VIOLATION, "more than one request for a method that takes one");
    else if (grpc_call_failed_before_recv_message(call->call))
        begin(call, WEFT_CANCELLED, "the call ended before its request was complete");
    else if (grpc_byte_buffer_length(call->request) > (uint64_t)call->method->method->max_message_bytes)
        begin(call, WEFT_RESOURCE_EXHAUSTED, "the request is larger than this method takes");
    else
        begin(call, WEFT_OK, NULL);
}

void weft__core_scall_begin(weft_core_scall *call, const weft_core_arrival *arrival)
{
    call->call = arrival->call;
    call->method = arrival->method;
    call->headers = arrival->headers;
    call->deadline = arrival->deadline;
    call->request = arrival->request;
    call->path = arrival->path;
    call->received = NULL;
    call->watched = false;
    call->sent_headers = false;
    call->strange_coding = false;
    call->cancelled = 0;
    atomic_store_explicit(&call->outstanding, 2, memory_order_relaxed); /* its life, and begin */
    atomic_store_explicit(&call->ending, RUNNING, memory_order_relaxed);
    if (!call->method->one_request) {
        begin(call, WEFT_OK, NULL);
        return;
    }
    if (call->request == NULL) {
        begin(call, WEFT__CARDINALITY_VIOLATION, "no request for a method that takes one");
        return;
    }
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->received};
    if (grpc_call_start_batch(call->call, &op, 1, &call->on_second, NULL) != GRPC_CALL_OK)
        begin(call, WEFT_INTERNAL, "the request could not be received");
}

/* ---- finish and cancel ------------------------------------------------------------------------------------------- */

static void run_end(weft_core_tag *tag, bool ok)
{
    (void)ok;
    complete_one(WEFT__CONTAINER_OF(tag, weft_core_scall, on_end));
}

/* Cancels in gRPC core, and lets the call end by an empty batch, which completes on the queue. */
static void abandon(weft_core_scall *call)
{
    (void)grpc_call_cancel(call->call, NULL);
    (void)grpc_call_start_batch(call->call, NULL, 0, &call->on_end, NULL);
}

static bool set_ending(weft_core_scall *call, enum ending ending)
{
    int running = RUNNING;
    return atomic_compare_exchange_strong(&call->ending, &running, (int)ending);
}

/* Copies the headers, which go once, and adds the one of compressed messages. 0; -ENOMEM. */
static int make_headers(const weft_core_scall *call, const weft_metadatum *pairs, size_t count, bool gzip,
                        weft_core_metadata *out)
{
    int rc = weft__core_metadata_copy(out, pairs, call->sent_headers ? 0 : count);
    if (rc == 0 && gzip)
        weft__core_metadata_add_encoding(out);
    return rc;
}

static int finish(weft__scall *base, const weft__finish *answer)
{
    weft_core_scall *call = from_base(base);
    weft_core_metadata headers;
    weft_core_metadata trailers;
    bool gzip = answer->message != NULL && answer->message->gzip;
    int rc = make_headers(call, answer->headers, answer->header_count, gzip, &headers);
    if (rc < 0)
        return rc;
    rc = weft__core_metadata_copy(&trailers, answer->trailers, answer->trailer_count);
    if (rc < 0) {
        weft__core_metadata_drop(&headers);
        return rc;
    }
    if (call->strange_coding && !call->sent_headers) {
        weft__core_metadata_add_accept_encoding(&headers);
        weft__core_metadata_add_accept_encoding(&trailers); /* gRPC core joins the two, and drops it from the headers */
    }
    if (!set_ending(call, FINISHED)) {
        weft__core_metadata_drop(&headers);
        weft__core_metadata_drop(&trailers);
        return -ECANCELED;
    }
    grpc_slice text = grpc_slice_from_static_buffer(answer->status_message.data, answer->status_message.len);
    grpc_op ops[4];
    size_t count = 0;
    memset(ops, 0, sizeof ops);
    if (!call->sent_headers) {
        ops[count].op = GRPC_OP_SEND_INITIAL_METADATA;
        ops[count].data.send_initial_metadata.count = headers.count;
        ops[count++].data.send_initial_metadata.metadata = headers.items;
    }
    ops[count].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    ops[count].data.send_status_from_server.status = (grpc_status_code)answer->code;
    ops[count].data.send_status_from_server.status_details = answer->status_message.len > 0 ? &text : NULL;
    ops[count].data.send_status_from_server.trailing_metadata_count = trailers.count;
    ops[count++].data.send_status_from_server.trailing_metadata = trailers.items;
    if (!call->watched) {
        ops[count].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
        ops[count++].data.recv_close_on_server.cancelled = &call->cancelled;
    }
    if (answer->message != NULL)
        ops[count++] = weft__core_send_message(&call->message, answer->message, false);
    if (grpc_call_start_batch(call->call, ops, count, &call->on_end, NULL) != GRPC_CALL_OK)
        abandon(call);
    /* The call may be gone. */
    weft__core_metadata_drop(&headers);
    weft__core_metadata_drop(&trailers);
    return 0;
}

static void cancel(weft__scall *base)
{
    weft_core_scall *call = from_base(base);
    if (set_ending(call, CANCELLED))
        abandon(call);
}

static void abort_call(weft__scall *base)
{
    (void)grpc_call_cancel(from_base(base)->call, NULL);
}

/* ---- while it runs ----------------------------------------------------------------------------------------------- */

/* Counts an operation beside the life of the call, which is started next. */
static void count(weft_core_scall *call)
{
    atomic_fetch_add_explicit(&call->outstanding, 1, memory_order_relaxed);
}

/* 0; -EIO the counted operation has not started. */
static int started(weft_core_scall *call, grpc_call_error error)
{
    if (error == GRPC_CALL_OK)
        return 0;
    atomic_fetch_sub_explicit(&call->outstanding, 1, memory_order_relaxed);
    (void)grpc_call_cancel(call->call, NULL);
    return -EIO;
}

static int watch(weft__scall *base)
{
    weft_core_scall *call = from_base(base);
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &call->cancelled};
    count(call);
    int rc = started(call, grpc_call_start_batch(call->call, &op, 1, &call->on_close, NULL));
    call->watched = rc == 0;
    return rc;
}

static void run_close(weft_core_tag *tag, bool ok)
{
    weft_core_scall *call = WEFT__CONTAINER_OF(tag, weft_core_scall, on_close);
    (void)ok;
    if (call->cancelled && atomic_load(&call->ending) == RUNNING)
        config_of(call)->events->cancelled(config_of(call)->user, &call->base);
    complete_one(call);
}

static int recv_message(weft__scall *base, weft__op *op)
{
    weft_core_scall *call = from_base(base);
    call->recv_op = op;
    grpc_op receive = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->received};
    count(call);
    return started(call, weft__core_start(call->lane->queue, call->call, &receive, 1, &call->on_recv));
}

static void run_recv(weft_core_tag *tag, bool ok)
{
    weft_core_scall *call = WEFT__CONTAINER_OF(tag, weft_core_scall, on_recv);
    if (call->received == NULL && grpc_call_failed_before_recv_message(call->call))
        ok = false;
    call->recv_op->done(call->recv_op, ok ? 0 : -ECANCELED);
    complete_one(call);
}

static void take(weft__scall *base, weft__rx *out)
{
    weft_core_scall *call = from_base(base);
    *out = receive(call, call->received);
    call->received = NULL;
}

static int send_message(weft__scall *base, const weft__send *send, weft__op *op)
{
    weft_core_scall *call = from_base(base);
    weft_core_metadata headers;
    int rc = make_headers(call, send->headers, send->header_count, send->gzip, &headers);
    if (rc < 0)
        return rc;
    grpc_op ops[2];
    size_t used = 0;
    memset(ops, 0, sizeof ops);
    if (!call->sent_headers) {
        ops[used].op = GRPC_OP_SEND_INITIAL_METADATA;
        ops[used].data.send_initial_metadata.count = headers.count;
        ops[used++].data.send_initial_metadata.metadata = headers.items;
    }
    if (send->message != NULL)
        ops[used++] = weft__core_send_message(&call->message, send->message, send->more);
    call->send_op = op;
    call->sent_headers = true;
    count(call);
    rc = started(call, weft__core_start(call->lane->queue, call->call, ops, used, &call->on_send));
    if (rc < 0 && send->message != NULL) /* still the caller's */
        (void)grpc_slice_buffer_take_first(&call->message.data.raw.slice_buffer);
    weft__core_metadata_drop(&headers);
    return rc;
}

static void run_send(weft_core_tag *tag, bool ok)
{
    weft_core_scall *call = WEFT__CONTAINER_OF(tag, weft_core_scall, on_send);
    call->send_op->done(call->send_op, ok ? 0 : -ECANCELED);
    complete_one(call);
}

static bool takes_gzip(weft__scall *base)
{
    return weft__core_takes_gzip(from_base(base)->call);
}

static size_t peer(weft__scall *base, char *out, size_t size)
{
    return weft__core_peer(from_base(base)->call, NULL, out, size);
}

static weft_sv peer_certificate(weft__scall *base)
{
    return weft__core_tls_peer_certificate(from_base(base)->call);
}

static const weft__scall_vtable vtable = {
    .watch = watch,
    .finish = finish,
    .cancel = cancel,
    .abort = abort_call,
    .recv = recv_message,
    .take = take,
    .send = send_message,
    .takes_gzip = takes_gzip,
    .peer = peer,
    .peer_certificate = peer_certificate,
};
