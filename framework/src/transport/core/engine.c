/* engine.c: the engine on gRPC core: completion queues, the threads that drain them, and time.
 *
 * Design notes
 * - gRPC core does its reading and writing on the threads that sit in a completion queue, so these threads are the
 *   engine. Two a queue at most: more fight over the queue's lock (measured; see docs/internals).
 * - A queue's thread only calls the tag it got. What tags belong to is told in server.c, server_call.c, channel.c and
 *   client_call.c.
 * - A message that gRPC core could take or give at once would still go through the queue: a thread of the program that
 *   sends or receives would wake the queue's thread, and wait to be woken by it. gRPC core can keep back one completion
 *   of a queue for the thread that causes it, which is used there: a message on a worker costs a half to a fifth.
 *   That completion may be another call's, with callbacks that must not run here; it is passed on.
 * - The queues are shut down when no server and no channel is left, so nothing is outstanding on them by then.
 */
#define _GNU_SOURCE /* sched_getaffinity */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/support/time.h>
#include <weft/core.h>

#include "base/options.h"
#include "base/thread.h"
#include "transport/core/core.h"

enum {
    MAX_THREADS = 1024,
    THREADS_PER_QUEUE = 2,
    MAX_BUFFERED_BYTES = 512 << 20
};

void weft__core_block_signals(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, before);
}

void weft__core_unblock_signals(const sigset_t *before)
{
    (void)pthread_sigmask(SIG_SETMASK, before, NULL);
}

gpr_timespec weft__core_time(int64_t ns)
{
    if (ns == INT64_MAX)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    gpr_timespec time = gpr_time_from_nanos(ns, GPR_TIMESPAN);
    time.clock_type = GPR_CLOCK_MONOTONIC;
    return time;
}

int64_t weft__core_time_ns(gpr_timespec time)
{
    static const int64_t ns_per_s = 1000000000;
    if (time.tv_sec >= INT64_MAX / ns_per_s)
        return INT64_MAX;
    if (time.tv_sec < 0)
        return 0;
    return time.tv_sec * ns_per_s + time.tv_nsec;
}

int weft__core_int(int64_t limit, int none)
{
    return limit > INT_MAX ? none : (int)limit;
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

static void *run_queue(void *arg)
{
    grpc_completion_queue *queue = arg;
    weft__thread_set_loop(true);
    for (;;) {
        grpc_event event = grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE) {
            weft_core_tag *tag = event.tag;
            bool ok = event.success != 0 && !tag->failed;
            tag->failed = false;
            tag->run(tag, ok);
        }
    }
}

/* Has a tag called by the thread of a queue: an empty batch, of any call of that queue, completes at once. */
static void pass_on(grpc_call *call, weft_core_tag *tag, bool ok)
{
    tag->failed = !ok;
    (void)grpc_call_start_batch(call, NULL, 0, tag, NULL);
}

grpc_call_error weft__core_start(grpc_completion_queue *queue, grpc_call *call, const grpc_op *ops, size_t count,
                                 weft_core_tag *tag)
{
    if (weft__thread_is_loop())
        return grpc_call_start_batch(call, ops, count, tag, NULL);
    grpc_completion_queue_thread_local_cache_init(queue);
    grpc_call_error error = grpc_call_start_batch(call, ops, count, tag, NULL);
    void *complete = NULL;
    int ok = 0;
    if (!grpc_completion_queue_thread_local_cache_flush(queue, &complete, &ok))
        return error;
    if (complete == tag)
        tag->run(tag, ok != 0);
    else
        pass_on(call, complete, ok != 0);
    return error;
}

static int64_t cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) < 1)
        return 1;
    return CPU_COUNT(&set);
}

/* ---- the engine -------------------------------------------------------------------------------------------------- */

static int wait_event(weft_engine *engine, weft__event *event, int64_t deadline_ns)
{
    (void)engine;
    return weft__event_wait(event, deadline_ns);
}

static void post_event(weft_engine *engine, weft__event *event)
{
    (void)engine;
    weft__event_post(event);
}

static int set_alarm(weft_engine *engine, weft__alarm *alarm, int64_t at_ns)
{
    return weft__alarms_set(weft__core_engine(engine)->alarms, alarm, at_ns);
}

static bool cancel_alarm(weft_engine *engine, weft__alarm *alarm)
{
    return weft__alarms_cancel(weft__core_engine(engine)->alarms, alarm);
}

