/* client/balancer.h: a channel of the seam that stands for many: one for each address that a resolver lists. Its calls
 * are picked for an address, or wait until they can be.
 *
 *     resolver ──list──▶ balancer ──▶ backends: a channel of the engine each, watched
 *                           │             │ ready
 *                           ▼             ▼
 *        call ──pick──▶ snapshot {endpoints that are ready, the picker's table}
 *          └─ nothing to pick ──▶ waits ──▶ until the next snapshot, its deadline, or a cancel
 */
#ifndef WEFT_CLIENT_BALANCER_H
#define WEFT_CLIENT_BALANCER_H

#include <pthread.h>

#include <weft/channel.h>
#include <weft/picker.h>
#include <weft/resolver.h>

#include "base/epoch.h"
#include "base/event.h"
#include "base/list.h"
#include "base/table.h"
#include "client/connections.h"
#include "client/health_check.h"
#include "client/outlier.h"
#include "client/policy.h"
#include "client/tried.h"
#include "pick/endpoint.h"
#include "resolve/sink.h"
#include "transport/transport.h"

typedef struct weft__balancer weft__balancer;

/* What a backend is doing, from its connection's state and from what became of its address:
 *
 *     IDLE ──▶ CONNECTING ◀──▶ READY          (weft__link_state, as the engine's watch tells it)
 *                  │  ▲          │
 *                  ▼  │          │
 *                BACKOFF ◀───────┘ lost
 *     any ──not listed any more──▶ draining ──its last call has ended──▶ gone
 *
 * A checker, if there is one, asks it for its health while it is READY, and has ended before it is gone.
 *
 * It lives as long as its endpoint: while it is listed, can be found in a snapshot, or has calls. */
typedef struct weft__backend {
    weft_endpoint *endpoint; /* whose owner it is */
    weft__balancer *balancer;
    weft__list_node node; /* in the balancer's list of all */
    weft__connections connections;
    weft__link_state state; /* of all connections together, */
    int64_t state_ns;       /* since then */
    weft_instance_health health;
    char *zone; /* NULL: not known */
    bool listed;
    uint64_t list_number;    /* of the latest list that names it */
    weft__list_node leaving; /* once it is not listed: the list's reference goes with the last snapshot that names it */
    _Atomic int64_t ready_ns; /* since when it is connected, for a slow start */
    weft__outlier outlier;
    bool said_ejected;      /* in the log */
    weft__checker *checker; /* or NULL: it is not checked */
} weft__backend;

/* What calls pick from. Immutable. */
typedef struct weft__snapshot {
    weft__epoch_item retired; /* when another one has taken its place */
    weft__list left;          /* backends that are listed no more, and are in no snapshot after this one: `leaving` */
    uint64_t number;
    weft_picker *picker;
    void *table; /* the picker's */
    size_t count;
    weft_endpoint *endpoints[]; /* they stay: each is listed, or has left with this snapshot or a later one */
} weft__snapshot;

/* Why nothing can be picked. */
typedef enum weft__lack {
    WEFT__LACK_LIST,       /* the resolver has said nothing yet: every call waits */
    WEFT__LACK_CONNECTION, /* some are connecting: every call waits */
    WEFT__LACK_ALL         /* no address, or none can be reached: only those wait that wait for ready */
} weft__lack;

/* What has happened so far. */
typedef struct weft__counters {
    _Atomic uint64_t waits; /* calls that had to wait, and how long */
    _Atomic int64_t waited_ns;
    _Atomic int64_t longest_ns;
    _Atomic uint64_t refused; /* too many waited, or ran */
    _Atomic uint64_t retries; /* attempts after the first */
    _Atomic uint64_t ejections;
} weft__counters;

/* Something that waits for a snapshot with something in it, and for a time. `again` or `late` is called, once, on a
 * thread of the engine's or of a resolver's, with no lock held. */
typedef struct weft__waiter {
    weft__list_node node;
    weft__alarm alarm;
    weft__balancer *balancer;
    int64_t deadline_ns;
    void (*again)(struct weft__waiter *waiter);
    void (*late)(struct weft__waiter *waiter);
    bool only_ready;       /* is called again only when there is something to pick */
    bool for_place;        /* there is something, but no place on it */
    atomic_bool cancelled; /* it need not wait any more: set before it is forgotten */
    bool waits;            /* in the balancer's list; its lock */
} weft__waiter;

struct weft__balancer {
    weft__tchannel base;
    weft_engine *engine;
    weft__connections_config connections; /* of each backend */
    weft_log *log;
    char *authority;
    weft_picker *picker;
    bool owns_picker;
    int64_t max_waiting;
    int64_t slow_start_ns; /* 0: none */
    weft__gate running;
    weft__counters counters;
    weft_outlier_options outliers;
    weft__health_checks *checks; /* or NULL */
    weft_sink sink;
    weft_resolver *resolver; /* NULL: the one address is `target`, which the engine resolves */
    char *target;
    weft__policies policies;
    weft__epoch epoch;
    _Atomic(weft__snapshot *) snapshot; /* NULL only while the balancer is freed */
    atomic_int hinting;                 /* threads that are in the resolver's hint */

