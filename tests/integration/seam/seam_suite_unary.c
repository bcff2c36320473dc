/* Unary calls: messages, metadata, statuses. */
#include <stdlib.h>

#include "integration/seam/seam_suite.h"

static void a_call_brings_its_request_and_gets_its_response(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    weft__ccall *call = seam_unary_text(&seam, &seam_unary, "there and back", &result);
    assert_seam_code(&result, WEFT_OK);
    assert_true(result.from_peer);
    assert_int_equal(result.seen, WEFT__SEEN_YES);
    assert_true(seam_rx_is_text(&seam, &result.response, "there and back"));
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

static void an_empty_message_is_a_message(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    weft__ccall *call = seam_unary_text(&seam, &seam_unary, "", &result);
    assert_seam_code(&result, WEFT_OK);
    assert_non_null(result.response.impl);
    assert_int_equal(result.response.total, 0);
    assert_non_null(result.response.data);
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

static void a_large_message_arrives_whole(void **state)
{
    (void)state;
    enum {
        SIZE = 3 << 20
    };
    struct seam seam;
    weft__result result;
    uint8_t *data = malloc(SIZE);
    assert_non_null(data);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (uint8_t)(i * 31 + i / 251);
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    weft__ccall *call = seam_call_new(&seam);
    weft__tx message = seam_tx(&seam, data, SIZE);
    const weft__call_args args = {.method = &seam_unary, .deadline_ns = INT64_MAX, .message = &message};
    seam_op end;
    seam_op_init(&seam, &end);
    assert_int_equal(SEAM_START(call->vtable->unary(call, &args, &end.op)), 0);
    assert_int_equal(seam_op_wait(&end), 0);
    call->vtable->result(call, &result);
    assert_seam_code(&result, WEFT_OK);
    assert_true(seam_rx_is(&seam, &result.response, data, SIZE));
    seam_call_free(&seam, call, &result);
    free(data);
    seam_stop(&seam);
}

static const weft_metadatum sent[] = {
    {{"x-text", 6}, {"printable, with spaces", 22}},
    {{"x-again", 7}, {"first", 5}},
    {{"x-bytes-bin", 11}, {"\0\xff\x80 any", 7}},
    {{"x-again", 7}, {"second", 6}},
    {{"x-empty", 7}, {"", 0}},
    {{"x-empty-bin", 11}, {"", 0}},
};
enum {
    SENT = sizeof sent / sizeof *sent
};

static bool has_sent(struct seam *seam, const weft__md *md)
{
    return weft_sv_is(seam_md(seam, md, "x-text", 0), "printable, with spaces") &&
           weft_sv_is(seam_md(seam, md, "x-again", 0), "first") &&
           weft_sv_is(seam_md(seam, md, "x-again", 1), "second") && seam_md(seam, md, "x-again", 2).data == NULL &&
           weft_sv_equal(seam_md(seam, md, "x-bytes-bin", 0), sent[2].value) &&
           weft_sv_is(seam_md(seam, md, "x-empty", 0), "") && weft_sv_is(seam_md(seam, md, "x-empty-bin", 0), "");
}

static void answer_with_metadata(struct seam *seam, seam_call *call)
{
    weft__tx response = seam_text(seam, "ok");
    const weft__finish answer = {
        .headers = sent, .header_count = SENT, .message = &response, .trailers = sent, .trailer_count = SENT};
    seam_check(seam, has_sent(seam, &call->start.headers), "the request's metadata");
    seam->engine->vtable->rx_release(&call->message);
    seam_check(seam, call->transport->vtable->finish(call->transport, &answer) == 0, "finish failed");
}

static void metadata_travels_both_ways_in_order_with_any_bytes(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_op end;
    seam_init(&seam);
    seam.on_begin = answer_with_metadata;
    seam_start(&seam);
    weft__ccall *call = seam_call_new(&seam);
    weft__tx message = seam_text(&seam, "?");
    const weft__call_args args = {
        .method = &seam_unary, .deadline_ns = INT64_MAX, .metadata = sent, .metadata_count = SENT, .message = &message};
    seam_op_init(&seam, &end);
    assert_int_equal(SEAM_START(call->vtable->unary(call, &args, &end.op)), 0);
    assert_int_equal(seam_op_wait(&end), 0);
    call->vtable->result(call, &result);
    assert_seam_code(&result, WEFT_OK);
    assert_true(has_sent(&seam, &result.headers));
    assert_true(has_sent(&seam, &result.trailers));
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

enum {
    MANY = 100
};

static void answer_counting(struct seam *seam, seam_call *call)
{
    int count = 0;
    while (seam_md(seam, &call->start.headers, "x-many", count).data != NULL)
        count++;
    seam_check(seam, count == MANY, "not all pairs came");
    seam_echo(seam, call);
}

static void a_hundred_pairs_are_no_matter(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_op end;
    weft_metadatum many[MANY];
    for (size_t i = 0; i < MANY; i++)
        many[i] = (weft_metadatum){weft_sv_from("x-many"), weft_sv_from("value")};
    seam_init(&seam);
    seam.on_begin = answer_counting;
    seam_start(&seam);
    weft__ccall *call = seam_call_new(&seam);
    weft__tx message = seam_text(&seam, "?");
    const weft__call_args args = {
        .method = &seam_unary, .deadline_ns = INT64_MAX, .metadata = many, .metadata_count = MANY, .message = &message};
    seam_op_init(&seam, &end);
    assert_int_equal(SEAM_START(call->vtable->unary(call, &args, &end.op)), 0);
    assert_int_equal(seam_op_wait(&end), 0);
    call->vtable->result(call, &result);
    assert_seam_code(&result, WEFT_OK);
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

static const char any_text[] = "no: %, \xc3\xa9, \"quotes\" and\na new line";

static void answer_not_found(struct seam *seam, seam_call *call)
{
    const weft__finish answer = {
        .code = WEFT_NOT_FOUND, .status_message = weft_sv_from(any_text), .trailers = sent, .trailer_count = SENT};
    seam->engine->vtable->rx_release(&call->message);
    seam_check(seam, call->transport->vtable->finish(call->transport, &answer) == 0, "finish failed");
}

static void a_failure_brings_code_text_and_trailers_from_the_peer(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = answer_not_found;
    seam_start(&seam);
    weft__ccall *call = seam_unary_text(&seam, &seam_unary, "?", &result);
    assert_int_equal(result.code, WEFT_NOT_FOUND);
    assert_true(result.from_peer);
    assert_int_equal(result.seen, WEFT__SEEN_YES);
    assert_true(weft_sv_is(result.message, any_text));
    assert_true(has_sent(&seam, &result.trailers));
    assert_null(result.response.impl);
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

static void answer_odd_code(struct seam *seam, seam_call *call)
{
    seam->engine->vtable->rx_release(&call->message);
    (void)seam_finish(call, (weft_code)99, "odd", NULL);
}

static void a_code_that_is_none_is_unknown(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = answer_odd_code;
    seam_start(&seam);
    weft__ccall *call = seam_unary_text(&seam, &seam_unary, "?", &result);
    assert_int_equal(result.code, WEFT_UNKNOWN);
    assert_true(result.from_peer);
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

static void answer_without_response(struct seam *seam, seam_call *call)
{
    seam->engine->vtable->rx_release(&call->message);
    (void)seam_finish(call, WEFT_OK, NULL, NULL);
}

static void ok_without_a_response_is_unimplemented(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = answer_without_response;
    seam_start(&seam);
    weft__ccall *call = seam_unary_text(&seam, &seam_unary, "?", &result);
    assert_seam_code(&result, WEFT_UNIMPLEMENTED);
    assert_false(result.from_peer);
    assert_null(result.response.impl);
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

static void check_unknown(struct seam *seam, seam_call *call)
{
    (void)call;
    seam_check(seam, false, "a handler for a method that nobody serves");
}

static void an_unknown_method_is_told_with_its_path_at_once(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = check_unknown;
    seam_start(&seam);
    for (int i = 0; i < 200; i++) { /* more than are posted at a time */
        weft__ccall *call = seam_unary_text(&seam, &seam_unknown, "?", &result);
        assert_int_equal(result.code, WEFT_UNIMPLEMENTED);
        assert_true(weft_sv_is(result.message, "nobody serves this"));
        seam_call_free(&seam, call, &result);
    }
    seam_await(&seam, &seam.begun, 200);
    assert_int_equal(seam.begun, 200);
    seam_stop(&seam);
}

static void check_start(struct seam *seam, seam_call *call)
{
    const weft__call_start *start = &call->start;
    int64_t left_ns = start->deadline_ns - weft_engine_now_ns(seam->engine);
    char peer[8];
    seam_check(seam, weft_sv_is(start->path, "/seam.Suite/Unary"), "the path");
    seam_check(seam, strcmp(start->method->path, "/seam.Suite/Unary") == 0, "the method");
    seam_check(seam, left_ns > (int64_t)50000 * SEAM_MS && left_ns <= (int64_t)61000 * SEAM_MS, "the deadline");
    size_t len = call->transport->vtable->peer(call->transport, peer, sizeof peer);
    seam_check(seam, len > 0 && strlen(peer) == (len < sizeof peer ? len : sizeof peer - 1), "the peer, cut");
    seam_echo(seam, call);
}

static void the_server_sees_path_method_deadline_and_peer(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_op end;
    char peer[128];
    seam_init(&seam);
    seam.on_begin = check_start;
    seam_start(&seam);
    weft__ccall *call = seam_call_new(&seam);
    weft__tx message = seam_text(&seam, "?");
    const weft__call_args args = {.method = &seam_unary, .deadline_ns = seam_in_ms(&seam, 60000), .message = &message};
    seam_op_init(&seam, &end);
    assert_int_equal(SEAM_START(call->vtable->unary(call, &args, &end.op)), 0);
    assert_int_equal(seam_op_wait(&end), 0);
    call->vtable->result(call, &result);
    assert_seam_code(&result, WEFT_OK);
    size_t len = call->vtable->peer(call, peer, sizeof peer);
    assert_int_equal(len, strlen(peer));
    assert_string_equal(peer, seam.target);
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

static void check_no_deadline(struct seam *seam, seam_call *call)
{
    seam_check(seam, call->start.deadline_ns == INT64_MAX, "a deadline that nobody set");
    seam_check(seam, weft__engine_wait(seam->engine, (weft__event *)(uintptr_t)seam->arg, INT64_MAX) == -EDEADLK,
               "a wait on a loop thread");
    seam_echo(seam, call);
}

static void a_call_without_deadline_has_none_and_begin_must_not_wait(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    weft__event event;
    assert_int_equal(weft__event_init(&event), 0);
    seam_init(&seam);
    seam.on_begin = check_no_deadline;
    seam.arg = &event;
    seam_start(&seam);
    weft__ccall *call = seam_unary_text(&seam, &seam_unary, "?", &result);
    assert_seam_code(&result, WEFT_OK);
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
    weft__event_fini(&event);
}

static void a_message_shared_by_reference_is_sent_twice(void **state)
{
    (void)state;
    struct seam seam;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    weft__tx message = seam_text(&seam, "a message of more than twenty-three bytes");
    seam.engine->vtable->tx_ref(&message);
    for (int i = 0; i < 2; i++) {
        weft__result result;
        seam_op end;
        weft__ccall *call = seam_call_new(&seam);
        const weft__call_args args = {.method = &seam_unary, .deadline_ns = INT64_MAX, .message = &message};
        seam_op_init(&seam, &end);
        assert_int_equal(SEAM_START(call->vtable->unary(call, &args, &end.op)), 0);
        assert_int_equal(seam_op_wait(&end), 0);
        call->vtable->result(call, &result);
        assert_true(seam_rx_is_text(&seam, &result.response, "a message of more than twenty-three bytes"));
        seam_call_free(&seam, call, &result);
    }
    seam_stop(&seam);
}

static void a_message_may_be_shorter_than_it_was_made(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_op end;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    weft__ccall *call = seam_call_new(&seam);
    weft__tx message = seam_text(&seam, "this much and no more");
    message.len = 9;
    const weft__call_args args = {.method = &seam_unary, .deadline_ns = INT64_MAX, .message = &message};
    seam_op_init(&seam, &end);
    assert_int_equal(SEAM_START(call->vtable->unary(call, &args, &end.op)), 0);
    assert_int_equal(seam_op_wait(&end), 0);
    call->vtable->result(call, &result);
    assert_true(seam_rx_is_text(&seam, &result.response, "this much"));
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

static void a_response_released_after_the_call_is_still_good(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    weft__ccall *call = seam_unary_text(&seam, &seam_unary, "kept", &result);
    call->vtable->free(call);
    assert_true(seam_rx_is_text(&seam, &result.response, "kept"));
    seam_stop(&seam);
}

static void the_response_is_moved_out_once(void **state)
{
    (void)state;
    struct seam seam;
    weft__result first, second;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    weft__ccall *call = seam_unary_text(&seam, &seam_unary, "once", &first);
    call->vtable->result(call, &second);
    assert_int_equal(second.code, WEFT_OK);
    assert_null(second.response.impl);
    seam_call_free(&seam, call, &first);
    weft__ccall *untouched = seam_call_new(&seam);
    untouched->vtable->free(untouched);
    seam_stop(&seam);
}

const struct CMUnitTest seam_unary_cases[] = {
    cmocka_unit_test(a_call_brings_its_request_and_gets_its_response),
    cmocka_unit_test(an_empty_message_is_a_message),
    cmocka_unit_test(a_large_message_arrives_whole),
    cmocka_unit_test(metadata_travels_both_ways_in_order_with_any_bytes),
    cmocka_unit_test(a_hundred_pairs_are_no_matter),
    cmocka_unit_test(a_failure_brings_code_text_and_trailers_from_the_peer),
    cmocka_unit_test(a_code_that_is_none_is_unknown),
    cmocka_unit_test(ok_without_a_response_is_unimplemented),
    cmocka_unit_test(an_unknown_method_is_told_with_its_path_at_once),
    cmocka_unit_test(the_server_sees_path_method_deadline_and_peer),
    cmocka_unit_test(a_call_without_deadline_has_none_and_begin_must_not_wait),
    cmocka_unit_test(a_message_shared_by_reference_is_sent_twice),
    cmocka_unit_test(a_message_may_be_shorter_than_it_was_made),
    cmocka_unit_test(a_response_released_after_the_call_is_still_good),
    cmocka_unit_test(the_response_is_moved_out_once),
};
const size_t seam_unary_case_count = sizeof seam_unary_cases / sizeof *seam_unary_cases;
