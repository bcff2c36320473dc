/* server.c: a server on gRPC core: its options, the requests it posts, descriptors in, and the shutdown.
 *
 * Design notes
 * - gRPC core queues calls for which no request is posted, without a bound. So many requests are posted, for every
 *   method on every queue, and a slot is posted again before its call is looked at: a call waits for one wake-up of the
 *   queue's thread, never for a handler. Refusing is the upper side's, which has limits.
 * - Requests for unknown methods are posted too: without them such calls would hang until their deadline.
 * - A slot is small and stays posted; the call object, which holds the upper side's state, is taken when a call comes.
 * - gRPC core buffers a message as far as its prefix announces, and looks at the limit when it is whole. What bounds
 *   that is a quota for all connections of the server, beyond which gRPC core closes some.
 * - The end: gRPC core fails all posted requests at its shutdown. A lane without posted requests and running calls is
 *   closed; the last lane, or gRPC core's word that all connections are gone, closes the server.
 * - Nothing may reach the acceptor once gRPC core's shutdown has begun: accept_lock orders the two.
 */
#include "transport/core/server.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc_security.h>

enum {
    /* Posted requests: gRPC core (built with assertions) looks through all of a queue's at every event, which shows
     * from 10,000 on. So a queue gets about SLOTS_A_LANE, shared by its methods. */
    SLOTS_A_LANE = 2048,
    MAX_SLOTS_A_METHOD = 64,
    MIN_SLOTS_A_METHOD = 8,

    HANDSHAKE_TIMEOUT_MS = 20000, /* for a connection that says nothing */
    MIN_PING_INTERVAL_MS = 5000,  /* half of what Weft's channels may do; more often is a strike, … */
    MAX_PING_STRIKES = 2          /* … and more than these close the connection */
};

typedef struct weft_core_slot {
    weft_core_tag tag;
    weft_core_lane *lane;
    const weft_core_method *method;
    grpc_call *call;
    grpc_metadata_array headers;
    gpr_timespec deadline;
    grpc_byte_buffer *request;
    grpc_call_details details; /* of an unknown method */
} weft_core_slot;

static weft_core_server *from_base(weft__tserver *base)
{
    return WEFT__CONTAINER_OF(base, weft_core_server, base);
}

/* ---- posted requests --------------------------------------------------------------------------------------------- */

static void post(weft_core_slot *slot)
{
    weft_core_server *server = slot->lane->server;
    grpc_completion_queue *queue = slot->lane->queue;
    grpc_call_error error;
    slot->request = NULL;
    grpc_metadata_array_init(&slot->headers);
    grpc_call_details_init(&slot->details);
    if (slot->method->handle != NULL)
        error = grpc_server_request_registered_call(server->grpc, slot->method->handle, &slot->call, &slot->deadline,
                                                    &slot->headers, slot->method->one_request ? &slot->request : NULL,
                                                    queue, queue, &slot->tag);
    else
        error = grpc_server_request_call(server->grpc, &slot->call, &slot->details, &slot->headers, queue, queue,
                                         &slot->tag);
    if (error != GRPC_CALL_OK) /* only for a queue that is shut down, which comes after every server */
        weft__core_lane_leave(slot->lane);
}

static void drop(weft_core_arrival *arrival)
{
    grpc_byte_buffer_destroy(arrival->request);
    grpc_metadata_array_destroy(&arrival->headers);
    grpc_slice_unref(arrival->path);
    grpc_call_unref(arrival->call);
}

/* Whether the peer has given up already. It costs it next to nothing, so it must not cost us a call object. */
static bool is_over(const weft_core_arrival *arrival)
{
    return arrival->method->one_request && arrival->request == NULL &&
           grpc_call_failed_before_recv_message(arrival->call);
}

