/* balancer.c: backends, snapshots and who waits for them.
 *
 * Design notes
 * - Picks read the snapshot without a lock; whatever changes (the list, a connection) makes a new one under the lock.
 * - A backend belongs to its endpoint, which is counted: the list has a reference while it is listed, each snapshot
 *   that names it has one, and each call on it. Who drops the last one closes its channel of the engine; when the
 *   engine has told the end of the watch, on a thread of its own, the backend is freed.
 * - Connections are kept up as long as an address is listed: a call is seldom the first to find out that one is gone.
 * - Nothing of the upper side is called with the lock held.
 */
#include "client/balancer.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"

static const int64_t ns_per_ms = 1000000;
static const int64_t repair_ns = 100000000;

enum {
    MAX_BUILD_SHARE = 10 /* snapshots are made in at most one tenth of the time */
};

static weft__balancer *from_base(weft__tchannel *base)
{
    return WEFT__CONTAINER_OF(base, weft__balancer, base);
}

static weft__backend *next_backend(const weft__balancer *balancer, const weft__backend *after)
{
    weft__list_node *node =
        after == NULL ? weft__list_first(&balancer->backends) : weft__list_next(&balancer->backends, &after->node);
    return node != NULL ? WEFT__CONTAINER_OF(node, weft__backend, node) : NULL;
}

/* ---- snapshots --------------------------------------------------------------------------------------------------- */

static void free_snapshot(weft__epoch_item *item)
{
    weft__snapshot *snapshot = WEFT__CONTAINER_OF(item, weft__snapshot, retired);
    if (snapshot->table != NULL)
        snapshot->picker->vtable->unbuild(snapshot->picker, snapshot->table);
    for (weft__list_node *node = weft__list_pop_front(&snapshot->left); node != NULL;
         node = weft__list_pop_front(&snapshot->left))
        weft__endpoint_unref(WEFT__CONTAINER_OF(node, weft__backend, leaving)->endpoint);
    free(snapshot);
}

/* How bad an endpoint may be to be picked. When there is none that is good enough, worse ones are better than none. */
enum standard {
    WELL,
    EJECTED,   /* too */
    UNHEALTHY, /* too, says the directory, or its checker */
    STANDARDS
};

/* What directory and checker say of one that is listed, and so has not lost its checker yet. */
static bool is_healthy(const weft__backend *backend)
{
    return backend->health != WEFT_INSTANCE_UNHEALTHY && weft__checker_verdict(backend->checker) != WEFT__VERDICT_ILL;
}

static bool is_usable(const weft__backend *backend, enum standard standard)
{
    return backend->listed && backend->state == WEFT__LINK_READY && backend->health != WEFT_INSTANCE_DRAINING &&
           weft__checker_verdict(backend->checker) != WEFT__VERDICT_AWAITED &&
           (standard >= EJECTED || !backend->outlier.ejected) && (standard >= UNHEALTHY || is_healthy(backend));
}

static void collect(const weft__balancer *balancer, weft__snapshot *snapshot, enum standard standard)
{
    for (weft__backend *backend = next_backend(balancer, NULL); backend != NULL;
         backend = next_backend(balancer, backend)) {
        if (is_usable(backend, standard))
            snapshot->endpoints[snapshot->count++] = backend->endpoint;
    }
}

static void free_balancer(weft__balancer *balancer)
{
    weft__snapshot *snapshot = atomic_load(&balancer->snapshot);
    if (snapshot != NULL)
        free_snapshot(&snapshot->retired);
    if (balancer->owns_picker)
        weft_picker_free(balancer->picker);
    weft__policies_fini(&balancer->policies);
    weft__table_fini(&balancer->listed);
    weft__health_checks_free(balancer->checks);
    weft__event_fini(&balancer->gone);
    pthread_mutex_destroy(&balancer->lock);
    weft__engine_unuse(balancer->engine);
    free(balancer->target);
    free(balancer->authority);
    free(balancer);
}

static weft__snapshot *empty_snapshot(size_t space)
{
    weft__snapshot *snapshot = calloc(1, sizeof *snapshot + space * sizeof(weft_endpoint *));
    if (snapshot != NULL)
        weft__list_init(&snapshot->left);
    return snapshot;
}

