/* interop-client: the client of gRPC's interop suite (grpc/grpc, doc/interop-test-descriptions.md).
 *
 *     interop-client --server_host=HOST --server_port=PORT --test_case=CASE [--server_host_override=NAME]
 *                    [--use_tls=true [--use_test_ca=true --ca_file=PEM]]
 *
 * Prints "CASE: passed", or what came out otherwise. Exits 0; 1 the case has failed; 2 usage.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "flags.h"
#include "grpc/testing/test.weft.h"

#define CONNECT_MS       20000
#define CALL_MS          30000
#define MAX_REQUEST_BODY 271828

#define FULL(name) grpc_testing_TestService_FullDuplexCall##name

typedef Grpc__Testing__StreamingOutputCallRequest output_request;
typedef Grpc__Testing__StreamingOutputCallResponse output_response;

/* A case in the making. */
typedef struct test {
    const char *name;
    weft_channel *channel;
    weft_arena *arena;
    weft_call_options options;
    weft_call_info info;
} test;

static uint8_t zeros[MAX_REQUEST_BODY];

/* ---- judging ----------------------------------------------------------------------------------------------------- */

static bool failed(const test *t, const char *format, ...) WEFT_PRINTF(2, 3);

/* Tells what came out otherwise than it must. @return false. */
static bool failed(const test *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: FAILED: ", t->name);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    return false;
}

static bool ended_with(const test *t, weft_status status, weft_code code)
{
    return status.code == code ||
           failed(t, "%s, not %s: %s", weft_code_name(status.code), weft_code_name(code), status.message);
}

static bool is_payload(const test *t, const Grpc__Testing__Payload *payload, size_t size)
{
    if (payload == NULL)
        return failed(t, "a response without a payload");
    if (payload->type != GRPC__TESTING__PAYLOAD_TYPE__COMPRESSABLE)
        return failed(t, "a payload of type %d", (int)payload->type);
    if (payload->body.len != size)
        return failed(t, "a body of %zu bytes, not %zu", payload->body.len, size);
    for (size_t i = 0; i < size; i++)
        if (payload->body.data[i] != 0)
            return failed(t, "the body's byte %zu is not 0", i);
    return true;
}

static Grpc__Testing__Payload payload_of(size_t size)
{
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    payload.body.data = zeros;
    payload.body.len = size;
    return payload;
}

/* ---- one and one ------------------------------------------------------------------------------------------------- */

static bool empty_unary(test *t)
{
    const Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    Grpc__Testing__Empty *response = NULL;
    weft_status status = grpc_testing_TestService_EmptyCall(t->channel, t->arena, &t->options, &request, &response);
    return ended_with(t, status, WEFT_OK) && (response != NULL || failed(t, "no response"));
}

/* UnaryCall with the suite's usual sizes, which must end with `code`. The two flags go into the request; NULL: not. */
static bool call_unary(test *t, weft_code code, Grpc__Testing__BoolValue *expect_compressed,
                       Grpc__Testing__BoolValue *response_compressed)
{
    Grpc__Testing__Payload payload = payload_of(271828);
    Grpc__Testing__SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    request.response_size = 314159;
    request.payload = &payload;
    request.expect_compressed = expect_compressed;
    request.response_compressed = response_compressed;
    Grpc__Testing__SimpleResponse *response;
    weft_status status = grpc_testing_TestService_UnaryCall(t->channel, t->arena, &t->options, &request, &response);
    return ended_with(t, status, code) && (code != WEFT_OK || is_payload(t, response->payload, 314159));
}

static bool call_large(test *t)
{
    return call_unary(t, WEFT_OK, NULL, NULL);
}

static bool large_unary(test *t)
{
    return call_large(t);
}

/* Two plain calls. gRPC core 1.51 cannot send GET, and the suite's cache is not there: that the second answer is the
 * first is not asked. */