static void run_slot(weft_core_tag *tag, bool ok)
{
    weft_core_slot *slot = WEFT__CONTAINER_OF(tag, weft_core_slot, tag);
    weft_core_lane *lane = slot->lane;
    if (!ok) { /* the server shuts down */
        grpc_metadata_array_destroy(&slot->headers);
        grpc_call_details_destroy(&slot->details);
        weft__core_lane_leave(lane);
        return;
    }
    weft_core_arrival arrival = {
        .call = slot->call,
        .method = slot->method,
        .headers = slot->headers,
        .deadline = slot->method->handle != NULL ? slot->deadline : slot->details.deadline,
        .request = slot->request,
        .path = slot->details.method,
    };
    grpc_slice_unref(slot->details.host);
    bool over = is_over(&arrival);
    weft_core_scall *call = over ? NULL : weft__core_scall_take(lane);
    post(slot); /* not before the call counts as a user: this slot may come back failed, on another thread */
    if (call == NULL) {
        if (!over)
            (void)grpc_call_cancel_with_status(arrival.call, GRPC_STATUS_RESOURCE_EXHAUSTED, "no memory for the call",
                                               NULL);
        drop(&arrival);
        return;
    }
    weft__core_scall_begin(call, &arrival);
}

static size_t slots_a_method(const weft_core_server *server)
{
    size_t slots = SLOTS_A_LANE / server->method_count;
    if (slots > MAX_SLOTS_A_METHOD)
        return MAX_SLOTS_A_METHOD;
    return slots < MIN_SLOTS_A_METHOD ? MIN_SLOTS_A_METHOD : slots;
}