/* Of what is ready now; NULL: no memory. */
static weft__snapshot *make_snapshot(const weft__balancer *balancer)
{
    weft_picker *picker = balancer->picker;
    weft__snapshot *snapshot = empty_snapshot(balancer->backend_count);
    if (snapshot == NULL)
        return NULL;
    snapshot->picker = picker;
    snapshot->number = atomic_load(&balancer->snapshot)->number + 1;
    for (enum standard standard = WELL; standard < STANDARDS && snapshot->count == 0; standard++)
        collect(balancer, snapshot, standard);
    if (snapshot->count > 0 && picker->vtable->build != NULL &&
        picker->vtable->build(picker, snapshot->endpoints, snapshot->count, &snapshot->table) < 0) {
        free_snapshot(&snapshot->retired);
        return NULL;
    }
    return snapshot;
}

/* Why nothing is ready. A list that is empty, or cannot be had, has put down its own words. */
static void find_lack(weft__balancer *balancer)
{
    size_t listed = 0;
    size_t failed = 0;
    const char *last = "";
    for (weft__backend *backend = next_backend(balancer, NULL); backend != NULL;
         backend = next_backend(balancer, backend)) {
        if (!backend->listed)
            continue;
        listed++;
        if (backend->state == WEFT__LINK_BACKOFF)
            failed++;
        last = weft_endpoint_address(backend->endpoint);
    }
    if (listed == 0)
        return;
    balancer->lack = failed == listed ? WEFT__LACK_ALL : WEFT__LACK_CONNECTION;
    (void)snprintf(balancer->reason, sizeof balancer->reason, "none of %zu addresses can be reached (%s%s)", listed,
                   last, listed > 1 ? " and others" : "");
}

/* Has a background alarm come after a while: whether it will. Locked. */
static bool set_alarm(weft__balancer *balancer, weft__alarm *alarm, int64_t after_ns)
{
    weft_engine *engine = balancer->engine;
    int64_t at_ns = weft__clock_deadline_ns(weft_engine_now_ns(engine), after_ns);
    bool set = engine->vtable->alarm_set(engine, alarm, at_ns) == 0;
    balancer->users += set;
    return set;
}

/* Puts another snapshot in the place of the present one; with that go those that are listed no more. */
static void replace_snapshot(weft__balancer *balancer, weft__snapshot *next)
{
    weft__snapshot *old = atomic_exchange(&balancer->snapshot, next);
    for (weft__list_node *node = weft__list_pop_front(&balancer->leaving); node != NULL;
         node = weft__list_pop_front(&balancer->leaving))
        weft__list_push_back(&old->left, node);
    weft__epoch_retire(&balancer->epoch, &old->retired, free_snapshot);
}

static void renew_later(weft__balancer *balancer, int64_t after_ns)
{
    if (!balancer->closing && !balancer->later_set)
        balancer->later_set = set_alarm(balancer, &balancer->later, after_ns);
}

/* Makes the snapshot of what is ready now, and lets who waits try again. Unlocks. */
static void renew_and_unlock(weft__balancer *balancer)
{
    int64_t begun_ns = weft_engine_now_ns(balancer->engine);
    weft__snapshot *next = make_snapshot(balancer);
    find_lack(balancer);
    balancer->no_memory = next == NULL || (balancer->no_memory && balancer->listed.count == 0);
    if (next != NULL)
        replace_snapshot(balancer, next);
    else
        renew_later(balancer, repair_ns);
    balancer->built_ns = weft_engine_now_ns(balancer->engine);
    balancer->build_ns = balancer->built_ns - begun_ns;
    weft__list again;
    weft__waiters_take(balancer, &again);
    pthread_mutex_unlock(&balancer->lock);
    weft__waiters_call(&again);
}

/* The same, but not at once when snapshots are asked for faster than it is good to make them: of thousands of instances
 * that connect one by one, one in ten moments is enough. Unlocks. */
static void renew_soon_and_unlock(weft__balancer *balancer)
{
    int64_t next_ns = balancer->built_ns + MAX_BUILD_SHARE * balancer->build_ns;
    int64_t wait_ns = next_ns - weft_engine_now_ns(balancer->engine);
    if (wait_ns <= 0 || atomic_load(&balancer->snapshot)->count == 0) {
        renew_and_unlock(balancer);
        return;
    }
    renew_later(balancer, wait_ns);
    pthread_mutex_unlock(&balancer->lock);
}

/* Somebody who used the balancer is gone. Unlocks; the balancer may be freed. */
static void leave_and_unlock(weft__balancer *balancer)
{
    bool last = --balancer->users == 0 && balancer->closing;
    bool detached = balancer->detached;
    weft_engine *engine = balancer->engine;
    pthread_mutex_unlock(&balancer->lock);
    if (last && detached)
        free_balancer(balancer);
    else if (last)
        engine->vtable->post(engine, &balancer->gone);
}

