/* Details of a failure from a handler to its caller, on every engine. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "integration/unary/rig.h"

static weft_code fail_richly(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                             struct rig *rig)
{
    static char reason[] = "USER_DISABLED", domain[] = "users.example.org", key[] = "limit", value[] = "caf\xc3\xa9";
    Google__Rpc__ErrorInfo__MetadataEntry entry = GOOGLE__RPC__ERROR_INFO__METADATA_ENTRY__INIT, *entries[] = {&entry};
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;
    User__User own = USER__USER__INIT; /* a message of the service itself */
    (void)response;
    entry.key = key;
    entry.value = value;
    info.reason = reason;
    info.domain = domain;
    info.n_metadata = 1;
    info.metadata = entries;
    delay.seconds = 2;
    delay.nanos = 5000000;
    retry.retry_delay = &delay;
    own.id = request->id;
    weft_code code = weft_fail_field(call, "id", "is disabled: %s", request->id);
    RIG_CHECK(rig, code == WEFT_INVALID_ARGUMENT);
    RIG_CHECK(rig, weft_fail_detail(call, &info.base) == 0);
    RIG_CHECK(rig, weft_fail_detail(call, &retry.base) == 0);
    RIG_CHECK(rig, weft_fail_detail(call, &own.base) == 0);
    return code;
}

static ProtobufCMessage *detail(struct rig *rig, const weft_status *status, const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *found = NULL;
    assert_int_equal(weft_status_detail(status, type, rig->arena, &found), 0);
    return found;
}

static void assert_rich(struct rig *rig, const weft_status *status, const char *message, const char *id)
{
    Google__Rpc__Status *all = NULL;
    assert_int_equal(status->code, WEFT_INVALID_ARGUMENT);
    assert_string_equal(status->message, message);
    assert_int_equal(weft_status_details(status, rig->arena, &all), 0);
    assert_int_equal(all->code, WEFT_INVALID_ARGUMENT);
    assert_string_equal(all->message, message);
    assert_int_equal(all->n_details, 4);

    const Google__Rpc__BadRequest *bad =
        (Google__Rpc__BadRequest *)detail(rig, status, &google__rpc__bad_request__descriptor);
    assert_int_equal(bad->n_field_violations, 1);
    assert_string_equal(bad->field_violations[0]->field, "id");
    const Google__Rpc__ErrorInfo *info =
        (Google__Rpc__ErrorInfo *)detail(rig, status, &google__rpc__error_info__descriptor);
    assert_string_equal(info->reason, "USER_DISABLED");
    assert_string_equal(info->domain, "users.example.org");
    assert_string_equal(info->metadata[0]->value, "caf\xc3\xa9");
    const Google__Rpc__RetryInfo *retry =
        (Google__Rpc__RetryInfo *)detail(rig, status, &google__rpc__retry_info__descriptor);
    assert_int_equal(retry->retry_delay->seconds, 2);
    assert_int_equal(retry->retry_delay->nanos, 5000000);
    const User__User *own = (User__User *)detail(rig, status, &user__user__descriptor);
    assert_string_equal(own->id, id);
}

static void details_reach_the_caller_typed(void **state)
{
    struct rig *rig = *state;
    rig->get_user = fail_richly;
    rig_start(rig, NULL);
    weft_status status = rig_get(rig, "7", NULL, NULL);
    assert_true(status.from_peer);
    assert_rich(rig, &status, "id is disabled: 7", "7");
}

static weft_code call_on(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                         struct rig *rig)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    User__GetUserRequest inner = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *found = NULL;
    if (strcmp(request->id, "inner") == 0)
        return fail_richly(call, request, response, rig);
    options.parent = call;
    inner.id = (char *)(uintptr_t) "inner";
    weft_status status = user_UserService_GetUser(rig->channel, weft_call_arena(call), &options, &inner, &found);
    return weft_fail_from(call, &status);
}

static void details_of_a_call_further_on_are_passed_back(void **state)
{
    struct rig *rig = *state;
    if (rig->kind == RIG_STEPPED) /* a blocking call needs a worker */
        skip();
    rig->get_user = call_on;
    rig_start(rig, NULL);
    weft_status status = rig_get(rig, "outer", NULL, NULL);
    assert_rich(rig, &status, "id is disabled: inner", "inner");
}

static weft_code fail_plainly(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                              struct rig *rig)
{
    (void)request;
    (void)response;
    (void)rig;
    return weft_fail(call, WEFT_NOT_FOUND, "plain");
}

static void a_plain_failure_has_no_details(void **state)
{
    struct rig *rig = *state;
    ProtobufCMessage *found = NULL;
    Google__Rpc__Status *all = NULL;
    rig->get_user = fail_plainly;
    rig_start(rig, NULL);
    weft_status status = rig_get(rig, "1", NULL, NULL);
    assert_int_equal(weft_status_detail(&status, &google__rpc__error_info__descriptor, rig->arena, &found), -ENOENT);
    assert_int_equal(weft_status_details(&status, rig->arena, &all), -ENOENT);
}

/* Finishes by itself. */
static weft_code defer(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                       struct rig *rig)
{
    RIG_CHECK(rig, weft_call_defer(call) == 0);
    weft_call_finish(call, fail_richly(call, request, response, rig), NULL);
    return WEFT_OK;
}

static void a_deferred_call_tells_details_too(void **state)
{
    struct rig *rig = *state;
    rig->get_user = defer;
    rig_start(rig, NULL);
    weft_status status = rig_get(rig, "7", NULL, NULL);
    assert_rich(rig, &status, "id is disabled: 7", "7");
}

#define CASE(test, setup) cmocka_unit_test_setup_teardown(test, setup, rig_teardown)
#define CASES(setup)                                                                                                   \
    CASE(details_reach_the_caller_typed, setup), CASE(details_of_a_call_further_on_are_passed_back, setup),            \
        CASE(a_plain_failure_has_no_details, setup), CASE(a_deferred_call_tells_details_too, setup)

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {CASES(rig_setup_core)};
    static const struct CMUnitTest stepped[] = {CASES(rig_setup_stepped)};
    static const struct CMUnitTest threaded[] = {CASES(rig_setup_threaded)};
    const char *engine = argc > 1 ? argv[1] : "core";
    if (strcmp(engine, "stepped") == 0)
        return cmocka_run_group_tests(stepped, NULL, NULL);
    if (strcmp(engine, "threaded") == 0)
        return cmocka_run_group_tests(threaded, NULL, NULL);
    return cmocka_run_group_tests(core, NULL, NULL);
}
