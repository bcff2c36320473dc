/* engine.c: the memory engine: its queue, virtual time, stepping and waiting.
 *
 * Design notes
 * - All that happens is a task in one queue, run oldest first. A timer is a task that joins the queue when virtual time
 *   reaches it; timers of the same time join in the order in which they were set. So a test that makes the same calls
 *   in the same order sees the same events in the same order.
 * - Stepped: whoever steps, advances or waits runs the tasks, and counts as a loop thread while they run. There is no
 *   lock. Waiting moves time to the next timer when the queue is empty.
 * - Threaded: the engine's thread runs the tasks. Time stands still but in weft_test_advance, which moves it from timer
 *   to timer and waits for quiet in between. It is quiet when the queue is empty, the thread has nothing to do, and
 *   `busy` is 0: no job of a worker pool is queued or running, those aside that wait for an event. Who posts the event
 *   counts the job as busy again before it wakes, so quiet cannot be seen between the post and the waking.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/thread.h"
#include "transport/memory/memory.h"

static const int64_t first_ns = 1000000000; /* so that subtracting some time from now does not give a negative one */
static const int64_t wall_offset_ns = INT64_C(946684800) * 1000000000; /* 2000-01-01 */
static const unsigned first_port = 49152;

/* A thread that waits in a threaded engine. */
struct waiter {
    weft__list_node node;
    weft__event *event;
    weft__timer timeout;
    pthread_cond_t wake;
    bool is_worker;
    bool woken;
};

/* The engine of the worker pool that runs a job on this thread now. */
static _Thread_local weft__memory *worker_of;

static weft__memory *memory_of(weft_engine *engine)
{
    return WEFT__CONTAINER_OF(engine, weft__memory, base);
}

/* ---- tasks and time ---------------------------------------------------------------------------------------------- */

void weft__memory_push(weft__memory *memory, weft__task *task)
{
    if (weft__list_linked(&task->node))
        return;
    weft__list_push_back(&memory->queue, &task->node);
    if (memory->idle)
        pthread_cond_signal(&memory->work);
}

void weft__memory_set(weft__memory *memory, weft__timer *timer, int64_t at_ns)
{
    timer->at_ns = at_ns;
    if (at_ns <= weft__memory_now(memory)) {
        weft__memory_push(memory, &timer->task);
        return;
    }
    weft__list_node *after = &memory->timers.head; /* deadlines mostly come in order: look from the end */
    while (after->prev != &memory->timers.head &&
           WEFT__CONTAINER_OF(after->prev, weft__timer, task.node)->at_ns > at_ns)
        after = after->prev;
    weft__list_insert_before(after, &timer->task.node);
}

/* The time of the next timer; INT64_MAX: there is none. */
static int64_t next_time(const weft__memory *memory)
{
    weft__list_node *first = weft__list_first(&memory->timers);
    return first != NULL ? WEFT__CONTAINER_OF(first, weft__timer, task.node)->at_ns : INT64_MAX;
}

static void move_time(weft__memory *memory, int64_t now_ns)
{
    if (now_ns > weft__memory_now(memory))
        atomic_store_explicit(&memory->now_ns, now_ns, memory_order_relaxed);
    while (!weft__list_empty(&memory->timers) && next_time(memory) <= now_ns) {
        weft__task *task = WEFT__CONTAINER_OF(weft__list_pop_front(&memory->timers), weft__task, node);
        weft__memory_push(memory, task);
    }
}

static bool run_one(weft__memory *memory)
{
    weft__list_node *node = weft__list_pop_front(&memory->queue);
    if (node == NULL)
        return false;
    weft__task *task = WEFT__CONTAINER_OF(node, weft__task, node);
    task->run(memory, task);
    return true;
}

static int64_t clock_now(weft__clock *self)
{
    return weft__memory_now(WEFT__CONTAINER_OF(self, weft__memory, clock));
}

static int64_t clock_wall(weft__clock *self)
{
    return wall_offset_ns + clock_now(self);
}

static uint64_t random_next(weft__random *self)
{
    weft__memory *memory = WEFT__CONTAINER_OF(self, weft__memory, random);
    weft__memory_lock(memory);
    uint64_t number = memory->source.base.next(&memory->source.base);
    weft__memory_unlock(memory);
    return number;
}

/* ---- stepped ----------------------------------------------------------------------------------------------------- */

