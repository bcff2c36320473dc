/* Design notes
 *
 * Waking a thread costs microseconds, pushing a node tens of nanoseconds; so what counts is how few wake-ups a burst of
 * pushes makes. At most one consumer is `searching`: it is awake, or has been sent a wake-up, and has yet to look into
 * the queue. Nobody is woken while there is one:
 *
 *     nodes wait and a consumer is asleep  =>  searching
 *
 *     push         appends; if nobody searches, wakes the consumer that fell asleep last (its memory is warm) as
 * searcher searcher     takes a node and searches no more; if nodes are left and consumers asleep, it wakes the next as
 *                  searcher: so many consumers get up as there is work for, one after the other
 *     no searcher  a consumer that comes back finds nodes and takes one: the invariant needs no more
 *     found none   it becomes the searcher itself (if there is none) and gives way to other threads once before it
 *                  sleeps: where producer and consumers share a processor, the producer goes on with its burst and
 *                  finds the consumer awake
 *
 * A consumer sleeps on a semaphore of its own, which is posted exactly once each time it is taken off `asleep`, and
 * posted outside the lock, so that it does not wake up into a lock that is taken. Closing wakes all.
 */
#include "base/queue.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>

int weft__queue_init(weft__queue *queue, size_t max)
{
    *queue = (weft__queue){.max = max};
    queue->last = &queue->first;
    return -pthread_mutex_init(&queue->lock, NULL);
}

void weft__queue_fini(weft__queue *queue)
{
    pthread_mutex_destroy(&queue->lock);
}

void weft__queue_consumer_init(weft__queue_consumer *consumer)
{
    consumer->next = NULL;
    sem_init(&consumer->wake, 0, 0); /* fails only for a start value over SEM_VALUE_MAX */
}

void weft__queue_consumer_fini(weft__queue_consumer *consumer)
{
    sem_destroy(&consumer->wake);
}

/* Chooses whom the caller is to wake once it has unlocked, or NULL. */
static weft__queue_consumer *wake_next_locked(weft__queue *queue)
{
    weft__queue_consumer *consumer = queue->asleep;

    if (queue->first == NULL || queue->searching || consumer == NULL)
        return NULL;
    queue->asleep = consumer->next;
    queue->searching = true;
    return consumer;
}

static void wake(weft__queue_consumer *consumer)
{
    if (consumer != NULL)
        sem_post(&consumer->wake);
}

static weft__queue_node *take_locked(weft__queue *queue)
{
    weft__queue_node *node = queue->first;

    if (node == NULL)
        return NULL;
    queue->first = node->next;
    if (queue->first == NULL)
        queue->last = &queue->first;
    queue->len--;
    node->next = NULL;
    return node;
}

int weft__queue_push(weft__queue *queue, weft__queue_node *node)
{
    weft__queue_consumer *sleeper = NULL;
    int rc = 0;

    node->next = NULL;
    pthread_mutex_lock(&queue->lock);
    if (queue->closed) {
        rc = -ESHUTDOWN;
    } else if (queue->len >= queue->max) {
        rc = -EAGAIN;
    } else {
        *queue->last = node;
        queue->last = &node->next;
        queue->len++;
        sleeper = wake_next_locked(queue);
    }
    pthread_mutex_unlock(&queue->lock);
    wake(sleeper);
    return rc;
}

weft__queue_node *weft__queue_pop(weft__queue *queue, weft__queue_consumer *consumer)
{
    pthread_mutex_lock(&queue->lock);
    if (queue->first == NULL && !queue->searching && !queue->closed) {
        queue->searching = true;
        pthread_mutex_unlock(&queue->lock);
        sched_yield();
        pthread_mutex_lock(&queue->lock);
        queue->searching = false;
    }
    while (queue->first == NULL && !queue->closed) {
        consumer->next = queue->asleep;
        queue->asleep = consumer;
        pthread_mutex_unlock(&queue->lock);
        while (sem_wait(&consumer->wake) != 0)
            continue; /* EINTR */
        pthread_mutex_lock(&queue->lock);
        queue->searching = false;
    }
    weft__queue_node *node = take_locked(queue);
    weft__queue_consumer *sleeper = wake_next_locked(queue);
    pthread_mutex_unlock(&queue->lock);
    wake(sleeper);
    return node;
}

weft__queue_node *weft__queue_try_pop(weft__queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    weft__queue_node *node = take_locked(queue);
    pthread_mutex_unlock(&queue->lock);
    return node;
}

void weft__queue_close(weft__queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    weft__queue_consumer *sleeper = queue->asleep;
    queue->asleep = NULL;
    queue->closed = true;
    pthread_mutex_unlock(&queue->lock);

    while (sleeper != NULL) {
        weft__queue_consumer *next = sleeper->next; /* read before the post: it is the sleeper's again afterwards */
        wake(sleeper);
        sleeper = next;
    }
}

size_t weft__queue_len(weft__queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    size_t len = queue->len;
    pthread_mutex_unlock(&queue->lock);
    return len;
}
