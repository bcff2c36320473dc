/* server.c: the life of a server.
 *
 *   NEW ──start──▶ SERVING ──stop──▶ DRAINING ──────────────▶ STOPPED
 *                                      │
 *        accepts nothing; new and queued calls are answered UNAVAILABLE; running calls may end
 *        ① until no call has come for quiet_ms (or there are no connections)
 *        ② shutdown: GOAWAY, connections close as their calls end
 *        ③ at the grace limit, or when hurried: cancel all, and wait for the handlers to return
 *
 * Accepting may end before the stop (weft_server_stop_accepting). A hurry may come at any time: it ends ① by its event;
 * in ② it cancels by itself. The stop sets `shut_down` and then looks whether it is hurried, a hurry sets `hurried` and
 * then looks at `shut_down`: one of the two sees the other, and cancelling twice does no harm.
 *
 * Why ①: gRPC core sends GOAWAY only by its shutdown, and a call that arrives in the round trip after it is killed with
 * CANCELLED, which callers do not retry. Answered UNAVAILABLE by us, they do. The quiet time lets clients go elsewhere
 * first.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/options.h"
#include "base/thread.h"
#include "call/loop.h"
#include "call/message.h"
#include "server/server.h"

static const int64_t ns_per_ms = 1000000;

static int64_t cpus(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int64_t)n : 1;
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static int read_options(weft_server_options *out, const weft_server_options *options)
{
    weft_server_options o;
    memset(&o, 0, sizeof o);
    int rc = weft__options_copy(&o, sizeof o, options);
    if (rc < 0)
        return rc;
    if (o.workers == -1)
        o.workers = 0;
    else if (o.workers == 0)
        o.workers = cpus() * 4 > 8 ? cpus() * 4 : 8;
    if (o.workers < 0 || o.workers > 10000) /* the pool's limit */
        return -EINVAL;
    const struct {
        int64_t *value;
        int64_t default_value;
        int64_t min;
    } limits[] = {
        {&o.worker_stack_bytes, 256 * 1024, 64 * 1024},
        {&o.max_queued_calls, 1024, 1},
        {&o.max_concurrent_calls, 10000, 1},
        {&o.max_connections, 10000, 1},
        {&o.max_streams, 1000, 1},
        {&o.max_message_bytes, 4 << 20, 1},
        {&o.max_metadata_bytes, 16 << 10, 1024},
        {&o.max_call_bytes, 64 << 20, 1024},
        {&o.max_message_depth, 100, 1},
        {&o.max_message_fields, 1000000, 1},
        {&o.keepalive_ms, 60000, 1000},
        {&o.keepalive_timeout_ms, 20000, 100},
        {&o.max_connection_age_ms, INT64_MAX, 1},
        {&o.max_connection_age_grace_ms, INT64_MAX, 1},
        {&o.max_connection_idle_ms, INT64_MAX, 1},
        {&o.quiet_ms, 500, 1},
        {&o.max_worker_streams, o.workers > 1 ? o.workers - (o.workers + 3) / 4 : 1, 1},
        {&o.send_stall_ms, 60000, 1},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        rc = weft__limit(limits[i].value, limits[i].default_value, limits[i].min);
        if (rc < 0)
            return rc;
    }
    if (!weft__is_compression(o.compression))
        return -EINVAL;
    if (o.quiet_ms == INT64_MAX || o.worker_stack_bytes == INT64_MAX) /* "none" is no length of time, nor of a stack */
        return -EINVAL;
    if ((uint64_t)o.max_call_bytes > SIZE_MAX)
        o.max_call_bytes = 0; /* the arena's "no limit" */
    *out = o;
    return 0;
}

/* A worker unpacks what is nested as deep as allowed; protobuf-c takes some 960 bytes of stack a level. */
static int64_t stack_bytes(const weft_server_options *options)
{
    static const int64_t a_level = 1024;
    static const int64_t rest = 64 * 1024;
    int64_t depth =
        options->max_message_depth < WEFT__GUARD_MAX_DEPTH ? options->max_message_depth : WEFT__GUARD_MAX_DEPTH;
    int64_t least = rest + depth * a_level;
    return options->worker_stack_bytes > least ? options->worker_stack_bytes : least;
}

