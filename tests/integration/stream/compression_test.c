/* Compression through the public API, for all four kinds of call, on gRPC core and on the memory engine. The handlers
 * tell what came, and do as the request's text says. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "integration/stream/rig.h"

enum {
    PAYLOAD = 20000,
    LIMIT = 100000,
    OVER_LIMIT = 4 * LIMIT
};

static char gzip_text[] = "gzip";
static char none_text[] = "none";
static char compressed_text[] = "compressed";
static char plain_text[] = "plain";

static char *told(bool compressed)
{
    return compressed ? compressed_text : plain_text;
}

/* ---- handlers ---------------------------------------------------------------------------------------------------- */

static void obey(struct rig *rig, weft_call *call, const char *text)
{
    if (strcmp(text, "gzip") == 0)
        RIG_CHECK(rig, weft_call_set_compression(call, WEFT_COMPRESSION_GZIP) == 0);
    if (strcmp(text, "none") == 0)
        RIG_CHECK(rig, weft_call_set_compression(call, WEFT_COMPRESSION_NONE) == 0);
}

/* So many zeros; or as many as came. */
static void fill(weft_call *call, Chat__Text *message, size_t len)
{
    message->payload.data = weft_arena_zalloc(weft_call_arena(call), len + 1);
    message->payload.len = message->payload.data != NULL ? len : 0;
}

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    obey(self, call, request->text);
    response->text = told(weft_call_request_compressed(call));
    fill(call, response, request->number > 0 ? (size_t)request->number : request->payload.len);
    return WEFT_OK;
}

/* Answers with a 1 for each message that came compressed, a 0 for each that did not, as the digits of the number. */
static weft_code gather(weft_call *call, chat_Chat_Gather_server *stream, Chat__Text *response, void *self)
{
    Chat__Text *message;
    int rc;
    while ((rc = chat_Chat_Gather_server_recv(stream, &message)) > 0) {
        obey(self, call, message->text);
        response->number = 10 * response->number + (weft_stream_recv_compressed(WEFT_STREAM(stream)) ? 1 : 0);
    }
    fill(call, response, PAYLOAD);
    return rc < 0 ? weft_fail_errno(call, rc) : WEFT_OK;
}

/* Every second message plain. */
static weft_code spread(weft_call *call, const Chat__Text *request, chat_Chat_Spread_server *stream, void *self)
{
    Chat__Text message = CHAT__TEXT__INIT;
    int rc = 0;
    obey(self, call, request->text);
    message.text = told(weft_call_request_compressed(call));
    fill(call, &message, request->payload.len);
    for (int64_t i = 0; rc == 0 && i < request->number; i++)
        rc = i % 2 == 0 ? chat_Chat_Spread_server_send(stream, &message)
                        : weft_stream_send_plain(WEFT_STREAM(stream), (const ProtobufCMessage *)&message);
    return rc < 0 ? weft_fail_errno(call, rc) : WEFT_OK;
}

static weft_code talk(weft_call *call, chat_Chat_Talk_server *stream, void *self)
{
    struct rig *rig = self;
    Chat__Text *message;
    int rc;
    bool first = true;
    while ((rc = chat_Chat_Talk_server_recv(stream, &message)) > 0) {
        if (first)
            obey(rig, call, message->text);
        first = false;
        message->text = told(weft_stream_recv_compressed(WEFT_STREAM(stream)));
        rc = chat_Chat_Talk_server_send(stream, message);
        if (rc < 0)
            break;
        RIG_CHECK(rig, weft_call_set_compression(call, WEFT_COMPRESSION_NONE) == -EALREADY);
        RIG_CHECK(rig, weft_call_set_compression(call, (weft_compression)3) == -EINVAL);
    }
    return rc < 0 ? weft_fail_errno(call, rc) : WEFT_OK;
}

static const chat_Chat_ops ops = {.Say = say, .Gather = gather, .Spread = spread, .Talk = talk};

/* ---- callers ----------------------------------------------------------------------------------------------------- */

static uint8_t zeros[OVER_LIMIT];

