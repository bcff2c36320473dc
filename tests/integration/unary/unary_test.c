/* Unary calls through the public API: the same cases on gRPC core, and on the memory engine stepped and threaded. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "integration/unary/rig.h"

#include <weft/testing.h>

/* A time-out that no test reaches unless something is broken. */
enum {
    LONG_MS = 20000,
    SHORT_MS = 1500 /* a time-out that passes, but not before a loaded machine has begun the call */
};

static void assert_status(weft_status status, weft_code code, const char *message)
{
    if (status.code != code)
        print_error("status %s: %s\n", weft_code_name(status.code), status.message);
    assert_int_equal(status.code, code);
    if (message != NULL)
        assert_string_equal(status.message, message);
}

static bool has_workers(const struct rig *rig)
{
    return rig->kind != RIG_STEPPED;
}

/* ---- the plain call ---------------------------------------------------------------------------------------------- */

static void a_call_reaches_its_handler_and_brings_the_response_back(void **state)
{
    struct rig *rig = *state;
    User__GetUserResponse *response = NULL;
    rig_start(rig, NULL);
    weft_status status = rig_get(rig, "42", NULL, &response);
    assert_status(status, WEFT_OK, "");
    assert_true(status.from_peer);
    assert_string_equal(response->user->id, "42");
    assert_string_equal(response->user->name, "user 42");
    assert_string_equal(response->user->email, "");
}

static void a_hundred_calls_on_one_channel_all_succeed(void **state)
{
    struct rig *rig = *state;
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    rig_start(rig, NULL);
    for (int i = 0; i < 100; i++) {
        weft_arena_reset(rig->arena);
        assert_status(rig_get(rig, "1", NULL, NULL), WEFT_OK, "");
    }
    assert_int_equal(weft_server_read_stats(rig->server, &stats), 0);
    assert_int_equal(stats.calls_started, 100);
    assert_int_equal(stats.calls_handled, 100);
    assert_int_equal(stats.calls, 0);
}

static void an_empty_request_and_an_empty_response_are_a_call(void **state)
{
    struct rig *rig = *state;
    User__GetUserResponse *response = NULL;
    rig_start(rig, NULL);
    assert_status(rig_get(rig, "", NULL, &response), WEFT_OK, "");
    assert_string_equal(response->user->id, "");
}

static void a_large_message_travels_whole_both_ways(void **state)
{
    struct rig *rig = *state;
    User__GetUserResponse *response = NULL;
    size_t size = 1 << 20;
    char *id = malloc(size + 1);
    assert_non_null(id);
    for (size_t i = 0; i < size; i++)
        id[i] = (char)('a' + i % 26);
    id[size] = '\0';
    rig_start(rig, NULL);
    assert_status(rig_get(rig, id, NULL, &response), WEFT_OK, "");
    assert_string_equal(response->user->id, id);
    free(id);
}

/* ---- status ------------------------------------------------------------------------------------------------------ */

static weft_code fail_not_found(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                                struct rig *rig)
{
    (void)response;
    (void)rig;
    return weft_fail(call, WEFT_NOT_FOUND, "user %s does not exist: %%, \xc3\xa9 and\nmore", request->id);
}

static void a_failing_handler_tells_code_and_message(void **state)
{
    struct rig *rig = *state;
    User__GetUserResponse *response = NULL;
    rig->get_user = fail_not_found;
    rig_start(rig, NULL);
    weft_status status = rig_get(rig, "7", NULL, &response);
    assert_status(status, WEFT_NOT_FOUND, "user 7 does not exist: %, \xc3\xa9 and\nmore");
    assert_true(status.from_peer);
    assert_null(response);
}

static weft_code return_99(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                           struct rig *rig)
{
    (void)call;
    (void)request;
    (void)response;
    (void)rig;
    return (weft_code)99;
}

static void a_code_that_is_none_becomes_internal(void **state)
{
    struct rig *rig = *state;
    rig->get_user = return_99;
    rig_start(rig, NULL);
    assert_status(rig_get(rig, "7", NULL, NULL), WEFT_INTERNAL, "the handler returned 99, which is no gRPC code");
}

static weft_code answer_nothing(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                                struct rig *rig)
{
    if (strcmp(request->id, "zeroed") == 0) {
        memset(response, 0, sizeof *response);
        return WEFT_OK;
    }
    RIG_CHECK(rig, weft_call_defer(call) == 0);
    weft_call_finish(call, WEFT_OK, strcmp(request->id, "none") == 0 ? NULL : &request->base);
    return WEFT_OK;
}

