/* A feed with every allocation failing in turn: what cannot be served is told, nothing leaks, nobody hangs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <weft/testing.h>

#include "integration/feed/rig.h"
#include "support/alloc_fault.h"

static const struct {
    const char *key;
    bool last;
} changes[] = {{"a", false}, {"b", false}, {"a", false}, {"b", true}, {"a", true}};

enum {
    CHANGES = sizeof changes / sizeof *changes
};

static int receive(weft_stream *stream, Chat__Text **text)
{
    ProtobufCMessage *message;
    int rc = weft_stream_recv(stream, &message);
    if (rc == 1)
        *text = (Chat__Text *)message;
    return rc;
}

/* Reads the changes of a key, or all: no one may be left out. How many came; a stream that is cut off has fewer. */
static int read_changes(weft_stream *stream, const char *key, int64_t after)
{
    Chat__Text *text;
    int count = 0;
    for (int64_t i = after + 1; i <= CHANGES; i++) {
        if (key != NULL && strcmp(key, changes[i - 1].key) != 0)
            continue;
        do {
            if (receive(stream, &text) != 1)
                return count;
        } while (text->number == 0); /* first messages */
        assert_int_equal(text->number, i);
        count++;
    }
    return count;
}

/* A stream that was cut off has a reason that tells. */
static int judge(weft_status status, int count, int expected)
{
    if (count == expected)
        return 0;
    if (status.code != WEFT_RESOURCE_EXHAUSTED && status.code != WEFT_OUT_OF_RANGE && status.code != WEFT_UNAVAILABLE &&
        status.code != WEFT_CANCELLED)
        fail_msg("%s: %s", weft_code_name(status.code), status.message);
    return -ENOMEM;
}

static int publish_all(struct rig *rig)
{
    int rc = 0;
    for (int i = 0; i < CHANGES; i++) {
        int told = rig_publish_bytes(rig, changes[i].key, i + 1, changes[i].last, 0);
        assert_true(told == 0 || told == -ENOMEM);
        rc = told < 0 ? told : rc;
    }
    return rc;
}

static int follow(struct rig *rig)
{
    uint8_t something[] = {1};
    Chat__Text request = CHAT__TEXT__INIT;
    chat_Chat_Spread_client *one = NULL;
    chat_Chat_Spread_client *all = NULL;
    chat_Chat_Talk_client *two = NULL;
    request.text = (char *)(uintptr_t) "a";
    request.payload = (ProtobufCBinaryData){1, something};
    int rc = chat_Chat_Spread(&one, rig->channel, NULL, &request);
    if (rc == 0)
        rc = chat_Chat_Talk(&two, rig->channel, NULL);
    (void)weft_test_step(rig->engine, SIZE_MAX); /* they follow before, the third one after */
    int published = publish_all(rig);
    request = (Chat__Text)CHAT__TEXT__INIT;
    if (rc == 0)
        rc = chat_Chat_Spread(&all, rig->channel, NULL, &request);
    if (rc == 0)
        rc = published;
    if (one != NULL) {
        int count = read_changes(WEFT_STREAM(one), "a", 0);
        int judged = judge(chat_Chat_Spread_client_finish(one, rig->arena), count, 3);
        rc = rc == 0 ? judged : rc;
    }
    if (two != NULL) {
        int count = read_changes(WEFT_STREAM(two), NULL, 0);
        int judged = judge(chat_Chat_Talk_client_finish(two, rig->arena), count, CHANGES);
        rc = rc == 0 ? judged : rc;
    }
    if (all != NULL) {
        int count = read_changes(WEFT_STREAM(all), NULL, 0);
        weft_stream_cancel(WEFT_STREAM(all));
        int judged = judge(chat_Chat_Spread_client_finish(all, rig->arena), count, CHANGES);
        rc = rc == 0 ? judged : rc;
    }
    return rc;
}

static int serve_and_follow(void *context)
{
    struct rig rig = {.stepped = true, .run_inline = true};
    (void)context;
    int rc = weft_memory_engine_new(&rig.engine, NULL);
    if (rc < 0)
        return rc;
    rc = rig_make(&rig, NULL);
    if (rc == 0)
        rc = follow(&rig);
    rig_unmake(&rig);
    assert_int_equal(weft_engine_free(rig.engine), 0);
    return rc;
}

static void following_survives_the_failure_of_each_allocation(void **state)
{
    (void)state;
    assert_true(weft_test_oom_sweep_mending(serve_and_follow, NULL) > 50);
}

static chat_Chat_Spread_client *watch(struct rig *rig, const char *key, int64_t after)
{
    Chat__Text request = CHAT__TEXT__INIT;
    chat_Chat_Spread_client *client = NULL;
    request.text = (char *)(uintptr_t)key;
    request.number = after;
    assert_int_equal(chat_Chat_Spread(&client, rig->channel, NULL, &request), 0);
    (void)weft_test_step(rig->engine, SIZE_MAX);
    return client;
}

static void assert_next(chat_Chat_Spread_client *client, int64_t position)
{
    Chat__Text *text = NULL;
    int rc = receive(WEFT_STREAM(client), &text);
    assert_int_equal(rc == 1 && text != NULL ? text->number : -1, position);
}

static void assert_out_of_range(struct rig *rig, chat_Chat_Spread_client *client)
{
    Chat__Text *text;
    assert_int_equal(receive(WEFT_STREAM(client), &text), 0);
    assert_int_equal(chat_Chat_Spread_client_finish(client, rig->arena).code, WEFT_OUT_OF_RANGE);
}

static void leave(struct rig *rig, chat_Chat_Spread_client *client)
{
    weft_stream_cancel(WEFT_STREAM(client));
    assert_int_equal(chat_Chat_Spread_client_finish(client, rig->arena).code, WEFT_CANCELLED);
}

/* Who should have got it is told; who follows other keys and is up to date goes on. */
static void a_change_that_is_lost_is_told_to_whom_it_concerns(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    int64_t position = 0;
    for (long n = 1;; n++) {
        chat_Chat_Spread_client *a = watch(rig, "a", position);
        chat_Chat_Spread_client *b = watch(rig, "b", position);
        chat_Chat_Spread_client *all = watch(rig, "", position);
        weft_test_alloc_fail_at(n);
        int rc = rig_publish_bytes(rig, "a", ++position, false, 0);
        weft_test_alloc_fail_at(0);
        if (rc == 0) {
            assert_true(n > 2);
            leave(rig, a);
            leave(rig, b);
            leave(rig, all);
            return;
        }
        assert_int_equal(rc, -ENOMEM);
        assert_int_equal(weft_feed_position(rig->feed), position);
        assert_out_of_range(rig, a);
        assert_out_of_range(rig, all);
        assert_out_of_range(rig, watch(rig, "a", position - 1));
        a = watch(rig, "a", position);
        assert_int_equal(rig_publish_bytes(rig, "b", ++position, false, 0), 0);
        assert_int_equal(rig_publish_bytes(rig, "a", ++position, false, 0), 0);
        assert_next(b, position - 1);
        assert_next(a, position);
        leave(rig, a);
        leave(rig, b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(following_survives_the_failure_of_each_allocation),
        cmocka_unit_test_setup_teardown(a_change_that_is_lost_is_told_to_whom_it_concerns, rig_setup_stepped,
                                        rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