static void stop(weft_core_engine *engine)
{
    weft__alarms_free(engine->alarms);
    for (size_t i = 0; i < engine->queue_count; i++)
        grpc_completion_queue_shutdown(engine->queues[i]);
    for (size_t i = 0; i < engine->thread_count; i++)
        pthread_join(engine->threads[i], NULL);
    for (size_t i = 0; i < engine->queue_count; i++)
        grpc_completion_queue_destroy(engine->queues[i]);
    grpc_shutdown();
    weft__core_log_give_back(engine);
    free(engine->queues);
    free(engine->threads);
    free(engine);
}

static void destroy(weft_engine *base)
{
    stop(weft__core_engine(base));
}

static const weft__engine_vtable vtable = {
    .name = "core",
    .tls_min_version = 12,
    .destroy = destroy,
    .wait = wait_event,
    .post = post_event,
    .alarm_set = set_alarm,
    .alarm_cancel = cancel_alarm,
    .tx_alloc = weft__core_tx_alloc,
    .tx_ref = weft__core_tx_ref,
    .tx_unref = weft__core_tx_unref,
    .rx_gather = weft__core_rx_gather,
    .rx_release = weft__core_rx_release,
    .md_at = weft__core_md_at,
    .server_new = weft__core_server_new,
    .channel_new = weft__core_channel_new,
};

static int read_options(weft_core_engine_options *out, const weft_core_engine_options *options)
{
    weft_core_engine_options o;
    memset(&o, 0, sizeof o);
    int rc = weft__options_copy(&o, sizeof o, options);
    if (rc < 0)
        return rc;
    if (o.threads < 0 || o.threads > MAX_THREADS || o.queues < 0 || o.queues > MAX_THREADS)
        return -EINVAL;
    rc = weft__limit(&o.max_buffered_bytes, MAX_BUFFERED_BYTES, 1 << 20);
    if (rc < 0)
        return rc;
    if (o.threads == 0) {
        o.threads = cpus() < MAX_THREADS ? cpus() : MAX_THREADS;
        if (o.queues > 0 && o.threads < o.queues)
            o.threads = o.queues;
        if (o.queues > 0 && o.threads > o.queues * THREADS_PER_QUEUE)
            o.threads = o.queues * THREADS_PER_QUEUE;
    }
    if (o.queues == 0)
        o.queues = (o.threads + THREADS_PER_QUEUE - 1) / THREADS_PER_QUEUE;
    if (o.threads < o.queues || o.threads > o.queues * THREADS_PER_QUEUE)
        return -EINVAL;
    *out = o;
    return 0;
}

/* Starts queues and threads; what was started before a failure is counted, for stop. */
static int start(weft_core_engine *engine, const weft_core_engine_options *options)
{
    engine->queues = calloc((size_t)options->queues, sizeof(grpc_completion_queue *));
    engine->threads = calloc((size_t)options->threads, sizeof(pthread_t));
    if (engine->queues == NULL || engine->threads == NULL || weft__alarms_new(&engine->alarms) < 0)
        return -ENOMEM;
    while (engine->queue_count < (size_t)options->queues)
        engine->queues[engine->queue_count++] = grpc_completion_queue_create_for_next(NULL);
    while (engine->thread_count < (size_t)options->threads) {
        grpc_completion_queue *queue = engine->queues[engine->thread_count % engine->queue_count];
        int rc = weft__thread_start(&engine->threads[engine->thread_count], 0, "weft-core", run_queue, queue);
        if (rc < 0)
            return rc;
        engine->thread_count++;
    }
    return 0;
}

int weft_core_engine_new(weft_engine **out, const weft_core_engine_options *options)
{
    weft_core_engine_options o;
    int rc = read_options(&o, options);
    if (rc < 0)
        return rc;
    weft_core_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL)
        return -ENOMEM;
    weft__engine_init(&engine->base, &vtable, weft__clock_system(), weft__random_system(), o.log);
    engine->max_buffered_bytes = o.max_buffered_bytes;
    engine->base.loses_late_calls = true;
    if (!o.keep_grpc_log)
        weft__core_log_take(engine);
    sigset_t before;
    weft__core_block_signals(&before);
    grpc_init();
    rc = start(engine, &o);
    weft__core_unblock_signals(&before);
    if (rc < 0) {
        stop(engine);
        return rc;
    }
    *out = &engine->base;
    return 0;
}

int weft_core_program_engine(weft_engine **out, weft_log *log)
{
    weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
    options.log = log;
    return weft_core_engine_new(out, &options);
}
