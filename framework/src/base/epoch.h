/* base/epoch.h: reading what others replace, without a lock.
 *
 *     weft__epoch_slot *slot = weft__epoch_enter();
 *     const struct snapshot *now = atomic_load(&current);
 *     …                                                       // `now` stays as it is
 *     weft__epoch_leave(slot);
 *
 *     struct snapshot *old = atomic_exchange(&current, next);  // one writer at a time
 *     weft__epoch_retire(&epoch, &old->retired, free_snapshot);
 *
 * Each thread has a slot, in which it says since when it reads. What was replaced is freed when no thread reads since
 * before. Between enter and leave a thread does not block.
 * Source: Fraser, "Practical lock-freedom", 2004, section 5.2.3 (epoch-based reclamation).
 */
#ifndef WEFT_BASE_EPOCH_H
#define WEFT_BASE_EPOCH_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/version.h>

typedef struct weft__epoch_slot weft__epoch_slot;

/* Lies in what is replaced. */
typedef struct weft__epoch_item {
    struct weft__epoch_item *next;
    void (*release)(struct weft__epoch_item *item);
    uint64_t epoch; /* the last in which it could be found */
} weft__epoch_item;

/* The things that one writer replaces. */
typedef struct weft__epoch {
    weft__epoch_item *limbo; /* replaced and not freed; newest first */
    size_t limbo_count;
} weft__epoch;

void weft__epoch_init(weft__epoch *epoch);

/* Frees what is left. Nobody reads any more. */
void weft__epoch_fini(weft__epoch *epoch);

/* Any thread. Not nested. The first enter of a thread may allocate; should that fail, it waits for a spare slot. */
weft__epoch_slot *weft__epoch_enter(void);
void weft__epoch_leave(weft__epoch_slot *slot);

/* Hands over what no new reader can find. It is released now or by a later retire; a writer that is far ahead of its
 * readers waits for them. */
void weft__epoch_retire(weft__epoch *epoch, weft__epoch_item *item, void (*release)(weft__epoch_item *item));

#endif