static void a_handler_that_gives_no_response_is_answered_for(void **state)
{
    static const char no_response[] = "the handler's response is not initialized as a user.GetUserResponse";
    struct rig *rig = *state;
    rig->get_user = answer_nothing;
    rig_start(rig, NULL);
    assert_status(rig_get(rig, "none", NULL, NULL), WEFT_INTERNAL, "the handler gave no response");
    assert_status(rig_get(rig, "another", NULL, NULL), WEFT_INTERNAL, no_response);
    assert_status(rig_get(rig, "zeroed", NULL, NULL), WEFT_INTERNAL, no_response);
}

static weft_code fail_errno(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                            struct rig *rig)
{
    (void)response;
    (void)rig;
    return weft_fail_errno(call, -(int)strtol(request->id, NULL, 10));
}

static void a_local_error_is_told_without_its_detail(void **state)
{
    struct rig *rig = *state;
    char id[16];
    rig->get_user = fail_errno;
    rig_start(rig, NULL);
    snprintf(id, sizeof id, "%d", ENOMEM);
    assert_status(rig_get(rig, id, NULL, NULL), WEFT_RESOURCE_EXHAUSTED, "out of memory");
    snprintf(id, sizeof id, "%d", EIO);
    assert_status(rig_get(rig, id, NULL, NULL), WEFT_INTERNAL, "internal error");
    snprintf(id, sizeof id, "%d", ETIMEDOUT);
    assert_status(rig_get(rig, id, NULL, NULL), WEFT_DEADLINE_EXCEEDED, "deadline exceeded");
}

static void a_method_without_a_handler_is_unimplemented(void **state)
{
    struct rig *rig = *state;
    User__CreateUserRequest request = USER__CREATE_USER_REQUEST__INIT;
    User__CreateUserResponse *response = NULL;
    rig_start(rig, NULL);
    weft_status status = user_UserService_CreateUser(rig->channel, rig->arena, NULL, &request, &response);
    assert_status(status, WEFT_UNIMPLEMENTED, "the service does not implement this method");
}

static void an_unknown_method_is_unimplemented_at_once(void **state)
{
    struct rig *rig = *state;
    weft_method method = user_UserService_GetUser_method;
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    method.path = "/no.Service/Nothing";
    rig_start(rig, NULL);
    weft_status status = weft_channel_unary(rig->channel, rig->arena, NULL, &method, &request.base, &response);
    assert_status(status, WEFT_UNIMPLEMENTED, "unknown method /no.Service/Nothing");
}

/* ---- metadata ---------------------------------------------------------------------------------------------------- */

static weft_code reflect_metadata(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                                  struct rig *rig)
{
    static const unsigned char binary[] = {0, 1, 0xff, '\n'};
    weft_sv token = weft_call_metadata(call, "x-token");
    weft_sv bin = weft_call_metadata(call, "x-key-bin");
    size_t tokens = 0;
    RIG_CHECK(rig, weft_sv_is(token, "first"));
    RIG_CHECK(rig, bin.len == sizeof binary);
    RIG_CHECK(rig, memcmp(bin.data, binary, sizeof binary) == 0);
    for (size_t i = 0; i < weft_call_metadata_count(call); i++)
        tokens += weft_sv_is(weft_call_metadata_at(call, i).key, "x-token");
    RIG_CHECK(rig, tokens == 2);
    RIG_CHECK(rig, weft_call_metadata(call, "x-absent").data == NULL);
    RIG_CHECK(rig, weft_call_add_header(call, "x-head", weft_sv_from("h")) == 0);
    RIG_CHECK(rig, weft_call_add_trailer(call, "x-trail-bin", weft_sv_of(binary, sizeof binary)) == 0);
    RIG_CHECK(rig, weft_call_add_trailer(call, "x-trail", weft_sv_from("one")) == 0);
    RIG_CHECK(rig, weft_call_add_trailer(call, "x-trail", weft_sv_from("two")) == 0);
    RIG_CHECK(rig, weft_call_add_header(call, "X-Upper", weft_sv_from("h")) == -EINVAL);
    RIG_CHECK(rig, weft_call_add_header(call, "grpc-status", weft_sv_from("0")) == -EPERM);
    RIG_CHECK(rig, weft_call_add_header(call, "x-line", weft_sv_from("a\nb")) == -EINVAL);
    return rig_echo(call, request, response, rig);
}

static void metadata_travels_both_ways_binary_and_repeated(void **state)
{
    static const unsigned char binary[] = {0, 1, 0xff, '\n'};
    struct rig *rig = *state;
    weft_metadatum sent[] = {{weft_sv_from("x-token"), weft_sv_from("first")},
                             {weft_sv_from("x-key-bin"), weft_sv_of(binary, sizeof binary)},
                             {weft_sv_from("x-token"), weft_sv_from("second")}};
    weft_call_info info = WEFT_CALL_INFO_INIT;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.metadata = sent;
    options.metadata_count = 3;
    options.info = &info;
    rig->get_user = reflect_metadata;
    rig_start(rig, NULL);
    assert_status(rig_get(rig, "1", &options, NULL), WEFT_OK, "");
    assert_true(weft_sv_is(weft_metadata_find(&info.headers, "x-head"), "h"));
    assert_true(weft_sv_is(weft_metadata_find(&info.trailers, "x-trail"), "one"));
    weft_sv bin = weft_metadata_find(&info.trailers, "x-trail-bin");
    assert_int_equal(bin.len, sizeof binary);
    assert_memory_equal(bin.data, binary, sizeof binary);
}

