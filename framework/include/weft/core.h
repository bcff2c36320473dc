/* weft/core.h: the engine on gRPC core (libweft-core). */
#ifndef WEFT_CORE_H
#define WEFT_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/engine.h>
#include <weft/log.h>

WEFT_BEGIN_DECLS

typedef struct weft_core_engine_options {
    size_t struct_size; /* set by WEFT_CORE_ENGINE_OPTIONS_INIT */
    int64_t threads;    /* optional; polling threads. Default: the CPUs this process may run on */
    int64_t queues; /* optional; completion queues, two threads each at most. Default: half the threads, rounded up */
    weft_log *log;  /* optional; outlives the engine. Default: nothing is logged */
    bool keep_grpc_log; /* optional; true leaves gRPC core's log (a process-wide setting) alone. Default: it goes to
                           `log` */
    int64_t max_buffered_bytes; /* optional; what the connections of one server buffer together, messages that are still
                                   arriving included; beyond it gRPC core closes some. Default: 512 MiB; -1: no limit */
} weft_core_engine_options;
#define WEFT_CORE_ENGINE_OPTIONS_INIT WEFT__INIT(weft_core_engine_options)

/**
 * Makes an engine on gRPC core. Do not fork after this: use after fork() is -ECHILD.
 *
 * @param options may be NULL: all defaults.
 * @return 0; -EINVAL; -E2BIG an option that this library does not know; -ENOMEM; -EAGAIN no thread could be started. (A
 * failed allocation inside gRPC core itself aborts.)
 */
WEFT_API int weft_core_engine_new(weft_engine **out, const weft_core_engine_options *options);

/* The same with all defaults and a log, as a program wants it (weft/program.h). */
WEFT_API int weft_core_program_engine(weft_engine **out, weft_log *log);

WEFT_END_DECLS
#endif
