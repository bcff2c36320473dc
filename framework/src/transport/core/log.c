/* log.c: gRPC core's log, a process-wide setting, into ours.
 *
 * Design notes
 * - gRPC core calls the hook on any thread, also after an engine is gone (its last threads end by themselves), so the
 *   target is looked up under a lock and cleared when its engine is freed. weft_log_write never blocks under it.
 * - What gRPC core calls an error is mostly a peer's or a caller's mistake (an illegal key, a disabled compression), so
 *   it becomes a warning here.
 */
#include <grpc/support/log.h>

#include "transport/core/core.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const weft_core_engine *owner; /* NULL: the hook is not set */

static weft_log_level level_of(gpr_log_severity severity)
{
    switch (severity) {
    case GPR_LOG_SEVERITY_ERROR:
        return WEFT_LOG_WARN;
    case GPR_LOG_SEVERITY_INFO:
    case GPR_LOG_SEVERITY_DEBUG:
        break;
    }
    return WEFT_LOG_DEBUG;
}

static void on_log(gpr_log_func_args *line)
{
    pthread_mutex_lock(&lock);
    if (owner != NULL)
        weft_log_write(
            owner->base.log, level_of(line->severity), "grpc core",
            WEFT_FIELDS(WEFT_STR("text", line->message), WEFT_STR("file", line->file), WEFT_INT("line", line->line)));
    pthread_mutex_unlock(&lock);
}

void weft__core_log_take(weft_core_engine *engine)
{
    pthread_mutex_lock(&lock);
    owner = engine;
    engine->took_log = true;
    pthread_mutex_unlock(&lock);
    gpr_set_log_function(on_log);
}

void weft__core_log_give_back(weft_core_engine *engine)
{
    if (!engine->took_log)
        return;
    pthread_mutex_lock(&lock);
    bool last = owner == engine;
    if (last)
        owner = NULL;
    pthread_mutex_unlock(&lock);
    if (last)
        gpr_set_log_function(NULL);
}
