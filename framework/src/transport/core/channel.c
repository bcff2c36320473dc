/* channel.c: a channel on gRPC core: its options, and connecting.
 *
 * Design notes
 * - A channel has its own connection: gRPC core would share one between channels of the same target and options.
 * - What gRPC core could do above a connection is Weft's: retries, service configs (from DNS they could even crash it:
 *   docs/internals), proxies unless asked for.
 * - When certificates were rotated, the calls to come get a new link, and so a new connection. Those that run keep the
 *   old one alive, in gRPC core, until they have ended.
 * - A watch follows the link that new calls get. When that is replaced the old one is shut down, after its last call at
 *   the latest, and the watch goes on with the new one.
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
#include "transport/core/tls.h"

static weft_core_channel *from_base(weft__tchannel *base)
{
    return WEFT__CONTAINER_OF(base, weft_core_channel, base);
}

/* ---- links ------------------------------------------------------------------------------------------------------- */

static grpc_arg int_arg(char *key, int value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = key, .value.integer = value};
}

static grpc_arg text_arg(char *key, char *value)
{
    return (grpc_arg){.type = GRPC_ARG_STRING, .key = key, .value.string = value};
}

static grpc_channel *make_grpc_channel(const weft_core_channel *channel, grpc_channel_credentials *credentials)
{
    const weft__channel_config *config = &channel->config;
    char *server_name = config->tls != NULL ? (char *)(uintptr_t)config->tls->server_name : NULL;
    grpc_arg args[] = {
        int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        int_arg(GRPC_ARG_ENABLE_RETRIES, 0),
        int_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, config->use_proxy),
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
        int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0),
        int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
        int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
        text_arg(GRPC_ARG_PRIMARY_USER_AGENT_STRING, (char[]){"weft-c/" WEFT_VERSION_STRING}),
        int_arg("weft.unused", 0), /* in place of those that are left out */
        int_arg("weft.unused", 0),
    };
    grpc_channel_args all = {sizeof args / sizeof *args - 2, args};
    if (channel->strings[1] != NULL)
        args[all.num_args++] = text_arg(GRPC_ARG_DEFAULT_AUTHORITY, channel->strings[1]);
    if (server_name != NULL) /* :authority too, unless there is one */
        args[all.num_args++] = text_arg(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, server_name);
    return grpc_channel_create(config->target, credentials, &all);
}

/* NULL: no memory. */
static weft_core_link *make_link(const weft_core_channel *channel)
{
    weft_tls *tls = channel->config.tls;
    grpc_channel_credentials *credentials;
    sigset_t before;
    weft_core_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return NULL;
    weft__core_block_signals(&before);
    if (tls != NULL) {
        const weft__pems *pems = tls->vtable->hold(tls);
        credentials = weft__core_tls_channel_credentials(pems);
        link->certificates = pems->number;
        tls->vtable->release(pems);
    } else {
        credentials = grpc_insecure_credentials_create();
    }
    link->grpc = make_grpc_channel(channel, credentials);
    grpc_channel_credentials_release(credentials);
    weft__core_unblock_signals(&before);
    return link;
}

static void free_link(weft_core_link *link)
{
    if (link == NULL)
        return;
    if (link->grpc != NULL)
        grpc_channel_destroy(link->grpc);
    free(link);
}

weft_core_link *weft__core_channel_hold(weft_core_channel *channel)
{
    weft_tls *tls = channel->config.tls;
    weft_core_link *old = NULL;
    if (tls == NULL)
        return channel->link;
    uint64_t newest = tls->vtable->refresh(tls);
    pthread_mutex_lock(&channel->lock);
    if (channel->link->certificates < newest) {
        weft_core_link *link = make_link(channel);
        if (link != NULL) { /* or else the old one serves on */
            old = channel->link->users == 0 ? channel->link : NULL;
            channel->link = link;
        }
    }
    weft_core_link *link = channel->link;
    link->users++;
    pthread_mutex_unlock(&channel->lock);
    free_link(old);
    return link;
}

void weft__core_channel_let_go(weft_core_channel *channel, weft_core_link *link)
{
    if (channel->config.tls == NULL)
        return;
    pthread_mutex_lock(&channel->lock);
    bool last = --link->users == 0 && link != channel->link;
    pthread_mutex_unlock(&channel->lock);
    if (last)
        free_link(link);
}

/* ---- watching ---------------------------------------------------------------------------------------------------- */

