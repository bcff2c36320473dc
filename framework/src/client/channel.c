#include "client/channel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/thread.h"
#include "call/loop.h"
#include "call/message.h"
#include "client/balancer.h"
#include "resolve/list.h"
#include "resolve/target.h"

static const int64_t ns_per_ms = 1000000;

enum {
    MAX_CONNECTIONS = 1000, /* to one instance */
    MAX_SLOW_START_MS = 86400000
};

/* Whether it may stand in :authority: visible ASCII, or NULL for the default. */
static bool is_authority(const char *text)
{
    if (text == NULL)
        return true;
    for (const char *c = text; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    return text[0] != '\0';
}

static int read_options(weft_channel_options *out, const weft_channel_options *options)
{
    weft_channel_options o;
    memset(&o, 0, sizeof o);
    int rc = weft__options_copy(&o, sizeof o, options);
    if (rc < 0)
        return rc;
    const struct {
        int64_t *value;
        int64_t default_value;
        int64_t min;
    } limits[] = {
        {&o.timeout_ms, INT64_MAX, 1},
        {&o.max_message_bytes, 4 << 20, 1},
        {&o.max_metadata_bytes, 16 << 10, 1024},
        {&o.max_message_depth, 100, 1},
        {&o.max_message_fields, 1000000, 1},
        {&o.connect_timeout_ms, 20000, 1},
        {&o.min_backoff_ms, 1000, 1},
        {&o.max_backoff_ms, 120000, 1},
        {&o.keepalive_ms, INT64_MAX, 10000}, /* servers close the connection of a client that pings more often */
        {&o.keepalive_timeout_ms, 20000, 100},
        {&o.max_call_bytes, 64 << 20, 1024},
        {&o.send_stall_ms, 60000, 1},
        {&o.max_waiting_calls, 1000, 1},
        {&o.max_concurrent_calls, INT64_MAX, 1},
        {&o.max_streams, 100, 1},
        {&o.max_connections, 16, 1},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        rc = weft__limit(limits[i].value, limits[i].default_value, limits[i].min);
        if (rc < 0)
            return rc;
    }
    if (!weft__is_compression(o.compression))
        return -EINVAL;
    if ((uint64_t)o.max_call_bytes > SIZE_MAX)
        o.max_call_bytes = 0; /* the arena's "no limit" */
    if (o.max_connections > MAX_CONNECTIONS || o.slow_start_ms < 0 || o.slow_start_ms > MAX_SLOW_START_MS)
        return -EINVAL;
    if (o.max_backoff_ms < o.min_backoff_ms || !is_authority(o.authority))
        return -EINVAL;
    *out = o;
    return 0;
}

/* The resolver that watches targets like this one; NULL: the engine resolves it. */
static weft_resolver *find_resolver(const weft_channel_options *options, const char *target)
{
    if (target == NULL)
        return NULL;
    size_t len = strcspn(target, ":");
    for (size_t i = 0; i < options->resolver_count; i++) {
        const char *scheme = options->resolvers[i]->vtable->scheme;
        if (strlen(scheme) == len && memcmp(scheme, target, len) == 0)
            return options->resolvers[i];
    }
    weft_resolver *own = weft__static_resolver();
    bool is_own = strlen(own->vtable->scheme) == len && memcmp(own->vtable->scheme, target, len) == 0;
    return is_own || weft__is_address_list(target) ? own : NULL;
}

/* The channel below: to one target, which the engine resolves, or to all that a resolver lists. */
static int make_transport(weft_channel *channel, const weft__channel_config *config, weft_resolver *resolver)
{
    weft_target target;
    char parts[WEFT__TARGET_MAX];
    char reason[256] = "";
    weft_health_check_options health_check;
    bool checks = channel->options.health_check != NULL;
    int rc = checks ? weft__health_check_options(&health_check, channel->options.health_check) : 0;
    if (rc < 0)
        return rc;
    if (checks && resolver == NULL && health_check.kind == WEFT_HEALTH_CHECK_HTTP)
        return -ENOTSUP; /* the engine resolves the name: there is no address to ask */
    weft__target_split(config->target, parts, &target);
    const weft__balancer_config balancing = {
        .target = &target,
        .resolver = resolver,
        .service_config = channel->options.service_config,
        .picker = channel->options.picker,
        .max_waiting = channel->options.max_waiting_calls,
        .max_running = channel->options.max_concurrent_calls,
        .max_streams = channel->options.max_streams,
        .max_connections = channel->options.max_connections,
        .slow_start_ms = channel->options.slow_start_ms,
        .outliers = channel->options.outliers,
        .health_check = checks ? &health_check : NULL,
    };
    rc = weft__balancer_new(channel->engine, config, &balancing, &channel->transport, reason, sizeof reason);
    if (rc == -EINVAL && reason[0] != '\0')
        weft_log_error(config->log, "a target that its resolver does not take",
                       WEFT_FIELDS(WEFT_STR("target", config->target), WEFT_STR("reason", reason)));
    return rc;
}

int weft_channel_new(weft_channel **out, weft_engine *engine, const char *target, const weft_channel_options *options)
{
    weft_channel_options normalized;
    char full_target[WEFT__TARGET_MAX];
    if (engine == NULL)
        return -EINVAL;
    weft_resolver *resolver = NULL;
    int rc = read_options(&normalized, options);
    if (rc == 0)
        resolver = find_resolver(&normalized, target);
    if (rc == 0 && resolver == NULL)
        rc = weft__target_parse(target, full_target);
    else if (rc == 0 && (size_t)snprintf(full_target, sizeof full_target, "%s", target) >= sizeof full_target)
        rc = -ENAMETOOLONG;
    if (rc == 0 && normalized.tls != NULL && normalized.tls->engine != engine)
        rc = -EINVAL;
    else if (rc == 0 && normalized.tls != NULL && !normalized.tls->has_roots)
        rc = -ENOENT;
    if (rc < 0)
        return rc;
    weft_channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL)
        return -ENOMEM;
    rc = weft__chain_init(&channel->chain, normalized.interceptors, normalized.interceptor_count, normalized.observers,
                          normalized.observer_count);
    if (rc < 0) {
        free(channel);
        return rc;
    }
    channel->engine = engine;
    channel->options = normalized;
    weft__loop_use(normalized.loop);
    channel->options.authority = NULL; /* the caller's: only the engine keeps a copy */
    channel->options.tls = NULL;       /* set when it is ours */
    channel->guard = (weft__guard_limits){normalized.max_message_depth, normalized.max_message_fields};
    weft__list_init(&channel->calls);
    weft__channel_config config = {
        .log = normalized.log,
        .target = full_target,
        .authority = normalized.authority,
        .tls = normalized.tls,
        .max_message_bytes = normalized.max_message_bytes,
        .max_metadata_bytes = normalized.max_metadata_bytes,
        .connect_timeout_ms = normalized.connect_timeout_ms,
        .min_backoff_ms = normalized.min_backoff_ms,
        .max_backoff_ms = normalized.max_backoff_ms,
        .keepalive_ms = normalized.keepalive_ms,
        .keepalive_timeout_ms = normalized.keepalive_timeout_ms,
        .use_proxy = normalized.use_proxy,
    };
    rc = -pthread_mutex_init(&channel->lock, NULL);
    if (rc < 0)
        goto fail_lock;
    rc = weft__event_init(&channel->idle);
    if (rc < 0)
        goto fail_idle;
    rc = weft__engine_use(engine);
    if (rc < 0)
        goto fail_use;
    rc = make_transport(channel, &config, resolver);
    channel->options.resolvers = NULL; /* the caller's */
    channel->options.outliers = NULL;
    channel->options.service_config = NULL;
    channel->options.health_check = NULL;
    if (rc < 0)
        goto fail_transport;
    if (normalized.tls != NULL) {
        normalized.tls->vtable->ref(normalized.tls);
        channel->options.tls = normalized.tls;
    }
    *out = channel;
    return 0;

fail_transport:
    weft__engine_unuse(engine);
fail_use:
    weft__event_fini(&channel->idle);
fail_idle:
    pthread_mutex_destroy(&channel->lock);
fail_lock:
    weft__loop_unuse(channel->options.loop);
    weft__chain_fini(&channel->chain);
    free(channel);
    return rc;
}