static void on_closed_on_loop(weft__job *job)
{
    WEFT__CONTAINER_OF(job, weft_server, closed_job)->closed_on_loop = true;
}

int weft_server_new(weft_server **out, weft_engine *engine, const weft_server_options *options)
{
    weft_server_options normalized;
    if (engine == NULL)
        return -EINVAL;
    int rc = read_options(&normalized, options);
    if (rc < 0)
        return rc;
    if (normalized.loop != NULL && engine->stepped) /* nobody would step while a stop waits for the loop */
        return -ENOTSUP;
    weft_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return -ENOMEM;
    server->engine = engine;
    server->options = normalized;
    server->guard = (weft__guard_limits){normalized.max_message_depth, normalized.max_message_fields};
    rc = weft__chain_init(&server->chain, normalized.interceptors, normalized.interceptor_count, normalized.observers,
                          normalized.observer_count);
    if (rc < 0)
        goto fail_chain;
    weft__list_init(&server->observers);
    rc = -pthread_mutex_init(&server->lock, NULL);
    if (rc < 0)
        goto fail_lock;
    rc = weft__event_init(&server->closed);
    if (rc < 0)
        goto fail_closed;
    rc = weft__event_init(&server->hurry);
    if (rc < 0)
        goto fail_hurry;
    rc = weft__engine_use(engine);
    if (rc < 0)
        goto fail_use;
    weft__loop_use(normalized.loop);
#ifndef NDEBUG
    (void)pthread_mutex_init(&server->deferred_lock, NULL); /* cannot fail without attributes */
    weft__list_init(&server->deferred_calls);
#endif
    (void)pthread_mutex_init(&server->observers_lock, NULL);
    server->closed_job.run = on_closed_on_loop;
    *out = server;
    return 0;

fail_use:
    weft__event_fini(&server->hurry);
fail_hurry:
    weft__event_fini(&server->closed);
fail_closed:
    pthread_mutex_destroy(&server->lock);
fail_lock:
    weft__chain_fini(&server->chain);
fail_chain:
    free(server);
    return rc;
}

/* ---- registration ------------------------------------------------------------------------------------------------ */

/* An array of pointers with room for one more than `count`, or NULL and the old one stays. These arrays are short. */
static void *grow(void *array, size_t count)
{
    return realloc(array, (count + 1) * sizeof(void *));
}

/* Whether the user's table has a handler at this offset. Reads the pointer's bytes: its type is only known to generated
 * code. */
static bool has_handler(const void *ops, size_t offset)
{
    void (*handler)(void);
    memcpy(&handler, (const char *)ops + offset, sizeof handler);
    return handler != NULL;
}

int weft__server_add_method(weft_server *server, const weft_method *method, const void *ops, void *self,
                            const weft_method_options *options)
{
    weft_method_options o;
    memset(&o, 0, sizeof o);
    int rc = weft__options_copy(&o, sizeof o, options);
    if (rc < 0)
        return rc;
    rc = weft__limit(&o.max_message_bytes, server->options.max_message_bytes, 1);
    if (rc < 0 || o.max_message_bytes > server->options.max_message_bytes)
        return -EINVAL;
    rc = weft__limit(&o.max_concurrent_calls, INT64_MAX, 1);
    if (rc < 0)
        return rc;
    if (atomic_load(&server->state) != WEFT__SERVER_NEW)
        return -EBUSY;
    for (size_t i = 0; i < server->method_count; i++)
        if (strcmp(server->methods[i]->transport.path, method->path) == 0)
            return -EEXIST;
    weft__served_method *served = calloc(1, sizeof *served);
    if (served == NULL)
        return -ENOMEM;
    weft__served_method **methods = grow(server->methods, server->method_count);
    if (methods == NULL) {
        free(served);
        return -ENOMEM;
    }
    server->methods = methods;
    served->transport.path = method->path;
    served->transport.kind = method->kind;
    served->transport.max_message_bytes = o.max_message_bytes;
    served->transport.run_inline =
        server->options.loop == NULL && (o.run_inline || server->options.workers == 0 || server->engine->stepped);
    served->method = method;
    served->ops = ops;
    served->self = self;
    served->has_handler = method->handler != NULL && has_handler(ops, method->ops_offset);
    served->defers = o.defers;
    served->max_concurrent_calls = o.max_concurrent_calls;
    served->mask = weft__chain_mask(&server->chain, method->path);
    server->methods[server->method_count++] = served;
    return 0;
}

