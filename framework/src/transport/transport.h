/* transport.h: the seam between Weft and the engines that carry its calls.
 *
 * Above the seam: dispatch, deadlines, interceptors, stubs, pickers. They see calls, messages (bytes), metadata and
 * statuses. Below it: an engine (core, memory, later h2) that owns threads, clock, polling and connections. Nothing
 * above includes a header of an engine; an engine includes this file, base/ and listen/ only.
 *
 * Contract
 *
 * 1. Operations. An operation that starts (returns 0) completes exactly once, by weft__op.done, on any thread; one
 *    whose start returns < 0 never completes. A send, a receive or a half-close may be complete before its start
 *    returns, if that thread may block; nothing else completes, and no event is told, inside a function of the seam.
 *    All arguments are checked before anything is handed to the wire, so a failed start leaves the call usable; where
 *    an engine cannot keep that, it cancels the call.
 * 2. Flow. At most one send and one receive are outstanding a call, one of each direction may overlap. The completion
 *    of a send means "you may send the next", not "delivered". What an engine buffers a stream is bounded (core: about
 *    4 MB).
 * 3. Cancel is idempotent, may come from any thread and never fails. Outstanding operations still complete. A call that
 *    is cancelled, or expires, and has lost a message by that is not OK.
 * 4. Messages out: weft__tx, one writable block from tx_alloc with the headroom an engine needs for its framing; owned
 *    by the engine once a start that takes it has returned 0, and still by the caller when it returned < 0. Shared by
 *    reference. Messages in: weft__rx, pieces plus release, valid on any thread until released.
 *    Compression is the upper side's: a message is sent as gzip when it is told to be, and comes as it was sent, with
 *    its coding. Engines say in every request that gzip is taken, and in an answer to a request of another coding.
 * 5. Unary. A handler for a call with one request (unary, server stream) begins after the peer half-closed: exactly one
 *    request, on every engine. Any other number is refused with UNIMPLEMENTED (gRPC: cardinality violation), told in
 *    weft__call_start.
 * 6. Ending a server call. After begin, the upper side ends it by one successful finish, or by cancel. When all that is
 *    outstanding has completed the engine calls `ended`, exactly once, and recycles the object. `ended` may run on
 *    another thread before finish has returned: neither side touches the call after finish was handed over.
 * 7. Time is the engine's clock in nanoseconds; INT64_MAX is "never". The engine enforces deadlines on both sides.
 * 8. Loop threads. Events and completions run on the engine's threads, which are marked (base/thread.h): they must not
 *    block, and weft__engine_wait refuses there with -EDEADLK.
 */
#ifndef WEFT_TRANSPORT_H
#define WEFT_TRANSPORT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <weft/engine.h>
#include <weft/log.h>
#include <weft/metadata.h>
#include <weft/method.h>
#include <weft/status.h>
#include <weft/sv.h>
#include <weft/tls.h>

#include "base/alarms.h"
#include "base/clock.h"
#include "base/event.h"
#include "base/pool.h"
#include "base/random.h"

typedef struct weft__engine_vtable weft__engine_vtable;
typedef struct weft__tls_vtable weft__tls_vtable;
typedef struct weft__tserver weft__tserver;
typedef struct weft__tserver_vtable weft__tserver_vtable;
typedef struct weft__tchannel weft__tchannel;
typedef struct weft__tchannel_vtable weft__tchannel_vtable;
typedef struct weft__scall weft__scall;
typedef struct weft__scall_vtable weft__scall_vtable;
typedef struct weft__ccall weft__ccall;
typedef struct weft__ccall_vtable weft__ccall_vtable;
struct weft__server_config;
struct weft__channel_config;

/* What another number of messages than one makes of a call that has one request, or one response. gRPC's statuscodes.md
 * says so on both sides ("cardinality violation"), and implementations differ: grpc-java#11247, grpc-go#7286. */
#define WEFT__CARDINALITY_VIOLATION WEFT_UNIMPLEMENTED

/* ---- operations, messages, metadata ------------------------------------------------------------------------------ */

/* One outstanding operation. The starter embeds it and keeps it alive until `done`. `result`: 0 or -errno. */
typedef struct weft__op weft__op;
struct weft__op {
    void (*done)(weft__op *op, int result);
};

