/* sample_store.h: where greetings are counted. One vtable, so that another database, or a test, may stand in for
 * SQLite.
 *
 * Functions return 0 or -errno, from any thread:
 *
 *     -EBUSY   the database stayed locked for too long; may be tried again
 *     -ENOSPC  the disk is full                       -EROFS    the database cannot be written
 *     -ENOMEM  out of memory                          -EBADMSG  the database is damaged
 *     -EIO     anything else
 *
 * A failed write leaves nothing behind.
 */
#ifndef SAMPLE_SAMPLE_STORE_H
#define SAMPLE_SAMPLE_STORE_H

#include <stddef.h>
#include <stdint.h>

struct sample_store;

struct sample_store_vtable {
    const char *name;
    int (*count)(struct sample_store *store, const char *name, int64_t *count);
    void (*destroy)(struct sample_store *store);
};

/* A store embeds this first. */
struct sample_store {
    const struct sample_store_vtable *vtable;
};

/* Counts one more greeting of a name and gives out how many there were, this one included. */
static inline int sample_store_count(struct sample_store *store, const char *name, int64_t *count)
{
    return store->vtable->count(store, name, count);
}

/* Closes a store that no thread uses any more. NULL is fine. */
static inline void sample_store_destroy(struct sample_store *store)
{
    if (store != NULL)
        store->vtable->destroy(store);
}

#endif
