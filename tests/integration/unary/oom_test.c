/* One unary call from engine to engine, with every allocation failing in turn: an error comes back, nothing leaks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/alloc_fault.h"
#include "user.weft.h"

#include <weft/testing.h>
#include <weft/weft.h>

/* Larger than the first blocks of server's and client's arenas, so that both go to the heap. */
enum {
    NAME_BYTES = 10000
};

static weft_code get_user(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                          void *self)
{
    weft_arena *arena = weft_call_arena(call);
    User__User *user = weft_arena_alloc(arena, sizeof *user);
    char *name = weft_arena_alloc(arena, NAME_BYTES + 1);
    (void)self;
    if (user == NULL || name == NULL)
        return weft_fail_errno(call, -ENOMEM);
    int rc = weft_call_add_header(call, "x-header", weft_sv_from("value"));
    if (rc < 0)
        return weft_fail_errno(call, rc);
    memset(name, 'n', NAME_BYTES);
    name[NAME_BYTES] = '\0';
    user__user__init(user);
    user->id = request->id;
    user->name = name;
    response->user = user;
    return WEFT_OK;
}

static int ask(weft_channel *channel)
{
    static const weft_metadatum metadata = {{"x-key", 5}, {"value", 5}};
    char id[] = "42, and so on and so on and so on and so on and so on and so on and so on and so on";
    char block[WEFT_ARENA_MIN_BLOCK];
    weft_arena *arena;
    weft_call_info info = WEFT_CALL_INFO_INIT;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *response = NULL;
    options.metadata = &metadata;
    options.metadata_count = 1;
    options.info = &info;
    options.timeout_ms = 1000;
    request.id = id;
    assert_int_equal(weft_arena_init(&arena, block, sizeof block, 0), 0);
    weft_status status = user_UserService_GetUser(channel, arena, &options, &request, &response);
    if (status.code == WEFT_OK) {
        assert_int_equal(strlen(response->user->name), NAME_BYTES);
        assert_string_equal(response->user->id, id);
    } else if (status.code != WEFT_RESOURCE_EXHAUSTED && status.code != WEFT_UNAVAILABLE &&
               status.code != WEFT_CANCELLED) { /* no connection; no memory even for a status */
        fail_msg("%s: %s", weft_code_name(status.code), status.message);
    }
    weft_arena_fini(arena);
    return status.code == WEFT_OK ? 0 : -ENOMEM;
}

/* `context` is the weft_compression of server and channel. */
static int serve_and_ask(void *context)
{
    static const user_UserService_ops ops = {.GetUser = get_user};
    weft_engine *engine = NULL;
    weft_server *server = NULL;
    weft_channel *channel = NULL;
    weft_server_options server_options = WEFT_SERVER_OPTIONS_INIT;
    weft_channel_options channel_options = WEFT_CHANNEL_OPTIONS_INIT;
    server_options.compression = channel_options.compression = *(const weft_compression *)context;
    int rc = weft_memory_engine_new(&engine, NULL);
    if (rc == 0)
        rc = weft_server_new(&server, engine, &server_options);
    if (rc == 0)
        rc = user_UserService_register(server, &ops, NULL, NULL);
    if (rc == 0)
        rc = weft_server_listen(server, "users:50051");
    if (rc == 0)
        rc = weft_server_start(server);
    if (rc == 0)
        rc = weft_channel_new(&channel, engine, "users:50051", &channel_options);
    if (rc == 0)
        rc = ask(channel);
    weft_channel_free(channel);
    weft_server_free(server);
    assert_int_equal(weft_engine_free(engine), 0);
    return rc;
}

static void a_call_survives_the_failure_of_each_allocation(void **state)
{
    weft_compression compression = WEFT_COMPRESSION_NONE;
    (void)state;
    assert_true(weft_test_oom_sweep_mending(serve_and_ask, &compression) > 20);
}

static void a_compressed_call_survives_the_failure_of_each_allocation(void **state)
{
    weft_compression none = WEFT_COMPRESSION_NONE;
    weft_compression gzip = WEFT_COMPRESSION_GZIP;
    (void)state;
    long without = weft_test_oom_sweep_mending(serve_and_ask, &none);
    assert_true(weft_test_oom_sweep_mending(serve_and_ask, &gzip) > without + 10);
}

/* The same on a server that has run before: what fails is only the call. */
static void a_running_server_survives_the_failure_of_each_allocation(void **state)
{
    static const user_UserService_ops ops = {.GetUser = get_user};
    weft_engine *engine;
    weft_server *server;
    weft_channel *channel;
    long live = weft_test_alloc_live();
    long failures = 0;
    (void)state;
    assert_int_equal(weft_memory_engine_new(&engine, NULL), 0);
    assert_int_equal(weft_server_new(&server, engine, NULL), 0);
    assert_int_equal(user_UserService_register(server, &ops, NULL, NULL), 0);
    assert_int_equal(weft_server_listen(server, "users:50051"), 0);
    assert_int_equal(weft_server_start(server), 0);
    assert_int_equal(weft_channel_new(&channel, engine, "users:50051", NULL), 0);
    for (;;) {
        assert_int_equal(ask(channel), 0);
        weft_test_alloc_fail_at(failures + 1);
        int rc = ask(channel);
        bool struck = weft_test_alloc_failed();
        weft_test_alloc_fail_at(0);
        assert_int_equal(rc, struck ? -ENOMEM : 0);
        if (!struck)
            break;
        failures++;
    }
    assert_in_range(failures, 2, 1000); /* both arenas went to the heap */
    weft_channel_free(channel);
    weft_server_free(server);
    assert_int_equal(weft_engine_free(engine), 0);
    assert_int_equal(weft_test_alloc_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_survives_the_failure_of_each_allocation),
        cmocka_unit_test(a_compressed_call_survives_the_failure_of_each_allocation),
        cmocka_unit_test(a_running_server_survives_the_failure_of_each_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
