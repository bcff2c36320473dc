/* grpc.reflection as its clients see it, in both versions. The same cases on every engine. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <weft/protobuf_c.h>
#include <weft/testing.h>

#include "google/protobuf/descriptor.pb-c.h"
#include "google/protobuf/struct.weft.h"
#include "google/protobuf/type.weft.h"
#include "google/rpc/status.weft.h"
#include "grpc/reflection/v1/reflection.weft.h"
#include "grpc/reflection/v1alpha/reflection.weft.h"
#include "integration/builtin/rig.h"
#include "user.weft.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest request_message;
typedef Grpc__Reflection__V1__ServerReflectionResponse response_message;
typedef grpc_reflection_v1_ServerReflection_ServerReflectionInfo_client info_client;

#define REQUEST(member)  GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##member
#define RESPONSE(member) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##member

/* ---- what the tests do ------------------------------------------------------------------------------------------- */

static info_client *begin(struct rig *rig)
{
    info_client *client = NULL;
    assert_int_equal(grpc_reflection_v1_ServerReflection_ServerReflectionInfo(&client, rig->channel, NULL), 0);
    return client;
}

static weft_code finish(struct rig *rig, info_client *client)
{
    return grpc_reflection_v1_ServerReflection_ServerReflectionInfo_client_finish(client, rig->arena).code;
}

/* Sends a request and gets the answer, which is there until the next; NULL: there is none. */
static const response_message *exchange(info_client *client, request_message *request)
{
    response_message *response = NULL;
    if (grpc_reflection_v1_ServerReflection_ServerReflectionInfo_client_send(client, request) < 0 ||
        grpc_reflection_v1_ServerReflection_ServerReflectionInfo_client_recv(client, &response) != 1)
        return NULL;
    return response;
}

/* All text members lie at one place, the union. */
typedef Grpc__Reflection__V1__ServerReflectionRequest__MessageRequestCase request_case;

static const response_message *ask(info_client *client, request_case member, const char *text)
{
    request_message request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    request.message_request_case = member;
    request.file_by_filename = (char *)(uintptr_t)text;
    const response_message *response = exchange(client, &request);
    assert_non_null(response);
    return response;
}

/* Whether the answer's `index`-th file is the one of this name. */
static void assert_file(const response_message *response, size_t index, const char *name)
{
    assert_int_equal(response->message_response_case, RESPONSE(FILE_DESCRIPTOR_RESPONSE));
    assert_true(index < response->file_descriptor_response->n_file_descriptor_proto);
    const ProtobufCBinaryData *bytes = &response->file_descriptor_response->file_descriptor_proto[index];
    Google__Protobuf__FileDescriptorProto *file =
        google__protobuf__file_descriptor_proto__unpack(NULL, bytes->len, bytes->data);
    assert_non_null(file);
    assert_string_equal(file->name, name);
    google__protobuf__file_descriptor_proto__free_unpacked(file, NULL);
}

