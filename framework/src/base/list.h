/* base/list.h: an intrusive doubly linked list. The node lies in the element, so that linking never fails:
 *
 *     struct session { weft__list_node node; … };
 *     weft__list_push_back(&sessions, &session->node);
 *     for (weft__list_node *n = weft__list_first(&sessions); n != NULL; n = weft__list_next(&sessions, n))
 *         visit(WEFT__CONTAINER_OF(n, struct session, node));
 */
#ifndef WEFT_BASE_LIST_H
#define WEFT_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* The struct of `type` whose `member` lies at `pointer`. */
#define WEFT__CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

typedef struct weft__list_node {
    struct weft__list_node *next; /* NULL: in no list */
    struct weft__list_node *prev;
} weft__list_node;

/* A ring through `head`; an element is in one list at most by the same node. */
typedef struct weft__list {
    weft__list_node head;
} weft__list;

static inline void weft__list_init(weft__list *list)
{
    list->head.next = &list->head;
    list->head.prev = &list->head;
}

/* A node that is in no list; all zeros is the same. */
static inline void weft__list_node_init(weft__list_node *node)
{
    node->next = NULL;
    node->prev = NULL;
}

static inline bool weft__list_empty(const weft__list *list)
{
    return list->head.next == &list->head;
}

static inline bool weft__list_linked(const weft__list_node *node)
{
    return node->next != NULL;
}

/* Links `node`, which is in no list, before `where`, which is a node of a list or its head. */
static inline void weft__list_insert_before(weft__list_node *where, weft__list_node *node)
{
    node->next = where;
    node->prev = where->prev;
    where->prev->next = node;
    where->prev = node;
}

static inline void weft__list_push_back(weft__list *list, weft__list_node *node)
{
    weft__list_insert_before(&list->head, node);
}

static inline void weft__list_push_front(weft__list *list, weft__list_node *node)
{
    weft__list_insert_before(list->head.next, node);
}

/* Takes a node out of its list; does nothing when it is in none. */
static inline void weft__list_remove(weft__list_node *node)
{
    if (node->next == NULL)
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    weft__list_node_init(node);
}

/* The first node, or NULL. */
static inline weft__list_node *weft__list_first(const weft__list *list)
{
    return list->head.next != &list->head ? list->head.next : NULL;
}

/* The node after `node`, or NULL. To remove while walking, ask for the next first. */
static inline weft__list_node *weft__list_next(const weft__list *list, const weft__list_node *node)
{
    return node->next != &list->head ? node->next : NULL;
}

/* The same from the other end. */
static inline weft__list_node *weft__list_last(const weft__list *list)
{
    return list->head.prev != &list->head ? list->head.prev : NULL;
}

static inline weft__list_node *weft__list_prev(const weft__list *list, const weft__list_node *node)
{
    return node->prev != &list->head ? node->prev : NULL;
}

/* Takes the first node out, or gives NULL. */
static inline weft__list_node *weft__list_pop_front(weft__list *list)
{
    weft__list_node *node = weft__list_first(list);

    if (node != NULL)
        weft__list_remove(node);
    return node;
}

#endif