/* A message to send: `len` bytes at `data`, to be filled by the caller. Copy the struct freely; tx_unref drops one
 * reference. */
typedef struct weft__tx {
    uint8_t *data;
    size_t len;
    bool gzip; /* the bytes are: only in a call whose headers have said that such may come */
    uintptr_t impl[4];
} weft__tx;

/* How a received message is compressed. Engines carry it as it is; the upper side has the limits. */
typedef enum weft__coding {
    WEFT__CODING_NONE = 0,
    WEFT__CODING_GZIP,
    WEFT__CODING_OTHER,  /* by something that Weft does not advertise */
    WEFT__CODING_UNNAMED /* by something that the peer did not name, or that the engine has never heard of */
} weft__coding;

/* A received message of `total` bytes in `pieces` pieces. With one piece (or none) it is all at `data`; with more,
   gather it by rx_gather. `impl` is NULL for "no message". */
typedef struct weft__rx {
    const uint8_t *data;
    size_t total;
    size_t pieces;
    weft__coding coding;
    void *impl;
} weft__rx;

/* Received metadata, read in place: `count` pairs, in order of arrival, binary values decoded, all of them legal. Valid
 * as long as the call. */
typedef struct weft__md {
    size_t count;
    const void *impl;
} weft__md;

/* Whether key and value keep the rules of weft/metadata.h; reserved keys do. An engine drops what a peer sends against
 * them, as gRPC allows: a NUL or a line break must not reach a handler that takes the value for text. */
WEFT_API bool weft__metadata_is_legal(weft_sv key, weft_sv value);

/* ---- the engine -------------------------------------------------------------------------------------------------- */

/* Every engine's struct begins with this. Set by the engine's constructor. */
struct weft_engine {
    const weft__engine_vtable *vtable;
    weft__clock *clock;
    weft__random *random;
    weft_log *log;
    const weft__pool_hooks *pool_hooks; /* what worker pools of servers on this engine report to; or NULL */
    bool stepped;                       /* no threads: servers run every method inline */
    bool loses_late_calls;              /* shutdown kills calls that arrive while its GOAWAY is on the way */
    pid_t pid;                          /* that made it: another one may only free nothing */
    atomic_size_t users;                /* servers and channels that still exist */
};

struct weft__engine_vtable {
    const char *name;
    int tls_min_version; /* the highest minimum version of TLS that it can keep to: 12, 13; 0: it has no TLS */
    void (*destroy)(weft_engine *engine); /* users == 0; joins threads, frees */

    /* Waits for an event until a time of the engine's clock: 0, -ETIMEDOUT; -EDEADLK when it can never come (stepped).
     */
    int (*wait)(weft_engine *engine, weft__event *event, int64_t deadline_ns);
    void (*post)(weft_engine *engine, weft__event *event);

    /* As weft__alarms_set and _cancel, by the engine's clock and on one of its threads. None is set when the engine is
     * destroyed. */
    int (*alarm_set)(weft_engine *engine, weft__alarm *alarm, int64_t at_ns);
    bool (*alarm_cancel)(weft_engine *engine, weft__alarm *alarm);

    int (*tx_alloc)(weft_engine *engine, size_t len, weft__tx *out); /* 0, -ENOMEM; len may be 0 */
    void (*tx_ref)(weft__tx *tx);
    void (*tx_unref)(weft__tx *tx);
    void (*rx_gather)(const weft__rx *rx, uint8_t *out); /* copies all pieces: `total` bytes */
    void (*rx_release)(weft__rx *rx);                    /* any thread; once; clears impl */
    weft_metadatum (*md_at)(const weft__md *md, size_t index);

    /* Addresses of engines without sockets: reserves one ("host:0" makes up a port) and writes what was reserved.
       NULL when the engine takes connected descriptors (serve_fd). */
    int (*bind_name)(weft_engine *engine, const char *address, char *bound, size_t size);
    void (*unbind_name)(weft_engine *engine, const char *bound);

    int (*server_new)(weft_engine *engine, const struct weft__server_config *config, weft__tserver **out);
    int (*channel_new)(weft_engine *engine, const struct weft__channel_config *config, weft__tchannel **out);
};

/* ---- TLS --------------------------------------------------------------------------------------------------------- */