static void assert_not_found(const response_message *response, const char *text)
{
    assert_int_equal(response->message_response_case, RESPONSE(ERROR_RESPONSE));
    assert_int_equal(response->error_response->error_code, WEFT_NOT_FOUND);
    assert_string_equal(response->error_response->error_message, text);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void all_services_are_listed_by_name(void **state)
{
    struct rig *rig = *state;
    static const char *const expected[] = {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                                           "grpc.reflection.v1alpha.ServerReflection", "user.UserService"};
    rig_start(rig, NULL, NULL);
    info_client *client = begin(rig);
    const response_message *response = ask(client, REQUEST(LIST_SERVICES), "");
    assert_int_equal(response->message_response_case, RESPONSE(LIST_SERVICES_RESPONSE));
    assert_int_equal(response->list_services_response->n_service, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(response->list_services_response->service[i]->name, expected[i]);
    assert_int_equal(response->original_request->message_request_case, REQUEST(LIST_SERVICES));
    assert_int_equal(finish(rig, client), WEFT_OK);
}

static void the_file_of_every_kind_of_symbol_is_found(void **state)
{
    static const struct {
        const char *symbol;
        const char *file;
    } cases[] = {
        {"user.UserService", "user.proto"},
        {"user.UserService.GetUser", "user.proto"},
        {"user.GetUserRequest", "user.proto"},
        {"user.GetUserRequest.id", "user.proto"},
        {"grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto"},
        {"grpc.health.v1.HealthCheckResponse.NOT_SERVING", "grpc/health/v1/health.proto"},
        {"grpc.health.v1.HealthListResponse.StatusesEntry", "grpc/health/v1/health.proto"},
        {"grpc.health.v1.HealthListResponse.StatusesEntry.value", "grpc/health/v1/health.proto"},
        {"grpc.reflection.v1.ServerReflectionRequest.message_request", "grpc/reflection/v1/reflection.proto"},
        {"grpc.reflection.v1alpha.ExtensionRequest", "grpc/reflection/v1alpha/reflection.proto"},
    };
    struct rig *rig = *state;
    rig_start(rig, NULL, NULL);
    info_client *client = begin(rig);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_file(ask(client, REQUEST(FILE_CONTAINING_SYMBOL), cases[i].symbol), 0, cases[i].file);
    assert_int_equal(finish(rig, client), WEFT_OK);
}

/* One file is imported by two others. */
static const uint8_t above_descriptor[] = "\x0a\x0b"
                                          "above.proto";
static const weft_file *const above_imports[] = {
    &google__rpc__status_proto_file,      /* any */
    &google__protobuf__type_proto_file,   /* any, source_context */
    &google__protobuf__struct_proto_file, /* nothing */
};
static const weft_file above = {
    .struct_size = sizeof(weft_file),
    .name = "above.proto",
    .descriptor = above_descriptor,
    .descriptor_size = sizeof above_descriptor - 1,
    .imports = above_imports,
    .import_count = 3,
};
static const weft_service above_service = {.struct_size = sizeof(weft_service), .name = "Above", .file = &above};

static void a_file_comes_with_all_that_it_imports_once_a_stream(void **state)
{
    static const char *const expected[] = {"above.proto",
                                           "google/rpc/status.proto",
                                           "google/protobuf/any.proto",
                                           "google/protobuf/type.proto",
                                           "google/protobuf/source_context.proto",
                                           "google/protobuf/struct.proto"};
    struct rig *rig = *state;
    assert_int_equal(rig_make(rig, NULL, NULL), 0);
    assert_int_equal(weft_server_add(rig->server, &above_service, "", NULL, NULL), 0);
    assert_int_equal(rig_serve(rig), 0);
    for (int stream = 0; stream < 2; stream++) {
        info_client *client = begin(rig);
        assert_file(ask(client, REQUEST(FILE_CONTAINING_SYMBOL), "google.protobuf.Any"), 0, expected[2]);
        /* What has come is not sent again, unless it is what was asked for. */
        for (int i = 0; i < 2; i++) {
            const response_message *response = ask(client, REQUEST(FILE_BY_FILENAME), "above.proto");
            assert_int_equal(response->file_descriptor_response->n_file_descriptor_proto, i == 0 ? 5 : 1);
            assert_file(response, 0, "above.proto");
            for (size_t n = 1, file = 1; i == 0 && n < 5; n++, file++) {
                file += file == 2;
                assert_file(response, n, expected[file]);
            }
        }
        assert_int_equal(finish(rig, client), WEFT_OK);
    }
}

static void what_is_not_there_is_an_error_and_the_stream_goes_on(void **state)
{
    struct rig *rig = *state;
    request_message request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    Grpc__Reflection__V1__ExtensionRequest extension = GRPC__REFLECTION__V1__EXTENSION_REQUEST__INIT;
    rig_start(rig, NULL, NULL);
    info_client *client = begin(rig);
    assert_not_found(ask(client, REQUEST(FILE_BY_FILENAME), "no.proto"), "no such file: no.proto");
    assert_not_found(ask(client, REQUEST(FILE_CONTAINING_SYMBOL), "user"), "no such symbol: user");
    assert_not_found(ask(client, REQUEST(FILE_CONTAINING_SYMBOL), ""), "no such symbol: ");
    assert_not_found(ask(client, REQUEST(FILE_CONTAINING_SYMBOL), ".user.User"), "no such symbol: .user.User");
    assert_not_found(ask(client, REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE), "no.Such"), "no such message: no.Such");
    assert_not_found(ask(client, REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE), "user.UserService"),
                     "no such message: user.UserService");
    extension.containing_type = (char *)(uintptr_t) "user.User";
    extension.extension_number = 1000;
    request.host = (char *)(uintptr_t) "example.org";
    request.message_request_case = REQUEST(FILE_CONTAINING_EXTENSION);
    request.file_containing_extension = &extension;
    const response_message *response = exchange(client, &request);
    assert_non_null(response);
    assert_not_found(response, "no such extension of: user.User");
    assert_string_equal(response->valid_host, "example.org");
    assert_string_equal(response->original_request->host, "example.org");
    assert_int_equal(response->original_request->file_containing_extension->extension_number, 1000);
    response = ask(client, REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE), "user.User");
    assert_int_equal(response->message_response_case, RESPONSE(ALL_EXTENSION_NUMBERS_RESPONSE));
    assert_string_equal(response->all_extension_numbers_response->base_type_name, "user.User");
    assert_int_equal(response->all_extension_numbers_response->n_extension_number, 0);
    assert_int_equal(finish(rig, client), WEFT_OK);
}

