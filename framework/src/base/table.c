/* Design notes
 *
 * Open addressing with linear probing. An entry lies at its home slot (hash & mask) or as near behind it as was free:
 *
 *     between an entry's home slot and the slot where it lies, no slot is free.
 *
 * A search may therefore stop at the first free slot. A removal keeps it so by moving later entries back into the gap,
 * instead of leaving tombstones, so that a table which lives long does not slow down. At most 3/4 of the slots are
 * used, which leaves a free slot to stop at.
 */
#include "base/table.h"

#include <errno.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/random.h"

#define FIRST_SLOTS 8

void weft__table_init(weft__table *table)
{
    *table = (weft__table){0};
    if (weft__random_secret(table->seed, sizeof table->seed) < 0)
        weft__random_bytes(weft__random_system(), table->seed, sizeof table->seed);
}

void weft__table_fini(weft__table *table)
{
    free(table->slots);
    table->slots = NULL;
    table->mask = 0;
    table->count = 0;
}

/* The slot that holds the key, or the free one where it belongs. */
static weft__table_slot *seek(const weft__table *table, weft_sv key, uint64_t hash)
{
    for (size_t i = (size_t)hash & table->mask;; i = (i + 1) & table->mask) {
        weft__table_slot *slot = &table->slots[i];
        if (slot->value == NULL || (slot->hash == hash && weft_sv_equal(slot->key, key)))
            return slot;
    }
}

static int grow(weft__table *table)
{
    size_t old_size = table->slots != NULL ? table->mask + 1 : 0;
    size_t size = old_size > 0 ? old_size * 2 : FIRST_SLOTS;
    weft__table_slot *old = table->slots;
    weft__table_slot *slots = calloc(size, sizeof *slots);

    if (slots == NULL)
        return -ENOMEM;
    table->slots = slots;
    table->mask = size - 1;
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].value != NULL)
            *seek(table, old[i].key, old[i].hash) = old[i];
    }
    free(old);
    return 0;
}

int weft__table_put(weft__table *table, weft_sv key, void *value)
{
    uint64_t hash = weft__hash(table->seed, key.data, key.len);

    if (table->slots != NULL && seek(table, key, hash)->value != NULL)
        return -EEXIST;
    if (table->slots == NULL || table->count >= (table->mask + 1) / 4 * 3) {
        int rc = grow(table);
        if (rc < 0)
            return rc;
    }
    *seek(table, key, hash) = (weft__table_slot){.key = key, .value = value, .hash = hash};
    table->count++;
    return 0;
}

void *weft__table_find(const weft__table *table, weft_sv key)
{
    if (table->count == 0)
        return NULL;
    return seek(table, key, weft__hash(table->seed, key.data, key.len))->value;
}

void *weft__table_remove(weft__table *table, weft_sv key)
{
    if (table->count == 0)
        return NULL;

    weft__table_slot *gap = seek(table, key, weft__hash(table->seed, key.data, key.len));
    void *value = gap->value;
    if (value == NULL)
        return NULL;

    for (size_t i = (size_t)(gap - table->slots);;) {
        i = (i + 1) & table->mask;
        weft__table_slot *slot = &table->slots[i];
        if (slot->value == NULL)
            break;
        /* It may move into the gap if the gap is not before its home slot, counting backwards from where it lies. */
        size_t from_home = (i - (size_t)slot->hash) & table->mask;
        size_t from_gap = (i - (size_t)(gap - table->slots)) & table->mask;
        if (from_gap <= from_home) {
            *gap = *slot;
            gap = slot;
        }
    }
    *gap = (weft__table_slot){0};
    table->count--;
    return value;
}

bool weft__table_next(const weft__table *table, size_t *cursor, weft_sv *key, void **value)
{
    size_t size = table->slots != NULL ? table->mask + 1 : 0;

    for (size_t i = *cursor; i < size; i++) {
        if (table->slots[i].value == NULL)
            continue;
        *cursor = i + 1;
        if (key != NULL)
            *key = table->slots[i].key;
        if (value != NULL)
            *value = table->slots[i].value;
        return true;
    }
    *cursor = size;
    return false;
}
