/* A call as its handler sees it: memory, metadata and failures, on the stepped memory engine. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "integration/unary/rig.h"

enum {
    MESSAGE_MAX = 2048,  /* of a status */
    FIELD_OVERHEAD = 32, /* counted for each pair of metadata */
    METADATA_MAX = 1024
};

static weft_status get(struct rig *rig, rig_handler handler, weft_call_info *info)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.info = info;
    rig->get_user = handler;
    weft_arena_reset(rig->arena);
    return rig_get(rig, "1", &options, NULL);
}

static void start_with_little_metadata(struct rig *rig)
{
    rig_options options = rig_default_options();
    options.server.max_metadata_bytes = METADATA_MAX;
    rig_start(rig, &options);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

enum {
    CALL_MAX = 64 * 1024
};

static weft_code take_all_memory(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                                 struct rig *rig)
{
    (void)request;
    (void)response;
    size_t taken = 0;
    while (weft_arena_alloc(weft_call_arena(call), 1000) != NULL)
        taken += 1000;
    RIG_CHECK(rig, taken > CALL_MAX / 2 && taken <= CALL_MAX);
    RIG_CHECK(rig, weft_arena_failed(weft_call_arena(call)));
    RIG_CHECK(rig, weft_call_add_header(call, "x-late", weft_sv_from("v")) == -ENOMEM);
    RIG_CHECK(rig, weft_call_peer(call) != NULL);
    return weft_fail(call, WEFT_ABORTED, "there is no memory for %s", "this");
}

static void the_arena_ends_at_its_limit_and_begins_anew_with_the_next_call(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    options.server.max_call_bytes = CALL_MAX;
    rig_start(rig, &options);
    for (int i = 0; i < 3; i++) {
        weft_status status = get(rig, take_all_memory, NULL);
        assert_int_equal(status.code, WEFT_ABORTED);
        assert_string_equal(status.message, "");
    }
    assert_int_equal(get(rig, rig_echo, NULL).code, WEFT_OK);
}

/* ---- metadata ---------------------------------------------------------------------------------------------------- */

static weft_code add_up_to_the_limit(weft_call *call, const User__GetUserRequest *request,
                                     User__GetUserResponse *response, struct rig *rig)
{
    static const char text[METADATA_MAX + 1] = {0};
    const size_t fits = METADATA_MAX - (strlen("x-a-bin") + FIELD_OVERHEAD) - (strlen("x-b-bin") + FIELD_OVERHEAD);
    RIG_CHECK(rig, weft_call_add_header(call, "x-a-bin", weft_sv_of(text, METADATA_MAX)) == -E2BIG);
    RIG_CHECK(rig, weft_call_add_header(call, "x-a-bin", weft_sv_of(text, SIZE_MAX - 16)) == -E2BIG);
    RIG_CHECK(rig, weft_call_add_header(call, "x-a-bin", weft_sv_of(text, 100)) == 0);
    RIG_CHECK(rig, weft_call_add_trailer(call, "x-b-bin", weft_sv_of(text, fits - 100 + 1)) == -E2BIG);
    RIG_CHECK(rig, weft_call_add_trailer(call, "x-b-bin", weft_sv_of(text, fits - 100)) == 0);
    RIG_CHECK(rig, weft_call_add_trailer(call, "x", weft_sv_of(text, 0)) == -E2BIG);
    return rig_echo(call, request, response, rig);
}

static void headers_and_trailers_share_one_limit_to_the_byte(void **state)
{
    struct rig *rig = *state;
    weft_call_info info = WEFT_CALL_INFO_INIT;
    start_with_little_metadata(rig);
    assert_int_equal(get(rig, add_up_to_the_limit, &info).code, WEFT_OK);
    assert_int_equal(weft_metadata_find(&info.headers, "x-a-bin").len, 100);
    assert_int_equal(weft_metadata_find(&info.trailers, "x-b-bin").len, METADATA_MAX - 100 - 2 * (7 + FIELD_OVERHEAD));
    assert_null(weft_metadata_find(&info.headers, "x").data);
}

static weft_code add_many(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                          struct rig *rig)
{
    for (int i = 0; i < 25; i++) {
        char value[16];
        (void)snprintf(value, sizeof value, "%d", i);
        RIG_CHECK(rig, weft_call_add_trailer(call, "x-n", weft_sv_from(value)) == 0); /* copied */
    }
    return rig_echo(call, request, response, rig);
}

static void pairs_are_copied_and_keep_their_order(void **state)
{
    struct rig *rig = *state;
    weft_call_info info = WEFT_CALL_INFO_INIT;
    start_with_little_metadata(rig);
    assert_int_equal(get(rig, add_many, &info).code, WEFT_OK);
    assert_int_equal(info.trailers.count, 25);
    for (int i = 0; i < 25; i++) {
        char value[16];
        (void)snprintf(value, sizeof value, "%d", i);
        assert_true(weft_sv_is(info.trailers.items[i].value, value));
    }
}

static weft_code add_illegal(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                             struct rig *rig)
{
    RIG_CHECK(rig, weft_call_add_trailer(call, "X-Upper", weft_sv_from("v")) == -EINVAL);
    RIG_CHECK(rig, weft_call_add_trailer(call, "", weft_sv_from("v")) == -EINVAL);
    RIG_CHECK(rig, weft_call_add_trailer(call, "x-text", weft_sv_of("\0", 1)) == -EINVAL);
    RIG_CHECK(rig, weft_call_add_trailer(call, "grpc-message", weft_sv_from("v")) == -EPERM);
    RIG_CHECK(rig, weft_call_add_trailer(call, ":status", weft_sv_from("200")) == -EPERM);
    return rig_echo(call, request, response, rig);
}

static void what_may_not_be_sent_is_refused(void **state)
{
    struct rig *rig = *state;
    weft_call_info info = WEFT_CALL_INFO_INIT;
    start_with_little_metadata(rig);
    assert_int_equal(get(rig, add_illegal, &info).code, WEFT_OK);
    assert_int_equal(info.trailers.count, 0);
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

static weft_code failing_code; /* what fail_with_code fails with */

static weft_code fail_with_code(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                                struct rig *rig)
{
    (void)request;
    (void)response;
    (void)rig;
    return weft_fail(call, failing_code, "told");
}

static void a_failure_is_never_ok_and_always_a_code(void **state)
{
    static const struct {
        int code;
        weft_code told;
    } cases[] = {{0, WEFT_INTERNAL},  {1, WEFT_CANCELLED}, {2, WEFT_UNKNOWN},         {16, WEFT_UNAUTHENTICATED},
                 {17, WEFT_INTERNAL}, {-1, WEFT_INTERNAL}, {INT32_MAX, WEFT_INTERNAL}};
    struct rig *rig = *state;
    rig_start(rig, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        failing_code = (weft_code)cases[i].code;
        weft_status status = get(rig, fail_with_code, NULL);
        assert_int_equal(status.code, cases[i].told);
        assert_string_equal(status.message, "told");
    }
}

static int failing_errno;

static weft_code fail_with_errno(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                                 struct rig *rig)
{
    (void)request;
    (void)response;
    (void)rig;
    return weft_fail_errno(call, failing_errno);
}

static void a_local_error_becomes_a_code_and_a_fixed_text(void **state)
{
    static const struct {
        int rc;
        weft_code code;
        const char *message;
    } cases[] = {{-ENOMEM, WEFT_RESOURCE_EXHAUSTED, "out of memory"},
                 {ENOMEM, WEFT_RESOURCE_EXHAUSTED, "out of memory"},
                 {-ETIMEDOUT, WEFT_DEADLINE_EXCEEDED, "deadline exceeded"},
                 {-ECANCELED, WEFT_CANCELLED, "cancelled"},
                 {-EACCES, WEFT_INTERNAL, "internal error"},
                 {0, WEFT_INTERNAL, "internal error"},
                 {INT32_MIN, WEFT_INTERNAL, "internal error"}};
    struct rig *rig = *state;
    rig_start(rig, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        failing_errno = cases[i].rc;
        weft_status status = get(rig, fail_with_errno, NULL);
        assert_int_equal(status.code, cases[i].code);
        assert_string_equal(status.message, cases[i].message);
    }
}

static weft_code fail_with_store(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                                 struct rig *rig)
{
    (void)request;
    (void)response;
    (void)rig;
    return weft_fail_store(call, failing_errno);
}

static void an_error_of_a_store_says_whether_to_try_again(void **state)
{
    static const struct {
        int rc;
        weft_code code;
        const char *message;
    } cases[] = {{-ENOSPC, WEFT_RESOURCE_EXHAUSTED, "the disk is full"},
                 {-EBUSY, WEFT_UNAVAILABLE, "the database is locked; try again"},
                 {-EROFS, WEFT_UNAVAILABLE, "the database cannot be written"},
                 {-ENOMEM, WEFT_RESOURCE_EXHAUSTED, "out of memory"},
                 {-EBADMSG, WEFT_INTERNAL, "internal error"}};
    struct rig *rig = *state;
    rig_start(rig, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        failing_errno = cases[i].rc;
        weft_status status = get(rig, fail_with_store, NULL);
        assert_int_equal(status.code, cases[i].code);
        assert_string_equal(status.message, cases[i].message);
    }
}

static const char *failing_text;

static weft_code fail_with_text(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                                struct rig *rig)
{
    (void)request;
    (void)response;
    (void)rig;
    return weft_fail(call, WEFT_ABORTED, "%s", failing_text);
}

static void a_long_message_is_cut_between_two_characters(void **state)
{
    struct rig *rig = *state;
    char text[MESSAGE_MAX + 100];
    rig_start(rig, NULL);
    failing_text = text;
    for (size_t before = 0; before < 4; before++) { /* ASCII, so that U+1F600 straddles the limit in every way */
        memset(text, 'a', sizeof text);
        memcpy(text + MESSAGE_MAX - before, "\xf0\x9f\x98\x80", 4);
        text[sizeof text - 1] = '\0';
        weft_status status = get(rig, fail_with_text, NULL);
        assert_int_equal(strlen(status.message), MESSAGE_MAX - before);
        assert_memory_equal(status.message, text, MESSAGE_MAX - before);
    }
    memset(text, 'b', sizeof text - 1);
    memcpy(text + MESSAGE_MAX - 4, "\xf0\x9f\x98\x80", 4);
    weft_status status = get(rig, fail_with_text, NULL);
    assert_int_equal(strlen(status.message), MESSAGE_MAX);
    assert_memory_equal(status.message, text, MESSAGE_MAX);
}

static void a_message_that_is_not_utf8_is_repaired(void **state)
{
    struct rig *rig = *state;
    char text[MESSAGE_MAX + 100];
    rig_start(rig, NULL);
    failing_text = "caf\xe9 \xc3\xa9 \xed\xa0\x80";
    assert_string_equal(get(rig, fail_with_text, NULL).message, "caf? \xc3\xa9 ???");
    memset(text, 0x80, sizeof text); /* nothing but continuation bytes: no place to cut at */
    text[sizeof text - 1] = '\0';
    failing_text = text;
    weft_status status = get(rig, fail_with_text, NULL);
    assert_int_equal(strlen(status.message), MESSAGE_MAX);
    assert_int_equal(strspn(status.message, "?"), MESSAGE_MAX);
}

/* ---- passing on a status ----------------------------------------------------------------------------------------- */

static weft_status passed_on;

static weft_code fail_from(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                           struct rig *rig)
{
    (void)request;
    (void)response;
    (void)rig;
    return weft_fail_from(call, &passed_on);
}

static void a_successful_status_cannot_be_passed_on_as_a_failure(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    passed_on = (weft_status){.code = WEFT_OK, .message = ""};
    weft_status status = get(rig, fail_from, NULL);
    assert_int_equal(status.code, WEFT_INTERNAL);
    assert_string_equal(status.message, "a successful status was passed on as a failure");
    passed_on = (weft_status){.code = WEFT_ABORTED}; /* by hand, without a message */
    status = get(rig, fail_from, NULL);
    assert_int_equal(status.code, WEFT_ABORTED);
    assert_string_equal(status.message, "");
}

static weft_code fail_twice(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                            struct rig *rig)
{
    (void)fail_from(call, request, response, rig);
    return weft_fail(call, WEFT_UNAVAILABLE, "the second");
}

static void the_last_failure_is_the_one_that_is_told(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    passed_on = (weft_status){.code = WEFT_ABORTED, .message = "the first"};
    weft_status status = get(rig, fail_twice, NULL);
    assert_int_equal(status.code, WEFT_UNAVAILABLE);
    assert_string_equal(status.message, "the second");
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static weft_code forget_to_initialize(weft_call *call, const User__GetUserRequest *request,
                                      User__GetUserResponse *response, struct rig *rig)
{
    (void)call;
    (void)request;
    (void)rig;
    *response = (User__GetUserResponse){.user = NULL};
    return WEFT_OK;
}

static void a_response_that_is_not_initialized_is_internal(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    weft_status status = get(rig, forget_to_initialize, NULL);
    assert_int_equal(status.code, WEFT_INTERNAL);
    assert_string_equal(status.message, "the handler's response is not initialized as a user.GetUserResponse");
}

static weft_code finish_without_deferring(weft_call *call, const User__GetUserRequest *request,
                                          User__GetUserResponse *response, struct rig *rig)
{
    weft_call_finish(call, WEFT_ABORTED, NULL);
    return rig_echo(call, request, response, rig);
}

static void finish_without_defer_changes_nothing(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    assert_int_equal(get(rig, finish_without_deferring, NULL).code, WEFT_OK);
}

static weft_code finish_twice(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                              struct rig *rig)
{
    RIG_CHECK(rig, weft_call_defer(call) == 0);
    (void)rig_echo(call, request, response, rig);
    weft_call_finish(call, WEFT_OK, &response->base);
    weft_call_finish(call, WEFT_OK, &response->base);
    weft_call_finish(call, WEFT_ABORTED, NULL);
    return WEFT_OK;
}

static void the_first_finish_counts(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    assert_int_equal(get(rig, finish_twice, NULL).code, WEFT_OK);
}

static weft_code look_around(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                             struct rig *rig)
{
    RIG_CHECK(rig, strcmp(weft_call_method(call), "/user.UserService/GetUser") == 0);
    RIG_CHECK(rig, weft_call_peer(call)[0] != '\0');
    RIG_CHECK(rig, weft_call_peer(call) == weft_call_peer(call)); /* allocated once */
    RIG_CHECK(rig, weft_call_deadline_ns(call) == INT64_MAX);
    RIG_CHECK(rig, weft_call_remaining_ns(call) == INT64_MAX);
    RIG_CHECK(rig, !weft_call_cancelled(call));
    return rig_echo(call, request, response, rig);
}

static void a_call_knows_its_method_peer_and_deadline(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    assert_int_equal(get(rig, look_around, NULL).code, WEFT_OK);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, rig_setup_stepped, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_arena_ends_at_its_limit_and_begins_anew_with_the_next_call),
        CASE(headers_and_trailers_share_one_limit_to_the_byte),
        CASE(pairs_are_copied_and_keep_their_order),
        CASE(what_may_not_be_sent_is_refused),
        CASE(a_failure_is_never_ok_and_always_a_code),
        CASE(a_local_error_becomes_a_code_and_a_fixed_text),
        CASE(an_error_of_a_store_says_whether_to_try_again),
        CASE(a_long_message_is_cut_between_two_characters),
        CASE(a_message_that_is_not_utf8_is_repaired),
        CASE(a_successful_status_cannot_be_passed_on_as_a_failure),
        CASE(the_last_failure_is_the_one_that_is_told),
        CASE(a_response_that_is_not_initialized_is_internal),
        CASE(finish_without_defer_changes_nothing),
        CASE(the_first_finish_counts),
        CASE(a_call_knows_its_method_peer_and_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
