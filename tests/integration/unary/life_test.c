/* How servers, channels and engines end, or are used wrongly, while calls run. The same cases on every engine. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "integration/unary/rig.h"
#include "server/server.h"

enum {
    CALLERS = 4,
    ROUNDS = 20
};

static bool has_workers(const struct rig *rig)
{
    return rig->kind != RIG_STEPPED;
}

/* ---- channels ---------------------------------------------------------------------------------------------------- */

static weft_code wait_until_cancelled(weft_call *call, const User__GetUserRequest *request,
                                      User__GetUserResponse *response, struct rig *rig)
{
    (void)request;
    (void)response;
    (void)rig;
    while (!weft_call_cancelled(call))
        sched_yield();
    return weft_fail(call, WEFT_CANCELLED, "seen");
}

static void a_channel_is_freed_while_calls_run_on_it(void **state)
{
    struct rig *rig = *state;
    struct rig_caller callers[CALLERS];
    if (!has_workers(rig))
        skip();
    rig->get_user = wait_until_cancelled;
    rig_start(rig, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < CALLERS; i++)
            rig_caller_start(&callers[i], rig, "1", -1);
        while (atomic_load(&rig->handled) < (round + 1) * CALLERS)
            sched_yield();
        weft_channel_free(rig->channel);
        for (int i = 0; i < CALLERS; i++) {
            rig_caller_join(&callers[i]);
            assert_int_equal(callers[i].status.code, WEFT_CANCELLED);
            assert_string_equal(callers[i].message, "the channel was closed");
            assert_false(callers[i].status.from_peer);
        }
        rig->channel = NULL;
        assert_int_equal(weft_channel_new(&rig->channel, rig->engine, rig->target, NULL), 0);
    }
}

/* ---- servers ----------------------------------------------------------------------------------------------------- */

static void *stop_without_grace(void *arg)
{
    struct rig *rig = arg;
    RIG_CHECK(rig, weft_server_stop(rig->server, 0) == 0);
    /* Whoever is told that it has stopped finds that it has. */
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    RIG_CHECK(rig, weft_server_read_stats(rig->server, &stats) == 0);
    RIG_CHECK(rig, stats.calls == 0);
    return NULL;
}

static void a_server_is_stopped_by_two_threads(void **state)
{
    struct rig *rig = *state;
    struct rig_caller caller;
    pthread_t stoppers[2];
    if (!has_workers(rig))
        skip();
    rig->get_user = wait_until_cancelled;
    rig_start(rig, NULL);
    rig_caller_start(&caller, rig, "1", -1);
    while (atomic_load(&rig->handled) == 0)
        sched_yield();
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&stoppers[i], NULL, stop_without_grace, rig), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(stoppers[i], NULL), 0);
    rig_caller_join(&caller);
    assert_int_equal(caller.status.code, WEFT_UNAVAILABLE);
}

static void *read_stats_until_released(void *arg)
{
    struct rig *rig = arg;
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    do {
        RIG_CHECK(rig, weft_server_read_stats(rig->server, &stats) == 0);
        RIG_CHECK(rig, stats.calls_started <= 1);
    } while (weft__event_wait(&rig->release, 0) != 0);
    return NULL;
}

static void stats_are_read_while_a_server_starts_and_stops(void **state)
{
    struct rig *rig = *state;
    pthread_t reader;
    if (!has_workers(rig))
        skip();
    assert_int_equal(weft_server_new(&rig->server, rig->engine, NULL), 0);
    assert_int_equal(weft_server_listen(rig->server, "127.0.0.1:0"), 0);
    assert_int_equal(pthread_create(&reader, NULL, read_stats_until_released, rig), 0);
    assert_int_equal(weft_server_start(rig->server), 0);
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, weft_server_address(rig->server, 0), NULL), 0);
    assert_int_equal(rig_get(rig, "1", NULL, NULL).code, WEFT_UNIMPLEMENTED);
    assert_int_equal(weft_server_stop(rig->server, 0), 0);
    weft__event_post(&rig->release);
    assert_int_equal(pthread_join(reader, NULL), 0);
}