static void illegal_metadata_is_refused_before_anything_is_sent(void **state)
{
    static const struct {
        const char *key;
        const char *value;
        const char *message;
    } bad[] = {{"Upper", "v", "an illegal metadata key or value"},
               {"", "v", "an illegal metadata key or value"},
               {"x-a", "line\n", "an illegal metadata key or value"},
               {"grpc-timeout", "1S", "a reserved metadata key"},
               {":path", "/", "a reserved metadata key"},
               {"te", "trailers", "a reserved metadata key"}};
    struct rig *rig = *state;
    rig_start(rig, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weft_metadatum pair = {weft_sv_from(bad[i].key), weft_sv_from(bad[i].value)};
        weft_call_options options = WEFT_CALL_OPTIONS_INIT;
        options.metadata = &pair;
        options.metadata_count = 1;
        assert_status(rig_get(rig, "1", &options, NULL), WEFT_INVALID_ARGUMENT, bad[i].message);
    }
    assert_int_equal(atomic_load(&rig->handled), 0);
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

static void a_request_over_the_limit_is_refused_and_the_connection_lives_on(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    options.server.max_message_bytes = 1000;
    char id[2000];
    memset(id, 'a', sizeof id - 1);
    id[sizeof id - 1] = '\0';
    rig_start(rig, &options);
    assert_status(rig_get(rig, id, NULL, NULL), WEFT_RESOURCE_EXHAUSTED, NULL);
    assert_status(rig_get(rig, "1", NULL, NULL), WEFT_OK, "");
    assert_int_equal(atomic_load(&rig->handled), 1);
}

static void a_string_that_is_not_utf8_is_refused_with_the_field_named(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    weft_status status = rig_get(rig, "caf\xe9", NULL, NULL);
    assert_status(status, WEFT_INVALID_ARGUMENT, NULL);
    assert_non_null(strstr(status.message, "id"));
    assert_int_equal(atomic_load(&rig->handled), 0);
}

static weft_code eat_memory(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                            struct rig *rig)
{
    (void)request;
    (void)response;
    (void)rig;
    if (weft_arena_alloc(weft_call_arena(call), 1 << 20) == NULL)
        return weft_fail_errno(call, -ENOMEM);
    return WEFT_OK;
}

static void a_call_that_needs_more_memory_than_its_limit_fails_alone(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    options.server.max_call_bytes = 64 * 1024;
    rig->get_user = eat_memory;
    rig_start(rig, &options);
    assert_status(rig_get(rig, "1", NULL, NULL), WEFT_RESOURCE_EXHAUSTED, "out of memory");
    rig->get_user = rig_echo;
    assert_status(rig_get(rig, "1", NULL, NULL), WEFT_OK, "");
}

static void calls_over_the_concurrency_limit_are_refused_at_once(void **state)
{
    struct rig *rig = *state;
    struct rig_caller first;
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    rig_options options = rig_default_options();
    if (!has_workers(rig))
        skip();
    options.server.max_concurrent_calls = 1;
    rig->get_user = rig_wait;
    rig_start(rig, &options);
    rig_caller_start(&first, rig, "1", LONG_MS);
    assert_int_equal(weft__event_wait(&rig->entered, INT64_MAX), 0);
    assert_status(rig_get(rig, "2", NULL, NULL), WEFT_RESOURCE_EXHAUSTED, "too many concurrent calls");
    weft__event_post(&rig->release);
    rig_caller_join(&first);
    assert_status(first.status, WEFT_OK, "");
    assert_int_equal(weft_server_read_stats(rig->server, &stats), 0);
    assert_int_equal(stats.refused_calls, 1);
}

static void calls_over_the_methods_own_limit_are_refused_at_once(void **state)
{
    struct rig *rig = *state;
    struct rig_caller first;
    rig_options options = rig_default_options();
    if (!has_workers(rig))
        skip();
    options.get_user.max_concurrent_calls = 1;
    rig->get_user = rig_wait;
    rig_start(rig, &options);
    rig_caller_start(&first, rig, "1", LONG_MS);
    assert_int_equal(weft__event_wait(&rig->entered, INT64_MAX), 0);
    assert_status(rig_get(rig, "2", NULL, NULL), WEFT_RESOURCE_EXHAUSTED, "too many concurrent calls");
    weft__event_post(&rig->release);
    rig_caller_join(&first);
    assert_status(first.status, WEFT_OK, "");
    assert_status(rig_get(rig, "3", NULL, NULL), WEFT_OK, "");
}

static void a_full_queue_answers_at_once(void **state)
{
    struct rig *rig = *state;
    struct rig_caller first, second;
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    rig_options options = rig_default_options();
    if (!has_workers(rig))
        skip();
    options.server.workers = 1;
    options.server.max_queued_calls = 1;
    rig->get_user = rig_wait;
    rig_start(rig, &options);
    rig_caller_start(&first, rig, "1", LONG_MS);
    assert_int_equal(weft__event_wait(&rig->entered, INT64_MAX), 0);
    rig_caller_start(&second, rig, "2", LONG_MS);
    do
        assert_int_equal(weft_server_read_stats(rig->server, &stats), 0);
    while (stats.queued < 1);
    assert_status(rig_get(rig, "3", NULL, NULL), WEFT_RESOURCE_EXHAUSTED, "too many calls are waiting for a worker");
    weft__event_post(&rig->release);
    rig_caller_join(&first);
    rig_caller_join(&second);
    assert_status(first.status, WEFT_OK, "");
    assert_status(second.status, WEFT_OK, "");
}

/* ---- deadlines and cancellation ---------------------------------------------------------------------------------- */

static weft_code see_deadline(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                              struct rig *rig)
{
    int64_t left = weft_call_remaining_ns(call);
    RIG_CHECK(rig, left > 0 && left <= (int64_t)LONG_MS * 1000000 + 1000000000);
    RIG_CHECK(rig, !(weft_call_cancelled(call)));
    return rig_echo(call, request, response, rig);
}

static void the_handler_sees_the_callers_deadline(void **state)
{
    struct rig *rig = *state;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.timeout_ms = LONG_MS;
    rig->get_user = see_deadline;
    rig_start(rig, NULL);
    assert_status(rig_get(rig, "1", &options, NULL), WEFT_OK, "");
}

static weft_code never_answer_in_time(weft_call *call, const User__GetUserRequest *request,
                                      User__GetUserResponse *response, struct rig *rig)
{
    (void)request;
    (void)response;
    RIG_CHECK(rig, weft_call_defer(call) == 0);
    rig->deferred = call;
    weft__event_post(&rig->entered);
    return WEFT_OK;
}

static void a_call_past_its_deadline_ends_here_and_the_handler_is_told(void **state)
{
    struct rig *rig = *state;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.timeout_ms = SHORT_MS;
    rig->get_user = never_answer_in_time;
    rig_start(rig, NULL);
    if (rig->kind == RIG_THREADED) { /* virtual time moves only when told */
        struct rig_caller caller;
        rig_caller_start(&caller, rig, "1", options.timeout_ms);
        assert_int_equal(weft__event_wait(&rig->entered, INT64_MAX), 0);
        weft_test_advance(rig->engine, (int64_t)(SHORT_MS + 1) * 1000000);
        rig_caller_join(&caller);
        assert_status(caller.status, WEFT_DEADLINE_EXCEEDED, NULL);
        assert_false(caller.status.from_peer);
    } else {
        weft_status status = rig_get(rig, "1", &options, NULL);
        assert_status(status, WEFT_DEADLINE_EXCEEDED, NULL);
        if (rig->kind != RIG_CORE) /* gRPC core's server ends the call too, and may be the first to say so */
            assert_false(status.from_peer);
    }
    if (rig->kind == RIG_STEPPED)
        weft_test_step(rig->engine, SIZE_MAX);
    while (!weft_call_cancelled(rig->deferred))
        continue;
    rig_finish_deferred(rig, WEFT_CANCELLED);
}

static void a_queued_call_that_expires_never_reaches_its_handler(void **state)
{
    struct rig *rig = *state;
    struct rig_caller first, second;
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    rig_options options = rig_default_options();
    if (rig->kind != RIG_CORE) /* in virtual time no time passes while a worker is busy */
        skip();
    options.server.workers = 1;
    rig->get_user = rig_wait;
    rig_start(rig, &options);
    rig_caller_start(&first, rig, "1", -1);
    assert_int_equal(weft__event_wait(&rig->entered, INT64_MAX), 0);
    rig_caller_start(&second, rig, "2", SHORT_MS);
    do
        assert_int_equal(weft_server_read_stats(rig->server, &stats), 0);
    while (stats.queued < 1);
    rig_caller_join(&second);
    assert_status(second.status, WEFT_DEADLINE_EXCEEDED, NULL);
    /* On the wire the time-out is rounded up: wait until it has passed for the server too. */
    int64_t passed_ns = weft_engine_now_ns(rig->engine) + (int64_t)SHORT_MS * 1000000 / 4;
    while (weft_engine_now_ns(rig->engine) < passed_ns)
        continue;
    weft__event_post(&rig->release);
    rig_caller_join(&first);
    assert_status(first.status, WEFT_OK, "");
    assert_int_equal(weft_server_stop(rig->server, LONG_MS), 0);
    assert_int_equal(atomic_load(&rig->handled), 1);
    assert_int_equal(weft_server_read_stats(rig->server, &stats), 0);
    assert_int_equal(stats.calls_started, 2);
    assert_int_equal(stats.calls_handled, 1);
}

/* ---- deferred answers -------------------------------------------------------------------------------------------- */

static void *finish_later(void *arg)
{
    struct rig *rig = arg;
    User__GetUserResponse response = USER__GET_USER_RESPONSE__INIT;
    User__User user = USER__USER__INIT;
    weft__event_wait(&rig->entered, INT64_MAX);
    user.id = (char *)(uintptr_t) "deferred";
    response.user = &user;
    weft_call *call = rig->deferred;
    rig->deferred = NULL;
    user_UserService_GetUser_finish(call, WEFT_OK, &response);
    return NULL;
}

static void a_deferred_call_is_answered_from_another_thread(void **state)
{
    struct rig *rig = *state;
    pthread_t thread;
    User__GetUserResponse *response = NULL;
    if (!has_workers(rig))
        skip();
    rig->get_user = never_answer_in_time;
    rig_start(rig, NULL);
    assert_int_equal(pthread_create(&thread, NULL, finish_later, rig), 0);
    assert_status(rig_get(rig, "1", NULL, &response), WEFT_OK, "");
    assert_string_equal(response->user->id, "deferred");
    pthread_join(thread, NULL);
}

static weft_code defer_and_finish_at_once(weft_call *call, const User__GetUserRequest *request,
                                          User__GetUserResponse *response, struct rig *rig)
{
    RIG_CHECK(rig, weft_call_defer(call) == 0);
    RIG_CHECK(rig, weft_call_defer(call) == -EALREADY);
    RIG_CHECK(rig, rig_echo(call, request, response, rig) == WEFT_OK);
    user_UserService_GetUser_finish(call, WEFT_OK, response);
    return WEFT_INTERNAL; /* ignored */
}

static void a_deferred_call_may_be_answered_before_its_handler_returns(void **state)
{
    struct rig *rig = *state;
    User__GetUserResponse *response = NULL;
    rig->get_user = defer_and_finish_at_once;
    rig_start(rig, NULL);
    assert_status(rig_get(rig, "5", NULL, &response), WEFT_OK, "");
    assert_string_equal(response->user->id, "5");
}

/* ---- calls within calls ------------------------------------------------------------------------------------------ */

static weft_code call_again(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                            struct rig *rig)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    User__GetUserRequest inner = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *found = NULL;
    options.parent = call;
    if (strcmp(request->id, "inner") == 0) {
        RIG_CHECK(rig, weft_call_remaining_ns(call) <= (int64_t)(LONG_MS + 1000) * 1000000);
        return rig_echo(call, request, response, rig);
    }
    inner.id = (char *)(uintptr_t) "inner";
    weft_status status = user_UserService_GetUser(rig->channel, weft_call_arena(call), &options, &inner, &found);
    if (status.code != WEFT_OK)
        return weft_fail_from(call, &status);
    response->user = found->user;
    return WEFT_OK;
}

