/*
 * bench-unary-core: GetUser on bare gRPC core, nothing above it. The floor that a framework on gRPC core is measured
 * against. --ops chooses the operations a call costs; see README.md.
 *
 * Design notes
 *
 * A slot serves one call at a time and is posted again when the call is over. The events of a call, those in brackets
 * only if --ops has them:
 *
 *   posted --on_request--> accepted --[on_second]--> answering --on_answer--+--> over --> posted
 *                                 \--[on_closed]---------------------------/
 *
 * Two operations of a call may complete on two threads at once, so `pending` counts those outstanding, and the running
 * event as one more: whoever takes it to zero finishes the call, and that cannot be while an event still starts
 * operations.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>

#include "program.h"
#include "user.h"
#include "user.pb-c.h"

enum ops {
    OPS_ONE_BATCH,
    OPS_RECV2,
    OPS_EARLY_CLOSE,
    OPS_EARLY_CLOSE_RECV2,
};

static const char *const ops_names[] = {"one-batch", "recv2", "early-close", "early-close-recv2", NULL};

#define STOP_GRACE_SECONDS 5

typedef struct bench_server bench_server;
typedef struct bench_slot bench_slot;

typedef void bench_event_fn(bench_slot *slot, bool ok);

/* A completion queue tag. */
typedef struct bench_event {
    bench_event_fn *run;
    bench_slot *slot;
} bench_event;

struct bench_slot {
    bench_server *server;
    grpc_completion_queue *queue;
    grpc_call *call;
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer *request;
    grpc_byte_buffer *second; /* stays NULL if the peer sent exactly one message */
    grpc_byte_buffer *response;
    grpc_slice error; /* the status message of a call that fails; empty otherwise */
    int cancelled;
    atomic_int pending;
    bench_event on_request;
    bench_event on_second;
    bench_event on_closed;
    bench_event on_answer;
};

struct bench_server {
    grpc_server *grpc;
    void *get_user; /* the registered method */
    bool early_close;
    bool second_recv;
    grpc_completion_queue **queues;
    int queue_count;
    bench_slot *slots;
    pthread_t *threads;
    int thread_count;
};

/* ---- a call ---- */

static void post(bench_slot *slot)
{
    slot->call = NULL;
    slot->request = NULL;
    slot->second = NULL;
    slot->response = NULL;
    slot->error = grpc_empty_slice();
    grpc_metadata_array_init(&slot->metadata);
    /* It fails only when the queue is being shut down: the slot is then left alone. */
    (void)grpc_server_request_registered_call(slot->server->grpc, slot->server->get_user, &slot->call, &slot->deadline,
                                              &slot->metadata, &slot->request, slot->queue, slot->queue,
                                              &slot->on_request);
}

static void drop_pending(bench_slot *slot)
{
    if (atomic_fetch_sub_explicit(&slot->pending, 1, memory_order_acq_rel) != 1)
        return;
    grpc_byte_buffer_destroy(slot->request);
    grpc_byte_buffer_destroy(slot->second);
    grpc_byte_buffer_destroy(slot->response);
    grpc_slice_unref(slot->error);
    grpc_metadata_array_destroy(&slot->metadata);
    grpc_call_unref(slot->call);
    post(slot);
}

static void start_batch(bench_slot *slot, const grpc_op *ops, size_t count, bench_event *on_done)
{
    atomic_fetch_add_explicit(&slot->pending, 1, memory_order_relaxed);
    grpc_call_error error = grpc_call_start_batch(slot->call, ops, count, on_done, NULL);
    if (error != GRPC_CALL_OK) {
        fprintf(stderr, "start_batch: %s\n", grpc_call_error_to_string(error));
        abort();
    }
}

