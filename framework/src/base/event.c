/* Design notes
 *
 * The waiter usually owns the event as a local variable, and is free to leave as soon as it knows of the post. So the
 * poster may touch nothing after the moment at which the waiter can know. A mutex with a condition can be made to keep
 * that (signal before unlocking, look only under the lock), but then the waiter wakes up into a lock that is still
 * held; on one processor that is two more context switches a wait.
 *
 * A semaphore keeps it by itself: the waiter knows by taking the post's unit, and glibc (2.21 and later) reads nothing
 * of the semaphore after adding it; at most it wakes a futex by address, which harms nobody. Looking at `posted` first,
 * tempting as a fast path, would break it: the waiter could leave before the poster has reached sem_post. That flag is
 * only there because ThreadSanitizer does not know sem_clockwait: it carries what the poster did to the waiter.
 */
#define _GNU_SOURCE /* sem_clockwait: in POSIX since 2024 */
#include "base/event.h"

#include <errno.h>
#include <time.h>

int weft__event_init(weft__event *event)
{
    atomic_init(&event->posted, false);
    event->seen = false;
    return sem_init(&event->posts, 0, 0) == 0 ? 0 : -errno;
}

void weft__event_fini(weft__event *event)
{
    sem_destroy(&event->posts);
}

void weft__event_reset(weft__event *event)
{
    while (sem_trywait(&event->posts) == 0)
        continue; /* a post that nobody waited for */
    atomic_store_explicit(&event->posted, false, memory_order_relaxed);
    event->seen = false;
}

void weft__event_post(weft__event *event)
{
    atomic_store_explicit(&event->posted, true, memory_order_release);
    sem_post(&event->posts);
}

int weft__event_wait(weft__event *event, int64_t deadline_ns)
{
    int rc;

    if (event->seen)
        return 0;
    if (deadline_ns < 0)
        deadline_ns = 0;
    struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / 1000000000),
                                .tv_nsec = (long)(deadline_ns % 1000000000)};
    do {
        if (deadline_ns == INT64_MAX)
            rc = sem_wait(&event->posts);
        else if (deadline_ns == 0)
            rc = sem_trywait(&event->posts); /* no system call */
        else
            rc = sem_clockwait(&event->posts, CLOCK_MONOTONIC, &deadline);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0)
        return -ETIMEDOUT;
    event->seen = atomic_load_explicit(&event->posted, memory_order_acquire);
    return 0;
}
