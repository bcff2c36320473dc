/* Following a feed, as callers see it. The same cases on every engine, with handlers on workers and inline. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/testing.h>

#include "integration/feed/rig.h"

typedef chat_Chat_Spread_client watcher;
typedef chat_Chat_Talk_client tracker;

enum {
    ENDED = -1, /* no change: the stream has ended */
    FIRST = -2, /* no change: the message that came before them */
    OWN = -3    /* no change: what the handler sent itself */
};

/* ---- what the tests do ------------------------------------------------------------------------------------------- */

static Chat__Text wish(const char *key, int64_t after, bool first)
{
    static uint8_t something[] = {1};
    Chat__Text text = CHAT__TEXT__INIT;
    text.text = (char *)(uintptr_t)key;
    text.number = after;
    text.payload.data = something;
    text.payload.len = first ? 1 : 0;
    return text;
}

static watcher *watch_on(weft_channel *channel, const weft_call_options *options, const char *key, int64_t after,
                         bool first)
{
    Chat__Text request = wish(key, after, first);
    watcher *client = NULL;
    assert_int_equal(chat_Chat_Spread(&client, channel, options, &request), 0);
    return client;
}

static watcher *watch(struct rig *rig, const char *key, int64_t after)
{
    return watch_on(rig->channel, NULL, key, after, false);
}

static int64_t read_position(const Chat__Text *text)
{
    return strcmp(text->text, "first") == 0 ? FIRST : strcmp(text->text, "handler") == 0 ? OWN : text->number;
}

/* The position of the next change, or what comes instead. */
static int64_t next(watcher *client)
{
    Chat__Text *text;
    return chat_Chat_Spread_client_recv(client, &text) == 1 ? read_position(text) : ENDED;
}

static void assert_ends(struct rig *rig, watcher *client, weft_code code)
{
    assert_int_equal(next(client), ENDED);
    weft_status status = chat_Chat_Spread_client_finish(client, rig->arena);
    if (status.code != code)
        print_error("%s: %s\n", weft_code_name(status.code), status.message);
    assert_int_equal(status.code, code);
}

static void leave(struct rig *rig, watcher *client)
{
    weft_stream_cancel(WEFT_STREAM(client));
    assert_int_equal(chat_Chat_Spread_client_finish(client, rig->arena).code, WEFT_CANCELLED);
}

static const char oor_text[] =
    "changes were missed that are not kept any more: read the present state again and follow from there";

/* ---- what is sent ------------------------------------------------------------------------------------------------ */

static void changes_of_a_key_come_in_order_and_no_others(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    watcher *a = watch(rig, "a", 0);
    watcher *b = watch(rig, "b", 0);
    for (int64_t i = 1; i <= 100; i++)
        rig_publish(rig, i % 3 == 0 ? "b" : i % 3 == 1 ? "a" : "c", i);
    for (int64_t i = 1; i <= 100; i++)
        if (i % 3 != 2)
            assert_int_equal(next(i % 3 == 0 ? b : a), i);
    leave(rig, a);
    leave(rig, b);
    rig_wait_for_calls(rig, 0);
    rig_publish(rig, "a", 101); /* and nobody is told */
    assert_int_equal(weft_feed_position(rig->feed), 101);
}

static void who_follows_everything_gets_all(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    rig_publish(rig, "a", 1);
    watcher *client = watch(rig, "", 0);
    assert_int_equal(next(client), 1);
    rig_publish(rig, "b", 5);
    rig_publish(rig, "a", 7);
    assert_int_equal(next(client), 5);
    assert_int_equal(next(client), 7);
    leave(rig, client);
}

static void the_first_message_comes_before_the_changes(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    rig_publish(rig, "a", 1);
    rig_publish(rig, "a", 2);
    watcher *client = watch_on(rig->channel, NULL, "a", 1, true);
    assert_int_equal(next(client), OWN);
    assert_int_equal(next(client), FIRST);
    assert_int_equal(next(client), 2);
    rig_publish(rig, "a", 3);
    assert_int_equal(next(client), 3);
    leave(rig, client);
}

static void a_state_that_nothing_follows_ends_the_stream(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    rig_publish(rig, "a", 1);
    watcher *client = watch_on(rig->channel, NULL, "a", WEFT_FOLLOW_NOTHING, true);
    assert_int_equal(next(client), OWN);
    assert_int_equal(next(client), FIRST);
    assert_ends(rig, client, WEFT_OK);
    rig_publish(rig, "a", 2); /* and nobody is told */
}

static void the_last_change_of_a_key_ends_its_followers(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    watcher *all = watch(rig, "", 0);
    watcher *early = watch(rig, "a", 0);
    rig_publish(rig, "a", 1);
    assert_int_equal(next(early), 1);
    assert_int_equal(rig_publish_bytes(rig, "a", 2, true, 0), 0);
    watcher *late = watch(rig, "a", 0);
    assert_int_equal(next(early), 2);
    assert_ends(rig, early, WEFT_OK);
    for (int64_t i = 1; i <= 2; i++)
        assert_int_equal(next(late), i);
    assert_ends(rig, late, WEFT_OK);
    rig_publish(rig, "a", 3); /* the key begins anew */
    watcher *again = watch(rig, "a", 2);
    assert_int_equal(next(again), 3);
    for (int64_t i = 1; i <= 3; i++)
        assert_int_equal(next(all), i);
    leave(rig, again);
    leave(rig, all);
}

static void messages_are_compressed_for_streams_that_compress(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    Chat__Text *text;
    options.server.compression = WEFT_COMPRESSION_GZIP;
    rig_start(rig, &options);
    assert_int_equal(rig_publish_bytes(rig, "a", 1, false, 1000), 0); /* nobody compresses yet */
    watcher *client = watch(rig, "a", 0);
    for (int64_t i = 1; i <= 3; i++) {
        assert_int_equal(chat_Chat_Spread_client_recv(client, &text), 1);
        assert_int_equal(text->number, i);
        assert_int_equal(text->payload.len, 1000);
        assert_int_equal(weft_stream_recv_compressed(WEFT_STREAM(client)), i > 1);
        assert_int_equal(rig_publish_bytes(rig, "a", i + 1, false, 1000), 0);
    }
    leave(rig, client);
}