/* One generation of PEM texts, which OpenSSL has checked. NUL-terminated; NULL: there is none. */
typedef struct weft__pems {
    uint64_t number;          /* grows from generation to generation */
    const char *certificates; /* our own, then those between it and its CA; and … */
    const char *key;          /* … never one without the other */
    const char *roots;
} weft__pems;

/* What stands above hands an engine its certificates by this: every TLS object's struct begins with it. Set once. */
struct weft_tls {
    const weft__tls_vtable *vtable;
    weft_engine *engine;
    weft_client_certificates client_certificates;
    const char *server_name; /* or NULL: from the target */
    bool has_certificate;    /* what every generation has */
    bool has_roots;
};

/* Any thread. */
struct weft__tls_vtable {
    void (*ref)(weft_tls *tls);
    void (*unref)(weft_tls *tls);
    /* Takes over rotated files, if it is time to look. The number of the newest generation. Before a connection is
       made; may read files. */
    uint64_t (*refresh)(weft_tls *tls);
    /* The newest generation; it stays as it is until released. */
    const weft__pems *(*hold)(weft_tls *tls);
    void (*release)(const weft__pems *pems);
};

/* ---- the server side --------------------------------------------------------------------------------------------- */

/* A method as the engine needs to know it. Lives as long as the server. */
typedef struct weft__server_method {
    const char *path; /* "/user.UserService/GetUser" */
    weft_method_kind kind;
    int64_t max_message_bytes; /* at most the server's; the upper side enforces it: a hint */
    bool run_inline;           /* the upper side answers from `begin`, or defers: a hint for how to batch */
} weft__server_method;

/* What begins a call. `path` and `headers` stay valid until `ended`; `message` belongs to the upper side, which
 * releases it. */
typedef struct weft__call_start {
    const weft__server_method *method; /* NULL: nobody registered `path` */
    weft_sv path;
    int64_t deadline_ns;
    weft__md headers;
    weft__rx message;           /* for unary and server stream: the request */
    weft_code refuse;           /* not WEFT_OK: the engine found the call broken; it must be finished with this … */
    const char *refuse_message; /* … and this static text; there is no message then */
} weft__call_start;

/* What the engine tells the upper side. */
typedef struct weft__server_events {
    /* A new call object was made (0 or -errno), and is destroyed: `call->state` points at call_size bytes that live
     * between. */
    int (*init)(void *user, weft__scall *call);
    void (*fini)(void *user, weft__scall *call);
    /* A call has arrived. On a loop thread. */
    void (*begin)(void *user, weft__scall *call, const weft__call_start *start);
    /* Nobody waits for the answer any more. At most once, only after `watch`, before `ended`; may overlap anything but
     * those. */
    void (*cancelled)(void *user, weft__scall *call);
    /* All is over; the object is about to be used again. */
    void (*ended)(void *user, weft__scall *call);
    /* After shutdown: the last connection and call are gone. Once. */
    void (*closed)(void *user);
} weft__server_events;

/* All limits are given: INT64_MAX for none. Everything pointed at outlives the server, `config` itself is copied. */
typedef struct weft__server_config weft__server_config;
struct weft__server_config {
    weft_log *log;
    const weft__server_events *events;
    void *user;
    size_t call_size; /* of the upper side's state in every call */
    const weft__server_method *const *methods;
    size_t method_count;
    const char *const *names; /* bound by bind_name: for engines that have it */
    size_t name_count;
    weft_tls *const
        *tls; /* tls_count that serve_fd may be given; each has a certificate. Some may be NULL or repeated */
    size_t tls_count;
    int64_t max_connections;
    int64_t max_streams;
    int64_t max_message_bytes;
    int64_t max_metadata_bytes;
    int64_t keepalive_ms;
    int64_t keepalive_timeout_ms;
    int64_t max_connection_age_ms;
    int64_t max_connection_age_grace_ms;
    int64_t max_connection_idle_ms;
};

struct weft__tserver {
    const weft__tserver_vtable *vtable;
};