static void a_long_name_is_cut_in_the_error_and_a_longer_one_refused(void **state)
{
    struct rig *rig = *state;
    static char name[20000];
    request_message request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    rig_start(rig, NULL, NULL);
    info_client *client = begin(rig);
    for (size_t i = 0; i < 3000; i += 2)
        memcpy(name + i, "\303\244", 2); /* ä: a cut at any byte would leave half of one */
    const response_message *response = ask(client, REQUEST(FILE_CONTAINING_SYMBOL), name);
    assert_int_equal(response->message_response_case, RESPONSE(ERROR_RESPONSE));
    assert_in_range(strlen(response->error_response->error_message), 510, 512);
    memset(name, 'n', sizeof name - 1);
    request.message_request_case = REQUEST(FILE_CONTAINING_SYMBOL);
    request.file_containing_symbol = name;
    assert_null(exchange(client, &request));
    assert_int_equal(finish(rig, client), WEFT_RESOURCE_EXHAUSTED);
}

static void a_request_for_nothing_ends_the_stream(void **state)
{
    struct rig *rig = *state;
    request_message request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    rig_start(rig, NULL, NULL);
    info_client *client = begin(rig);
    assert_null(exchange(client, &request));
    assert_int_equal(finish(rig, client), WEFT_INVALID_ARGUMENT);
}

