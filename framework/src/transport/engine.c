/* engine.c: what all engines share. */
#include <errno.h>
#include <unistd.h>

#include "base/thread.h"
#include "transport/transport.h"

void weft__engine_init(weft_engine *engine, const weft__engine_vtable *vtable, weft__clock *clock, weft__random *random,
                       weft_log *log)
{
    engine->vtable = vtable;
    engine->clock = clock;
    engine->random = random;
    engine->log = log;
    engine->pool_hooks = NULL;
    engine->stepped = false;
    engine->loses_late_calls = false;
    engine->pid = getpid();
    atomic_init(&engine->users, 0);
}

bool weft__engine_forked(const weft_engine *engine)
{
    return engine->pid != getpid();
}

int weft__engine_use(weft_engine *engine)
{
    if (weft__engine_forked(engine))
        return -ECHILD;
    atomic_fetch_add_explicit(&engine->users, 1, memory_order_relaxed);
    return 0;
}

void weft__engine_unuse(weft_engine *engine)
{
    atomic_fetch_sub_explicit(&engine->users, 1, memory_order_release);
}

int weft__engine_wait(weft_engine *engine, weft__event *event, int64_t deadline_ns)
{
    if (weft__thread_is_loop())
        return -EDEADLK;
    return engine->vtable->wait(engine, event, deadline_ns);
}

int64_t weft_engine_now_ns(weft_engine *engine)
{
    return engine->clock->now_ns(engine->clock);
}

int weft_engine_free(weft_engine *engine)
{
    if (engine == NULL)
        return 0;
    if (weft__engine_forked(engine))
        return -ECHILD;
    if (atomic_load_explicit(&engine->users, memory_order_acquire) != 0)
        return -EBUSY;
    engine->vtable->destroy(engine);
    return 0;
}
