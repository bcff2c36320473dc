/* weft/resolver.h: where the instances of a service are.
 *
 * A channel's target names a scheme and what that scheme makes of the rest: "dns:///users:50051", "file:///etc/users".
 * A resolver watches such targets and publishes whole lists of addresses, whenever they change:
 *
 *     channel ──watch(target, sink)──▶ resolver ──weft_sink_publish(sink, list)──▶ channel     again and again
 *             ──hint(watch)─────────▶                  an endpoint failed: look
 *             ──unwatch(watch)──────▶                  nothing is published after
 *
 * Every channel knows "static:///10.0.0.1:50051,10.0.0.2:50051;weight=3", and gRPC's "ipv4:…,…". Others come by
 * weft_channel_options.resolvers: a list of the program's, DNS, a file (below), Consul (weft/consul.h), or one's own.
 * Targets of the schemes dns, ipv4, ipv6 and unix that none of these takes are one backend, which the engine resolves:
 * it connects to one address at a time.
 */
#ifndef WEFT_RESOLVER_H
#define WEFT_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/endpoint.h>
#include <weft/engine.h>
#include <weft/log.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

typedef struct weft_resolver weft_resolver;
typedef struct weft_sink weft_sink;   /* the channel's end of a watch */
typedef struct weft_watch weft_watch; /* the resolver's: its own struct, by another name */

/* A target "scheme://authority/path?query". NUL-terminated texts; absent parts are "". Valid until watch returns. */
typedef struct weft_target {
    const char *text; /* the whole */
    const char *scheme;
    const char *authority;
    const char *path;  /* without the slash before it, for schemes with "//" */
    const char *query; /* without the '?' */
} weft_target;

/* What a resolver has found. Belongs to the resolver; publish copies it. */
typedef struct weft_resolution {
    size_t struct_size;
    const weft_address *addresses; /* address_count of them; none: the service has no instance now */
    size_t address_count;
    const char *service_config; /* optional; gRPC's service config, JSON */
} weft_resolution;

typedef struct weft_resolver_vtable {
    size_t struct_size;
    const char *scheme; /* lower case */

    /* Begins to watch a target, and publishes from now on until unwatch; what it knows already, from inside this. It
     * does not block. 0; -EINVAL not such a target (`reason`, `reason_size` bytes, says why and what to write instead);
     * -ENOMEM; -EAGAIN out of threads; -ECHILD after fork. */
    int (*watch)(weft_resolver *self, const weft_target *target, weft_sink *sink, weft_watch **out, char *reason,
                 size_t reason_size);

    /* Something is wrong with what was published: look again, soon, but not more often than does good. Any thread; does
     * not block. Optional. */
    void (*hint)(weft_resolver *self, weft_watch *watch);

    /* Ends a watch. When this returns, nothing is published any more. May wait for a publish that is under way, for
     * nothing else. Never from inside a publish. */
    void (*unwatch)(weft_resolver *self, weft_watch *watch);

    void (*destroy)(weft_resolver *self); /* by weft_resolver_free */
} weft_resolver_vtable;

/* Lies at the beginning of the resolver's object. Any number of channels may use one. */
struct weft_resolver {
    const weft_resolver_vtable *vtable;
};

/* Frees a resolver by its destroy. No channel uses it any more. NULL is fine. Thread: setup.
 *
 * The resolvers below belong to the process that made them: in a child made by fork() they watch nothing (-ECHILD), and
 * freeing them does nothing. */
WEFT_API void weft_resolver_free(weft_resolver *resolver);

/* Hands a list to the channel. The same one again does no harm: only differences count. What is no address is left out
 * and logged; when nothing else is there, it counts as weft_sink_fail. Thread: any, one at a time. */
WEFT_API void weft_sink_publish(weft_sink *sink, const weft_resolution *resolution);

/* Says that the directory cannot be asked now. The last list stays; without one, calls fail with this text, or wait if
 * they wait for ready. Copied. Thread: as publish. */
WEFT_API void weft_sink_fail(weft_sink *sink, const char *text);

/* The engine whose clock and random numbers a resolver goes by, and the channel's log. */
WEFT_API weft_engine *weft_sink_engine(const weft_sink *sink);
WEFT_API weft_log *weft_sink_log(const weft_sink *sink);

/* ---- a list that the program itself keeps ------------------------------------------------------------------------ */

/* A resolver of one's own making: its list is what the program says. Its scheme is "list"; the rest of the target does
 * not matter: "list:///". */
WEFT_API int weft_list_resolver_new(weft_resolver **out);