    pthread_mutex_t lock; /* of the rest, and of who makes snapshots */
    weft_watch *watch;    /* NULL: not yet, or no more */
    bool began;           /* `target` is listed: somebody wanted a connection */
    weft__list backends;  /* all that live */
    size_t backend_count;
    weft__table listed; /* by address */
    uint64_t list_number;
    weft__list leaving; /* backends that no list names, and the present snapshot may */
    weft__list waiters;
    int64_t waiter_count;
    atomic_size_t place_waiters; /* of those, for a place */
    weft__lack lack;
    char reason[256];  /* why there is nothing, for statuses */
    weft__alarm later; /* makes a snapshot: there was no memory, or it was too soon */
    bool later_set;
    int64_t built_ns; /* when the present snapshot was made, and how long that took */
    int64_t build_ns;
    bool no_memory;    /* for what is listed, or a snapshot of it */
    weft__alarm judge; /* the end of an interval, for outliers */
    size_t users;      /* backends, and alarms that are set */
    bool closing;
    bool detached;    /* nobody waits for `gone`: the last user frees all */
    weft__event gone; /* posted by the last user, when closing */
};

/* What a balancer is made of, besides a channel's config. */
typedef struct weft__balancer_config {
    const weft_target *target;
    weft_resolver *resolver;    /* that watches it; NULL: it is one address, which the engine resolves */
    const char *service_config; /* the channel's own; or NULL */
    weft_picker *picker;        /* NULL: the balancer's own, as the service config asks for, or p2c */
    int64_t max_waiting;
    int64_t max_running;
    int64_t max_streams;     /* of a connection */
    int64_t max_connections; /* of an instance */
    int64_t slow_start_ms;
    const weft_outlier_options *outliers;          /* or NULL: the defaults */
    const weft_health_check_options *health_check; /* as weft__health_check_options gives them; or NULL: no checks */
} weft__balancer_config;

/* As weft__engine_vtable.channel_new. `reason` is why the target is -EINVAL. */
int weft__balancer_new(weft_engine *engine, const weft__channel_config *config, const weft__balancer_config *balancing,
                       weft__tchannel **out, char *reason, size_t reason_size);

/* Chooses a backend, of which the caller then has a reference, and counts the call there. `args` lacks what a snapshot
 * says. `seen` is the number of the snapshot. */
weft_pick weft__balancer_pick(weft__balancer *balancer, weft_pick_args *args, weft__backend **out, uint64_t *seen);

/* Tells the picker how it went. `connection`: the call's place, which is free now; NULL: it had none. */
void weft__balancer_done(weft__backend *backend, weft__connection *connection, const weft_pick_result *result);

/* One of those that cannot be reached, and a reference: what a call says there is the reason. NULL: there is none. */
weft__backend *weft__balancer_failed(weft__balancer *balancer);

/* Gives the reference back, when the backend's call is freed. */
void weft__balancer_let_go(weft__backend *backend);

/* After a pick that found nothing in the snapshot `seen`, or, by a waiter for a place, none on what is in `full`: 0:
 * `waiter` waits; -EAGAIN there is another snapshot, or a place there; -EHOSTUNREACH nothing can be reached, and it is
 * not patient; -EUSERS too many wait; -ECANCELED; -ENOMEM. `reason` (256 bytes) is why. */
int weft__balancer_wait(weft__balancer *balancer, weft__waiter *waiter, const weft__tried *full, bool patient,
                        uint64_t seen, char *reason);

/* A call has waited for so long, before it went out or ended. */
void weft__balancer_waited(weft__balancer *balancer, int64_t ns);

/* Waits for a connection, as above: 1: there is one; 0: `waiter` is called, or forgotten; -errno. */
int weft__balancer_connect(weft__tchannel *base, weft__waiter *waiter);

/* Lets a waiter wait no more: true: nothing of it is called; false: that happens, or it did not wait. */
bool weft__balancer_forget(weft__waiter *waiter);

/* Fills all but struct_size. */
void weft__balancer_stats(weft__tchannel *base, weft_channel_stats *out);

/* Fills all but struct_size, from the arena. 0; -ENOMEM. */
int weft__balancer_endpoints(weft__tchannel *base, weft_arena *arena, weft_endpoint_list *out);

/* A call is made once more. */
void weft__balancer_retries(weft__tchannel *base);

/* What the service config says now. */
weft__policies *weft__balancer_policies(weft__tchannel *base);

int weft__balanced_call_new(weft__tchannel *base, weft__ccall **out);

/* ---- between balancer.c and waiters.c ---------------------------------------------------------------------------- */

/* One address, which the engine resolves: has it connected to, at the first call of this. */
void weft__balancer_begin(weft__balancer *balancer);

/* Takes those off the list that are to try again, now that there is another snapshot. Locked. */
void weft__waiters_take(weft__balancer *balancer, weft__list *out);

/* Has them try again. Not locked. */
void weft__waiters_call(weft__list *taken);

/* There is a place: the first who waits for one tries again. False: nobody does. Not locked. */
bool weft__waiters_call_next(weft__balancer *balancer);

#endif
