/* waiters.c: calls that wait for a connection, or for a place on one.
 *
 * Design notes
 * - What waits leaves the list by one party: a new snapshot, a place, its alarm, or who forgets it. The alarm decides:
 *   who cannot cancel it any more leaves the waiter to it. Nothing of the upper side is called with the lock held.
 * - Who waits for a place counts itself and then looks whether there is one; who gives one back does that first and
 *   then looks at the count. So one of them sees the other.
 */
#include <errno.h>
#include <stdio.h>

#include "client/balancer.h"

static void remove_from_list(weft__waiter *waiter)
{
    weft__balancer *balancer = waiter->balancer;
    weft__list_remove(&waiter->node);
    balancer->waiter_count--;
    waiter->waits = false;
    if (waiter->for_place)
        atomic_fetch_sub(&balancer->place_waiters, 1);
}

static bool take_from_list(weft__waiter *waiter)
{
    weft_engine *engine = waiter->balancer->engine;
    if (waiter->deadline_ns != INT64_MAX && !engine->vtable->alarm_cancel(engine, &waiter->alarm))
        return false; /* it is the alarm's */
    remove_from_list(waiter);
    return true;
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static void on_late(weft__alarm *alarm)
{
    weft__waiter *waiter = WEFT__CONTAINER_OF(alarm, weft__waiter, alarm);
    weft__balancer *balancer = waiter->balancer;
    pthread_mutex_lock(&balancer->lock);
    remove_from_list(waiter);
    pthread_mutex_unlock(&balancer->lock);
    waiter->late(waiter);
}

static bool has_place(const weft__tried *full)
{
    for (size_t i = 0; i < full->count; i++) {
        const weft__backend *backend = full->endpoints[i]->owner;
        if (weft__connections_have_place(&backend->connections))
            return true;
    }
    return false;
}

int weft__balancer_wait(weft__balancer *balancer, weft__waiter *waiter, const weft__tried *full, bool patient,
                        uint64_t seen, char *reason)
{
    weft_engine *engine = balancer->engine;
    int rc = 0;
    waiter->balancer = balancer;
    waiter->alarm.run = on_late;
    waiter->only_ready = patient;
    weft__balancer_begin(balancer);
    pthread_mutex_lock(&balancer->lock);
    (void)snprintf(reason, sizeof balancer->reason, "%s", balancer->reason);
    const weft__snapshot *now = atomic_load(&balancer->snapshot);
    if (waiter->for_place)
        atomic_fetch_add(&balancer->place_waiters, 1); /* before it looks: who gives one back sees it, or is seen */
    if (atomic_load(&waiter->cancelled))
        rc = -ECANCELED;
    else if (balancer->no_memory && now->count == 0)
        rc = -ENOMEM;
    else if (now->number != seen || (waiter->for_place && has_place(full)))
        rc = -EAGAIN;
    else if (!waiter->for_place && balancer->lack == WEFT__LACK_ALL && !patient)
        rc = -EHOSTUNREACH;
    else if (balancer->waiter_count >= balancer->max_waiting)
        rc = -EUSERS;
    else if (waiter->deadline_ns != INT64_MAX)
        rc = engine->vtable->alarm_set(engine, &waiter->alarm, waiter->deadline_ns);
    if (rc == 0) {
        weft__list_push_back(&balancer->waiters, &waiter->node);
        balancer->waiter_count++;
        waiter->waits = true;
    } else if (waiter->for_place) {
        atomic_fetch_sub(&balancer->place_waiters, 1);
    }
    pthread_mutex_unlock(&balancer->lock);
    if (rc == -EUSERS)
        atomic_fetch_add_explicit(&balancer->counters.refused, 1, memory_order_relaxed);
    return rc;
}

void weft__waiters_take(weft__balancer *balancer, weft__list *out)
{
    bool all = atomic_load(&balancer->snapshot)->count > 0 || balancer->no_memory;
    weft__list_node *after;
    weft__list_init(out);
    for (weft__list_node *node = weft__list_first(&balancer->waiters); node != NULL; node = after) {
        weft__waiter *waiter = WEFT__CONTAINER_OF(node, weft__waiter, node);
        after = weft__list_next(&balancer->waiters, node);
        if ((all || (balancer->lack == WEFT__LACK_ALL && !waiter->only_ready)) && take_from_list(waiter))
            weft__list_push_back(out, &waiter->node);
    }
}

void weft__waiters_call(weft__list *taken)
{
    for (weft__list_node *node = weft__list_pop_front(taken); node != NULL; node = weft__list_pop_front(taken)) {
        weft__waiter *waiter = WEFT__CONTAINER_OF(node, weft__waiter, node);
        waiter->again(waiter);
    }
}

bool weft__waiters_call_next(weft__balancer *balancer)
{
    weft__waiter *next = NULL;
    if (atomic_load(&balancer->place_waiters) == 0)
        return false;
    pthread_mutex_lock(&balancer->lock);
    for (weft__list_node *node = weft__list_first(&balancer->waiters); node != NULL;
         node = weft__list_next(&balancer->waiters, node)) {
        weft__waiter *waiter = WEFT__CONTAINER_OF(node, weft__waiter, node);
        if (waiter->for_place && take_from_list(waiter)) {
            next = waiter;
            break;
        }
    }
    pthread_mutex_unlock(&balancer->lock);
    if (next != NULL)
        next->again(next);
    return next != NULL;
}

void weft__balancer_waited(weft__balancer *balancer, int64_t ns)
{
    weft__counters *counters = &balancer->counters;
    int64_t longest = atomic_load_explicit(&counters->longest_ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&counters->waits, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counters->waited_ns, ns, memory_order_relaxed);
    while (ns > longest && !atomic_compare_exchange_weak_explicit(&counters->longest_ns, &longest, ns,
                                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

bool weft__balancer_forget(weft__waiter *waiter)
{
    weft__balancer *balancer = waiter->balancer;
    pthread_mutex_lock(&balancer->lock);
    bool forgotten = waiter->waits && take_from_list(waiter);
    pthread_mutex_unlock(&balancer->lock);
    return forgotten;
}

int weft__balancer_connect(weft__tchannel *base, weft__waiter *waiter)
{
    weft__balancer *balancer = WEFT__CONTAINER_OF(base, weft__balancer, base);
    char reason[sizeof balancer->reason];
    const weft__tried none = {.count = 0};
    int rc = -EAGAIN;
    while (rc == -EAGAIN) {
        pthread_mutex_lock(&balancer->lock);
        const weft__snapshot *now = atomic_load(&balancer->snapshot);
        uint64_t seen = now->number;
        bool ready = now->count > 0;
        pthread_mutex_unlock(&balancer->lock);
        rc = ready ? 1 : weft__balancer_wait(balancer, waiter, &none, true, seen, reason);
    }
    return rc;
}
