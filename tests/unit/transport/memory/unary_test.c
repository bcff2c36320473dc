/* Unary calls at the seam of the memory engine, stepped. */
#include <errno.h>

#include "rig.h"

static void a_unary_call_brings_the_request_there_and_the_response_back(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, NULL, NULL);
    rig.handler = rig_echo;
    weft__result result;
    weft__ccall *call = rig_unary_run(&rig, "hello", &result);
    assert_int_equal(result.code, WEFT_OK);
    assert_true(result.from_peer);
    assert_int_equal(result.seen, WEFT__SEEN_YES);
    assert_int_equal(result.message.len, 0);
    assert_rig_received(&rig, &result.response, "hello");
    assert_int_equal(rig.call->ended, 1);
    rig_free(call);
    rig_stop(&rig);
}

static void answer_with_metadata(struct rig *rig, rig_call *call)
{
    assert_int_equal(call->start.headers.count, 2);
    weft_metadatum pair = rig->engine->vtable->md_at(&call->start.headers, 1);
    assert_true(weft_sv_is(pair.key, "second-bin"));
    assert_true(weft_sv_equal(pair.value, weft_sv_of("a\0b", 3)));
    assert_true(weft_sv_is(call->start.path, "/rig/Unary"));
    const weft_metadatum header = {weft_sv_from("h"), weft_sv_from("1")};
    const weft_metadatum trailers[] = {{weft_sv_from("t"), weft_sv_from("2")}, {weft_sv_from("t"), weft_sv_from("")}};
    const weft__finish answer = {
        .headers = &header,
        .header_count = 1,
        .code = WEFT_NOT_FOUND,
        .status_message = weft_sv_from("no such thing"),
        .trailers = trailers,
        .trailer_count = 2,
    };
    assert_int_equal(call->transport->vtable->finish(call->transport, &answer), 0);
}

static void metadata_and_status_travel_both_ways(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, NULL, NULL);
    rig.handler = answer_with_metadata;
    const weft_metadatum metadata[] = {{weft_sv_from("first"), weft_sv_from("x")},
                                       {weft_sv_from("second-bin"), weft_sv_of("a\0b", 3)}};
    weft__ccall *call = rig_call_new(&rig);
    weft__tx message = rig_message(&rig, "?");
    const weft__call_args args = {
        .method = &rig_unary, .deadline_ns = INT64_MAX, .metadata = metadata, .metadata_count = 2, .message = &message};
    rig_op op;
    rig_op_init(&op);
    assert_int_equal(call->vtable->unary(call, &args, &op.op), 0);
    (void)weft_test_step(rig.engine, SIZE_MAX);
    assert_int_equal(op.completed, 1);
    weft__result result;
    call->vtable->result(call, &result);
    assert_int_equal(result.code, WEFT_NOT_FOUND);
    assert_true(weft_sv_is(result.message, "no such thing"));
    assert_null(result.response.impl);
    assert_int_equal(result.headers.count, 1);
    assert_true(weft_sv_is(rig.engine->vtable->md_at(&result.headers, 0).value, "1"));
    assert_int_equal(result.trailers.count, 2);
    assert_true(weft_sv_is(rig.engine->vtable->md_at(&result.trailers, 0).value, "2"));
    assert_int_equal(rig.engine->vtable->md_at(&result.trailers, 1).value.len, 0);
    rig_free(call);
    rig_stop(&rig);
}

static void an_unknown_method_reaches_the_upper_side_with_its_path(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, NULL, NULL);
    weft__ccall *call = rig_call_new(&rig);
    weft__tx message = rig_message(&rig, "?");
    const weft__call_args args = {.method = &rig_unknown, .deadline_ns = INT64_MAX, .message = &message};
    rig_op op;
    rig_op_init(&op);
    assert_int_equal(call->vtable->unary(call, &args, &op.op), 0);
    (void)weft_test_step(rig.engine, SIZE_MAX);
    assert_null(rig.call->start.method);
    assert_true(weft_sv_is(rig.call->start.path, "/rig/Unknown"));
    assert_null(rig.call->start.message.impl);
    rig_finish(rig.call, WEFT_UNIMPLEMENTED, NULL);
    (void)weft_test_step(rig.engine, SIZE_MAX);
    weft__result result;
    call->vtable->result(call, &result);
    assert_int_equal(result.code, WEFT_UNIMPLEMENTED);
    rig_free(call);
    rig_stop(&rig);
}

