/* Details of a failure: what a handler may add and what becomes of it, on the stepped memory engine; and what a client
 * makes of any bytes that stand there. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <google/protobuf/struct.pb-c.h>

#include "integration/unary/rig.h"

enum {
    METADATA_MAX = 1024,
    FIELD_OVERHEAD = 32 /* counted for each pair of metadata */
};

/* The bytes of a status with one detail. */
static size_t one_detail(uint8_t *room, const char *url, const void *value, size_t len)
{
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT, *list[] = {&any};
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    any.type_url = (char *)(uintptr_t)url;
    any.value = (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)value};
    status.n_details = 1;
    status.details = list;
    return google__rpc__status__pack(&status, room);
}

static const char details_key[] = "grpc-status-details-bin";

static weft_status get(struct rig *rig, rig_handler handler)
{
    rig->get_user = handler;
    weft_arena_reset(rig->arena);
    return rig_get(rig, "1", NULL, NULL);
}

static void start_with_little_metadata(struct rig *rig)
{
    rig_options options = rig_default_options();
    options.server.max_metadata_bytes = METADATA_MAX;
    rig_start(rig, &options);
}

static Google__Rpc__Status *read_details(struct rig *rig, const weft_status *status)
{
    Google__Rpc__Status *details = NULL;
    assert_int_equal(weft_status_details(status, rig->arena, &details), 0);
    assert_int_equal(details->code, status->code);
    assert_string_equal(details->message, status->message);
    return details;
}

static int add_info(weft_call *call, const char *reason)
{
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    info.reason = (char *)(uintptr_t)reason;
    return weft_fail_detail(call, &info.base);
}

static void assert_info(const Google__Rpc__Status *details, size_t index, weft_arena *arena, const char *reason)
{
    ProtobufCMessage *found = NULL;
    assert_true(index < details->n_details);
    assert_int_equal(weft_detail_unpack(details->details[index], &google__rpc__error_info__descriptor, arena, &found),
                     0);
    assert_string_equal(((Google__Rpc__ErrorInfo *)found)->reason, reason);
}

/* ---- adding ------------------------------------------------------------------------------------------------------ */

static weft_code add_before_failing(weft_call *call, const User__GetUserRequest *request,
                                    User__GetUserResponse *response, struct rig *rig)
{
    RIG_CHECK(rig, add_info(call, "EARLY") == -EINVAL);
    return rig_echo(call, request, response, rig);
}

static void without_a_failure_there_is_nothing_to_add_to(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    weft_status status = get(rig, add_before_failing);
    assert_int_equal(status.code, WEFT_OK);
    assert_null(status.details.data);
}

static weft_code add_wrong(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                           struct rig *rig)
{
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    ProtobufCMessageDescriptor nameless = google__rpc__error_info__descriptor;
    weft_code code = weft_fail(call, WEFT_ABORTED, "no");
    (void)request;
    (void)response;
    RIG_CHECK(rig, weft_fail_detail(call, NULL) == -EINVAL);
    RIG_CHECK(rig, add_info(call, "caf\xe9") == -EINVAL);
    info.base.descriptor = NULL; /* not initialized */
    RIG_CHECK(rig, weft_fail_detail(call, &info.base) == -EINVAL);
    nameless.name = NULL; /* as of optimize_for = CODE_SIZE */
    info.base.descriptor = &nameless;
    RIG_CHECK(rig, weft_fail_detail(call, &info.base) == -ENOTSUP);
    return code;
}

static void what_no_peer_could_read_is_not_added(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    weft_status status = get(rig, add_wrong);
    assert_int_equal(status.code, WEFT_ABORTED);
    assert_null(status.details.data);
}

static weft_code add_three(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                           struct rig *rig)
{
    Google__Rpc__RetryInfo nothing = GOOGLE__RPC__RETRY_INFO__INIT;
    weft_code code = weft_fail(call, WEFT_ABORTED, "three");
    (void)request;
    (void)response;
    RIG_CHECK(rig, add_info(call, "ONE") == 0);
    RIG_CHECK(rig, weft_fail_detail(call, &nothing.base) == 0);
    RIG_CHECK(rig, add_info(call, "TWO") == 0);
    return code;
}