void weft__server_remove_methods(weft_server *server, size_t count)
{
    while (server->method_count > count)
        free(server->methods[--server->method_count]);
}

int weft__server_add_service(weft_server *server, const char *name, const weft_file *file)
{
    if (atomic_load(&server->state) != WEFT__SERVER_NEW)
        return -EBUSY;
    for (size_t i = 0; i < server->service_count; i++)
        if (strcmp(server->services[i].name, name) == 0)
            return 0; /* its methods come in parts */
    /* One at a time: there are few. */
    weft__served_service *services = realloc(server->services, (server->service_count + 1) * sizeof *services);
    if (services == NULL)
        return -ENOMEM;
    server->services = services;
    services[server->service_count++] = (weft__served_service){name, file};
    return 0;
}

int weft__server_observe(weft_server *server, weft__server_observer *observer)
{
    pthread_mutex_lock(&server->observers_lock);
    int rc = server->observers_told ? -ESHUTDOWN : 0;
    if (rc == 0)
        weft__list_push_back(&server->observers, &observer->node);
    pthread_mutex_unlock(&server->observers_lock);
    return rc;
}

int weft__server_own(weft_server *server, void *block)
{
    void **owned = grow(server->owned, server->owned_count);
    if (owned == NULL)
        return -ENOMEM;
    server->owned = owned;
    server->owned[server->owned_count++] = block;
    return 0;
}

void weft__server_disown_last(weft_server *server)
{
    server->owned_count--;
}

/* The options for one method; NULL when none names it. Entries are as large as the caller's headers made them. */
static const weft_method_options *find_options(const weft_service_options *options, const char *method)
{
    const char *at = options != NULL ? (const char *)options->methods : NULL;
    for (size_t i = 0; at != NULL && i < options->method_count; i++) {
        const weft_method_options *entry = (const weft_method_options *)(const void *)at;
        if (entry->method != NULL && strcmp(entry->method, method) == 0)
            return entry;
        at += entry->struct_size;
    }
    return NULL;
}

static bool has_method(const weft_service *service, const char *name)
{
    for (size_t i = 0; i < service->method_count; i++)
        if (strcmp(service->methods[i]->name, name) == 0)
            return true;
    return false;
}

static int check_options(const weft_service *service, const weft_service_options *options)
{
    if (options->methods == NULL && options->method_count > 0)
        return -EINVAL;
    const char *at = (const char *)options->methods;
    for (size_t i = 0; i < options->method_count; i++) {
        const weft_method_options *entry = (const weft_method_options *)(const void *)at;
        if (entry->struct_size == 0 || entry->method == NULL || !has_method(service, entry->method))
            return -EINVAL;
        at += entry->struct_size;
    }
    return 0;
}

int weft_server_add(weft_server *server, const weft_service *service, const void *ops, void *self,
                    const weft_service_options *options)
{
    weft_service_options o;
    memset(&o, 0, sizeof o);
    if (service == NULL || ops == NULL)
        return -EINVAL;
    int rc = weft__options_copy(&o, sizeof o, options);
    if (rc == 0)
        rc = check_options(service, &o);
    size_t before = server->method_count;
    size_t services_before = server->service_count;
    if (rc == 0)
        rc = weft__server_add_service(server, service->name, service->file);
    for (size_t i = 0; rc == 0 && i < service->method_count; i++) {
        const weft_method *method = service->methods[i];
        rc = weft__server_add_method(server, method, ops, self, find_options(&o, method->name));
    }
    if (rc < 0) {
        weft__server_remove_methods(server, before);
        server->service_count = services_before;
    }
    return rc;
}

/* ---- listening --------------------------------------------------------------------------------------------------- */