static void a_request_or_metadata_over_the_limit_is_refused(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, NULL, NULL);
    rig.handler = rig_echo;
    char value[1000];
    memset(value, 'v', sizeof value);
    const weft_metadatum large = {weft_sv_from("k"), weft_sv_of(value, sizeof value)};
    for (int i = 0; i < 2; i++) {
        weft__ccall *call = rig_call_new(&rig);
        weft__tx message = rig_big_message(&rig, i == 0 ? 1001 : 1000);
        const weft__call_args args = {.method = &rig_unary,
                                      .deadline_ns = INT64_MAX,
                                      .metadata = &large,
                                      .metadata_count = (size_t)i,
                                      .message = &message};
        rig_op op;
        rig_op_init(&op);
        assert_int_equal(call->vtable->unary(call, &args, &op.op), 0);
        (void)weft_test_step(rig.engine, SIZE_MAX);
        weft__result result;
        call->vtable->result(call, &result);
        assert_int_equal(result.code, WEFT_RESOURCE_EXHAUSTED);
        assert_true(result.from_peer);
        assert_int_equal(rig.call->start.headers.count, 0);
        rig_free(call);
    }
    rig_stop(&rig);
}

static void answer_large(struct rig *rig, rig_call *call)
{
    weft__tx message = rig_big_message(rig, 1001);
    const weft__finish answer = {.message = &message, .code = WEFT_OK};
    assert_int_equal(call->transport->vtable->finish(call->transport, &answer), 0);
}

static void a_response_over_the_channels_limit_ends_the_call(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, NULL, NULL);
    rig.handler = answer_large;
    weft__result result;
    weft__ccall *call = rig_unary_run(&rig, "?", &result);
    assert_int_equal(result.code, WEFT_RESOURCE_EXHAUSTED);
    assert_false(result.from_peer);
    assert_null(result.response.impl);
    rig_free(call);
    rig_stop(&rig);
}

static void answer_with_large_trailers(struct rig *rig, rig_call *call)
{
    char value[1000];
    memset(value, 'v', sizeof value);
    const weft_metadatum large = {weft_sv_from("k"), weft_sv_of(value, sizeof value)};
    weft__tx message = rig_message(rig, "!");
    const weft__finish answer = {.message = &message, .code = WEFT_OK, .trailers = &large, .trailer_count = 1};
    assert_int_equal(call->transport->vtable->finish(call->transport, &answer), 0);
}

static void metadata_over_the_channels_limit_end_the_call(void **state)
{
    (void)state;
    struct rig rig;
    weft__result result;
    rig_start(&rig, NULL, NULL);
    rig.handler = answer_with_large_trailers;
    weft__ccall *call = rig_unary_run(&rig, "?", &result);
    assert_int_equal(result.code, WEFT_RESOURCE_EXHAUSTED);
    assert_false(result.from_peer);
    assert_int_equal(result.trailers.count, 0);
    assert_int_equal(rig.ended, 1);
    rig_free(call);
    rig_stop(&rig);
}

static void a_deadline_ends_the_call_on_both_sides(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, NULL, NULL);
    rig_op op;
    int64_t deadline_ns = weft_engine_now_ns(rig.engine) + 5 * RIG_MS;
    weft__ccall *call = rig_unary_start(&rig, "slow", deadline_ns, &op);
    (void)weft_test_step(rig.engine, SIZE_MAX);
    assert_int_equal(rig.call->start.deadline_ns, deadline_ns);
    assert_int_equal(rig.call->transport->vtable->watch(rig.call->transport), 0);
    weft_test_advance(rig.engine, 5 * RIG_MS - 1);
    assert_int_equal(op.completed, 0);
    assert_int_equal(rig.cancelled, 0);
    weft_test_advance(rig.engine, 1);
    assert_int_equal(op.completed, 1);
    assert_int_equal(rig.cancelled, 1);
    assert_int_equal(rig.ended, 0);
    weft__result result;
    call->vtable->result(call, &result);
    assert_int_equal(result.code, WEFT_DEADLINE_EXCEEDED);
    assert_false(result.from_peer);
    assert_int_equal(result.seen, WEFT__SEEN_MAYBE);
    rig_free(call);
    rig_finish(rig.call, WEFT_OK, "too late");
    (void)weft_test_step(rig.engine, SIZE_MAX);
    assert_int_equal(rig.ended, 1);
    rig_stop(&rig);
}