/* ---- where one goes on ------------------------------------------------------------------------------------------- */

static void who_comes_back_goes_on_after_a_position(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    for (int64_t i = 1; i <= 20; i++)
        rig_publish(rig, i % 2 == 0 ? "even" : "odd", i);
    watcher *even = watch(rig, "even", 14);
    watcher *odd = watch(rig, "odd", 14);
    watcher *all = watch(rig, "", 18);
    watcher *now = watch(rig, "even", 20);
    rig_publish(rig, "odd", 21);
    rig_publish(rig, "even", 22);
    for (int64_t i = 15; i <= 22; i++)
        assert_int_equal(next(i % 2 == 0 ? even : odd), i);
    for (int64_t i = 19; i <= 22; i++)
        assert_int_equal(next(all), i);
    assert_int_equal(next(now), 22);
    watcher *clients[] = {even, odd, all, now};
    for (size_t i = 0; i < 4; i++)
        leave(rig, clients[i]);
}

/* Who has read the database knows a change before it is published. */
static void a_position_that_is_still_to_come_is_waited_for(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    watcher *client = watch_on(rig->channel, NULL, "a", 5, true);
    assert_int_equal(next(client), OWN);
    assert_int_equal(next(client), FIRST);
    for (int64_t i = 4; i <= 7; i++)
        rig_publish(rig, "a", i);
    assert_int_equal(next(client), 6);
    assert_int_equal(next(client), 7);
    leave(rig, client);
}

static void who_comes_back_too_late_is_told_what_to_do(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    options.feed.keep = 3;
    rig_start(rig, &options);
    for (int64_t i = 1; i <= 10; i++)
        rig_publish(rig, i == 2 ? "rare" : "a", i);
    watcher *late = watch(rig, "a", 6);
    assert_int_equal(next(late), ENDED);
    weft_status status = chat_Chat_Spread_client_finish(late, rig->arena);
    assert_int_equal(status.code, WEFT_OUT_OF_RANGE);
    assert_string_equal(status.message, oor_text);
    assert_ends(rig, watch(rig, "", 6), WEFT_OUT_OF_RANGE);
    assert_ends(rig, watch(rig, "rare", 1), WEFT_OUT_OF_RANGE);
    watcher *client = watch(rig, "a", 7);
    for (int64_t i = 8; i <= 10; i++)
        assert_int_equal(next(client), i);
    leave(rig, client);
}

static void a_feed_knows_what_was_before_it_began(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    options.feed.start = 100;
    rig_start(rig, &options);
    assert_int_equal(weft_feed_position(rig->feed), 100);
    assert_ends(rig, watch(rig, "a", 0), WEFT_OUT_OF_RANGE);
    assert_ends(rig, watch(rig, "a", 99), WEFT_OUT_OF_RANGE);
    watcher *client = watch(rig, "a", 100); /* nothing was missed: nothing was published since */
    assert_int_equal(rig_publish_bytes(rig, "a", 100, false, 0), -EINVAL);
    rig_publish(rig, "a", 101);
    assert_int_equal(next(client), 101);
    watcher *again = watch(rig, "a", 100);
    assert_int_equal(next(again), 101);
    leave(rig, client);
    leave(rig, again);
}

static void changes_that_were_missed_end_their_followers(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    rig_publish(rig, "a", 1);
    watcher *a = watch(rig, "a", 0);
    watcher *b = watch(rig, "b", 1);
    assert_int_equal(next(a), 1);
    rig_wait_for_calls(rig, 2);
    weft_feed_skip(rig->feed, 1); /* known already: nothing happens */
    rig_publish(rig, "a", 2);
    assert_int_equal(next(a), 2);
    rig_publish(rig, "b", 3);
    assert_int_equal(next(b), 3);
    weft_feed_skip(rig->feed, 10);
    assert_int_equal(weft_feed_position(rig->feed), 10);
    assert_ends(rig, a, WEFT_OUT_OF_RANGE);
    assert_ends(rig, b, WEFT_OUT_OF_RANGE);
    assert_ends(rig, watch(rig, "a", 9), WEFT_OUT_OF_RANGE);
    a = watch(rig, "a", 10);
    rig_publish(rig, "a", 11);
    assert_int_equal(next(a), 11);
    leave(rig, a);
}

static void what_is_kept_is_bounded_in_bytes_but_the_newest_stays(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    options.feed.max_bytes = 1000;
    rig_start(rig, &options);
    for (int64_t i = 1; i <= 5; i++)
        assert_int_equal(rig_publish_bytes(rig, "a", i, false, 400), 0);
    assert_ends(rig, watch(rig, "a", 2), WEFT_OUT_OF_RANGE);
    watcher *client = watch(rig, "a", 3);
    assert_int_equal(next(client), 4);
    assert_int_equal(next(client), 5);
    assert_int_equal(rig_publish_bytes(rig, "a", 6, false, 2000), 0);
    assert_int_equal(next(client), 6);
    watcher *late = watch(rig, "a", 5);
    assert_int_equal(next(late), 6);
    assert_ends(rig, watch(rig, "a", 4), WEFT_OUT_OF_RANGE);
    leave(rig, client);
    leave(rig, late);
}

/* ---- who is slow ------------------------------------------------------------------------------------------------- */

enum {
    LARGE = 256 << 10 /* so that gRPC core does not take all of them at once */
};

static void a_slow_reader_misses_nothing_that_is_kept(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    options.feed.max_bytes = -1;
    rig_start(rig, &options);
    watcher *client = watch(rig, "a", 0);
    for (int64_t i = 1; i <= 60; i++)
        assert_int_equal(rig_publish_bytes(rig, i % 2 == 0 ? "a" : "b", i, i == 60, LARGE), 0);
    for (int64_t i = 2; i <= 60; i += 2)
        assert_int_equal(next(client), i);
    assert_ends(rig, client, WEFT_OK);
}

