/* A caller's thread that is held up while it begins a stream: the whole answer comes, and the deadline passes, before
 * that thread goes on. gRPC core drops messages then, so an OK must not stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <grpc/grpc.h>

#include "integration/stream/rig.h"

static _Thread_local bool is_held_up; /* from where it has sent what it has to send … */
static _Thread_local bool has_sent;
static weft__event go_on; /* … until this */

/* Which the linker puts in the place of gRPC core's. */
grpc_call_error __real_grpc_call_start_batch(grpc_call *call, const grpc_op *ops, size_t count, void *tag,
                                             void *reserved);
grpc_call_error __wrap_grpc_call_start_batch(grpc_call *call, const grpc_op *ops, size_t count, void *tag,
                                             void *reserved);

grpc_call_error __wrap_grpc_call_start_batch(grpc_call *call, const grpc_op *ops, size_t count, void *tag,
                                             void *reserved)
{
    if (has_sent)
        (void)weft__event_wait(&go_on, INT64_MAX);
    has_sent = has_sent || (is_held_up && count > 0 && ops[0].op == GRPC_OP_SEND_INITIAL_METADATA);
    return __real_grpc_call_start_batch(call, ops, count, tag, reserved);
}

struct caller {
    pthread_t thread;
    struct rig *rig;
    chat_Chat_Spread_client *stream;
    int rc;
};

static void *begin(void *arg)
{
    struct caller *caller = arg;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    options.timeout_ms = 500;
    request.number = 3;
    is_held_up = true;
    caller->rc = chat_Chat_Spread(&caller->stream, caller->rig->channel, &options, &request);
    return NULL;
}

/* Until deadlines that were set before have passed, and gRPC core has seen to them. */
static void outlast_deadline(struct rig *rig)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    chat_Chat_Talk_client *stream = NULL;
    Chat__Text *message = NULL;
    options.timeout_ms = 500;
    assert_int_equal(chat_Chat_Talk(&stream, rig->channel, &options), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 0);
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_DEADLINE_EXCEEDED, "Deadline Exceeded");
}

static void post(void *event)
{
    weft__event_post(event);
}

static void await_end(weft_stream *stream)
{
    weft__event ended;
    assert_int_equal(weft__event_init(&ended), 0);
    if (weft_stream_when_ended(stream, post, &ended) == 0)
        assert_int_equal(weft__event_wait(&ended, INT64_MAX), 0);
    weft__event_fini(&ended);
}

static void expire_unread(struct rig *rig, const char *service_config)
{
    rig_options options = rig_default_options();
    struct caller caller = {.rig = rig};
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *message = NULL;
    options.channel.service_config = service_config;
    rig_start(rig, &options);
    rig_assert_status(chat_Chat_Say(rig->channel, rig->arena, NULL, &request, &message), WEFT_OK, "");
    assert_int_equal(weft__event_init(&go_on), 0);
    assert_int_equal(pthread_create(&caller.thread, NULL, begin, &caller), 0);
    rig_await(rig, &rig->over);
    for (int i = 0; i < 3; i++) /* come back behind all that the stream has brought */
        rig_assert_status(chat_Chat_Say(rig->channel, rig->arena, NULL, &request, &message), WEFT_OK, "");
    outlast_deadline(rig);
    weft__event_post(&go_on);
    assert_int_equal(pthread_join(caller.thread, NULL), 0);
    assert_int_equal(caller.rc, 0);
    await_end(WEFT_STREAM(caller.stream));
    assert_int_equal(chat_Chat_Spread_client_recv(caller.stream, &message), 0);
    rig_assert_status(chat_Chat_Spread_client_finish(caller.stream, rig->arena), WEFT_DEADLINE_EXCEEDED,
                      "Deadline Exceeded");
    weft__event_fini(&go_on);
}

static void a_stream_that_expires_unread_is_not_ok(void **state)
{
    expire_unread(*state, NULL);
}

static void nor_is_one_that_may_be_begun_again(void **state)
{
    expire_unread(*state, "{\"methodConfig\":[{\"name\":[{}],\"retryPolicy\":{\"maxAttempts\":3,"
                          "\"initialBackoff\":\"0.1s\",\"maxBackoff\":\"1s\",\"backoffMultiplier\":2,"
                          "\"retryableStatusCodes\":[\"UNAVAILABLE\"]}}]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_stream_that_expires_unread_is_not_ok, rig_setup_core_events, rig_teardown),
        cmocka_unit_test_setup_teardown(nor_is_one_that_may_be_begun_again, rig_setup_core_events, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
