/* Servers and channels whose handlers and callbacks run in the program's own loop: on one thread, this one. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/core.h>
#include <weft/testing.h>
#include <weft/weft.h>

#include "chat.weft.h"

enum {
    LONG_MS = 20000
};

struct fixture {
    weft_engine *engine;
    weft_loop *loop;
    weft_server *server;
    weft_channel *channel;
    weft_arena *arena;
    pthread_t thread;    /* the program's own */
    int said;            /* calls that Say served */
    int done;            /* callbacks that came */
    weft_code code;      /* of the last one */
    weft_call *deferred; /* of a Say with number -1 */
    weft_stream *stream;
    int received;
    bool answered; /* and the next message is to be sent */
    int echoed;
    bool elsewhere; /* something ran on another thread */
};

static void here(struct fixture *f)
{
    f->elsewhere = f->elsewhere || !pthread_equal(pthread_self(), f->thread);
}

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    struct fixture *f = self;
    here(f);
    f->said++;
    response->number = request->number;
    if (request->number == -1) {
        f->deferred = call;
        weft_call_defer(call);
    }
    if (request->number == -3)
        weft_channel_free(f->channel); /* cannot: this call runs on it */
    if (request->number == -2) {
        Chat__Text *answer = NULL;
        f->code = chat_Chat_Say(f->channel, weft_call_arena(call), NULL, request, &answer).code;
    }
    return WEFT_OK;
}

/* Echoes, driven by readiness. */
struct echo {
    struct fixture *f;
    weft_call *call;
    ProtobufCMessage *unsent; /* lives until the next receive */
};

static void echo_more(void *arg);

/* 1: go on; 0: a callback will; or -errno: -EPIPE at the end. */
static int echo_one(struct echo *echo)
{
    weft_stream *stream = weft_call_stream(echo->call);
    int rc;
    if (echo->unsent == NULL) {
        rc = weft_stream_recv(stream, &echo->unsent);
        if (rc == -EAGAIN)
            return weft_stream_when_readable(stream, echo_more, echo);
        if (rc <= 0)
            return rc == 0 ? -EPIPE : rc;
    }
    rc = weft_stream_send(stream, echo->unsent);
    if (rc == -EAGAIN) /* that the one before has gone may be told after the next one has come */
        return weft_stream_when_writable(stream, echo_more, echo);
    echo->unsent = NULL;
    echo->f->echoed += rc == 0;
    return rc == 0 ? 1 : rc;
}

static void echo_more(void *arg)
{
    struct echo *echo = arg;
    int rc;
    here(echo->f);
    while ((rc = echo_one(echo)) == 1)
        continue;
    if (rc < 0)
        weft_call_finish(echo->call, rc == -EPIPE ? WEFT_OK : weft_fail_errno(echo->call, rc), NULL);
}

static weft_code talk(weft_call *call, chat_Chat_Talk_server *stream, void *self)
{
    struct echo *echo = weft_arena_zalloc(weft_call_arena(call), sizeof *echo);
    (void)stream;
    *echo = (struct echo){self, call, NULL};
    here(self);
    weft_call_defer(call);
    echo_more(echo);
    return WEFT_OK;
}

static const chat_Chat_ops ops = {.Say = say, .Talk = talk};

