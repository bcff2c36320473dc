/* base/queue.h: a bounded first-in-first-out queue between any number of producers and consumers, thrifty with
 * wake-ups.
 *
 * Intrusive: a push allocates nothing. The design is told in queue.c.
 */
#ifndef WEFT_BASE_QUEUE_H
#define WEFT_BASE_QUEUE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>

#include <weft/version.h>

/* Lies in the element. */
typedef struct weft__queue_node {
    struct weft__queue_node *next;
} weft__queue_node;

/* One a consumer thread; it sleeps on it. */
typedef struct weft__queue_consumer {
    struct weft__queue_consumer *next;
    sem_t wake;
} weft__queue_consumer;

typedef struct weft__queue {
    pthread_mutex_t lock; /* guards all below */
    weft__queue_node *first;
    weft__queue_node **last;      /* where the next node is linked */
    size_t len;                   /* nodes from first on */
    size_t max;                   /* SIZE_MAX: no limit */
    weft__queue_consumer *asleep; /* the last to fall asleep first */
    bool searching;               /* a consumer is awake and has yet to look into the queue */
    bool closed;
} weft__queue;

/* @param max how many nodes may wait; SIZE_MAX: no limit. @return 0, or -errno of pthread_mutex_init. */
int weft__queue_init(weft__queue *queue, size_t max);

/* Nobody may be in the queue's functions any more. Nodes left in it are the caller's. */
void weft__queue_fini(weft__queue *queue);

void weft__queue_consumer_init(weft__queue_consumer *consumer);
void weft__queue_consumer_fini(weft__queue_consumer *consumer);

/* Appends a node and wakes a sleeping consumer if need be. @return 0; -EAGAIN full; -ESHUTDOWN closed. Thread: any. */
int weft__queue_push(weft__queue *queue, weft__queue_node *node);

/**
 * Takes the oldest node, waiting for one.
 *
 * @param consumer the calling thread's own. @return the node; NULL once the queue is closed and empty. Thread: any.
 */
weft__queue_node *weft__queue_pop(weft__queue *queue, weft__queue_consumer *consumer);

/* Takes the oldest node, or gives NULL at once when there is none. Thread: any. */
weft__queue_node *weft__queue_try_pop(weft__queue *queue);

/* No more pushes; what is queued can still be popped. Wakes every consumer. Thread: any; again is fine. */
void weft__queue_close(weft__queue *queue);

/* How many nodes wait. Thread: any. */
size_t weft__queue_len(weft__queue *queue);

#endif