static void on_later(weft__alarm *alarm)
{
    weft__balancer *balancer = WEFT__CONTAINER_OF(alarm, weft__balancer, later);
    pthread_mutex_lock(&balancer->lock);
    balancer->later_set = false;
    if (!balancer->closing) {
        renew_and_unlock(balancer);
        pthread_mutex_lock(&balancer->lock);
    }
    leave_and_unlock(balancer);
}

/* ---- outliers ---------------------------------------------------------------------------------------------------- */

/* Tells of those that were ejected, or are back, since it told last. Locked. */
static void log_ejections(weft__balancer *balancer)
{
    for (weft__backend *backend = next_backend(balancer, NULL); backend != NULL;
         backend = next_backend(balancer, backend)) {
        if (backend->outlier.ejected == backend->said_ejected)
            continue;
        const weft_log_field fields[] = {WEFT_STR("address", weft_endpoint_address(backend->endpoint)),
                                         WEFT_INT("times", backend->outlier.times)};
        backend->said_ejected = backend->outlier.ejected;
        if (backend->said_ejected) {
            atomic_fetch_add_explicit(&balancer->counters.ejections, 1, memory_order_relaxed);
            weft_log_warn(balancer->log, "an instance fails, or is slow: ejected", fields, 2);
        } else {
            atomic_store(&backend->ready_ns, weft_engine_now_ns(balancer->engine));
            weft_log_info(balancer->log, "an ejected instance is tried again", fields, 2);
        }
    }
}

static void on_judge(weft__alarm *alarm)
{
    weft__balancer *balancer = WEFT__CONTAINER_OF(alarm, weft__balancer, judge);
    bool changed = false;
    pthread_mutex_lock(&balancer->lock);
    weft__outlier **outliers = calloc(balancer->backend_count + 1, sizeof *outliers);
    size_t count = 0;
    for (weft__backend *backend = next_backend(balancer, NULL); outliers != NULL && backend != NULL;
         backend = next_backend(balancer, backend))
        if (backend->listed)
            outliers[count++] = &backend->outlier;
    if (outliers != NULL)
        changed = weft__outlier_judge(outliers, count, &balancer->outliers, weft_engine_now_ns(balancer->engine));
    free(outliers);
    log_ejections(balancer);
    if (!balancer->closing) {
        (void)set_alarm(balancer, &balancer->judge, balancer->outliers.interval_ms * ns_per_ms);
        if (changed) {
            renew_and_unlock(balancer);
            pthread_mutex_lock(&balancer->lock);
        }
    }
    leave_and_unlock(balancer);
}

/* An instance has failed too often in a row. */
static void eject(weft__balancer *balancer, weft__backend *backend)
{
    size_t count = 0;
    size_t ejected = 0;
    pthread_mutex_lock(&balancer->lock);
    for (const weft__backend *other = next_backend(balancer, NULL); other != NULL;
         other = next_backend(balancer, other)) {
        count += other->listed;
        ejected += other->listed && other->outlier.ejected;
    }
    int64_t now_ns = weft_engine_now_ns(balancer->engine);
    if (!backend->listed || balancer->closing ||
        !weft__outlier_eject(&backend->outlier, &balancer->outliers, count, ejected, now_ns)) {
        pthread_mutex_unlock(&balancer->lock);
        return;
    }
    log_ejections(balancer);
    renew_and_unlock(balancer);
}

/* ---- backends ---------------------------------------------------------------------------------------------------- */

/* Its connections and its checker have ended. */
static void free_backend(void *owner)
{
    weft__backend *backend = owner;
    weft__balancer *balancer = backend->balancer;
    weft__checker_free(backend->checker);
    weft__connections_fini(&backend->connections);
    weft__endpoint_free(backend->endpoint);
    free(backend->zone);
    pthread_mutex_lock(&balancer->lock);
    weft__list_remove(&backend->node);
    balancer->backend_count--;
    free(backend);
    leave_and_unlock(balancer);
}

static void on_connections_gone(void *owner)
{
    weft__backend *backend = owner;
    if (backend->checker != NULL)
        weft__checker_leave(backend->checker); /* free_backend follows */
    else
        free_backend(backend);
}

/* The checker has found out something. */
static void on_verdict(void *owner)
{
    weft__backend *backend = owner;
    weft__balancer *balancer = backend->balancer;
    pthread_mutex_lock(&balancer->lock);
    if (backend->listed && !balancer->closing)
        renew_soon_and_unlock(balancer);
    else
        pthread_mutex_unlock(&balancer->lock);
}