static void a_handler_calls_on_and_passes_its_deadline(void **state)
{
    struct rig *rig = *state;
    User__GetUserResponse *response = NULL;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    if (!has_workers(rig))
        skip();
    options.timeout_ms = LONG_MS;
    rig->get_user = call_again;
    rig_start(rig, NULL);
    assert_status(rig_get(rig, "outer", &options, &response), WEFT_OK, "");
    assert_string_equal(response->user->name, "user inner");
}

static void a_blocking_call_from_an_inline_handler_fails_at_once(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    options.get_user.run_inline = true;
    rig->get_user = call_again;
    rig_start(rig, &options);
    assert_status(rig_get(rig, "outer", NULL, NULL), WEFT_FAILED_PRECONDITION,
                  "a blocking call on a thread that must not block");
}

static weft_code wait_for_a_child(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                                  struct rig *rig)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    User__GetUserRequest inner = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *found = NULL;
    (void)response;
    if (strcmp(request->id, "inner") == 0)
        return never_answer_in_time(call, request, response, rig);
    options.parent = call;
    inner.id = (char *)(uintptr_t) "inner";
    weft_status status = user_UserService_GetUser(rig->channel, weft_call_arena(call), &options, &inner, &found);
    RIG_CHECK(rig, status.code == WEFT_CANCELLED || status.code == WEFT_DEADLINE_EXCEEDED);
    weft__event_post(&rig->release);
    return weft_fail_from(call, &status);
}