int weft__channel_enter(weft_channel *channel, weft__running *running)
{
    int rc = 0;
    pthread_mutex_lock(&channel->lock);
    if (channel->closing)
        rc = -ESHUTDOWN;
    else
        weft__list_push_back(&channel->calls, &running->node);
    pthread_mutex_unlock(&channel->lock);
    return rc;
}

int weft__channel_started(weft_channel *channel, weft__running *running, weft__ccall *transport)
{
    pthread_mutex_lock(&channel->lock);
    running->transport = transport;
    bool closing = channel->closing;
    pthread_mutex_unlock(&channel->lock);
    return closing ? -ESHUTDOWN : 0;
}

void weft__channel_forget(weft_channel *channel, weft__running *running)
{
    pthread_mutex_lock(&channel->lock);
    running->transport = NULL;
    pthread_mutex_unlock(&channel->lock);
}

/* Whether calls run, or their callbacks. */
static bool busy_locked(const weft_channel *channel)
{
    return !weft__list_empty(&channel->calls) || channel->telling > 0;
}

void weft__channel_leave(weft_channel *channel, weft__running *running, weft__job *then)
{
    pthread_mutex_lock(&channel->lock);
    weft__list_remove(&running->node);
    if (then != NULL && channel->options.loop != NULL) {
        weft__loop_post(channel->options.loop, then);
    } else if (then != NULL) {
        channel->telling++;
        pthread_mutex_unlock(&channel->lock);
        then->run(then);
        pthread_mutex_lock(&channel->lock);
        channel->telling--;
    }
    if (channel->closing && !busy_locked(channel))
        channel->engine->vtable->post(channel->engine, &channel->idle);
    pthread_mutex_unlock(&channel->lock);
}