/* A connection of its has another state. */
static void on_connections_changed(void *owner, bool failed)
{
    weft__backend *backend = owner;
    weft__balancer *balancer = backend->balancer;
    weft__checker_link(backend->checker,
                       atomic_load(&weft__connections_first(&backend->connections)->state) == WEFT__LINK_READY);
    pthread_mutex_lock(&balancer->lock);
    weft__link_state state = weft__connections_state(&backend->connections);
    bool changes = backend->state != state && !balancer->closing;
    if (changes)
        backend->state_ns = weft_engine_now_ns(balancer->engine);
    if (changes && state == WEFT__LINK_READY)
        atomic_store(&backend->ready_ns, backend->state_ns);
    backend->state = state;
    weft_watch *watch = backend->listed && failed ? balancer->watch : NULL;
    if (watch != NULL)
        atomic_fetch_add(&balancer->hinting, 1);
    if (changes)
        renew_soon_and_unlock(balancer);
    else
        pthread_mutex_unlock(&balancer->lock);
    for (size_t left = atomic_load(&balancer->place_waiters); left > 0; left--) /* each once: they may want another */
        if (!weft__connections_have_place(&backend->connections) || !weft__waiters_call_next(balancer))
            break;
    if (watch != NULL && balancer->resolver->vtable->hint != NULL)
        balancer->resolver->vtable->hint(balancer->resolver, watch);
    if (watch != NULL)
        atomic_fetch_sub(&balancer->hinting, 1);
}

static const weft__connections_events connection_events = {.changed = on_connections_changed,
                                                           .gone = on_connections_gone};

/* The last reference of an endpoint is gone. */
static void on_unused(weft_endpoint *endpoint)
{
    weft__backend *backend = endpoint->owner;
    weft__connections_close(&backend->connections);
}

/* A new endpoint starts as the others do on average. */
static void introduce(const weft__balancer *balancer, weft_endpoint *endpoint)
{
    const weft__snapshot *now = atomic_load(&balancer->snapshot);
    weft_picker *picker = balancer->picker;
    if (picker->vtable->join != NULL)
        picker->vtable->join(picker, endpoint, now->endpoints, now->count);
}

/* NULL: no memory. Locked. */
static weft__backend *add_backend(weft__balancer *balancer, const weft_address *address)
{
    weft__backend *backend = calloc(1, sizeof *backend);
    if (backend == NULL)
        return NULL;
    if (weft__endpoint_new(&backend->endpoint, address, balancer->picker->vtable->endpoint_size) < 0)
        goto fail_endpoint;
    backend->balancer = balancer;
    backend->endpoint->owner = backend;
    backend->endpoint->unused = on_unused;
    backend->state = WEFT__LINK_IDLE;
    backend->state_ns = weft_engine_now_ns(balancer->engine);
    const char *target = backend->endpoint->address;
    if (weft__connections_init(&backend->connections, &balancer->connections, target, &connection_events, backend) < 0)
        goto fail_connections;
    const weft__checked checked = {target, weft__connections_first(&backend->connections)->transport, backend,
                                   on_verdict, free_backend};
    if (weft__checker_new(&backend->checker, balancer->checks, &checked) < 0)
        goto fail_checker;
    if (weft__table_put(&balancer->listed, weft_sv_from(target), backend) < 0)
        goto fail_table;
    if (weft__connections_begin(&backend->connections) < 0)
        goto fail_begin;
    backend->listed = true;
    weft__list_push_back(&balancer->backends, &backend->node);
    balancer->backend_count++;
    balancer->users++;
    introduce(balancer, backend->endpoint);
    return backend;

fail_begin:
    weft__table_remove(&balancer->listed, weft_sv_from(target));
fail_table:
    weft__checker_free(backend->checker);
fail_checker:
    weft__connections_fini(&backend->connections);
fail_connections:
    weft__endpoint_free(backend->endpoint);
fail_endpoint:
    free(backend);
    return NULL;
}

/* Takes a backend off the list. Its last call, or the snapshot that names it, lets it go. Locked. */
static void unlist(weft__balancer *balancer, weft__backend *backend)
{
    backend->listed = false;
    weft__checker_close(backend->checker);
    weft__table_remove(&balancer->listed, weft_sv_from(backend->endpoint->address));
    weft__list_push_back(&balancer->leaving, &backend->leaving);
}

/* Zones are only looked at: without memory for one it is not known. Locked. */
static void set_zone(weft__backend *backend, const char *zone)
{
    if (zone != NULL && backend->zone != NULL && strcmp(zone, backend->zone) == 0)
        return;
    free(backend->zone);
    backend->zone = zone != NULL ? strdup(zone) : NULL;
}

/* ---- what the resolver says -------------------------------------------------------------------------------------- */

static weft__balancer *from_sink(weft_sink *sink)
{
    return WEFT__CONTAINER_OF(sink, weft__balancer, sink);
}

