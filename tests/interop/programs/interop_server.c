/* interop-server: the server of gRPC's interop suite (grpc/grpc, doc/interop-test-descriptions.md), until SIGTERM.
 *
 *     interop-server --port=PORT [--address=127.0.0.1] [--use_tls=true --tls_cert_file=PEM --tls_key_file=PEM]
 *
 * Port 0 takes a free one. UnimplementedCall and UnimplementedService are there for not being served.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "flags.h"
#include "grpc/testing/test.weft.h"

#define STOP_GRACE_MS 5000

/* The body of every payload: as many of these zeros as are asked for. */
#define MAX_BODY_BYTES (16 << 20)
static uint8_t zeros[MAX_BODY_BYTES];

/* How often a waiting handler looks whether it is still waited for: a handler has no timer that could call it. */
#define LOOK_MS 10

static const int64_t ns_per_us = 1000;
static const int64_t ns_per_ms = 1000000;

/* ---- what the methods share -------------------------------------------------------------------------------------- */

static int echo_metadata(weft_call *call)
{
    weft_sv initial = weft_call_metadata(call, "x-grpc-test-echo-initial");
    weft_sv trailing = weft_call_metadata(call, "x-grpc-test-echo-trailing-bin");
    int rc = 0;
    if (initial.data != NULL)
        rc = weft_call_add_header(call, "x-grpc-test-echo-initial", initial);
    if (rc == 0 && trailing.data != NULL)
        rc = weft_call_add_trailer(call, "x-grpc-test-echo-trailing-bin", trailing);
    return rc;
}

static bool wants_failure(const Grpc__Testing__EchoStatus *status)
{
    return status != NULL && status->code != WEFT_OK;
}

static weft_code fail_as_asked(weft_call *call, const Grpc__Testing__EchoStatus *status)
{
    return weft_fail(call, (weft_code)status->code, "%s", status->message);
}

static int fill(Grpc__Testing__Payload *payload, Grpc__Testing__PayloadType type, int32_t size)
{
    if (type != GRPC__TESTING__PAYLOAD_TYPE__COMPRESSABLE || size < 0 || size > MAX_BODY_BYTES)
        return -EINVAL;
    payload->type = type;
    payload->body.data = zeros;
    payload->body.len = (size_t)size;
    return 0;
}

static bool is_true(const Grpc__Testing__BoolValue *value)
{
    return value != NULL && value->value;
}

/* Whether a request came as it says of itself; one that says nothing did. */
static bool came_as_said(const Grpc__Testing__BoolValue *expect_compressed, bool compressed)
{
    return expect_compressed == NULL || expect_compressed->value == compressed;
}

static weft_code not_as_said(weft_call *call, bool compressed)
{
    return weft_fail(call, WEFT_INVALID_ARGUMENT, "the request came %s", compressed ? "compressed" : "uncompressed");
}

/* ---- one and one ------------------------------------------------------------------------------------------------- */

static weft_code empty_call(weft_call *call, const Grpc__Testing__Empty *request, Grpc__Testing__Empty *response,
                            void *self)
{
    (void)request;
    (void)response;
    (void)self;
    int rc = echo_metadata(call);
    return rc == 0 ? WEFT_OK : weft_fail_errno(call, rc);
}

static Grpc__Testing__Payload *new_payload(weft_call *call)
{
    Grpc__Testing__Payload *payload = weft_arena_alloc(weft_call_arena(call), sizeof *payload);
    if (payload != NULL)
        grpc__testing__payload__init(payload);
    return payload;
}

static weft_code unary_call(weft_call *call, const Grpc__Testing__SimpleRequest *request,
                            Grpc__Testing__SimpleResponse *response, void *self)
{
    (void)self;
    int rc = echo_metadata(call);
    if (rc < 0)
        return weft_fail_errno(call, rc);
    bool compressed = weft_call_request_compressed(call);
    if (!came_as_said(request->expect_compressed, compressed))
        return not_as_said(call, compressed);
    if (wants_failure(request->response_status))
        return fail_as_asked(call, request->response_status);
    response->payload = new_payload(call);
    if (response->payload == NULL)
        return weft_fail_errno(call, -ENOMEM);
    if (fill(response->payload, request->response_type, request->response_size) < 0)
        return weft_fail(call, WEFT_INVALID_ARGUMENT, "no such response");
    if (is_true(request->response_compressed))
        rc = weft_call_set_compression(call, WEFT_COMPRESSION_GZIP);
    return rc == 0 ? WEFT_OK : weft_fail_errno(call, rc);
}

