/* call.c: calls, both ends.
 *
 *   client   NEW ──start──▶ RUNNING ──status from the server──▶ ANSWERED ──all received──▶ ENDING ──end told──▶ OVER
 *                              └───────cancel, deadline, connection lost, refused──────────▶ │
 *
 * Design notes
 * - The client's call holds the messages under way in both directions, and the status. The two ends know each other by
 *   `server` and `client`; either link is cut as soon as one end has nothing more to do with the other: the server by
 *   its finish, the client by its end. After that each end lives on by itself until the upper side lets it go.
 * - A call arrives by a task: it takes a connection, or waits for one, and then for a place on it (max_streams). Then
 *   the server is told, for a method with one request only when the client has half-closed.
 * - What is sent is seen by the other end at once; what comes of it is told by tasks. An operation occupies a slot from
 *   its start until its task runs. The end of a call, on either side, queues the tasks of all occupied slots and then
 *   its own, so that it is told last.
 * - A send completes when its lane holds less than max_buffered_bytes; until then its slot waits for the receiver.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/memory/memory.h"

static const weft__scall_vtable server_vtable;
static const weft__ccall_vtable client_vtable;

static weft__mscall *scall_of(weft__scall *base)
{
    return WEFT__CONTAINER_OF(base, weft__mscall, base);
}

static weft__mccall *ccall_of(weft__ccall *base)
{
    return WEFT__CONTAINER_OF(base, weft__mccall, base);
}

static weft__memory *memory_of_client(const weft__mccall *call)
{
    return call->channel->memory;
}

/* ---- slots ------------------------------------------------------------------------------------------------------- */

static void slot_run(weft__memory *memory, weft__task *task)
{
    weft__slot *slot = WEFT__CONTAINER_OF(task, weft__slot, task);
    weft__op *op = slot->op;
    int result = slot->result;
    slot->op = NULL;
    weft__memory_unlock(memory);
    op->done(op, result);
    weft__memory_lock(memory);
}

static void slot_occupy(weft__slot *slot, weft__op *op, bool swallowed)
{
    slot->op = op;
    slot->swallowed = swallowed;
}

/* Whether an operation is outstanding that nothing has completed yet. */
static bool slot_waits(const weft__slot *slot)
{
    return slot->op != NULL && !slot->swallowed && !weft__list_linked(&slot->task.node);
}

/* Completes the operation that is outstanding, if there is one; the first result counts. */
static void slot_complete(weft__memory *memory, weft__slot *slot, int result)
{
    if (slot->op == NULL || weft__list_linked(&slot->task.node))
        return;
    slot->result = result;
    weft__memory_push(memory, &slot->task);
}

/* Completes a send once its lane has room. */
static void resume_sender(weft__memory *memory, weft__slot *send, const weft__lane *lane)
{
    if (slot_waits(send) && lane->buffered_bytes < memory->max_buffered_bytes)
        slot_complete(memory, send, 0);
}

/* ---- the server's end -------------------------------------------------------------------------------------------- */

/* All is done: what is outstanding completes, then `ended` is told. */
static void server_end(weft__mscall *call)
{
    weft__memory *memory = call->server->memory;
    call->finished = true;
    slot_complete(memory, &call->recv, -ECANCELED);
    slot_complete(memory, &call->send, -ECANCELED);
    weft__memory_unset(&call->cancelled);
    weft__memory_push(memory, &call->ended);
}

/* The client has gone without an answer. */
static void server_lost(weft__mscall *call)
{
    weft__memory *memory = call->server->memory;
    call->client = NULL;
    slot_complete(memory, &call->recv, -ECANCELED);
    slot_complete(memory, &call->send, -ECANCELED);
    if (call->finished) /* and the answer was swallowed */
        weft__memory_push(memory, &call->ended);
    else if (call->watched)
        weft__memory_push(memory, &call->cancelled);
}

/* Keeps a call object for the next call. NULL is fine. */
static void server_call_unused(weft__mscall *call)
{
    if (call != NULL)
        weft__list_push_front(&call->server->unused, &call->node);
}