static int make_slots(weft_core_lane *lane)
{
    const weft_core_server *server = lane->server;
    size_t each = slots_a_method(server);
    lane->slot_count = each * server->method_count;
    lane->slots = calloc(lane->slot_count, sizeof *lane->slots);
    if (lane->slots == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < lane->slot_count; i++) {
        lane->slots[i].tag.run = run_slot;
        lane->slots[i].lane = lane;
        lane->slots[i].method = &server->methods[i / each];
    }
    lane->users = lane->slot_count;
    return 0;
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static weft_core_port *find_port(const weft_core_server *server, const weft_tls *tls)
{
    for (size_t i = 0; i < server->port_count; i++)
        if (server->ports[i].tls.tls == tls)
            return &server->ports[i];
    return NULL;
}

static int serve_fd(weft__tserver *base, int fd, weft_tls *tls)
{
    weft_core_server *server = from_base(base);
    weft_core_port *port = find_port(server, tls);
    if (port == NULL)
        return -EINVAL;
    pthread_mutex_lock(&server->accept_lock);
    int rc = server->stopping ? -ESHUTDOWN : weft__core_connections_add(&server->connections, fd);
    if (rc == 0)
        weft__core_fd_acceptor_hand(&port->acceptor, fd);
    pthread_mutex_unlock(&server->accept_lock);
    return rc;
}

static size_t connections(weft__tserver *base)
{
    weft_core_server *server = from_base(base);
    pthread_mutex_lock(&server->accept_lock);
    size_t count = weft__core_connections_count(&server->connections);
    pthread_mutex_unlock(&server->accept_lock);
    return count;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

void weft__core_server_close_one(weft_core_server *server)
{
    const weft__server_events *events = server->config.events;
    void *user = server->config.user;
    bool silent = server->silent;
    if (atomic_fetch_sub(&server->open, 1) != 1)
        return;
    weft__event_post(&server->closed); /* from now on it may be destroyed */
    if (!silent)
        events->closed(user);
}

void weft__core_lane_leave(weft_core_lane *lane)
{
    weft_core_server *server = lane->server;
    pthread_mutex_lock(&lane->lock);
    bool last = --lane->users == 0;
    pthread_mutex_unlock(&lane->lock);
    if (last)
        weft__core_server_close_one(server);
}

static void run_shutdown(weft_core_tag *tag, bool ok)
{
    (void)ok;
    weft__core_server_close_one(WEFT__CONTAINER_OF(tag, weft_core_server, on_shutdown));
}

static void shutdown(weft__tserver *base)
{
    weft_core_server *server = from_base(base);
    pthread_mutex_lock(&server->accept_lock);
    server->stopping = true;
    pthread_mutex_unlock(&server->accept_lock);
    grpc_server_shutdown_and_notify(server->grpc, server->lanes[0]->queue, &server->on_shutdown);
}

static void cancel_all(weft__tserver *base)
{
    grpc_server_cancel_all_calls(from_base(base)->grpc);
}

static void free_lane(weft_core_lane *lane)
{
    if (lane == NULL)
        return;
    weft__core_scall_free_all(lane);
    pthread_mutex_destroy(&lane->lock);
    free(lane->slots);
    free(lane);
}

/* Frees all that is ours, at the end or when it was not made whole. */
static void free_server(weft_core_server *server)
{
    for (size_t i = 0; i < server->lane_count; i++)
        free_lane(server->lanes[i]);
    free(server->lanes);
    free(server->methods);
    free(server->ports);
    weft__core_connections_fini(&server->connections);
    weft__event_fini(&server->closed);
    pthread_mutex_destroy(&server->accept_lock);
    free(server);
}

static void destroy(weft__tserver *base)
{
    weft_core_server *server = from_base(base);
    if (!server->stopping) { /* nobody was served, but the posted requests must come back */
        server->silent = true;
        shutdown(base);
    }
    (void)weft__event_wait(&server->closed, INT64_MAX);
    grpc_server_destroy(server->grpc);
    for (size_t i = 0; i < server->port_count; i++)
        weft__core_fd_acceptor_fini(&server->ports[i].acceptor);
    free_server(server);
}

/* ---- making one -------------------------------------------------------------------------------------------------- */

static const weft__tserver_vtable vtable = {
    .serve_fd = serve_fd,
    .connections = connections,
    .shutdown = shutdown,
    .cancel_all = cancel_all,
    .destroy = destroy,
};

static grpc_arg int_arg(char *key, int value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = key, .value.integer = value};
}

/* NULL: no memory. */
static grpc_server *make_grpc_server(weft_core_server *server, int64_t max_buffered_bytes)
{
    const weft__server_config *config = &server->config;
    grpc_resource_quota *quota = grpc_resource_quota_create("weft");
    if (max_buffered_bytes != INT64_MAX)
        grpc_resource_quota_resize(quota, (size_t)max_buffered_bytes);
    const grpc_arg fixed[] = {
        int_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, weft__core_int(config->max_streams, INT_MAX)),
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, weft__core_int(config->max_message_bytes, -1)),
        int_arg(GRPC_ARG_MAX_METADATA_SIZE, weft__core_int(config->max_metadata_bytes, INT_MAX)),
        int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, weft__core_int(config->keepalive_ms, INT_MAX)),
        int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, weft__core_int(config->keepalive_timeout_ms, INT_MAX)),
        int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        int_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, MIN_PING_INTERVAL_MS),
        int_arg(GRPC_ARG_HTTP2_MAX_PING_STRIKES, MAX_PING_STRIKES),
        int_arg(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS),
        int_arg(GRPC_ARG_MAX_CONNECTION_AGE_MS, weft__core_int(config->max_connection_age_ms, INT_MAX)),
        int_arg(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, weft__core_int(config->max_connection_age_grace_ms, INT_MAX)),
        int_arg(GRPC_ARG_MAX_CONNECTION_IDLE_MS, weft__core_int(config->max_connection_idle_ms, INT_MAX)),
        /* Compression is ours (message.c): gRPC core's filters inflate before any limit is looked at. */
        int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0),
        int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
        int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
        {.type = GRPC_ARG_POINTER,
         .key = GRPC_ARG_RESOURCE_QUOTA,
         .value.pointer = {.p = quota, .vtable = grpc_resource_quota_arg_vtable()}},
    };
    enum {
        FIXED = sizeof fixed / sizeof *fixed
    };
    grpc_arg *args = calloc(FIXED + server->port_count, sizeof *args);
    grpc_server *grpc = NULL;
    if (args != NULL) {
        memcpy(args, fixed, sizeof fixed);
        for (size_t i = 0; i < server->port_count; i++)
            args[FIXED + i] = weft__core_fd_acceptor_arg(&server->ports[i].acceptor, i);
        const grpc_channel_args all = {FIXED + server->port_count, args};
        grpc = grpc_server_create(&all, NULL);
    }
    free(args);
    grpc_resource_quota_unref(quota);
    return grpc;
}

static int register_methods(weft_core_server *server)
{
    const weft__server_config *config = &server->config;
    for (size_t i = 0; i < config->method_count; i++) {
        weft_core_method *method = &server->methods[i];
        method->method = config->methods[i];
        method->one_request = method->method->kind == WEFT_UNARY || method->method->kind == WEFT_SERVER_STREAM;
        method->handle = grpc_server_register_method(
            server->grpc, method->method->path, NULL,
            method->one_request ? GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER : GRPC_SRM_PAYLOAD_NONE, 0);
        if (method->handle == NULL)
            return -EEXIST;
    }
    return 0;
}

