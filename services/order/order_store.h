/* order_store.h: where orders are kept. One vtable, so that another database, or a test, may stand in for SQLite.
 *
 * Functions return 0 or -errno, from any thread:
 *
 *     -ENOENT    no such order                        -ENOSPC  the disk, or the allowance, is full
 *     -EEXIST    the user has an order with this key  -EROFS   the database cannot be written
 *     -EBUSY     the database stayed locked for too long; may be tried again
 *     -ENOMEM    out of memory, or the arena is full    -EBADMSG the database is damaged
 *     -EIO       anything else
 *
 * A failed write leaves nothing behind. What comes out lies in the caller's arena.
 *
 * Every change of an order gets a position, one more than the change before it, in whatever process; the last
 * ORDER_STORE_KEPT_CHANGES are kept.
 */
#ifndef ORDER_ORDER_STORE_H
#define ORDER_ORDER_STORE_H

#include <stddef.h>
#include <stdint.h>

#include <weft/arena.h>

#include "order.h"

#define ORDER_STORE_KEPT_CHANGES 10000

struct order_change {
    int64_t position;
    struct order order; /* after the change */
};

struct order_store;

struct order_store_vtable {
    const char *name;
    int (*get)(struct order_store *store, const char *id, weft_arena *arena, struct order *out, int64_t *position);
    int (*find)(struct order_store *store, const char *user_id, const char *idempotency_key, weft_arena *arena,
                struct order *out);
    int (*create)(struct order_store *store, const struct order *order);
    int (*cancel)(struct order_store *store, const char *id, weft_arena *arena, struct order *out);
    int (*list)(struct order_store *store, const char *user_id, const char *before_id, size_t limit, weft_arena *arena,
                struct order **out, size_t *count);
    int (*position)(struct order_store *store, int64_t *out);
    int (*changes)(struct order_store *store, int64_t after, size_t limit, weft_arena *arena, struct order_change **out,
                   size_t *count);
    int (*watch)(struct order_store *store, int (*changed)(void *arg), void *arg);
    void (*unwatch)(struct order_store *store);
    void (*destroy)(struct order_store *store);
};

/* A store embeds this first. */
struct order_store {
    const struct order_store_vtable *vtable;
};

/* The order with an id, in lower case. @param position may be NULL; gets that of the last change of any order: this one
 * is as it was then. */
static inline int order_store_get(struct order_store *store, const char *id, weft_arena *arena, struct order *out,
                                  int64_t *position)
{
    return store->vtable->get(store, id, arena, out, position);
}

/* The order that a user has placed with a key. */
static inline int order_store_find(struct order_store *store, const char *user_id, const char *idempotency_key,
                                   weft_arena *arena, struct order *out)
{
    return store->vtable->find(store, user_id, idempotency_key, arena, out);
}

/* Adds an order, all fields of which are set. */
static inline int order_store_create(struct order_store *store, const struct order *order)
{
    return store->vtable->create(store, order);
}

/* Cancels an order, if it is not cancelled yet, and gives out the result. */
static inline int order_store_cancel(struct order_store *store, const char *id, weft_arena *arena, struct order *out)
{
    return store->vtable->cancel(store, id, arena, out);
}

/* Up to `limit` orders of a user in the reverse order of their ids, those before `before_id` (NULL: the newest). */
static inline int order_store_list(struct order_store *store, const char *user_id, const char *before_id, size_t limit,
                                   weft_arena *arena, struct order **out, size_t *count)
{
    return store->vtable->list(store, user_id, before_id, limit, arena, out, count);
}

/* The position of the last change; 0 before the first. */
static inline int order_store_position(struct order_store *store, int64_t *out)
{
    return store->vtable->position(store, out);
}

/* Up to `limit` changes that are kept, those after a position, the oldest first. */
static inline int order_store_changes(struct order_store *store, int64_t after, size_t limit, weft_arena *arena,
                                      struct order_change **out, size_t *count)
{
    return store->vtable->changes(store, after, limit, arena, out, count);
}

/* Has `changed` called, on a thread of the store's, at the beginning and after changes, also those by other processes;
 * again at once while it returns more than 0, and after a pause when it returns -errno. One watch at a time, which ends
 * with order_store_unwatch: when that returns, `changed` is not called any more. */
static inline int order_store_watch(struct order_store *store, int (*changed)(void *arg), void *arg)
{
    return store->vtable->watch(store, changed, arg);
}

/* Also without a watch. */
static inline void order_store_unwatch(struct order_store *store)
{
    store->vtable->unwatch(store);
}

/* Closes a store that no thread uses any more, and nothing watches. NULL is fine. */
static inline void order_store_destroy(struct order_store *store)
{
    if (store != NULL)
        store->vtable->destroy(store);
}

#endif