static void on_cancelled(weft__memory *memory, weft__task *task)
{
    weft__mscall *call = WEFT__CONTAINER_OF(task, weft__mscall, cancelled);
    const weft__server_config *config = &call->server->config;
    weft__memory_unlock(memory);
    config->events->cancelled(config->user, &call->base);
    weft__memory_lock(memory);
}

static void on_ended(weft__memory *memory, weft__task *task)
{
    weft__mscall *call = WEFT__CONTAINER_OF(task, weft__mscall, ended);
    weft__mserver *server = call->server;
    weft__memory_unlock(memory);
    server->config.events->ended(server->config.user, &call->base);
    weft__memory_lock(memory);
    weft__memory_frame_drop(memory, call->received);
    call->received = NULL;
    weft__list_remove(&call->node);
    server_call_unused(call);
    weft__memory_server_check_closed(server);
}

/* Hands the next message to a receive that waits. */
static void server_pump(weft__mscall *call)
{
    weft__mccall *client = call->client;
    weft__memory *memory = call->server->memory;
    if (client == NULL || !slot_waits(&call->recv))
        return;
    weft__frame *frame = weft__memory_lane_pop(&client->to_server);
    if (frame == NULL && !client->to_server.closed)
        return;
    if (frame != NULL && (int64_t)frame->len > call->max_message_bytes) {
        weft__memory_frame_drop(memory, frame);
        weft__memory_call_end(client, WEFT_RESOURCE_EXHAUSTED, false, "a message is larger than the server takes");
        return;
    }
    call->received = frame;
    slot_complete(memory, &call->recv, 0);
    resume_sender(memory, &client->send, &client->to_server);
}

/* ---- the client's end -------------------------------------------------------------------------------------------- */

static void on_end(weft__memory *memory, weft__task *task)
{
    weft__mccall *call = WEFT__CONTAINER_OF(task, weft__mccall, end.task);
    call->state = WEFT__CALL_OVER;
    slot_run(memory, task);
}

/* The last step of every way to the end: what is outstanding completes, then the end is told. */
static void client_end(weft__mccall *call)
{
    weft__memory *memory = memory_of_client(call);
    call->state = WEFT__CALL_ENDING;
    weft__memory_unset(&call->arrive);
    weft__memory_unset(&call->deadline.task);
    slot_complete(memory, &call->recv, -ECANCELED);
    slot_complete(memory, &call->send, -ECANCELED);
    slot_complete(memory, &call->end, 0);
}

/* Cuts the client's end off from connection and server. */
static void client_detach(weft__mccall *call)
{
    weft__memory_lane_clear(memory_of_client(call), &call->to_server);
    if (call->server != NULL)
        call->server->client = NULL;
    call->server = NULL;
    weft__memory_connection_leave(call);
}

void weft__memory_call_end(weft__mccall *call, weft_code code, bool from_peer, const char *message)
{
    weft__mscall *server = call->server;
    if (call->state != WEFT__CALL_RUNNING && call->state != WEFT__CALL_ANSWERED)
        return;
    if (call->state == WEFT__CALL_RUNNING) /* else the answer has come */
        call->seen = call->begun ? WEFT__SEEN_MAYBE : WEFT__SEEN_NO;
    call->code = code;
    call->from_peer = from_peer;
    call->message = weft_sv_from(message);
    weft__memory_lane_clear(memory_of_client(call), &call->to_client);
    if (server != NULL)
        server_lost(server);
    client_detach(call);
    client_end(call);
}

/* Takes what has come for a call that runs or is answered: into `received` for a unary one, by a receive that waits for
 * the others. */
static void client_pump(weft__mccall *call)
{
    weft__memory *memory = memory_of_client(call);
    while (call->to_client.count > 0 && (call->unary || slot_waits(&call->recv))) {
        weft__frame *frame = weft__memory_lane_pop(&call->to_client);
        bool too_large = (int64_t)frame->len > call->channel->config.max_message_bytes;
        if (too_large || (call->unary && call->received != NULL)) {
            weft__memory_frame_drop(memory, frame);
            weft__memory_call_end(call, too_large ? WEFT_RESOURCE_EXHAUSTED : WEFT__CARDINALITY_VIOLATION, false,
                                  too_large ? "a message is larger than the channel takes" : "more than one response");
            return;
        }
        call->received = frame;
        slot_complete(memory, &call->recv, 0);
        if (call->server != NULL)
            resume_sender(memory, &call->server->send, &call->to_client);
    }
    if (call->state == WEFT__CALL_ANSWERED && call->to_client.count == 0 && !call->recv.swallowed) {
        slot_complete(memory, &call->recv, 0); /* and nothing received: no more */
        if (call->unary && call->code == WEFT_OK && call->received == NULL)
            weft__memory_call_end(call, WEFT__CARDINALITY_VIOLATION, false,
                                  "the server answered OK without a response");
        else
            client_end(call);
    }
}