static size_t step(weft__memory *memory, size_t max)
{
    size_t count = 0;
    weft__thread_set_loop(true);
    while (count < max && run_one(memory))
        count++;
    weft__thread_set_loop(false);
    return count;
}

size_t weft_test_step(weft_engine *engine, size_t max)
{
    weft__memory *memory = weft__memory_from(engine);
    if (memory == NULL || !engine->stepped || weft__thread_is_loop())
        return 0;
    return step(memory, max);
}

/* The next time that something happens by itself. */
static int64_t next_foreground_time(const weft__memory *memory)
{
    for (weft__list_node *node = weft__list_first(&memory->timers); node != NULL;
         node = weft__list_next(&memory->timers, node)) {
        const weft__timer *timer = WEFT__CONTAINER_OF(node, weft__timer, task.node);
        if (!timer->background)
            return timer->at_ns;
    }
    return INT64_MAX;
}

static int wait_stepped(weft__memory *memory, weft__event *event, int64_t deadline_ns)
{
    for (;;) {
        do {
            if (weft__event_wait(event, 0) == 0)
                return 0;
        } while (step(memory, 1) > 0);
        int64_t at_ns = next_foreground_time(memory);
        if (at_ns != INT64_MAX && at_ns <= deadline_ns) {
            move_time(memory, at_ns);
        } else if (deadline_ns != INT64_MAX) {
            move_time(memory, deadline_ns);
            return -ETIMEDOUT;
        } else {
            return -EDEADLK;
        }
    }
}

/* ---- threaded ---------------------------------------------------------------------------------------------------- */

static bool is_quiet(const weft__memory *memory)
{
    return memory->idle && memory->busy == 0 && weft__list_empty(&memory->queue);
}

static void tell_if_quiet(weft__memory *memory)
{
    if (is_quiet(memory))
        pthread_cond_broadcast(&memory->quiet);
}

static void *run_thread(void *arg)
{
    weft__memory *memory = arg;
    weft__thread_set_loop(true);
    pthread_mutex_lock(&memory->lock);
    while (!memory->stopping) {
        if (run_one(memory))
            continue;
        memory->idle = true;
        tell_if_quiet(memory);
        pthread_cond_wait(&memory->work, &memory->lock);
        memory->idle = false;
    }
    pthread_mutex_unlock(&memory->lock);
    return NULL;
}

static void wake(weft__memory *memory, struct waiter *waiter)
{
    if (waiter->woken)
        return;
    waiter->woken = true;
    if (waiter->is_worker)
        memory->busy++;
    pthread_cond_signal(&waiter->wake);
}

static void on_timeout(weft__memory *memory, weft__task *task)
{
    wake(memory, WEFT__CONTAINER_OF(task, struct waiter, timeout.task));
}

static int wait_threaded(weft__memory *memory, weft__event *event, int64_t deadline_ns)
{
    struct waiter waiter = {
        .event = event,
        .timeout = {.task = {.run = on_timeout}},
        .is_worker = worker_of == memory,
    };
    int rc = -pthread_cond_init(&waiter.wake, NULL);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&memory->lock);
    rc = weft__event_wait(event, 0);
    if (rc < 0 && deadline_ns > weft__memory_now(memory)) {
        weft__list_push_back(&memory->waiters, &waiter.node);
        if (deadline_ns != INT64_MAX)
            weft__memory_set(memory, &waiter.timeout, deadline_ns);
        if (waiter.is_worker) {
            memory->busy--;
            tell_if_quiet(memory);
        }
        while (!waiter.woken)
            pthread_cond_wait(&waiter.wake, &memory->lock);
        weft__memory_unset(&waiter.timeout.task);
        weft__list_remove(&waiter.node);
        rc = weft__event_wait(event, 0);
    }
    pthread_mutex_unlock(&memory->lock);
    pthread_cond_destroy(&waiter.wake);
    return rc;
}

static void job_queued(void *arg)
{
    weft__memory *memory = arg;
    pthread_mutex_lock(&memory->lock);
    memory->busy++;
    pthread_mutex_unlock(&memory->lock);
}

static void job_gone(void *arg)
{
    weft__memory *memory = arg;
    pthread_mutex_lock(&memory->lock);
    memory->busy--;
    tell_if_quiet(memory);
    pthread_mutex_unlock(&memory->lock);
}