static bool cacheable_unary(test *t)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    char *text = weft_arena_printf(t->arena, "%" PRId64 "%09ld", (int64_t)now.tv_sec, now.tv_nsec);
    if (text == NULL)
        return failed(t, "out of memory");
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    payload.body.data = (uint8_t *)text;
    payload.body.len = strlen(text);
    Grpc__Testing__SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    request.payload = &payload;
    const weft_metadatum user = {weft_sv_from("x-user-ip"), weft_sv_from("1.2.3.4")};
    t->options.metadata = &user;
    t->options.metadata_count = 1;
    bool passed = true;
    for (int i = 0; passed && i < 2; i++) {
        Grpc__Testing__SimpleResponse *response = NULL;
        weft_status status =
            grpc_testing_TestService_CacheableUnaryCall(t->channel, t->arena, &t->options, &request, &response);
        passed = ended_with(t, status, WEFT_OK) &&
                 ((response->payload != NULL && response->payload->body.len > 0) || failed(t, "an empty response"));
    }
    return passed;
}

static Grpc__Testing__BoolValue truth(bool value)
{
    Grpc__Testing__BoolValue truth = GRPC__TESTING__BOOL_VALUE__INIT;
    truth.value = value;
    return truth;
}

/* UnaryCall whose request goes as `compression` says and says itself that it is compressed, or is not. */
static bool call_told(test *t, weft_compression compression, bool told, weft_code code)
{
    Grpc__Testing__BoolValue expected = truth(told);
    t->options.compression = compression;
    return call_unary(t, code, &expected, NULL);
}

/* The first is the probe: a server that looks does not believe it. */
static bool client_compressed_unary(test *t)
{
    return call_told(t, WEFT_COMPRESSION_NONE, true, WEFT_INVALID_ARGUMENT) &&
           call_told(t, WEFT_COMPRESSION_GZIP, true, WEFT_OK) && call_told(t, WEFT_COMPRESSION_NONE, false, WEFT_OK);
}

static bool came_as_asked(const test *t, bool compressed, bool asked)
{
    return compressed == asked || failed(t, "a response that is %scompressed", asked ? "not " : "");
}

static bool server_compressed_unary(test *t)
{
    Grpc__Testing__BoolValue yes = truth(true);
    Grpc__Testing__BoolValue no = truth(false);
    t->options.info = &t->info;
    if (!call_unary(t, WEFT_OK, NULL, &yes) || !came_as_asked(t, t->info.compressed, true))
        return false;
    t->info = (weft_call_info)WEFT_CALL_INFO_INIT;
    return call_unary(t, WEFT_OK, NULL, &no) && came_as_asked(t, t->info.compressed, false);
}

/* ---- many in ----------------------------------------------------------------------------------------------------- */

static bool client_streaming(test *t)
{
    const size_t sizes[] = {27182, 8, 1828, 45904};
    grpc_testing_TestService_StreamingInputCall_client *stream;
    int rc = grpc_testing_TestService_StreamingInputCall(&stream, t->channel, &t->options);
    if (rc < 0)
        return failed(t, "the call did not begin: %s", strerror(-rc));
    for (size_t i = 0; rc == 0 && i < sizeof sizes / sizeof *sizes; i++) {
        Grpc__Testing__Payload payload = payload_of(sizes[i]);
        Grpc__Testing__StreamingInputCallRequest request = GRPC__TESTING__STREAMING_INPUT_CALL_REQUEST__INIT;
        request.payload = &payload;
        rc = grpc_testing_TestService_StreamingInputCall_client_send(stream, &request);
    }
    Grpc__Testing__StreamingInputCallResponse *response = NULL;
    weft_status status = grpc_testing_TestService_StreamingInputCall_client_finish(stream, t->arena, &response);
    if (!ended_with(t, status, WEFT_OK))
        return false;
    return (rc == 0 && response->aggregated_payload_size == 74922) ||
           failed(t, "%d bytes have arrived of 74922", (int)response->aggregated_payload_size);
}

/* One message of StreamingInputCall. */
typedef struct input {
    size_t size;
    bool compressed; /* how it goes */
    bool told;       /* what it says of itself */
} input;

static int send_input(grpc_testing_TestService_StreamingInputCall_client *stream, const input *in)
{
    Grpc__Testing__Payload payload = payload_of(in->size);
    Grpc__Testing__BoolValue told = truth(in->told);
    Grpc__Testing__StreamingInputCallRequest request = GRPC__TESTING__STREAMING_INPUT_CALL_REQUEST__INIT;
    request.payload = &payload;
    request.expect_compressed = &told;
    return in->compressed ? weft_stream_send(WEFT_STREAM(stream), &request.base)
                          : weft_stream_send_plain(WEFT_STREAM(stream), &request.base);
}

