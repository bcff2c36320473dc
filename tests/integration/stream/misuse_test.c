/* Handlers that use their call wrongly: debug builds tell which method's. And how much stack a worker has. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "integration/stream/rig.h"

#include <weft/testing.h>

#ifndef NDEBUG
static const bool checked = true;
#else
static const bool checked = false;
#endif

/* A handler's call, which outlives it here. */
struct kept {
    int log[2]; /* a pipe */
    weft_log *writer;
    weft_call *call;
    bool defer;
    weft__event there;
};

static weft_code keep(struct rig *rig, weft_call *call)
{
    struct kept *kept = rig->user;
    kept->call = call;
    if (kept->defer)
        RIG_CHECK(rig, weft_call_defer(call) == 0);
    weft__event_post(&kept->there);
    return WEFT_OK;
}

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    (void)request;
    (void)response;
    return keep(self, call);
}

static weft_code talk(weft_call *call, chat_Chat_Talk_server *stream, void *self)
{
    (void)stream;
    return keep(self, call);
}

static const chat_Chat_ops ops = {.Say = say, .Talk = talk};

static void start(struct rig *rig, struct kept *kept, bool defer)
{
    rig_options options = rig_default_options();
    weft_log_options log = WEFT_LOG_OPTIONS_INIT;
    memset(kept, 0, sizeof *kept);
    kept->defer = defer;
    assert_int_equal(weft__event_init(&kept->there), 0);
    assert_int_equal(pipe(kept->log), 0);
    log.fd = kept->log[1];
    log.level = WEFT_LOG_ERROR;
    log.format = WEFT_LOG_TEXT;
    assert_int_equal(weft_log_new(&kept->writer, &log), 0);
    options.server.log = kept->writer;
    rig->ops = &ops;
    rig->user = kept;
    rig_start(rig, &options);
}

/* The next line of the log has all of these words. */
static void assert_told(struct kept *kept, const char *first, const char *second)
{
    char line[1024];
    size_t len = 0;
    do
        assert_int_equal(read(kept->log[0], &line[len], 1), 1);
    while (line[len++] != '\n' && len < sizeof line - 1);
    line[len] = '\0';
    if (strstr(line, first) == NULL || strstr(line, second) == NULL || strstr(line, "/chat.Chat/") == NULL)
        fail_msg("%s", line);
}

static void end(struct rig *rig, struct kept *kept)
{
    weft_channel_free(rig->channel);
    weft_server_free(rig->server);
    rig->channel = NULL;
    rig->server = NULL;
    weft_log_free(kept->writer);
    close(kept->log[0]);
    close(kept->log[1]);
    weft__event_fini(&kept->there);
}

static void on_said(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    (void)status;
    (void)response;
    (void)result;
    weft__event_post(arg);
}

static void *stop(void *server)
{
    (void)weft_server_stop(server, 0);
    return NULL;
}

static void a_call_that_is_never_finished_is_named_when_the_server_cannot_stop(void **state)
{
    struct rig *rig = *state;
    struct kept kept;
    weft__event said;
    Chat__Text request = CHAT__TEXT__INIT;
    pthread_t stopper;
    if (!checked)
        skip();
    start(rig, &kept, true);
    assert_int_equal(weft__event_init(&said), 0);
    assert_int_equal(chat_Chat_Say_async(rig->channel, NULL, &request, on_said, &said), 0);
    rig_await(rig, &kept.there);
    if (rig->stepped)
        assert_int_equal(weft_server_stop(rig->server, 0), -EDEADLK);
    else
        assert_int_equal(pthread_create(&stopper, NULL, stop, rig->server), 0);
    assert_told(&kept, "never finished", "/chat.Chat/Say");
    weft_call_finish(kept.call, WEFT_CANCELLED, NULL);
    if (!rig->stepped)
        assert_int_equal(pthread_join(stopper, NULL), 0);
    rig_await(rig, &said);
    weft__event_fini(&said);
    end(rig, &kept);
}

static void a_second_finish_is_told_of(void **state)
{
    struct rig *rig = *state;
    struct kept kept;
    weft__event said;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text response = CHAT__TEXT__INIT;
    if (!checked)
        skip();
    start(rig, &kept, true);
    assert_int_equal(weft__event_init(&said), 0);
    assert_int_equal(chat_Chat_Say_async(rig->channel, NULL, &request, on_said, &said), 0);
    rig_await(rig, &kept.there);
    chat_Chat_Say_finish(kept.call, WEFT_OK, &response);
    rig_await(rig, &said);
    chat_Chat_Say_finish(kept.call, WEFT_OK, &response);
    assert_told(&kept, "used after its answer", "weft_call_finish");
    weft__event_fini(&said);
    end(rig, &kept);
}

