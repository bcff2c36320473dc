/* weft/app.h: the life of a service's process: serve, be found, and end without losing a call.
 *
 *     weft_app_block_signals();                       // first of all, before any thread
 *     … engine, server, health, registry; register services, weft_server_listen …
 *     weft_app_options options = WEFT_APP_OPTIONS_INIT;
 *     options.log = log;
 *     options.server = server;
 *     options.health = health;
 *     options.registry = weft_consul_registry(consul);
 *     options.instances = &instance;
 *     options.instance_count = 1;
 *     options.handle_signals = true;
 *     rc = weft_app_new(&app, &options);
 *     rc = weft_app_run(app);                         // until SIGTERM
 *     weft_app_free(app);
 *
 *     NEW ──run──▶ STARTING ──▶ SERVING ──stop──▶ NOT_SERVING ──▶ DEREGISTERING ──▶ CLOSING ──▶ LAME_DUCK
 *                     │                              ▲                                             │
 *                     └── it cannot, or shall not ───┘              STOPPED ◀── DRAINING ◀─────────┘
 *
 * Every life passes through all phases in this order, but for SERVING if it never served; one that has nothing to do
 * takes no time. Each is logged with how long the one before it took and how many calls came in it.
 *
 * The order is what keeps calls from failing: nobody is sent here before the server listens; callers are told to go
 * elsewhere (health, directory) while they are still served; those that learn it late meet the lame duck, which serves
 * them; only then are new calls answered UNAVAILABLE.
 */
#ifndef WEFT_APP_H
#define WEFT_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/health.h>
#include <weft/log.h>
#include <weft/registry.h>
#include <weft/server.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

typedef struct weft_app weft_app;

typedef enum weft_phase {
    WEFT_PHASE_NEW = 0,           /* made, not run */
    WEFT_PHASE_STARTING = 1,      /* the server starts; then the instances are handed to the registry */
    WEFT_PHASE_SERVING = 2,       /* until somebody asks to stop */
    WEFT_PHASE_NOT_SERVING = 3,   /* health tells who asks and who watches */
    WEFT_PHASE_DEREGISTERING = 4, /* the directory is told; bounded by deregister_timeout_ms */
    WEFT_PHASE_CLOSING = 5,       /* no new connections from now on; those that are open are served as before */
    WEFT_PHASE_LAME_DUCK = 6,     /* lame_duck_ms, in which callers learn of it */
    WEFT_PHASE_DRAINING = 7,      /* weft_server_stop: new calls are UNAVAILABLE, running ones have grace_ms */
    WEFT_PHASE_STOPPED = 8        /* all connections are closed, all handlers have returned */
} weft_phase;

/* Room for phases to come. */
#define WEFT_PHASES_MAX 16

typedef struct weft_app_options {
    size_t struct_size;             /* set by WEFT_APP_OPTIONS_INIT */
    weft_log *log;                  /* optional; outlives the app. Default: nothing is logged */
    weft_server *server;            /* required; has its services and addresses, is not started, and has no loop (see
                                       weft_app_new). Outlives the app */
    weft_health *health;            /* optional; of that server. Outlives the app */
    weft_registry *registry;        /* optional, with instances only; outlives the app */
    const weft_instance *instances; /* optional, with a registry only; instance_count of them, which outlive
                                       weft_app_run. Port 0 is the server's first TCP port */
    size_t instance_count;
    int64_t lame_duck_ms; /* optional; longer than callers take to learn from the directory. Default: 3,000 with a
                             registry, none without; -1: none */
    int64_t grace_ms;     /* optional; what running calls get. Default: 10,000; -1: as long as they take */
    int64_t deregister_timeout_ms; /* optional; for all instances together. Default: 5,000 */
    bool handle_signals;           /* optional; SIGTERM and SIGINT stop it: see weft_app_run. Default: they do not */
    bool notify; /* optional; systemd is told when it serves and when it stops, by NOTIFY_SOCKET (sd_notify(3),
                    Type=notify). Default: it is not */
    /* Optional; told as each phase begins, before it does anything. On the thread of weft_app_run; may call
     * weft_app_stop and what reads. */
    void (*on_phase)(void *arg, weft_phase phase);
    /* Optional, with handle_signals; SIGHUP came: read configuration, or certificates, again. On the library's thread
     * for signals. Default: it stops the app, as SIGTERM does */
    void (*on_hangup)(void *arg);
    void *arg; /* of both */
} weft_app_options;
#define WEFT_APP_OPTIONS_INIT WEFT__INIT(weft_app_options)

