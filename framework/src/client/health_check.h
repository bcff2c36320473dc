/* client/health_check.h: asks backends whether they are well. client/balancer.c has a checker for each backend of a
 * channel with health checks, tells it of the connection, and picks by its verdict.
 *
 *     weft__health_checks   what all checkers of a balancer share: the options, the thread for HTTP
 *     weft__checker         one backend's: a call (health_call.c) or a connection (health_http.c) at a time
 *
 *     new ──link(ready)──▶ checks ◀──▶ pauses ──close──▶ nothing begins ──leave, and all has ended──▶ gone ──▶ free
 */
#ifndef WEFT_CLIENT_HEALTH_CHECK_H
#define WEFT_CLIENT_HEALTH_CHECK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <weft/health_check.h>

#include "resolve/runner.h"
#include "transport/transport.h"

typedef struct weft__checker weft__checker;
typedef struct weft__checker_kind weft__checker_kind;

/* ---- options ----------------------------------------------------------------------------------------------------- */

/* Checks options and puts the defaults in; NULL is all defaults. The texts stay the caller's. 0; -EINVAL; -E2BIG. */
int weft__health_check_options(weft_health_check_options *out, const weft_health_check_options *options);

/* The options of gRPC's client-side health checking: what a service config means by healthCheckConfig.serviceName
 * (weft__service_config.health_service). The text stays the caller's. */
weft_health_check_options weft__health_check_of_service(const char *service);

/* ---- what checks say together ------------------------------------------------------------------------------------ */

typedef enum weft__verdict {
    WEFT__VERDICT_WELL,    /* or nobody has asked yet */
    WEFT__VERDICT_ILL,     /* unhealthy: picked only when there is no other */
    WEFT__VERDICT_AWAITED, /* nothing is known, and the first word is waited for: not picked */
} weft__verdict;

/* All zero: nothing was asked. */
typedef struct weft__health_count {
    int64_t failures; /* in a row */
    int64_t successes;
} weft__health_count;

/* Counts a check. @return the verdict after it, `now` being that before. */
weft__verdict weft__health_count_check(weft__health_count *count, const weft_health_check_options *options,
                                       weft__verdict now, bool good);

/* ---- what checkers share ----------------------------------------------------------------------------------------- */

typedef struct weft__health_checks {
    weft_engine *engine;
    weft_log *log;
    weft_health_check_options options; /* its texts are copies */
    int64_t min_backoff_ms;
    int64_t max_backoff_ms;
    char *service;
    char *path;
    const char *host;    /* the balancer's, which outlives this; or NULL */
    weft__runner runner; /* of HTTP checks */
    bool has_runner;
} weft__health_checks;

/**
 * Makes what the checkers of a balancer share.
 *
 * @param config  of the channel: its log, its backoff. @param options as weft__health_check_options gives them; copied.
 * @param host    for HTTP's Host, outlives this; NULL: each address its own.
 * @return 0; -ENOTSUP HTTP, and the engine has no sockets; -ENOMEM; -EMFILE, -ENFILE.
 */
int weft__health_checks_new(weft__health_checks **out, weft_engine *engine, const weft__channel_config *config,
                            const weft_health_check_options *options, const char *host);

/* No checker is left. NULL is fine. */
void weft__health_checks_free(weft__health_checks *checks);

/* ---- a checker --------------------------------------------------------------------------------------------------- */

/* What a checker is about, and whom it tells. */
typedef struct weft__checked {
    const char *address;       /* both outlive it */
    weft__tchannel *transport; /* calls are made on it between link and close; all are freed before `gone` */
    void *owner;
    /* The verdict has changed. On a thread of the engine's, or the checks' own; no lock held. */
    void (*changed)(void *owner);
    /* After leave, once: nothing of it runs any more, and it may be freed. As above, or from within leave. */
    void (*gone)(void *owner);
} weft__checked;

/* Filled by those who make one, but for the lock. */
struct weft__checker {
    const weft__checker_kind *kind;
    weft__health_checks *checks;
    weft__checked about;
    _Atomic(weft__verdict) verdict;

    pthread_mutex_t lock; /* of the rest; nothing of the balancer's is called with it, whose lock may be held already */
    weft__health_count count;
    bool ready;    /* the connection stands */
    bool closed;   /* nothing begins any more */
    bool renewed;  /* the connection has changed since the check under way has begun: its outcome is of no interest */
    bool said_ill; /* in the log, and not yet that it is well again */
    bool said_unimplemented;
    size_t users; /* its owner, and what is under way */
};

/* Each function is called locked, but `free`. */
struct weft__checker_kind {
    void (*linked)(weft__checker *checker); /* `ready` has changed, or `closed` is set */
    void (*free)(weft__checker *checker);   /* what is its own, and the object */
};

/* 0, and `*out` stays NULL when `checks` is; -ENOMEM; -EAGAIN out of threads. */
int weft__checker_new(weft__checker **out, weft__health_checks *checks, const weft__checked *about);

/* Has left and is gone, or was never told of a connection. NULL is fine. */
void weft__checker_free(weft__checker *checker);

/* The connection stands, or does not any more. NULL is fine. Thread: any. */
void weft__checker_link(weft__checker *checker, bool ready);

/* Ends what is under way; nothing is called on the transport after this. Again, or NULL, is fine. Thread: any. */
void weft__checker_close(weft__checker *checker);

/* The owner is done with it: `gone` follows. After close; once. Thread: any. */
void weft__checker_leave(weft__checker *checker);

/* NULL is WEFT__VERDICT_WELL. Thread: any. */
static inline weft__verdict weft__checker_verdict(const weft__checker *checker)
{
    return checker != NULL ? atomic_load_explicit(&checker->verdict, memory_order_acquire) : WEFT__VERDICT_WELL;
}

/* ---- for the kinds ----------------------------------------------------------------------------------------------- */

int weft__checker_init(weft__checker *checker, const weft__checker_kind *kind, weft__health_checks *checks,
                       const weft__checked *about);
void weft__checker_fini(weft__checker *checker);

/* What a check has found. No lock held. `reason` is for the log. */
void weft__checker_note(weft__checker *checker, bool good, const char *reason);

/* The server does not know such checks. No lock held. */
void weft__checker_note_unimplemented(weft__checker *checker);

/* The watch has ended, and begins anew: nothing is known. No lock held. */
void weft__checker_note_unknown(weft__checker *checker);

/* Something that was under way has ended. Unlocks; the checker may be gone. */
void weft__checker_leave_and_unlock(weft__checker *checker);

/* When the check after the one that began at `started_ns` is due: at random for the first one on a connection. */
int64_t weft__checker_next_ns(weft__checker *checker, int64_t started_ns, bool first);

int weft__call_checker_new(weft__checker **out, weft__health_checks *checks, const weft__checked *about);
int weft__http_checker_new(weft__checker **out, weft__health_checks *checks, const weft__checked *about);

#endif
