/* weft/channel.h: calling. A channel is a lasting connection to a target, shared by any number of threads and calls. */
#ifndef WEFT_CHANNEL_H
#define WEFT_CHANNEL_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include <weft/arena.h>
#include <weft/call.h>
#include <weft/compression.h>
#include <weft/engine.h>
#include <weft/health_check.h>
#include <weft/log.h>
#include <weft/loop.h>
#include <weft/metadata.h>
#include <weft/method.h>
#include <weft/outlier.h>
#include <weft/picker.h>
#include <weft/resolver.h>
#include <weft/status.h>
#include <weft/tls.h>

WEFT_BEGIN_DECLS

typedef struct weft_channel weft_channel;

typedef struct weft_channel_options {
    size_t struct_size; /* set by WEFT_CHANNEL_OPTIONS_INIT */
    weft_log *log;      /* optional; outlives the channel. Default: nothing is logged */
    weft_loop *loop;    /* optional; outlives the channel; where callbacks run. Default: the engine's thread */
    const weft_interception *interceptors; /* optional; interceptor_count of them: weft/interceptor.h */
    size_t interceptor_count;
    weft_observer *const *observers; /* optional; observer_count of them; array and observers outlive this object */
    size_t observer_count;
    const char *authority;      /* optional; copied; visible ASCII. What :authority says, and with TLS the name that the
                                   certificate must have. Default: from the target */
    int64_t timeout_ms;         /* optional; of a call that names none and has no parent. Default: none */
    int64_t max_message_bytes;  /* optional; of a response. Default: 4 MiB; -1: none */
    int64_t max_metadata_bytes; /* optional; of a response's; 1 KiB at least. Default: 16 KiB */
    int64_t max_message_depth;  /* optional; nesting of a response; never over 200. Default: 100 */
    int64_t max_message_fields; /* optional; weight of a response's fields, as for a server. Default: 1,000,000 */
    int64_t connect_timeout_ms; /* optional; of one attempt. Default: 20,000 */
    int64_t min_backoff_ms;     /* optional; between attempts to connect, grows 1.6-fold with jitter. Default: 1,000 */
    int64_t max_backoff_ms;     /* optional. Default: 120,000 */
    int64_t keepalive_ms;       /* optional; pings while calls run; 10,000 at least. Default: never */
    int64_t keepalive_timeout_ms;    /* optional; 100 at least. Default: 20,000 */
    int64_t max_call_bytes;          /* optional; unpacked message of a stream, arena of an asynchronous call; 1 KiB at
                                     least. Default: 64 MiB */
    int64_t send_stall_ms;           /* optional; a stream whose server takes nothing for so long is cancelled, when
                                     somebody waits to send. Default: 60,000 */
    bool use_proxy;                  /* optional; follow http_proxy and grpc_proxy of the environment. Default: no */
    weft_tls *tls;                   /* optional; of the channel's engine; kept until the channel is freed. Default:
                                     plaintext */
    weft_compression compression;    /* optional; of what is sent by calls that say nothing else. Default: none */
    weft_resolver *const *resolvers; /* optional; resolver_count of them; the array is copied, the resolvers outlive the
                                        channel. A target with the scheme of one of them is watched by it */
    size_t resolver_count;
    weft_picker *picker; /* optional; outlives the channel, and is used by no other. Default: power of two choices */
    const weft_outlier_options
        *outliers;                /* optional; how instances that answer badly are left out for a while. Default:
                                             as weft_outlier_options says */
    int64_t max_waiting_calls;    /* optional; that wait for an address or a connection; one more is RESOURCE_EXHAUSTED.
                                  Default: 1,000; -1: none is too many */
    int64_t max_concurrent_calls; /* optional; that run or wait; one more is RESOURCE_EXHAUSTED. Default: none */
    int64_t max_streams;          /* optional; concurrent calls on one connection; more wait, or get another one. -1: as
                                     many as come. Default: 100 */
    int64_t max_connections;      /* optional; to one instance; a further one is made when the others have three
                                     quarters of max_streams. 1,000 at most. Default: 16 */
    int64_t slow_start_ms;        /* optional; for so long an instance that is new, or back, is passed by in some picks:
                                     nine of ten at first. Default: none */
    const char *service_config; /* optional; copied; gRPC's service config, JSON: timeouts, retries, hedging, by method
                                   (docs/guide/retries.md). Counts while the resolver has none. Default: none */
    const weft_health_check_options
        *health_check; /* optional; copied; how instances are asked for their health, for targets that a resolver
                          watches, "static:" too. Default: they are not */
} weft_channel_options;
#define WEFT_CHANNEL_OPTIONS_INIT WEFT__INIT(weft_channel_options)