/**
 * Makes the list anew, for all channels that use it.
 *
 * @param addresses address_count of them; copied.
 * @return 0; -EINVAL an address that is none; -EEXIST one that is there twice; -ENOMEM; -ECHILD after fork.
 *         Thread: any.
 */
WEFT_API int weft_list_resolver_set(weft_resolver *list, const weft_address *addresses, size_t address_count);

/* Adds one. @return as _set; -EEXIST it is there. */
WEFT_API int weft_list_resolver_add(weft_resolver *list, const weft_address *address);

/* Takes one out. @return 0; -ENOENT it is not there; -ENOMEM; -ECHILD after fork. */
WEFT_API int weft_list_resolver_remove(weft_resolver *list, const char *address);

/* ---- DNS --------------------------------------------------------------------------------------------------------- */

typedef struct weft_dns_resolver_options {
    size_t struct_size;     /* set by WEFT_DNS_RESOLVER_OPTIONS_INIT */
    const char *servers;    /* optional; copied; "127.0.0.1:5353,[::1]:53". Default: those of /etc/resolv.conf */
    int64_t refresh_ms;     /* optional; a name is asked for again at least so often. Default: 30,000 */
    int64_t min_refresh_ms; /* optional; and never more often, whatever fails. Default: 1,000 */
    int64_t timeout_ms;     /* optional; of the first question to a server, doubled for each more. Default: 2,000 */
    int64_t max_addresses;  /* optional; of a name; more are left out and logged. Default: 1,000 */
} weft_dns_resolver_options;
#define WEFT_DNS_RESOLVER_OPTIONS_INIT WEFT__INIT(weft_dns_resolver_options)

/**
 * Makes a resolver of the scheme "dns", which connects the channel to all addresses of a name:
 *
 *     dns:///users:50051                   A and AAAA records, and /etc/hosts
 *     dns:///_grpc._tcp.users              SRV records, when the name begins with '_' and no port follows
 *     dns://127.0.0.1:5353/users:50051     from these servers, with commas between them, and not from /etc/hosts
 *
 * A name is asked for again when its time to live is over (0 counts as none), at the latest after `refresh_ms`; earlier
 * when an instance fails; and after failures with a pause that doubles up to `refresh_ms`. Times differ a little by
 * chance. A name that is not found is a failure too: the last list stays. Of SRV records those with the lowest priority
 * count; addresses of the others are used while none of these can be (WEFT_INSTANCE_UNHEALTHY).
 *
 * A thread of its own runs while a channel uses it. After fork() it is of no use to the child (weft_resolver_free).
 *
 * @param options NULL: all default.
 * @return 0; -EINVAL an option is out of range or no server; -E2BIG an option that this library does not know; -ENOMEM;
 *         -EMFILE, -ENFILE out of descriptors. Thread: any.
 */
WEFT_API int weft_dns_resolver_new(weft_resolver **out, const weft_dns_resolver_options *options);

/* ---- a file ------------------------------------------------------------------------------------------------------ */

#define WEFT_FILE_RESOLVER_MAX_BYTES     (1024 * 1024)
#define WEFT_FILE_RESOLVER_MAX_ADDRESSES 1000

typedef struct weft_file_resolver_options {
    size_t struct_size; /* set by WEFT_FILE_RESOLVER_OPTIONS_INIT */
    int64_t poll_ms;    /* optional; the file is looked at so often, where changes are not told. Default: 5,000 */
} weft_file_resolver_options;
#define WEFT_FILE_RESOLVER_OPTIONS_INIT WEFT__INIT(weft_file_resolver_options)

/**
 * Makes a resolver of the scheme "file": "file:///etc/users.yaml". The file is a list, in YAML or JSON:
 *
 *     - 10.0.0.1:50051
 *     - {address: "[fd00::2]:50051", weight: 3, zone: eu-1a, health: draining, metadata: {version: "2"}}
 *
 * Only `address` is required: an IP address and a port, or unix:/path. `weight` is 1 to 65,535; `health` one of
 * unknown, healthy, unhealthy, draining. A file that is written anew, in place or by a rename, is read at once. One
 * with a mistake, or that is gone, is logged, and the last list stays; "[]" says that there is no instance.
 *
 * A thread of its own runs while a channel uses it. After fork() it is of no use to the child (weft_resolver_free).
 *
 * @param options NULL: all default.
 * @return 0; -EINVAL an option is out of range; -E2BIG an option that this library does not know; -ENOMEM; -EMFILE,
 *         -ENFILE out of descriptors. Thread: any. Limits: WEFT_FILE_RESOLVER_MAX_BYTES, _MAX_ADDRESSES.
 */
WEFT_API int weft_file_resolver_new(weft_resolver **out, const weft_file_resolver_options *options);

WEFT_END_DECLS
#endif
