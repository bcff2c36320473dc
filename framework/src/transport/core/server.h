/* server.h: a server on gRPC core and its calls: server.c and server_call.c.
 *
 *   server ── lane, one a completion queue ── slots: requests posted to gRPC core, each waits for one call
 *                                          └─ call objects: running, or free to be used again
 */
#ifndef WEFT_TRANSPORT_CORE_SERVER_H
#define WEFT_TRANSPORT_CORE_SERVER_H

#include "transport/core/connections.h"
#include "transport/core/core.h"
#include "transport/core/fd_acceptor.h"
#include "transport/core/tls.h"

/* Exported by gRPC core for its C++ half, and declared in no installed header: whether the last receive ended because
 * the call broke, and not because the peer had sent all. */
int grpc_call_failed_before_recv_message(const grpc_call *call);

typedef struct weft_core_server weft_core_server;
typedef struct weft_core_scall weft_core_scall;

typedef struct weft_core_method {
    const weft__server_method *method; /* NULL: whatever nobody registered */
    void *handle;                      /* gRPC core's name for it */
    bool one_request;                  /* unary, server stream: gRPC core reads the request before it tells us */
} weft_core_method;

typedef struct weft_core_lane {
    weft_core_server *server;
    grpc_completion_queue *queue;
    struct weft_core_slot *slots;
    size_t slot_count;
    pthread_mutex_t lock; /* guards what is below; the threads of one queue share it, nobody else */
    weft_core_scall *free_calls;
    size_t free_count;
    size_t users; /* posted slots and running calls; none are left only after shutdown */
} weft_core_lane;

/* Where descriptors of one kind go in: plaintext, or the TLS of one object. */
typedef struct weft_core_port {
    weft_core_fd_acceptor acceptor;
    weft_core_tls tls; /* `tls` NULL: plaintext */
} weft_core_port;

struct weft_core_server {
    weft__tserver base;
    weft__server_config config;
    grpc_server *grpc;
    weft_core_method *methods; /* method_count, the last is for the unknown ones */
    size_t method_count;
    weft_core_lane **lanes;
    size_t lane_count;
    atomic_size_t open; /* lanes with users, and gRPC core's shutdown: the last one closes the server */
    weft_core_tag on_shutdown;
    weft__event closed;
    bool silent; /* nobody is told that it has closed */

    weft_core_port *ports; /* port_count; the first is plaintext */
    size_t port_count;

    pthread_mutex_t accept_lock; /* guards what is below, and gRPC core's acceptors */
    weft_core_connections connections;
    bool stopping;
};

/* What has come by a slot. */
typedef struct weft_core_arrival {
    grpc_call *call;
    const weft_core_method *method;
    grpc_metadata_array headers;
    gpr_timespec deadline;
    grpc_byte_buffer *request; /* the first message of a method with one_request; or NULL */
    grpc_slice path;           /* of an unknown method */
} weft_core_arrival;

/* A call object of this lane, new or used before; it counts as a user. NULL: no memory. */
weft_core_scall *weft__core_scall_take(weft_core_lane *lane);

/* Begins a call; the arrival's parts are the call's from now on. */
void weft__core_scall_begin(weft_core_scall *call, const weft_core_arrival *arrival);

/* Frees the calls that wait to be used again. */
void weft__core_scall_free_all(weft_core_lane *lane);

/* One user less; the last one closes the lane. The server may be gone afterwards. */
void weft__core_lane_leave(weft_core_lane *lane);

/* A lane without users, or gRPC core's shutdown, which are counted by `open`; the last one closes the server, which may
 * be gone afterwards. */
void weft__core_server_close_one(weft_core_server *server);

#endif