static int setup(void **state, bool core)
{
    struct fixture *f = calloc(1, sizeof *f);
    weft_memory_engine_options memory = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    weft_server_options server = WEFT_SERVER_OPTIONS_INIT;
    weft_channel_options channel = WEFT_CHANNEL_OPTIONS_INIT;
    assert_non_null(f);
    memory.threaded = true;
    f->thread = pthread_self();
    if (core)
        assert_int_equal(weft_core_engine_new(&f->engine, NULL), 0);
    else
        assert_int_equal(weft_memory_engine_new(&f->engine, &memory), 0);
    assert_int_equal(weft_arena_new(&f->arena, 0), 0);
    assert_int_equal(weft_loop_new(&f->loop), 0);
    server.loop = f->loop;
    server.quiet_ms = 20;
    channel.loop = f->loop;
    assert_int_equal(weft_server_new(&f->server, f->engine, &server), 0);
    assert_int_equal(chat_Chat_register(f->server, &ops, f, NULL), 0);
    assert_int_equal(weft_server_listen(f->server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(f->server), 0);
    assert_int_equal(weft_channel_new(&f->channel, f->engine, weft_server_address(f->server, 0), &channel), 0);
    *state = f;
    return 0;
}

static int setup_core(void **state)
{
    return setup(state, true);
}

static int setup_memory(void **state)
{
    return setup(state, false);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    weft_channel_free(f->channel);
    assert_int_equal(weft_loop_free(f->loop), -EBUSY); /* the server has it */
    weft_server_free(f->server);
    assert_int_equal(weft_loop_free(f->loop), 0);
    assert_int_equal(weft_engine_free(f->engine), 0);
    assert_false(f->elsewhere);
    weft_arena_free(f->arena);
    free(f);
    return 0;
}

/* What a program's loop does: waits for the descriptor, and dispatches. */
static void turn_until(struct fixture *f, const int *counter, int wanted)
{
    while (*counter < wanted) {
        struct pollfd fd = {.fd = weft_loop_fd(f->loop), .events = POLLIN};
        assert_int_equal(poll(&fd, 1, LONG_MS), 1);
        assert_in_range(weft_loop_dispatch(f->loop, 1), 1, 1);
    }
}

static void on_said(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    struct fixture *f = arg;
    (void)response;
    (void)result;
    here(f);
    f->code = status->code;
    f->done++;
}

static void ask(struct fixture *f, int64_t number)
{
    Chat__Text request = CHAT__TEXT__INIT;
    request.number = number;
    assert_int_equal(chat_Chat_Say_async(f->channel, NULL, &request, on_said, f), 0);
}

static void handlers_and_callbacks_run_where_the_loop_is_dispatched(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 20; i++)
        ask(f, i);
    assert_int_equal(f->said, 0);
    turn_until(f, &f->done, 20);
    assert_int_equal(f->said, 20);
    assert_int_equal(f->code, WEFT_OK);
}

static void the_descriptor_is_readable_while_callbacks_wait(void **state)
{
    struct fixture *f = *state;
    struct pollfd fd = {.fd = weft_loop_fd(f->loop), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 0), 0);
    ask(f, 1);
    ask(f, 2);
    assert_int_equal(poll(&fd, 1, LONG_MS), 1);
    assert_int_equal(poll(&fd, 1, 0), 1);
    turn_until(f, &f->done, 2);
    assert_int_equal(poll(&fd, 1, 0), 0);
    assert_int_equal(weft_loop_dispatch(f->loop, 10), 0);
}

static void blocking_is_refused_in_a_callback(void **state)
{
    struct fixture *f = *state;
    ask(f, -2);
    turn_until(f, &f->said, 1);
    assert_int_equal(f->code, WEFT_FAILED_PRECONDITION);
    turn_until(f, &f->done, 1);
    assert_int_equal(f->code, WEFT_OK);
}

static void a_channel_is_not_freed_by_a_callback_while_calls_run_on_it(void **state)
{
    struct fixture *f = *state;
    ask(f, -3);
    turn_until(f, &f->done, 1);
    assert_int_equal(f->code, WEFT_OK);
    ask(f, 1);
    turn_until(f, &f->done, 2);
    assert_int_equal(f->code, WEFT_OK);
}

/* What a channel has to tell is in the loop when it has been freed: nobody posts to a loop that may be gone. */
static void a_freed_channel_has_told_the_loop_all_it_had_to_tell(void **state)
{
    struct fixture *f = *state;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    for (int i = 1; i <= 200; i++) {
        weft_channel *channel;
        weft_loop *loop;
        assert_int_equal(weft_loop_new(&loop), 0);
        options.loop = loop;
        assert_int_equal(weft_channel_new(&channel, f->engine, weft_server_address(f->server, 0), &options), 0);
        assert_int_equal(chat_Chat_Say_async(channel, NULL, &request, on_said, f), 0);
        weft_channel_free(channel);
        assert_int_equal(weft_loop_free(loop), -EBUSY);
        assert_int_equal(weft_loop_dispatch(loop, SIZE_MAX), 1);
        assert_int_equal(f->done, i);
        assert_int_equal(weft_loop_free(loop), 0);
        while (weft_loop_dispatch(f->loop, SIZE_MAX) > 0) /* what has come to the server */
            continue;
    }
}

static void a_deferred_call_is_answered_from_the_programs_own_code(void **state)
{
    struct fixture *f = *state;
    Chat__Text response = CHAT__TEXT__INIT;
    ask(f, -1);
    turn_until(f, &f->said, 1);
    chat_Chat_Say_finish(f->deferred, WEFT_OK, &response);
    turn_until(f, &f->done, 1);
    assert_int_equal(f->code, WEFT_OK);
}