static void on_list(weft_sink *sink, const weft_resolution *resolution)
{
    weft__balancer *balancer = from_sink(sink);
    pthread_mutex_lock(&balancer->lock);
    uint64_t number = ++balancer->list_number;
    for (size_t i = 0; i < resolution->address_count; i++) {
        const weft_address *address = &resolution->addresses[i];
        weft__backend *backend = weft__table_find(&balancer->listed, weft_sv_from(address->address));
        if (backend == NULL)
            backend = add_backend(balancer, address);
        if (backend == NULL) {
            weft_log_error(balancer->log, "no memory for an address",
                           WEFT_FIELDS(WEFT_STR("address", address->address)));
            continue; /* the next list, or a hint, brings it again */
        }
        weft__endpoint_set_weight(backend->endpoint, address->weight);
        backend->health = address->health;
        set_zone(backend, address->zone);
        backend->list_number = number;
    }
    for (weft__backend *backend = next_backend(balancer, NULL), *after; backend != NULL; backend = after) {
        after = next_backend(balancer, backend);
        if (backend->listed && backend->list_number != number)
            unlist(balancer, backend);
    }
    if (balancer->listed.count == 0) {
        balancer->lack = WEFT__LACK_ALL;
        balancer->began = false; /* the next call tries again */
        balancer->no_memory = resolution->address_count > 0;
        (void)snprintf(balancer->reason, sizeof balancer->reason, "the service has no instance");
    }
    if (balancer->resolver != NULL)
        weft__policies_update(&balancer->policies, resolution->service_config);
    renew_and_unlock(balancer);
}

void weft__balancer_begin(weft__balancer *balancer)
{
    const weft_address address = {.address = balancer->target};
    const weft_resolution list = {.struct_size = sizeof list, .addresses = &address, .address_count = 1};
    if (balancer->resolver != NULL)
        return;
    pthread_mutex_lock(&balancer->lock);
    bool begins = !balancer->began;
    balancer->began = true;
    pthread_mutex_unlock(&balancer->lock);
    if (begins)
        on_list(&balancer->sink, &list);
}

static void on_fail(weft_sink *sink, const char *text)
{
    weft__balancer *balancer = from_sink(sink);
    pthread_mutex_lock(&balancer->lock);
    if (balancer->listed.count > 0) { /* the last list stays */
        pthread_mutex_unlock(&balancer->lock);
        return;
    }
    balancer->lack = WEFT__LACK_ALL;
    (void)snprintf(balancer->reason, sizeof balancer->reason, "%s", text);
    renew_and_unlock(balancer);
}

/* ---- picking ----------------------------------------------------------------------------------------------------- */

weft_pick weft__balancer_pick(weft__balancer *balancer, weft_pick_args *args, weft__backend **out, uint64_t *seen)
{
    weft_pick pick = WEFT_PICK_QUEUE;
    weft_endpoint *endpoint = NULL;
    weft__epoch_slot *slot = weft__epoch_enter();
    const weft__snapshot *snapshot = atomic_load(&balancer->snapshot);
    *seen = snapshot->number;
    if (snapshot->count > 0) {
        args->endpoints = snapshot->endpoints;
        args->endpoint_count = snapshot->count;
        args->table = snapshot->table;
        pick = balancer->picker->vtable->pick(balancer->picker, args, &endpoint);
        if (pick == WEFT_PICK_ENDPOINT) {
            weft__endpoint_ref(endpoint);
            atomic_fetch_add_explicit(&endpoint->calls, 1, memory_order_relaxed);
        }
    }
    weft__epoch_leave(slot);
    if (pick == WEFT_PICK_ENDPOINT)
        *out = endpoint->owner;
    return pick;
}

void weft__balancer_done(weft__backend *backend, weft__connection *connection, const weft_pick_result *result)
{
    weft_picker *picker = backend->balancer->picker;
    weft_endpoint *endpoint = backend->endpoint;
    if (picker->vtable->done != NULL)
        picker->vtable->done(picker, endpoint, result);
    bool overtaken = result->code == WEFT_CANCELLED && !result->from_peer; /* neither a success nor a failure */
    if (!result->caller_cancelled && !overtaken &&
        weft__outlier_count(&backend->outlier, &backend->balancer->outliers, result->code, result->latency_ns))
        eject(backend->balancer, backend);
    atomic_fetch_sub_explicit(&endpoint->calls, 1, memory_order_relaxed);
    if (connection != NULL)
        weft__connections_give(connection);
    if (connection != NULL)
        (void)weft__waiters_call_next(backend->balancer);
}

