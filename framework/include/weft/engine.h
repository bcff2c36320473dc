/* weft/engine.h: what servers and channels run on. A program makes one engine first (weft/core.h, weft/testing.h) and
 * frees it last. It owns the threads, the clock and the polling. */
#ifndef WEFT_ENGINE_H
#define WEFT_ENGINE_H

#include <stdint.h>

#include <weft/version.h>

WEFT_BEGIN_DECLS

typedef struct weft_engine weft_engine;

/* The engine's monotonic clock in nanoseconds: virtual in the memory engine. Thread: any. */
WEFT_API int64_t weft_engine_now_ns(weft_engine *engine);

/**
 * Frees an engine. Blocks until its threads have ended.
 *
 * @return 0; -EBUSY, and nothing is freed, while a server, channel or weft_tls made on it still exists; -ECHILD after
 *         fork. NULL is fine. Thread: setup, never one of the engine's own.
 */
WEFT_API int weft_engine_free(weft_engine *engine);

WEFT_END_DECLS
#endif
