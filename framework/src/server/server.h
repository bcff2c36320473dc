/* server.h: the server's own objects, shared by server.c (its life) and dispatch.c (its calls). */
#ifndef WEFT_SERVER_SERVER_H
#define WEFT_SERVER_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include <weft/server.h>

#include "base/event.h"
#include "base/list.h"
#include "base/pool.h"
#include "call/call.h"
#include "call/guard.h"
#include "transport/listen/listen.h"
#include "transport/transport.h"

/* A method with what was registered for it. */
typedef struct weft__served_method {
    weft__server_method transport; /* first: the engine hands this back */
    const weft_method *method;
    const void *ops;
    void *self;
    bool has_handler;
    bool defers;
    int64_t max_concurrent_calls;
    atomic_size_t calls;
    uint64_t mask; /* of the interceptors that look at it */
} weft__served_method;

/* A service with the file it is declared in, which for protobuf-c's own services is not known: NULL. */
typedef struct weft__served_service {
    const char *name;
    const weft_file *file;
} weft__served_service;

/* Who goes through the life of a server with it (src/builtin). Each function may be NULL. */
typedef struct weft__server_observer {
    weft__list_node node;
    /* It is about to serve, and all services are there: 0; -errno: it does not start. Comes again when a start
     * fails. */
    int (*start)(struct weft__server_observer *observer, const weft_server *server);
    /* It begins to drain: no call begins any more that does not begin already. */
    void (*drain)(struct weft__server_observer *observer);
    /* It is freed; there are no calls any more. */
    void (*destroy)(struct weft__server_observer *observer);
} weft__server_observer;

/* In this order; a start that fails goes back to NEW. */
typedef enum weft__server_state {
    WEFT__SERVER_NEW,
    WEFT__SERVER_STARTING, /* calls may come already */
    WEFT__SERVER_SERVING,  /* transport and pool are there to stay */
    WEFT__SERVER_DRAINING,
    WEFT__SERVER_STOPPED
} weft__server_state;

struct weft_server {
    weft_engine *engine;
    weft_server_options options; /* normalized: INT64_MAX is "none" */
    weft__guard_limits guard;
    weft__chain chain;

    /* Set up before start, read-only after. */
    weft__served_method **methods;
    size_t method_count;
    const weft__server_method **transport_methods; /* the same, as the engine wants them */
    weft__served_service *services;
    size_t service_count;
    pthread_mutex_t observers_lock; /* of the two below, once it serves */
    weft__list observers;
    bool observers_told; /* that it drains: there will be no more of them */
    void **owned;        /* blocks freed with the server */
    size_t owned_count;
    char **names; /* addresses bound by name (engines without sockets) */
    size_t name_count;
    weft__listener *listener;                  /* or NULL */
    weft_tls *tls[WEFT__LISTENER_MAX_SOCKETS]; /* by the listener's bindings; NULL: plaintext */
    weft__tserver *transport;
    weft__pool *pool; /* NULL: every method runs inline */

    pthread_mutex_t lock; /* of state, while it changes */
    _Atomic(weft__server_state) state;
    bool listens;           /* has bound addresses, and accepts at them once it serves */
    atomic_bool cancelling; /* the grace of a stop is over */
    atomic_bool hurried;    /* a stop gets no time any more */
    atomic_bool shut_down;  /* the transport, by a stop; so calls can be cancelled */
    weft__job closed_job;   /* the same, for a server on a loop */
    bool closed_on_loop;
    atomic_size_t loop_queued; /* calls that wait for the loop */
    weft__event closed;        /* the engine has let go of the last call and connection */
    weft__event hurry;         /* what a drain waits on for time to pass; posted once hurried */

    /* Counters, all relaxed: they order nothing. */
    atomic_uint_least64_t calls;
    atomic_uint_least64_t worker_streams; /* that hold a worker, or wait for one */
    atomic_uint_least64_t calls_started;
    atomic_uint_least64_t calls_handled;
    atomic_uint_least64_t refused_calls;
    atomic_uint_least64_t refused_connections;
    atomic_uint_least64_t expired_calls;
    atomic_int_least64_t last_call_ns; /* when the last call came, kept while draining */

#ifndef NDEBUG
    pthread_mutex_t deferred_lock;
    weft__list deferred_calls; /* not answered yet: weft_call.deferred_node */
#endif
};

/* What the engine tells the server (dispatch.c). */
extern const weft__server_events weft__server_events_table;

/* Bytes of a call's state: the call and the first block of its arena. */
size_t weft__server_call_size(void);

/* Whether the calling thread is a worker that runs a handler of this server. */
bool weft__server_on_worker(const weft_server *server);

/* The engine has said that nobody waits for a call's answer any more: finds out why, and marks it. */
void weft__server_call_cancelled(weft_call *call);

/* Debug builds: logs the deferred calls that nobody has finished. */
void weft__server_tell_unfinished(weft_server *server);

/* Answers the calls that wait for a worker with UNAVAILABLE. The server has a pool. */
void weft__server_refuse_queued(weft_server *server);

/* Notes a service: 0; -EBUSY after start; -ENOMEM. To take it back, restore service_count. */
int weft__server_add_service(weft_server *server, const char *name, const weft_file *file);

/* 0; -ESHUTDOWN the server drains already. The observer lives until its destroy, or as long as the server. After start,
 * too: then only its drain and destroy come. Not from within an observer. */
int weft__server_observe(weft_server *server, weft__server_observer *observer);

/* Ends the grace of the stop that is under way, or of the next one: it cancels what runs. Returns at once. Any thread;
 * the server is not freed meanwhile. */
void weft__server_hurry(weft_server *server);

/* Registers one method. As weft_server_add. */
int weft__server_add_method(weft_server *server, const weft_method *method, const void *ops, void *self,
                            const weft_method_options *options);

/* Takes back the methods from `count` on. */
void weft__server_remove_methods(weft_server *server, size_t count);

/* Leaves a block of malloc to be freed with the server: 0; -ENOMEM, and it is still the caller's. */
int weft__server_own(weft_server *server, void *block);

/* Gives the block owned last back to the caller. */
void weft__server_disown_last(weft_server *server);

#endif