static void v1alpha_is_the_same_under_another_name(void **state)
{
    struct rig *rig = *state;
    Grpc__Reflection__V1alpha__ServerReflectionRequest request =
        GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__INIT;
    Grpc__Reflection__V1alpha__ServerReflectionResponse *response;
    grpc_reflection_v1alpha_ServerReflection_ServerReflectionInfo_client *client;
    rig_start(rig, NULL, NULL);
    assert_int_equal(grpc_reflection_v1alpha_ServerReflection_ServerReflectionInfo(&client, rig->channel, NULL), 0);
    request.message_request_case =
        GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
    request.file_containing_symbol = (char *)(uintptr_t) "user.UserService";
    assert_int_equal(grpc_reflection_v1alpha_ServerReflection_ServerReflectionInfo_client_send(client, &request), 0);
    assert_int_equal(grpc_reflection_v1alpha_ServerReflection_ServerReflectionInfo_client_recv(client, &response), 1);
    assert_int_equal(response->message_response_case,
                     GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE);
    assert_true(response->file_descriptor_response->n_file_descriptor_proto >= 1);
    assert_int_equal(
        grpc_reflection_v1alpha_ServerReflection_ServerReflectionInfo_client_finish(client, rig->arena).code, WEFT_OK);
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

static void a_stream_answers_thousands_of_requests(void **state)
{
    struct rig *rig = *state;
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    options.max_call_bytes = 4096; /* not enough for the answers together */
    options.quiet_ms = 20;
    rig_start(rig, &options, NULL);
    info_client *client = begin(rig);
    for (int i = 0; i < 3000; i++)
        assert_int_equal(ask(client, REQUEST(LIST_SERVICES), "")->message_response_case,
                         RESPONSE(LIST_SERVICES_RESPONSE));
    assert_int_equal(finish(rig, client), WEFT_OK);
}

static void a_client_that_reads_nothing_is_held_back_and_may_leave(void **state)
{
    struct rig *rig = *state;
    request_message request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    request.message_request_case = REQUEST(LIST_SERVICES);
    request.list_services = (char *)(uintptr_t) "";
    rig_start(rig, NULL, NULL);
    info_client *client = begin(rig);
    const int requests = rig->kind == RIG_CORE ? 100 : 2; /* which buffers megabytes, not one message */
    for (int i = 0; i < requests; i++)
        assert_int_equal(grpc_reflection_v1_ServerReflection_ServerReflectionInfo_client_send(client, &request), 0);
    weft_stream_cancel(WEFT_STREAM(client));
    assert_int_equal(finish(rig, client), WEFT_CANCELLED);
    rig_wait_for_calls(rig, 0);
}

static void streams_are_limited(void **state)
{
    struct rig *rig = *state;
    info_client *clients[100];
    rig_start(rig, NULL, NULL);
    for (size_t i = 0; i < 100; i++) {
        clients[i] = begin(rig);
        (void)ask(clients[i], REQUEST(FILE_BY_FILENAME), "user.proto");
    }
    request_message request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    info_client *more = begin(rig);
    assert_null(exchange(more, &request));
    assert_int_equal(finish(rig, more), WEFT_RESOURCE_EXHAUSTED);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(finish(rig, clients[i]), WEFT_OK);
    rig_wait_for_calls(rig, 0);
}

static void a_stop_cancels_who_only_listens(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL, NULL);
    info_client *client = begin(rig);
    (void)ask(client, REQUEST(LIST_SERVICES), "");
    assert_int_equal(weft_server_stop(rig->server, 0), 0);
    assert_int_equal(finish(rig, client), WEFT_UNAVAILABLE);
}

static bool ask_a_hundred_times(struct rig *rig)
{
    request_message request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    request.message_request_case = REQUEST(LIST_SERVICES);
    request.list_services = (char *)(uintptr_t) "";
    info_client *client;
    int answers = 0;
    if (grpc_reflection_v1_ServerReflection_ServerReflectionInfo(&client, rig->channel, NULL) == 0) {
        while (answers < 100 && exchange(client, &request) != NULL)
            answers++;
        if (finish(rig, client) != WEFT_OK)
            answers = 0;
    }
    return answers == 100;
}

struct looping {
    struct rig *rig;
    bool right;
    atomic_bool over;
};

static void *ask_and_tell(void *arg)
{
    struct looping *looping = arg;
    looping->right = ask_a_hundred_times(looping->rig);
    atomic_store(&looping->over, true);
    return NULL;
}