static Chat__Text text_of(char *text, size_t payload)
{
    Chat__Text message = CHAT__TEXT__INIT;
    message.text = text;
    message.payload.data = zeros;
    message.payload.len = payload;
    return message;
}

static void start(struct rig *rig, weft_compression server, weft_compression channel)
{
    rig_options options = rig_default_options();
    rig->ops = &ops;
    options.server.compression = server;
    options.channel.compression = channel;
    rig_start(rig, &options);
}

/* What Say makes of a call: whether the request came compressed there, and the response here. */
static void expect_say(struct rig *rig, weft_compression compression, char *text, size_t payload, bool request,
                       bool response)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    weft_call_info info = WEFT_CALL_INFO_INIT;
    Chat__Text message = text_of(text, payload);
    Chat__Text *answer = NULL;
    options.compression = compression;
    options.info = &info;
    rig_assert_status(chat_Chat_Say(rig->channel, rig->arena, &options, &message, &answer), WEFT_OK, "");
    assert_string_equal(answer->text, told(request));
    assert_int_equal(answer->payload.len, payload);
    assert_int_equal(info.compressed, response);
    for (size_t i = 0; i < info.headers.count; i++)
        assert_false(weft_sv_is(info.headers.items[i].key, "grpc-encoding"));
}

static chat_Chat_Talk_client *talk_as(struct rig *rig, weft_compression compression)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    chat_Chat_Talk_client *stream = NULL;
    options.compression = compression;
    assert_int_equal(chat_Chat_Talk(&stream, rig->channel, &options), 0);
    return stream;
}

/* ---- unary ------------------------------------------------------------------------------------------------------- */

static void nothing_is_compressed_unless_it_is_asked_for(void **state)
{
    struct rig *rig = *state;
    start(rig, WEFT_COMPRESSION_DEFAULT, WEFT_COMPRESSION_DEFAULT);
    expect_say(rig, WEFT_COMPRESSION_DEFAULT, plain_text, PAYLOAD, false, false);
    expect_say(rig, WEFT_COMPRESSION_NONE, none_text, PAYLOAD, false, false);
}

static void a_call_may_compress_its_request(void **state)
{
    struct rig *rig = *state;
    start(rig, WEFT_COMPRESSION_DEFAULT, WEFT_COMPRESSION_DEFAULT);
    expect_say(rig, WEFT_COMPRESSION_GZIP, plain_text, PAYLOAD, true, false);
    expect_say(rig, WEFT_COMPRESSION_DEFAULT, plain_text, PAYLOAD, false, false);
}

static void a_channel_may_compress_and_a_call_of_it_may_not(void **state)
{
    struct rig *rig = *state;
    start(rig, WEFT_COMPRESSION_NONE, WEFT_COMPRESSION_GZIP);
    expect_say(rig, WEFT_COMPRESSION_DEFAULT, plain_text, PAYLOAD, true, false);
    expect_say(rig, WEFT_COMPRESSION_NONE, plain_text, PAYLOAD, false, false);
}

static void a_handler_may_compress_its_response(void **state)
{
    struct rig *rig = *state;
    start(rig, WEFT_COMPRESSION_DEFAULT, WEFT_COMPRESSION_DEFAULT);
    expect_say(rig, WEFT_COMPRESSION_NONE, gzip_text, PAYLOAD, false, true);
    expect_say(rig, WEFT_COMPRESSION_GZIP, gzip_text, PAYLOAD, true, true);
    expect_say(rig, WEFT_COMPRESSION_NONE, none_text, PAYLOAD, false, false);
}

static void a_server_may_compress_and_a_handler_of_it_may_not(void **state)
{
    struct rig *rig = *state;
    start(rig, WEFT_COMPRESSION_GZIP, WEFT_COMPRESSION_DEFAULT);
    expect_say(rig, WEFT_COMPRESSION_DEFAULT, plain_text, PAYLOAD, false, true);
    expect_say(rig, WEFT_COMPRESSION_DEFAULT, none_text, PAYLOAD, false, false);
}