static void a_slow_reader_that_falls_behind_is_out_of_range(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    options.feed.keep = 4;
    rig_start(rig, &options);
    watcher *client = watch(rig, "a", 0);
    rig_publish(rig, "a", 1);
    assert_int_equal(next(client), 1);
    for (int64_t i = 2; i <= 100; i++)
        assert_int_equal(rig_publish_bytes(rig, "a", i, false, LARGE), 0);
    int64_t expected = 2; /* what was on its way comes, without a gap, and then no more */
    for (int64_t got; (got = next(client)) != ENDED; expected++)
        assert_int_equal(got, expected);
    assert_in_range(expected, 2, 99);
    weft_status status = chat_Chat_Spread_client_finish(client, rig->arena);
    assert_int_equal(status.code, WEFT_OUT_OF_RANGE);
    assert_string_equal(status.message, oor_text);
    rig_wait_for_calls(rig, 0);
}

static void a_peer_that_takes_nothing_loses_its_call(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    options.server.send_stall_ms = 100;
    if (rig->core)
        skip(); /* in virtual time */
    rig_start(rig, &options);
    watcher *client = watch(rig, "a", 0);
    rig_publish(rig, "a", 1);
    assert_int_equal(next(client), 1);
    for (int64_t i = 2; i <= 5; i++)
        rig_publish(rig, "a", i);
    weft_test_advance(rig->engine, 99000000);
    rig_publish(rig, "a", 6);
    (void)weft_test_step(rig->engine, SIZE_MAX);
    rig_wait_for_calls(rig, 1);
    weft_test_advance(rig->engine, 2000000);
    rig_publish(rig, "b", 7); /* which does not concern it */
    (void)weft_test_step(rig->engine, SIZE_MAX);
    rig_wait_for_calls(rig, 1);
    rig_publish(rig, "a", 8);
    rig_wait_for_calls(rig, 0);
    while (next(client) != ENDED) {
    }
    assert_ends(rig, client, WEFT_CANCELLED);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void a_deadline_ends_following(void **state)
{
    struct rig *rig = *state;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.timeout_ms = 200;
    rig_start(rig, NULL);
    watcher *client = watch_on(rig->channel, &options, "a", 0, false);
    if (!rig->core && !rig->stepped) {
        rig_publish(rig, "a", 1);
        assert_int_equal(next(client), 1);
        weft_test_advance(rig->engine, 201000000);
    }
    assert_ends(rig, client, WEFT_DEADLINE_EXCEEDED);
    rig_wait_for_calls(rig, 0);
}

static void a_drain_sends_followers_away_and_does_not_wait_for_them(void **state)
{
    struct rig *rig = *state;
    watcher *clients[20];
    rig_start(rig, NULL);
    rig_publish(rig, "a", 1);
    for (size_t i = 0; i < 20; i++) {
        clients[i] = watch(rig, i % 2 == 0 ? "a" : "", 0);
        assert_int_equal(next(clients[i]), 1);
    }
    assert_int_equal(weft_server_stop(rig->server, -1), 0); /* for as long as it takes */
    rig_publish(rig, "a", 2);
    for (size_t i = 0; i < 20; i++)
        assert_ends(rig, clients[i], WEFT_UNAVAILABLE);
}

struct stopping {
    weft_server *server;
    atomic_bool stopped;
};

static void *stop(void *arg)
{
    struct stopping *stopping = arg;
    (void)weft_server_stop(stopping->server, -1);
    atomic_store(&stopping->stopped, true);
    return NULL;
}

static void who_follows_while_the_server_drains_is_sent_away_too(void **state)
{
    struct rig *rig = *state;
    pthread_t thread;
    if (rig->run_inline)
        skip(); /* nothing runs beside a drain */
    rig_start(rig, NULL);
    struct stopping stopping = {.server = rig->server};
    watcher *drained = watch_on(rig->channel, NULL, "a", 0, true);
    assert_int_equal(next(drained), OWN);
    assert_int_equal(next(drained), FIRST);
    watcher *client = watch(rig, "gate", 0);
    assert_int_equal(weft__event_wait(&rig->reached, INT64_MAX), 0);
    assert_int_equal(pthread_create(&thread, NULL, stop, &stopping), 0);
    assert_ends(rig, drained, WEFT_UNAVAILABLE); /* so it drains */
    assert_false(atomic_load(&stopping.stopped));
    weft__event_post(&rig->gate);
    assert_ends(rig, client, WEFT_UNAVAILABLE);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void the_first_to_follow_may_come_when_the_server_drains_already(void **state)
{
    struct rig *rig = *state;
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    pthread_t thread;
    if (rig->run_inline)
        skip();
    rig_start(rig, NULL);
    struct stopping stopping = {.server = rig->server};
    watcher *client = watch(rig, "gate", 0);
    assert_int_equal(weft__event_wait(&rig->reached, INT64_MAX), 0);
    assert_int_equal(pthread_create(&thread, NULL, stop, &stopping), 0);
    do { /* new calls are refused: it drains */
        Chat__Text request = CHAT__TEXT__INIT;
        Chat__Text *response = NULL;
        weft_arena_reset(rig->arena);
        stats.calls = chat_Chat_Say(rig->channel, rig->arena, NULL, &request, &response).code == WEFT_OK;
    } while (stats.calls == 1);
    weft__event_post(&rig->gate);
    weft_code code = WEFT_OK;
    assert_int_equal(next(client), ENDED);
    code = chat_Chat_Spread_client_finish(client, rig->arena).code;
    assert_int_equal(code, WEFT_UNAVAILABLE);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void one_of_two_servers_drains_and_the_other_goes_on(void **state)
{
    struct rig *rig = *state;
    weft_server_options options = rig_default_options().server;
    weft_server *other;
    weft_channel *channel;
    rig_start(rig, NULL);
    assert_int_equal(rig_serve(rig, &options, &other), 0);
    assert_int_equal(weft_channel_new(&channel, rig->engine, weft_server_address(other, 0), NULL), 0);
    rig_publish(rig, "a", 1);
    watcher *here = watch(rig, "a", 0);
    watcher *there = watch_on(channel, NULL, "a", 0, false);
    assert_int_equal(next(here), 1);
    assert_int_equal(next(there), 1);
    assert_int_equal(weft_server_stop(other, -1), 0);
    assert_ends(rig, there, WEFT_UNAVAILABLE);
    weft_channel_free(channel);
    weft_server_free(other);
    rig_publish(rig, "a", 2);
    assert_int_equal(next(here), 2);
    leave(rig, here);
}

static void a_send_that_fails_ends_its_stream_alone(void **state)
{
    struct rig *rig = *state;
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    if (rig->core)
        skip();
    rig_start(rig, NULL);
    rig_publish(rig, "a", 1);
    watcher *clients[] = {watch(rig, "a", 0), watch(rig, "a", 0)};
    for (int i = 0; i < 2; i++)
        assert_int_equal(next(clients[i]), 1);
    fault.point = WEFT_TEST_SEND;
    fault.kind = WEFT_TEST_REFUSE;
    assert_int_equal(weft_test_inject(rig->engine, &fault), 0);
    rig_publish(rig, "a", 2);
    int64_t got[] = {next(clients[0]), next(clients[1])}; /* whichever is sent to first */
    assert_int_equal(got[0] + got[1], ENDED + 2);
    assert_ends(rig, clients[got[0] == ENDED ? 0 : 1], WEFT_RESOURCE_EXHAUSTED);
    leave(rig, clients[got[0] == ENDED ? 1 : 0]);
}

static void a_connection_that_breaks_ends_its_streams(void **state)
{
    struct rig *rig = *state;
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    if (rig->core)
        skip();
    rig_start(rig, NULL);
    rig_publish(rig, "a", 1);
    watcher *clients[] = {watch(rig, "a", 0), watch(rig, "", 0)};
    assert_int_equal(next(clients[0]), 1);
    assert_int_equal(next(clients[1]), 1);
    fault.point = WEFT_TEST_SEND;
    fault.kind = WEFT_TEST_BREAK;
    assert_int_equal(weft_test_inject(rig->engine, &fault), 0);
    rig_publish(rig, "a", 2);
    for (int i = 0; i < 2; i++)
        assert_ends(rig, clients[i], WEFT_UNAVAILABLE);
    rig_wait_for_calls(rig, 0);
}

/* ---- limits and mistakes ----------------------------------------------------------------------------------------- */

static void followers_are_limited(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    options.feed.max_followers = 2;
    rig_start(rig, &options);
    rig_publish(rig, "a", 1);
    watcher *first = watch(rig, "a", 0);
    watcher *second = watch(rig, "", 0);
    assert_int_equal(next(first), 1);
    assert_int_equal(next(second), 1);
    assert_ends(rig, watch(rig, "a", 0), WEFT_RESOURCE_EXHAUSTED);
    leave(rig, first);
    rig_wait_for_calls(rig, 1);
    watcher *third = watch(rig, "a", 0);
    assert_int_equal(next(third), 1);
    leave(rig, second);
    leave(rig, third);
}

static void thousands_follow_and_hold_no_worker(void **state)
{
    enum {
        WATCHERS = 3000
    };
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    static watcher *clients[WATCHERS];
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    char key[16];
    options.server.workers = 2;
    options.server.max_worker_streams = 1; /* each of them begins on a worker, all at once */
    options.server.max_queued_calls = WATCHERS;
    rig_start(rig, &options);
    assert_int_equal(weft_channel_connect(rig->channel, 10000), 0); /* so many could not wait for it */
    rig_publish(rig, "all", 1);
    for (int i = 0; i < WATCHERS; i++) {
        snprintf(key, sizeof key, "%d", i % 1000);
        clients[i] = watch_on(rig->channel, NULL, i % 2 == 0 ? key : "", 0, true);
    }
    for (int i = 0; i < WATCHERS; i++) {
        assert_int_equal(next(clients[i]), OWN);
        assert_int_equal(next(clients[i]), FIRST);
        if (i % 2 == 1)
            assert_int_equal(next(clients[i]), 1);
    }
    assert_int_equal(chat_Chat_Say(rig->channel, rig->arena, NULL, &request, &response).code, WEFT_OK);
    rig_publish(rig, "998", 2);
    for (int i = 0; i < WATCHERS; i++)
        if (i % 2 == 1 || i % 1000 == 998)
            assert_int_equal(next(clients[i]), 2);
    assert_int_equal(weft_server_stop(rig->server, -1), 0);
    for (int i = 0; i < WATCHERS; i++)
        assert_ends(rig, clients[i], WEFT_UNAVAILABLE);
}

static void misuse_is_told(void **state)
{
    struct rig *rig = *state;
    weft_feed_options options = WEFT_FEED_OPTIONS_INIT;
    Chat__Nest nest = CHAT__NEST__INIT;
    Chat__Text text = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    weft_feed *feed = NULL;
    assert_int_equal(weft_feed_new(&feed, NULL), -EINVAL);
    assert_int_equal(weft_feed_new(&feed, &options), -EINVAL);
    options.engine = rig->engine;
    options.keep = -2;
    assert_int_equal(weft_feed_new(&feed, &options), -EINVAL);
    options.keep = -1;
    options.start = -1;
    assert_int_equal(weft_feed_new(&feed, &options), -EINVAL);
    options.start = 0;
    options.struct_size = 0;
    assert_int_equal(weft_feed_new(&feed, &options), -EINVAL);
    options.struct_size = sizeof options;
    assert_int_equal(weft_feed_new(&feed, &options), 0);
    assert_int_equal(weft_engine_free(rig->engine), -EBUSY); /* a feed needs it */
    weft_feed_free(feed);
    weft_feed_free(NULL);
    rig_start(rig, NULL);
    assert_int_equal(weft_feed_publish(rig->feed, NULL, 1, &text.base, false), -EINVAL);
    assert_int_equal(weft_feed_publish(rig->feed, "a", 1, NULL, false), -EINVAL);
    assert_int_equal(weft_feed_publish(rig->feed, "a", 0, &text.base, false), -EINVAL);
    watcher *client = watch_on(rig->channel, NULL, "a", 0, true);
    assert_int_equal(next(client), OWN);
    assert_int_equal(next(client), FIRST);
    assert_int_equal(weft_feed_publish(rig->feed, "a", 1, &nest.base, false), 0); /* not what Spread sends */
    assert_ends(rig, client, WEFT_INTERNAL);
    chat_Chat_Gather_client *gather;
    assert_int_equal(chat_Chat_Gather(&gather, rig->channel, NULL), 0);
    assert_int_equal(chat_Chat_Gather_client_finish(gather, rig->arena, &response).code, WEFT_INTERNAL);
}

/* ---- one stream, many keys --------------------------------------------------------------------------------------- */

static tracker *track(struct rig *rig)
{
    tracker *client = NULL;
    assert_int_equal(chat_Chat_Talk(&client, rig->channel, NULL), 0);
    return client;
}

static void ask(tracker *client, const char *key, int64_t after, bool first)
{
    Chat__Text request = wish(key, after, first);
    assert_int_equal(chat_Chat_Talk_client_send(client, &request), 0);
}

static int64_t next_tracked(tracker *client)
{
    Chat__Text *text;
    return chat_Chat_Talk_client_recv(client, &text) == 1 ? read_position(text) : ENDED;
}

static void assert_track_ends(struct rig *rig, tracker *client, weft_code code)
{
    assert_int_equal(next_tracked(client), ENDED);
    weft_status status = chat_Chat_Talk_client_finish(client, rig->arena);
    if (status.code != code)
        print_error("%s: %s\n", weft_code_name(status.code), status.message);
    assert_int_equal(status.code, code);
}

static void keys_are_added_while_their_stream_goes_on(void **state)
{
    struct rig *rig = *state;
    if (rig->stepped)
        skip(); /* no workers */
    rig_start(rig, NULL);
    tracker *client = track(rig);
    ask(client, "a", 0, true);
    assert_int_equal(next_tracked(client), FIRST);
    rig_publish(rig, "a", 1);
    rig_publish(rig, "b", 2);
    rig_publish(rig, "a", 3);
    assert_int_equal(next_tracked(client), 1);
    assert_int_equal(next_tracked(client), 3);
    ask(client, "a", 0, true); /* it is followed already */
    ask(client, "b", 1, true);
    assert_int_equal(next_tracked(client), FIRST);
    assert_int_equal(next_tracked(client), 2);
    assert_int_equal(atomic_load(&rig->add_error), -EEXIST);
    for (int64_t i = 4; i <= 30; i++)
        rig_publish(rig, i % 3 == 0 ? "a" : i % 3 == 1 ? "b" : "c", i);
    for (int64_t i = 4; i <= 30; i++)
        if (i % 3 != 2)
            assert_int_equal(next_tracked(client), i);
    ask(client, "leave", 0, false);
    assert_track_ends(rig, client, WEFT_OK);
    assert_int_equal(atomic_load(&rig->left), 1);
    rig_publish(rig, "a", 31);
}

static void a_backlog_of_several_keys_comes_in_the_order_of_positions(void **state)
{
    struct rig *rig = *state;
    char key[8];
    if (rig->stepped)
        skip();
    rig_start(rig, NULL);
    for (int64_t i = 1; i <= 200; i++) {
        snprintf(key, sizeof key, "%d", (int)(i * i % 7));
        assert_int_equal(rig_publish_bytes(rig, key, i, false, 0), 0);
    }
    tracker *client = track(rig); /* reads nothing until all keys are added, and the first change is on its way */
    for (int i = 0; i < 7; i++) {
        snprintf(key, sizeof key, "%d", i);
        ask(client, key, 100, false);
    }
    assert_int_equal(chat_Chat_Talk_client_close_send(client), 0);
    while (atomic_load(&rig->left) == 0)
        sched_yield();
    bool seen[201] = {false};
    int64_t before = 0;
    int descents = 0;
    for (int i = 0; i < 100; i++) {
        int64_t position = next_tracked(client);
        assert_in_range(position, 101, 200);
        assert_false(seen[position]);
        seen[position] = true;
        descents += position < before;
        before = position;
    }
    assert_in_range(descents, 0, rig->core ? 100 : 7); /* those that were sent before their key was added apart */
    weft_stream_cancel(WEFT_STREAM(client));
    assert_int_equal(chat_Chat_Talk_client_finish(client, rig->arena).code, WEFT_CANCELLED);
    rig_wait_for_calls(rig, 0);
}

static void a_caller_that_has_named_all_its_keys_goes_on_until_their_last(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    if (rig->stepped)
        skip();
    options.server.workers = 1;
    options.server.max_worker_streams = 1;
    rig_start(rig, &options);
    tracker *client = track(rig);
    ask(client, "a", 0, false);
    ask(client, "b", 0, false);
    assert_int_equal(chat_Chat_Talk_client_close_send(client), 0);
    assert_int_equal(chat_Chat_Say(rig->channel, rig->arena, NULL, &request, &response).code, WEFT_OK); /* it is free */
    assert_int_equal(atomic_load(&rig->left), 1);
    assert_int_equal(rig_publish_bytes(rig, "a", 1, true, 0), 0);
    rig_publish(rig, "b", 2);
    rig_publish(rig, "a", 3); /* not followed any more */
    assert_int_equal(rig_publish_bytes(rig, "b", 4, true, 0), 0);
    assert_int_equal(next_tracked(client), 1);
    assert_int_equal(next_tracked(client), 2);
    assert_int_equal(next_tracked(client), 4);
    assert_track_ends(rig, client, WEFT_OK);
    tracker *nothing = track(rig);
    assert_int_equal(chat_Chat_Talk_client_close_send(nothing), 0);
    assert_track_ends(rig, nothing, WEFT_OK);
}

static void everything_is_followed_alone(void **state)
{
    struct rig *rig = *state;
    if (rig->stepped)
        skip();
    rig_start(rig, NULL);
    tracker *client = track(rig);
    ask(client, "", 0, true);
    ask(client, "a", 0, true);
    ask(client, "", 0, true);
    ask(client, "leave", 0, false);
    assert_int_equal(next_tracked(client), FIRST);
    assert_track_ends(rig, client, WEFT_OK);
    assert_int_equal(atomic_load(&rig->add_error), -EEXIST);
}

static void keys_of_a_stream_are_limited(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    if (rig->stepped)
        skip();
    options.feed.max_keys = 2;
    rig_start(rig, &options);
    tracker *client = track(rig);
    ask(client, "a", 0, true);
    ask(client, "b", 0, true);
    assert_int_equal(next_tracked(client), FIRST);
    assert_int_equal(next_tracked(client), FIRST);
    assert_int_equal(rig_publish_bytes(rig, "a", 1, true, 0), 0); /* there is room again */
    assert_int_equal(next_tracked(client), 1);
    ask(client, "c", 0, true);
    assert_int_equal(next_tracked(client), FIRST);
    ask(client, "d", 0, true);
    assert_track_ends(rig, client, WEFT_RESOURCE_EXHAUSTED);
}

static void a_key_that_is_asked_for_too_late_is_out_of_range(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    if (rig->stepped)
        skip();
    options.feed.keep = 2;
    rig_start(rig, &options);
    for (int64_t i = 1; i <= 5; i++)
        rig_publish(rig, "a", i);
    tracker *client = track(rig);
    ask(client, "b", 3, true);
    assert_int_equal(next_tracked(client), FIRST);
    ask(client, "a", 2, true);
    assert_track_ends(rig, client, WEFT_OUT_OF_RANGE);
    assert_int_equal(atomic_load(&rig->ended_with), -ERANGE);
}

static void a_drain_wakes_handlers_that_receive(void **state)
{
    struct rig *rig = *state;
    tracker *clients[3];
    if (rig->stepped)
        skip();
    rig_start(rig, NULL);
    for (int i = 0; i < 3; i++) {
        clients[i] = track(rig);
        ask(clients[i], "a", 0, true);
        assert_int_equal(next_tracked(clients[i]), FIRST);
    }
    assert_int_equal(weft_server_stop(rig->server, -1), 0); /* none of them waits for its caller any more */
    for (int i = 0; i < 3; i++)
        assert_track_ends(rig, clients[i], WEFT_UNAVAILABLE);
    assert_int_equal(atomic_load(&rig->left), 3);
    assert_int_equal(atomic_load(&rig->ended_with), -ECANCELED);
}

static void a_handler_that_receives_is_woken_when_its_stream_falls_behind(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    if (rig->stepped)
        skip();
    options.feed.keep = 4;
    rig_start(rig, &options);
    tracker *client = track(rig);
    ask(client, "a", 0, true);
    assert_int_equal(next_tracked(client), FIRST);
    for (int64_t i = 1; i <= 100; i++)
        assert_int_equal(rig_publish_bytes(rig, "a", i, false, LARGE), 0);
    int64_t expected = 1;
    for (int64_t got; (got = next_tracked(client)) != ENDED; expected++)
        assert_int_equal(got, expected);
    assert_in_range(expected, 1, 99);
    assert_track_ends(rig, client, WEFT_OUT_OF_RANGE);
}

static void a_tracker_that_goes_away_is_forgotten(void **state)
{
    struct rig *rig = *state;
    if (rig->stepped)
        skip();
    rig_start(rig, NULL);
    tracker *client = track(rig);
    ask(client, "a", 0, true);
    assert_int_equal(next_tracked(client), FIRST);
    weft_stream_cancel(WEFT_STREAM(client));
    assert_int_equal(chat_Chat_Talk_client_finish(client, rig->arena).code, WEFT_CANCELLED);
    rig_wait_for_calls(rig, 0);
    rig_publish(rig, "a", 1);
    assert_int_equal(atomic_load(&rig->left), 1);
}

/* ---- many at once ------------------------------------------------------------------------------------------------ */

enum {
    KEYS = 4,
    ROUNDS = 60
};

struct stress {
    struct rig *rig;
    unsigned number;
    atomic_bool over;
    atomic_int failures;
    atomic_int reads;
    pthread_mutex_t order; /* of positions */
    int64_t position;
};

static void *publish_on_and_on(void *arg)
{
    struct stress *stress = arg;
    while (!atomic_load(&stress->over)) {
        char key[8];
        pthread_mutex_lock(&stress->order);
        int64_t position = ++stress->position;
        snprintf(key, sizeof key, "%d", (int)(position % KEYS));
        if (rig_publish_bytes(stress->rig, key, position, false, 10) < 0)
            atomic_fetch_add(&stress->failures, 1);
        pthread_mutex_unlock(&stress->order);
        sched_yield();
    }
    return NULL;
}

/* Reads some changes, each the one that comes after the last. */
static void check_order(struct stress *stress, watcher *client, int64_t after, int64_t step, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int64_t got = next(client);
        if (got == ENDED) /* it may have fallen behind; the status tells */
            return;
        after += step;
        if (got != after)
            atomic_fetch_add(&stress->failures, 1);
        atomic_fetch_add(&stress->reads, 1);
    }
}

static void *follow_and_leave(void *arg)
{
    struct stress *stress = arg;
    weft_arena *arena = NULL;
    if (weft_arena_new(&arena, 0) < 0)
        atomic_fetch_add(&stress->failures, 1);
    for (unsigned i = 0; arena != NULL && i < ROUNDS; i++) {
        char key[8] = "";
        int64_t after = weft_feed_position(stress->rig->feed);
        bool everything = i % 3 == 0;
        if (!everything)
            snprintf(key, sizeof key, "%d", (int)(after % KEYS));
        Chat__Text request = wish(key, after, false);
        watcher *client;
        if (chat_Chat_Spread(&client, stress->rig->channel, NULL, &request) < 0) {
            atomic_fetch_add(&stress->failures, 1);
            break;
        }
        check_order(stress, client, after, everything ? 1 : KEYS, i % 40);
        weft_stream_cancel(WEFT_STREAM(client)); /* maybe before its handler began */
        weft_code code = chat_Chat_Spread_client_finish(client, arena).code;
        if (code != WEFT_CANCELLED && code != WEFT_OUT_OF_RANGE)
            atomic_fetch_add(&stress->failures, 1);
        weft_arena_reset(arena);
    }
    weft_arena_free(arena);
    return NULL;
}

/* What one tracker reads, beside the thread that sends for it: a caller that sends without reading may wait for a
 * handler that has ended, and that waits for its last message to be read. */
struct reading {
    struct stress *stress;
    tracker *client;
    unsigned enough; /* so many changes; then it cancels */
};

static void *read_tracked(void *arg)
{
    struct reading *reading = arg;
    int64_t last[KEYS] = {0};
    for (unsigned n = 0;; n++) {
        if (n == reading->enough)
            weft_stream_cancel(WEFT_STREAM(reading->client));
        int64_t got = next_tracked(reading->client);
        if (got == ENDED)
            return NULL;
        if (last[got % KEYS] != 0 && got != last[got % KEYS] + KEYS)
            atomic_fetch_add(&reading->stress->failures, 1);
        last[got % KEYS] = got;
    }
}

/* Wants all keys; then leaves by word, or goes on until it is cancelled, half-closed or not. */
static void wish_for_all(struct stress *stress, tracker *client, unsigned round)
{
    for (int k = 0; k < KEYS; k++) {
        char key[8];
        snprintf(key, sizeof key, "%d", k);
        Chat__Text request = wish(key, weft_feed_position(stress->rig->feed), false);
        (void)chat_Chat_Talk_client_send(client, &request);
    }
    Chat__Text request = wish("leave", 0, false);
    if (round % 3 == 1)
        (void)chat_Chat_Talk_client_send(client, &request);
    else if (round % 3 == 2)
        (void)chat_Chat_Talk_client_close_send(client);
}

static void *track_and_leave(void *arg)
{
    struct stress *stress = arg;
    weft_arena *arena = NULL;
    if (weft_arena_new(&arena, 0) < 0)
        atomic_fetch_add(&stress->failures, 1);
    for (unsigned i = 0; arena != NULL && i < ROUNDS / 4; i++) {
        struct reading reading = {.stress = stress, .enough = i % 3 == 1 ? UINT_MAX : i * 4};
        pthread_t reader;
        if (chat_Chat_Talk(&reading.client, stress->rig->channel, NULL) < 0 ||
            pthread_create(&reader, NULL, read_tracked, &reading) != 0)
            abort();
        wish_for_all(stress, reading.client, i);
        (void)pthread_join(reader, NULL);
        weft_code code = chat_Chat_Talk_client_finish(reading.client, arena).code;
        if (code != WEFT_OK && code != WEFT_CANCELLED && code != WEFT_OUT_OF_RANGE)
            atomic_fetch_add(&stress->failures, 1);
        weft_arena_reset(arena);
    }
    weft_arena_free(arena);
    return NULL;
}

static void callers_come_and_go_while_changes_are_published(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    struct stress stress = {.rig = rig};
    pthread_t publishers[2];
    pthread_t callers[4];
    if (rig->stepped)
        skip(); /* one thread */
    options.server.workers = 8;
    rig_start(rig, &options);
    assert_int_equal(pthread_mutex_init(&stress.order, NULL), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&publishers[i], NULL, publish_on_and_on, &stress), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&callers[i], NULL, i < 3 ? follow_and_leave : track_and_leave, &stress), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(callers[i], NULL), 0);
    rig_wait_for_calls(rig, 0);
    watcher *last[] = {watch(rig, "1", weft_feed_position(rig->feed)), watch(rig, "", weft_feed_position(rig->feed))};
    for (int i = 0; i < 2; i++)
        (void)next(last[i]); /* to be there when it stops, under way; or fallen behind already */
    assert_int_equal(weft_server_stop(rig->server, 0), 0);
    for (int i = 0; i < 2; i++) {
        while (next(last[i]) != ENDED) {
        }
        (void)chat_Chat_Spread_client_finish(last[i], rig->arena);
    }
    atomic_store(&stress.over, true);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(publishers[i], NULL), 0);
    pthread_mutex_destroy(&stress.order);
    assert_int_equal(atomic_load(&stress.failures), 0);
    assert_true(atomic_load(&stress.reads) > 0);
}