static weft_code cacheable_unary_call(weft_call *call, const Grpc__Testing__SimpleRequest *request,
                                      Grpc__Testing__SimpleResponse *response, void *self)
{
    (void)request;
    (void)self;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    char *text = weft_arena_printf(weft_call_arena(call), "%lld%09ld", (long long)now.tv_sec, now.tv_nsec);
    response->payload = new_payload(call);
    if (text == NULL || response->payload == NULL)
        return weft_fail_errno(call, -ENOMEM);
    response->payload->body.data = (uint8_t *)text;
    response->payload->body.len = strlen(text);
    int rc = weft_call_add_header(call, "cache-control", weft_sv_from("max-age=60, public"));
    return rc == 0 ? WEFT_OK : weft_fail_errno(call, rc);
}

/* ---- many in ----------------------------------------------------------------------------------------------------- */

static weft_code streaming_input_call(weft_call *call, grpc_testing_TestService_StreamingInputCall_server *stream,
                                      Grpc__Testing__StreamingInputCallResponse *response, void *self)
{
    (void)self;
    Grpc__Testing__StreamingInputCallRequest *request;
    size_t sum = 0;
    int rc;
    while ((rc = grpc_testing_TestService_StreamingInputCall_server_recv(stream, &request)) > 0) {
        bool compressed = weft_stream_recv_compressed(WEFT_STREAM(stream));
        if (!came_as_said(request->expect_compressed, compressed))
            return not_as_said(call, compressed);
        sum += request->payload != NULL ? request->payload->body.len : 0;
        if (sum > INT32_MAX)
            return weft_fail(call, WEFT_OUT_OF_RANGE, "the sum needs more than 31 bits");
    }
    if (rc < 0)
        return weft_fail_errno(call, rc);
    response->aggregated_payload_size = (int32_t)sum;
    return WEFT_OK;
}

/* ---- many out ---------------------------------------------------------------------------------------------------- */

/* What precedes the first response. Which of them are to be compressed is told one by one, and later than that. */
static int begin_responses(weft_call *call)
{
    int rc = echo_metadata(call);
    return rc == 0 ? weft_call_set_compression(call, WEFT_COMPRESSION_GZIP) : rc;
}

/* Waits until `until_ns`, but not past the call's end: 0; -ECANCELED; -ETIMEDOUT. */
static int wait_until(weft_call *call, weft_engine *engine, int64_t until_ns)
{
    int64_t left_ns;
    while ((left_ns = until_ns - weft_engine_now_ns(engine)) > 0) {
        if (weft_call_remaining_ns(call) == 0)
            return -ETIMEDOUT;
        if (weft_call_cancelled(call))
            return -ECANCELED;
        int64_t left_ms = (left_ns + ns_per_ms - 1) / ns_per_ms;
        (void)poll(NULL, 0, (int)(left_ms < LOOK_MS ? left_ms : LOOK_MS));
    }
    return 0;
}

/* Makes and sends the response that `parameters` describe, `interval_us` after the one before. @return 0; -EINVAL; as
 * weft_stream_send. */
static int send_response(weft_call *call, weft_engine *engine, Grpc__Testing__PayloadType type,
                         const Grpc__Testing__ResponseParameters *parameters)
{
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    Grpc__Testing__StreamingOutputCallResponse response = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
    response.payload = &payload;
    int rc = fill(&payload, type, parameters->size);
    if (rc == 0 && parameters->interval_us > 0)
        rc = wait_until(call, engine, weft_engine_now_ns(engine) + parameters->interval_us * ns_per_us);
    if (rc < 0)
        return rc;
    return is_true(parameters->compressed) ? weft_stream_send(weft_call_stream(call), &response.base)
                                           : weft_stream_send_plain(weft_call_stream(call), &response.base);
}