static void on_deadline(weft__memory *memory, weft__task *task)
{
    (void)memory;
    weft__memory_call_end(WEFT__CONTAINER_OF(task, weft__mccall, deadline.task), WEFT_DEADLINE_EXCEEDED, false,
                          "the deadline has passed");
}

/* ---- a call arrives ---------------------------------------------------------------------------------------------- */

/* What is wrong with a call before it begins; WEFT_OK: nothing. */
static weft_code find_fault(const weft__mccall *client, const weft__mserver *server, const weft__server_method *method,
                            bool one_request, const char **message)
{
    if (weft__memory_metadata_size(client->args.metadata, client->args.metadata_count) >
        server->config.max_metadata_bytes) {
        *message = "the metadata are larger than the server takes";
        return WEFT_RESOURCE_EXHAUSTED;
    }
    if (one_request && client->to_server.count != 1) {
        *message = client->to_server.count == 0 ? "no request came with the call" : "more than one request came";
        return WEFT__CARDINALITY_VIOLATION;
    }
    if (one_request && (int64_t)weft__memory_lane_first(&client->to_server)->len > method->max_message_bytes) {
        *message = "the request is larger than the server takes";
        return WEFT_RESOURCE_EXHAUSTED;
    }
    return WEFT_OK;
}

/* Takes a copy of what the server is to know of a call for as long as it likes. 0; -ENOMEM. */
static int copy_request(weft__mscall *call, const weft__mccall *client, weft__call_start *start)
{
    bool whole = start->refuse == WEFT_OK; /* else nobody reads the headers, and they may be large */
    weft_sv unknown_path = start->method == NULL ? start->path : (weft_sv){NULL, 0};
    int rc = weft__memory_copy_set(&call->request, client->args.metadata, whole ? client->args.metadata_count : 0,
                                   unknown_path);
    if (rc < 0)
        return rc;
    start->headers = call->request.md;
    start->path = start->method == NULL ? call->request.text : weft_sv_from(start->method->path);
    return 0;
}

/* Tells the server of a call that is on its connection, as soon as it may begin. Unlocks. */
static void begin(weft__mccall *client)
{
    weft__memory *memory = memory_of_client(client);
    weft__mserver *server = client->connection->server;
    weft__call_start start = {.path = weft_sv_from(client->args.method->path), .deadline_ns = client->args.deadline_ns};
    start.method = weft__table_find(&server->methods, start.path);
    bool one_request =
        start.method != NULL && (start.method->kind == WEFT_UNARY || start.method->kind == WEFT_SERVER_STREAM);
    if (client->begun || (one_request && !client->to_server.closed && client->to_server.count <= 1))
        return;
    weft__mscall *call = weft__memory_server_call_new(server);
    if (client->connection == NULL) { /* it ended while the object was made */
        server_call_unused(call);
        return;
    }
    start.refuse = find_fault(client, server, start.method, one_request, &start.refuse_message);
    if (call == NULL || copy_request(call, client, &start) < 0) {
        server_call_unused(call);
        weft__memory_call_end(client, WEFT_RESOURCE_EXHAUSTED, true, "the server has no memory for the call");
        return;
    }
    if (one_request && start.refuse == WEFT_OK)
        weft__memory_frame_give(memory, weft__memory_lane_pop(&client->to_server), &start.message);
    client->begun = true;
    client->server = call;
    call->client = client;
    call->connection_number = client->connection->number;
    call->unix_peer = strncmp(client->channel->target, "unix:", 5) == 0;
    call->max_message_bytes = start.method != NULL ? start.method->max_message_bytes : server->config.max_message_bytes;
    weft__list_push_back(&server->running, &call->node);
    weft__memory_unlock(memory);
    server->config.events->begin(server->config.user, &call->base, &start);
    weft__memory_lock(memory);
}

