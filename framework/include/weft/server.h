/* weft/server.h: serving.
 *
 *     weft_server *server;
 *     rc = weft_server_new(&server, engine, NULL);
 *     rc = user_UserService_register(server, &ops, store, NULL);     // generated
 *     rc = weft_server_listen(server, "127.0.0.1:50051");
 *     rc = weft_server_start(server);
 *     …
 *     weft_server_stop(server, 10000);
 *     weft_server_free(server);
 *
 *     new ──listen, register──▶ new ──start──▶ serving ──stop──▶ draining ──▶ stopped ──free──▶
 *
 * A program that runs until it is told to stop leaves start and stop to weft/app.h.
 */
#ifndef WEFT_SERVER_H
#define WEFT_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/compression.h>
#include <weft/engine.h>
#include <weft/log.h>
#include <weft/loop.h>
#include <weft/method.h>
#include <weft/tls.h>

WEFT_BEGIN_DECLS

typedef struct weft_server weft_server;

/* Every limit: 0 means the default, -1 none. A peer that goes over one is answered RESOURCE_EXHAUSTED unless said
 * otherwise.
 *
 * max_message_fields bounds what protobuf-c may need to unpack a small message of very many parts. A field weighs 1,
 * for about 64 bytes of memory; a sub-message 1 more for each 64 bytes of its struct; packed numbers an eighth each. */
typedef struct weft_server_options {
    size_t struct_size; /* set by WEFT_SERVER_OPTIONS_INIT */
    weft_log *log;      /* optional; outlives the server. Default: nothing is logged */
    weft_loop *loop;    /* optional; outlives the server; where all handlers and callbacks run, inline methods too.
                           Default: handlers on workers, callbacks on the engine's thread */
    const weft_interception *interceptors; /* optional; interceptor_count of them: weft/interceptor.h */
    size_t interceptor_count;
    weft_observer *const *observers; /* optional; observer_count of them; array and observers outlive this object */
    size_t observer_count;
    int64_t workers; /* optional; threads that run handlers, 10000 at most. Default: 4 a CPU, 8 at least; -1: none
                           (every method inline) */
    int64_t worker_stack_bytes;   /* optional; 64 KiB at least, and as much more as max_message_depth needs: 1 KiB a
                                     level. Default: 256 KiB */
    int64_t max_queued_calls;     /* optional; calls that wait for a worker, or for the loop. Default: 1024 */
    int64_t max_concurrent_calls; /* optional; calls begun and not answered. Default: 10000 */
    int64_t max_connections;      /* optional; further ones are closed at once. Default: 10000 */
    int64_t max_streams; /* optional; concurrent calls of one connection; the peer queues the rest. Default: 1000 */
    int64_t max_message_bytes;  /* optional; of a request. Default: 4 MiB */
    int64_t max_metadata_bytes; /* optional; of a request's, or an answer's; 1 KiB at least. Default: 16 KiB */
    int64_t max_call_bytes; /* optional; the call's arena: unpacked request, handler, answer; 1 KiB at least. Default:
                               64 MiB */
    int64_t max_message_depth;    /* optional; nesting of a request (INVALID_ARGUMENT); never over 200. Default: 100 */
    int64_t max_message_fields;   /* optional; weight of a request's fields (INVALID_ARGUMENT). Default: 1,000,000 */
    int64_t keepalive_ms;         /* optional; pings a silent peer; 1000 at least. Default: 60,000; -1: never */
    int64_t keepalive_timeout_ms; /* optional; closes the connection without an answer; 100 at least. Default: 20,000 */
    int64_t max_connection_age_ms;       /* optional; then GOAWAY, ±10 %. Default: none */
    int64_t max_connection_age_grace_ms; /* optional; what calls on an aged connection get. Default: none */
    int64_t max_connection_idle_ms;      /* optional. Default: none */
    int64_t max_worker_streams;          /* optional; streams that hold a worker each. Default: 3/4 of the workers */
    int64_t send_stall_ms; /* optional; a stream whose peer takes nothing for so long is cancelled, when somebody waits
                              to send. Default: 60,000 */
    int64_t quiet_ms;      /* optional; on gRPC core a stop closes once no call has come for so long. Default: 500 */
    weft_compression compression; /* optional; of answers, to peers that take it. Default: none */
} weft_server_options;
#define WEFT_SERVER_OPTIONS_INIT WEFT__INIT(weft_server_options)

/* How one method is run, where it differs from the server's options. */
typedef struct weft_method_options {
    size_t struct_size;           /* set by WEFT_METHOD_OPTIONS_INIT */
    const char *method;           /* required; "GetUser". Read at registration only */
    bool run_inline;              /* optional; on the engine's thread, where it must not block. Default: on a worker */
    int64_t max_message_bytes;    /* optional; at most the server's. Default: the server's */
    int64_t max_concurrent_calls; /* optional. Default: none of its own */
    bool defers;                  /* optional; its handler defers soon, as one that follows a feed: many may begin at
                                     once, because they do not count in max_worker_streams. Default: they do */
} weft_method_options;
#define WEFT_METHOD_OPTIONS_INIT WEFT__INIT(weft_method_options)

/* Options of a registration: `method_count` entries at `methods`. */
typedef struct weft_service_options {
    size_t struct_size; /* set by WEFT_SERVICE_OPTIONS_INIT */
    const weft_method_options *methods;
    size_t method_count;
} weft_service_options;
#define WEFT_SERVICE_OPTIONS_INIT WEFT__INIT(weft_service_options)

