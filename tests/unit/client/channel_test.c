/* A channel's options, and calls that are wrong in themselves, on the stepped memory engine. */
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

struct fixture {
    weft_engine *engine;
    weft_server *server;
    weft_channel *channel;
    weft_arena *arena;
    int64_t left_ns; /* that the handler had */
};

static struct fixture fixture;

static weft_code get_user(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                          void *self)
{
    (void)request;
    (void)response;
    (void)self;
    fixture.left_ns = weft_call_remaining_ns(call);
    return WEFT_OK;
}

static const user_UserService_ops ops = {.GetUser = get_user};

static int setup(void **state)
{
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    (void)state;
    options.timeout_ms = 5000;
    assert_int_equal(weft_memory_engine_new(&fixture.engine, NULL), 0);
    assert_int_equal(weft_server_new(&fixture.server, fixture.engine, NULL), 0);
    assert_int_equal(user_UserService_register(fixture.server, &ops, NULL, NULL), 0);
    assert_int_equal(weft_server_listen(fixture.server, "users:1"), 0);
    assert_int_equal(weft_server_start(fixture.server), 0);
    assert_int_equal(weft_channel_new(&fixture.channel, fixture.engine, "users:1", &options), 0);
    assert_int_equal(weft_arena_new(&fixture.arena, 0), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    weft_arena_free(fixture.arena);
    weft_channel_free(fixture.channel);
    weft_server_free(fixture.server);
    assert_int_equal(weft_engine_free(fixture.engine), 0);
    return 0;
}

static int make(const weft_channel_options *options)
{
    weft_channel *channel = NULL;
    int rc = weft_channel_new(&channel, fixture.engine, "users:1", options);
    assert_true((rc == 0) == (channel != NULL));
    weft_channel_free(channel);
    return rc;
}

static weft_status get(const weft_call_options *options)
{
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *response = NULL;
    weft_status status = user_UserService_GetUser(fixture.channel, fixture.arena, options, &request, &response);
    assert_true((status.code == WEFT_OK) == (response != NULL));
    return status;
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static void each_limit_takes_its_least_value_none_and_nothing_less(void **state)
{
    static const struct {
        size_t offset;
        int64_t least;
    } limits[] = {
        {offsetof(weft_channel_options, timeout_ms), 1},
        {offsetof(weft_channel_options, max_message_bytes), 1},
        {offsetof(weft_channel_options, max_metadata_bytes), 1024},
        {offsetof(weft_channel_options, max_message_depth), 1},
        {offsetof(weft_channel_options, max_message_fields), 1},
        {offsetof(weft_channel_options, connect_timeout_ms), 1},
        {offsetof(weft_channel_options, keepalive_ms), 10000},
        {offsetof(weft_channel_options, keepalive_timeout_ms), 100},
    };
    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
        int64_t *limit = (int64_t *)(void *)((char *)&options + limits[i].offset);
        *limit = limits[i].least;
        assert_int_equal(make(&options), 0);
        *limit = limits[i].least - 1;
        assert_int_equal(make(&options), limits[i].least == 1 ? 0 : -EINVAL); /* 0 is the default */
        *limit = -1;
        assert_int_equal(make(&options), 0);
        *limit = -2;
        assert_int_equal(make(&options), -EINVAL);
    }
}

static void a_backoff_that_shrinks_is_refused(void **state)
{
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    (void)state;
    options.min_backoff_ms = 500;
    options.max_backoff_ms = 499;
    assert_int_equal(make(&options), -EINVAL);
    options.max_backoff_ms = 500;
    assert_int_equal(make(&options), 0);
}

static void an_authority_is_visible_ascii(void **state)
{
    static const char *const bad[] = {"", "a b", "a\n", "a\x7f", "caf\xc3\xa9"};
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        options.authority = bad[i];
        assert_int_equal(make(&options), -EINVAL);
    }
    options.authority = "users.example.org:443";
    assert_int_equal(make(&options), 0);
}