static int state_of(grpc_connectivity_state state)
{
    switch (state) {
    case GRPC_CHANNEL_CONNECTING:
        return WEFT__LINK_CONNECTING;
    case GRPC_CHANNEL_READY:
        return WEFT__LINK_READY;
    case GRPC_CHANNEL_TRANSIENT_FAILURE:
        return WEFT__LINK_BACKOFF;
    case GRPC_CHANNEL_IDLE:
    case GRPC_CHANNEL_SHUTDOWN: /* of a link whose certificates are old: the next one is idle */
        break;
    }
    return WEFT__LINK_IDLE;
}

/* Comes when the state may have changed. A link that was replaced is shut down, and looked at no more. */
static void run_watch(weft_core_tag *tag, bool ok)
{
    weft_core_channel *channel = WEFT__CONTAINER_OF(tag, weft_core_channel, on_watch);
    int state = -ESHUTDOWN;
    (void)ok;
    pthread_mutex_lock(&channel->lock); /* close may be about to destroy the link */
    if (!atomic_load(&channel->closed)) {
        grpc_channel *grpc = channel->link->grpc;
        grpc_connectivity_state now = grpc_channel_check_connectivity_state(grpc, 1);
        state = state_of(now);
        if (state == channel->watch_last) {
            grpc_channel_watch_connectivity_state(grpc, now, gpr_inf_future(GPR_CLOCK_MONOTONIC), channel->queue, tag);
            pthread_mutex_unlock(&channel->lock);
            return;
        }
    }
    pthread_mutex_unlock(&channel->lock);
    channel->watch_op->done(channel->watch_op, state);
}

static int watch_channel(weft__tchannel *base, int last, weft__op *op)
{
    weft_core_channel *channel = from_base(base);
    channel->watch_op = op;
    channel->watch_last = last;
    pthread_mutex_lock(&channel->lock);
    bool closed = atomic_load(&channel->closed);
    if (!closed) /* no channel is ever seen shut down, so this comes at once, on the queue's thread */
        grpc_channel_watch_connectivity_state(channel->link->grpc, GRPC_CHANNEL_SHUTDOWN,
                                              gpr_inf_future(GPR_CLOCK_MONOTONIC), channel->queue, &channel->on_watch);
    pthread_mutex_unlock(&channel->lock);
    return closed ? -ESHUTDOWN : 0;
}

static void close_channel(weft__tchannel *base)
{
    weft_core_channel *channel = from_base(base);
    pthread_mutex_lock(&channel->lock);
    atomic_store(&channel->closed, true);
    grpc_channel *grpc = channel->link->grpc;
    channel->link->grpc = NULL;
    pthread_mutex_unlock(&channel->lock);
    grpc_channel_destroy(grpc); /* it is shut down, and the watch sees that */
}

/* ---- the channel ------------------------------------------------------------------------------------------------- */

/* Frees all, also of one that was not made whole. */
static void free_channel(weft_core_channel *channel)
{
    free_link(channel->link);
    gpr_free(channel->target);
    weft__core_ccall_free_all(channel);
    for (size_t i = 0; i < sizeof channel->strings / sizeof *channel->strings; i++)
        free(channel->strings[i]);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
}

static void destroy(weft__tchannel *base)
{
    free_channel(from_base(base));
}

static const weft__tchannel_vtable vtable = {
    .call_new = weft__core_ccall_new,
    .watch = watch_channel,
    .close = close_channel,
    .destroy = destroy,
};

static int copy_strings(weft_core_channel *channel)
{
    const char *const strings[] = {channel->config.target, channel->config.authority};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        channel->strings[i] = strings[i] != NULL ? strdup(strings[i]) : NULL;
        if (strings[i] != NULL && channel->strings[i] == NULL)
            return -ENOMEM;
    }
    channel->config.target = channel->strings[0];
    channel->config.authority = channel->strings[1];
    return 0;
}

int weft__core_channel_new(weft_engine *base, const weft__channel_config *config, weft__tchannel **out)
{
    weft_core_engine *engine = weft__core_engine(base);
    weft_core_channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL)
        return -ENOMEM;
    int rc = -pthread_mutex_init(&channel->lock, NULL);
    if (rc < 0) {
        free(channel);
        return rc;
    }
    channel->base.vtable = &vtable;
    channel->on_watch.run = run_watch;
    channel->engine = base;
    channel->config = *config;
    channel->queue = engine->queues[atomic_fetch_add(&engine->next_queue, 1) % engine->queue_count];
    rc = copy_strings(channel);
    channel->link = rc == 0 ? make_link(channel) : NULL;
    if (channel->link == NULL) {
        free_channel(channel);
        return -ENOMEM;
    }
    channel->target = grpc_channel_get_target(channel->link->grpc);
    *out = &channel->base;
    return 0;
}