/* Unpacks the message of `buffer`, without a copy if it is in one piece. NULL if it is malformed. */
static User__GetUserRequest *unpack_request(grpc_byte_buffer *buffer)
{
    User__GetUserRequest *request = NULL;
    size_t length = grpc_byte_buffer_length(buffer);
    grpc_byte_buffer_reader reader;
    grpc_slice *piece = NULL;
    if (!grpc_byte_buffer_reader_init(&reader, buffer))
        return NULL;
    if (grpc_byte_buffer_reader_peek(&reader, &piece) && GRPC_SLICE_LENGTH(*piece) == length) {
        request = user__get_user_request__unpack(NULL, length, GRPC_SLICE_START_PTR(*piece));
    } else {
        grpc_byte_buffer_reader_destroy(&reader);
        if (!grpc_byte_buffer_reader_init(&reader, buffer))
            return NULL;
        grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
        request = user__get_user_request__unpack(NULL, length, GRPC_SLICE_START_PTR(whole));
        grpc_slice_unref(whole);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return request;
}

static grpc_byte_buffer *pack_response(const User__GetUserResponse *response)
{
    grpc_slice bytes = grpc_slice_malloc(user__get_user_response__get_packed_size(response));
    user__get_user_response__pack(response, GRPC_SLICE_START_PTR(bytes));
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&bytes, 1);
    grpc_slice_unref(bytes);
    return buffer;
}

/* The handler: sets slot->response, or slot->error. */
static grpc_status_code get_user(bench_slot *slot)
{
    if (slot->request == NULL || slot->second != NULL) {
        slot->error = grpc_slice_from_static_string("GetUser takes exactly one request message");
        return GRPC_STATUS_INTERNAL;
    }
    User__GetUserRequest *request = unpack_request(slot->request);
    if (request == NULL) {
        slot->error = grpc_slice_from_static_string("malformed request message");
        return GRPC_STATUS_INTERNAL;
    }
    User__User user = USER__USER__INIT;
    user.id = request->id;
    user.name = (char *)BENCH_USER_NAME;
    user.email = (char *)BENCH_USER_EMAIL;
    User__GetUserResponse response = USER__GET_USER_RESPONSE__INIT;
    response.user = &user;
    slot->response = pack_response(&response);
    user__get_user_request__free_unpacked(request, NULL);
    return GRPC_STATUS_OK;
}

static void answer(bench_slot *slot)
{
    grpc_status_code code = get_user(slot);
    grpc_op ops[4] = {0};
    size_t count = 0;
    ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (slot->response != NULL) {
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count++].data.send_message.send_message = slot->response;
    }
    ops[count].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    ops[count].data.send_status_from_server.status = code;
    ops[count++].data.send_status_from_server.status_details = code == GRPC_STATUS_OK ? NULL : &slot->error;
    if (!slot->server->early_close) {
        ops[count].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
        ops[count++].data.recv_close_on_server.cancelled = &slot->cancelled;
    }
    start_batch(slot, ops, count, &slot->on_answer);
}

static void request_arrived(bench_slot *slot, bool ok)
{
    if (!ok) { /* the server is stopping */
        grpc_metadata_array_destroy(&slot->metadata);
        return;
    }
    atomic_store_explicit(&slot->pending, 1, memory_order_relaxed);
    if (slot->server->early_close) {
        grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
        op.data.recv_close_on_server.cancelled = &slot->cancelled;
        start_batch(slot, &op, 1, &slot->on_closed);
    }
    if (slot->server->second_recv) {
        grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
        op.data.recv_message.recv_message = &slot->second;
        start_batch(slot, &op, 1, &slot->on_second);
    } else {
        answer(slot);
    }
    drop_pending(slot);
}

static void second_received(bench_slot *slot, bool ok)
{
    (void)ok;
    answer(slot);
    drop_pending(slot);
}

/* The answer is out, or never will be; or the call is closed. Either way there is nothing left to do for it. */
static void operation_over(bench_slot *slot, bool ok)
{
    (void)ok;
    drop_pending(slot);
}

/* ---- the server ---- */