static void what_gzip_does_not_make_smaller_is_sent_as_it_is(void **state)
{
    struct rig *rig = *state;
    start(rig, WEFT_COMPRESSION_GZIP, WEFT_COMPRESSION_GZIP);
    expect_say(rig, WEFT_COMPRESSION_DEFAULT, plain_text, 0, false, false);
    expect_say(rig, WEFT_COMPRESSION_DEFAULT, plain_text, 10, false, false);
    uint32_t random = 1;
    for (size_t i = 0; i < 1000; i++) {
        random = random * 1664525u + 1013904223u;
        zeros[i] = (uint8_t)(random >> 24);
    }
    Chat__Text message = text_of(plain_text, 1000);
    Chat__Text *answer = NULL;
    weft_status status = chat_Chat_Say(rig->channel, rig->arena, NULL, &message, &answer);
    memset(zeros, 0, 1000);
    rig_assert_status(status, WEFT_OK, "");
    assert_string_equal(answer->text, "plain");
}

static void a_failure_of_a_compressing_server_is_told(void **state)
{
    struct rig *rig = *state;
    Chat__Text message = text_of((char[]){"\xff"}, 0);
    Chat__Text *answer = NULL;
    start(rig, WEFT_COMPRESSION_GZIP, WEFT_COMPRESSION_GZIP);
    rig_assert_status(chat_Chat_Say(rig->channel, rig->arena, NULL, &message, &answer), WEFT_INVALID_ARGUMENT, NULL);
}

static void what_is_no_compression_is_refused(void **state)
{
    struct rig *rig = *state;
    weft_server_options server_options = WEFT_SERVER_OPTIONS_INIT;
    weft_channel_options channel_options = WEFT_CHANNEL_OPTIONS_INIT;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    weft_server *server;
    weft_channel *channel;
    Chat__Text message = text_of(plain_text, 0);
    Chat__Text *answer = NULL;
    start(rig, WEFT_COMPRESSION_DEFAULT, WEFT_COMPRESSION_DEFAULT);
    server_options.compression = channel_options.compression = options.compression = (weft_compression)3;
    assert_int_equal(weft_server_new(&server, rig->engine, &server_options), -EINVAL);
    assert_int_equal(weft_channel_new(&channel, rig->engine, rig->target, &channel_options), -EINVAL);
    rig_assert_status(chat_Chat_Say(rig->channel, rig->arena, &options, &message, &answer), WEFT_INVALID_ARGUMENT,
                      "compression is no weft_compression");
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

static void a_client_stream_compresses_message_by_message(void **state)
{
    struct rig *rig = *state;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    weft_call_info info = WEFT_CALL_INFO_INIT;
    chat_Chat_Gather_client *stream = NULL;
    Chat__Text message = text_of(gzip_text, PAYLOAD);
    Chat__Text *response = NULL;
    options.compression = WEFT_COMPRESSION_GZIP;
    options.info = &info;
    start(rig, WEFT_COMPRESSION_DEFAULT, WEFT_COMPRESSION_DEFAULT);
    assert_int_equal(chat_Chat_Gather(&stream, rig->channel, &options), 0);
    assert_int_equal(chat_Chat_Gather_client_send(stream, &message), 0);
    assert_int_equal(weft_stream_send_plain(WEFT_STREAM(stream), (const ProtobufCMessage *)&message), 0);
    assert_int_equal(chat_Chat_Gather_client_send(stream, &message), 0);
    rig_assert_status(chat_Chat_Gather_client_finish(stream, rig->arena, &response), WEFT_OK, "");
    assert_int_equal(response->number, 101);
    assert_true(info.compressed);
}

static void a_server_stream_compresses_message_by_message(void **state)
{
    struct rig *rig = *state;
    chat_Chat_Spread_client *stream = NULL;
    Chat__Text request = text_of(gzip_text, PAYLOAD);
    Chat__Text *message = NULL;
    request.number = 4;
    start(rig, WEFT_COMPRESSION_DEFAULT, WEFT_COMPRESSION_GZIP);
    assert_int_equal(chat_Chat_Spread(&stream, rig->channel, NULL, &request), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 1);
        assert_int_equal(weft_stream_recv_compressed(WEFT_STREAM(stream)), i % 2 == 0);
        assert_string_equal(message->text, "compressed"); /* the request was */
        assert_int_equal(message->payload.len, PAYLOAD);
    }
    rig_assert_status(chat_Chat_Spread_client_finish(stream, rig->arena), WEFT_OK, "");
}

