/* base/pool.h: a bounded pool of worker threads. Jobs are intrusive: submitting one allocates nothing. */
#ifndef WEFT_BASE_POOL_H
#define WEFT_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/queue.h"
#include <weft/version.h>

/* Lies in what is to be done; the submitter sets `run`. The pool does not touch it any more once `run` is called. */
typedef struct weft__job {
    weft__queue_node node;
    void (*run)(struct weft__job *job);
} weft__job;

/**
 * What an observer of the pool is told; each may be NULL. Every `queued` is followed by `begin` and `end`, or by
 * `dropped`. They must not call the pool.
 */
typedef struct weft__pool_hooks {
    void (*queued)(void *arg);  /* on the submitting thread, before a worker can see the job */
    void (*dropped)(void *arg); /* the job was refused by submit, or dropped by stop */
    void (*begin)(void *arg);   /* on the worker, around `run` */
    void (*end)(void *arg);
    void *arg;
} weft__pool_hooks;

typedef struct weft__pool_options {
    int64_t threads;               /* required; 1 to 10,000 */
    int64_t stack_bytes;           /* optional; of a worker. Default: 256 KiB */
    int64_t max_queued;            /* optional; jobs that wait for a worker. Default: 1024; -1: no limit */
    const char *name;              /* optional; of the threads, 15 characters count. Default: "weft-worker" */
    const weft__pool_hooks *hooks; /* optional; copied. Default: none */
} weft__pool_options;

typedef struct weft__pool weft__pool;

/* Makes a pool and starts its threads. @return 0; -EINVAL; -ENOMEM; -EAGAIN a thread could not be started. */
int weft__pool_new(weft__pool **out, const weft__pool_options *options);

/* Queues a job. @return 0; -EAGAIN the queue is full; -ESHUTDOWN after stop. Thread: any; does not block. */
int weft__pool_submit(weft__pool *pool, weft__job *job);

/* How many jobs wait for a worker. Thread: any. */
size_t weft__pool_queued(weft__pool *pool);

/* Takes out every job that no worker has begun and calls `drop` for it, on this thread. Thread: any. */
void weft__pool_drop_queued(weft__pool *pool, void (*drop)(weft__job *job));

/**
 * Takes no more jobs, waits until the running ones have ended, and ends the threads.
 *
 * @param drop called on this thread for every job that no worker has begun; NULL: the workers run them first.
 * Thread: one that is no worker, one at a time; again is fine.
 */
void weft__pool_stop(weft__pool *pool, void (*drop)(weft__job *job));

/* Stops, running what is queued, and frees. NULL is fine. */
void weft__pool_free(weft__pool *pool);

#endif