/* StreamingInputCall with these, which must end with `code`. A server that refuses one may do so before the next. */
static bool send_inputs(test *t, const input *inputs, size_t count, weft_code code)
{
    grpc_testing_TestService_StreamingInputCall_client *stream;
    Grpc__Testing__StreamingInputCallResponse *response = NULL;
    size_t sum = 0;
    t->options.compression = WEFT_COMPRESSION_GZIP;
    int rc = grpc_testing_TestService_StreamingInputCall(&stream, t->channel, &t->options);
    if (rc < 0)
        return failed(t, "the call did not begin: %s", strerror(-rc));
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = send_input(stream, &inputs[i]);
        sum += inputs[i].size;
    }
    weft_status status = grpc_testing_TestService_StreamingInputCall_client_finish(stream, t->arena, &response);
    if (!ended_with(t, status, code) || code != WEFT_OK)
        return status.code == code;
    return (size_t)response->aggregated_payload_size == sum ||
           failed(t, "%d bytes have arrived of %zu", (int)response->aggregated_payload_size, sum);
}

static bool client_compressed_streaming(test *t)
{
    const input probe = {.size = 27182, .compressed = false, .told = true};
    const input inputs[] = {
        {.size = 27182, .compressed = true, .told = true},
        {.size = 45904, .compressed = false, .told = false},
    };
    return send_inputs(t, &probe, 1, WEFT_INVALID_ARGUMENT) && send_inputs(t, inputs, 2, WEFT_OK);
}

static bool cancel_after_begin(test *t)
{
    grpc_testing_TestService_StreamingInputCall_client *stream;
    Grpc__Testing__StreamingInputCallResponse *response = NULL;
    int rc = grpc_testing_TestService_StreamingInputCall(&stream, t->channel, &t->options);
    if (rc < 0)
        return failed(t, "the call did not begin: %s", strerror(-rc));
    weft_stream_cancel(WEFT_STREAM(stream));
    return ended_with(t, grpc_testing_TestService_StreamingInputCall_client_finish(stream, t->arena, &response),
                      WEFT_CANCELLED);
}

/* ---- many out ---------------------------------------------------------------------------------------------------- */

static const int32_t sizes_out[] = {31415, 9, 2653, 58979};

enum {
    OUT_COUNT = sizeof sizes_out / sizeof *sizes_out
};

/* Receives what StreamingOutputCall was asked for; where `compressed` is set, each must be, or must not be. */
static bool receive_all(const test *t, grpc_testing_TestService_StreamingOutputCall_client *stream,
                        const output_request *request)
{
    output_response *response;
    size_t count = 0;
    for (; grpc_testing_TestService_StreamingOutputCall_client_recv(stream, &response) > 0; count++) {
        if (count == request->n_response_parameters)
            return failed(t, "more than %zu responses", count);
        const Grpc__Testing__ResponseParameters *asked = request->response_parameters[count];
        bool compressed = weft_stream_recv_compressed(WEFT_STREAM(stream));
        if (!is_payload(t, response->payload, (size_t)asked->size) ||
            (asked->compressed != NULL && !came_as_asked(t, compressed, asked->compressed->value)))
            return false;
    }
    return count == request->n_response_parameters ||
           failed(t, "%zu responses of %zu", count, request->n_response_parameters);
}

static bool call_output(test *t, const output_request *request)
{
    grpc_testing_TestService_StreamingOutputCall_client *stream;
    int rc = grpc_testing_TestService_StreamingOutputCall(&stream, t->channel, &t->options, request);
    if (rc < 0)
        return failed(t, "the call did not begin: %s", strerror(-rc));
    bool passed = receive_all(t, stream, request);
    weft_status status = grpc_testing_TestService_StreamingOutputCall_client_finish(stream, t->arena);
    return passed ? ended_with(t, status, WEFT_OK) : failed(t, "then %s", weft_code_name(status.code));
}

static bool server_streaming(test *t)
{
    Grpc__Testing__ResponseParameters parameters[OUT_COUNT];
    Grpc__Testing__ResponseParameters *pointers[OUT_COUNT];
    output_request request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    for (size_t i = 0; i < OUT_COUNT; i++) {
        grpc__testing__response_parameters__init(&parameters[i]);
        parameters[i].size = sizes_out[i];
        pointers[i] = &parameters[i];
    }
    request.n_response_parameters = OUT_COUNT;
    request.response_parameters = pointers;
    return call_output(t, &request);
}