static void options_of_other_versions_are_taken_if_they_ask_for_nothing_new(void **state)
{
    struct {
        weft_channel_options known;
        int64_t unknown;
    } newer = {WEFT_CHANNEL_OPTIONS_INIT, 1};
    (void)state;
    newer.known.struct_size = sizeof newer;
    assert_int_equal(make(&newer.known), -E2BIG);
    newer.unknown = 0;
    assert_int_equal(make(&newer.known), 0);
    newer.known.struct_size = 0;
    assert_int_equal(make(&newer.known), -EINVAL);
}

static void a_channel_needs_an_engine_and_a_target(void **state)
{
    char target[2000] = "ipv4:1.2.3.4:5";
    weft_channel *channel = NULL;
    (void)state;
    assert_int_equal(weft_channel_new(&channel, NULL, "users:1", NULL), -EINVAL);
    assert_int_equal(weft_channel_new(&channel, fixture.engine, NULL, NULL), -EINVAL);
    for (size_t len = strlen(target); len + 12 < sizeof target; len = strlen(target))
        (void)snprintf(target + len, sizeof target - len, ",1.2.3.4:5");
    assert_int_equal(weft_channel_new(&channel, fixture.engine, target, NULL), -ENAMETOOLONG);
    assert_null(channel);
}

/* ---- connecting -------------------------------------------------------------------------------------------------- */

