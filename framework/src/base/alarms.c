/* alarms.c: one lock, one heap, one thread, which sleeps until the earliest alarm and is woken for an earlier one. */
#include "base/alarms.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/thread.h"

static const int64_t ns_per_s = 1000000000;

struct weft__alarms {
    pthread_mutex_t lock;
    pthread_cond_t earlier; /* the first alarm has changed, or it is to stop */
    weft__heap heap;
    pthread_t thread;
    bool started;
    bool stopping;
};

static void sleep_locked(weft__alarms *alarms, int64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / ns_per_s), .tv_nsec = (long)(until_ns % ns_per_s)};
    (void)pthread_cond_timedwait(&alarms->earlier, &alarms->lock, &until);
}

static void *run(void *arg)
{
    weft__alarms *alarms = arg;
    weft__clock *clock = weft__clock_system();
    weft__thread_set_loop(true);
    pthread_mutex_lock(&alarms->lock);
    while (!alarms->stopping) {
        weft__heap_node *first = weft__heap_first(&alarms->heap);
        if (first == NULL) {
            (void)pthread_cond_wait(&alarms->earlier, &alarms->lock);
        } else if (first->key > clock->now_ns(clock)) {
            sleep_locked(alarms, first->key);
        } else {
            weft__heap_remove(&alarms->heap, first);
            pthread_mutex_unlock(&alarms->lock);
            weft__alarm *alarm = WEFT__CONTAINER_OF(first, weft__alarm, node);
            alarm->run(alarm);
            pthread_mutex_lock(&alarms->lock);
        }
    }
    pthread_mutex_unlock(&alarms->lock);
    return NULL;
}

static int init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    int error = pthread_condattr_init(&attributes);
    if (error != 0)
        return -error;
    error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (error == 0)
        error = pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
    return -error;
}

int weft__alarms_new(weft__alarms **out)
{
    weft__alarms *alarms = calloc(1, sizeof *alarms);
    if (alarms == NULL)
        return -ENOMEM;
    int rc = -pthread_mutex_init(&alarms->lock, NULL);
    if (rc < 0) {
        free(alarms);
        return rc;
    }
    rc = init_cond(&alarms->earlier);
    if (rc < 0) {
        pthread_mutex_destroy(&alarms->lock);
        free(alarms);
        return rc;
    }
    *out = alarms;
    return 0;
}

void weft__alarms_free(weft__alarms *alarms)
{
    if (alarms == NULL)
        return;
    pthread_mutex_lock(&alarms->lock);
    alarms->stopping = true;
    pthread_cond_signal(&alarms->earlier);
    pthread_mutex_unlock(&alarms->lock);
    if (alarms->started)
        pthread_join(alarms->thread, NULL);
    pthread_cond_destroy(&alarms->earlier);
    pthread_mutex_destroy(&alarms->lock);
    free(alarms);
}

int weft__alarms_set(weft__alarms *alarms, weft__alarm *alarm, int64_t at_ns)
{
    int rc = 0;
    pthread_mutex_lock(&alarms->lock);
    if (!alarms->started) {
        rc = weft__thread_start(&alarms->thread, 0, "weft-alarms", run, alarms);
        alarms->started = rc == 0;
    }
    if (rc == 0) {
        weft__heap_push(&alarms->heap, &alarm->node, at_ns);
        if (weft__heap_first(&alarms->heap) == &alarm->node)
            pthread_cond_signal(&alarms->earlier);
    }
    pthread_mutex_unlock(&alarms->lock);
    return rc;
}

bool weft__alarms_cancel(weft__alarms *alarms, weft__alarm *alarm)
{
    pthread_mutex_lock(&alarms->lock);
    bool was_set = weft__heap_remove(&alarms->heap, &alarm->node);
    pthread_mutex_unlock(&alarms->lock);
    return was_set;
}