static void a_call_past_its_deadline_never_leaves(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, NULL, NULL);
    rig_op op;
    weft__ccall *call = rig_unary_start(&rig, "?", weft_engine_now_ns(rig.engine), &op);
    (void)weft_test_step(rig.engine, SIZE_MAX);
    weft__result result;
    call->vtable->result(call, &result);
    assert_int_equal(result.code, WEFT_DEADLINE_EXCEEDED);
    assert_int_equal(result.seen, WEFT__SEEN_NO);
    assert_int_equal(rig.begun, 0);
    rig_free(call);
    rig_stop(&rig);
}

static void a_cancelled_call_ends_here_and_is_told_there(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, NULL, NULL);
    rig_op op;
    weft__ccall *call = rig_unary_start(&rig, "?", INT64_MAX, &op);
    (void)weft_test_step(rig.engine, SIZE_MAX);
    call->vtable->cancel(call, WEFT_CANCELLED, "enough");
    call->vtable->cancel(call, WEFT_ABORTED, "again");
    assert_int_equal(op.completed, 0);
    /* Who watches late is told all the same. */
    assert_int_equal(rig.call->transport->vtable->watch(rig.call->transport), 0);
    (void)weft_test_step(rig.engine, SIZE_MAX);
    assert_int_equal(op.completed, 1);
    assert_int_equal(rig.cancelled, 1);
    weft__result result;
    call->vtable->result(call, &result);
    assert_int_equal(result.code, WEFT_CANCELLED);
    assert_true(weft_sv_is(result.message, "enough"));
    rig_free(call);
    rig.call->transport->vtable->cancel(rig.call->transport);
    (void)weft_test_step(rig.engine, SIZE_MAX);
    assert_int_equal(rig.ended, 1);
    rig_stop(&rig);
}

static void a_call_cancelled_before_its_start_ends_with_it(void **state)
{
    (void)state;
    struct rig rig;
    rig_op op;
    weft__result result;
    rig_start(&rig, NULL, NULL);
    weft__ccall *call = rig_call_new(&rig);
    call->vtable->cancel(call, WEFT_ABORTED, "changed my mind");
    call->vtable->cancel(call, WEFT_CANCELLED, "again");
    weft__tx message = rig_message(&rig, "?");
    const weft__call_args args = {.method = &rig_unary, .deadline_ns = INT64_MAX, .message = &message};
    rig_op_init(&op);
    assert_int_equal(call->vtable->unary(call, &args, &op.op), 0);
    assert_int_equal(op.completed, 0);
    (void)weft_test_step(rig.engine, SIZE_MAX);
    assert_int_equal(op.completed, 1);
    call->vtable->result(call, &result);
    assert_int_equal(result.code, WEFT_ABORTED);
    assert_true(weft_sv_is(result.message, "changed my mind"));
    assert_int_equal(result.seen, WEFT__SEEN_NO);
    assert_int_equal(rig.begun, 0);
    rig_free(call);
    rig_stop(&rig);
}

static void a_call_that_the_server_cancels_ends_as_cancelled(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, NULL, NULL);
    rig_op op;
    weft__ccall *call = rig_unary_start(&rig, "?", INT64_MAX, &op);
    (void)weft_test_step(rig.engine, SIZE_MAX);
    rig.call->transport->vtable->cancel(rig.call->transport);
    (void)weft_test_step(rig.engine, SIZE_MAX);
    weft__result result;
    call->vtable->result(call, &result);
    assert_int_equal(result.code, WEFT_CANCELLED);
    assert_false(result.from_peer); /* a reset, and no answer */
    assert_int_equal(rig.ended, 1);
    rig_free(call);
    rig_stop(&rig);
}

