/* What is over a limit is refused, and the rest goes on. */
#include <stdlib.h>

#include "integration/seam/seam_suite.h"

enum {
    LIMIT = 10000
};

/* One call with `request` bytes and `metadata` bytes in one pair. */
static weft__ccall *call_with(struct seam *seam, const weft_method *method, size_t request, size_t metadata,
                              weft__result *result)
{
    seam_op end;
    char *bytes = calloc(1, request + metadata + 1);
    assert_non_null(bytes);
    memset(bytes, 'x', request + metadata);
    const weft_metadatum pair = {weft_sv_from("x-large"), weft_sv_of(bytes, metadata)};
    weft__tx message = seam_tx(seam, bytes, request);
    const weft__call_args args = {.method = method,
                                  .deadline_ns = INT64_MAX,
                                  .metadata = &pair,
                                  .metadata_count = metadata > 0,
                                  .message = &message,
                                  .half_close = true};
    weft__ccall *call = seam_call_new(seam);
    seam_op_init(seam, &end);
    assert_int_equal(SEAM_START(call->vtable->unary(call, &args, &end.op)), 0);
    assert_int_equal(seam_op_wait(&end), 0);
    call->vtable->result(call, result);
    free(bytes);
    return call;
}

static void expect_ok(struct seam *seam, size_t request, size_t metadata)
{
    weft__result result;
    weft__ccall *call = call_with(seam, &seam_unary, request, metadata, &result);
    assert_seam_code(&result, WEFT_OK);
    seam_call_free(seam, call, &result);
}

static void expect_exhausted(struct seam *seam, const weft_method *method, size_t request, size_t metadata,
                             bool from_peer)
{
    weft__result result;
    weft__ccall *call = call_with(seam, method, request, metadata, &result);
    assert_seam_code(&result, WEFT_RESOURCE_EXHAUSTED);
    assert_int_equal(result.from_peer, from_peer);
    assert_null(result.response.impl);
    seam_call_free(seam, call, &result);
}

static void a_request_over_the_servers_limit_reaches_no_handler(void **state)
{
    (void)state;
    struct seam seam;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam.server_config.max_message_bytes = LIMIT;
    seam_start(&seam);
    expect_ok(&seam, LIMIT, 0);
    expect_exhausted(&seam, &seam_unary, LIMIT + 1, 0, true);
    expect_ok(&seam, LIMIT, 0);
    assert_int_equal(seam.handled, 2);
    seam_stop(&seam);
}

