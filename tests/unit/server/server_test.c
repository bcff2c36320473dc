/* A server before it serves: its options, what is added to it, and its addresses. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <weft/testing.h>
#include <weft/weft.h>

#include "user.weft.h"

static const user_UserService_ops no_ops = {.GetUser = NULL};

struct fixture {
    weft_engine *engine;
    weft_server *server;
};

static struct fixture fixture;

static int setup(void **state)
{
    (void)state;
    assert_int_equal(weft_memory_engine_new(&fixture.engine, NULL), 0);
    assert_int_equal(weft_server_new(&fixture.server, fixture.engine, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    weft_server_free(fixture.server);
    assert_int_equal(weft_engine_free(fixture.engine), 0);
    return 0;
}

static int make(const weft_server_options *options)
{
    weft_server *server = NULL;
    int rc = weft_server_new(&server, fixture.engine, options);
    assert_true((rc == 0) == (server != NULL));
    weft_server_free(server);
    return rc;
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static void each_limit_takes_its_least_value_none_and_nothing_less(void **state)
{
    static const struct {
        size_t offset;
        int64_t least;
    } limits[] = {
        {offsetof(weft_server_options, worker_stack_bytes), 64 * 1024},
        {offsetof(weft_server_options, max_queued_calls), 1},
        {offsetof(weft_server_options, max_concurrent_calls), 1},
        {offsetof(weft_server_options, max_connections), 1},
        {offsetof(weft_server_options, max_streams), 1},
        {offsetof(weft_server_options, max_message_bytes), 1},
        {offsetof(weft_server_options, max_metadata_bytes), 1024},
        {offsetof(weft_server_options, max_call_bytes), 1024},
        {offsetof(weft_server_options, max_message_depth), 1},
        {offsetof(weft_server_options, max_message_fields), 1},
        {offsetof(weft_server_options, keepalive_ms), 1000},
        {offsetof(weft_server_options, keepalive_timeout_ms), 100},
        {offsetof(weft_server_options, max_connection_age_ms), 1},
        {offsetof(weft_server_options, max_connection_age_grace_ms), 1},
        {offsetof(weft_server_options, max_connection_idle_ms), 1},
        {offsetof(weft_server_options, quiet_ms), 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
        int64_t *limit = (int64_t *)(void *)((char *)&options + limits[i].offset);
        /* No length of time, and no stack, is without an end. */
        bool may_be_none = limits[i].offset != offsetof(weft_server_options, quiet_ms) &&
                           limits[i].offset != offsetof(weft_server_options, worker_stack_bytes);
        *limit = limits[i].least;
        assert_int_equal(make(&options), 0);
        *limit = limits[i].least - 1;
        assert_int_equal(make(&options), limits[i].least == 1 ? 0 : -EINVAL); /* 0 is the default */
        *limit = -1;
        assert_int_equal(make(&options), may_be_none ? 0 : -EINVAL);
        *limit = -2;
        assert_int_equal(make(&options), -EINVAL);
        *limit = INT64_MIN;
        assert_int_equal(make(&options), -EINVAL);
    }
}

static void there_are_at_most_ten_thousand_workers(void **state)
{
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    (void)state;
    options.workers = 10000;
    assert_int_equal(make(&options), 0);
    options.workers = 10001;
    assert_int_equal(make(&options), -EINVAL);
    options.workers = -1;
    assert_int_equal(make(&options), 0);
    options.workers = -2;
    assert_int_equal(make(&options), -EINVAL);
}

static void options_of_other_versions_are_taken_if_they_ask_for_nothing_new(void **state)
{
    struct {
        weft_server_options known;
        int64_t unknown;
    } newer = {WEFT_SERVER_OPTIONS_INIT, 0};
    (void)state;
    newer.known.struct_size = sizeof newer;
    assert_int_equal(make(&newer.known), 0);
    newer.unknown = 1;
    assert_int_equal(make(&newer.known), -E2BIG);
    weft_server_options older = WEFT_SERVER_OPTIONS_INIT;
    older.struct_size = offsetof(weft_server_options, quiet_ms);
    older.quiet_ms = -2; /* not there in that version */
    assert_int_equal(make(&older), 0);
    older.struct_size = 0;
    assert_int_equal(make(&older), -EINVAL);
}