static void *serve(void *arg)
{
    grpc_completion_queue *queue = arg;
    for (;;) {
        grpc_event completion = grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        if (completion.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        bench_event *event = completion.tag;
        event->run(event->slot, completion.success != 0);
    }
}

static void init_slot(bench_slot *slot, bench_server *server, grpc_completion_queue *queue)
{
    slot->server = server;
    slot->queue = queue;
    slot->on_request = (bench_event){request_arrived, slot};
    slot->on_second = (bench_event){second_received, slot};
    slot->on_closed = (bench_event){operation_over, slot};
    slot->on_answer = (bench_event){operation_over, slot};
}

/* Returns the port, or -errno; stop_server() takes back what was made either way. */
static int start_server(bench_server *server, const bench_options *options)
{
    server->early_close = options->variant == OPS_EARLY_CLOSE || options->variant == OPS_EARLY_CLOSE_RECV2;
    server->second_recv = options->variant == OPS_RECV2 || options->variant == OPS_EARLY_CLOSE_RECV2;
    server->queues = calloc((size_t)options->queues, sizeof(grpc_completion_queue *));
    server->threads = calloc((size_t)options->threads, sizeof *server->threads);
    size_t slot_count = (size_t)options->queues * (size_t)options->posted;
    server->slots = calloc(slot_count, sizeof *server->slots);
    if (server->queues == NULL || server->threads == NULL || server->slots == NULL)
        return -ENOMEM;

    grpc_arg no_sharing = {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_ALLOW_REUSEPORT, .value.integer = 0};
    server->grpc = grpc_server_create(&(grpc_channel_args){1, &no_sharing}, NULL);
    server->get_user = grpc_server_register_method(server->grpc, "/user.UserService/GetUser", NULL,
                                                   GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    for (server->queue_count = 0; server->queue_count < options->queues; server->queue_count++) {
        grpc_completion_queue *queue = grpc_completion_queue_create_for_next(NULL);
        grpc_server_register_completion_queue(server->grpc, queue, NULL);
        server->queues[server->queue_count] = queue;
    }

    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", options->port);
    grpc_server_credentials *plaintext = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(server->grpc, address, plaintext);
    grpc_server_credentials_release(plaintext);
    if (port <= 0)
        return -EADDRINUSE;
    grpc_server_start(server->grpc);

    for (size_t i = 0; i < slot_count; i++) {
        init_slot(&server->slots[i], server, server->queues[i % (size_t)options->queues]);
        post(&server->slots[i]);
    }
    for (; server->thread_count < options->threads; server->thread_count++) {
        int i = server->thread_count;
        int rc = pthread_create(&server->threads[i], NULL, serve, server->queues[i % options->queues]);
        if (rc != 0)
            return -rc;
    }
    return port;
}

/* Lets running calls end, for a while, and ends the others. */
static void stop_calls(grpc_server *grpc)
{
    grpc_completion_queue *stopped = grpc_completion_queue_create_for_next(NULL);
    grpc_server_shutdown_and_notify(grpc, stopped, NULL);
    gpr_timespec grace =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(STOP_GRACE_SECONDS, GPR_TIMESPAN));
    if (grpc_completion_queue_next(stopped, grace, NULL).type == GRPC_QUEUE_TIMEOUT) {
        grpc_server_cancel_all_calls(grpc);
        (void)grpc_completion_queue_next(stopped, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    }
    grpc_completion_queue_shutdown(stopped);
    (void)grpc_completion_queue_next(stopped, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    grpc_completion_queue_destroy(stopped);
}

static void stop_server(bench_server *server)
{
    if (server->grpc != NULL)
        stop_calls(server->grpc);
    for (int i = 0; i < server->queue_count; i++) {
        grpc_completion_queue_shutdown(server->queues[i]);
        (void)serve(server->queues[i]); /* until it is empty, also if it never got a thread */
    }
    for (int i = 0; i < server->thread_count; i++)
        pthread_join(server->threads[i], NULL);
    if (server->grpc != NULL)
        grpc_server_destroy(server->grpc);
    for (int i = 0; i < server->queue_count; i++)
        grpc_completion_queue_destroy(server->queues[i]);
    free(server->slots);
    free(server->threads);
    free(server->queues);
}

int main(int argc, char **argv)
{
    bench_options options;
    if (bench_options_parse(&options, &(bench_variants){"ops", ops_names}, argc, argv) < 0)
        return 2;
    bench_block_stop_signals();
    grpc_init();
    bench_server server = {0};
    int port = start_server(&server, &options);
    if (port > 0) {
        bench_announce(port);
        bench_wait_for_stop_signal();
    } else {
        fprintf(stderr, "cannot serve on 127.0.0.1:%d: error %d\n", options.port, -port);
    }
    stop_server(&server);
    grpc_shutdown();
    return port > 0 ? 0 : 1;
}