struct weft__tserver_vtable {
    /* Takes a connected, non-blocking, close-on-exec descriptor, which speaks TLS, or plaintext when `tls` is NULL. 0:
     * the
       engine owns it; -EUSERS over max_connections; -ESHUTDOWN; -ENOMEM: still the caller's. NULL in engines with
       bind_name. Any thread. */
    int (*serve_fd)(weft__tserver *server, int fd, weft_tls *tls);
    /* Connections open now; an upper bound where the engine cannot know better. */
    size_t (*connections)(weft__tserver *server);
    /* No new connections or calls, GOAWAY to all; running calls may end. `closed` follows. Once. */
    void (*shutdown)(weft__tserver *server);
    /* Cancels all calls that still run. After shutdown. */
    void (*cancel_all)(weft__tserver *server);
    /* After `closed`, or before any call could come. Destroys the call objects (`fini`). */
    void (*destroy)(weft__tserver *server);
};

/* The answer that ends a server call. What is pointed at stays valid until `ended`. */
typedef struct weft__finish {
    const weft_metadatum *headers; /* header_count; sent now unless a send has carried headers before */
    size_t header_count;
    weft__tx *message; /* the response of a unary or client-stream call; NULL for none. If it is gzip, the headers that
                          are sent now say so */
    weft_code code;
    weft_sv status_message; /* UTF-8; may be empty */
    const weft_metadatum *trailers;
    size_t trailer_count;
} weft__finish;

/* A message of a streaming answer. The first one carries the headers. */
typedef struct weft__send {
    const weft_metadatum *headers;
    size_t header_count;
    weft__tx *message; /* NULL: headers only */
    bool gzip;         /* the headers say that messages may be gzip */
    bool more;         /* another send follows soon: the engine may hold this one back for a moment */
} weft__send;

/* A call on the server. The engine's own call object begins with this. */
struct weft__scall {
    const weft__scall_vtable *vtable;
    void *state; /* the upper side's call_size bytes; aligned for any type */
};

struct weft__scall_vtable {
    /* From now on `cancelled` is told. Call it at most once, before finish, when the answer does not come from `begin`
     * itself. */
    int (*watch)(weft__scall *call);
    /* Ends the call with a status. Any thread. */
    int (*finish)(weft__scall *call, const weft__finish *answer);
    /* Ends the call without one: the peer sees CANCELLED or a reset. */
    void (*cancel)(weft__scall *call);
    /* Breaks the call as the peer's cancel would, and resets it for the peer: what is outstanding completes. It is
     * still to be ended. Not beside finish or cancel. */
    void (*abort)(weft__scall *call);
    /* Streams: receives one message (then `take`; impl NULL: the peer has half-closed, or, when the result is < 0, the
     * call is broken), sends one. */
    int (*recv)(weft__scall *call, weft__op *op);
    void (*take)(weft__scall *call, weft__rx *out);
    int (*send)(weft__scall *call, const weft__send *send, weft__op *op);
    /* Whether the peer has said that it takes gzip. */
    bool (*takes_gzip)(weft__scall *call);
    /* Writes the peer's address ("ipv4:127.0.0.1:50000"), NUL-terminated, cut to `size`; returns its full length. */
    size_t (*peer)(weft__scall *call, char *out, size_t size);
    /* The peer's certificate as PEM, verified; absent when it has shown none. Valid until `ended`. NULL in engines
     * without TLS. */
    weft_sv (*peer_certificate)(weft__scall *call);
};

/* ---- the client side --------------------------------------------------------------------------------------------- */

/* All limits are given: INT64_MAX for none. Strings are copied. */
typedef struct weft__channel_config weft__channel_config;
struct weft__channel_config {
    weft_log *log;
    const char
        *target; /* checked: "dns:///host:port", "ipv4:…", "ipv6:…", "unix:/path"; the memory engine: any bound name */
    const char *authority; /* or NULL */
    weft_tls *tls;         /* outlives the channel; has roots. NULL: plaintext */
    int64_t max_message_bytes;
    int64_t max_metadata_bytes;
    int64_t connect_timeout_ms;
    int64_t min_backoff_ms;
    int64_t max_backoff_ms;
    int64_t keepalive_ms; /* INT64_MAX: never */
    int64_t keepalive_timeout_ms;
    bool use_proxy;
};

struct weft__tchannel {
    const weft__tchannel_vtable *vtable;
};

/* What a channel's connection is doing. */
typedef enum weft__link_state {
    WEFT__LINK_IDLE,
    WEFT__LINK_CONNECTING,
    WEFT__LINK_READY,
    WEFT__LINK_BACKOFF /* an attempt has failed; the next one comes after a while */
} weft__link_state;