static void on_arrive(weft__memory *memory, weft__task *task)
{
    (void)memory;
    weft__mccall *call = WEFT__CONTAINER_OF(task, weft__mccall, arrive);
    weft__mchannel *channel = call->channel;
    if (call->connection == NULL) {
        weft__mconnection *connection = weft__memory_channel_connect(channel);
        if (connection == NULL && (channel->connecting || call->args.wait_for_ready)) {
            weft__memory_channel_wait(channel, call);
            return;
        }
        if (connection == NULL) {
            weft__memory_call_end(call, WEFT_UNAVAILABLE, false, "no server accepts a connection");
            return;
        }
        if (!weft__memory_connection_enter(connection, call))
            return;
    }
    begin(call);
}

/* ---- what the server's upper side does --------------------------------------------------------------------------- */

static int server_watch(weft__scall *base)
{
    weft__mscall *call = scall_of(base);
    weft__memory *memory = call->server->memory;
    weft__memory_lock(memory);
    call->watched = true;
    if (call->client == NULL)
        weft__memory_push(memory, &call->cancelled);
    weft__memory_unlock(memory);
    return 0;
}

/* By a fault, the connection of a call is lost; NULL: it was on none any more. */
static void lose_connection(const weft__mccall *call)
{
    if (call != NULL && call->connection != NULL)
        weft__memory_connection_break(call->connection);
}

/* Ends the call when the metadata are too large for the channel. Whether it did. */
static bool end_if_too_large(weft__mccall *client, const weft_metadatum *pairs, size_t count)
{
    if (weft__memory_metadata_size(pairs, count) <= client->channel->config.max_metadata_bytes)
        return false;
    weft__memory_call_end(client, WEFT_RESOURCE_EXHAUSTED, false, "the metadata are larger than the channel takes");
    return true;
}

/* Brings headers, the first time, and a message (NULL: none) to the client. 0; -ENOMEM, and nothing has happened. */
static int deliver(weft__mscall *call, const weft__send *send)
{
    weft__mccall *client = call->client;
    int rc = 0;
    if (!call->headers_sent) {
        rc = weft__memory_copy_set(&client->headers, send->headers, send->header_count, (weft_sv){NULL, 0});
        client->to_client.gzip = send->gzip;
    }
    if (rc == 0 && send->message != NULL)
        rc = weft__memory_lane_push(call->server->memory, &client->to_client, send->message);
    if (rc == 0)
        call->headers_sent = true;
    return rc;
}

/* 0; -ENOMEM, and nothing has happened. */
static int deliver_answer(weft__mscall *call, const weft__finish *answer)
{
    weft__mccall *client = call->client;
    weft__memory *memory = call->server->memory;
    if (end_if_too_large(client, answer->headers, call->headers_sent ? 0 : answer->header_count) ||
        end_if_too_large(client, answer->trailers, answer->trailer_count)) {
        weft__memory_tx_drop(answer->message);
        return 0;
    }
    const weft__send last = {
        .headers = answer->headers,
        .header_count = answer->header_count,
        .message = answer->message,
        .gzip = answer->message != NULL && answer->message->gzip,
    };
    int rc = weft__memory_copy_set(&client->trailers, answer->trailers, answer->trailer_count, answer->status_message);
    if (rc == 0)
        rc = deliver(call, &last);
    if (rc < 0)
        return rc;
    client->code = (int)answer->code < 0 || (int)answer->code > 16 ? WEFT_UNKNOWN : answer->code;
    client->from_peer = true;
    client->seen = WEFT__SEEN_YES;
    client->message = client->trailers.text;
    client->state = WEFT__CALL_ANSWERED;
    client_detach(client);
    slot_complete(memory, &client->send, -ECANCELED);
    client_pump(client);
    return 0;
}