static int send_or_close(struct fixture *f)
{
    Chat__Text message = CHAT__TEXT__INIT;
    return f->received < 10 ? weft_stream_send(f->stream, (const ProtobufCMessage *)&message)
                            : weft_stream_close_send(f->stream);
}

/* Sends ten messages, each after the answer to the one before, then half-closes. */
static void next_message(void *arg)
{
    struct fixture *f = arg;
    ProtobufCMessage *received;
    int rc;
    here(f);
    do {
        rc = f->answered ? send_or_close(f) : weft_stream_recv(f->stream, &received);
        if (rc == -EAGAIN) {
            rc = f->answered ? weft_stream_when_writable(f->stream, next_message, f)
                             : weft_stream_when_readable(f->stream, next_message, f);
            if (rc == 0)
                return;
        } else if (f->answered) {
            assert_int_equal(rc, 0);
            f->answered = false;
            rc = 1;
        } else if (rc == 1) {
            f->answered = true;
            f->received++;
        }
    } while (rc == 1);
    assert_int_equal(rc, 0);
    f->done++;
}

static void on_ended(void *arg)
{
    struct fixture *f = arg;
    here(f);
    f->code = weft_stream_finish(f->stream, f->arena, NULL).code;
    f->done++;
}

static void streams_live_in_the_loop_on_both_sides(void **state)
{
    struct fixture *f = *state;
    chat_Chat_Talk_client *stream = NULL;
    Chat__Text message = CHAT__TEXT__INIT;
    assert_int_equal(chat_Chat_Talk(&stream, f->channel, NULL), 0);
    f->stream = WEFT_STREAM(stream);
    assert_int_equal(chat_Chat_Talk_client_send(stream, &message), 0);
    assert_int_equal(weft_stream_when_readable(f->stream, next_message, f), 0);
    turn_until(f, &f->done, 1);
    assert_int_equal(f->received, 10);
    assert_int_equal(f->echoed, 10);
    int rc = weft_stream_when_ended(f->stream, on_ended, f);
    if (rc == 1)
        on_ended(f);
    turn_until(f, &f->done, 2);
    assert_int_equal(f->code, WEFT_OK);
}

static void a_stop_dispatches_while_it_waits(void **state)
{
    struct fixture *f = *state;
    ask(f, 1);
    assert_int_equal(weft_server_stop(f->server, LONG_MS), 0);
    turn_until(f, &f->done, 1);
    assert_true(f->code == WEFT_OK || f->code == WEFT_UNAVAILABLE);
}

static void a_server_on_a_stepped_engine_takes_no_loop(void **state)
{
    weft_engine *engine;
    weft_loop *loop;
    weft_server *server = NULL;
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    (void)state;
    assert_int_equal(weft_memory_engine_new(&engine, NULL), 0);
    assert_int_equal(weft_loop_new(&loop), 0);
    options.loop = loop;
    assert_int_equal(weft_server_new(&server, engine, &options), -ENOTSUP);
    assert_int_equal(weft_loop_free(loop), 0);
    assert_int_equal(weft_engine_free(engine), 0);
}

#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CASES(setup)                                                                                                   \
    CASE(handlers_and_callbacks_run_where_the_loop_is_dispatched, setup),                                              \
        CASE(the_descriptor_is_readable_while_callbacks_wait, setup), CASE(blocking_is_refused_in_a_callback, setup),  \
        CASE(a_deferred_call_is_answered_from_the_programs_own_code, setup),                                           \
        CASE(a_channel_is_not_freed_by_a_callback_while_calls_run_on_it, setup),                                       \
        CASE(a_freed_channel_has_told_the_loop_all_it_had_to_tell, setup),                                             \
        CASE(streams_live_in_the_loop_on_both_sides, setup), CASE(a_stop_dispatches_while_it_waits, setup)

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {CASES(setup_core)};
    static const struct CMUnitTest memory[] = {CASES(setup_memory),
                                               cmocka_unit_test(a_server_on_a_stepped_engine_takes_no_loop)};
    if (argc > 1 && strcmp(argv[1], "threaded") == 0)
        return cmocka_run_group_tests(memory, NULL, NULL);
    return cmocka_run_group_tests(core, NULL, NULL);
}
