/* An engine that is only a name, a clock and what it says of TLS. */
#ifndef WEFT_TESTS_FAKE_ENGINE_H
#define WEFT_TESTS_FAKE_ENGINE_H

#include "base/list.h"
#include "transport/transport.h"

typedef struct fake_engine {
    weft_engine base;
    weft__clock clock;
    int64_t now_ns;
    weft__engine_vtable vtable;
} fake_engine;

static int64_t fake_now(weft__clock *clock)
{
    return WEFT__CONTAINER_OF(clock, fake_engine, clock)->now_ns;
}

static inline void fake_engine_init(fake_engine *engine)
{
    *engine = (fake_engine){.vtable = {.name = "fake", .tls_min_version = 12}};
    engine->clock.now_ns = fake_now;
    weft__engine_init(&engine->base, &engine->vtable, &engine->clock, NULL, NULL);
}

#endif