/* What came with the answer, filled by a call that is given one. Lives in the call's arena; a successful call whose
 * arena has no room for it fails with RESOURCE_EXHAUSTED. */
typedef struct weft_call_info {
    size_t struct_size; /* set by WEFT_CALL_INFO_INIT */
    weft_metadata headers;
    weft_metadata trailers;
    const char *peer;  /* "ipv4:127.0.0.1:50051"; "" when no connection was made */
    bool compressed;   /* the one response of a unary or client-streaming call came compressed */
    uint32_t attempts; /* that were made, the last one included */
    int64_t waited_ns; /* of all attempts, before they went out: for an address, a connection, a place on one */
} weft_call_info;
#define WEFT_CALL_INFO_INIT WEFT__INIT(weft_call_info)

typedef struct weft_call_options {
    size_t struct_size; /* set by WEFT_CALL_OPTIONS_INIT */
    weft_call
        *parent; /* optional; the inbound call this one is made for: its deadline and cancellation are passed on */
    int64_t timeout_ms; /* optional; the earlier of this and the parent's deadline counts. Default: the parent's, else
                           the channel's; -1: none of its own */
    const weft_metadatum *metadata; /* optional; metadata_count pairs to send */
    size_t metadata_count;
    bool wait_for_ready;  /* optional; wait for a connection instead of failing while there is none. Default: fail */
    weft_call_info *info; /* optional; filled with headers and trailers */
    weft_compression compression; /* optional; of what is sent. Default: the channel's */
    uint64_t hash; /* optional; calls with the same one go to the same instance, with weft_ring_hash_new: see weft_hash.
                      Default: none, 0 */
} weft_call_options;
#define WEFT_CALL_OPTIONS_INIT WEFT__INIT(weft_call_options)

/**
 * Makes a channel. No connection is made before the first call or weft_channel_connect.
 *
 * @param engine  outlives the channel.
 * @param target  "host:port", "dns:///host:port", "ipv4:1.2.3.4:port", "ipv6:[::1]:port" (both also a list with
 * commas), "unix:/path"; "static:///1.2.3.4:port,[::1]:port" for calls to all of them; what one of the resolvers
 *                watches (weft/resolver.h). Copied.
 * @param options may be NULL: all defaults.
 * @return 0; -EINVAL no engine, not a target, no port, an option out of range, a mistake in `service_config` (each is
 *         logged), a `tls` of another engine; -ENOENT a `tls` without roots, on a system that has none; -ENOTSUP a
 *         `health_check` by HTTP of a target that no resolver watches, or on an engine without sockets; -ENAMETOOLONG a
 *         target of 1024 bytes or more; -E2BIG an option that this library does not know; -ENOMEM; -EMFILE, -ENFILE no
 *         descriptor for checks by HTTP; -ECHILD after fork.
 */
WEFT_API int weft_channel_new(weft_channel **out, weft_engine *engine, const char *target,
                              const weft_channel_options *options);

/**
 * Waits until a connection stands.
 *
 * @param timeout_ms -1: for ever.
 * @return 0; -ETIMEDOUT; -EINVAL timeout_ms is below -1; -EDEADLK from an engine's thread, or when nothing is left to
 *         happen in a stepped engine; -EUSERS max_waiting_calls wait already; -ENOMEM; -ESHUTDOWN the channel is being
 *         freed; -ECHILD after fork. Thread: any; blocks.
 */
WEFT_API int weft_channel_connect(weft_channel *channel, int64_t timeout_ms);

/* Frees a channel; calls that still run are cancelled and waited for (a stream: until it is finished), and so is a
 * weft_channel_connect, until its own time is over. NULL is fine. Does nothing in a child made by fork. Thread: any;
 * blocks. Where it must not block (the engine's thread, a loop's callback) it frees nothing while calls run. */
WEFT_API void weft_channel_free(weft_channel *channel);