static int server_finish(weft__scall *base, const weft__finish *answer)
{
    weft__mscall *call = scall_of(base);
    weft__memory *memory = call->server->memory;
    weft_test_fault_kind fault;
    weft__memory_lock(memory);
    int rc = weft__memory_strike(memory, WEFT_TEST_FINISH, &fault);
    if (rc == 0) {
        if (fault == WEFT_TEST_BREAK)
            lose_connection(call->client);
        if (call->client != NULL && fault != WEFT_TEST_SWALLOW)
            rc = deliver_answer(call, answer);
        else
            weft__memory_tx_drop(answer->message);
    }
    if (rc == 0 && call->client == NULL)
        server_end(call);
    else if (rc == 0)
        call->finished = true; /* swallowed: it ends with the client's call */
    weft__memory_unlock(memory);
    return rc;
}

static void server_cancel(weft__scall *base)
{
    weft__mscall *call = scall_of(base);
    weft__memory *memory = call->server->memory;
    weft__memory_lock(memory);
    if (!call->finished) {
        if (call->client != NULL)
            weft__memory_call_end(call->client, WEFT_CANCELLED, false, "the server reset the call");
        server_end(call);
    }
    weft__memory_unlock(memory);
}

static void server_abort(weft__scall *base)
{
    weft__mscall *call = scall_of(base);
    weft__memory *memory = call->server->memory;
    weft__memory_lock(memory);
    if (call->client != NULL)
        weft__memory_call_end(call->client, WEFT_CANCELLED, false, "the server reset the call");
    weft__memory_unlock(memory);
}

static int server_recv(weft__scall *base, weft__op *op)
{
    weft__mscall *call = scall_of(base);
    weft__memory *memory = call->server->memory;
    weft_test_fault_kind fault;
    weft__memory_lock(memory);
    int rc = call->recv.op != NULL || call->received != NULL ? -EBUSY : 0;
    if (rc == 0)
        rc = weft__memory_strike(memory, WEFT_TEST_RECV, &fault);
    if (rc == 0) {
        slot_occupy(&call->recv, op, fault == WEFT_TEST_SWALLOW);
        if (fault == WEFT_TEST_BREAK)
            lose_connection(call->client);
        if (call->client == NULL)
            slot_complete(memory, &call->recv, -ECANCELED);
        else
            server_pump(call);
    }
    weft__memory_unlock(memory);
    return rc;
}

static void server_take(weft__scall *base, weft__rx *out)
{
    weft__mscall *call = scall_of(base);
    weft__memory *memory = call->server->memory;
    weft__memory_lock(memory);
    weft__memory_frame_give(memory, call->received, out);
    call->received = NULL;
    weft__memory_unlock(memory);
}

/* 0; -ENOMEM, and nothing has happened. */
static int deliver_message(weft__mscall *call, const weft__send *send)
{
    weft__mccall *client = call->client;
    if (end_if_too_large(client, send->headers, call->headers_sent ? 0 : send->header_count)) {
        weft__memory_tx_drop(send->message);
        return 0;
    }
    int rc = deliver(call, send);
    if (rc < 0)
        return rc;
    client_pump(client);
    if (call->client != NULL)
        resume_sender(call->server->memory, &call->send, &client->to_client);
    return 0;
}

static int server_send(weft__scall *base, const weft__send *send, weft__op *op)
{
    weft__mscall *call = scall_of(base);
    weft__memory *memory = call->server->memory;
    weft_test_fault_kind fault;
    weft__memory_lock(memory);
    int rc = call->send.op != NULL ? -EBUSY : 0;
    if (rc == 0)
        rc = weft__memory_strike(memory, WEFT_TEST_SEND, &fault);
    if (rc == 0) {
        slot_occupy(&call->send, op, fault == WEFT_TEST_SWALLOW);
        if (fault == WEFT_TEST_BREAK)
            lose_connection(call->client);
        if (call->client != NULL && fault != WEFT_TEST_SWALLOW)
            rc = deliver_message(call, send);
        else
            weft__memory_tx_drop(send->message);
        if (rc < 0)
            call->send.op = NULL;
        else if (call->client == NULL)
            slot_complete(memory, &call->send, -ECANCELED);
    }
    weft__memory_unlock(memory);
    return rc;
}

static bool server_takes_gzip(weft__scall *base)
{
    (void)base;
    return true;
}