static void without_a_server_a_call_fails_and_one_that_waits_does_not(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, NULL, NULL);
    rig.handler = rig_echo;
    rig_stop_server(&rig);
    weft__result result;
    weft__ccall *call = rig_unary_run(&rig, "?", &result);
    assert_int_equal(result.code, WEFT_UNAVAILABLE);
    assert_false(result.from_peer);
    assert_int_equal(result.seen, WEFT__SEEN_NO);
    rig_free(call);

    call = rig_call_new(&rig);
    weft__tx message = rig_message(&rig, "patient");
    const weft__call_args args = {
        .method = &rig_unary, .deadline_ns = INT64_MAX, .message = &message, .wait_for_ready = true};
    rig_op op;
    rig_op_init(&op);
    assert_int_equal(call->vtable->unary(call, &args, &op.op), 0);
    weft_test_advance(rig.engine, 1000 * INT64_C(1000) * RIG_MS);
    assert_int_equal(op.completed, 0);
    rig_serve(&rig);
    (void)weft_test_step(rig.engine, SIZE_MAX);
    assert_int_equal(op.completed, 1);
    call->vtable->result(call, &result);
    assert_int_equal(result.code, WEFT_OK);
    assert_rig_received(&rig, &result.response, "patient");
    rig_free(call);
    rig_stop(&rig);
}

static void names_are_bound_once(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, NULL, NULL);
    const weft__engine_vtable *v = rig.engine->vtable;
    char bound[64], again[64];
    assert_int_equal(v->bind_name(rig.engine, rig.name, bound, sizeof bound), -EADDRINUSE);
    assert_int_equal(v->bind_name(rig.engine, "unix:/tmp/x", bound, sizeof bound), 0);
    assert_string_equal(bound, "unix:/tmp/x");
    assert_int_equal(v->bind_name(rig.engine, "unix:///tmp/x", again, sizeof again), -EADDRINUSE);
    v->unbind_name(rig.engine, bound);
    assert_int_equal(v->bind_name(rig.engine, "unix:///tmp/x", again, sizeof again), 0);
    assert_int_equal(v->bind_name(rig.engine, "[::1]:0", bound, sizeof bound), 0);
    assert_int_equal(v->bind_name(rig.engine, "[::1]:0", again, sizeof again), 0);
    assert_string_not_equal(bound, again);
    assert_int_equal(v->bind_name(rig.engine, ":80", bound, sizeof bound), 0);
    const char *const wrong[] = {"", "host", "host:", "host:x", "host:65536", "host:-1", "unix:", "fd:3"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(v->bind_name(rig.engine, wrong[i], bound, sizeof bound), -EINVAL);
    assert_int_equal(v->bind_name(rig.engine, "a-long-name:1", bound, 8), -ENAMETOOLONG);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unary_call_brings_the_request_there_and_the_response_back),
        cmocka_unit_test(metadata_and_status_travel_both_ways),
        cmocka_unit_test(an_unknown_method_reaches_the_upper_side_with_its_path),
        cmocka_unit_test(a_request_or_metadata_over_the_limit_is_refused),
        cmocka_unit_test(a_response_over_the_channels_limit_ends_the_call),
        cmocka_unit_test(metadata_over_the_channels_limit_end_the_call),
        cmocka_unit_test(a_deadline_ends_the_call_on_both_sides),
        cmocka_unit_test(a_call_past_its_deadline_never_leaves),
        cmocka_unit_test(a_cancelled_call_ends_here_and_is_told_there),
        cmocka_unit_test(a_call_cancelled_before_its_start_ends_with_it),
        cmocka_unit_test(a_call_that_the_server_cancels_ends_as_cancelled),
        cmocka_unit_test(without_a_server_a_call_fails_and_one_that_waits_does_not),
        cmocka_unit_test(names_are_bound_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