static void the_end_of_a_parent_cancels_the_calls_made_for_it(void **state)
{
    struct rig *rig = *state;
    struct rig_caller caller;
    if (!has_workers(rig))
        skip();
    rig->get_user = wait_for_a_child;
    rig_start(rig, NULL);
    rig_caller_start(&caller, rig, "outer", SHORT_MS);
    assert_int_equal(weft__event_wait(&rig->entered, INT64_MAX), 0);
    if (rig->kind == RIG_THREADED)
        weft_test_advance(rig->engine, (int64_t)(SHORT_MS + 1) * 1000000);
    rig_caller_join(&caller);
    assert_status(caller.status, WEFT_DEADLINE_EXCEEDED, NULL);
    assert_int_equal(weft__event_wait(&rig->release, INT64_MAX), 0);
    while (!weft_call_cancelled(rig->deferred))
        continue;
    rig_finish_deferred(rig, WEFT_CANCELLED);
}

/* ---- the life of server and channel ------------------------------------------------------------------------------ */

static void nobody_listening_is_unavailable_and_not_the_peers_word(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    assert_int_equal(weft_server_stop(rig->server, 0), 0);
    weft_status status = rig_get(rig, "1", NULL, NULL);
    assert_status(status, WEFT_UNAVAILABLE, NULL);
    assert_false(status.from_peer);
}