void weft_channel_free(weft_channel *channel)
{
    if (channel == NULL || weft__engine_forked(channel->engine))
        return;
    pthread_mutex_lock(&channel->lock);
    bool wait = busy_locked(channel);
    if (wait && weft__thread_is_loop()) {
        pthread_mutex_unlock(&channel->lock);
        weft_log_error(channel->options.log, "weft_channel_free cannot wait for calls here: nothing is freed",
                       WEFT_NO_FIELDS);
        return;
    }
    channel->closing = true;
    for (weft__list_node *node = weft__list_first(&channel->calls); node != NULL;
         node = weft__list_next(&channel->calls, node)) {
        weft__ccall *call = WEFT__CONTAINER_OF(node, weft__running, node)->transport;
        if (call != NULL)
            call->vtable->cancel(call, WEFT_CANCELLED, "the channel was closed");
    }
    pthread_mutex_unlock(&channel->lock);
    if (wait)
        (void)weft__engine_wait(channel->engine, &channel->idle, INT64_MAX);
    pthread_mutex_lock(&channel->lock); /* the last call that left may still hold it */
    pthread_mutex_unlock(&channel->lock);
    channel->transport->vtable->destroy(channel->transport);
    if (channel->options.tls != NULL)
        channel->options.tls->vtable->unref(channel->options.tls);
    weft__event_fini(&channel->idle);
    pthread_mutex_destroy(&channel->lock);
    weft__engine_unuse(channel->engine);
    weft__loop_unuse(channel->options.loop);
    weft__chain_fini(&channel->chain);
    free(channel);
}

int weft_channel_read_stats(const weft_channel *channel, weft_channel_stats *stats)
{
    weft_channel_stats filled = WEFT_CHANNEL_STATS_INIT;
    if (stats->struct_size == 0)
        return -EINVAL;
    weft__balancer_stats(channel->transport, &filled);
    filled.struct_size = stats->struct_size;
    memcpy(stats, &filled, filled.struct_size < sizeof filled ? filled.struct_size : sizeof filled);
    return 0;
}

int weft_channel_endpoints(const weft_channel *channel, weft_arena *arena, weft_endpoint_list *list)
{
    weft_endpoint_list filled = WEFT_ENDPOINT_LIST_INIT;
    if (list->struct_size == 0)
        return -EINVAL;
    int rc = weft__balancer_endpoints(channel->transport, arena, &filled);
    if (rc < 0)
        return rc;
    filled.struct_size = list->struct_size;
    memcpy(list, &filled, filled.struct_size < sizeof filled ? filled.struct_size : sizeof filled);
    return 0;
}

/* ---- connecting -------------------------------------------------------------------------------------------------- */

struct connecting {
    weft__waiter waiter;
    weft__event done;
    weft_engine *engine;
    int result;
};

static void connecting_ends(weft__waiter *waiter, int result)
{
    struct connecting *connecting = WEFT__CONTAINER_OF(waiter, struct connecting, waiter);
    connecting->result = result;
    connecting->engine->vtable->post(connecting->engine, &connecting->done);
}

static void on_connected(weft__waiter *waiter)
{
    connecting_ends(waiter, 0);
}

static void on_late(weft__waiter *waiter)
{
    connecting_ends(waiter, -ETIMEDOUT);
}

static int wait_for_connection(weft_channel *channel, struct connecting *connecting)
{
    int rc = weft__balancer_connect(channel->transport, &connecting->waiter);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = weft__engine_wait(channel->engine, &connecting->done, INT64_MAX);
    if (rc < 0 && weft__balancer_forget(&connecting->waiter))
        return rc; /* nothing can happen any more in a stepped engine */
    if (rc < 0)
        (void)weft__engine_wait(channel->engine, &connecting->done, INT64_MAX);
    return connecting->result;
}

int weft_channel_connect(weft_channel *channel, int64_t timeout_ms)
{
    if (timeout_ms < -1)
        return -EINVAL;
    if (weft__engine_forked(channel->engine))
        return -ECHILD;
    if (weft__thread_is_loop())
        return -EDEADLK;
    int64_t now = weft_engine_now_ns(channel->engine);
    int64_t deadline_ns =
        timeout_ms == -1 || timeout_ms > (INT64_MAX - now) / ns_per_ms ? INT64_MAX : now + timeout_ms * ns_per_ms;
    struct connecting connecting = {.waiter = {.deadline_ns = deadline_ns, .again = on_connected, .late = on_late},
                                    .engine = channel->engine};
    weft__running running = {.transport = NULL};
    int rc = weft__event_init(&connecting.done);
    if (rc < 0)
        return rc;
    rc = weft__channel_enter(channel, &running);
    if (rc == 0) {
        rc = wait_for_connection(channel, &connecting);
        weft__channel_leave(channel, &running, NULL);
    }
    weft__event_fini(&connecting.done);
    return rc;
}