weft__backend *weft__balancer_failed(weft__balancer *balancer)
{
    weft__backend *found = NULL;
    pthread_mutex_lock(&balancer->lock);
    for (weft__backend *backend = next_backend(balancer, NULL); backend != NULL;
         backend = next_backend(balancer, backend))
        if (backend->listed && backend->state == WEFT__LINK_BACKOFF)
            found = backend;
    if (found != NULL)
        weft__endpoint_ref(found->endpoint);
    pthread_mutex_unlock(&balancer->lock);
    return found;
}

void weft__balancer_let_go(weft__backend *backend)
{
    weft__endpoint_unref(backend->endpoint);
}

/* ---- the channel of the seam ------------------------------------------------------------------------------------- */

static void destroy(weft__tchannel *base)
{
    weft__balancer *balancer = from_base(base);
    weft_engine *engine = balancer->engine;
    bool waits = !weft__thread_is_loop();
    pthread_mutex_lock(&balancer->lock);
    weft_watch *watch = balancer->watch;
    balancer->watch = NULL;
    pthread_mutex_unlock(&balancer->lock);
    while (atomic_load(&balancer->hinting) > 0) /* it does not block */
        (void)sched_yield();
    if (watch != NULL)
        balancer->resolver->vtable->unwatch(balancer->resolver, watch);
    pthread_mutex_lock(&balancer->lock);
    balancer->closing = true;
    balancer->detached = !waits;
    balancer->users++; /* this function */
    balancer->users -= engine->vtable->alarm_cancel(engine, &balancer->later);
    balancer->users -= engine->vtable->alarm_cancel(engine, &balancer->judge);
    for (weft__backend *backend = next_backend(balancer, NULL); backend != NULL;
         backend = next_backend(balancer, backend))
        if (backend->listed)
            unlist(balancer, backend);
    replace_snapshot(balancer, NULL); /* no call picks any more */
    weft__epoch_fini(&balancer->epoch);
    leave_and_unlock(balancer);
    if (!waits)
        return;
    (void)weft__engine_wait(engine, &balancer->gone, INT64_MAX);
    pthread_mutex_lock(&balancer->lock); /* the last user may still hold it */
    pthread_mutex_unlock(&balancer->lock);
    free_balancer(balancer);
}

void weft__balancer_stats(weft__tchannel *base, weft_channel_stats *out)
{
    weft__balancer *balancer = from_base(base);
    pthread_mutex_lock(&balancer->lock);
    for (const weft__backend *backend = next_backend(balancer, NULL); backend != NULL;
         backend = next_backend(balancer, backend)) {
        out->connections += weft__connections_ready(&backend->connections);
        if (!backend->listed)
            continue;
        out->instances++;
        out->ejected += backend->outlier.ejected;
    }
    out->ready = atomic_load(&balancer->snapshot)->count;
    out->waiting = (uint64_t)balancer->waiter_count;
    pthread_mutex_unlock(&balancer->lock);
    weft__counters *counters = &balancer->counters;
    out->waits = atomic_load_explicit(&counters->waits, memory_order_relaxed);
    out->waited_ns = atomic_load_explicit(&counters->waited_ns, memory_order_relaxed);
    out->longest_wait_ns = atomic_load_explicit(&counters->longest_ns, memory_order_relaxed);
    out->refused = atomic_load_explicit(&counters->refused, memory_order_relaxed);
    out->retries = atomic_load_explicit(&counters->retries, memory_order_relaxed);
    out->ejections = atomic_load_explicit(&counters->ejections, memory_order_relaxed);
}

static weft_link_state state_of(weft__link_state state)
{
    switch (state) {
    case WEFT__LINK_CONNECTING:
        return WEFT_LINK_CONNECTING;
    case WEFT__LINK_READY:
        return WEFT_LINK_READY;
    case WEFT__LINK_BACKOFF:
        return WEFT_LINK_BACKOFF;
    case WEFT__LINK_IDLE:
        break;
    }
    return WEFT_LINK_IDLE;
}

static weft_instance_check check_of(const weft__backend *backend)
{
    if (backend->checker == NULL)
        return WEFT_CHECKED_NEVER;
    switch (weft__checker_verdict(backend->checker)) {
    case WEFT__VERDICT_AWAITED:
        return WEFT_CHECKED_NOT_YET;
    case WEFT__VERDICT_ILL:
        return WEFT_CHECKED_UNHEALTHY;
    case WEFT__VERDICT_WELL:
        break;
    }
    return WEFT_CHECKED_HEALTHY;
}