/* A peer on the loopback address, with the connection's number for its port. */
static size_t server_peer(weft__scall *base, char *out, size_t size)
{
    const weft__mscall *call = scall_of(base);
    int len = call->unix_peer ? snprintf(out, size, "unix:")
                              : snprintf(out, size, "ipv4:127.0.0.1:%u", 1 + (call->connection_number - 1) % 65535);
    return (size_t)len;
}

static const weft__scall_vtable server_vtable = {
    .watch = server_watch,
    .finish = server_finish,
    .cancel = server_cancel,
    .abort = server_abort,
    .recv = server_recv,
    .take = server_take,
    .send = server_send,
    .takes_gzip = server_takes_gzip,
    .peer = server_peer,
};

weft__mscall *weft__memory_server_call_new(weft__mserver *server)
{
    weft__memory *memory = server->memory;
    weft__list_node *node = weft__list_pop_front(&server->unused);
    if (node != NULL) {
        weft__mscall *call = WEFT__CONTAINER_OF(node, weft__mscall, node);
        call->watched = false;
        call->headers_sent = false;
        call->finished = false;
        return call;
    }
    weft__memory_unlock(memory);
    weft__mscall *call = calloc(1, sizeof *call + server->config.call_size);
    if (call != NULL) {
        call->base.vtable = &server_vtable;
        call->base.state = call->state;
        call->server = server;
        call->recv.task.run = slot_run;
        call->send.task.run = slot_run;
        call->cancelled.run = on_cancelled;
        call->ended.run = on_ended;
        if (server->config.events->init(server->config.user, &call->base) < 0) {
            free(call);
            call = NULL;
        }
    }
    weft__memory_lock(memory);
    return call;
}

void weft__memory_server_call_free(weft__mscall *call)
{
    const weft__server_config *config = &call->server->config;
    config->events->fini(config->user, &call->base);
    weft__memory_copy_fini(&call->request);
    free(call);
}

/* ---- what the client's upper side does --------------------------------------------------------------------------- */

static int start(weft__mccall *call, const weft__call_args *args, weft__op *end)
{
    weft__memory *memory = memory_of_client(call);
    weft_test_fault_kind fault;
    if (call->state != WEFT__CALL_NEW)
        return -EALREADY;
    int rc = weft__memory_strike(memory, WEFT_TEST_START, &fault);
    if (rc < 0)
        return rc;
    call->to_server.gzip = args->gzip;
    if (args->message != NULL && weft__memory_lane_push(memory, &call->to_server, args->message) < 0)
        return -ENOMEM;
    call->args = *args;
    call->args.message = NULL;
    call->to_server.closed = call->unary || args->half_close;
    call->begun = fault == WEFT_TEST_SWALLOW; /* so it never will */
    call->state = WEFT__CALL_RUNNING;
    slot_occupy(&call->end, end, false);
    if (call->code != WEFT_OK) { /* cancelled before */
        weft__memory_call_end(call, call->code, false, call->message.data);
    } else if (args->deadline_ns <= weft__memory_now(memory)) {
        weft__memory_call_end(call, WEFT_DEADLINE_EXCEEDED, false, "the deadline passed before the call could start");
    } else if (fault == WEFT_TEST_BREAK) {
        call->begun = true; /* who knows how far it got */
        weft__memory_call_end(call, WEFT_UNAVAILABLE, false, "the connection was lost");
        if (call->channel->connection != NULL)
            weft__memory_connection_break(call->channel->connection);
    } else {
        if (args->deadline_ns != INT64_MAX)
            weft__memory_set(memory, &call->deadline, args->deadline_ns);
        weft__memory_push(memory, &call->arrive);
    }
    return 0;
}

static int client_unary(weft__ccall *base, const weft__call_args *args, weft__op *op)
{
    weft__mccall *call = ccall_of(base);
    weft__memory *memory = memory_of_client(call);
    weft__memory_lock(memory);
    call->unary = true;
    int rc = start(call, args, op);
    weft__memory_unlock(memory);
    return rc;
}

static int client_start(weft__ccall *base, const weft__call_args *args, weft__op *end)
{
    weft__mccall *call = ccall_of(base);
    weft__memory *memory = memory_of_client(call);
    weft__memory_lock(memory);
    call->unary = false;
    int rc = start(call, args, end);
    weft__memory_unlock(memory);
    return rc;
}