struct weft__tchannel_vtable {
    int (*call_new)(weft__tchannel *channel, weft__ccall **out);
    /* Completes with the connection's state (weft__link_state) as soon as it is another than `last` (-1: at once); with
     * -ESHUTDOWN by close. While a watch is outstanding, the channel connects, again and again. One at a time. */
    int (*watch)(weft__tchannel *channel, int last, weft__op *op);
    /* Ends the watch. No call begins any more. Once. */
    void (*close)(weft__tchannel *channel);
    /* All calls are freed, and no watch is outstanding. */
    void (*destroy)(weft__tchannel *channel);
};

/* Whether the server may have processed the call: for retries. */
typedef enum weft__seen {
    WEFT__SEEN_MAYBE = 0,
    WEFT__SEEN_NO,
    WEFT__SEEN_YES
} weft__seen;

/* What a call starts with. All of it stays valid until the call's end is told. */
typedef struct weft__call_args {
    const weft_method *method;
    int64_t deadline_ns;
    const weft_metadatum *metadata; /* checked by weft_metadata_check */
    size_t metadata_count;
    weft__tx *message; /* the request; NULL for a stream that sends later */
    bool half_close;   /* streams: nothing follows `message` */
    bool gzip;         /* the headers say that messages may be gzip */
    bool wait_for_ready;
    uint64_t hash;             /* for pickers: of what the call is about; 0: none */
    struct weft__tried *tried; /* for the balancer: the endpoints that other attempts of the same call are on, or were;
                                  NULL: it is the only one */
} weft__call_args;

/* How a call ended. Valid until the call is freed. */
typedef struct weft__result {
    weft_code code; /* 0..16: a received one out of range is UNKNOWN */
    bool from_peer;
    bool final; /* not to be tried again, whatever the code: it was refused here, on purpose */
    weft__seen seen;
    int64_t waited_ns; /* before it could go out: for an address, a connection, a place on one */
    uint32_t attempts; /* that were made; 0: one */
    weft_sv message;   /* status text, maybe not UTF-8 */
    weft__md headers;
    weft__md trailers;
    weft__rx response; /* unary: what was received, or impl NULL; the taker releases it */
} weft__result;

/* A call on the client. The engine's own call object begins with this. */
struct weft__ccall {
    const weft__ccall_vtable *vtable;
};

struct weft__ccall_vtable {
    /* The whole of a unary call; `op` completes at its end, then `result`. More than one response is INTERNAL. */
    int (*unary)(weft__ccall *call, const weft__call_args *args, weft__op *op);
    /* Begins a stream; `end` completes when the status is there, after all else that is outstanding. From then on recv,
     * send and half_close return -ESHUTDOWN, so that the call may be freed. */
    int (*start)(weft__ccall *call, const weft__call_args *args, weft__op *end);
    int (*recv)(weft__ccall *call, weft__op *op);
    void (*take)(weft__ccall *call, weft__rx *out); /* impl NULL: no more */
    int (*send)(weft__ccall *call, weft__tx *message, bool more, weft__op *op);
    int (*half_close)(weft__ccall *call, weft__op *op);
    /* Ends it here with this status. `message` is a static text. */
    void (*cancel)(weft__ccall *call, weft_code code, const char *message);
    void (*result)(weft__ccall *call, weft__result *out); /* after the end; moves `response` out at the first time */
    size_t (*peer)(weft__ccall *call, char *out, size_t size);
    void (*free)(weft__ccall *call); /* nothing outstanding */
};

/* ---- helpers above any engine (engine.c) ------------------------------------------------------------------------- */

/* Fills the base of an engine. */
WEFT_API void weft__engine_init(weft_engine *engine, const weft__engine_vtable *vtable, weft__clock *clock,
                                weft__random *random, weft_log *log);

/* Whether this process is a child of the one that made the engine: its threads are not here, and locks may be held for
 * ever. */
bool weft__engine_forked(const weft_engine *engine);

/* Registers a server or channel: 0, or -ECHILD in a forked child. */
int weft__engine_use(weft_engine *engine);
void weft__engine_unuse(weft_engine *engine);

/* Blocks until the event or the time: 0, -ETIMEDOUT; -EDEADLK on a loop thread, or when it can never come. */
int weft__engine_wait(weft_engine *engine, weft__event *event, int64_t deadline_ns);

#endif