static void both_sides_of_a_stream_compress_or_not(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    start(rig, WEFT_COMPRESSION_DEFAULT, WEFT_COMPRESSION_DEFAULT);
    for (int i = 0; i < 4; i++) {
        bool there = i & 1, back = i & 2;
        chat_Chat_Talk_client *stream = talk_as(rig, there ? WEFT_COMPRESSION_GZIP : WEFT_COMPRESSION_NONE);
        Chat__Text sent = text_of(back ? gzip_text : none_text, PAYLOAD);
        for (int k = 0; k < 3; k++) {
            assert_int_equal(chat_Chat_Talk_client_send(stream, &sent), 0);
            assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 1);
            assert_string_equal(message->text, told(there));
            assert_int_equal(weft_stream_recv_compressed(WEFT_STREAM(stream)), back);
        }
        rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_OK, "");
    }
}

static void the_first_message_of_a_compressed_stream_may_be_plain(void **state)
{
    struct rig *rig = *state;
    Chat__Text message = text_of(plain_text, PAYLOAD);
    Chat__Text *received = NULL;
    start(rig, WEFT_COMPRESSION_GZIP, WEFT_COMPRESSION_GZIP);
    chat_Chat_Talk_client *stream = talk_as(rig, WEFT_COMPRESSION_DEFAULT);
    assert_int_equal(weft_stream_send_plain(WEFT_STREAM(stream), (const ProtobufCMessage *)&message), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &received), 1);
    assert_string_equal(received->text, "plain");
    assert_int_equal(chat_Chat_Talk_client_send(stream, &message), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &received), 1);
    assert_string_equal(received->text, "compressed");
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_OK, "");
}

static void a_packed_message_is_compressed_once_and_only_where_wanted(void **state)
{
    struct rig *rig = *state;
    Chat__Text message = text_of(plain_text, PAYLOAD);
    Chat__Text *received = NULL;
    weft_packed *packed = NULL;
    start(rig, WEFT_COMPRESSION_DEFAULT, WEFT_COMPRESSION_DEFAULT);
    assert_int_equal(weft_packed_new(&packed, rig->engine, (const ProtobufCMessage *)&message), 0);
    for (int i = 0; i < 4; i++) {
        bool wanted = i & 1;
        chat_Chat_Talk_client *stream = talk_as(rig, wanted ? WEFT_COMPRESSION_GZIP : WEFT_COMPRESSION_NONE);
        if (i == 2) {
            assert_int_equal(weft_packed_compress(packed), 0);
            assert_int_equal(weft_packed_compress(packed), 0);
        }
        assert_int_equal(weft_stream_send_packed(WEFT_STREAM(stream), packed), 0);
        assert_int_equal(chat_Chat_Talk_client_recv(stream, &received), 1);
        assert_string_equal(received->text, told(wanted && i >= 2));
        assert_int_equal(received->payload.len, PAYLOAD);
        rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_OK, "");
    }
    weft_packed_free(packed);
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

static void start_with_limits(struct rig *rig, int64_t server_bytes, int64_t channel_bytes)
{
    rig_options options = rig_default_options();
    rig->ops = &ops;
    options.server.compression = WEFT_COMPRESSION_GZIP;
    options.channel.compression = WEFT_COMPRESSION_GZIP;
    options.server.max_message_bytes = server_bytes;
    options.channel.max_message_bytes = channel_bytes;
    rig_start(rig, &options);
}

#define TOO_LARGE "a message is larger than 100000 bytes, decompressed"

static void a_request_is_limited_as_it_is_decompressed(void **state)
{
    struct rig *rig = *state;
    Chat__Text message = text_of(plain_text, OVER_LIMIT);
    Chat__Text *answer = NULL;
    start_with_limits(rig, LIMIT, -1);
    weft_status status = chat_Chat_Say(rig->channel, rig->arena, NULL, &message, &answer);
    rig_assert_status(status, WEFT_RESOURCE_EXHAUSTED, TOO_LARGE);
    assert_true(status.from_peer);
    expect_say(rig, WEFT_COMPRESSION_DEFAULT, plain_text, PAYLOAD, true, true);
}