static bool server_compressed_streaming(test *t)
{
    Grpc__Testing__BoolValue yes = truth(true);
    Grpc__Testing__BoolValue no = truth(false);
    Grpc__Testing__ResponseParameters first = GRPC__TESTING__RESPONSE_PARAMETERS__INIT;
    Grpc__Testing__ResponseParameters second = GRPC__TESTING__RESPONSE_PARAMETERS__INIT;
    Grpc__Testing__ResponseParameters *pointers[] = {&first, &second};
    output_request request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    first.size = 31415;
    first.compressed = &yes;
    second.size = 92653;
    second.compressed = &no;
    request.n_response_parameters = 2;
    request.response_parameters = pointers;
    return call_output(t, &request);
}

/* ---- many both ways ---------------------------------------------------------------------------------------------- */

/* Begins a FullDuplexCall; NULL, and it is told, when that fails. */
static FULL(_client) * begin_full(test *t)
{
    FULL(_client) * stream;
    int rc = FULL()(&stream, t->channel, &t->options);
    if (rc == 0)
        return stream;
    (void)failed(t, "the call did not begin: %s", strerror(-rc));
    return NULL;
}

/* Sends a request with `body` bytes for a response of `size`: 0; -errno. */
static int ask(FULL(_client) * stream, size_t body, int32_t size)
{
    Grpc__Testing__Payload payload = payload_of(body);
    Grpc__Testing__ResponseParameters parameters = GRPC__TESTING__RESPONSE_PARAMETERS__INIT;
    Grpc__Testing__ResponseParameters *pointer = &parameters;
    output_request request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    parameters.size = size;
    request.payload = &payload;
    request.n_response_parameters = 1;
    request.response_parameters = &pointer;
    return FULL(_client_send)(stream, &request);
}

/* Asks, and wants the response. */
static bool exchange(test *t, FULL(_client) * stream, size_t body, int32_t size)
{
    output_response *response;
    int rc = ask(stream, body, size);
    if (rc < 0)
        return failed(t, "not sent: %s", strerror(-rc));
    if (FULL(_client_recv)(stream, &response) != 1)
        return failed(t, "no response");
    return is_payload(t, response->payload, (size_t)size);
}

/* Half-closes and ends; no further response may come. */
static bool end_full(test *t, FULL(_client) * stream, bool passed)
{
    output_response *response;
    (void)FULL(_client_close_send)(stream);
    if (passed && FULL(_client_recv)(stream, &response) != 0)
        passed = failed(t, "one response too many");
    weft_status status = FULL(_client_finish)(stream, t->arena);
    return passed && ended_with(t, status, WEFT_OK);
}

static bool ping_pong(test *t)
{
    const size_t bodies[OUT_COUNT] = {27182, 8, 1828, 45904};
    FULL(_client) *stream = begin_full(t);
    if (stream == NULL)
        return false;
    bool passed = true;
    for (size_t i = 0; passed && i < OUT_COUNT; i++)
        passed = exchange(t, stream, bodies[i], sizes_out[i]);
    return end_full(t, stream, passed);
}

static bool empty_stream(test *t)
{
    FULL(_client) *stream = begin_full(t);
    return stream != NULL && end_full(t, stream, true);
}

static bool cancel_after_first_response(test *t)
{
    FULL(_client) *stream = begin_full(t);
    if (stream == NULL)
        return false;
    bool passed = exchange(t, stream, 27182, 31415);
    weft_stream_cancel(WEFT_STREAM(stream));
    weft_status status = FULL(_client_finish)(stream, t->arena);
    return passed && ended_with(t, status, WEFT_CANCELLED);
}

static bool timeout_on_sleeping_server(test *t)
{
    t->options.timeout_ms = 1;
    FULL(_client) *stream = begin_full(t);
    if (stream == NULL)
        return false;
    Grpc__Testing__Payload payload = payload_of(27182);
    output_request request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    output_response *response;
    request.payload = &payload;
    int rc = FULL(_client_send)(stream, &request);
    while (rc == 0 && FULL(_client_recv)(stream, &response) > 0)
        rc = failed(t, "a response that nobody asked for") ? 0 : -EBADMSG;
    weft_status status = FULL(_client_finish)(stream, t->arena);
    return ended_with(t, status, WEFT_DEADLINE_EXCEEDED) && rc != -EBADMSG;
}

