/* A deferred stream that is answered while its last message waits for the client: nobody waits with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <weft/testing.h>
#include <weft/weft.h>

#include "base/event.h"
#include "grpc/health/v1/health.weft.h"

/* Any service with a stream of answers does. */
typedef Grpc__Health__V1__HealthCheckRequest request_message;
typedef Grpc__Health__V1__HealthCheckResponse response_message;

static struct {
    weft__event begun;
    weft_call *call;
    grpc_health_v1_Health_Watch_server *stream;
} held;

static weft_code hold(weft_call *call, const request_message *request, grpc_health_v1_Health_Watch_server *stream,
                      void *self)
{
    (void)request;
    (void)self;
    held.call = call;
    held.stream = stream;
    (void)weft_call_defer(call);
    weft__event_post(&held.begun);
    return WEFT_OK;
}

/* The engine buffers one message; the second one waits until the client has taken the first. */
static void answer_behind_a_message(bool threaded)
{
    static const grpc_health_v1_Health_ops ops = {.Watch = hold};
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    request_message request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    response_message response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response_message *received;
    grpc_health_v1_Health_Watch_client *client;
    weft_engine *engine;
    weft_server *server;
    weft_channel *channel;
    weft_arena *arena;
    options.threaded = threaded;
    options.max_buffered_bytes = 1;
    response.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    assert_int_equal(weft__event_init(&held.begun), 0);
    assert_int_equal(weft_memory_engine_new(&engine, &options), 0);
    assert_int_equal(weft_server_new(&server, engine, NULL), 0);
    assert_int_equal(grpc_health_v1_Health_register(server, &ops, NULL, NULL), 0);
    assert_int_equal(weft_server_listen(server, "watched:1"), 0);
    assert_int_equal(weft_server_start(server), 0);
    assert_int_equal(weft_channel_new(&channel, engine, "watched:1", NULL), 0);
    assert_int_equal(weft_arena_new(&arena, 0), 0);

    assert_int_equal(grpc_health_v1_Health_Watch(&client, channel, NULL, &request), 0);
    (void)weft_test_step(engine, SIZE_MAX);
    assert_int_equal(weft__event_wait(&held.begun, INT64_MAX), 0);
    assert_int_equal(grpc_health_v1_Health_Watch_server_send(held.stream, &response), 0);
    weft_call_finish(held.call, WEFT_NOT_FOUND, NULL); /* waits for nothing: this thread is the client's, too */
    assert_int_equal(grpc_health_v1_Health_Watch_client_recv(client, &received), 1);
    assert_int_equal(grpc_health_v1_Health_Watch_client_recv(client, &received), 0);
    assert_int_equal(grpc_health_v1_Health_Watch_client_finish(client, arena).code, WEFT_NOT_FOUND);

    weft_arena_free(arena);
    weft_channel_free(channel);
    weft_server_free(server);
    assert_int_equal(weft_engine_free(engine), 0);
    weft__event_fini(&held.begun);
}

static void an_answer_does_not_wait_for_the_client_to_read(void **state)
{
    (void)state;
    answer_behind_a_message(false);
    answer_behind_a_message(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_does_not_wait_for_the_client_to_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