static void a_server_without_methods_answers_that_it_has_none(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(weft_server_new(&rig->server, rig->engine, NULL), 0);
    assert_int_equal(weft_server_listen(rig->server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(rig->server), 0);
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, weft_server_address(rig->server, 0), NULL), 0);
    weft_status status = rig_get(rig, "1", NULL, NULL);
    assert_int_equal(status.code, WEFT_UNIMPLEMENTED);
    assert_string_equal(status.message, "unknown method /user.UserService/GetUser");
}

static void a_server_that_never_started_gives_its_address_back_when_stopped(void **state)
{
    struct rig *rig = *state;
    weft_server *first = NULL;
    assert_int_equal(weft_server_new(&first, rig->engine, NULL), 0);
    assert_int_equal(weft_server_listen(first, "127.0.0.1:0"), 0);
    const char *address = weft_server_address(first, 0);
    assert_int_equal(weft_server_new(&rig->server, rig->engine, NULL), 0);
    assert_int_equal(weft_server_listen(rig->server, address), -EADDRINUSE);
    assert_int_equal(weft_server_stop(first, 0), 0);
    assert_int_equal(weft_server_listen(rig->server, address), 0);
    assert_int_equal(weft_server_start(first), -EALREADY);
    weft_server_free(first);
}

/* A call on a connection of its own. */
static weft_status get_anew(struct rig *rig)
{
    weft_channel *old = rig->channel;
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, rig->target, NULL), 0);
    weft_status status = rig_get(rig, "1", NULL, NULL);
    weft_channel_free(rig->channel);
    rig->channel = old;
    return status;
}

static void a_server_that_stops_accepting_refuses_the_new_and_serves_the_connected(void **state)
{
    struct rig *rig = *state;
    rig->get_user = rig_echo;
    rig_start(rig, NULL);
    assert_int_equal(rig_get(rig, "1", NULL, NULL).code, WEFT_OK);
    assert_int_equal(get_anew(rig).code, WEFT_OK);
    assert_int_equal(weft_server_stop_accepting(rig->server), 0);
    weft_status refused = get_anew(rig);
    assert_int_equal(refused.code, WEFT_UNAVAILABLE);
    assert_false(refused.from_peer);
    assert_int_equal(weft_server_stop_accepting(rig->server), 0);
    assert_int_equal(rig_get(rig, "2", NULL, NULL).code, WEFT_OK);
    assert_int_equal(weft_server_stop(rig->server, 0), 0);
    assert_int_equal(weft_server_stop_accepting(rig->server), 0);
}

static void an_address_is_free_once_its_server_stops_accepting(void **state)
{
    struct rig *rig = *state;
    weft_server *heir = NULL;
    assert_int_equal(weft_server_new(&rig->server, rig->engine, NULL), 0);
    assert_int_equal(weft_server_listen(rig->server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_stop_accepting(rig->server), -EINVAL);
    assert_int_equal(weft_server_start(rig->server), 0);
    const char *address = weft_server_address(rig->server, 0);
    assert_int_equal(weft_server_new(&heir, rig->engine, NULL), 0);
    assert_int_equal(weft_server_listen(heir, address), -EADDRINUSE);
    assert_int_equal(weft_server_stop_accepting(rig->server), 0);
    assert_int_equal(weft_server_listen(heir, address), 0);
    assert_int_equal(weft_server_start(heir), 0);
    assert_int_equal(weft_server_stop(rig->server, 0), 0); /* takes nothing from the heir */
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, address, NULL), 0);
    weft_status status = rig_get(rig, "1", NULL, NULL);
    assert_int_equal(status.code, WEFT_UNIMPLEMENTED);
    assert_true(status.from_peer);
    weft_server_free(heir);
}

static void *stop_without_end(void *arg)
{
    struct rig *rig = arg;
    RIG_CHECK(rig, weft_server_stop(rig->server, -1) == 0);
    return NULL;
}