static void *stop_server(void *arg)
{
    struct rig *rig = arg;
    (void)weft_server_stop(rig->server, -1);
    return NULL;
}

static void a_stop_lets_running_calls_end_and_refuses_new_ones(void **state)
{
    struct rig *rig = *state;
    struct rig_caller running;
    pthread_t stopper;
    weft_status status;
    rig_options options = rig_default_options();
    if (rig->kind != RIG_CORE) /* the quiet time must pass by itself */
        skip();
    options.server.quiet_ms = 300;
    rig->get_user = rig_wait;
    rig_start(rig, &options);
    rig_caller_start(&running, rig, "1", LONG_MS);
    assert_int_equal(weft__event_wait(&rig->entered, INT64_MAX), 0);
    assert_int_equal(pthread_create(&stopper, NULL, stop_server, rig), 0);
    do { /* until the drain has begun, calls still get in: those would wait, so give them no time */
        weft_call_options call = WEFT_CALL_OPTIONS_INIT;
        call.timeout_ms = 50;
        weft_arena_reset(rig->arena);
        status = rig_get(rig, "2", &call, NULL);
    } while (status.code == WEFT_DEADLINE_EXCEEDED);
    assert_status(status, WEFT_UNAVAILABLE, NULL);
    weft__event_post(&rig->release);
    rig_caller_join(&running);
    assert_status(running.status, WEFT_OK, "");
    pthread_join(stopper, NULL);
    assert_int_equal(weft_server_stop(rig->server, 0), 0);
}

static void a_stop_answers_queued_calls_while_others_still_run(void **state)
{
    struct rig *rig = *state;
    struct rig_caller running, queued;
    pthread_t stopper;
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    rig_options options = rig_default_options();
    if (!has_workers(rig))
        skip();
    options.server.workers = 1;
    rig->get_user = rig_wait;
    rig_start(rig, &options);
    rig_caller_start(&running, rig, "1", LONG_MS);
    assert_int_equal(weft__event_wait(&rig->entered, INT64_MAX), 0);
    rig_caller_start(&queued, rig, "2", LONG_MS);
    do
        assert_int_equal(weft_server_read_stats(rig->server, &stats), 0);
    while (stats.queued < 1);
    assert_int_equal(pthread_create(&stopper, NULL, stop_server, rig), 0);
    rig_caller_join(&queued); /* while the worker still waits */
    assert_int_equal(queued.status.code, WEFT_UNAVAILABLE);
    assert_string_equal(queued.message, "the server is shutting down");
    weft__event_post(&rig->release);
    rig_caller_join(&running);
    assert_status(running.status, WEFT_OK, "");
    pthread_join(stopper, NULL);
    assert_int_equal(atomic_load(&rig->handled), 1);
}

static void a_stop_waits_for_a_deferred_call(void **state)
{
    struct rig *rig = *state;
    struct rig_caller running;
    pthread_t stopper, finisher;
    if (!has_workers(rig))
        skip();
    rig->get_user = never_answer_in_time;
    rig_start(rig, NULL);
    rig_caller_start(&running, rig, "1", -1);
    assert_int_equal(weft__event_wait(&rig->entered, INT64_MAX), 0);
    assert_int_equal(pthread_create(&stopper, NULL, stop_server, rig), 0);
    assert_int_equal(pthread_create(&finisher, NULL, finish_later, rig), 0);
    rig_caller_join(&running);
    assert_status(running.status, WEFT_OK, "");
    pthread_join(finisher, NULL);
    pthread_join(stopper, NULL);
}

static void *finish_when_cancelled(void *arg)
{
    struct rig *rig = arg;
    while (!weft_call_cancelled(rig->deferred))
        continue;
    rig_finish_deferred(rig, WEFT_CANCELLED);
    return NULL;
}