static void a_request_over_the_methods_limit_is_refused(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    expect_exhausted(&seam, &seam_small, 101, 0, true);
    weft__ccall *call = call_with(&seam, &seam_small, 100, 0, &result);
    assert_seam_code(&result, WEFT_OK);
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

static void answer_large(struct seam *seam, seam_call *call)
{
    size_t size = *(const size_t *)seam->arg;
    weft__tx response;
    seam->engine->vtable->rx_release(&call->message);
    seam_check(seam, seam->engine->vtable->tx_alloc(seam->engine, size, &response) == 0, "no memory");
    memset(response.data, 'y', size);
    (void)seam_finish(call, WEFT_OK, NULL, &response);
}

static void a_response_over_the_channels_limit_is_refused_here(void **state)
{
    (void)state;
    struct seam seam;
    size_t size = LIMIT;
    seam_init(&seam);
    seam.on_begin = answer_large;
    seam.arg = &size;
    seam.channel_config.max_message_bytes = LIMIT;
    seam_start(&seam);
    expect_ok(&seam, 1, 0);
    size = LIMIT + 1;
    expect_exhausted(&seam, &seam_unary, 1, 0, false);
    size = LIMIT;
    expect_ok(&seam, 1, 0);
    seam_stop(&seam);
}

/* Both sides have the same limit, as by default. */
static void whose_limit_it_was_is_told_apart(void **state)
{
    (void)state;
    struct seam seam;
    size_t size = LIMIT + 5;
    seam_init(&seam);
    seam.on_begin = answer_large;
    seam.arg = &size;
    seam.server_config.max_message_bytes = LIMIT;
    seam.channel_config.max_message_bytes = LIMIT;
    seam_start(&seam);
    expect_exhausted(&seam, &seam_unary, 1, 0, false);
    expect_exhausted(&seam, &seam_unary, LIMIT + 1, 0, true);
    seam_stop(&seam);
}

static void request_metadata_over_the_limit_reaches_no_handler(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam.server_config.max_metadata_bytes = 4096;
    seam_start(&seam);
    expect_ok(&seam, 1, 2000);
    weft__ccall *call = call_with(&seam, &seam_unary, 1, 8000, &result);
    assert_seam_code(&result, WEFT_RESOURCE_EXHAUSTED);
    seam_call_free(&seam, call, &result);
    assert_int_equal(seam.handled, 1);
    seam_recover(&seam); /* core closes the connection */
    seam_stop(&seam);
}

static void answer_with_large_metadata(struct seam *seam, seam_call *call)
{
    static char value[8000];
    memset(value, 'z', sizeof value);
    size_t size = *(const size_t *)seam->arg;
    const weft_metadatum pair = {weft_sv_from("x-large"), weft_sv_of(value, size)};
    weft__tx response = seam_text(seam, "ok");
    const weft__finish answer = {.headers = &pair, .header_count = 1, .message = &response};
    seam->engine->vtable->rx_release(&call->message);
    (void)call->transport->vtable->finish(call->transport, &answer);
}

static void response_metadata_over_the_limit_is_refused(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    size_t size = 2000;
    seam_init(&seam);
    seam.on_begin = answer_with_large_metadata;
    seam.arg = &size;
    seam.channel_config.max_metadata_bytes = 4096;
    seam_start(&seam);
    expect_ok(&seam, 1, 0);
    size = 8000;
    weft__ccall *call = call_with(&seam, &seam_unary, 1, 0, &result);
    assert_seam_code(&result, WEFT_RESOURCE_EXHAUSTED);
    seam_call_free(&seam, call, &result);
    size = 2000;
    seam_recover(&seam); /* core closes the connection */
    seam_stop(&seam);
}

static void hold_or_echo(struct seam *seam, seam_call *call)
{
    if (seam->held == NULL)
        seam_hold(seam, call);
    else
        seam_echo(seam, call);
}

static void calls_over_the_stream_limit_wait_for_their_turn(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_op end[2];
    weft__ccall *calls[2];
    seam_init(&seam);
    seam.on_begin = hold_or_echo;
    seam.server_config.max_streams = 1;
    seam_start(&seam);
    for (int i = 0; i < 2; i++) {
        weft__tx message = seam_text(&seam, "turn");
        const weft__call_args args = {
            .method = &seam_unary, .deadline_ns = INT64_MAX, .message = &message, .half_close = true};
        calls[i] = seam_call_new(&seam);
        seam_op_init(&seam, &end[i]);
        assert_int_equal(SEAM_START(calls[i]->vtable->unary(calls[i], &args, &end[i].op)), 0);
        seam_await(&seam, &seam.begun, 1);
    }
    assert_int_equal(seam.begun, 1);
    weft__tx response = seam_text(&seam, "first");
    assert_int_equal(seam_finish(seam.held, WEFT_OK, NULL, &response), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(seam_op_wait(&end[i]), 0);
        calls[i]->vtable->result(calls[i], &result);
        assert_seam_code(&result, WEFT_OK);
        seam_call_free(&seam, calls[i], &result);
    }
    assert_int_equal(seam.handled, 2);
    seam_stop(&seam);
}

const struct CMUnitTest seam_limit_cases[] = {
    cmocka_unit_test(a_request_over_the_servers_limit_reaches_no_handler),
    cmocka_unit_test(a_request_over_the_methods_limit_is_refused),
    cmocka_unit_test(a_response_over_the_channels_limit_is_refused_here),
    cmocka_unit_test(whose_limit_it_was_is_told_apart),
    cmocka_unit_test(request_metadata_over_the_limit_reaches_no_handler),
    cmocka_unit_test(response_metadata_over_the_limit_is_refused),
    cmocka_unit_test(calls_over_the_stream_limit_wait_for_their_turn),
};
const size_t seam_limit_case_count = sizeof seam_limit_cases / sizeof *seam_limit_cases;