/* When a stop is hurried. */
enum moment {
    BEFORE_THE_STOP,
    WHILE_QUIET, /* or, on engines without that time, soon after */
    WHILE_CALLS_END,
    MOMENTS
};

static void wait_for_moment(const struct rig *rig, enum moment moment)
{
    while (moment == WHILE_QUIET && atomic_load(&rig->server->state) < WEFT__SERVER_DRAINING)
        sched_yield();
    while (moment == WHILE_CALLS_END && !atomic_load(&rig->server->shut_down))
        sched_yield();
}

static void a_hurried_stop_cancels_what_runs(void **state)
{
    struct rig *rig = *state;
    struct rig_caller caller;
    pthread_t stopper;
    if (!has_workers(rig))
        skip();
    rig->get_user = wait_until_cancelled;
    for (int moment = BEFORE_THE_STOP; moment < MOMENTS; moment++) {
        rig_start(rig, NULL);
        rig_caller_start(&caller, rig, "1", -1);
        while (atomic_load(&rig->handled) <= moment)
            sched_yield();
        if (moment == BEFORE_THE_STOP)
            weft__server_hurry(rig->server);
        assert_int_equal(pthread_create(&stopper, NULL, stop_without_end, rig), 0);
        wait_for_moment(rig, (enum moment)moment);
        weft__server_hurry(rig->server);
        assert_int_equal(pthread_join(stopper, NULL), 0);
        rig_caller_join(&caller);
        assert_int_equal(caller.status.code, WEFT_UNAVAILABLE);
        weft_channel_free(rig->channel);
        weft_server_free(rig->server);
        rig->channel = NULL;
        rig->server = NULL;
    }
}

static weft_code stop_and_free(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                               struct rig *rig)
{
    RIG_CHECK(rig, weft_server_stop(rig->server, 0) == -EDEADLK);
    RIG_CHECK(rig, weft_server_stop_accepting(rig->server) == -EDEADLK);
    weft_server_free(rig->server); /* frees nothing */
    return rig_echo(call, request, response, rig);
}

static void a_handler_cannot_stop_or_free_its_server(void **state)
{
    struct rig *rig = *state;
    rig->get_user = stop_and_free;
    rig_start(rig, NULL);
    assert_int_equal(rig_get(rig, "1", NULL, NULL).code, WEFT_OK);
    assert_int_equal(rig_get(rig, "2", NULL, NULL).code, WEFT_OK);
}

static weft_code defer(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                       struct rig *rig)
{
    (void)request;
    (void)response;
    RIG_CHECK(rig, weft_call_defer(call) == 0);
    rig->deferred = call;
    return WEFT_OK;
}

static void a_stepped_server_says_that_a_deferred_call_keeps_it_from_stopping(void **state)
{
    struct rig *rig = *state;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    if (rig->kind != RIG_STEPPED)
        skip();
    options.timeout_ms = 10;
    rig->get_user = defer;
    rig_start(rig, NULL);
    assert_int_equal(rig_get(rig, "1", &options, NULL).code, WEFT_DEADLINE_EXCEEDED);
    assert_int_equal(weft_server_stop(rig->server, -1), -EDEADLK);
    assert_int_equal(weft_server_stop(rig->server, 0), -EDEADLK);
    weft_server_free(rig->server); /* frees nothing */
    rig_finish_deferred(rig, WEFT_CANCELLED);
    assert_int_equal(weft_server_stop(rig->server, 0), 0);
}

/* ---- fork -------------------------------------------------------------------------------------------------------- */