static weft_code send_responses(weft_call *call, weft_engine *engine,
                                const Grpc__Testing__StreamingOutputCallRequest *request)
{
    for (size_t i = 0; i < request->n_response_parameters; i++) {
        int rc = send_response(call, engine, request->response_type, request->response_parameters[i]);
        if (rc == -EINVAL)
            return weft_fail(call, WEFT_INVALID_ARGUMENT, "no such response");
        if (rc < 0)
            return weft_fail_errno(call, rc);
    }
    return WEFT_OK;
}

static weft_code streaming_output_call(weft_call *call, const Grpc__Testing__StreamingOutputCallRequest *request,
                                       grpc_testing_TestService_StreamingOutputCall_server *stream, void *self)
{
    (void)stream;
    int rc = begin_responses(call);
    if (rc < 0)
        return weft_fail_errno(call, rc);
    if (wants_failure(request->response_status))
        return fail_as_asked(call, request->response_status);
    return send_responses(call, self, request);
}

/* ---- many both ways ---------------------------------------------------------------------------------------------- */

static weft_code full_duplex_call(weft_call *call, grpc_testing_TestService_FullDuplexCall_server *stream, void *self)
{
    Grpc__Testing__StreamingOutputCallRequest *request;
    int rc = begin_responses(call);
    if (rc < 0)
        return weft_fail_errno(call, rc);
    while ((rc = grpc_testing_TestService_FullDuplexCall_server_recv(stream, &request)) > 0) {
        if (wants_failure(request->response_status))
            return fail_as_asked(call, request->response_status);
        weft_code code = send_responses(call, self, request);
        if (code != WEFT_OK)
            return code;
    }
    return rc == 0 ? WEFT_OK : weft_fail_errno(call, rc);
}

/* A request that waits in HalfDuplexCall for the last one. */
typedef struct kept_request {
    struct kept_request *next;
    Grpc__Testing__StreamingOutputCallRequest request; /* type and response_parameters only */
} kept_request;

/* A copy of what is needed of a request, in the call's arena, which bounds how many there may be; NULL. */
static kept_request *keep(weft_arena *arena, const Grpc__Testing__StreamingOutputCallRequest *request)
{
    size_t count = request->n_response_parameters;
    kept_request *kept = weft_arena_zalloc(arena, sizeof *kept);
    Grpc__Testing__ResponseParameters **pointers = weft_arena_calloc(arena, count, sizeof *pointers);
    Grpc__Testing__ResponseParameters *parameters = weft_arena_calloc(arena, count, sizeof *parameters);
    if (weft_arena_failed(arena))
        return NULL;
    static Grpc__Testing__BoolValue yes = {.base = {.descriptor = &grpc__testing__bool_value__descriptor}, .value = 1};
    for (size_t i = 0; i < count; i++) {
        parameters[i] = *request->response_parameters[i];
        parameters[i].compressed =
            is_true(parameters[i].compressed) ? &yes : NULL; /* not what the next receive frees */
        pointers[i] = &parameters[i];
    }
    kept->request.response_type = request->response_type;
    kept->request.n_response_parameters = count;
    kept->request.response_parameters = pointers;
    return kept;
}

static weft_code half_duplex_call(weft_call *call, grpc_testing_TestService_HalfDuplexCall_server *stream, void *self)
{
    Grpc__Testing__StreamingOutputCallRequest *request;
    kept_request *first = NULL;
    kept_request **last = &first;
    int rc = begin_responses(call);
    if (rc < 0)
        return weft_fail_errno(call, rc);
    while ((rc = grpc_testing_TestService_HalfDuplexCall_server_recv(stream, &request)) > 0) {
        *last = keep(weft_call_arena(call), request);
        if (*last == NULL)
            return weft_fail_errno(call, -ENOMEM);
        last = &(*last)->next;
    }
    if (rc < 0)
        return weft_fail_errno(call, rc);
    weft_code code = WEFT_OK;
    for (const kept_request *kept = first; code == WEFT_OK && kept != NULL; kept = kept->next)
        code = send_responses(call, self, &kept->request);
    return code;
}

