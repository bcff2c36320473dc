/* base/heap.h: what comes next of many things that have a time. Intrusive: a push allocates nothing.
 *
 * A pairing heap: push and first are O(1), remove is O(log n) amortized.
 * Source: Fredman, Sedgewick, Sleator, Tarjan, "The pairing heap: a new form of self-adjusting heap", 1986.
 */
#ifndef WEFT_BASE_HEAP_H
#define WEFT_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/version.h>

/* Lies in the element; all zero when it is in no heap. */
typedef struct weft__heap_node {
    struct weft__heap_node *child; /* the first */
    struct weft__heap_node *next;  /* sibling */
    struct weft__heap_node *prev;  /* sibling, or of a first child the parent */
    int64_t key;
    bool linked;
} weft__heap_node;

/* All zero: empty. */
typedef struct weft__heap {
    weft__heap_node *root;
} weft__heap;

/* The node with the least key; NULL: the heap is empty. */
static inline weft__heap_node *weft__heap_first(const weft__heap *heap)
{
    return heap->root;
}

/* Adds a node that is in no heap. */
WEFT_API void weft__heap_push(weft__heap *heap, weft__heap_node *node, int64_t key);

/* Takes a node out. Whether it was in. */
WEFT_API bool weft__heap_remove(weft__heap *heap, weft__heap_node *node);

#endif
