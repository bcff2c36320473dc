/* A method's own limit of message size, on a stream whose engine knows that of the server only. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "grpc/reflection/v1/reflection.weft.h"

/* Any service with a stream of requests does. */
typedef Grpc__Reflection__V1__ServerReflectionRequest request_message;
typedef Grpc__Reflection__V1__ServerReflectionResponse response_message;

static atomic_int received[2];

static weft_code receive_twice(weft_call *call, grpc_reflection_v1_ServerReflection_ServerReflectionInfo_server *stream,
                               void *self)
{
    request_message *request;
    (void)call;
    (void)self;
    for (int i = 0; i < 2; i++)
        atomic_store(&received[i],
                     grpc_reflection_v1_ServerReflection_ServerReflectionInfo_server_recv(stream, &request));
    return WEFT_OK;
}

static void a_message_larger_than_its_method_takes_ends_the_stream(void **state)
{
    static const grpc_reflection_v1_ServerReflection_ops ops = {.ServerReflectionInfo = receive_twice};
    weft_method_options method = WEFT_METHOD_OPTIONS_INIT;
    weft_service_options service = WEFT_SERVICE_OPTIONS_INIT;
    request_message request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    response_message *response;
    grpc_reflection_v1_ServerReflection_ServerReflectionInfo_client *client;
    char host[200];
    weft_engine *engine;
    weft_server *server;
    weft_channel *channel;
    weft_arena *arena;
    (void)state;
    method.method = "ServerReflectionInfo";
    method.max_message_bytes = 100;
    service.methods = &method;
    service.method_count = 1;
    assert_int_equal(weft_core_engine_new(&engine, NULL), 0);
    assert_int_equal(weft_server_new(&server, engine, NULL), 0);
    assert_int_equal(grpc_reflection_v1_ServerReflection_register(server, &ops, NULL, &service), 0);
    assert_int_equal(weft_server_listen(server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(server), 0);
    assert_int_equal(weft_channel_new(&channel, engine, weft_server_address(server, 0), NULL), 0);
    assert_int_equal(weft_arena_new(&arena, 0), 0);

    assert_int_equal(grpc_reflection_v1_ServerReflection_ServerReflectionInfo(&client, channel, NULL), 0);
    request.host = host;
    for (size_t len = 98; len < 100; len++) { /* and two bytes around it */
        memset(host, 'h', len);
        host[len] = '\0';
        assert_int_equal(grpc_reflection_v1_ServerReflection_ServerReflectionInfo_client_send(client, &request), 0);
    }
    assert_int_equal(grpc_reflection_v1_ServerReflection_ServerReflectionInfo_client_recv(client, &response), 0);
    weft_status status = grpc_reflection_v1_ServerReflection_ServerReflectionInfo_client_finish(client, arena);
    assert_int_equal(status.code, WEFT_RESOURCE_EXHAUSTED);
    assert_string_equal(status.message, "a message is larger than 100 bytes");
    assert_int_equal(received[0], 1);
    assert_int_equal(received[1], -EMSGSIZE);

    weft_arena_free(arena);
    weft_channel_free(channel);
    weft_server_free(server);
    assert_int_equal(weft_engine_free(engine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_larger_than_its_method_takes_ends_the_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
