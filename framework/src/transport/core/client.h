/* client.h: a channel on gRPC core and its calls: channel.c and client_call.c. */
#ifndef WEFT_TRANSPORT_CORE_CLIENT_H
#define WEFT_TRANSPORT_CORE_CLIENT_H

#include "transport/core/core.h"

typedef struct weft_core_ccall weft_core_ccall;

typedef struct weft_core_channel {
    weft__tchannel base;
    weft_engine *engine;
    grpc_channel *grpc;
    grpc_completion_queue *queue; /* where all of its calls complete */
    char *target;                 /* as gRPC core names it */
    int64_t max_message_bytes;
    pthread_mutex_t lock; /* guards what is below */
    weft_core_ccall *free_calls;
    size_t free_count;
} weft_core_channel;

int weft__core_ccall_new(weft__tchannel *base, weft__ccall **out);

/* Frees the calls that wait to be used again. */
void weft__core_ccall_free_all(weft_core_channel *channel);

#endif