static void *read_all(void *arg)
{
    struct stress *stress = arg;
    char key[8];
    weft_arena *arena = NULL;
    snprintf(key, sizeof key, "%u", stress->number % KEYS);
    Chat__Text request = wish(stress->number < KEYS ? key : "", 0, false);
    watcher *client = NULL;
    int64_t step = stress->number < KEYS ? KEYS : 1;
    if (weft_arena_new(&arena, 0) < 0 || chat_Chat_Spread(&client, stress->rig->channel, NULL, &request) < 0)
        abort();
    int64_t from = stress->number < KEYS && stress->number > 0 ? stress->number : step;
    for (int64_t expected = from; expected <= stress->position; expected += step)
        if (next(client) != expected)
            atomic_fetch_add(&stress->failures, 1);
    weft_stream_cancel(WEFT_STREAM(client));
    (void)chat_Chat_Spread_client_finish(client, arena);
    weft_arena_free(arena);
    return NULL;
}

/* Readers, each at its own pace, of all that two threads publish. */
static void all_that_is_published_arrives_once_and_in_order(void **state)
{
    enum {
        READERS = 6,
        CHANGES = 2000
    };
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    struct stress stress[READERS];
    pthread_t readers[READERS];
    char key[8];
    if (rig->stepped)
        skip();
    options.feed.keep = CHANGES; /* so that nobody falls behind */
    rig_start(rig, &options);
    for (unsigned i = 0; i < READERS; i++) {
        stress[i] = (struct stress){.rig = rig, .number = i, .position = CHANGES};
        assert_int_equal(pthread_create(&readers[i], NULL, read_all, &stress[i]), 0);
    }
    for (int64_t i = 1; i <= CHANGES; i++) {
        snprintf(key, sizeof key, "%d", (int)(i % KEYS));
        rig_publish(rig, key, i);
    }
    for (unsigned i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(readers[i], NULL), 0);
        assert_int_equal(atomic_load(&stress[i].failures), 0);
    }
    rig_wait_for_calls(rig, 0);
}