/* ---- metadata and status ----------------------------------------------------------------------------------------- */

static const char initial_key[] = "x-grpc-test-echo-initial";
static const char initial_value[] = "test_initial_metadata_value";
static const char trailing_key[] = "x-grpc-test-echo-trailing-bin";
static const char trailing_value[] = "\xab\xab\xab";

static bool came_back(const test *t)
{
    if (!weft_sv_is(weft_metadata_find(&t->info.headers, initial_key), initial_value))
        return failed(t, "%s did not come back in the headers", initial_key);
    if (!weft_sv_is(weft_metadata_find(&t->info.trailers, trailing_key), trailing_value))
        return failed(t, "%s did not come back in the trailers", trailing_key);
    return true;
}

static bool custom_metadata(test *t)
{
    const weft_metadatum metadata[] = {
        {weft_sv_from(initial_key), weft_sv_from(initial_value)},
        {weft_sv_from(trailing_key), weft_sv_from(trailing_value)},
    };
    t->options.metadata = metadata;
    t->options.metadata_count = sizeof metadata / sizeof *metadata;
    t->options.info = &t->info;
    if (!call_large(t) || !came_back(t))
        return false;
    t->info = (weft_call_info)WEFT_CALL_INFO_INIT;
    FULL(_client) *stream = begin_full(t);
    if (stream == NULL)
        return false;
    bool passed = exchange(t, stream, 271828, 314159);
    return end_full(t, stream, passed) && came_back(t);
}

static bool has_status(const test *t, weft_status status, const Grpc__Testing__EchoStatus *wanted)
{
    if (!ended_with(t, status, (weft_code)wanted->code))
        return false;
    if (!status.from_peer)
        return failed(t, "the status is not the peer's");
    return strcmp(status.message, wanted->message) == 0 || failed(t, "the message is \"%s\"", status.message);
}

static bool unary_returns(test *t, Grpc__Testing__EchoStatus *wanted)
{
    Grpc__Testing__SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    Grpc__Testing__SimpleResponse *response;
    request.response_status = wanted;
    weft_status status = grpc_testing_TestService_UnaryCall(t->channel, t->arena, &t->options, &request, &response);
    return has_status(t, status, wanted);
}

static bool status_code_and_message(test *t)
{
    char message[] = "test status message";
    Grpc__Testing__EchoStatus wanted = GRPC__TESTING__ECHO_STATUS__INIT;
    wanted.code = WEFT_UNKNOWN;
    wanted.message = message;
    if (!unary_returns(t, &wanted))
        return false;
    FULL(_client) *stream = begin_full(t);
    if (stream == NULL)
        return false;
    output_request request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    request.response_status = &wanted;
    (void)FULL(_client_send)(stream, &request);
    return has_status(t, FULL(_client_finish)(stream, t->arena), &wanted);
}

static bool special_status_message(test *t)
{
    char message[] = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n";
    Grpc__Testing__EchoStatus wanted = GRPC__TESTING__ECHO_STATUS__INIT;
    wanted.code = WEFT_UNKNOWN;
    wanted.message = message;
    return unary_returns(t, &wanted);
}

static bool unimplemented_method(test *t)
{
    const Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    Grpc__Testing__Empty *response;
    return ended_with(
        t, grpc_testing_TestService_UnimplementedCall(t->channel, t->arena, &t->options, &request, &response),
        WEFT_UNIMPLEMENTED);
}

static bool unimplemented_service(test *t)
{
    const Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    Grpc__Testing__Empty *response;
    return ended_with(
        t, grpc_testing_UnimplementedService_UnimplementedCall(t->channel, t->arena, &t->options, &request, &response),
        WEFT_UNIMPLEMENTED);
}

