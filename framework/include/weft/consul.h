/* weft/consul.h: instances found and registered by Consul, 1.8 or newer. Its library is libweft-consul.
 *
 *     weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
 *     char why[256];
 *     rc = weft_consul_new(&consul, &options, why, sizeof why);       // CONSUL_HTTP_ADDR and its kin are read
 *     weft_consul_resolver(consul)                                    // into channel_options.resolvers
 *     weft_consul_registry(consul)                                    // weft/registry.h
 *     weft_consul_free(consul);                                       // after channels and registrations
 *
 * The resolver's targets:
 *
 *     consul:///users                                                 the agent that the options name
 *     consul://agent:8500/users?tag=v2&tag=eu&healthy=true&near=_agent&limit=8
 *
 *     tag=T                  only instances with this tag; several: with all of them. Case does not matter
 *     healthy=true           only instances whose checks all pass. Default: all, and the channel prefers healthy ones
 *     near=NODE, limit=N     at most N; with near (_agent: the agent's own node) the nearest, else any, always the same
 *     dc=D  ns=N  token=T    instead of the options'
 *     wait=5m                the longest a query blocks: 1s to 10m
 *     timeout=10s            what an answer may take besides
 *     max-backoff=60s        the longest pause after failures
 *     allow-stale=true       any server may answer; require-consistent=true: the leader, after asking the others
 *     insecure=true          over TLS: the agent's certificate is not looked at
 *
 * One query hangs at the agent for each service, however many channels watch it. Of an instance are read: health and
 * weights; the address from TaggedAddresses "grpc" (kratos), Service.SocketPath, Service.Address or else Node.Address,
 * with the port of Meta "gRPC_port" (Spring) or Service.Port; its zone from Service.Locality or Meta "zone". Its
 * metadata are "consul.id", "consul.node", "consul.tag" for each tag, and then its Meta. Instances without an IP
 * address and a port are left out.
 */
#ifndef WEFT_CONSUL_H
#define WEFT_CONSUL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/directory.h>
#include <weft/log.h>
#include <weft/registry.h>
#include <weft/resolver.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

typedef struct weft_consul weft_consul;

/* All fields are optional. Where one names an environment variable, that is its default. Texts are copied. */
typedef struct weft_consul_options {
    size_t struct_size;          /* set by WEFT_CONSUL_OPTIONS_INIT */
    weft_log *log;               /* outlives the weft_consul. Default: nothing is logged */
    bool no_environment;         /* the environment does not count */
    const char *address;         /* "host:port", "http://…", "https://…" or "unix:///path": CONSUL_HTTP_ADDR, and
                                   CONSUL_HTTP_SSL. Default: 127.0.0.1:8500 */
    const char *token;           /* CONSUL_HTTP_TOKEN. Sent in a header, never in a URL */
    const char *token_file;      /* CONSUL_HTTP_TOKEN_FILE; read again for every request; wins over token */
    const char *user_password;   /* "user:password", for a proxy before Consul: CONSUL_HTTP_AUTH */
    const char *datacenter;      /* Default: the agent's */
    const char *name_space;      /* Consul Enterprise: CONSUL_NAMESPACE */
    const char *partition;       /* Consul Enterprise: CONSUL_PARTITION */
    const char *ca_file;         /* PEM: CONSUL_CACERT. Default: the system's */
    const char *ca_folder;       /* of PEM files: CONSUL_CAPATH */
    const char *cert_file;       /* PEM, of this client: CONSUL_CLIENT_CERT */
    const char *key_file;        /* PEM: CONSUL_CLIENT_KEY */
    const char *server_name;     /* that the agent's certificate must have: CONSUL_TLS_SERVER_NAME */
    bool insecure;               /* the agent's certificate is not looked at: CONSUL_HTTP_SSL_VERIFY=false */
    const char *snapshot_folder; /* exists; the last answer of each service is kept there, and used when Consul cannot
                                    be asked at start. Default: none is kept */
    int64_t max_answer_bytes;    /* a larger answer is a failure. Default: 8 MiB; -1: no limit */
    int64_t max_services;        /* watched at a time; each takes a connection. Default: 100 */
    int64_t max_registrations;   /* Default: 100 */
    int64_t query_interval_ms; /* two queries of a service go out at once, then one each so often; to be well below the
                                  lame duck of instances that stop (weft/app.h). Default: 1,000 */
    int64_t backoff_ms;        /* the first failure's longest pause, which doubles. Default: 500 */
    int64_t max_backoff_ms;    /* Default: 60,000 */
    int64_t empty_grace_ms;    /* how long the last instances are kept when all vanish at once. Default: 30,000; -1: not
                                   at all */
    int64_t snapshot_after_ms; /* without a first answer for so long, a snapshot is used. Default: 2,000 */
    int64_t reassert_ms;       /* how often an instance is registered anew, in case it was lost. Default: 180,000 */
} weft_consul_options;
#define WEFT_CONSUL_OPTIONS_INIT WEFT__INIT(weft_consul_options)

/**
 * Makes a client of Consul and starts its thread. Nothing is asked yet, so Consul may be down.
 *
 * @param options may be NULL.
 * @param reason  on failure what is wrong, NUL-terminated and cut to `reason_size`. NULL with size 0 is fine.
 * @return 0; -EINVAL an option, or an environment variable, that means nothing or is out of range; -E2BIG one that
 *         this library does not know; -ENOMEM; -EAGAIN out of threads; or an -errno of the token file, which cannot be
 *         read. Thread: setup; reads the environment and the token file.
 */
WEFT_API int weft_consul_new(weft_consul **out, const weft_consul_options *options, char *reason, size_t reason_size);

/**
 * Stops the thread and frees. Blocks until a snapshot that is being written is.
 *
 * @return 0; -EBUSY, and nothing is freed, while something is watched or registered; -ECHILD after fork. NULL is fine.
 *         Thread: setup.
 */
WEFT_API int weft_consul_free(weft_consul *consul);

/* The resolver for targets of the scheme "consul". Belongs to `consul`: weft_resolver_free does nothing with it.
 * Its watch also returns -EMFILE: max_services are watched; -ECHILD after fork. Thread: any. */
WEFT_API weft_resolver *weft_consul_resolver(weft_consul *consul);

/* The registry. Belongs to `consul`. Its register also returns -EMFILE: max_registrations are there. Instances are
 * registered at the agent that the options name. Thread: any. */
WEFT_API weft_registry *weft_consul_registry(weft_consul *consul);

/* Consul as the directory of a program (weft/program.h). Its key registry.consul is the agent to register at; targets
 * "consul:///…" are asked of the same agent, or where it is empty, of the one that the environment names. */
extern WEFT_API const weft_directory_type weft_consul_directory;

/* Of the resolver, since the start. */
typedef struct weft_consul_counters {
    size_t struct_size;    /* set by WEFT_CONSUL_COUNTERS_INIT */
    uint64_t queries;      /* answered well */
    uint64_t failures;     /* not answered, or not well */
    uint64_t changes;      /* answers with another set of instances than before */
    uint64_t regressions;  /* of the index: Consul had forgotten what it was asked to wait for */
    uint64_t snapshots;    /* used */
    uint64_t skipped;      /* instances without a usable address, in all answers */
    uint64_t kept_empties; /* empty answers that were not believed yet */
} weft_consul_counters;
#define WEFT_CONSUL_COUNTERS_INIT WEFT__INIT(weft_consul_counters)

/* @return 0; -EINVAL out's struct_size is 0. Thread: any. */
WEFT_API int weft_consul_count(weft_consul *consul, weft_consul_counters *out);

WEFT_END_DECLS
#endif