static void details_come_in_the_order_they_were_added(void **state)
{
    struct rig *rig = *state;
    ProtobufCMessage *found = NULL;
    rig_start(rig, NULL);
    weft_status status = get(rig, add_three);
    const Google__Rpc__Status *details = read_details(rig, &status);
    assert_int_equal(details->n_details, 3);
    assert_info(details, 0, rig->arena, "ONE");
    assert_string_equal(details->details[1]->type_url, "type.googleapis.com/google.rpc.RetryInfo");
    assert_int_equal(details->details[1]->value.len, 0);
    assert_info(details, 2, rig->arena, "TWO");
    assert_int_equal(weft_status_detail(&status, &google__rpc__error_info__descriptor, rig->arena, &found), 0);
    assert_string_equal(((Google__Rpc__ErrorInfo *)found)->reason, "ONE"); /* the first of its type */
    assert_int_equal(weft_status_detail(&status, &google__rpc__retry_info__descriptor, rig->arena, &found), 0);
    assert_null(((Google__Rpc__RetryInfo *)found)->retry_delay);
    assert_int_equal(weft_status_detail(&status, &google__rpc__help__descriptor, rig->arena, &found), -ENOENT);
}

static weft_code return_another_code(weft_call *call, const User__GetUserRequest *request,
                                     User__GetUserResponse *response, struct rig *rig)
{
    (void)add_three(call, request, response, rig);
    return WEFT_DATA_LOSS;
}

static void code_and_message_are_those_of_the_answer(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    weft_status status = get(rig, return_another_code);
    assert_int_equal(status.code, WEFT_DATA_LOSS);
    assert_string_equal(status.message, "three");
    assert_int_equal(read_details(rig, &status)->n_details, 3);
}

static weft_code succeed_after_all(weft_call *call, const User__GetUserRequest *request,
                                   User__GetUserResponse *response, struct rig *rig)
{
    (void)add_three(call, request, response, rig);
    return rig_echo(call, request, response, rig);
}

static void a_success_has_no_details(void **state)
{
    struct rig *rig = *state;
    weft_call_info info = WEFT_CALL_INFO_INIT;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.info = &info;
    rig->get_user = succeed_after_all;
    rig_start(rig, NULL);
    assert_int_equal(rig_get(rig, "1", &options, NULL).code, WEFT_OK);
    assert_int_equal(info.trailers.count, 0);
}

static weft_code fail_with_a_cut_message(weft_call *call, const User__GetUserRequest *request,
                                         User__GetUserResponse *response, struct rig *rig)
{
    (void)request;
    (void)response;
    weft_code code = weft_fail(call, WEFT_ABORTED, "%02047d\xc3\xa9 and more", 0);
    RIG_CHECK(rig, add_info(call, "LONG") == 0);
    return code;
}

static void a_message_that_was_cut_is_cut_in_the_details_too(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    weft_status status = get(rig, fail_with_a_cut_message);
    assert_int_equal(strlen(status.message), 2047);
    assert_info(read_details(rig, &status), 0, rig->arena, "LONG");
}

static weft_code fail_a_field(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                              struct rig *rig)
{
    (void)request;
    (void)response;
    (void)rig;
    return weft_fail_field(call, "user.email", "has no '%c': %s", '@', "caf\xe9");
}