/* What a channel has, and has done since it was made. Counters only grow; those above the line are of now. */
typedef struct weft_channel_stats {
    size_t struct_size;   /* set by WEFT_CHANNEL_STATS_INIT */
    uint64_t instances;   /* listed */
    uint64_t ready;       /* of those, connected, and good enough to be picked */
    uint64_t ejected;     /* of those listed, left out for a while */
    uint64_t connections; /* that stand */
    uint64_t waiting;     /* calls that wait for an address, a connection, a place on one */
    /* ---- */
    uint64_t waits;          /* calls that have waited and do not any more … */
    int64_t waited_ns;       /* … how long, all together … */
    int64_t longest_wait_ns; /* … and at most */
    uint64_t refused;        /* calls over max_waiting_calls or max_concurrent_calls */
    uint64_t retries;        /* attempts after a call's first, hedges included */
    uint64_t ejections;
} weft_channel_stats;
#define WEFT_CHANNEL_STATS_INIT WEFT__INIT(weft_channel_stats)

/* Fills `stats`. Looks at every instance. @return 0; -EINVAL when its struct_size is 0. Thread: any. */
WEFT_API int weft_channel_read_stats(const weft_channel *channel, weft_channel_stats *stats);

/* What the connections to an instance are doing, all together. */
typedef enum weft_link_state {
    WEFT_LINK_IDLE = 0,       /* nothing yet */
    WEFT_LINK_CONNECTING = 1, /* the first attempt, or the next one */
    WEFT_LINK_READY = 2,      /* at least one stands */
    WEFT_LINK_BACKOFF = 3     /* an attempt has failed; the next one comes after a while */
} weft_link_state;

/* What the channel's own checks say of an instance (weft_channel_options.health_check). */
typedef enum weft_instance_check {
    WEFT_CHECKED_NEVER = 0,    /* the channel has no checks */
    WEFT_CHECKED_NOT_YET = 1,  /* the first word is waited for: it gets no calls */
    WEFT_CHECKED_HEALTHY = 2,  /* or not found to be anything else yet */
    WEFT_CHECKED_UNHEALTHY = 3 /* it gets calls only when there is no other */
} weft_instance_check;

/* One instance, as the channel sees it. */
typedef struct weft_endpoint_info {
    size_t struct_size;  /* set by the library: how much of this it has filled in */
    const char *address; /* "ipv4:10.0.0.1:50051"; the target itself where the engine resolves it */
    const char *zone;    /* NULL: not known */
    uint32_t weight;     /* 1 at least */
    weft_link_state state;
    int64_t since_ns;            /* when it came into that state, by weft_engine_now_ns */
    weft_instance_health health; /* as the directory sees it */
    weft_instance_check check;   /* as the channel's own checks do */
    bool ejected;                /* it answers badly, and is left out for a while */
    uint32_t calls;              /* that run on it */
    uint32_t connections;        /* that stand */
    int64_t latency_ns;          /* the picker's estimate; 0: it has none */
} weft_endpoint_info;

/* The instances that are listed. An array of pointers, so that a later library's larger weft_endpoint_info does not
 * change where the next one begins. */
typedef struct weft_endpoint_list {
    size_t struct_size;                         /* set by WEFT_ENDPOINT_LIST_INIT */
    const weft_endpoint_info *const *endpoints; /* `count` of them; who was listed first comes first */
    size_t count;
    bool awaited;       /* nothing is known yet: the resolver has not answered, or the one address that the engine
                           resolves has not been asked for, by a call or weft_channel_connect */
    const char *reason; /* why there is none to give a call to; "" while there is */
} weft_endpoint_list;
#define WEFT_ENDPOINT_LIST_INIT WEFT__INIT(weft_endpoint_list)

/**
 * Tells what is known of each instance now. Copies it all, so look on with it, and do not call it for every call.
 *
 * @param arena where all that `list` points to lies.
 * @param list  untouched on failure.
 * @return 0; -EINVAL its struct_size is 0; -ENOMEM the heap or the arena's limit is exhausted. Thread: any.
 */
WEFT_API int weft_channel_endpoints(const weft_channel *channel, weft_arena *arena, weft_endpoint_list *list);

/**
 * Makes a unary call and waits for its end; generated stubs call this.
 *
 * @param arena    where the response, the status's texts and the info are allocated.
 * @param options  may be NULL.
 * @param response untouched unless the status is OK; then a message of the method's type, in `arena`.
 * @return the status; FAILED_PRECONDITION at once on a thread that must not block (an inline handler's), and after
 *         fork; INVALID_ARGUMENT for illegal metadata or options, and for a request that is not of the method's type.
 *         Thread: any but those; blocks.
 */
WEFT_API weft_status weft_channel_unary(weft_channel *channel, weft_arena *arena, const weft_call_options *options,
                                        const weft_method *method, const ProtobufCMessage *request,
                                        ProtobufCMessage **response);

WEFT_END_DECLS
#endif
