#include "integration/builtin/rig.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft/core.h>
#include <weft/testing.h>

#include "user.weft.h"

static struct rig *rig_new(rig_kind kind)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->kind = kind;
    if (kind == RIG_CORE) {
        weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
        options.threads = 2;
        assert_int_equal(weft_core_engine_new(&rig->engine, &options), 0);
    } else {
        weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
        options.threaded = kind == RIG_THREADED;
        options.max_buffered_bytes = 1; /* a message that is not read holds back the next */
        assert_int_equal(weft_memory_engine_new(&rig->engine, &options), 0);
    }
    return rig;
}

int rig_setup_core(void **state)
{
    *state = rig_new(RIG_CORE);
    return 0;
}

int rig_setup_stepped(void **state)
{
    *state = rig_new(RIG_STEPPED);
    return 0;
}

int rig_setup_threaded(void **state)
{
    *state = rig_new(RIG_THREADED);
    return 0;
}

int rig_make(struct rig *rig, const weft_server_options *server, const weft_health_options *health)
{
    static const user_UserService_ops ops;
    weft_server_options defaults = WEFT_SERVER_OPTIONS_INIT;
    defaults.quiet_ms = 20;
    int rc = weft_arena_new(&rig->arena, 0);
    if (rc == 0)
        rc = weft_server_new(&rig->server, rig->engine, server != NULL ? server : &defaults);
    if (rc == 0)
        rc = weft_health_new(&rig->health, health);
    if (rc == 0)
        rc = weft_health_register(rig->server, rig->health);
    if (rc == 0)
        rc = weft_reflection_register(rig->server);
    if (rc == 0)
        rc = user_UserService_register(rig->server, &ops, NULL, NULL);
    return rc;
}

int rig_serve(struct rig *rig)
{
    int rc = weft_server_listen(rig->server, "127.0.0.1:0");
    if (rc == 0)
        rc = weft_server_start(rig->server);
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.max_streams = -1; /* thousands watch on one connection */
    if (rc == 0)
        rc = weft_channel_new(&rig->channel, rig->engine, weft_server_address(rig->server, 0), &options);
    return rc;
}

void rig_start(struct rig *rig, const weft_server_options *server, const weft_health_options *health)
{
    assert_int_equal(rig_make(rig, server, health), 0);
    assert_int_equal(rig_serve(rig), 0);
}

void rig_unmake(struct rig *rig)
{
    weft_channel_free(rig->channel);
    weft_server_free(rig->server);
    weft_health_free(rig->health);
    weft_arena_free(rig->arena);
    rig->channel = NULL;
    rig->server = NULL;
    rig->health = NULL;
    rig->arena = NULL;
}

int rig_teardown(void **state)
{
    struct rig *rig = *state;
    rig_unmake(rig);
    assert_int_equal(weft_engine_free(rig->engine), 0);
    free(rig);
    return 0;
}

void rig_wait_for_calls(struct rig *rig, uint64_t calls)
{
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    for (;;) {
        (void)weft_test_step(rig->engine, SIZE_MAX);
        assert_int_equal(weft_server_read_stats(rig->server, &stats), 0);
        if (stats.calls == calls)
            return;
        if (rig->kind == RIG_STEPPED)
            fail_msg("%d calls run, not %d", (int)stats.calls, (int)calls);
        sched_yield();
    }
}
