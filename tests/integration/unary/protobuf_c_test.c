/* protobuf-c's own service stubs on both sides, without protoc-gen-weft. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "user.pb-c.h"

struct fixture {
    weft_engine *engine;
    weft_server *server;
    weft_channel *channel;
    ProtobufCService *remote;
};

/* ---- the service, as a protobuf-c user writes it ----------------------------------------------------------------- */

static void get_user(User__UserService_Service *service, const User__GetUserRequest *request,
                     User__GetUserResponse_Closure closure, void *data)
{
    User__GetUserResponse response = USER__GET_USER_RESPONSE__INIT;
    User__User user = USER__USER__INIT;
    (void)service;
    if (strcmp(request->id, "missing") == 0) {
        weft_fail(weft_protobuf_c_call(), WEFT_NOT_FOUND, "user %s does not exist", request->id);
        closure(NULL, data);
        return;
    }
    if (strcmp(request->id, "broken") == 0) {
        closure(NULL, data);
        return;
    }
    user.id = request->id;
    user.name = (char *)(uintptr_t) "on the stack";
    response.user = &user;
    closure(&response, data); /* the response need not outlive this */
}

static User__UserService_Service served = {
    .base = {.descriptor = &user__user_service__descriptor, .invoke = protobuf_c_service_invoke_internal},
    .get_user = get_user,
};

/* ---- the client -------------------------------------------------------------------------------------------------- */

struct answer {
    int calls;
    bool null;
    char name[64];
};

static void on_user(const User__GetUserResponse *response, void *data)
{
    struct answer *answer = data;
    answer->calls++;
    answer->null = response == NULL;
    if (response != NULL)
        snprintf(answer->name, sizeof answer->name, "%s", response->user->name);
}