static void a_bad_field_is_told_to_people_and_to_programs(void **state)
{
    struct rig *rig = *state;
    ProtobufCMessage *found = NULL;
    rig_start(rig, NULL);
    weft_status status = get(rig, fail_a_field);
    assert_int_equal(status.code, WEFT_INVALID_ARGUMENT);
    assert_string_equal(status.message, "user.email has no '@': caf?");
    assert_int_equal(read_details(rig, &status)->n_details, 1);
    assert_int_equal(weft_status_detail(&status, &google__rpc__bad_request__descriptor, rig->arena, &found), 0);
    const Google__Rpc__BadRequest *bad = (Google__Rpc__BadRequest *)found;
    assert_int_equal(bad->n_field_violations, 1);
    assert_string_equal(bad->field_violations[0]->field, "user.email");
    assert_string_equal(bad->field_violations[0]->description, "has no '@': caf?");
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

/* The packed size of the google.rpc.Status: a message of one byte, an ErrorInfo with a reason of `reason` bytes. */
static size_t status_size(size_t reason)
{
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT, *list[] = {&any};
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    char text[METADATA_MAX + 1];
    memset(text, 'R', reason);
    text[reason] = '\0';
    info.reason = text;
    any.type_url = (char *)(uintptr_t) "type.googleapis.com/google.rpc.ErrorInfo";
    any.value.len = google__rpc__error_info__get_packed_size(&info);
    any.value.data = (uint8_t *)text; /* only its size counts */
    status.code = 1;
    status.message = (char *)(uintptr_t) "m";
    status.n_details = 1;
    status.details = list;
    return google__rpc__status__get_packed_size(&status);
}

/* The longest reason that fits. */
static size_t largest_reason(void)
{
    size_t reason = METADATA_MAX;
    while (FIELD_OVERHEAD + strlen(details_key) + status_size(reason) > METADATA_MAX)
        reason--;
    return reason;
}

static weft_code add_up_to_the_limit(weft_call *call, const User__GetUserRequest *request,
                                     User__GetUserResponse *response, struct rig *rig)
{
    char reason[METADATA_MAX + 1] = "";
    size_t most = largest_reason();
    (void)request;
    (void)response;
    weft_code code = weft_fail(call, WEFT_ABORTED, "m");
    memset(reason, 'R', most + 1);
    RIG_CHECK(rig, add_info(call, reason) == -E2BIG);
    memset(reason, 'R', METADATA_MAX);
    RIG_CHECK(rig, add_info(call, reason) == -E2BIG);
    reason[most] = '\0';
    RIG_CHECK(rig, add_info(call, reason) == 0);
    RIG_CHECK(rig, add_info(call, "") == -E2BIG);
    RIG_CHECK(rig, weft_call_add_trailer(call, "x", weft_sv_from("")) == -E2BIG); /* the room is kept for the details */
    return code;
}

static void details_share_the_metadata_limit_to_the_byte(void **state)
{
    struct rig *rig = *state;
    start_with_little_metadata(rig);
    weft_status status = get(rig, add_up_to_the_limit);
    assert_int_equal(status.code, WEFT_ABORTED);
    assert_int_equal(status.details.len, status_size(largest_reason()));
    assert_int_equal(read_details(rig, &status)->n_details, 1);
}

static weft_code fail_again(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                            struct rig *rig)
{
    for (int i = 0; i < 5; i++) /* each time with all the room */
        (void)add_up_to_the_limit(call, request, response, rig);
    weft_code code = weft_fail(call, WEFT_NOT_FOUND, "the last");
    RIG_CHECK(rig, weft_call_add_trailer(call, "x", weft_sv_from("")) == 0);
    RIG_CHECK(rig, add_info(call, "LAST") == 0);
    return code;
}

static void another_failure_forgets_the_details_and_gives_their_room_back(void **state)
{
    struct rig *rig = *state;
    start_with_little_metadata(rig);
    weft_status status = get(rig, fail_again);
    assert_int_equal(status.code, WEFT_NOT_FOUND);
    const Google__Rpc__Status *details = read_details(rig, &status);
    assert_int_equal(details->n_details, 1);
    assert_info(details, 0, rig->arena, "LAST");
}

static weft_code run_out_of_memory(weft_call *call, const User__GetUserRequest *request,
                                   User__GetUserResponse *response, struct rig *rig)
{
    (void)request;
    (void)response;
    weft_code code = weft_fail(call, WEFT_ABORTED, "m");
    while (weft_arena_alloc(weft_call_arena(call), 1000) != NULL)
        continue;
    RIG_CHECK(rig, add_info(call, "R") == -ENOMEM);
    return code;
}

static void without_memory_the_failure_is_told_without_details(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    options.server.max_call_bytes = 64 * 1024;
    rig_start(rig, &options);
    weft_status status = get(rig, run_out_of_memory);
    assert_int_equal(status.code, WEFT_ABORTED);
    assert_string_equal(status.message, "m");
    assert_null(status.details.data);
}

/* ---- passing on -------------------------------------------------------------------------------------------------- */

static weft_status passed_on;

static weft_code pass_on(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                         struct rig *rig)
{
    (void)request;
    (void)response;
    (void)rig;
    return weft_fail_from(call, &passed_on);
}

static weft_code pass_on_and_add(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                                 struct rig *rig)
{
    weft_code code = pass_on(call, request, response, rig);
    RIG_CHECK(rig, add_info(call, "ADDED") == 0);
    return code;
}

/* A google.rpc.Status with two details, that says another code and message than it comes with. */
static weft_sv two_details(uint8_t *room, size_t size)
{
    static char none[] = "no.such/Type", info_name[] = "any.where/at/all/google.rpc.ErrorInfo", text[] = "untrue";
    static uint8_t none_value[] = {0xff, 0xff}, info_value[] = {0x0a, 3, 'W', 'H', 'Y'};
    Google__Protobuf__Any first = GOOGLE__PROTOBUF__ANY__INIT, second = first, *list[] = {&first, &second};
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    first.type_url = none;
    first.value = (ProtobufCBinaryData){sizeof none_value, none_value};
    second.type_url = info_name;
    second.value = (ProtobufCBinaryData){sizeof info_value, info_value};
    status.code = 16;
    status.message = text;
    status.n_details = 2;
    status.details = list;
    assert_true(google__rpc__status__get_packed_size(&status) <= size);
    return weft_sv_of(room, google__rpc__status__pack(&status, room));
}

static void a_status_is_passed_on_with_its_details(void **state)
{
    struct rig *rig = *state;
    uint8_t room[256];
    rig_start(rig, NULL);
    passed_on = (weft_status){.code = WEFT_NOT_FOUND, .message = "gone", .details = two_details(room, sizeof room)};
    weft_status status = get(rig, pass_on);
    assert_int_equal(status.code, WEFT_NOT_FOUND);
    assert_string_equal(status.message, "gone");
    const Google__Rpc__Status *details = read_details(rig, &status);
    assert_int_equal(details->n_details, 2);
    assert_string_equal(details->details[0]->type_url, "no.such/Type");
    assert_memory_equal(details->details[0]->value.data, "\xff\xff", 2);
    assert_info(details, 1, rig->arena, "WHY");
    status = get(rig, pass_on_and_add);
    details = read_details(rig, &status);
    assert_int_equal(details->n_details, 3);
    assert_info(details, 1, rig->arena, "WHY");
    assert_info(details, 2, rig->arena, "ADDED");
}

static void details_that_cannot_be_read_are_not_passed_on(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    passed_on = (weft_status){.code = WEFT_NOT_FOUND, .message = "gone", .details = {"\x08\x05\x1a\xff", 4}};
    weft_status status = get(rig, pass_on);
    assert_string_equal(status.message, "gone");
    assert_null(status.details.data);
    status = get(rig, pass_on_and_add);
    const Google__Rpc__Status *details = read_details(rig, &status);
    assert_int_equal(details->n_details, 1);
    assert_info(details, 0, rig->arena, "ADDED");
    passed_on.details = weft_sv_of("\x08\x05", 2); /* a code and no details */
    assert_null(get(rig, pass_on).details.data);
}

static void details_over_the_metadata_limit_are_not_passed_on(void **state)
{
    static const char value[METADATA_MAX] = {0};
    struct rig *rig = *state;
    uint8_t room[METADATA_MAX + 64];
    const size_t head = strlen("\x08\x0a\x12\x01m"); /* code and message, in front of them */
    const size_t fits = METADATA_MAX - FIELD_OVERHEAD - strlen(details_key) - head;
    const size_t around = one_detail(room, "a/b", value, 500) - 500;
    start_with_little_metadata(rig);
    passed_on = (weft_status){.code = WEFT_ABORTED, .message = "m"};
    passed_on.details = weft_sv_of(room, one_detail(room, "a/b", value, METADATA_MAX));
    assert_null(get(rig, pass_on).details.data);
    passed_on.details = weft_sv_of(room, one_detail(room, "a/b", value, fits - around + 1));
    assert_null(get(rig, pass_on).details.data);
    passed_on.details = weft_sv_of(room, one_detail(room, "a/b", value, fits - around));
    assert_int_equal(get(rig, pass_on).details.len, fits + head);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static int find(struct rig *rig, const void *bytes, size_t len, const ProtobufCMessageDescriptor *type)
{
    weft_status status = {.code = WEFT_ABORTED, .message = "", .details = weft_sv_of(bytes, len)};
    ProtobufCMessage *found = NULL;
    int rc = weft_status_detail(&status, type, rig->arena, &found);
    assert_true((rc == 0) == (found != NULL));
    return rc;
}

static void a_type_is_what_stands_behind_the_last_slash(void **state)
{
    static const struct {
        const char *url;
        int rc;
    } cases[] = {{"type.googleapis.com/google.rpc.ErrorInfo", 0},
                 {"/google.rpc.ErrorInfo", 0},
                 {"a/b/google.rpc.ErrorInfo", 0},
                 {"google.rpc.ErrorInfo", -ENOENT},
                 {"type.googleapis.com/", -ENOENT},
                 {"", -ENOENT},
                 {"a/google.rpc.ErrorInfo/", -ENOENT},
                 {"a/google.rpc.ErrorInfos", -ENOENT},
                 {"a/my.google.rpc.ErrorInfo", -ENOENT}};
    struct rig *rig = *state;
    uint8_t room[128];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len = one_detail(room, cases[i].url, "", 0);
        assert_int_equal(find(rig, room, len, &google__rpc__error_info__descriptor), cases[i].rc);
    }
}

static void bytes_that_are_no_details_are_refused(void **state)
{
    static const char not_text[] = "\x0a\x04/\xff/\xff";
    struct rig *rig = *state;
    const ProtobufCMessageDescriptor *info = &google__rpc__error_info__descriptor;
    uint8_t room[128];
    assert_int_equal(find(rig, NULL, 0, info), -ENOENT);
    assert_int_equal(find(rig, "", 0, info), -ENOENT);
    assert_int_equal(find(rig, "\x1a", 1, info), -EBADMSG);
    assert_int_equal(find(rig, "\x08\x05\x12\x02no", 6, info), -ENOENT);
    assert_int_equal(find(rig, "\x0a\x01x", 3, info), -EBADMSG); /* the code as a string */
    size_t len = one_detail(room, "t/google.rpc.ErrorInfo", "\x0a\x05x", 3);
    assert_int_equal(find(rig, room, len, info), -EBADMSG); /* a good status, but the detail is cut */
    assert_int_equal(find(rig, room, len, &google__rpc__help__descriptor), -ENOENT);
    len = one_detail(room, "t/google.rpc.ErrorInfo", "\x0a\x02x\0", 4);
    assert_int_equal(find(rig, room, len, info), -EBADMSG); /* a NUL in a string */
    len = one_detail(room, not_text, "", 0);
    assert_int_equal(find(rig, room, len, info), -EBADMSG);
}

static void a_type_without_a_name_cannot_be_looked_for(void **state)
{
    struct rig *rig = *state;
    ProtobufCMessageDescriptor nameless = google__rpc__error_info__descriptor;
    uint8_t room[128];
    size_t len = one_detail(room, "t/", "", 0);
    nameless.name = "";
    assert_int_equal(find(rig, room, len, &nameless), -ENOTSUP);
    nameless.name = NULL;
    assert_int_equal(find(rig, room, len, &nameless), -ENOTSUP);
}

static void a_detail_that_nests_too_deep_is_refused(void **state)
{
    struct rig *rig = *state;
    uint8_t nested[1024], room[1280];
    size_t at = sizeof nested;
    for (size_t depth = 0; depth < 150; depth++) { /* google.protobuf.Value in ListValue in Value … */
        size_t size = sizeof nested - at;
        nested[--at] = (uint8_t)(size >> 7);
        nested[--at] = (uint8_t)(size | 0x80);
        nested[--at] = depth % 2 == 0 ? 0x0a : 0x32;
    }
    size_t len = one_detail(room, "t/google.protobuf.Value", nested + at, sizeof nested - at);
    assert_int_equal(find(rig, room, len, &google__protobuf__value__descriptor), -EBADMSG);
}

static void a_small_arena_is_said_to_be_full(void **state)
{
    char block[WEFT_ARENA_MIN_BLOCK];
    uint8_t room[256];
    weft_arena *arena = NULL;
    ProtobufCMessage *found = NULL;
    weft_status status = {.code = WEFT_ABORTED, .message = "", .details = two_details(room, sizeof room)};
    (void)state;
    for (size_t max = 16; max < 2048; max += 16) { /* until it is large enough */
        assert_int_equal(weft_arena_init(&arena, block, sizeof block, max), 0);
        int rc = weft_status_detail(&status, &google__rpc__error_info__descriptor, arena, &found);
        weft_arena_fini(arena);
        if (rc == 0)
            return;
        assert_int_equal(rc, -ENOMEM);
        assert_null(found);
    }
    fail_msg("no arena was large enough");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, rig_setup_stepped, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(without_a_failure_there_is_nothing_to_add_to),
        CASE(what_no_peer_could_read_is_not_added),
        CASE(details_come_in_the_order_they_were_added),
        CASE(code_and_message_are_those_of_the_answer),
        CASE(a_success_has_no_details),
        CASE(a_message_that_was_cut_is_cut_in_the_details_too),
        CASE(a_bad_field_is_told_to_people_and_to_programs),
        CASE(details_share_the_metadata_limit_to_the_byte),
        CASE(another_failure_forgets_the_details_and_gives_their_room_back),
        CASE(without_memory_the_failure_is_told_without_details),
        CASE(a_status_is_passed_on_with_its_details),
        CASE(details_that_cannot_be_read_are_not_passed_on),
        CASE(details_over_the_metadata_limit_are_not_passed_on),
        CASE(a_type_is_what_stands_behind_the_last_slash),
        CASE(bytes_that_are_no_details_are_refused),
        CASE(a_type_without_a_name_cannot_be_looked_for),
        CASE(a_detail_that_nests_too_deep_is_refused),
        CASE(a_small_arena_is_said_to_be_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