static void job_begins(void *arg)
{
    worker_of = arg;
}

static void job_ends(void *arg)
{
    worker_of = NULL;
    job_gone(arg);
}

static void wait_quiet(weft__memory *memory)
{
    while (!is_quiet(memory))
        pthread_cond_wait(&memory->quiet, &memory->lock);
}

/* ---- both modes -------------------------------------------------------------------------------------------------- */

static int engine_wait(weft_engine *engine, weft__event *event, int64_t deadline_ns)
{
    weft__memory *memory = memory_of(engine);
    return engine->stepped ? wait_stepped(memory, event, deadline_ns) : wait_threaded(memory, event, deadline_ns);
}

static void engine_post(weft_engine *engine, weft__event *event)
{
    weft__memory *memory = memory_of(engine);
    weft__memory_lock(memory);
    weft__event_post(event);
    for (weft__list_node *node = weft__list_first(&memory->waiters); node != NULL;
         node = weft__list_next(&memory->waiters, node)) {
        struct waiter *waiter = WEFT__CONTAINER_OF(node, struct waiter, node);
        if (waiter->event == event)
            wake(memory, waiter);
    }
    weft__memory_unlock(memory);
}

/* Sets the timer for the first alarm that is left. */
static void set_next(weft__memory *memory, weft__malarms *alarms)
{
    const weft__heap_node *first = weft__heap_first(&alarms->heap);
    weft__memory_unset(&alarms->next.task);
    if (first != NULL)
        weft__memory_set(memory, &alarms->next, first->key);
}

static void run_alarms(weft__memory *memory, weft__task *task)
{
    weft__malarms *alarms = WEFT__CONTAINER_OF(task, weft__malarms, next.task);
    weft__heap_node *first = weft__heap_first(&alarms->heap);
    if (first != NULL && first->key <= weft__memory_now(memory)) {
        weft__alarm *alarm = WEFT__CONTAINER_OF(first, weft__alarm, node);
        weft__heap_remove(&alarms->heap, first);
        weft__memory_unlock(memory);
        alarm->run(alarm);
        weft__memory_lock(memory);
    }
    set_next(memory, alarms);
}

static int alarm_set(weft_engine *engine, weft__alarm *alarm, int64_t at_ns)
{
    weft__memory *memory = memory_of(engine);
    weft__malarms *alarms = &memory->alarms[alarm->background];
    weft__memory_lock(memory);
    weft__heap_push(&alarms->heap, &alarm->node, at_ns);
    set_next(memory, alarms);
    weft__memory_unlock(memory);
    return 0;
}

static bool alarm_cancel(weft_engine *engine, weft__alarm *alarm)
{
    weft__memory *memory = memory_of(engine);
    weft__malarms *alarms = &memory->alarms[alarm->background];
    weft__memory_lock(memory);
    bool was_set = weft__heap_remove(&alarms->heap, &alarm->node);
    set_next(memory, alarms);
    weft__memory_unlock(memory);
    return was_set;
}

/* Lets everything happen that can happen at the present time. */
static void settle(weft__memory *memory)
{
    if (memory->base.stepped)
        (void)step(memory, SIZE_MAX);
    else
        wait_quiet(memory);
}

void weft_test_advance(weft_engine *engine, int64_t ns)
{
    weft__memory *memory = weft__memory_from(engine);
    if (memory == NULL || weft__thread_is_loop() || worker_of == memory) /* a worker would wait for itself */
        return;
    if (!engine->stepped)
        pthread_mutex_lock(&memory->advancing);
    weft__memory_lock(memory);
    settle(memory);
    int64_t target_ns = weft__clock_deadline_ns(weft__memory_now(memory), ns > 0 ? ns : 0);
    for (int64_t at_ns = next_time(memory); at_ns != INT64_MAX && at_ns <= target_ns; at_ns = next_time(memory)) {
        move_time(memory, at_ns);
        settle(memory);
    }
    move_time(memory, target_ns);
    weft__memory_unlock(memory);
    if (!engine->stepped)
        pthread_mutex_unlock(&memory->advancing);
}

/* ---- the engine -------------------------------------------------------------------------------------------------- */

