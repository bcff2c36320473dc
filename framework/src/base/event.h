/* base/event.h: one thread waits until another one posts. */
#ifndef WEFT_BASE_EVENT_H
#define WEFT_BASE_EVENT_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <weft/version.h>

/* Usually a local variable of the waiter, which may be gone as soon as wait has returned 0: see event.c. */
typedef struct weft__event {
    sem_t posts;
    atomic_bool posted;
    bool seen; /* by wait */
} weft__event;

/* @return 0, or -errno of sem_init. */
WEFT_API int weft__event_init(weft__event *event);

/* No post may be under way. */
WEFT_API void weft__event_fini(weft__event *event);

/* Makes it unposted, for the next use. No post may be under way. Thread: the waiter's. */
void weft__event_reset(weft__event *event);

/* Lets wait return, now and later, until a reset. The waiter may be gone when this returns. Thread: any. */
WEFT_API void weft__event_post(weft__event *event);

/**
 * Waits until it is posted.
 *
 * @param deadline_ns on CLOCK_MONOTONIC; INT64_MAX: never; a past one only asks. @return 0; -ETIMEDOUT. Thread: one
 * at a time.
 */
WEFT_API int weft__event_wait(weft__event *event, int64_t deadline_ns);

#endif