static int listen_by_name(weft_server *server, const char *address)
{
    char bound[256];
    char **names = grow(server->names, server->name_count);
    if (names == NULL)
        return -ENOMEM;
    server->names = names;
    int rc = server->engine->vtable->bind_name(server->engine, address, bound, sizeof bound);
    if (rc < 0)
        return rc;
    char *copy = strdup(bound);
    if (copy == NULL) {
        server->engine->vtable->unbind_name(server->engine, bound);
        return -ENOMEM;
    }
    server->names[server->name_count++] = copy;
    server->listens = true;
    return 0;
}

static void unbind_names(weft_server *server)
{
    for (size_t i = 0; i < server->name_count; i++)
        server->engine->vtable->unbind_name(server->engine, server->names[i]);
}

static int on_accepted(void *user, size_t binding, int fd)
{
    weft_server *server = user;
    int rc = server->transport->vtable->serve_fd(server->transport, fd, server->tls[binding]);
    if (rc == -EUSERS)
        atomic_fetch_add_explicit(&server->refused_connections, 1, memory_order_relaxed);
    return rc;
}

static size_t count_bindings(const weft_server *server)
{
    size_t count = 0;
    while (server->listener != NULL && weft__listener_address(server->listener, count) != NULL)
        count++;
    return count;
}

/* Plaintext when `tls` is NULL. */
static int listen_with(weft_server *server, const char *address, weft_tls *tls)
{
    if (address == NULL)
        return -EINVAL;
    if (weft__engine_forked(server->engine))
        return -ECHILD;
    if (atomic_load(&server->state) != WEFT__SERVER_NEW)
        return -EBUSY;
    if (server->engine->vtable->bind_name != NULL)
        return listen_by_name(server, address);
    if (server->listener == NULL) {
        const weft__listener_options options = {.log = server->options.log};
        int rc = weft__listener_new(&server->listener, &options);
        if (rc < 0)
            return rc;
    }
    const size_t binding = count_bindings(server);
    int rc = weft__listener_bind(server->listener, address);
    if (rc < 0)
        return rc;
    server->listens = true;
    if (tls != NULL)
        tls->vtable->ref(tls);
    server->tls[binding] = tls;
    return 0;
}

int weft_server_listen(weft_server *server, const char *address)
{
    return listen_with(server, address, NULL);
}

int weft_server_listen_tls(weft_server *server, const char *address, weft_tls *tls)
{
    if (tls == NULL || tls->engine != server->engine || !tls->has_certificate)
        return -EINVAL;
    return listen_with(server, address, tls);
}

const char *weft_server_address(const weft_server *server, size_t index)
{
    if (server->engine->vtable->bind_name != NULL)
        return index < server->name_count ? server->names[index] : NULL;
    return server->listener != NULL ? weft__listener_address(server->listener, index) : NULL;
}

int weft_server_port(const weft_server *server, size_t index)
{
    if (server->listener != NULL)
        return weft__listener_port(server->listener, index);
    const char *address = weft_server_address(server, index);
    const char *colon = address != NULL ? strrchr(address, ':') : NULL;
    return colon != NULL ? (int)strtol(colon + 1, NULL, 10) : 0;
}

/* ---- start ------------------------------------------------------------------------------------------------------- */

static bool needs_workers(const weft_server *server)
{
    for (size_t i = 0; i < server->method_count; i++)
        if (!server->methods[i]->transport.run_inline)
            return true;
    return false;
}

static weft__server_observer *observer_of(weft__list_node *node)
{
    return WEFT__CONTAINER_OF(node, weft__server_observer, node);
}

