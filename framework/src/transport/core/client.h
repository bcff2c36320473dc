/* client.h: a channel on gRPC core and its calls: channel.c and client_call.c. */
#ifndef WEFT_TRANSPORT_CORE_CLIENT_H
#define WEFT_TRANSPORT_CORE_CLIENT_H

#include "transport/core/core.h"

typedef struct weft_core_ccall weft_core_ccall;

/* gRPC core's channel. A channel with TLS gets a new one when its certificates were rotated. */
typedef struct weft_core_link {
    grpc_channel *grpc;
    uint64_t certificates; /* the number of their generation */
    size_t users;          /* without TLS nobody counts */
} weft_core_link;

typedef struct weft_core_channel {
    weft__tchannel base;
    weft_engine *engine;
    weft__channel_config config;  /* its strings are … */
    char *strings[2];             /* … these: target, authority */
    grpc_completion_queue *queue; /* where all of its calls complete */
    char *target;                 /* as gRPC core names it */
    weft_core_tag on_watch;
    weft__op *watch_op;
    int watch_last;
    atomic_bool closed;
    pthread_mutex_t lock; /* guards what is below */
    weft_core_link *link;
    weft_core_ccall *free_calls;
    size_t free_count;
} weft_core_channel;

/* The link to make a call on, until it is let go; with the newest certificates. */
weft_core_link *weft__core_channel_hold(weft_core_channel *channel);
void weft__core_channel_let_go(weft_core_channel *channel, weft_core_link *link);

int weft__core_ccall_new(weft__tchannel *base, weft__ccall **out);

/* Frees the calls that wait to be used again. */
void weft__core_ccall_free_all(weft_core_channel *channel);

#endif
