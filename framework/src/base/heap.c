#include "base/heap.h"

/* Makes one tree of two. */
static weft__heap_node *meld(weft__heap_node *a, weft__heap_node *b)
{
    if (a == NULL || b == NULL)
        return a != NULL ? a : b;
    if (b->key < a->key) {
        weft__heap_node *less = b;
        b = a;
        a = less;
    }
    b->prev = a;
    b->next = a->child;
    if (b->next != NULL)
        b->next->prev = b;
    a->child = b;
    return a;
}

/* Cuts a node off the siblings that follow it. */
static weft__heap_node *cut(weft__heap_node *node)
{
    weft__heap_node *rest = node->next;
    node->next = NULL;
    node->prev = NULL;
    return rest;
}

/* Makes one tree of a list of siblings: in pairs from the left, and these from the right. */
static weft__heap_node *meld_siblings(weft__heap_node *first)
{
    weft__heap_node *pairs = NULL;
    while (first != NULL) {
        weft__heap_node *second = cut(first);
        weft__heap_node *rest = second != NULL ? cut(second) : NULL;
        weft__heap_node *pair = meld(first, second);
        pair->next = pairs;
        pairs = pair;
        first = rest;
    }
    weft__heap_node *tree = NULL;
    while (pairs != NULL) {
        weft__heap_node *rest = cut(pairs);
        tree = meld(tree, pairs);
        pairs = rest;
    }
    return tree;
}

void weft__heap_push(weft__heap *heap, weft__heap_node *node, int64_t key)
{
    *node = (weft__heap_node){.key = key, .linked = true};
    heap->root = meld(heap->root, node);
}

bool weft__heap_remove(weft__heap *heap, weft__heap_node *node)
{
    if (!node->linked)
        return false;
    weft__heap_node *below = meld_siblings(node->child);
    if (heap->root == node) {
        heap->root = below;
    } else {
        if (node->prev->child == node)
            node->prev->child = node->next;
        else
            node->prev->next = node->next;
        if (node->next != NULL)
            node->next->prev = node->prev;
        heap->root = meld(heap->root, below);
    }
    *node = (weft__heap_node){.linked = false};
    return true;
}
