/* Custom metadata through the public API, on every engine: what is sent arrives as it was, both ways, in requests,
 * headers and trailers. Source: gRPC over HTTP2, "Custom-Metadata". */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "integration/unary/rig.h"

/* What a test sends, and the handler wants to find and answers with. */
static const weft_metadatum *pairs;
static size_t pair_count;

/* Whether the pairs with these keys are these, in this order. */
static bool same(const weft_metadatum *received, size_t count)
{
    size_t next = 0;
    for (size_t i = 0; i < count; i++) {
        if (received[i].key.len == 0 || received[i].key.data[0] != 'x')
            continue; /* the engine's own, as user-agent */
        if (next == pair_count || !weft_sv_equal(received[i].key, pairs[next].key) ||
            !weft_sv_equal(received[i].value, pairs[next].value))
            return false;
        next++;
    }
    return next == pair_count;
}

static weft_code answer_with_the_same(weft_call *call, const User__GetUserRequest *request,
                                      User__GetUserResponse *response, struct rig *rig)
{
    size_t count = weft_call_metadata_count(call);
    weft_metadatum *received = weft_arena_calloc(weft_call_arena(call), count + 1, sizeof *received);
    if (received == NULL)
        return weft_fail_errno(call, -ENOMEM);
    for (size_t i = 0; i < count; i++)
        received[i] = weft_call_metadata_at(call, i);
    RIG_CHECK(rig, same(received, count));
    for (size_t i = 0; i < pair_count; i++) { /* keys are C strings there */
        const char *key = weft_arena_svdup(weft_call_arena(call), pairs[i].key);
        RIG_CHECK(rig, weft_call_add_header(call, key, pairs[i].value) == 0);
        RIG_CHECK(rig, weft_call_add_trailer(call, key, pairs[i].value) == 0);
    }
    if (strcmp(request->id, "fail") == 0)
        return weft_fail(call, WEFT_ABORTED, "no");
    return rig_echo(call, request, response, rig);
}

static void travels(struct rig *rig, const char *id)
{
    weft_call_info info = WEFT_CALL_INFO_INIT;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.metadata = pairs;
    options.metadata_count = pair_count;
    options.info = &info;
    weft_arena_reset(rig->arena);
    weft_status status = rig_get(rig, id, &options, NULL);
    assert_int_equal(status.code, strcmp(id, "fail") == 0 ? WEFT_ABORTED : WEFT_OK);
    assert_true(same(info.headers.items, info.headers.count));
    assert_true(same(info.trailers.items, info.trailers.count));
}

/* Sends the pairs there and back, with a response and with a failure. */
static void travel_as_they_are(struct rig *rig, const weft_metadatum *sent, size_t count)
{
    pairs = sent;
    pair_count = count;
    rig->get_user = answer_with_the_same;
    travels(rig, "1");
    travels(rig, "fail");
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void repeated_keys_keep_their_order_among_others(void **state)
{
    const weft_metadatum sent[] = {
        {weft_sv_from("x-b"), weft_sv_from("1")},     {weft_sv_from("x-a"), weft_sv_from("2")},
        {weft_sv_from("x-b"), weft_sv_from("2")},     {weft_sv_from("x-b-bin"), weft_sv_from("b")},
        {weft_sv_from("x-b"), weft_sv_from("1")},     {weft_sv_from("x-a"), weft_sv_from("1")},
        {weft_sv_from("x-b-bin"), weft_sv_from("a")}, {weft_sv_from("x-b-bin"), weft_sv_from("b")},
    };
    struct rig *rig = *state;
    rig_start(rig, NULL);
    travel_as_they_are(rig, sent, COUNT(sent));
}

static void empty_values_arrive_as_empty_values(void **state)
{
    const weft_metadatum sent[] = {{weft_sv_from("x-text"), weft_sv_from("")},
                                   {weft_sv_from("x-raw-bin"), weft_sv_from("")},
                                   {weft_sv_from("x-text"), weft_sv_from("v")},
                                   {weft_sv_from("x-text"), {NULL, 0}},
                                   {weft_sv_from("x-raw-bin"), {NULL, 0}}};
    struct rig *rig = *state;
    rig_start(rig, NULL);
    travel_as_they_are(rig, sent, COUNT(sent));
}

static void binary_values_hold_every_byte_at_every_length(void **state)
{
    struct rig *rig = *state;
    char bytes[256];
    weft_metadatum sent[6];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)i;
    for (size_t i = 0; i < COUNT(sent); i++) /* base64 pads in three ways */
        sent[i] = (weft_metadatum){weft_sv_from("x-raw-bin"), weft_sv_of(bytes + (i > 2 ? 250 : 0), i > 0 ? i : 256)};
    rig_start(rig, NULL);
    travel_as_they_are(rig, sent, COUNT(sent));
}

static void commas_are_bytes_like_others(void **state)
{
    const weft_metadatum sent[] = {{weft_sv_from("x-text"), weft_sv_from("a,b")},
                                   {weft_sv_from("x-text"), weft_sv_from(",")},
                                   {weft_sv_from("x-raw-bin"), weft_sv_from("AAE,AgM=")},
                                   {weft_sv_from("x-raw-bin"), weft_sv_from(",")}};
    struct rig *rig = *state;
    rig_start(rig, NULL);
    travel_as_they_are(rig, sent, COUNT(sent));
}