static void a_stop_without_grace_cancels_what_still_runs(void **state)
{
    struct rig *rig = *state;
    struct rig_caller running;
    pthread_t finisher;
    if (!has_workers(rig))
        skip();
    rig->get_user = never_answer_in_time;
    rig_start(rig, NULL);
    rig_caller_start(&running, rig, "1", -1);
    assert_int_equal(weft__event_wait(&rig->entered, INT64_MAX), 0);
    assert_int_equal(pthread_create(&finisher, NULL, finish_when_cancelled, rig), 0);
    assert_int_equal(weft_server_stop(rig->server, 0), 0);
    rig_caller_join(&running);
    assert_status(running.status, WEFT_UNAVAILABLE, NULL);
    pthread_join(finisher, NULL);
}

static void an_engine_in_use_is_not_freed(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    assert_int_equal(weft_engine_free(rig->engine), -EBUSY);
    assert_status(rig_get(rig, "1", NULL, NULL), WEFT_OK, "");
}

static void wrong_use_of_a_server_is_refused(void **state)
{
    struct rig *rig = *state;
    weft_server_options zero;
    weft_server *server = NULL;
    user_UserService_ops ops = {.GetUser = NULL};
    memset(&zero, 0, sizeof zero);
    assert_int_equal(weft_server_new(&server, rig->engine, &zero), -EINVAL);
    zero.struct_size = sizeof zero;
    zero.max_message_bytes = -2;
    assert_int_equal(weft_server_new(&server, rig->engine, &zero), -EINVAL);
    assert_null(server);
    assert_int_equal(weft_server_new(&server, rig->engine, NULL), 0);
    assert_int_equal(weft_server_start(server), -EINVAL); /* nothing to listen on */
    assert_int_equal(user_UserService_register(server, &ops, rig, NULL), 0);
    assert_int_equal(user_UserService_register(server, &ops, rig, NULL), -EEXIST);
    assert_int_equal(weft_server_listen(server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(server), 0);
    assert_int_equal(weft_server_start(server), -EALREADY);
    assert_int_equal(weft_server_listen(server, "127.0.0.1:0"), -EBUSY);
    weft_server_free(server);
}

static void wrong_options_of_a_method_are_refused(void **state)
{
    struct rig *rig = *state;
    weft_server *server = NULL;
    user_UserService_ops ops = {.GetUser = NULL};
    weft_method_options method = WEFT_METHOD_OPTIONS_INIT;
    weft_service_options service = WEFT_SERVICE_OPTIONS_INIT;
    service.methods = &method;
    service.method_count = 1;
    method.method = "GetUsr";
    assert_int_equal(weft_server_new(&server, rig->engine, NULL), 0);
    assert_int_equal(user_UserService_register(server, &ops, rig, &service), -EINVAL);
    method.method = "GetUser";
    method.max_message_bytes = (int64_t)1 << 40;
    assert_int_equal(user_UserService_register(server, &ops, rig, &service), -EINVAL);
    method.max_message_bytes = 0;
    assert_int_equal(user_UserService_register(server, &ops, rig, &service), 0);
    weft_server_free(server);
}

static void wrong_targets_and_options_of_a_channel_are_refused(void **state)
{
    static const char *const bad[] = {"",           "host",         "host:",      "host:http",  "host:0",
                                      "host:70000", "ipv4:1.2.3:5", "ipv6:::1:5", "xds:///a:1", "a:1,b:2",
                                      "unix:",      "http://a:1",   "[::1]",      "a b:1"};
    struct rig *rig = *state;
    weft_channel *channel = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(weft_channel_new(&channel, rig->engine, bad[i], NULL), -EINVAL);
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.keepalive_ms = 5000; /* under 10 s: servers would close the connection */
    assert_int_equal(weft_channel_new(&channel, rig->engine, "a:1", &options), -EINVAL);
    assert_null(channel);
}

static void connect_waits_until_the_connection_stands(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    assert_int_equal(weft_channel_connect(rig->channel, rig->kind == RIG_CORE ? LONG_MS : -1), 0);
}

#define CASES(setup)                                                                                                   \
    cmocka_unit_test_setup_teardown(a_call_reaches_its_handler_and_brings_the_response_back, setup, rig_teardown),     \
        cmocka_unit_test_setup_teardown(a_hundred_calls_on_one_channel_all_succeed, setup, rig_teardown),              \
        cmocka_unit_test_setup_teardown(an_empty_request_and_an_empty_response_are_a_call, setup, rig_teardown),       \
        cmocka_unit_test_setup_teardown(a_large_message_travels_whole_both_ways, setup, rig_teardown),                 \
        cmocka_unit_test_setup_teardown(a_failing_handler_tells_code_and_message, setup, rig_teardown),                \
        cmocka_unit_test_setup_teardown(a_code_that_is_none_becomes_internal, setup, rig_teardown),                    \
        cmocka_unit_test_setup_teardown(a_handler_that_gives_no_response_is_answered_for, setup, rig_teardown),        \
        cmocka_unit_test_setup_teardown(a_local_error_is_told_without_its_detail, setup, rig_teardown),                \
        cmocka_unit_test_setup_teardown(a_method_without_a_handler_is_unimplemented, setup, rig_teardown),             \
        cmocka_unit_test_setup_teardown(an_unknown_method_is_unimplemented_at_once, setup, rig_teardown),              \
        cmocka_unit_test_setup_teardown(metadata_travels_both_ways_binary_and_repeated, setup, rig_teardown),          \
        cmocka_unit_test_setup_teardown(illegal_metadata_is_refused_before_anything_is_sent, setup, rig_teardown),     \
        cmocka_unit_test_setup_teardown(a_request_over_the_limit_is_refused_and_the_connection_lives_on, setup,        \
                                        rig_teardown),                                                                 \
        cmocka_unit_test_setup_teardown(a_string_that_is_not_utf8_is_refused_with_the_field_named, setup,              \
                                        rig_teardown),                                                                 \
        cmocka_unit_test_setup_teardown(a_call_that_needs_more_memory_than_its_limit_fails_alone, setup,               \
                                        rig_teardown),                                                                 \
        cmocka_unit_test_setup_teardown(calls_over_the_concurrency_limit_are_refused_at_once, setup, rig_teardown),    \
        cmocka_unit_test_setup_teardown(calls_over_the_methods_own_limit_are_refused_at_once, setup, rig_teardown),    \
        cmocka_unit_test_setup_teardown(a_full_queue_answers_at_once, setup, rig_teardown),                            \
        cmocka_unit_test_setup_teardown(the_handler_sees_the_callers_deadline, setup, rig_teardown),                   \
        cmocka_unit_test_setup_teardown(a_call_past_its_deadline_ends_here_and_the_handler_is_told, setup,             \
                                        rig_teardown),                                                                 \
        cmocka_unit_test_setup_teardown(a_queued_call_that_expires_never_reaches_its_handler, setup, rig_teardown),    \
        cmocka_unit_test_setup_teardown(a_deferred_call_is_answered_from_another_thread, setup, rig_teardown),         \
        cmocka_unit_test_setup_teardown(a_deferred_call_may_be_answered_before_its_handler_returns, setup,             \
                                        rig_teardown),                                                                 \
        cmocka_unit_test_setup_teardown(a_handler_calls_on_and_passes_its_deadline, setup, rig_teardown),              \
        cmocka_unit_test_setup_teardown(a_blocking_call_from_an_inline_handler_fails_at_once, setup, rig_teardown),    \
        cmocka_unit_test_setup_teardown(the_end_of_a_parent_cancels_the_calls_made_for_it, setup, rig_teardown),       \
        cmocka_unit_test_setup_teardown(nobody_listening_is_unavailable_and_not_the_peers_word, setup, rig_teardown),  \
        cmocka_unit_test_setup_teardown(a_stop_lets_running_calls_end_and_refuses_new_ones, setup, rig_teardown),      \
        cmocka_unit_test_setup_teardown(a_stop_answers_queued_calls_while_others_still_run, setup, rig_teardown),      \
        cmocka_unit_test_setup_teardown(a_stop_waits_for_a_deferred_call, setup, rig_teardown),                        \
        cmocka_unit_test_setup_teardown(a_stop_without_grace_cancels_what_still_runs, setup, rig_teardown),            \
        cmocka_unit_test_setup_teardown(an_engine_in_use_is_not_freed, setup, rig_teardown),                           \
        cmocka_unit_test_setup_teardown(wrong_use_of_a_server_is_refused, setup, rig_teardown),                        \
        cmocka_unit_test_setup_teardown(wrong_options_of_a_method_are_refused, setup, rig_teardown),                   \
        cmocka_unit_test_setup_teardown(wrong_targets_and_options_of_a_channel_are_refused, setup, rig_teardown),      \
        cmocka_unit_test_setup_teardown(connect_waits_until_the_connection_stands, setup, rig_teardown)

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {CASES(rig_setup_core)};
    static const struct CMUnitTest stepped[] = {CASES(rig_setup_stepped)};
    static const struct CMUnitTest threaded[] = {CASES(rig_setup_threaded)};
    const char *engine = argc > 1 ? argv[1] : "core";
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    if (strcmp(engine, "stepped") == 0)
        return cmocka_run_group_tests(stepped, NULL, NULL);
    if (strcmp(engine, "threaded") == 0)
        return cmocka_run_group_tests(threaded, NULL, NULL);
    return cmocka_run_group_tests(core, NULL, NULL);
}
