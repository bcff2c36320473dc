/* channel.c: a channel on gRPC core: its options, and connecting.
 *
 * Design notes
 * - A channel has its own connection: gRPC core would share one between channels of the same target and options.
 * - What gRPC core could do above a connection is Weft's: retries, service configs (from DNS they could even crash it:
 *   docs/internals), proxies unless asked for.
 * - All calls of a channel complete on one queue: its connection is polled there, so an answer wakes one thread.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <weft/version.h>

#include "transport/core/client.h"

/* One wait for a connection: watches the state until it is "ready", asking for a connection each time. */
typedef struct connecting {
    weft_core_tag tag;
    weft_core_channel *channel;
    gpr_timespec deadline;
    weft__op *op;
} connecting;

static weft_core_channel *from_base(weft__tchannel *base)
{
    return WEFT__CONTAINER_OF(base, weft_core_channel, base);
}

static void run_connecting(weft_core_tag *tag, bool ok)
{
    connecting *wait = WEFT__CONTAINER_OF(tag, connecting, tag);
    weft_core_channel *channel = wait->channel;
    grpc_connectivity_state state = grpc_channel_check_connectivity_state(channel->grpc, 1);
    if (state != GRPC_CHANNEL_READY && ok) {
        grpc_channel_watch_connectivity_state(channel->grpc, state, wait->deadline, channel->queue, tag);
        return;
    }
    weft__op *op = wait->op;
    free(wait);
    op->done(op, state == GRPC_CHANNEL_READY ? 0 : -ETIMEDOUT);
}

static int connect_channel(weft__tchannel *base, int64_t deadline_ns, weft__op *op)
{
    weft_core_channel *channel = from_base(base);
    connecting *wait = malloc(sizeof *wait);
    if (wait == NULL)
        return -ENOMEM;
    *wait = (connecting){{run_connecting}, channel, weft__core_time(deadline_ns), op};
    /* No channel is ever seen shut down, so this tells its state at once, on the queue's thread. */
    grpc_channel_watch_connectivity_state(channel->grpc, GRPC_CHANNEL_SHUTDOWN, wait->deadline, channel->queue,
                                          &wait->tag);
    return 0;
}

static void destroy(weft__tchannel *base)
{
    weft_core_channel *channel = from_base(base);
    grpc_channel_destroy(channel->grpc);
    gpr_free(channel->target);
    weft__core_ccall_free_all(channel);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
}

static const weft__tchannel_vtable vtable = {
    .connect = connect_channel,
    .call_new = weft__core_ccall_new,
    .destroy = destroy,
};

static grpc_arg int_arg(char *key, int value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = key, .value.integer = value};
}

static grpc_arg text_arg(char *key, char *value)
{
    return (grpc_arg){.type = GRPC_ARG_STRING, .key = key, .value.string = value};
}

static grpc_channel *make_grpc_channel(const weft__channel_config *config, char *authority)
{
    grpc_arg args[] = {
        int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1), int_arg(GRPC_ARG_ENABLE_RETRIES, 0),
        int_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1), int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, config->use_proxy),
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, weft__core_int(config->max_message_bytes, -1)),
        int_arg(GRPC_ARG_MAX_METADATA_SIZE, weft__core_int(config->max_metadata_bytes, INT_MAX)),
        /* By this name gRPC core goes for the time that one attempt to connect may take. */
        int_arg(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, weft__core_int(config->connect_timeout_ms, INT_MAX)),
        int_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, weft__core_int(config->min_backoff_ms, INT_MAX)),
        int_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, weft__core_int(config->max_backoff_ms, INT_MAX)),
        int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, weft__core_int(config->keepalive_ms, INT_MAX)),
        int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, weft__core_int(config->keepalive_timeout_ms, INT_MAX)),
        int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        /* Compression is ours (message.c), and so it is to say what is taken: all that it knows is let through. */
        int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0), int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
        int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
        text_arg(GRPC_ARG_PRIMARY_USER_AGENT_STRING, (char[]){"weft-c/" WEFT_VERSION_STRING}),
        text_arg(GRPC_ARG_DEFAULT_AUTHORITY, authority), /* the last: left out when there is none */
    };
    const grpc_channel_args all = {sizeof args / sizeof *args - (authority == NULL), args};
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(config->target, credentials, &all);
    grpc_channel_credentials_release(credentials);
    return channel;
}

int weft__core_channel_new(weft_engine *base, const weft__channel_config *config, weft__tchannel **out)
{
    weft_core_engine *engine = weft__core_engine(base);
    weft_core_channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL)
        return -ENOMEM;
    int rc = -pthread_mutex_init(&channel->lock, NULL);
    char *authority = config->authority != NULL ? strdup(config->authority) : NULL;
    if (rc == 0 && config->authority != NULL && authority == NULL) {
        pthread_mutex_destroy(&channel->lock);
        rc = -ENOMEM;
    }
    if (rc < 0) {
        free(authority);
        free(channel);
        return rc;
    }
    channel->base.vtable = &vtable;
    channel->engine = base;
    channel->max_message_bytes = config->max_message_bytes;
    channel->queue = engine->queues[atomic_fetch_add(&engine->next_queue, 1) % engine->queue_count];
    sigset_t before;
    weft__core_block_signals(&before);
    channel->grpc = make_grpc_channel(config, authority);
    weft__core_unblock_signals(&before);
    channel->target = grpc_channel_get_target(channel->grpc);
    free(authority);
    *out = &channel->base;
    return 0;
}