/* Lets the end, if it is queued, be told after what was queued since. */
static void end_last(weft__mccall *call)
{
    if (call->state != WEFT__CALL_ENDING)
        return;
    weft__memory_unset(&call->end.task);
    weft__memory_push(memory_of_client(call), &call->end.task);
}

static int recv_message(weft__mccall *call, weft__op *op)
{
    weft__memory *memory = memory_of_client(call);
    weft_test_fault_kind fault;
    if (call->state == WEFT__CALL_NEW || call->unary)
        return -EINVAL;
    if (call->state == WEFT__CALL_OVER)
        return -ESHUTDOWN;
    if (call->recv.op != NULL || call->received != NULL)
        return -EBUSY;
    int rc = weft__memory_strike(memory, WEFT_TEST_RECV, &fault);
    if (rc < 0)
        return rc;
    slot_occupy(&call->recv, op, fault == WEFT_TEST_SWALLOW);
    if (fault == WEFT_TEST_BREAK)
        lose_connection(call);
    if (call->state == WEFT__CALL_ENDING) {
        slot_complete(memory, &call->recv, call->from_peer ? 0 : -ECANCELED);
        end_last(call);
    } else {
        client_pump(call);
    }
    return 0;
}

static int client_recv(weft__ccall *base, weft__op *op)
{
    weft__mccall *call = ccall_of(base);
    weft__memory *memory = memory_of_client(call);
    weft__memory_lock(memory);
    int rc = recv_message(call, op);
    weft__memory_unlock(memory);
    return rc;
}

static void client_take(weft__ccall *base, weft__rx *out)
{
    weft__mccall *call = ccall_of(base);
    weft__memory *memory = memory_of_client(call);
    weft__memory_lock(memory);
    weft__memory_frame_give(memory, call->received, out);
    call->received = NULL;
    weft__memory_unlock(memory);
}

/* Sends a message, or half-closes when there is none. */
static int send_or_close(weft__mccall *call, weft__tx *message, weft__op *op)
{
    weft__memory *memory = memory_of_client(call);
    weft_test_fault_kind fault = (weft_test_fault_kind)0; /* none strikes a half-close */
    if (call->state == WEFT__CALL_NEW || call->unary)
        return -EINVAL;
    if (call->state == WEFT__CALL_OVER) /* nobody waits for a completion any more: the call may be freed at once */
        return -ESHUTDOWN;
    if (call->send.op != NULL)
        return -EBUSY;
    if (call->state == WEFT__CALL_RUNNING && call->to_server.closed)
        return -EPIPE;
    int rc = message != NULL ? weft__memory_strike(memory, WEFT_TEST_SEND, &fault) : 0;
    if (rc < 0)
        return rc;
    if (fault == WEFT_TEST_BREAK)
        lose_connection(call);
    bool running = call->state == WEFT__CALL_RUNNING;
    if (!running || fault == WEFT_TEST_SWALLOW) {
        weft__memory_tx_drop(message);
        slot_occupy(&call->send, op, running);
        if (!running)
            slot_complete(memory, &call->send, -ECANCELED);
        end_last(call);
        return 0;
    }
    if (message != NULL && weft__memory_lane_push(memory, &call->to_server, message) < 0)
        return -ENOMEM;
    call->to_server.closed = message == NULL;
    slot_occupy(&call->send, op, false);
    if (call->server != NULL)
        server_pump(call->server);
    else if (call->connection != NULL)
        weft__memory_push(memory, &call->arrive); /* it may begin now */
    if (message == NULL)
        slot_complete(memory, &call->send, 0);
    else
        resume_sender(memory, &call->send, &call->to_server);
    return 0;
}

static int client_send(weft__ccall *base, weft__tx *message, bool more, weft__op *op)
{
    (void)more;
    weft__mccall *call = ccall_of(base);
    weft__memory *memory = memory_of_client(call);
    weft__memory_lock(memory);
    int rc = send_or_close(call, message, op);
    weft__memory_unlock(memory);
    return rc;
}

static int client_half_close(weft__ccall *base, weft__op *op)
{
    return client_send(base, NULL, false, op);
}