/* Uses all that there is in a child, where nothing of it works. @return the line of what went wrong, or 0. */
static int use_in_child(struct rig *rig)
{
    weft_server *server = NULL;
    weft_channel *channel = NULL;
#define EXPECT(condition)                                                                                              \
    do                                                                                                                 \
        if (!(condition))                                                                                              \
            return __LINE__;                                                                                           \
    while (0)
    EXPECT(rig_get(rig, "1", NULL, NULL).code == WEFT_FAILED_PRECONDITION);
    EXPECT(weft_channel_connect(rig->channel, -1) == -ECHILD);
    EXPECT(weft_channel_new(&channel, rig->engine, rig->target, NULL) == -ECHILD);
    EXPECT(weft_server_new(&server, rig->engine, NULL) == -ECHILD);
    EXPECT(weft_server_listen(rig->server, "127.0.0.1:0") == -ECHILD);
    EXPECT(weft_server_start(rig->server) == -ECHILD);
    EXPECT(weft_server_stop_accepting(rig->server) == -ECHILD);
    EXPECT(weft_server_stop(rig->server, 0) == -ECHILD);
    EXPECT(weft_server_stop(rig->server, -1) == -ECHILD);
    weft_channel_free(rig->channel);
    weft_server_free(rig->server);
    EXPECT(weft_engine_free(rig->engine) == -ECHILD);
    EXPECT(server == NULL && channel == NULL);
#undef EXPECT
    return 0;
}

static void a_forked_child_is_refused_and_leaves_the_parent_alone(void **state)
{
    struct rig *rig = *state;
    int result[2], wrong_line = -1;
    rig_start(rig, NULL);
    assert_int_equal(pipe(result), 0);
    assert_int_equal(rig_get(rig, "1", NULL, NULL).code, WEFT_OK);
    pid_t child = fork();
    if (child == 0) {
        alarm(60); /* instead of hanging */
        wrong_line = use_in_child(rig);
        (void)!write(result[1], &wrong_line, sizeof wrong_line);
        (void)raise(SIGKILL); /* without a report of what its parent's threads still hold */
    }
    assert_true(child > 0);
    close(result[1]);
    assert_int_equal(read(result[0], &wrong_line, sizeof wrong_line), sizeof wrong_line);
    close(result[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(wrong_line, 0);
    assert_int_equal(rig_get(rig, "1", NULL, NULL).code, WEFT_OK);
    assert_int_equal(weft_server_stop(rig->server, 0), 0);
}

#define CASES(setup)                                                                                                   \
    cmocka_unit_test_setup_teardown(a_channel_is_freed_while_calls_run_on_it, setup, rig_teardown),                    \
        cmocka_unit_test_setup_teardown(a_server_is_stopped_by_two_threads, setup, rig_teardown),                      \
        cmocka_unit_test_setup_teardown(stats_are_read_while_a_server_starts_and_stops, setup, rig_teardown),          \
        cmocka_unit_test_setup_teardown(a_server_without_methods_answers_that_it_has_none, setup, rig_teardown),       \
        cmocka_unit_test_setup_teardown(a_server_that_never_started_gives_its_address_back_when_stopped, setup,        \
                                        rig_teardown),                                                                 \
        cmocka_unit_test_setup_teardown(a_server_that_stops_accepting_refuses_the_new_and_serves_the_connected, setup, \
                                        rig_teardown),                                                                 \
        cmocka_unit_test_setup_teardown(an_address_is_free_once_its_server_stops_accepting, setup, rig_teardown),      \
        cmocka_unit_test_setup_teardown(a_hurried_stop_cancels_what_runs, setup, rig_teardown),                        \
        cmocka_unit_test_setup_teardown(a_handler_cannot_stop_or_free_its_server, setup, rig_teardown),                \
        cmocka_unit_test_setup_teardown(a_stepped_server_says_that_a_deferred_call_keeps_it_from_stopping, setup,      \
                                        rig_teardown),                                                                 \
        cmocka_unit_test_setup_teardown(a_forked_child_is_refused_and_leaves_the_parent_alone, setup, rig_teardown)

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {CASES(rig_setup_core)};
    static const struct CMUnitTest stepped[] = {CASES(rig_setup_stepped)};
    static const struct CMUnitTest threaded[] = {CASES(rig_setup_threaded)};
    const char *engine = argc > 1 ? argv[1] : "core";
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    if (strcmp(engine, "stepped") == 0)
        return cmocka_run_group_tests(stepped, NULL, NULL);
    if (strcmp(engine, "threaded") == 0)
        return cmocka_run_group_tests(threaded, NULL, NULL);
    return cmocka_run_group_tests(core, NULL, NULL);
}
