/* epoch.c: one clock of epochs and one list of slots for the whole process.
 *
 * Design notes
 * - A reader writes the present epoch into its slot before it loads the pointer, and a writer replaces the pointer
 *   before it moves the epoch on and looks at the slots. Both are sequentially consistent, so one sees the other: a
 *   reader whose slot the writer did not see loads the new pointer.
 * - Slots are never freed, but used again by other threads when theirs ends. The first are static: few programs have
 *   more threads, and theirs find one without an allocation.
 */
#include "base/epoch.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>

enum {
    MAX_LIMBO = 16,
    STATIC_SLOTS = 128,
    CACHE_LINE = 64
};

struct weft__epoch_slot {
    _Alignas(CACHE_LINE) atomic_uint_least64_t since; /* 0: does not read */
    atomic_bool taken;
    struct weft__epoch_slot *next;
};

static atomic_uint_least64_t now = 1;
static _Atomic(weft__epoch_slot *) slots;
static pthread_key_t key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static _Thread_local weft__epoch_slot *own;

static void give_back(void *slot)
{
    own = NULL;
    atomic_store(&((weft__epoch_slot *)slot)->taken, false);
}

static void make_key(void)
{
    (void)pthread_key_create(&key, give_back);
}

static weft__epoch_slot *take_spare(void)
{
    for (weft__epoch_slot *slot = atomic_load(&slots); slot != NULL; slot = slot->next) {
        bool taken = false;
        if (atomic_compare_exchange_strong(&slot->taken, &taken, true))
            return slot;
    }
    return NULL;
}

static weft__epoch_slot *make_slot(void)
{
    static weft__epoch_slot first[STATIC_SLOTS];
    static atomic_uint used;
    weft__epoch_slot *slot = NULL;
    if (atomic_load(&used) < STATIC_SLOTS) {
        unsigned index = atomic_fetch_add(&used, 1);
        slot = index < STATIC_SLOTS ? &first[index] : NULL;
    }
    if (slot == NULL)
        slot = aligned_alloc(CACHE_LINE, sizeof *slot);
    if (slot == NULL)
        return NULL;
    atomic_init(&slot->since, 0);
    atomic_init(&slot->taken, true);
    slot->next = atomic_load(&slots);
    while (!atomic_compare_exchange_weak(&slots, &slot->next, slot)) {
    }
    return slot;
}

static weft__epoch_slot *find_slot(void)
{
    (void)pthread_once(&key_once, make_key);
    weft__epoch_slot *slot = take_spare();
    while (slot == NULL) {
        slot = make_slot();
        if (slot == NULL) {
            (void)sched_yield();
            slot = take_spare();
        }
    }
    (void)pthread_setspecific(key, slot);
    own = slot;
    return slot;
}

weft__epoch_slot *weft__epoch_enter(void)
{
    weft__epoch_slot *slot = own != NULL ? own : find_slot();
    atomic_store(&slot->since, atomic_load(&now));
    return slot;
}

void weft__epoch_leave(weft__epoch_slot *slot)
{
    atomic_store_explicit(&slot->since, 0, memory_order_release);
}

/* The oldest epoch that somebody reads in. */
static uint64_t oldest(void)
{
    uint64_t least = UINT64_MAX;
    for (weft__epoch_slot *slot = atomic_load(&slots); slot != NULL; slot = slot->next) {
        uint64_t since = atomic_load(&slot->since);
        if (since != 0 && since < least)
            least = since;
    }
    return least;
}

static void release_before(weft__epoch *epoch, uint64_t limit)
{
    weft__epoch_item **at = &epoch->limbo;
    while (*at != NULL) {
        weft__epoch_item *item = *at;
        if (item->epoch >= limit) {
            at = &item->next;
            continue;
        }
        *at = item->next;
        epoch->limbo_count--;
        item->release(item);
    }
}

void weft__epoch_init(weft__epoch *epoch)
{
    *epoch = (weft__epoch){NULL, 0};
}

void weft__epoch_fini(weft__epoch *epoch)
{
    release_before(epoch, UINT64_MAX);
}

void weft__epoch_retire(weft__epoch *epoch, weft__epoch_item *item, void (*release)(weft__epoch_item *item))
{
    item->release = release;
    item->epoch = atomic_fetch_add(&now, 1);
    item->next = epoch->limbo;
    epoch->limbo = item;
    epoch->limbo_count++;
    release_before(epoch, oldest());
    while (epoch->limbo_count > MAX_LIMBO) {
        (void)sched_yield();
        release_before(epoch, oldest());
    }
}