static void client_cancel(weft__ccall *base, weft_code code, const char *message)
{
    weft__mccall *call = ccall_of(base);
    weft__memory *memory = memory_of_client(call);
    weft__memory_lock(memory);
    if (call->state != WEFT__CALL_NEW) {
        weft__memory_call_end(call, code, false, message);
    } else if (call->code == WEFT_OK) {
        call->code = code;
        call->message = weft_sv_from(message);
    }
    weft__memory_unlock(memory);
}

static void client_result(weft__ccall *base, weft__result *out)
{
    weft__mccall *call = ccall_of(base);
    weft__memory *memory = memory_of_client(call);
    weft__memory_lock(memory);
    *out = (weft__result){
        .code = call->code,
        .from_peer = call->from_peer,
        .seen = call->seen,
        .message = call->message,
        .headers = call->headers.md,
        .trailers = call->trailers.md,
    };
    if (call->unary) {
        weft__memory_frame_give(memory, call->received, &out->response);
        call->received = NULL;
    }
    weft__memory_unlock(memory);
}

static size_t client_peer(weft__ccall *base, char *out, size_t size)
{
    const weft__mccall *call = ccall_of(base);
    weft__memory *memory = memory_of_client(call);
    const char *target = call->channel->target;
    const char *name = strncmp(target, "dns:///", 7) == 0 ? target + 7 : NULL;
    weft__memory_lock(memory);
    bool connected = call->connected;
    weft__memory_unlock(memory);
    int len = !connected     ? snprintf(out, size, "%s", "")
              : name != NULL ? snprintf(out, size, "memory:%s", name)
                             : snprintf(out, size, "%s", target);
    return (size_t)len;
}

static void client_free(weft__ccall *base)
{
    weft__mccall *call = ccall_of(base);
    weft__memory *memory = memory_of_client(call);
    weft__memory_lock(memory);
    weft__memory_lane_clear(memory, &call->to_server);
    weft__memory_lane_clear(memory, &call->to_client);
    weft__memory_frame_drop(memory, call->received);
    weft__list_push_front(&memory->calls, &call->node);
    weft__memory_unlock(memory);
}

static const weft__ccall_vtable client_vtable = {
    .unary = client_unary,
    .start = client_start,
    .recv = client_recv,
    .take = client_take,
    .send = client_send,
    .half_close = client_half_close,
    .cancel = client_cancel,
    .result = client_result,
    .peer = client_peer,
    .free = client_free,
};

static weft__mccall *new_or_unused(weft__memory *memory)
{
    weft__memory_lock(memory);
    weft__list_node *node = weft__list_pop_front(&memory->calls);
    weft__memory_unlock(memory);
    if (node != NULL)
        return WEFT__CONTAINER_OF(node, weft__mccall, node);
    return calloc(1, sizeof(weft__mccall));
}

int weft__memory_channel_call_new(weft__tchannel *base, weft__ccall **out)
{
    weft__mchannel *channel = WEFT__CONTAINER_OF(base, weft__mchannel, base);
    weft__mccall *call = new_or_unused(channel->memory);
    if (call == NULL)
        return -ENOMEM;
    weft__copy headers = call->headers, trailers = call->trailers; /* keep their memory */
    *call = (weft__mccall){
        .base = {&client_vtable},
        .channel = channel,
        .recv = {.task = {.run = slot_run}},
        .send = {.task = {.run = slot_run}},
        .end = {.task = {.run = on_end}},
        .arrive = {.run = on_arrive},
        .deadline = {.task = {.run = on_deadline}},
        .headers = headers,
        .trailers = trailers,
    };
    weft__memory_copy_clear(&call->headers);
    weft__memory_copy_clear(&call->trailers);
    weft__memory_lane_init(&call->to_server);
    weft__memory_lane_init(&call->to_client);
    *out = &call->base;
    return 0;
}

void weft__memory_free_calls(weft__memory *memory)
{
    for (weft__list_node *node = weft__list_pop_front(&memory->calls); node != NULL;
         node = weft__list_pop_front(&memory->calls)) {
        weft__mccall *call = WEFT__CONTAINER_OF(node, weft__mccall, node);
        weft__memory_copy_fini(&call->headers);
        weft__memory_copy_fini(&call->trailers);
        free(call);
    }
}