static void a_server_needs_an_engine(void **state)
{
    weft_server *server = NULL;
    (void)state;
    assert_int_equal(weft_server_new(&server, NULL, NULL), -EINVAL);
    assert_null(server);
}

/* ---- services ---------------------------------------------------------------------------------------------------- */

static void a_service_is_added_once_and_whole(void **state)
{
    weft_method clash = user_UserService_GetUser_method;
    weft_method fresh = user_UserService_GetUser_method;
    const weft_method *const methods[] = {&fresh, &clash};
    weft_service service = user_UserService_service;
    (void)state;
    assert_int_equal(user_UserService_register(fixture.server, &no_ops, NULL, NULL), 0);
    assert_int_equal(user_UserService_register(fixture.server, &no_ops, NULL, NULL), -EEXIST);
    fresh.path = "/user.Other/GetUser";
    service.methods = methods;
    service.method_count = 2;
    assert_int_equal(weft_server_add(fixture.server, &service, &no_ops, NULL, NULL), -EEXIST);
    service.method_count = 1; /* what came before the clash was taken back */
    assert_int_equal(weft_server_add(fixture.server, &service, &no_ops, NULL, NULL), 0);
}

static void a_service_without_a_table_or_options_without_entries_are_refused(void **state)
{
    weft_service_options options = WEFT_SERVICE_OPTIONS_INIT;
    weft_method_options method = WEFT_METHOD_OPTIONS_INIT;
    (void)state;
    assert_int_equal(weft_server_add(fixture.server, NULL, &no_ops, NULL, NULL), -EINVAL);
    assert_int_equal(user_UserService_register(fixture.server, NULL, NULL, NULL), -EINVAL);
    options.method_count = 1;
    assert_int_equal(user_UserService_register(fixture.server, &no_ops, NULL, &options), -EINVAL);
    options.methods = &method; /* without a name */
    assert_int_equal(user_UserService_register(fixture.server, &no_ops, NULL, &options), -EINVAL);
    method.method = "GetUser";
    method.struct_size = 0;
    assert_int_equal(user_UserService_register(fixture.server, &no_ops, NULL, &options), -EINVAL);
    method.struct_size = sizeof method;
    method.max_concurrent_calls = -2;
    assert_int_equal(user_UserService_register(fixture.server, &no_ops, NULL, &options), -EINVAL);
    method.max_concurrent_calls = 0;
    method.max_message_bytes = -1; /* more than the server takes */
    assert_int_equal(user_UserService_register(fixture.server, &no_ops, NULL, &options), -EINVAL);
    method.max_message_bytes = 4 << 20;
    assert_int_equal(user_UserService_register(fixture.server, &no_ops, NULL, &options), 0);
}

static void a_method_that_has_no_place_in_the_table_is_unimplemented(void **state)
{
    weft_method method = user_UserService_GetUser_method;
    const weft_method *const methods[] = {&method};
    weft_service service = user_UserService_service;
    weft_channel *channel;
    weft_arena *arena;
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *response = NULL;
    (void)state;
    method.ops_offset = SIZE_MAX;
    service.methods = methods;
    service.method_count = 1;
    assert_int_equal(weft_server_add(fixture.server, &service, &no_ops, NULL, NULL), 0);
    assert_int_equal(weft_server_listen(fixture.server, "users:1"), 0);
    assert_int_equal(weft_server_start(fixture.server), 0);
    assert_int_equal(weft_channel_new(&channel, fixture.engine, "users:1", NULL), 0);
    assert_int_equal(weft_arena_new(&arena, 0), 0);
    weft_status status = user_UserService_GetUser(channel, arena, NULL, &request, &response);
    assert_int_equal(status.code, WEFT_UNIMPLEMENTED);
    weft_arena_free(arena);
    weft_channel_free(channel);
}