static void every_printable_character_travels_in_texts_and_all_legal_ones_in_keys(void **state)
{
    struct rig *rig = *state;
    char text[0x7f - 0x20];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(0x20 + i);
    const weft_metadatum sent[] = {
        {weft_sv_from("x-text"), weft_sv_of(text + 1, sizeof text - 1)},
        {weft_sv_from("x-text"), weft_sv_from("spaces  within")},
        {weft_sv_from("x0123456789-abcdefghijklmnopqrstuvwxyz_."), weft_sv_from("v")},
        {weft_sv_from("x"), weft_sv_from("v")},
        {weft_sv_from("x-bin-not"), weft_sv_from("text")},
    };
    rig_start(rig, NULL);
    travel_as_they_are(rig, sent, COUNT(sent));
}

static void spaces_at_the_ends_of_a_text_are_refused_here(void **state)
{
    static const char *const values[] = {" v", "v ", " ", "\tv", "v\t"};
    struct rig *rig = *state;
    rig_start(rig, NULL);
    for (size_t i = 0; i < COUNT(values); i++) {
        const weft_metadatum pair = {weft_sv_from("x-text"), weft_sv_from(values[i])};
        weft_call_options options = WEFT_CALL_OPTIONS_INIT;
        options.metadata = &pair;
        options.metadata_count = 1;
        weft_status status = rig_get(rig, "1", &options, NULL);
        assert_int_equal(status.code, WEFT_INVALID_ARGUMENT);
        assert_string_equal(status.message, "an illegal metadata key or value");
        assert_false(status.from_peer);
    }
    assert_int_equal(atomic_load(&rig->handled), 0);
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

enum {
    LIMIT = 4096,
    CLEARLY = 512 /* engines count a few bytes differently: what they add to a request, and base64 */
};

/* Wants a call to end with this code. gRPC core closes a connection on which the limit was passed, now or a little
 * later, and with it calls that are within the limit: so it may take several. */
static void ends_with(struct rig *rig, weft_call_options *options, weft_code wanted)
{
    weft_code code;
    do
        code = rig_get(rig, "1", options, NULL).code;
    while (rig->kind == RIG_CORE && code != wanted);
    assert_int_equal(code, wanted);
}

static void a_request_with_more_metadata_than_the_server_takes_reaches_no_handler(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    char *text = malloc(LIMIT + CLEARLY);
    assert_non_null(text);
    memset(text, 'v', LIMIT + CLEARLY);
    options.server.max_metadata_bytes = LIMIT;
    rig_start(rig, &options);
    const weft_metadatum over = {weft_sv_from("x-large"), weft_sv_of(text, LIMIT + CLEARLY)};
    weft_call_options call = WEFT_CALL_OPTIONS_INIT;
    call.metadata = &over;
    call.metadata_count = 1;
    ends_with(rig, &call, WEFT_RESOURCE_EXHAUSTED);
    assert_int_equal(atomic_load(&rig->handled), 0);
    const weft_metadatum within = {weft_sv_from("x-large"), weft_sv_of(text, LIMIT - CLEARLY)};
    call.metadata = &within;
    ends_with(rig, &call, WEFT_OK);
    free(text);
}

static const char *added_text;
static size_t added_len;

static weft_code add_header(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                            struct rig *rig)
{
    RIG_CHECK(rig, weft_call_add_header(call, "x-large", weft_sv_of(added_text, added_len)) == 0);
    return rig_echo(call, request, response, rig);
}

static weft_code add_trailer(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                             struct rig *rig)
{
    RIG_CHECK(rig, weft_call_add_trailer(call, "x-large", weft_sv_of(added_text, added_len)) == 0);
    return rig_echo(call, request, response, rig);
}

static void an_answer_with_more_metadata_than_the_client_takes_fails_here(void **state)
{
    static const rig_handler handlers[] = {add_header, add_trailer};
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    char *text = malloc(LIMIT + CLEARLY);
    assert_non_null(text);
    memset(text, 'v', LIMIT + CLEARLY);
    added_text = text;
    options.channel.max_metadata_bytes = LIMIT; /* the server's is 16 KiB */
    rig_start(rig, &options);
    for (size_t i = 0; i < COUNT(handlers); i++) {
        rig->get_user = handlers[i];
        added_len = LIMIT + CLEARLY;
        ends_with(rig, NULL, WEFT_RESOURCE_EXHAUSTED);
        added_len = LIMIT - CLEARLY;
        ends_with(rig, NULL, WEFT_OK);
    }
    free(text);
}

#define CASE(test, setup) cmocka_unit_test_setup_teardown(test, setup, rig_teardown)
#define CASES(setup)                                                                                                   \
    CASE(repeated_keys_keep_their_order_among_others, setup), CASE(empty_values_arrive_as_empty_values, setup),        \
        CASE(binary_values_hold_every_byte_at_every_length, setup), CASE(commas_are_bytes_like_others, setup),         \
        CASE(every_printable_character_travels_in_texts_and_all_legal_ones_in_keys, setup),                            \
        CASE(spaces_at_the_ends_of_a_text_are_refused_here, setup),                                                    \
        CASE(a_request_with_more_metadata_than_the_server_takes_reaches_no_handler, setup),                            \
        CASE(an_answer_with_more_metadata_than_the_client_takes_fails_here, setup)

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