/* ---- the program ------------------------------------------------------------------------------------------------- */

static const grpc_testing_TestService_ops test_service = {
    .EmptyCall = empty_call,
    .UnaryCall = unary_call,
    .CacheableUnaryCall = cacheable_unary_call,
    .StreamingOutputCall = streaming_output_call,
    .StreamingInputCall = streaming_input_call,
    .FullDuplexCall = full_duplex_call,
    .HalfDuplexCall = half_duplex_call,
};

/* What was asked for. */
typedef struct arguments {
    const char *address;
    int port;
    bool use_tls;
    const char *certificate_file;
    const char *key_file;
} arguments;

static int listen_on(weft_server *server, weft_engine *engine, const arguments *asked, const char *address)
{
    if (!asked->use_tls)
        return weft_server_listen(server, address);
    weft_tls_options options = WEFT_TLS_OPTIONS_INIT;
    weft_tls *tls = NULL;
    options.certificate_file = asked->certificate_file;
    options.key_file = asked->key_file;
    int rc = interop_tls_new(&tls, engine, &options);
    if (rc == 0)
        rc = weft_server_listen_tls(server, address, tls);
    weft_tls_free(tls);
    return rc;
}

static int serve(weft_server *server, weft_engine *engine, const arguments *asked)
{
    char text[256];
    int length = snprintf(text, sizeof text, "%s:%d", asked->address, asked->port);
    if (length < 0 || (size_t)length >= sizeof text)
        return -EINVAL;
    int rc = grpc_testing_TestService_register(server, &test_service, engine, NULL);
    if (rc == 0)
        rc = listen_on(server, engine, asked, text);
    return rc == 0 ? weft_server_start(server) : rc;
}

static int run(const arguments *asked)
{
    sigset_t stop_signals;
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGTERM);
    sigaddset(&stop_signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stop_signals, NULL);

    weft_log *log = NULL;
    weft_engine *engine = NULL;
    weft_server *server = NULL;
    int rc = weft_log_new(&log, NULL);
    if (rc == 0) {
        weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
        options.log = log;
        rc = weft_core_engine_new(&engine, &options);
    }
    if (rc == 0) {
        weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
        options.log = log;
        rc = weft_server_new(&server, engine, &options);
    }
    if (rc == 0)
        rc = serve(server, engine, asked);
    if (rc == 0) {
        weft_log_info(log, "listening", WEFT_FIELDS(WEFT_STR("address", weft_server_address(server, 0))));
        int signal_number;
        sigwait(&stop_signals, &signal_number);
        rc = weft_server_stop(server, STOP_GRACE_MS);
    }
    if (rc < 0)
        fprintf(stderr, "interop-server: %s:%d: %s\n", asked->address, asked->port, strerror(-rc));
    weft_server_free(server);
    weft_engine_free(engine);
    weft_log_free(log);
    return rc == 0 ? INTEROP_PASSED : INTEROP_FAILED;
}

int main(int argc, char **argv)
{
    arguments asked = {.address = "127.0.0.1", .port = -1};
    const interop_flag flags[] = {
        {.name = "port", .port = &asked.port},
        {.name = "address", .text = &asked.address},
        {.name = "use_tls", .truth = &asked.use_tls},
        {.name = "tls_cert_file", .text = &asked.certificate_file},
        {.name = "tls_key_file", .text = &asked.key_file},
    };
    if (interop_flags_parse(flags, sizeof flags / sizeof *flags, argc, argv) < 0 || asked.port < 0) {
        fprintf(stderr, "usage: interop-server --port=PORT [--address=127.0.0.1] "
                        "[--use_tls=true --tls_cert_file=PEM --tls_key_file=PEM]\n");
        return INTEROP_USAGE;
    }
    if (asked.use_tls && (asked.certificate_file == NULL || asked.key_file == NULL)) {
        fprintf(stderr, "--use_tls=true needs --tls_cert_file and --tls_key_file: no certificate is built in\n");
        return INTEROP_USAGE;
    }
    return run(&asked);
}