static void free_memory(weft__memory *memory)
{
    weft__memory_free_calls(memory);
    weft__memory_free_messages(memory);
    weft__memory_free_faults(memory);
    for (weft__list_node *node = weft__list_pop_front(&memory->names); node != NULL;
         node = weft__list_pop_front(&memory->names))
        free(WEFT__CONTAINER_OF(node, weft__mname, node));
    pthread_cond_destroy(&memory->quiet);
    pthread_cond_destroy(&memory->work);
    pthread_mutex_destroy(&memory->advancing);
    pthread_mutex_destroy(&memory->lock);
    free(memory);
}

static void engine_destroy(weft_engine *engine)
{
    weft__memory *memory = memory_of(engine);
    if (!engine->stepped) {
        pthread_mutex_lock(&memory->lock);
        memory->stopping = true;
        pthread_cond_signal(&memory->work);
        pthread_mutex_unlock(&memory->lock);
        pthread_join(memory->thread, NULL);
    }
    free_memory(memory);
}

static const weft__engine_vtable vtable = {
    .name = "memory",
    .destroy = engine_destroy,
    .wait = engine_wait,
    .post = engine_post,
    .alarm_set = alarm_set,
    .alarm_cancel = alarm_cancel,
    .tx_alloc = weft__memory_tx_alloc,
    .tx_ref = weft__memory_tx_ref,
    .tx_unref = weft__memory_tx_unref,
    .rx_gather = weft__memory_rx_gather,
    .rx_release = weft__memory_rx_release,
    .md_at = weft__memory_md_at,
    .bind_name = weft__memory_bind_name,
    .unbind_name = weft__memory_unbind_name,
    .server_new = weft__memory_server_new,
    .channel_new = weft__memory_channel_new,
};

static int init_locks(weft__memory *memory)
{
    int error = pthread_mutex_init(&memory->lock, NULL);
    if (error != 0)
        return -error;
    error = pthread_mutex_init(&memory->advancing, NULL);
    if (error != 0)
        goto fail_advancing;
    error = pthread_cond_init(&memory->work, NULL);
    if (error != 0)
        goto fail_work;
    error = pthread_cond_init(&memory->quiet, NULL);
    if (error == 0)
        return 0;
    pthread_cond_destroy(&memory->work);
fail_work:
    pthread_mutex_destroy(&memory->advancing);
fail_advancing:
    pthread_mutex_destroy(&memory->lock);
    return -error;
}

int weft_memory_engine_new(weft_engine **out, const weft_memory_engine_options *options)
{
    weft_memory_engine_options o;
    memset(&o, 0, sizeof o);
    int rc = weft__options_copy(&o, sizeof o, options);
    if (rc < 0)
        return rc;
    if (o.max_buffered_bytes < 0)
        return -EINVAL;
    weft__memory *memory = calloc(1, sizeof *memory);
    if (memory == NULL)
        return -ENOMEM;
    rc = init_locks(memory);
    if (rc < 0) {
        free(memory);
        return rc;
    }
    weft__engine_init(&memory->base, &vtable, &memory->clock, &memory->random, o.log);
    memory->base.stepped = !o.threaded;
    memory->clock = (weft__clock){.now_ns = clock_now, .wall_ns = clock_wall};
    memory->random.next = random_next;
    (void)weft__random_seed(&memory->source, o.seed != 0 ? o.seed : 1);
    memory->max_buffered_bytes = o.max_buffered_bytes > 0 ? o.max_buffered_bytes : 64 * 1024;
    atomic_init(&memory->now_ns, first_ns);
    memory->last_port = first_port - 1;
    weft__list *const lists[] = {&memory->queue,  &memory->timers, &memory->names, &memory->channels,
                                 &memory->faults, &memory->frames, &memory->calls, &memory->waiters};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        weft__list_init(lists[i]);
    for (size_t i = 0; i < sizeof memory->alarms / sizeof *memory->alarms; i++) {
        memory->alarms[i].next.task.run = run_alarms;
        memory->alarms[i].next.background = i > 0;
    }
    if (o.threaded) {
        memory->hooks = (weft__pool_hooks){
            .queued = job_queued, .dropped = job_gone, .begin = job_begins, .end = job_ends, .arg = memory};
        memory->base.pool_hooks = &memory->hooks;
        rc = weft__thread_start(&memory->thread, 0, "weft-memory", run_thread, memory);
        if (rc < 0) {
            free_memory(memory);
            return rc;
        }
    }
    *out = &memory->base;
    return 0;
}