static void a_response_is_limited_as_it_is_decompressed(void **state)
{
    struct rig *rig = *state;
    Chat__Text message = text_of(plain_text, 0);
    Chat__Text *answer = NULL;
    message.number = OVER_LIMIT;
    start_with_limits(rig, -1, LIMIT);
    weft_status status = chat_Chat_Say(rig->channel, rig->arena, NULL, &message, &answer);
    rig_assert_status(status, WEFT_RESOURCE_EXHAUSTED, "bad response: " TOO_LARGE);
    assert_false(status.from_peer);
    assert_null(answer);
}

static void a_streamed_request_is_limited_as_it_is_decompressed(void **state)
{
    struct rig *rig = *state;
    Chat__Text message = text_of(plain_text, OVER_LIMIT);
    Chat__Text *received = NULL;
    start_with_limits(rig, LIMIT, -1);
    chat_Chat_Talk_client *stream = talk_as(rig, WEFT_COMPRESSION_DEFAULT);
    assert_int_equal(chat_Chat_Talk_client_send(stream, &message), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &received), 0);
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_RESOURCE_EXHAUSTED, TOO_LARGE);
}

static void a_streamed_response_is_limited_as_it_is_decompressed(void **state)
{
    struct rig *rig = *state;
    Chat__Text message = text_of(plain_text, OVER_LIMIT);
    Chat__Text *received = NULL;
    chat_Chat_Spread_client *stream = NULL;
    message.number = 3;
    start_with_limits(rig, -1, LIMIT);
    assert_int_equal(chat_Chat_Spread(&stream, rig->channel, NULL, &message), 0);
    assert_int_equal(chat_Chat_Spread_client_recv(stream, &received), -EMSGSIZE);
    assert_int_equal(chat_Chat_Spread_client_recv(stream, &received), -EMSGSIZE);
    rig_assert_status(chat_Chat_Spread_client_finish(stream, rig->arena), WEFT_RESOURCE_EXHAUSTED, TOO_LARGE);
}

#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)
#define CASES(setup)                                                                                                   \
    CASE(nothing_is_compressed_unless_it_is_asked_for, setup), CASE(a_call_may_compress_its_request, setup),           \
        CASE(a_channel_may_compress_and_a_call_of_it_may_not, setup),                                                  \
        CASE(a_handler_may_compress_its_response, setup),                                                              \
        CASE(a_server_may_compress_and_a_handler_of_it_may_not, setup),                                                \
        CASE(what_gzip_does_not_make_smaller_is_sent_as_it_is, setup),                                                 \
        CASE(a_failure_of_a_compressing_server_is_told, setup), CASE(what_is_no_compression_is_refused, setup),        \
        CASE(a_client_stream_compresses_message_by_message, setup),                                                    \
        CASE(a_server_stream_compresses_message_by_message, setup),                                                    \
        CASE(both_sides_of_a_stream_compress_or_not, setup),                                                           \
        CASE(the_first_message_of_a_compressed_stream_may_be_plain, setup),                                            \
        CASE(a_packed_message_is_compressed_once_and_only_where_wanted, setup),                                        \
        CASE(a_request_is_limited_as_it_is_decompressed, setup),                                                       \
        CASE(a_response_is_limited_as_it_is_decompressed, setup),                                                      \
        CASE(a_streamed_request_is_limited_as_it_is_decompressed, setup),                                              \
        CASE(a_streamed_response_is_limited_as_it_is_decompressed, setup)

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {CASES(rig_setup_core)};
    static const struct CMUnitTest threaded[] = {CASES(rig_setup_threaded)};
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    if (argc > 1 && strcmp(argv[1], "threaded") == 0)
        return cmocka_run_group_tests(threaded, NULL, NULL);
    return cmocka_run_group_tests(core, NULL, NULL);
}
