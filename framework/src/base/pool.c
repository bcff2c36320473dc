#include "base/pool.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/thread.h"

#define DEFAULT_STACK_BYTES (256 * 1024)
#define DEFAULT_MAX_QUEUED  1024
#define MAX_THREADS         10000

typedef struct weft_pool_worker {
    weft__pool *pool;
    pthread_t thread;
    weft__queue_consumer consumer;
} weft_pool_worker;

struct weft__pool {
    weft__queue queue;
    weft__pool_hooks hooks;
    bool joined;
    size_t started; /* workers whose thread runs */
    weft_pool_worker workers[];
};

static void tell(void (*hook)(void *arg), void *arg)
{
    if (hook != NULL)
        hook(arg);
}

static void *work(void *arg)
{
    weft_pool_worker *worker = arg;
    weft__pool *pool = worker->pool;
    weft__queue_node *node;

    while ((node = weft__queue_pop(&pool->queue, &worker->consumer)) != NULL) {
        weft__job *job = WEFT__CONTAINER_OF(node, weft__job, node);
        tell(pool->hooks.begin, pool->hooks.arg);
        job->run(job);
        tell(pool->hooks.end, pool->hooks.arg);
    }
    return NULL;
}

int weft__pool_new(weft__pool **out, const weft__pool_options *options)
{
    int64_t stack_bytes = options->stack_bytes > 0 ? options->stack_bytes : DEFAULT_STACK_BYTES;
    int64_t max_queued = options->max_queued != 0 ? options->max_queued : DEFAULT_MAX_QUEUED;
    size_t threads = (size_t)options->threads;

    if (options->threads < 1 || options->threads > MAX_THREADS || options->stack_bytes < 0 || max_queued < -1)
        return -EINVAL;
    weft__pool *pool = calloc(1, sizeof *pool + threads * sizeof pool->workers[0]);
    if (pool == NULL)
        return -ENOMEM;
    if (options->hooks != NULL)
        pool->hooks = *options->hooks;
    int rc = weft__queue_init(&pool->queue, max_queued > 0 ? (size_t)max_queued : SIZE_MAX);
    if (rc < 0) {
        free(pool);
        return rc;
    }
    for (; rc == 0 && pool->started < threads; pool->started += rc == 0) {
        weft_pool_worker *worker = &pool->workers[pool->started];
        worker->pool = pool;
        weft__queue_consumer_init(&worker->consumer);
        rc = weft__thread_start(&worker->thread, (size_t)stack_bytes,
                                options->name != NULL ? options->name : "weft-worker", work, worker);
    }
    if (rc < 0) {
        weft__pool_free(pool);
        return rc;
    }
    *out = pool;
    return 0;
}

int weft__pool_submit(weft__pool *pool, weft__job *job)
{
    tell(pool->hooks.queued, pool->hooks.arg);
    int rc = weft__queue_push(&pool->queue, &job->node);
    if (rc < 0)
        tell(pool->hooks.dropped, pool->hooks.arg);
    return rc;
}

size_t weft__pool_queued(weft__pool *pool)
{
    return weft__queue_len(&pool->queue);
}

void weft__pool_drop_queued(weft__pool *pool, void (*drop)(weft__job *job))
{
    weft__queue_node *node;

    while ((node = weft__queue_try_pop(&pool->queue)) != NULL) {
        tell(pool->hooks.dropped, pool->hooks.arg);
        drop(WEFT__CONTAINER_OF(node, weft__job, node));
    }
}

void weft__pool_stop(weft__pool *pool, void (*drop)(weft__job *job))
{
    if (pool->joined)
        return;
    weft__queue_close(&pool->queue);
    if (drop != NULL)
        weft__pool_drop_queued(pool, drop);
    for (size_t i = 0; i < pool->started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pool->joined = true;
}

void weft__pool_free(weft__pool *pool)
{
    if (pool == NULL)
        return;
    weft__pool_stop(pool, NULL);
    for (size_t i = 0; i < pool->started; i++)
        weft__queue_consumer_fini(&pool->workers[i].consumer);
    weft__queue_fini(&pool->queue);
    free(pool);
}