static void a_call_that_is_used_when_its_handler_has_returned_is_told_of(void **state)
{
    struct rig *rig = *state;
    struct kept kept;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    if (!checked)
        skip();
    start(rig, &kept, false);
    rig_assert_status(chat_Chat_Say(rig->channel, rig->arena, NULL, &request, &response), WEFT_OK, "");
    assert_true(weft_call_metadata(kept.call, "x-key").data == NULL);
    assert_told(&kept, "used after its answer", "weft_call_metadata");
    assert_int_equal(weft_call_add_trailer(kept.call, "x-key", weft_sv_from("v")), -EALREADY);
    assert_told(&kept, "used after its answer", "weft_call_add");
    assert_int_equal(weft_call_defer(kept.call), -EALREADY);
    assert_told(&kept, "used after its answer", "weft_call_defer");
    chat_Chat_Say_finish(kept.call, WEFT_OK, NULL);
    assert_told(&kept, "used after its answer", "weft_call_finish");
    rig_assert_status(chat_Chat_Say(rig->channel, rig->arena, NULL, &request, &response), WEFT_OK, "");
    end(rig, &kept);
}

static void a_stream_that_is_used_after_its_end_is_told_of(void **state)
{
    struct rig *rig = *state;
    struct kept kept;
    chat_Chat_Talk_client *client = NULL;
    Chat__Text message = CHAT__TEXT__INIT;
    ProtobufCMessage *received;
    if (!checked)
        skip();
    start(rig, &kept, true);
    assert_int_equal(chat_Chat_Talk(&client, rig->channel, NULL), 0);
    rig_await(rig, &kept.there);
    weft_stream *stream = weft_call_stream(kept.call);
    weft_call_finish(kept.call, WEFT_OK, NULL);
    rig_assert_status(chat_Chat_Talk_client_finish(client, rig->arena), WEFT_OK, "");
    assert_int_equal(weft_stream_recv(stream, &received), -ECANCELED);
    assert_told(&kept, "/chat.Chat/Talk", "weft_stream_recv");
    assert_int_equal(weft_stream_send(stream, (const ProtobufCMessage *)&message), -ECANCELED);
    assert_told(&kept, "/chat.Chat/Talk", "weft_stream_send");
    end(rig, &kept);
}

/* ---- stack ------------------------------------------------------------------------------------------------------- */

static weft_code dig(weft_call *call, const Chat__Nest *request, Chat__Text *response, void *self)
{
    (void)call;
    (void)self;
    for (const Chat__Nest *nest = request->inner; nest != NULL; nest = nest->inner)
        response->number++;
    return WEFT_OK;
}

static void the_smallest_stack_is_enough_for_the_deepest_message(void **state)
{
    static const chat_Chat_ops diggers = {.Dig = dig};
    static const int64_t depths[] = {100, 200};
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    Chat__Nest nests[201];
    Chat__Text *response = NULL;
    options.server.worker_stack_bytes = 64 << 10;
    options.server.max_message_depth = 200;
    rig->ops = &diggers;
    rig_start(rig, &options);
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        for (int64_t k = depths[i]; k >= 0; k--) {
            nests[k] = (Chat__Nest)CHAT__NEST__INIT;
            nests[k].inner = k < depths[i] ? &nests[k + 1] : NULL;
        }
        rig_assert_status(chat_Chat_Dig(rig->channel, rig->arena, NULL, &nests[0], &response), WEFT_OK, "");
        assert_int_equal(response->number, depths[i]);
    }
}

#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)
#define CASES(setup)                                                                                                   \
    CASE(a_call_that_is_never_finished_is_named_when_the_server_cannot_stop, setup),                                   \
        CASE(a_second_finish_is_told_of, setup),                                                                       \
        CASE(a_call_that_is_used_when_its_handler_has_returned_is_told_of, setup),                                     \
        CASE(a_stream_that_is_used_after_its_end_is_told_of, setup),                                                   \
        CASE(the_smallest_stack_is_enough_for_the_deepest_message, setup)

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {CASES(rig_setup_core)};
    static const struct CMUnitTest stepped[] = {CASES(rig_setup_stepped)};
    if (argc > 1 && strcmp(argv[1], "stepped") == 0)
        return cmocka_run_group_tests(stepped, NULL, NULL);
    return cmocka_run_group_tests(core, NULL, NULL);
}
