/* channel.h: the channel's own object, shared by channel.c (its life) and unary.c (its calls). */
#ifndef WEFT_CLIENT_CHANNEL_H
#define WEFT_CLIENT_CHANNEL_H

#include <pthread.h>

#include <weft/channel.h>

#include "base/event.h"
#include "base/list.h"
#include "base/pool.h"
#include "call/guard.h"
#include "call/intercept.h"
#include "transport/transport.h"

struct weft_channel {
    weft_engine *engine;
    weft__tchannel *transport;
    weft_channel_options options; /* normalized: INT64_MAX is "none" */
    weft__guard_limits guard;
    weft__chain chain;

    pthread_mutex_t lock; /* of the rest */
    weft__list calls;     /* that still run: struct running */
    size_t telling;       /* callbacks that run outside of a loop */
    bool closing;         /* no new call; `idle` is posted when the last call and callback have gone */
    weft__event idle;
};

/* A call in the channel's list. `transport` is NULL until the call has started. */
typedef struct weft__running {
    weft__list_node node;
    weft__ccall *transport;
} weft__running;

/* Joins a call to the channel, before it starts: 0; -ESHUTDOWN when the channel is being freed. */
int weft__channel_enter(weft_channel *channel, weft__running *running);

/* Says that it may be cancelled from now on: 0; -ESHUTDOWN when it should be, because the channel is being freed.
 */
int weft__channel_started(weft_channel *channel, weft__running *running, weft__ccall *transport);

/* Says that it is over, and must not be cancelled any more. */
void weft__channel_forget(weft_channel *channel, weft__running *running);

/* Parts a call from the channel. `then`, if not NULL, is handed to the channel's loop, or run here without one. It may
 * free the call. Neither channel nor loop are gone before: who has freed a channel is told nothing more by it. */
void weft__channel_leave(weft_channel *channel, weft__running *running, weft__job *then);

#endif