static int start_observers(weft_server *server)
{
    for (weft__list_node *node = weft__list_first(&server->observers); node != NULL;
         node = weft__list_next(&server->observers, node)) {
        weft__server_observer *observer = observer_of(node);
        int rc = observer->start != NULL ? observer->start(observer, server) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Without the lock, because observers take their own: the list does not change any more. */
static void drain_observers(weft_server *server)
{
    pthread_mutex_lock(&server->observers_lock);
    server->observers_told = true;
    pthread_mutex_unlock(&server->observers_lock);
    for (weft__list_node *node = weft__list_first(&server->observers); node != NULL;
         node = weft__list_next(&server->observers, node)) {
        weft__server_observer *observer = observer_of(node);
        if (observer->drain != NULL)
            observer->drain(observer);
    }
}

static void destroy_observers(weft_server *server)
{
    for (weft__list_node *node = weft__list_pop_front(&server->observers); node != NULL;
         node = weft__list_pop_front(&server->observers)) {
        weft__server_observer *observer = observer_of(node);
        if (observer->destroy != NULL)
            observer->destroy(observer);
    }
}

static int start_pool(weft_server *server)
{
    if (server->options.loop != NULL || !needs_workers(server))
        return 0;
    weft__pool_options options = {
        .threads = server->options.workers,
        .stack_bytes = stack_bytes(&server->options),
        .max_queued = server->options.max_queued_calls,
        .name = "weft-worker",
        .hooks = server->engine->pool_hooks,
    };
    return weft__pool_new(&server->pool, &options);
}

static int start_transport(weft_server *server)
{
    const weft_server_options *o = &server->options;
    free(server->transport_methods); /* of a start that failed */
    server->transport_methods = calloc(server->method_count + 1, sizeof(weft__server_method *));
    if (server->transport_methods == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < server->method_count; i++)
        server->transport_methods[i] = &server->methods[i]->transport;
    weft__server_config config = {
        .log = o->log,
        .events = &weft__server_events_table,
        .user = server,
        .call_size = weft__server_call_size(),
        .methods = server->transport_methods,
        .method_count = server->method_count,
        .names = (const char *const *)server->names,
        .name_count = server->name_count,
        .tls = server->tls,
        .tls_count = count_bindings(server),
        .max_connections = o->max_connections,
        .max_streams = o->max_streams,
        .max_message_bytes = o->max_message_bytes,
        .max_metadata_bytes = o->max_metadata_bytes,
        .keepalive_ms = o->keepalive_ms,
        .keepalive_timeout_ms = o->keepalive_timeout_ms,
        .max_connection_age_ms = o->max_connection_age_ms,
        .max_connection_age_grace_ms = o->max_connection_age_grace_ms,
        .max_connection_idle_ms = o->max_connection_idle_ms,
    };
    return server->engine->vtable->server_new(server->engine, &config, &server->transport);
}

int weft_server_start(weft_server *server)
{
    if (weft__engine_forked(server->engine))
        return -ECHILD;
    pthread_mutex_lock(&server->lock);
    int rc = 0;
    if (atomic_load(&server->state) != WEFT__SERVER_NEW)
        rc = -EALREADY;
    else if (server->listener == NULL && server->name_count == 0)
        rc = -EINVAL;
    if (rc == 0)
        rc = start_observers(server);
    if (rc == 0)
        rc = start_pool(server);
    if (rc == 0) {
        atomic_store(&server->state, WEFT__SERVER_STARTING);
        rc = start_transport(server);
        if (rc == 0 && server->listener != NULL)
            rc = weft__listener_start(server->listener, on_accepted, server);
        if (rc < 0) {
            if (server->transport != NULL)
                server->transport->vtable->destroy(server->transport);
            server->transport = NULL;
        }
        atomic_store(&server->state, rc == 0 ? WEFT__SERVER_SERVING : WEFT__SERVER_NEW);
    }
    if (rc < 0 && rc != -EALREADY && server->pool != NULL) {
        weft__pool_stop(server->pool, NULL);
        weft__pool_free(server->pool);
        server->pool = NULL;
    }
    pthread_mutex_unlock(&server->lock);
    return rc;
}

/* ---- stop -------------------------------------------------------------------------------------------------------- */

/* Milliseconds until a time of the engine's clock, rounded up, as poll wants them. */
static int ms_until(weft_server *server, int64_t time_ns)
{
    if (time_ns == INT64_MAX)
        return -1;
    int64_t left_ms = (time_ns - weft_engine_now_ns(server->engine) + ns_per_ms - 1) / ns_per_ms;
    return left_ms < 0 ? 0 : left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

/* Waits until the engine has let go of the server: 0; -ETIMEDOUT; -EDEADLK. */
static int wait_closed(weft_server *server, int64_t limit_ns)
{
    weft_loop *loop = server->options.loop;
    if (loop == NULL)
        return weft__engine_wait(server->engine, &server->closed, limit_ns);
    while (!server->closed_on_loop) {
        int ms = ms_until(server, limit_ns);
        if (ms == 0)
            return -ETIMEDOUT;
        weft__loop_turn(loop, ms);
    }
    return 0;
}

/* Lets time pass. */
static void wait_until(weft_server *server, int64_t time_ns)
{
    if (server->options.loop != NULL)
        weft__loop_turn(server->options.loop, ms_until(server, time_ns));
    else
        (void)weft__engine_wait(server->engine, &server->hurry, time_ns);
}

/* Waits until no call has come for the quiet time, but not past `limit_ns`. Only engines that lose late calls need it.
 */
static void wait_quiet(weft_server *server, int64_t limit_ns)
{
    int64_t quiet_ns = server->options.quiet_ms * ns_per_ms;
    if (!server->engine->loses_late_calls)
        return;
    for (;;) {
        if (atomic_load(&server->hurried) || server->transport->vtable->connections(server->transport) == 0)
            return;
        int64_t now = weft_engine_now_ns(server->engine);
        int64_t until = atomic_load_explicit(&server->last_call_ns, memory_order_relaxed) + quiet_ns;
        if (until > limit_ns)
            until = limit_ns;
        if (now >= until)
            return;
        wait_until(server, until);
    }
}

/* The first time only: the names may be another server's by then. */
static void stop_listening(weft_server *server)
{
    if (!server->listens)
        return;
    server->listens = false;
    if (server->listener != NULL)
        weft__listener_stop(server->listener);
    unbind_names(server);
}

/* ① and the beginning of ②. */
static void begin_drain(weft_server *server, int64_t limit_ns)
{
    atomic_store(&server->state, WEFT__SERVER_DRAINING);
    atomic_store_explicit(&server->last_call_ns, weft_engine_now_ns(server->engine), memory_order_relaxed);
    drain_observers(server);
    stop_listening(server);
    if (server->pool != NULL)
        weft__server_refuse_queued(server);
    wait_quiet(server, limit_ns);
    server->transport->vtable->shutdown(server->transport);
    atomic_store(&server->shut_down, true);
}

static void cancel_running(weft_server *server)
{
    atomic_store_explicit(&server->cancelling, true, memory_order_relaxed);
    server->transport->vtable->cancel_all(server->transport);
}

void weft__server_hurry(weft_server *server)
{
    if (atomic_exchange(&server->hurried, true))
        return;
    server->engine->vtable->post(server->engine, &server->hurry);
    if (atomic_load(&server->shut_down))
        cancel_running(server);
}

/* A deferred call that is cancelled and not finished within so long is told of, in debug builds. */
static const int64_t unfinished_after_ns = 1000000000;

/* 0; -EDEADLK when nobody is left who could end what still runs: in a stepped engine, a deferred call. */
static int end_drain(weft_server *server, int64_t limit_ns)
{
    int rc = wait_closed(server, atomic_load(&server->hurried) ? weft_engine_now_ns(server->engine) : limit_ns);
    if (rc == -ETIMEDOUT) {
        cancel_running(server);
        rc = wait_closed(server, weft_engine_now_ns(server->engine) + unfinished_after_ns);
        if (rc == -ETIMEDOUT) {
            weft__server_tell_unfinished(server);
            rc = wait_closed(server, INT64_MAX);
        }
    }
    if (rc < 0)
        return rc;
    if (server->pool != NULL)
        weft__pool_stop(server->pool, NULL);
    atomic_store(&server->state, WEFT__SERVER_STOPPED);
    weft_log_info(server->options.log, "server stopped",
                  WEFT_FIELDS(WEFT_INT("calls", atomic_load(&server->calls_started))));
    return 0;
}

/* Whether this thread may wait for the server: 0; -ECHILD; -EDEADLK. */
static int check_may_wait(const weft_server *server)
{
    if (weft__engine_forked(server->engine))
        return -ECHILD;
    return weft__thread_is_loop() || weft__server_on_worker(server) ? -EDEADLK : 0;
}

int weft_server_stop_accepting(weft_server *server)
{
    int rc = check_may_wait(server);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&server->lock);
    if (atomic_load(&server->state) == WEFT__SERVER_NEW)
        rc = -EINVAL;
    else
        stop_listening(server);
    pthread_mutex_unlock(&server->lock);
    return rc;
}

int weft_server_stop(weft_server *server, int64_t grace_ms)
{
    if (grace_ms < -1)
        return -EINVAL;
    int rc = check_may_wait(server);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&server->lock);
    int64_t now = weft_engine_now_ns(server->engine);
    int64_t limit_ns =
        grace_ms == -1 || grace_ms > (INT64_MAX - now) / ns_per_ms ? INT64_MAX : now + grace_ms * ns_per_ms;
    switch (atomic_load(&server->state)) {
    case WEFT__SERVER_NEW:
        stop_listening(server);
        atomic_store(&server->state, WEFT__SERVER_STOPPED);
        break;
    case WEFT__SERVER_SERVING:
        weft_log_info(server->options.log, "server draining", WEFT_FIELDS(WEFT_INT("grace_ms", grace_ms)));
        begin_drain(server, limit_ns);
        rc = end_drain(server, limit_ns);
        break;
    case WEFT__SERVER_DRAINING: /* an earlier stop could not end it */
        rc = end_drain(server, limit_ns);
        break;
    case WEFT__SERVER_STARTING: /* holds the lock */
    case WEFT__SERVER_STOPPED:
        break;
    }
    pthread_mutex_unlock(&server->lock);
    return rc;
}

void weft_server_free(weft_server *server)
{
    if (server == NULL || weft__engine_forked(server->engine))
        return;
    if (weft_server_stop(server, 0) < 0) {
        weft_log_error(server->options.log, "weft_server_free cannot stop the server here: nothing is freed",
                       WEFT_NO_FIELDS);
        return;
    }
    if (server->transport != NULL)
        server->transport->vtable->destroy(server->transport);
    if (server->pool != NULL)
        weft__pool_free(server->pool);
    if (server->listener != NULL)
        weft__listener_free(server->listener);
    for (size_t i = 0; i < WEFT__LISTENER_MAX_SOCKETS; i++)
        if (server->tls[i] != NULL)
            server->tls[i]->vtable->unref(server->tls[i]);
    for (size_t i = 0; i < server->name_count; i++)
        free(server->names[i]);
    free(server->names);
    destroy_observers(server);
    weft__server_remove_methods(server, 0);
    free(server->services);
    for (size_t i = 0; i < server->owned_count; i++)
        free(server->owned[i]);
    free(server->owned);
    free(server->methods);
    free(server->transport_methods);
    weft__event_fini(&server->hurry);
    weft__event_fini(&server->closed);
#ifndef NDEBUG
    pthread_mutex_destroy(&server->deferred_lock);
#endif
    pthread_mutex_destroy(&server->observers_lock);
    pthread_mutex_destroy(&server->lock);
    weft__chain_fini(&server->chain);
    weft__engine_unuse(server->engine);
    weft__loop_unuse(server->options.loop);
    free(server);
}

int weft_server_read_stats(const weft_server *server, weft_server_stats *stats)
{
    weft_server_stats now = {
        .struct_size = stats->struct_size,
        .calls = atomic_load_explicit(&server->calls, memory_order_relaxed),
        .calls_started = atomic_load_explicit(&server->calls_started, memory_order_relaxed),
        .calls_handled = atomic_load_explicit(&server->calls_handled, memory_order_relaxed),
        .refused_connections = atomic_load_explicit(&server->refused_connections, memory_order_relaxed),
        .refused_calls = atomic_load_explicit(&server->refused_calls, memory_order_relaxed),
        .expired_calls = atomic_load_explicit(&server->expired_calls, memory_order_relaxed),
    };
    if (stats->struct_size == 0)
        return -EINVAL;
    bool started = atomic_load_explicit(&server->state, memory_order_acquire) >= WEFT__SERVER_SERVING;
    if (started && server->transport != NULL)
        now.connections = server->transport->vtable->connections(server->transport);
    if (started && server->pool != NULL)
        now.queued = weft__pool_queued(server->pool);
    if (started && server->listener != NULL)
        now.accept_failures = weft__listener_failures(server->listener);
    memcpy(stats, &now, stats->struct_size < sizeof now ? stats->struct_size : sizeof now);
    return 0;
}