static int make_lane(weft_core_server *server, grpc_completion_queue *queue)
{
    weft_core_lane *lane = calloc(1, sizeof *lane);
    if (lane == NULL)
        return -ENOMEM;
    int rc = -pthread_mutex_init(&lane->lock, NULL);
    if (rc < 0) {
        free(lane);
        return rc;
    }
    lane->server = server;
    lane->queue = queue;
    server->lanes[server->lane_count++] = lane;
    return make_slots(lane);
}

static int make_ports(weft_core_server *server)
{
    const weft__server_config *config = &server->config;
    server->ports = calloc(1 + config->tls_count, sizeof *server->ports);
    if (server->ports == NULL)
        return -ENOMEM;
    server->port_count = 1;
    for (size_t i = 0; i < config->tls_count; i++)
        if (find_port(server, config->tls[i]) == NULL)
            server->ports[server->port_count++].tls.tls = config->tls[i];
    return 0;
}

static int attach_ports(weft_core_server *server)
{
    int rc = 0;
    for (size_t i = 0; i < server->port_count; i++) {
        weft_core_port *port = &server->ports[i];
        const bool plain = port->tls.tls == NULL;
        if (!weft__core_fd_acceptor_attach(&port->acceptor, server->grpc,
                                           plain ? grpc_insecure_server_credentials_create()
                                                 : weft__core_tls_server_credentials(&port->tls)) &&
            !plain)
            rc = -ENOTSUP;
    }
    if (rc < 0)
        weft_log_error(server->config.log, "no TLS with this gRPC core",
                       WEFT_FIELDS(WEFT_STR("version", grpc_version_string())));
    return rc;
}

/* All that can fail and is not gRPC core's. */
static int make_lanes(weft_core_server *server, const weft_core_engine *engine)
{
    server->method_count = server->config.method_count + 1;
    server->methods = calloc(server->method_count, sizeof *server->methods);
    server->lanes = calloc(engine->queue_count, sizeof(weft_core_lane *));
    if (server->methods == NULL || server->lanes == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < engine->queue_count; i++) {
        int rc = make_lane(server, engine->queues[i]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Makes gRPC core's server; when that fails there is none. */
static int make_server(weft_core_server *server, int64_t max_buffered_bytes)
{
    server->grpc = make_grpc_server(server, max_buffered_bytes);
    if (server->grpc == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < server->lane_count; i++)
        grpc_server_register_completion_queue(server->grpc, server->lanes[i]->queue, NULL);
    int rc = register_methods(server);
    if (rc < 0)
        grpc_server_destroy(server->grpc);
    return rc;
}

/* Also when that fails the server has started, as gRPC core wants of one with listeners that is to be destroyed. */
static int start(weft_core_server *server)
{
    int rc = attach_ports(server);
    grpc_server_start(server->grpc);
    for (size_t i = 0; i < server->lane_count; i++)
        for (size_t k = 0; k < server->lanes[i]->slot_count; k++)
            post(&server->lanes[i]->slots[k]);
    return rc;
}

int weft__core_server_new(weft_engine *base, const weft__server_config *config, weft__tserver **out)
{
    const weft_core_engine *engine = weft__core_engine(base);
    weft_core_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return -ENOMEM;
    server->base.vtable = &vtable;
    server->config = *config;
    server->on_shutdown.run = run_shutdown;
    atomic_init(&server->open, engine->queue_count + 1);
    weft__core_connections_init(&server->connections, config->max_connections);
    int rc = weft__event_init(&server->closed);
    if (rc < 0)
        goto fail_event;
    rc = -pthread_mutex_init(&server->accept_lock, NULL);
    if (rc < 0)
        goto fail_lock;
    rc = make_lanes(server, engine);
    if (rc == 0)
        rc = make_ports(server);
    if (rc < 0)
        goto fail;
    sigset_t before;
    weft__core_block_signals(&before);
    rc = make_server(server, engine->max_buffered_bytes);
    bool made = rc == 0;
    if (made)
        rc = start(server);
    weft__core_unblock_signals(&before);
    if (!made)
        goto fail;
    if (rc < 0) {
        destroy(&server->base);
        return rc;
    }
    *out = &server->base;
    return 0;

fail:
    free_server(server);
    return rc;
fail_lock:
    weft__event_fini(&server->closed);
fail_event:
    free(server);
    return rc;
}
