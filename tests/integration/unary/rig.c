#include "integration/unary/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft/core.h>
#include <weft/testing.h>

void rig_check(struct rig *rig, bool holds, const char *text)
{
    const char *none = NULL;
    if (!holds)
        (void)atomic_compare_exchange_strong(&rig->broken, &none, text);
}

weft_code rig_echo(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                   struct rig *rig)
{
    (void)rig;
    User__User *user = weft_arena_alloc(weft_call_arena(call), sizeof *user);
    if (user == NULL)
        return weft_fail_errno(call, -12);
    user__user__init(user);
    user->id = request->id;
    user->name = weft_arena_printf(weft_call_arena(call), "user %s", request->id);
    response->user = user;
    return WEFT_OK;
}

weft_code rig_wait(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                   struct rig *rig)
{
    weft__event_post(&rig->entered);
    pthread_mutex_lock(&rig->releasing);
    RIG_CHECK(rig, weft__event_wait(&rig->release, INT64_MAX) == 0);
    pthread_mutex_unlock(&rig->releasing);
    return rig_echo(call, request, response, rig);
}

void rig_finish_deferred(struct rig *rig, weft_code code)
{
    weft_call *call = rig->deferred;
    rig->deferred = NULL;
    if (call != NULL)
        weft_call_finish(call, code, NULL);
}

static weft_code get_user(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                          void *self)
{
    struct rig *rig = self;
    atomic_fetch_add(&rig->handled, 1);
    return rig->get_user(call, request, response, rig);
}

static const user_UserService_ops ops = {.GetUser = get_user};

static struct rig *rig_new(rig_kind kind)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->kind = kind;
    rig->get_user = rig_echo;
    assert_int_equal(weft__event_init(&rig->entered), 0);
    assert_int_equal(weft__event_init(&rig->release), 0);
    assert_int_equal(pthread_mutex_init(&rig->releasing, NULL), 0);
    assert_int_equal(weft_arena_new(&rig->arena, 0), 0);
    if (kind == RIG_CORE) {
        weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
        options.threads = 2;
        assert_int_equal(weft_core_engine_new(&rig->engine, &options), 0);
    } else {
        weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
        options.threaded = kind == RIG_THREADED;
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

int rig_teardown(void **state)
{
    struct rig *rig = *state;
    /* A test that failed half-way leaves calls behind, which the server's end would wait for. */
    weft__event_post(&rig->release);
    rig_finish_deferred(rig, WEFT_CANCELLED);
    weft_channel_free(rig->channel);
    weft_server_free(rig->server);
    assert_int_equal(weft_engine_free(rig->engine), 0);
    weft_arena_free(rig->arena);
    weft__event_fini(&rig->entered);
    weft__event_fini(&rig->release);
    pthread_mutex_destroy(&rig->releasing);
    const char *broken = atomic_load(&rig->broken);
    free(rig);
    if (broken != NULL)
        fail_msg("in a handler: %s", broken);
    return 0;
}

rig_options rig_default_options(void)
{
    rig_options options = {WEFT_SERVER_OPTIONS_INIT, WEFT_CHANNEL_OPTIONS_INIT, WEFT_METHOD_OPTIONS_INIT};
    options.server.workers = 4;
    options.server.quiet_ms = 20;
    options.get_user.method = "GetUser";
    return options;
}

void rig_start(struct rig *rig, const rig_options *options)
{
    const rig_options defaults = rig_default_options();
    if (options == NULL)
        options = &defaults;
    weft_service_options service = WEFT_SERVICE_OPTIONS_INIT;
    service.methods = &options->get_user;
    service.method_count = 1;
    assert_int_equal(weft_server_new(&rig->server, rig->engine, &options->server), 0);
    assert_int_equal(user_UserService_register(rig->server, &ops, rig, &service), 0);
    assert_int_equal(weft_server_listen(rig->server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(rig->server), 0);
    const char *address = weft_server_address(rig->server, 0);
    assert_non_null(address);
    snprintf(rig->target, sizeof rig->target, "%s", address);
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, rig->target, &options->channel), 0);
}

static weft_status get(struct rig *rig, weft_arena *arena, const char *id, const weft_call_options *options,
                       User__GetUserResponse **response)
{
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    request.id = (char *)(uintptr_t)id;
    return user_UserService_GetUser(rig->channel, arena, options, &request, response);
}

weft_status rig_get(struct rig *rig, const char *id, weft_call_options *options, User__GetUserResponse **response)
{
    User__GetUserResponse *ignored = NULL;
    return get(rig, rig->arena, id, options, response != NULL ? response : &ignored);
}

static void *call_on_thread(void *arg)
{
    struct rig_caller *caller = arg;
    weft_arena *arena = NULL;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    User__GetUserResponse *response = NULL;
    options.timeout_ms = caller->timeout_ms;
    if (weft_arena_new(&arena, 0) < 0)
        return NULL;
    caller->status = get(caller->rig, arena, caller->id, &options, &response);
    snprintf(caller->message, sizeof caller->message, "%s", caller->status.message);
    caller->status.message = caller->message; /* outlives the arena */
    caller->status.details = (weft_sv){NULL, 0};
    weft_arena_free(arena);
    return NULL;
}

void rig_caller_start(struct rig_caller *caller, struct rig *rig, const char *id, int64_t timeout_ms)
{
    *caller = (struct rig_caller){.rig = rig, .id = id, .timeout_ms = timeout_ms, .status = {.code = WEFT_UNKNOWN}};
    assert_int_equal(pthread_create(&caller->thread, NULL, call_on_thread, caller), 0);
}

void rig_caller_join(struct rig_caller *caller)
{
    assert_int_equal(pthread_join(caller->thread, NULL), 0);
}