/* ---- the cases --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool (*run)(test *t);
} cases[] = {
    {"empty_unary", empty_unary},
    {"cacheable_unary", cacheable_unary},
    {"large_unary", large_unary},
    {"client_compressed_unary", client_compressed_unary},
    {"server_compressed_unary", server_compressed_unary},
    {"client_streaming", client_streaming},
    {"client_compressed_streaming", client_compressed_streaming},
    {"server_streaming", server_streaming},
    {"server_compressed_streaming", server_compressed_streaming},
    {"ping_pong", ping_pong},
    {"empty_stream", empty_stream},
    {"custom_metadata", custom_metadata},
    {"status_code_and_message", status_code_and_message},
    {"special_status_message", special_status_message},
    {"unimplemented_method", unimplemented_method},
    {"unimplemented_service", unimplemented_service},
    {"cancel_after_begin", cancel_after_begin},
    {"cancel_after_first_response", cancel_after_first_response},
    {"timeout_on_sleeping_server", timeout_on_sleeping_server},
};

/* What was asked for; texts are NULL when nothing was. */
typedef struct arguments {
    const char *name; /* of the case */
    const char *host;
    int port;
    bool use_tls;
    bool use_test_ca; /* instead of the system's */
    const char *ca_file;
    const char *host_override; /* what the server calls itself */
    char target[512];
} arguments;

/* Makes the channel. @return 0; as weft_tls_new, weft_channel_new */
static int open_channel(weft_channel **out, weft_engine *engine, const arguments *asked)
{
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.timeout_ms = CALL_MS;
    if (!asked->use_tls) {
        options.authority = asked->host_override;
        return weft_channel_new(out, engine, asked->target, &options);
    }
    weft_tls_options security = WEFT_TLS_OPTIONS_INIT;
    weft_tls *tls = NULL;
    security.roots_file = asked->ca_file;
    security.server_name = asked->host_override;
    int rc = interop_tls_new(&tls, engine, &security);
    if (rc == 0) {
        options.tls = tls;
        rc = weft_channel_new(out, engine, asked->target, &options);
    }
    weft_tls_free(tls);
    return rc;
}

static int connect_and_run(const test *blank, bool (*run)(test *t), const arguments *asked)
{
    test t = *blank;
    weft_engine *engine = NULL;
    int rc = weft_arena_new(&t.arena, 0);
    if (rc == 0)
        rc = weft_core_engine_new(&engine, NULL);
    if (rc == 0)
        rc = open_channel(&t.channel, engine, asked);
    if (rc == 0)
        rc = weft_channel_connect(t.channel, CONNECT_MS);
    bool passed = rc == 0 ? run(&t) : failed(&t, "%s: %s", asked->target, strerror(-rc));
    weft_channel_free(t.channel);
    weft_engine_free(engine);
    weft_arena_free(t.arena);
    return passed ? INTEROP_PASSED : INTEROP_FAILED;
}

static int run_case(const arguments *asked)
{
    const char *name = asked->name;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(cases[i].name, name) != 0)
            continue;
        const test t = {.name = name, .options = WEFT_CALL_OPTIONS_INIT, .info = WEFT_CALL_INFO_INIT};
        int rc = connect_and_run(&t, cases[i].run, asked);
        if (rc == INTEROP_PASSED)
            printf("%s: passed\n", name);
        return rc;
    }
    fprintf(stderr, "--test_case=%s: there is no such case\n", name);
    return INTEROP_USAGE;
}

int main(int argc, char **argv)
{
    arguments asked = {.host = "localhost"};
    const interop_flag flags[] = {
        {.name = "server_host", .text = &asked.host},
        {.name = "server_port", .port = &asked.port},
        {.name = "test_case", .text = &asked.name},
        {.name = "use_tls", .truth = &asked.use_tls},
        {.name = "use_test_ca", .truth = &asked.use_test_ca},
        {.name = "ca_file", .text = &asked.ca_file},
        {.name = "server_host_override", .text = &asked.host_override},
    };
    if (interop_flags_parse(flags, sizeof flags / sizeof *flags, argc, argv) < 0 || asked.port == 0 ||
        asked.name == NULL) {
        fprintf(stderr, "usage: interop-client --server_host=HOST --server_port=PORT --test_case=CASE …\n");
        return INTEROP_USAGE;
    }
    if (asked.use_test_ca != (asked.ca_file != NULL)) {
        fprintf(stderr, "--use_test_ca=true and --ca_file go together: no CA is built in\n");
        return INTEROP_USAGE;
    }
    const char *format = strchr(asked.host, ':') != NULL ? "[%s]:%d" : "%s:%d";
    int length = snprintf(asked.target, sizeof asked.target, format, asked.host, asked.port);
    if (length < 0 || (size_t)length >= sizeof asked.target) {
        fprintf(stderr, "--server_host: too long\n");
        return INTEROP_USAGE;
    }
    return run_case(&asked);
}