static int64_t latency_of(const weft__backend *backend, int64_t now_ns)
{
    weft_picker *picker = backend->balancer->picker;
    const weft_picker_vtable *vtable = picker->vtable; /* of a program that may be older than this library */
    bool has_it = vtable->struct_size >= offsetof(weft_picker_vtable, latency_ns) + sizeof vtable->latency_ns;
    return has_it && vtable->latency_ns != NULL ? vtable->latency_ns(picker, backend->endpoint, now_ns) : 0;
}

/* NULL: no memory. Locked. */
static const weft_endpoint_info *tell_of(const weft__backend *backend, weft_arena *arena, int64_t now_ns)
{
    weft_endpoint_info *info = weft_arena_zalloc(arena, sizeof *info);
    if (info == NULL)
        return NULL;
    info->struct_size = sizeof *info;
    info->address = weft_arena_strdup(arena, weft_endpoint_address(backend->endpoint));
    if (backend->zone != NULL)
        info->zone = weft_arena_strdup(arena, backend->zone);
    info->weight = weft_endpoint_weight(backend->endpoint);
    info->state = state_of(backend->state);
    info->since_ns = backend->state_ns;
    info->health = backend->health;
    info->check = check_of(backend);
    info->ejected = backend->outlier.ejected;
    info->calls = weft_endpoint_calls(backend->endpoint);
    info->connections = (uint32_t)weft__connections_ready(&backend->connections);
    info->latency_ns = latency_of(backend, now_ns);
    return weft_arena_failed(arena) ? NULL : info;
}

int weft__balancer_endpoints(weft__tchannel *base, weft_arena *arena, weft_endpoint_list *out)
{
    weft__balancer *balancer = from_base(base);
    int64_t now_ns = weft_engine_now_ns(balancer->engine);
    pthread_mutex_lock(&balancer->lock);
    size_t count = 0;
    const weft_endpoint_info **all = weft_arena_calloc(arena, balancer->listed.count, sizeof(const void *));
    for (const weft__backend *backend = next_backend(balancer, NULL); all != NULL && backend != NULL;
         backend = next_backend(balancer, backend))
        if (backend->listed)
            all[count++] = tell_of(backend, arena, now_ns);
    bool callable = atomic_load(&balancer->snapshot)->count > 0;
    out->endpoints = all;
    out->count = count;
    out->awaited = balancer->lack == WEFT__LACK_LIST;
    out->reason = weft_arena_strdup(arena, callable ? "" : balancer->reason);
    pthread_mutex_unlock(&balancer->lock);
    return weft_arena_failed(arena) ? -ENOMEM : 0;
}

void weft__balancer_retries(weft__tchannel *base)
{
    atomic_fetch_add_explicit(&from_base(base)->counters.retries, 1, memory_order_relaxed);
}

weft__policies *weft__balancer_policies(weft__tchannel *base)
{
    return &from_base(base)->policies;
}

static const weft__tchannel_vtable vtable = {
    .call_new = weft__balanced_call_new,
    .destroy = destroy,
};

static int init(weft__balancer *balancer, const weft__channel_config *config)
{
    int rc = -pthread_mutex_init(&balancer->lock, NULL);
    if (rc < 0)
        return rc;
    rc = weft__event_init(&balancer->gone);
    if (rc < 0) {
        pthread_mutex_destroy(&balancer->lock);
        return rc;
    }
    weft__epoch_init(&balancer->epoch);
    weft__table_init(&balancer->listed);
    weft__list_init(&balancer->backends);
    weft__list_init(&balancer->leaving);
    weft__list_init(&balancer->waiters);
    balancer->base.vtable = &vtable;
    balancer->log = config->log;
    balancer->later = (weft__alarm){.run = on_later, .background = true};
    balancer->judge = (weft__alarm){.run = on_judge, .background = true};
    balancer->lack = WEFT__LACK_LIST;
    (void)snprintf(balancer->reason, sizeof balancer->reason, "the addresses are not known yet");
    return 0;
}

/* Sets the first alarm: from then on it cannot fail. 0; -EAGAIN; -ENOMEM. */
static int start_alarms(weft__balancer *balancer)
{
    weft_engine *engine = balancer->engine;
    int64_t at_ns = weft_engine_now_ns(engine) + balancer->outliers.interval_ms * ns_per_ms;
    int rc = engine->vtable->alarm_set(engine, &balancer->judge, at_ns);
    balancer->users += rc == 0;
    return rc;
}

/* What all calls say in :authority, and the name that certificates must have: the service's, whatever a directory says.
 * It is what the target asks for, without the labels of an SRV name ("_grpc._tcp."), which no certificate has. NULL:
 * each address its own, where the target is a list of them or a file. */