static void a_server_on_a_loop_answers_too(void **state)
{
    struct rig *rig = *state;
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    struct looping looping = {.rig = rig};
    weft_loop *loop;
    pthread_t client;
    if (rig->kind == RIG_STEPPED)
        skip(); /* has no loops */
    assert_int_equal(weft_loop_new(&loop), 0);
    options.loop = loop;
    options.quiet_ms = 20;
    rig_start(rig, &options, NULL);
    assert_int_equal(pthread_create(&client, NULL, ask_and_tell, &looping), 0);
    while (!atomic_load(&looping.over)) {
        struct pollfd fd = {.fd = weft_loop_fd(loop), .events = POLLIN};
        (void)poll(&fd, 1, 10);
        (void)weft_loop_dispatch(loop, 7);
    }
    assert_int_equal(pthread_join(client, NULL), 0);
    assert_true(looping.right);
    rig_unmake(rig);
    assert_int_equal(weft_loop_free(loop), 0);
}

/* ---- registration ------------------------------------------------------------------------------------------------ */

static User__UserService_Service unplugged = {
    .base = {.descriptor = &user__user_service__descriptor, .invoke = protobuf_c_service_invoke_internal},
};

static void services_of_protobuf_c_are_names_only(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(weft_arena_new(&rig->arena, 0), 0);
    assert_int_equal(weft_server_new(&rig->server, rig->engine, NULL), 0);
    assert_int_equal(weft_reflection_register(rig->server), 0);
    assert_int_equal(weft_server_add_protobuf_c(rig->server, &unplugged.base), 0);
    assert_int_equal(rig_serve(rig), 0);
    info_client *client = begin(rig);
    const response_message *response = ask(client, REQUEST(LIST_SERVICES), "");
    assert_int_equal(response->list_services_response->n_service, 3);
    assert_string_equal(response->list_services_response->service[2]->name, "user.UserService");
    assert_not_found(ask(client, REQUEST(FILE_CONTAINING_SYMBOL), "user.UserService"),
                     "no such symbol: user.UserService");
    assert_int_equal(finish(rig, client), WEFT_OK);
}

static void it_is_registered_once_and_before_the_start(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL, NULL);
    assert_int_equal(weft_reflection_register(rig->server), -EBUSY);
    weft_server *server;
    assert_int_equal(weft_server_new(&server, rig->engine, NULL), 0);
    assert_int_equal(weft_reflection_register(server), 0);
    assert_int_equal(weft_reflection_register(server), -EEXIST);
    weft_server_free(server);
}

#define CASE(setup, test) cmocka_unit_test_setup_teardown(test, setup, rig_teardown)
#define CASES(setup)                                                                                                   \
    CASE(setup, all_services_are_listed_by_name), CASE(setup, the_file_of_every_kind_of_symbol_is_found),              \
        CASE(setup, a_file_comes_with_all_that_it_imports_once_a_stream),                                              \
        CASE(setup, what_is_not_there_is_an_error_and_the_stream_goes_on),                                             \
        CASE(setup, a_long_name_is_cut_in_the_error_and_a_longer_one_refused),                                         \
        CASE(setup, a_request_for_nothing_ends_the_stream), CASE(setup, v1alpha_is_the_same_under_another_name),       \
        CASE(setup, a_stream_answers_thousands_of_requests),                                                           \
        CASE(setup, a_client_that_reads_nothing_is_held_back_and_may_leave), CASE(setup, streams_are_limited),         \
        CASE(setup, a_stop_cancels_who_only_listens), CASE(setup, a_server_on_a_loop_answers_too),                     \
        CASE(setup, services_of_protobuf_c_are_names_only), CASE(setup, it_is_registered_once_and_before_the_start)

static const struct CMUnitTest on_core[] = {CASES(rig_setup_core)};
static const struct CMUnitTest on_stepped[] = {CASES(rig_setup_stepped)};
static const struct CMUnitTest on_threaded[] = {CASES(rig_setup_threaded)};

RIG_MAIN(on_core, on_stepped, on_threaded)