/* ---- addresses and statistics ------------------------------------------------------------------------------------ */

static void each_listen_has_its_address_and_port(void **state)
{
    (void)state;
    assert_null(weft_server_address(fixture.server, 0));
    assert_int_equal(weft_server_port(fixture.server, 0), 0);
    assert_int_equal(weft_server_listen(fixture.server, "users:50051"), 0);
    assert_int_equal(weft_server_listen(fixture.server, "users:0"), 0);
    assert_int_equal(weft_server_listen(fixture.server, "unix:/run/users"), 0);
    assert_int_equal(weft_server_listen(fixture.server, "users:50051"), -EADDRINUSE);
    assert_int_equal(weft_server_listen(fixture.server, NULL), -EINVAL);
    assert_string_equal(weft_server_address(fixture.server, 0), "users:50051");
    assert_int_equal(weft_server_port(fixture.server, 0), 50051);
    assert_true(weft_server_port(fixture.server, 1) > 0);
    assert_string_equal(weft_server_address(fixture.server, 2), "unix:/run/users");
    assert_int_equal(weft_server_port(fixture.server, 2), 0);
    assert_null(weft_server_address(fixture.server, 3));
}

static void stats_are_filled_as_far_as_the_caller_knows_them(void **state)
{
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    (void)state;
    stats.accept_failures = 77;
    stats.struct_size = offsetof(weft_server_stats, accept_failures);
    stats.calls = 77;
    assert_int_equal(weft_server_read_stats(fixture.server, &stats), 0);
    assert_int_equal(stats.calls, 0);
    assert_int_equal(stats.accept_failures, 77);
    assert_int_equal(stats.struct_size, offsetof(weft_server_stats, accept_failures));
    stats.struct_size = 0;
    stats.calls = 77;
    assert_int_equal(weft_server_read_stats(fixture.server, &stats), -EINVAL);
    assert_int_equal(stats.calls, 77);
}

static void a_server_in_its_wrong_state_refuses(void **state)
{
    (void)state;
    assert_int_equal(weft_server_start(fixture.server), -EINVAL); /* nothing to listen on */
    assert_int_equal(weft_server_listen(fixture.server, "users:1"), 0);
    assert_int_equal(weft_server_stop(fixture.server, -2), -EINVAL);
    assert_int_equal(weft_server_start(fixture.server), 0);
    assert_int_equal(weft_server_start(fixture.server), -EALREADY);
    assert_int_equal(weft_server_listen(fixture.server, "users:2"), -EBUSY);
    assert_int_equal(user_UserService_register(fixture.server, &no_ops, NULL, NULL), -EBUSY);
    assert_int_equal(weft_server_stop(fixture.server, 0), 0);
    assert_int_equal(weft_server_stop(fixture.server, -1), 0);
    assert_int_equal(weft_server_start(fixture.server), -EALREADY);
    assert_int_equal(weft_engine_free(fixture.engine), -EBUSY);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(each_limit_takes_its_least_value_none_and_nothing_less),
        CASE(there_are_at_most_ten_thousand_workers),
        CASE(options_of_other_versions_are_taken_if_they_ask_for_nothing_new),
        CASE(a_server_needs_an_engine),
        CASE(a_service_is_added_once_and_whole),
        CASE(a_service_without_a_table_or_options_without_entries_are_refused),
        CASE(a_method_that_has_no_place_in_the_table_is_unimplemented),
        CASE(each_listen_has_its_address_and_port),
        CASE(stats_are_filled_as_far_as_the_caller_knows_them),
        CASE(a_server_in_its_wrong_state_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