/* One phase: how long it took, or has taken so far, and the calls that came in it. */
typedef struct weft_phase_stats {
    int64_t ns;
    uint64_t calls;
} weft_phase_stats;

typedef struct weft_app_stats {
    size_t struct_size;           /* set by WEFT_APP_STATS_INIT */
    weft_phase phase;             /* now */
    uint64_t stops;               /* asked for, by signals and weft_app_stop */
    uint64_t registered;          /* instances that were handed to the registry */
    uint64_t deregistered;        /* of those, that the directory has let go */
    uint64_t deregister_failures; /* of those, that it has not, or not in time */
    weft_phase_stats phases[WEFT_PHASES_MAX];
} weft_app_stats;
#define WEFT_APP_STATS_INIT WEFT__INIT(weft_app_stats)

/**
 * Blocks SIGTERM, SIGINT and SIGHUP in the calling thread, and so in those it starts. A program that has weft_app_run
 * handle them calls this before its first thread.
 *
 * @return 0. Thread: the first.
 */
WEFT_API int weft_app_block_signals(void);

/**
 * Makes an app. Nothing is started.
 *
 * @return 0; -EINVAL no server, a registry without instances or the other way round, an option out of range, or
 *         struct_size 0 here or in an instance; -E2BIG an option that this library does not know; -ENOTSUP the server
 *         runs on a program's loop, which nobody would dispatch: call weft_server_stop there; -ENOMEM. Thread: setup.
 */
WEFT_API int weft_app_new(weft_app **out, const weft_app_options *options);

/**
 * Lives the whole life, once: returns in the phase STOPPED, unless it could not begin (-EALREADY, -ECHILD, signals that
 * cannot be taken), or not end (-EDEADLK).
 *
 * A directory that cannot be reached delays nothing: the registry goes on trying. What cannot be registered at all ends
 * the life at once, in the same order but without waiting.
 *
 * With handle_signals a thread of the library takes SIGTERM, SIGINT and SIGHUP from the process. The first stops, but
 * for a SIGHUP that on_hangup wants; the second ends all waiting, as weft_app_stop says; a third has its usual effect,
 * which is to kill. Afterwards they are blocked as before.
 *
 * @return 0 after a stop; -EALREADY; -EINVAL signals are to be handled and are not blocked here; what
 *         weft_server_start or weft_registry_register return; -errno out of descriptors or threads for the signals;
 *         -EDEADLK from a handler or the engine's thread, or on a stepped engine where nobody is left who could call
 *         weft_app_stop, or end a call; -ECHILD after fork. Thread: any that may block.
 */
WEFT_API int weft_app_run(weft_app *app);

/**
 * Asks the app to stop; before weft_app_run too, which then starts nothing. Returns at once.
 *
 * Asked again it ends all waiting: there is no lame duck, and running calls are cancelled. What remains is a
 * deregistration, for deregister_timeout_ms at most, and handlers that do not look at weft_call_cancelled. More often
 * does nothing.
 *
 * Thread: any; not in a signal handler.
 */
WEFT_API void weft_app_stop(weft_app *app);

/* The phase now. Thread: any. */
WEFT_API weft_phase weft_app_phase(weft_app *app);

/* A phase for people: "lame duck"; "unknown" for what is none. Static. */
WEFT_API const char *weft_phase_name(weft_phase phase);

/* Fills `stats`. @return 0; -EINVAL when its struct_size is 0. Thread: any. */
WEFT_API int weft_app_read_stats(weft_app *app, weft_app_stats *stats);

/* Frees an app that does not run. NULL is fine. Thread: setup. */
WEFT_API void weft_app_free(weft_app *app);

WEFT_END_DECLS
#endif