/* ---- on a program's loop ----------------------------------------------------------------------------------------- */

static void *follow_from_afar(void *arg)
{
    struct stress *stress = arg;
    (void)follow_and_leave(stress);
    atomic_store(&stress->over, true);
    return NULL;
}

static void a_server_on_a_loop_has_followers_too(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    struct stress stress = {.rig = rig};
    weft_loop *loop;
    pthread_t thread;
    if (rig->stepped)
        skip(); /* has no loops */
    assert_int_equal(weft_loop_new(&loop), 0);
    options.server.loop = loop;
    rig_start(rig, &options);
    assert_int_equal(pthread_create(&thread, NULL, follow_from_afar, &stress), 0);
    int64_t position = 0;
    while (!atomic_load(&stress.over)) { /* this thread publishes, and sends what must wait */
        struct pollfd fd = {.fd = weft_loop_fd(loop), .events = POLLIN};
        char key[8];
        position++;
        snprintf(key, sizeof key, "%d", (int)(position % KEYS));
        rig_publish(rig, key, position);
        (void)poll(&fd, 1, 1);
        (void)weft_loop_dispatch(loop, 7);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    watcher *last = watch(rig, "a", position);
    while (weft_loop_dispatch(loop, 1) == 0) { /* it has come */
    }
    rig_publish(rig, "a", position + 1);
    rig_publish(rig, "a", position + 2); /* waits for the one before, and its word for the loop */
    assert_int_equal(weft_server_stop(rig->server, 0), 0);
    while (next(last) != ENDED) {
    }
    (void)chat_Chat_Spread_client_finish(last, rig->arena);
    assert_int_equal(atomic_load(&stress.failures), 0);
    rig_unmake(rig); /* the feed, too, before the loop has told all */
    (void)weft_loop_dispatch(loop, SIZE_MAX);
    assert_int_equal(weft_loop_free(loop), 0);
}

#define CASE(setup, test) cmocka_unit_test_setup_teardown(test, setup, rig_teardown)
#define CASES(setup)                                                                                                   \
    CASE(setup, changes_of_a_key_come_in_order_and_no_others), CASE(setup, who_follows_everything_gets_all),           \
        CASE(setup, the_first_message_comes_before_the_changes),                                                       \
        CASE(setup, a_state_that_nothing_follows_ends_the_stream),                                                     \
        CASE(setup, changes_that_were_missed_end_their_followers),                                                     \
        CASE(setup, the_last_change_of_a_key_ends_its_followers),                                                      \
        CASE(setup, messages_are_compressed_for_streams_that_compress),                                                \
        CASE(setup, who_comes_back_goes_on_after_a_position),                                                          \
        CASE(setup, a_position_that_is_still_to_come_is_waited_for),                                                   \
        CASE(setup, who_comes_back_too_late_is_told_what_to_do), CASE(setup, a_feed_knows_what_was_before_it_began),   \
        CASE(setup, what_is_kept_is_bounded_in_bytes_but_the_newest_stays),                                            \
        CASE(setup, a_slow_reader_misses_nothing_that_is_kept),                                                        \
        CASE(setup, a_slow_reader_that_falls_behind_is_out_of_range),                                                  \
        CASE(setup, a_peer_that_takes_nothing_loses_its_call), CASE(setup, a_deadline_ends_following),                 \
        CASE(setup, a_drain_sends_followers_away_and_does_not_wait_for_them),                                          \
        CASE(setup, who_follows_while_the_server_drains_is_sent_away_too),                                             \
        CASE(setup, the_first_to_follow_may_come_when_the_server_drains_already),                                      \
        CASE(setup, one_of_two_servers_drains_and_the_other_goes_on),                                                  \
        CASE(setup, a_send_that_fails_ends_its_stream_alone), CASE(setup, a_connection_that_breaks_ends_its_streams),  \
        CASE(setup, followers_are_limited), CASE(setup, thousands_follow_and_hold_no_worker),                          \
        CASE(setup, misuse_is_told), CASE(setup, keys_are_added_while_their_stream_goes_on),                           \
        CASE(setup, a_backlog_of_several_keys_comes_in_the_order_of_positions),                                        \
        CASE(setup, a_caller_that_has_named_all_its_keys_goes_on_until_their_last),                                    \
        CASE(setup, everything_is_followed_alone), CASE(setup, keys_of_a_stream_are_limited),                          \
        CASE(setup, a_key_that_is_asked_for_too_late_is_out_of_range),                                                 \
        CASE(setup, a_drain_wakes_handlers_that_receive),                                                              \
        CASE(setup, a_handler_that_receives_is_woken_when_its_stream_falls_behind),                                    \
        CASE(setup, a_tracker_that_goes_away_is_forgotten),                                                            \
        CASE(setup, callers_come_and_go_while_changes_are_published),                                                  \
        CASE(setup, all_that_is_published_arrives_once_and_in_order),                                                  \
        CASE(setup, a_server_on_a_loop_has_followers_too)

static const struct CMUnitTest on_core[] = {CASES(rig_setup_core)};
static const struct CMUnitTest on_stepped[] = {CASES(rig_setup_stepped)};
static const struct CMUnitTest on_threaded[] = {CASES(rig_setup_threaded)};
static const struct CMUnitTest on_threaded_inline[] = {CASES(rig_setup_threaded_inline)};

int main(int argc, char **argv)
{
    const char *engine = argc > 1 ? argv[1] : "core";
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    if (strcmp(engine, "stepped") == 0)
        return cmocka_run_group_tests(on_stepped, NULL, NULL);
    if (strcmp(engine, "threaded") == 0)
        return cmocka_run_group_tests(on_threaded, NULL, NULL);
    if (strcmp(engine, "threaded-inline") == 0)
        return cmocka_run_group_tests(on_threaded_inline, NULL, NULL);
    return cmocka_run_group_tests(on_core, NULL, NULL);
}