/* What a server has done since it was made. Counters only grow; the first three are of now. */
typedef struct weft_server_stats {
    size_t struct_size;           /* set by WEFT_SERVER_STATS_INIT */
    uint64_t connections;         /* open now (on gRPC core: an upper bound) */
    uint64_t calls;               /* begun and not answered */
    uint64_t queued;              /* of those, waiting for a worker */
    uint64_t calls_started;       /* all that arrived */
    uint64_t calls_handled;       /* of those, that reached a handler */
    uint64_t refused_connections; /* over max_connections */
    uint64_t refused_calls;       /* over a limit of calls or of the queue */
    uint64_t expired_calls;       /* past their deadline before a handler could start */
    uint64_t accept_failures;     /* out of descriptors or memory */
} weft_server_stats;
#define WEFT_SERVER_STATS_INIT WEFT__INIT(weft_server_stats)

/**
 * Makes a server on an engine.
 *
 * @param engine  outlives the server.
 * @param options may be NULL: all defaults.
 * @return 0; -EINVAL no engine, an option out of range, or struct_size 0; -E2BIG an option that this library does not
 *         know; -ENOTSUP a loop on a stepped engine; -ENOMEM; -ECHILD after fork.
 */
WEFT_API int weft_server_new(weft_server **out, weft_engine *engine, const weft_server_options *options);

/**
 * Adds a service; generated …_register functions call this.
 *
 * @param ops     the service's generated table of handlers; outlives the server.
 * @param self    handed to every handler; outlives the server. May be NULL.
 * @param options may be NULL. Copied.
 * @return 0; -EEXIST a method is already served; -EINVAL no service or table, bad options, or one names a method that
 *         is not there; -E2BIG an option that this library does not know; -EBUSY after start; -ENOMEM. On failure
 *         nothing of the service is added.
 */
WEFT_API int weft_server_add(weft_server *server, const weft_service *service, const void *ops, void *self,
                             const weft_service_options *options);

/**
 * Binds an address. Nothing is accepted before start; with several addresses behind one name all bind or none.
 *
 * @param address "host:port", "[::1]:port", ":port" (all interfaces), "unix:/path", or "fd:N" for an inherited
 * listening socket, which the server then owns. Port 0 takes a free one: see weft_server_address.
 * @return 0; -EADDRINUSE; -EACCES; -EADDRNOTAVAIL; -EINVAL not an address, or no port; -ENOENT the name is unknown;
 * -EBUSY after start; -ECHILD after fork; or another -errno of socket, bind or listen. Blocks for the name's
 * resolution. Thread: setup.
 */
WEFT_API int weft_server_listen(weft_server *server, const char *address);

/**
 * Binds an address that speaks TLS; a server may have both kinds.
 *
 * @param tls with a certificate, of the server's engine; kept until the server is freed.
 * @return as weft_server_listen; -EINVAL also a `tls` that does not fit. Thread: setup.
 */
WEFT_API int weft_server_listen_tls(weft_server *server, const char *address, weft_tls *tls);

/**
 * The address that the `index`-th listen bound, with the real port: "127.0.0.1:41033".
 *
 * @return a text that lives as long as the server, or NULL past the last. Thread: setup.
 */
WEFT_API const char *weft_server_address(const weft_server *server, size_t index);

/* The TCP port of that address; 0 for a unix socket or past the last. */
WEFT_API int weft_server_port(const weft_server *server, size_t index);

/* Begins to serve. @return 0; -EALREADY; -EINVAL nothing to listen on; -EAGAIN no thread could be started; -EMFILE or
 * -ENFILE out of descriptors; -ENOTSUP TLS on a gRPC core whose inside is not the one we know (the log says so);
 * -ENOMEM; -ECHILD after fork. */
WEFT_API int weft_server_start(weft_server *server);

/**
 * Closes the listening sockets: new connections are refused, those that are open are served as before. Connections that
 * wait to be accepted are reset. In the memory engine the names are free again.
 *
 * @return 0, also when the server does not listen any more; -EINVAL it has not started; -EDEADLK from a handler or the
 *         engine's thread; -ECHILD after fork. Thread: any; who comes while another thread stops waits for that one.
 */
WEFT_API int weft_server_stop_accepting(weft_server *server);

/**
 * Drains and closes. New and queued calls are answered UNAVAILABLE, running ones may end; connections close once no
 * call has come for quiet_ms, or when the grace is over, which also cancels what still runs. Blocks until all is closed
 * and every handler has returned. With a loop it dispatches the loop meanwhile: call it on the loop's thread, outside
 * of a callback.
 *
 * @param grace_ms 0: cancel at once; -1: wait for as long as it takes.
 * @return 0, also when it was stopped before; -EINVAL grace_ms is below -1; -EDEADLK from a handler or the engine's
 *         thread, or while a stepped engine's deferred call is not answered (answer it, and stop again); -ECHILD after
 *         fork. Thread: any; who comes while another thread stops waits for that one.
 */
WEFT_API int weft_server_stop(weft_server *server, int64_t grace_ms);

/* Frees a server, stopping it first with no grace if it still serves. NULL is fine. Where weft_server_stop cannot stop
 * it (in a handler, after fork) it frees nothing. */
WEFT_API void weft_server_free(weft_server *server);

/* Fills `stats`. @return 0; -EINVAL when its struct_size is 0. Thread: any. */
WEFT_API int weft_server_read_stats(const weft_server *server, weft_server_stats *stats);

WEFT_END_DECLS
#endif
