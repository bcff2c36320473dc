/* client/connections.h: the connections to one instance: one at first, and more when what runs on them nears their limit.
 *
 * An engine's peer says how many streams a connection may have, but gRPC core does not tell us (it queues the others,
 * silently, for ever): so Weft has a limit of its own, and who finds no place waits above, where it can be seen.
 *
 *     idle ──begin──▶ the first connects ──nearly full──▶ one more … ──close──▶ none begins ──▶ all have ended ──▶ gone
 */
#ifndef WEFT_CLIENT_CONNECTIONS_H
#define WEFT_CLIENT_CONNECTIONS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "transport/transport.h"

typedef struct weft__connections weft__connections;

/* One connection: a channel of the engine. */
typedef struct weft__connection {
    weft__connections *connections;
    weft__tchannel *transport;
    weft__op watch;
    _Atomic(weft__link_state) state;
    _Atomic int64_t streams; /* calls on it */
} weft__connection;

/* What all connections of a channel are made by. Outlives them. */
typedef struct weft__connections_config {
    weft_engine *engine;
    weft__channel_config channel; /* but for its target */
    int64_t max_streams;          /* of one connection; INT64_MAX: no limit */
    size_t max_connections;
} weft__connections_config;

/* Whom connections tell. On a thread of the engine's, no lock held. */
typedef struct weft__connections_events {
    /* A state has changed: weft__connections_state and weft__connections_first tell what there is now. `failed`: an attempt to
     * connect has. */
    void (*changed)(void *owner, bool failed);
    /* After close: nothing is told any more, and they may be freed. Once. */
    void (*gone)(void *owner);
} weft__connections_events;

struct weft__connections {
    const weft__connections_config *config;
    const weft__connections_events *events;
    void *owner;
    const char *target;
    weft__connection **all; /* room for max_connections; those below `count` stay until the end */
    atomic_size_t count;
    atomic_bool growing; /* the newest has not connected yet */

    pthread_mutex_t lock; /* of the rest, and of who adds one */
    size_t alive;         /* watches that have not ended */
    bool closed;
};

/* Makes the first, not connected yet. @param target outlives them. 0; -ENOMEM. */
int weft__connections_init(weft__connections *connections, const weft__connections_config *config, const char *target,
                           const weft__connections_events *events, void *owner);

/* Gone, or never begun, and no call is left. */
void weft__connections_fini(weft__connections *connections);

/* Connects, and keeps connected. 0; -errno. */
int weft__connections_begin(weft__connections *connections);

/* What all of them are together: READY if one is, else what the first is. Thread: any. */
weft__link_state weft__connections_state(const weft__connections *connections);

static inline weft__connection *weft__connections_first(const weft__connections *connections)
{
    return connections->all[0];
}

/* A place on the connection with the fewest calls; NULL: there is none. May have one more connection made. Thread:
 * any. */
weft__connection *weft__connections_take(weft__connections *connections);

/* Gives a place back. Thread: any. */
static inline void weft__connections_give(weft__connection *connection)
{
    atomic_fetch_sub(&connection->streams, 1); /* in order: who waits for a place has said so, or sees this */
}

/* Whether there is a place. Thread: any. */
bool weft__connections_have_place(const weft__connections *connections);

/* Has no connection made any more, and those that are end with their calls. Once. Thread: any. */
void weft__connections_close(weft__connections *connections);

#endif