static void connecting_ends_by_its_time_or_when_nothing_can_happen(void **state)
{
    weft_channel *lost;
    (void)state;
    assert_int_equal(weft_channel_connect(fixture.channel, 0), 0);
    assert_int_equal(weft_channel_connect(fixture.channel, INT64_MAX), 0);
    assert_int_equal(weft_channel_connect(fixture.channel, -2), -EINVAL);
    assert_int_equal(weft_channel_new(&lost, fixture.engine, "nowhere:1", NULL), 0);
    assert_int_equal(weft_channel_connect(lost, 100), -ETIMEDOUT);
    assert_int_equal(weft_channel_connect(lost, -1), -EDEADLK);
    weft_channel_free(lost);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static void the_timeout_is_the_calls_else_the_channels(void **state)
{
    static const struct {
        int64_t timeout_ms;
        int64_t left_ns;
    } cases[] = {{0, INT64_C(5000000000)}, {1, 1000000},           {60000, INT64_C(60000000000)},
                 {-1, INT64_MAX},          {INT64_MAX, INT64_MAX}, {INT64_MAX / 1000000 + 1, INT64_MAX}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_call_options options = WEFT_CALL_OPTIONS_INIT;
        options.timeout_ms = cases[i].timeout_ms;
        assert_int_equal(get(&options).code, WEFT_OK);
        assert_int_equal(fixture.left_ns, cases[i].left_ns);
    }
    assert_int_equal(get(NULL).code, WEFT_OK);
    assert_int_equal(fixture.left_ns, INT64_C(5000000000));
}

static void assert_refused(const weft_call_options *options, const char *message)
{
    weft_status status = get(options);
    assert_int_equal(status.code, WEFT_INVALID_ARGUMENT);
    assert_string_equal(status.message, message);
    assert_false(status.from_peer);
}

static void wrong_options_of_a_call_are_told(void **state)
{
    struct {
        weft_call_options known;
        int64_t unknown;
    } newer = {WEFT_CALL_OPTIONS_INIT, 1};
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    weft_call_info info = {0};
    (void)state;
    options.struct_size = 0;
    assert_refused(&options, "weft_call_options was not set up by WEFT_CALL_OPTIONS_INIT");
    newer.known.struct_size = sizeof newer;
    assert_refused(&newer.known, "weft_call_options asks for what this version of the library does not know");
    options.struct_size = sizeof options;
    options.timeout_ms = -2;
    assert_refused(&options, "timeout_ms is below -1");
    options.timeout_ms = 0;
    options.info = &info;
    assert_refused(&options, "weft_call_info was not set up by WEFT_CALL_INFO_INIT");
    options.info = NULL;
    options.metadata_count = 1;
    assert_refused(&options, "metadata_count without metadata");
}

static void a_request_that_is_not_of_the_methods_type_is_refused(void **state)
{
    User__CreateUserRequest other = USER__CREATE_USER_REQUEST__INIT;
    User__GetUserRequest request;
    ProtobufCMessage *response = NULL;
    (void)state;
    memset(&request, 0, sizeof request);
    weft_status status = weft_channel_unary(fixture.channel, fixture.arena, NULL, &user_UserService_GetUser_method,
                                            &request.base, &response);
    assert_int_equal(status.code, WEFT_INVALID_ARGUMENT);
    assert_string_equal(status.message, "the request is not initialized as the method's type");
    status = weft_channel_unary(fixture.channel, fixture.arena, NULL, &user_UserService_GetUser_method, &other.base,
                                &response);
    assert_int_equal(status.code, WEFT_INVALID_ARGUMENT);
    assert_null(response);
}

static void a_call_needs_an_arena_and_a_unary_method(void **state)
{
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    weft_method method = user_UserService_GetUser_method;
    (void)state;
    weft_status status = weft_channel_unary(fixture.channel, NULL, NULL, &method, &request.base, &response);
    assert_int_equal(status.code, WEFT_INVALID_ARGUMENT);
    assert_string_equal(status.message, "a call needs an arena");
    method.kind = WEFT_BIDI_STREAM;
    status = weft_channel_unary(fixture.channel, fixture.arena, NULL, &method, &request.base, &response);
    assert_int_equal(status.code, WEFT_INVALID_ARGUMENT);
    assert_string_equal(status.message, "not a unary method");
}

static void an_arena_that_is_full_costs_the_response_but_not_the_status(void **state)
{
    char block[WEFT_ARENA_MIN_BLOCK];
    weft_arena *full;
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *response = NULL;
    (void)state;
    assert_int_equal(weft_arena_init(&full, block, sizeof block, 16), 0);
    assert_null(weft_arena_alloc(full, 32));
    weft_status status = user_UserService_GetUser(fixture.channel, full, NULL, &request, &response);
    assert_int_equal(status.code, WEFT_RESOURCE_EXHAUSTED);
    assert_string_equal(status.message, "the response needs more memory than the arena may use");
    assert_false(status.from_peer);
    assert_null(response);
    User__CreateUserRequest create = USER__CREATE_USER_REQUEST__INIT;
    User__CreateUserResponse *created = NULL;
    status = user_UserService_CreateUser(fixture.channel, full, NULL, &create, &created);
    assert_int_equal(status.code, WEFT_UNIMPLEMENTED);
    assert_string_equal(status.message, "(no memory for the message)");
    assert_true(status.from_peer);
    weft_arena_fini(full);
}

static void info_is_filled_as_far_as_the_caller_knows_it(void **state)
{
    weft_call_info info = WEFT_CALL_INFO_INIT;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    (void)state;
    info.struct_size = offsetof(weft_call_info, peer);
    info.peer = "untouched";
    info.headers.count = 77;
    options.info = &info;
    assert_int_equal(get(&options).code, WEFT_OK);
    assert_int_equal(info.headers.count, 0);
    assert_string_equal(info.peer, "untouched");
    info = (weft_call_info)WEFT_CALL_INFO_INIT;
    assert_int_equal(get(&options).code, WEFT_OK);
    assert_true(info.peer[0] != '\0');
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(each_limit_takes_its_least_value_none_and_nothing_less),
        CASE(a_backoff_that_shrinks_is_refused),
        CASE(an_authority_is_visible_ascii),
        CASE(options_of_other_versions_are_taken_if_they_ask_for_nothing_new),
        CASE(a_channel_needs_an_engine_and_a_target),
        CASE(connecting_ends_by_its_time_or_when_nothing_can_happen),
        CASE(the_timeout_is_the_calls_else_the_channels),
        CASE(wrong_options_of_a_call_are_told),
        CASE(a_request_that_is_not_of_the_methods_type_is_refused),
        CASE(a_call_needs_an_arena_and_a_unary_method),
        CASE(an_arena_that_is_full_costs_the_response_but_not_the_status),
        CASE(info_is_filled_as_far_as_the_caller_knows_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
