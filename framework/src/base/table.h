/* base/table.h: a hash table from a string (any bytes) to a pointer.
 *
 * Keys are borrowed: their bytes must outlive the entry. The hash is keyed with a secret of the table, so that keys
 * chosen by a peer cannot make it slow. How many entries there may be is the caller's limit to set.
 * Thread: find and next may run at the same time on any threads; put and remove only alone.
 */
#ifndef WEFT_BASE_TABLE_H
#define WEFT_BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/sv.h>
#include <weft/version.h>

typedef struct weft__table_slot {
    weft_sv key;
    void *value; /* NULL: the slot is free */
    uint64_t hash;
} weft__table_slot;

typedef struct weft__table {
    weft__table_slot *slots; /* NULL before the first put */
    size_t mask;             /* slots - 1; their number is a power of two */
    size_t count;
    uint64_t seed[2];
} weft__table;

/* An empty table. Allocates nothing yet. */
WEFT_API void weft__table_init(weft__table *table);

/* Frees the slots; keys and values are the caller's. */
WEFT_API void weft__table_fini(weft__table *table);

/* Adds an entry. @param value not NULL. @return 0; -EEXIST the key is there, nothing changed; -ENOMEM. */
WEFT_API int weft__table_put(weft__table *table, weft_sv key, void *value);

/* The value of a key, or NULL. */
WEFT_API void *weft__table_find(const weft__table *table, weft_sv key);

/* Takes an entry out. @return its value, or NULL when there is none. */
void *weft__table_remove(weft__table *table, weft_sv key);

/**
 * Walks all entries, in no order: start with `*cursor` 0. No put or remove until the walk is over.
 *
 * @return false at the end; then `key` and `value` (each may be NULL) are untouched.
 */
bool weft__table_next(const weft__table *table, size_t *cursor, weft_sv *key, void **value);

#endif