static const char *authority_of(const weft__channel_config *config, const weft__balancer_config *balancing)
{
    const char *name = balancing->target->path;
    if (config->authority != NULL || balancing->resolver == NULL) /* else the engine finds it in the target */
        return config->authority;
    while (*name == '_' && strchr(name, '.') != NULL)
        name = strchr(name, '.') + 1;
    return *name != '\0' && strpbrk(name, ",/;") == NULL ? name : NULL;
}

/* Health checks: those that the program asks for, else those that the service config does. 0; -errno. */
static int make_checks(weft__balancer *balancer, const weft__channel_config *config,
                       const weft__balancer_config *balancing, const weft__policy *policy)
{
    weft_health_check_options watch;
    const weft_health_check_options *options = balancing->health_check;
    if (options == NULL && policy != NULL && policy->config->health_service != NULL) {
        const weft_health_check_options asked = weft__health_check_of_service(policy->config->health_service);
        int rc = weft__health_check_options(&watch, &asked);
        if (rc < 0)
            return rc;
        options = &watch;
    }
    return options == NULL
               ? 0
               : weft__health_checks_new(&balancer->checks, balancer->engine, config, options, balancer->authority);
}

/* What there is memory for, or no memory. 0; -EINVAL a bad service config, which is logged. */
static int make_parts(weft__balancer *balancer, const weft__channel_config *config,
                      const weft__balancer_config *balancing)
{
    weft__policy *policy = NULL;
    int rc = 0;
    if (balancing->service_config != NULL)
        rc = weft__policy_new(&policy, balancing->service_config, config->log);
    weft__policies_init(&balancer->policies, policy, config->log);
    if (rc < 0)
        return rc == -EFBIG ? -EINVAL : rc;
    const char *authority = authority_of(config, balancing);
    const char *target = balancing->resolver == NULL ? config->target : NULL;
    balancer->authority = authority != NULL ? strdup(authority) : NULL;
    balancer->target = target != NULL ? strdup(target) : NULL;
    weft__snapshot *none = empty_snapshot(0);
    atomic_init(&balancer->snapshot, none);
    balancer->connections.channel.authority = balancer->authority;
    if (none == NULL || (authority != NULL && balancer->authority == NULL) ||
        (target != NULL && balancer->target == NULL))
        return -ENOMEM;
    balancer->picker = balancing->picker;
    if (balancer->picker == NULL && policy != NULL)
        rc = weft__policy_picker(policy, &balancer->picker);
    if (balancer->picker == NULL && rc == 0)
        rc = weft_p2c_new(&balancer->picker, NULL);
    balancer->owns_picker = balancing->picker == NULL;
    return rc == 0 ? make_checks(balancer, config, balancing, policy) : rc;
}

int weft__balancer_new(weft_engine *engine, const weft__channel_config *config, const weft__balancer_config *balancing,
                       weft__tchannel **out, char *reason, size_t reason_size)
{
    weft__balancer *balancer = calloc(1, sizeof *balancer);
    if (balancer == NULL)
        return -ENOMEM;
    int rc = weft__outlier_options(&balancer->outliers, balancing->outliers);
    if (rc == 0)
        rc = weft__engine_use(engine);
    if (rc < 0)
        goto fail_use;
    balancer->engine = engine;
    rc = init(balancer, config);
    if (rc < 0)
        goto fail_init;
    balancer->max_waiting = balancing->max_waiting;
    balancer->slow_start_ns = balancing->slow_start_ms * ns_per_ms;
    weft__gate_init(&balancer->running, balancing->max_running);
    balancer->connections = (weft__connections_config){.engine = engine,
                                                       .channel = *config,
                                                       .max_streams = balancing->max_streams,
                                                       .max_connections = (size_t)balancing->max_connections};
    balancer->resolver = balancing->resolver;
    balancer->sink = (weft_sink){.publish = on_list, .fail = on_fail, .engine = engine, .log = config->log};
    rc = make_parts(balancer, config, balancing);
    weft_watch *watch = NULL;
    if (rc == 0 && balancing->resolver != NULL)
        rc = balancing->resolver->vtable->watch(balancing->resolver, balancing->target, &balancer->sink, &watch, reason,
                                                reason_size);
    if (rc < 0) {
        free_balancer(balancer);
        return rc;
    }
    pthread_mutex_lock(&balancer->lock);
    balancer->watch = watch;
    rc = start_alarms(balancer);
    pthread_mutex_unlock(&balancer->lock);
    if (rc < 0) {
        destroy(&balancer->base);
        return rc;
    }
    *out = &balancer->base;
    return 0;

fail_init:
    weft__engine_unuse(engine);
fail_use:
    free(balancer);
    return rc;
}