static struct answer ask(struct fixture *fixture, const char *id)
{
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    struct answer answer = {0, false, ""};
    request.id = (char *)(uintptr_t)id;
    user__user_service__get_user(fixture->remote, &request, on_user, &answer);
    assert_int_equal(answer.calls, 1);
    return answer;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    assert_int_equal(weft_core_engine_new(&fixture->engine, NULL), 0);
    assert_int_equal(weft_server_new(&fixture->server, fixture->engine, NULL), 0);
    assert_int_equal(weft_server_add_protobuf_c(fixture->server, &served.base), 0);
    assert_int_equal(weft_server_listen(fixture->server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(fixture->server), 0);
    assert_int_equal(
        weft_channel_new(&fixture->channel, fixture->engine, weft_server_address(fixture->server, 0), NULL), 0);
    assert_int_equal(
        weft_protobuf_c_service_new(&fixture->remote, fixture->channel, &user__user_service__descriptor, 20000), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    protobuf_c_service_destroy(fixture->remote);
    weft_channel_free(fixture->channel);
    weft_server_free(fixture->server);
    assert_int_equal(weft_engine_free(fixture->engine), 0);
    free(fixture);
    return 0;
}

static void a_remote_service_is_called_like_a_local_one(void **state)
{
    struct answer answer = ask(*state, "42");
    assert_false(answer.null);
    assert_string_equal(answer.name, "on the stack");
    assert_int_equal(weft_protobuf_c_status(((struct fixture *)*state)->remote).code, WEFT_OK);
}

static void a_failure_gives_null_and_its_status_can_be_asked(void **state)
{
    struct fixture *fixture = *state;
    assert_true(ask(fixture, "missing").null);
    weft_status status = weft_protobuf_c_status(fixture->remote);
    assert_int_equal(status.code, WEFT_NOT_FOUND);
    assert_string_equal(status.message, "user missing does not exist");
    assert_true(status.from_peer);
}

static void a_null_response_without_a_reason_is_internal(void **state)
{
    struct fixture *fixture = *state;
    assert_true(ask(fixture, "broken").null);
    assert_int_equal(weft_protobuf_c_status(fixture->remote).code, WEFT_INTERNAL);
}

static void on_deleted(const User__DeleteUserResponse *response, void *data)
{
    *(bool *)data = response == NULL;
}

static void a_function_left_null_is_unimplemented(void **state)
{
    struct fixture *fixture = *state;
    User__DeleteUserRequest request = USER__DELETE_USER_REQUEST__INIT;
    bool null = false;
    user__user_service__delete_user(fixture->remote, &request, on_deleted, &null);
    assert_true(null);
    assert_int_equal(weft_protobuf_c_status(fixture->remote).code, WEFT_UNIMPLEMENTED);
}

/* A service that is no more than its base, as remote ones are: behind it lies no table of functions. */
static void a_remote_service_can_be_served_in_its_turn(void **state)
{
    struct fixture *fixture = *state;
    struct fixture front = {.engine = fixture->engine};
    assert_int_equal(weft_server_new(&front.server, front.engine, NULL), 0);
    assert_int_equal(weft_server_add_protobuf_c(front.server, fixture->remote), 0);
    assert_int_equal(weft_server_listen(front.server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(front.server), 0);
    assert_int_equal(weft_channel_new(&front.channel, front.engine, weft_server_address(front.server, 0), NULL), 0);
    assert_int_equal(weft_protobuf_c_service_new(&front.remote, front.channel, &user__user_service__descriptor, 20000),
                     0);
    assert_string_equal(ask(&front, "42").name, "on the stack");
    assert_true(ask(&front, "missing").null);
    protobuf_c_service_destroy(front.remote);
    weft_channel_free(front.channel);
    weft_server_free(front.server);
}

static void the_status_of_a_call_through_another_service_is_not_told(void **state)
{
    struct fixture *fixture = *state;
    ProtobufCService *other;
    assert_int_equal(weft_protobuf_c_service_new(&other, fixture->channel, &user__user_service__descriptor, -1), 0);
    assert_int_equal(weft_protobuf_c_status(other).code, WEFT_UNKNOWN); /* there was none */
    assert_true(ask(fixture, "missing").null);
    assert_int_equal(weft_protobuf_c_status(other).code, WEFT_UNKNOWN);
    assert_int_equal(weft_protobuf_c_status(fixture->remote).code, WEFT_NOT_FOUND);
    protobuf_c_service_destroy(other);
}

static void a_service_without_channel_or_descriptor_is_refused(void **state)
{
    struct fixture *fixture = *state;
    ProtobufCService *remote = NULL;
    ProtobufCService empty = {0};
    assert_int_equal(weft_protobuf_c_service_new(&remote, NULL, &user__user_service__descriptor, 0), -EINVAL);
    assert_int_equal(weft_protobuf_c_service_new(&remote, fixture->channel, NULL, 0), -EINVAL);
    assert_int_equal(weft_protobuf_c_service_new(&remote, fixture->channel, &user__user_service__descriptor, -2),
                     -EINVAL);
    assert_null(remote);
    assert_int_equal(weft_server_add_protobuf_c(fixture->server, NULL), -EINVAL);
    assert_int_equal(weft_server_add_protobuf_c(fixture->server, &empty), -EINVAL);
}

static void outside_of_a_call_there_is_none(void **state)
{
    (void)state;
    assert_null(weft_protobuf_c_call());
}

static void a_service_without_names_is_refused(void **state)
{
    struct fixture *fixture = *state;
    ProtobufCServiceDescriptor nameless = user__user_service__descriptor;
    ProtobufCService service = {.descriptor = &nameless};
    ProtobufCService *remote = NULL;
    weft_server *server = NULL;
    nameless.name = NULL;
    assert_int_equal(weft_server_new(&server, fixture->engine, NULL), 0);
    assert_int_equal(weft_server_add_protobuf_c(server, &service), -ENOTSUP);
    assert_int_equal(weft_protobuf_c_service_new(&remote, fixture->channel, &nameless, 0), -ENOTSUP);
    assert_null(remote);
    assert_int_equal(weft_server_add_protobuf_c(server, &served.base), 0);
    assert_int_equal(weft_server_add_protobuf_c(server, &served.base), -EEXIST);
    weft_server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_remote_service_is_called_like_a_local_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failure_gives_null_and_its_status_can_be_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(a_null_response_without_a_reason_is_internal, setup, teardown),
        cmocka_unit_test_setup_teardown(a_function_left_null_is_unimplemented, setup, teardown),
        cmocka_unit_test_setup_teardown(a_remote_service_can_be_served_in_its_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(the_status_of_a_call_through_another_service_is_not_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_service_without_channel_or_descriptor_is_refused, setup, teardown),
        cmocka_unit_test(outside_of_a_call_there_is_none),
        cmocka_unit_test_setup_teardown(a_service_without_names_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
