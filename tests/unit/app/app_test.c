/* The life of a service's process, in virtual time, with a directory that says what the test wants. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft/testing.h>
#include <weft/weft.h>

#include "base/event.h"
#include "grpc/health/v1/health.weft.h"
#include "server/server.h"
#include "support/alloc_fault.h"
#include "user.weft.h"

#define SECOND_NS INT64_C(1000000000)
#define INSTANCES 2

struct rig;

/* A registry that writes down what it is asked. */
struct directory {
    weft_registry base;
    struct rig *rig;
    int refuses;      /* what registering the instance `refuses_from` and later ones returns */
    int refuses_from; /* counted from 0 */
    int removal;      /* what deregistering returns */
    int64_t takes_ms; /* how long it takes; or, with -ETIMEDOUT, all its time */
    int added;
    int held;
};

struct rig {
    weft_engine *engine;
    weft_server *server;
    weft_health *health;
    weft_channel *channel; /* connected when the server serves */
    weft_arena *arena;
    weft_app *app;
    weft_app_options options;
    struct directory directory;
    weft_instance instances[INSTANCES];
    void (*look)(struct rig *rig, weft_phase phase); /* or NULL */
    weft_phase stop_in;
    int stops; /* in that phase */
    char steps[1024];
    weft__event phases[WEFT_PHASES_MAX]; /* has begun */
    weft__event handling;
    int rc; /* of run_apart */
};

static void note(struct rig *rig, const char *text)
{
    size_t len = strlen(rig->steps);
    snprintf(rig->steps + len, sizeof rig->steps - len, "%s%s", len > 0 ? ", " : "", text);
}

/* ---- the directory ----------------------------------------------------------------------------------------------- */

struct weft_registration {
    char name[64];
};

static int add(weft_registry *self, const weft_instance *instance, weft_registration **out, char *reason,
               size_t reason_size)
{
    struct directory *directory = (struct directory *)self;
    char text[128];
    snprintf(reason, reason_size, "the test says so");
    if (directory->refuses != 0 && directory->added >= directory->refuses_from)
        return directory->refuses;
    weft_registration *added = malloc(sizeof *added);
    if (added == NULL)
        return -ENOMEM;
    snprintf(added->name, sizeof added->name, "%s:%d", instance->service, instance->port);
    snprintf(text, sizeof text, "+%s", added->name);
    note(directory->rig, text);
    if (directory->rig->look != NULL)
        directory->rig->look(directory->rig, WEFT_PHASE_STARTING);
    directory->added++;
    directory->held++;
    *out = added;
    return 0;
}

static int take_out(weft_registry *self, weft_registration *registration, int64_t timeout_ms)
{
    struct directory *directory = (struct directory *)self;
    char text[128];
    snprintf(text, sizeof text, "-%s in %d", registration->name, (int)timeout_ms);
    note(directory->rig, text);
    int64_t ms = directory->removal == -ETIMEDOUT ? timeout_ms : directory->takes_ms;
    if (ms > 0)
        weft_test_advance(directory->rig->engine, ms * SECOND_NS / 1000);
    directory->held--;
    free(registration);
    return directory->removal;
}

static const weft_registry_vtable directory_vtable = {
    .struct_size = sizeof directory_vtable, .name = "test", .add = add, .remove = take_out};

/* ---- the rig ----------------------------------------------------------------------------------------------------- */

static weft_code get_user(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                          void *self)
{
    (void)call;
    (void)request;
    (void)response;
    (void)self;
    return WEFT_OK;
}

static const user_UserService_ops ops = {.GetUser = get_user};

static void on_phase(void *arg, weft_phase phase)
{
    struct rig *rig = arg;
    assert_int_equal(weft_app_phase(rig->app), phase);
    note(rig, weft_phase_name(phase));
    if (rig->look != NULL && phase != WEFT_PHASE_STARTING)
        rig->look(rig, phase);
    for (int i = 0; i < rig->stops && phase == rig->stop_in; i++)
        weft_app_stop(rig->app);
    weft__event_post(&rig->phases[phase]);
}

/* All but the app. 0 or -errno, and what was made stays. */
static int make(struct rig *rig, bool threaded, const user_UserService_ops *handlers)
{
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    options.threaded = threaded;
    int rc = weft_memory_engine_new(&rig->engine, &options);
    if (rc == 0)
        rc = weft_arena_new(&rig->arena, 0);
    if (rc == 0)
        rc = weft_server_new(&rig->server, rig->engine, NULL);
    if (rc == 0)
        rc = user_UserService_register(rig->server, handlers, rig, NULL);
    if (rc == 0)
        rc = weft_health_new(&rig->health, NULL);
    if (rc == 0)
        rc = weft_health_register(rig->server, rig->health);
    if (rc == 0)
        rc = weft_server_listen(rig->server, "unix:/run/users");
    if (rc == 0)
        rc = weft_server_listen(rig->server, "users:7");
    if (rc == 0)
        rc = weft_channel_new(&rig->channel, rig->engine, "users:7", NULL);
    return rc;
}

static void fill(struct rig *rig)
{
    rig->directory = (struct directory){.base = {&directory_vtable}, .rig = rig};
    for (int i = 0; i < INSTANCES; i++) {
        rig->instances[i] = (weft_instance)WEFT_INSTANCE_INIT;
        rig->instances[i].service = i == 0 ? "users" : "admin";
        rig->instances[i].port = i == 0 ? 0 : 9;
    }
    rig->options = (weft_app_options)WEFT_APP_OPTIONS_INIT;
    rig->options.server = rig->server;
    rig->options.health = rig->health;
    rig->options.registry = &rig->directory.base;
    rig->options.instances = rig->instances;
    rig->options.instance_count = 1;
    rig->options.on_phase = on_phase;
    rig->options.arg = rig;
    rig->stop_in = WEFT_PHASE_SERVING;
    rig->stops = 1;
}

static void unmake(struct rig *rig)
{
    weft_app_free(rig->app);
    weft_channel_free(rig->channel);
    weft_server_free(rig->server);
    weft_health_free(rig->health);
    weft_arena_free(rig->arena);
    assert_int_equal(weft_engine_free(rig->engine), 0);
}

static struct rig *set_up_rig(bool threaded, const user_UserService_ops *handlers)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    for (size_t i = 0; i < WEFT_PHASES_MAX; i++)
        assert_int_equal(weft__event_init(&rig->phases[i]), 0);
    assert_int_equal(weft__event_init(&rig->handling), 0);
    assert_int_equal(make(rig, threaded, handlers), 0);
    fill(rig);
    return rig;
}

static int set_up(void **state)
{
    *state = set_up_rig(false, &ops);
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    unmake(rig);
    assert_int_equal(rig->directory.held, 0);
    for (size_t i = 0; i < WEFT_PHASES_MAX; i++)
        weft__event_fini(&rig->phases[i]);
    weft__event_fini(&rig->handling);
    free(rig);
    return 0;
}

static int run(struct rig *rig)
{
    assert_int_equal(weft_app_new(&rig->app, &rig->options), 0);
    return weft_app_run(rig->app);
}

static weft_app_stats stats_of(struct rig *rig)
{
    weft_app_stats stats = WEFT_APP_STATS_INIT;
    assert_int_equal(weft_app_read_stats(rig->app, &stats), 0);
    return stats;
}

static int64_t seconds_in(struct rig *rig, weft_phase phase)
{
    return stats_of(rig).phases[phase].ns / SECOND_NS;
}

static weft_code call(struct rig *rig, weft_channel *channel)
{
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *response = NULL;
    return user_UserService_GetUser(channel, rig->arena, NULL, &request, &response).code;
}

/* By a connection of its own. */
static weft_code call_anew(struct rig *rig)
{
    weft_channel *channel;
    assert_int_equal(weft_channel_new(&channel, rig->engine, "users:7", NULL), 0);
    weft_code code = call(rig, channel);
    weft_channel_free(channel);
    return code;
}

static int health_of(struct rig *rig)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    Grpc__Health__V1__HealthCheckResponse *response = NULL;
    weft_status status = grpc_health_v1_Health_Check(rig->channel, rig->arena, NULL, &request, &response);
    return status.code == WEFT_OK ? (int)response->status : -1;
}

#define ALL_AFTER_SERVING "not serving, deregistering, -users:7 in 5000, closing, lame duck, draining, stopped"

/* ---- the order --------------------------------------------------------------------------------------------------- */

/* What callers see as each phase begins, before it has done its part. STARTING is when an instance is registered. */
static void look_from_outside(struct rig *rig, weft_phase phase)
{
    bool serves = phase != WEFT_PHASE_STOPPED;
    bool accepts = phase <= WEFT_PHASE_CLOSING;
    bool healthy = phase <= WEFT_PHASE_NOT_SERVING;
    bool listed = phase >= WEFT_PHASE_SERVING && phase <= WEFT_PHASE_DEREGISTERING;
    assert_int_equal(rig->directory.held, listed ? 1 : 0);
    assert_int_equal(call(rig, rig->channel), serves ? WEFT_OK : WEFT_UNAVAILABLE);
    assert_int_equal(call_anew(rig), accepts ? WEFT_OK : WEFT_UNAVAILABLE);
    assert_int_equal(health_of(rig), !serves ? -1 : healthy ? WEFT_SERVING : WEFT_NOT_SERVING);
}

static void each_phase_does_its_part_in_the_order_in_which_no_call_fails(void **state)
{
    struct rig *rig = *state;
    rig->look = look_from_outside;
    assert_int_equal(call_anew(rig), WEFT_UNAVAILABLE); /* nothing serves before */
    assert_int_equal(run(rig), 0);
    assert_string_equal(rig->steps, "starting, +users:7, serving, " ALL_AFTER_SERVING);
}

static void each_phase_is_counted(void **state)
{
    struct rig *rig = *state;
    rig->look = look_from_outside;
    rig->directory.takes_ms = 2000;
    assert_int_equal(run(rig), 0);
    weft_app_stats stats = stats_of(rig);
    assert_int_equal(stats.phase, WEFT_PHASE_STOPPED);
    assert_int_equal(stats.stops, 1);
    assert_int_equal(stats.registered, 1);
    assert_int_equal(stats.deregistered, 1);
    assert_int_equal(stats.deregister_failures, 0);
    assert_int_equal(stats.phases[WEFT_PHASE_DEREGISTERING].ns, 2 * SECOND_NS);
    assert_int_equal(stats.phases[WEFT_PHASE_LAME_DUCK].ns, 3 * SECOND_NS);
    assert_int_equal(stats.phases[WEFT_PHASE_STARTING].calls, 3); /* of look_from_outside */
    assert_int_equal(stats.phases[WEFT_PHASE_CLOSING].calls, 3);
    assert_int_equal(stats.phases[WEFT_PHASE_LAME_DUCK].calls, 2); /* one could not connect */
}

static void statistics_are_filled_as_far_as_the_caller_knows_them(void **state)
{
    struct rig *rig = *state;
    weft_app_stats stats = WEFT_APP_STATS_INIT;
    assert_int_equal(run(rig), 0);
    stats.struct_size = offsetof(weft_app_stats, registered);
    stats.registered = 77;
    assert_int_equal(weft_app_read_stats(rig->app, &stats), 0);
    assert_int_equal(stats.stops, 1);
    assert_int_equal(stats.registered, 77);
    assert_int_equal(stats.struct_size, offsetof(weft_app_stats, registered));
    stats.struct_size = 0;
    assert_int_equal(weft_app_read_stats(rig->app, &stats), -EINVAL);
}

static void every_phase_has_a_name(void **state)
{
    (void)state;
    for (int phase = WEFT_PHASE_NEW; phase <= WEFT_PHASE_STOPPED; phase++)
        assert_string_not_equal(weft_phase_name((weft_phase)phase), "unknown");
    assert_string_equal(weft_phase_name((weft_phase)(WEFT_PHASE_STOPPED + 1)), "unknown");
    assert_string_equal(weft_phase_name((weft_phase)-1), "unknown");
}

/* ---- without some of it ------------------------------------------------------------------------------------------ */

static void without_a_directory_there_is_no_lame_duck(void **state)
{
    struct rig *rig = *state;
    rig->options.registry = NULL;
    rig->options.instance_count = 0;
    rig->options.health = NULL;
    assert_int_equal(run(rig), 0);
    assert_string_equal(rig->steps,
                        "starting, serving, not serving, deregistering, closing, lame duck, draining, stopped");
    assert_int_equal(stats_of(rig).phases[WEFT_PHASE_LAME_DUCK].ns, 0);
}

static void the_lame_duck_lasts_as_long_as_it_is_told(void **state)
{
    struct rig *rig = *state;
    rig->options.lame_duck_ms = 17000;
    assert_int_equal(run(rig), 0);
    assert_int_equal(seconds_in(rig, WEFT_PHASE_LAME_DUCK), 17);
}

static void there_may_be_no_lame_duck_beside_a_directory(void **state)
{
    struct rig *rig = *state;
    rig->options.lame_duck_ms = -1;
    assert_int_equal(run(rig), 0);
    assert_int_equal(stats_of(rig).phases[WEFT_PHASE_LAME_DUCK].ns, 0);
}

/* ---- stopping more than once, or too early ----------------------------------------------------------------------- */

static void a_second_stop_ends_the_lame_duck(void **state)
{
    struct rig *rig = *state;
    rig->stop_in = WEFT_PHASE_SERVING;
    rig->stops = 3;
    assert_int_equal(run(rig), 0);
    assert_string_equal(rig->steps, "starting, +users:7, serving, " ALL_AFTER_SERVING);
    assert_int_equal(stats_of(rig).phases[WEFT_PHASE_LAME_DUCK].ns, 0);
    assert_int_equal(stats_of(rig).stops, 3);
}

static void who_is_told_to_stop_before_it_runs_starts_nothing(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(weft_app_new(&rig->app, &rig->options), 0);
    weft_app_stop(rig->app);
    assert_int_equal(weft_app_run(rig->app), 0);
    assert_string_equal(rig->steps, "starting, not serving, deregistering, closing, lame duck, draining, stopped");
    assert_int_equal(seconds_in(rig, WEFT_PHASE_LAME_DUCK), 0);
    assert_int_equal(call_anew(rig), WEFT_UNAVAILABLE);
}

static void stop_while_starting(struct rig *rig, weft_phase phase)
{
    if (phase == WEFT_PHASE_STARTING)
        weft_app_stop(rig->app);
}

static void who_is_told_to_stop_while_it_registers_takes_that_back(void **state)
{
    struct rig *rig = *state;
    rig->options.instance_count = INSTANCES;
    rig->stops = 0;
    rig->look = stop_while_starting;
    assert_int_equal(run(rig), 0);
    assert_string_equal(rig->steps, "starting, +users:7, serving, " ALL_AFTER_SERVING);
    assert_int_equal(seconds_in(rig, WEFT_PHASE_LAME_DUCK), 3);
}

static void a_stepped_app_that_nobody_can_stop_says_so(void **state)
{
    struct rig *rig = *state;
    rig->stops = 0;
    assert_int_equal(run(rig), -EDEADLK);
    assert_string_equal(rig->steps, "starting, +users:7, serving, " ALL_AFTER_SERVING);
    assert_int_equal(stats_of(rig).phases[WEFT_PHASE_LAME_DUCK].ns, 0);
}

/* ---- what fails -------------------------------------------------------------------------------------------------- */

static void a_deregistration_that_fails_is_counted_and_changes_nothing_else(void **state)
{
    struct rig *rig = *state;
    rig->directory.removal = -EACCES;
    assert_int_equal(run(rig), 0);
    assert_string_equal(rig->steps, "starting, +users:7, serving, " ALL_AFTER_SERVING);
    assert_int_equal(stats_of(rig).deregistered, 0);
    assert_int_equal(stats_of(rig).deregister_failures, 1);
    assert_int_equal(seconds_in(rig, WEFT_PHASE_LAME_DUCK), 3);
}

static void all_deregistrations_together_take_no_longer_than_their_time(void **state)
{
    struct rig *rig = *state;
    rig->options.instance_count = INSTANCES;
    rig->options.deregister_timeout_ms = 4000;
    rig->directory.removal = -ETIMEDOUT;
    assert_int_equal(run(rig), 0);
    assert_string_equal(rig->steps,
                        "starting, +users:7, +admin:9, serving, not serving, deregistering, -admin:9 in 4000, "
                        "-users:7 in 1, closing, lame duck, draining, stopped");
    assert_int_equal(seconds_in(rig, WEFT_PHASE_DEREGISTERING), 4);
    assert_int_equal(stats_of(rig).deregister_failures, 2);
}

static void what_one_deregistration_leaves_of_the_time_is_the_others(void **state)
{
    struct rig *rig = *state;
    rig->options.instance_count = INSTANCES;
    rig->directory.takes_ms = 1500;
    assert_int_equal(run(rig), 0);
    assert_non_null(strstr(rig->steps, "-admin:9 in 5000, -users:7 in 3500, closing"));
    assert_int_equal(stats_of(rig).deregistered, 2);
}

static void an_instance_that_cannot_be_registered_ends_it_at_once_and_the_others_are_taken_back(void **state)
{
    struct rig *rig = *state;
    rig->options.instance_count = INSTANCES;
    rig->directory.refuses = -EINVAL;
    rig->directory.refuses_from = 1;
    assert_int_equal(run(rig), -EINVAL);
    assert_string_equal(rig->steps, "starting, +users:7, " ALL_AFTER_SERVING);
    assert_int_equal(stats_of(rig).phases[WEFT_PHASE_LAME_DUCK].ns, 0);
    assert_int_equal(call_anew(rig), WEFT_UNAVAILABLE);
}

static void an_instance_of_a_newer_version_is_not_registered_in_part(void **state)
{
    struct {
        weft_instance known;
        int64_t unknown;
    } newer = {WEFT_INSTANCE_INIT, 1};
    struct rig *rig = *state;
    newer.known.struct_size = sizeof newer;
    newer.known.service = "users";
    rig->options.instances = &newer.known;
    assert_int_equal(run(rig), -E2BIG);
    assert_int_equal(rig->directory.added, 0);
}

static void instances_of_a_newer_version_are_registered_if_they_ask_for_nothing_new(void **state)
{
    struct {
        weft_instance known;
        int64_t unknown;
    } newer[INSTANCES] = {{WEFT_INSTANCE_INIT, 0}, {WEFT_INSTANCE_INIT, 0}};
    struct rig *rig = *state;
    for (int i = 0; i < INSTANCES; i++) {
        newer[i].known.struct_size = sizeof newer[i];
        newer[i].known.service = "users";
        newer[i].known.port = 1 + i;
    }
    rig->options.instances = &newer[0].known;
    rig->options.instance_count = INSTANCES;
    assert_int_equal(run(rig), 0);
    assert_non_null(strstr(rig->steps, "starting, +users:1, +users:2, serving"));
}

static void a_server_that_cannot_start_is_never_registered(void **state)
{
    struct rig *rig = *state;
    weft_server *mute;
    assert_int_equal(weft_server_new(&mute, rig->engine, NULL), 0);
    rig->options.server = mute; /* listens nowhere */
    rig->options.health = NULL;
    assert_int_equal(run(rig), -EINVAL);
    assert_string_equal(rig->steps, "starting, not serving, deregistering, closing, lame duck, draining, stopped");
    assert_int_equal(seconds_in(rig, WEFT_PHASE_LAME_DUCK), 0);
    weft_server_free(mute);
}

static void options_that_make_no_sense_are_refused(void **state)
{
    struct rig *rig = *state;
    weft_app *app = NULL;
    weft_app_options wrong = rig->options;
    assert_int_equal(weft_app_new(&app, NULL), -EINVAL);
    wrong.server = NULL;
    assert_int_equal(weft_app_new(&app, &wrong), -EINVAL);
    wrong = rig->options;
    wrong.registry = NULL;
    assert_int_equal(weft_app_new(&app, &wrong), -EINVAL);
    wrong = rig->options;
    wrong.instance_count = 0;
    assert_int_equal(weft_app_new(&app, &wrong), -EINVAL);
    wrong.instance_count = 1;
    wrong.instances = NULL;
    assert_int_equal(weft_app_new(&app, &wrong), -EINVAL);
    int64_t *const limits[] = {&wrong.lame_duck_ms, &wrong.grace_ms, &wrong.deregister_timeout_ms};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        wrong = rig->options;
        *limits[i] = -2;
        assert_int_equal(weft_app_new(&app, &wrong), -EINVAL);
    }
    wrong.deregister_timeout_ms = -1; /* a time without an end */
    assert_int_equal(weft_app_new(&app, &wrong), -EINVAL);
    wrong = rig->options;
    wrong.struct_size = 0;
    assert_int_equal(weft_app_new(&app, &wrong), -EINVAL);
    rig->instances[0].struct_size = 0;
    assert_int_equal(weft_app_new(&app, &rig->options), -EINVAL);
    assert_null(app);
}

static void options_of_a_newer_version_are_taken_if_they_ask_for_nothing_new(void **state)
{
    struct rig *rig = *state;
    struct {
        weft_app_options known;
        int64_t unknown;
    } newer = {rig->options, 1};
    newer.known.struct_size = sizeof newer;
    assert_int_equal(weft_app_new(&rig->app, &newer.known), -E2BIG);
    newer.unknown = 0;
    assert_int_equal(weft_app_new(&rig->app, &newer.known), 0);
}

static void a_life_is_lived_once(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(run(rig), 0);
    assert_int_equal(weft_app_run(rig->app), -EALREADY);
    weft_app_stop(rig->app);
    weft_app_stop(rig->app);
    assert_int_equal(weft_app_phase(rig->app), WEFT_PHASE_STOPPED);
    weft_app_free(NULL);
}

static weft_code run_inside(weft_call *inbound, const User__GetUserRequest *request, User__GetUserResponse *response,
                            void *self)
{
    struct rig *rig = self;
    (void)inbound;
    (void)request;
    (void)response;
    return weft_app_run(rig->app) == -EDEADLK ? WEFT_OK : WEFT_INTERNAL;
}

static void call_the_handler(struct rig *rig, weft_phase phase)
{
    if (phase == WEFT_PHASE_SERVING)
        assert_int_equal(call(rig, rig->channel), WEFT_OK);
}

static void a_handler_cannot_run_its_app(void **state)
{
    static const user_UserService_ops inside = {.GetUser = run_inside};
    struct rig *rig = set_up_rig(false, &inside);
    rig->look = call_the_handler;
    assert_int_equal(run(rig), 0);
    *state = rig;
    tear_down(state);
}

/* In a child none of the library's threads are there. */
static void after_fork_it_is_refused(void **state)
{
    struct rig *rig = *state;
    int status;
    assert_int_equal(weft_app_new(&rig->app, &rig->options), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)raise(weft_app_run(rig->app) == -ECHILD ? SIGKILL : SIGUSR1);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

/* ---- with threads ------------------------------------------------------------------------------------------------ */

static weft_code wait_until_cancelled(weft_call *inbound, const User__GetUserRequest *request,
                                      User__GetUserResponse *response, void *self)
{
    struct rig *rig = self;
    (void)request;
    (void)response;
    weft__event_post(&rig->handling);
    while (!weft_call_cancelled(inbound))
        sched_yield();
    return WEFT_CANCELLED;
}

static int set_up_threaded(void **state)
{
    static const user_UserService_ops waits = {.GetUser = wait_until_cancelled};
    struct rig *rig = set_up_rig(true, &waits);
    rig->stops = 0;
    *state = rig;
    return 0;
}

static void *run_apart(void *arg)
{
    struct rig *rig = arg;
    rig->rc = weft_app_run(rig->app);
    return NULL;
}

static pthread_t begin(struct rig *rig)
{
    pthread_t thread;
    assert_int_equal(weft_app_new(&rig->app, &rig->options), 0);
    assert_int_equal(pthread_create(&thread, NULL, run_apart, rig), 0);
    assert_int_equal(weft__event_wait(&rig->phases[WEFT_PHASE_SERVING], INT64_MAX), 0);
    return thread;
}

static void end(struct rig *rig, pthread_t thread)
{
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(rig->rc, 0);
    assert_int_equal(weft_app_phase(rig->app), WEFT_PHASE_STOPPED);
}

static void any_thread_may_stop_it_and_the_lame_duck_ends_by_time(void **state)
{
    struct rig *rig = *state;
    pthread_t thread = begin(rig);
    assert_int_equal(weft_app_phase(rig->app), WEFT_PHASE_SERVING);
    weft_app_stop(rig->app);
    assert_int_equal(weft__event_wait(&rig->phases[WEFT_PHASE_LAME_DUCK], INT64_MAX), 0);
    weft_test_advance(rig->engine, 3 * SECOND_NS - 1);
    assert_int_equal(weft_app_phase(rig->app), WEFT_PHASE_LAME_DUCK);
    weft_test_advance(rig->engine, 1);
    end(rig, thread);
    assert_int_equal(stats_of(rig).phases[WEFT_PHASE_LAME_DUCK].ns, 3 * SECOND_NS);
}

static void *call_apart(void *arg)
{
    struct rig *rig = arg;
    return (void *)(intptr_t)call(rig, rig->channel);
}

/* A call that runs holds up the drain for as long as it likes, until the second stop. */
static void stop_twice_while_a_call_runs(struct rig *rig, weft_phase last)
{
    pthread_t caller;
    void *code;
    rig->options.grace_ms = -1;
    pthread_t thread = begin(rig);
    assert_int_equal(pthread_create(&caller, NULL, call_apart, rig), 0);
    assert_int_equal(weft__event_wait(&rig->handling, INT64_MAX), 0);
    weft_app_stop(rig->app);
    assert_int_equal(weft__event_wait(&rig->phases[last], INT64_MAX), 0);
    while (last == WEFT_PHASE_DRAINING && !atomic_load(&rig->server->shut_down))
        sched_yield(); /* it waits for nothing but the call */
    weft_app_stop(rig->app);
    end(rig, thread);
    assert_int_equal(pthread_join(caller, &code), 0);
    assert_int_equal((intptr_t)code, WEFT_UNAVAILABLE);
}

static void a_second_stop_in_the_lame_duck_cancels_what_runs(void **state)
{
    stop_twice_while_a_call_runs(*state, WEFT_PHASE_LAME_DUCK);
}

static void a_second_stop_in_the_drain_cancels_what_runs(void **state)
{
    struct rig *rig = *state;
    rig->options.lame_duck_ms = -1;
    stop_twice_while_a_call_runs(rig, WEFT_PHASE_DRAINING);
}

static void a_server_on_a_loop_is_refused(void **state)
{
    struct rig *rig = *state;
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    weft_server *server;
    assert_int_equal(weft_loop_new(&options.loop), 0);
    assert_int_equal(weft_server_new(&server, rig->engine, &options), 0);
    rig->options.server = server;
    assert_int_equal(weft_app_new(&rig->app, &rig->options), -ENOTSUP);
    assert_null(rig->app);
    weft_server_free(server);
    assert_int_equal(weft_loop_free(options.loop), 0);
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

static void signals_that_are_not_blocked_are_not_waited_for(void **state)
{
    struct rig *rig = *state;
    sigset_t both;
    sigset_t before;
    sigemptyset(&both);
    sigaddset(&both, SIGTERM);
    sigaddset(&both, SIGINT);
    assert_int_equal(pthread_sigmask(SIG_UNBLOCK, &both, &before), 0);
    rig->options.handle_signals = true;
    assert_int_equal(run(rig), -EINVAL);
    assert_string_equal(rig->steps, "");
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    assert_int_equal(weft_app_run(rig->app), 0); /* it has not been lived yet */
}

static void a_signal_stops_and_another_one_ends_the_waiting(void **state)
{
    struct rig *rig = *state;
    rig->options.handle_signals = true;
    pthread_t thread = begin(rig);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    assert_int_equal(weft__event_wait(&rig->phases[WEFT_PHASE_LAME_DUCK], INT64_MAX), 0);
    assert_int_equal(kill(getpid(), SIGINT), 0);
    end(rig, thread); /* though time stands still */
    assert_int_equal(stats_of(rig).stops, 2);
}

static weft_code never_return(weft_call *inbound, const User__GetUserRequest *request, User__GetUserResponse *response,
                              void *self)
{
    struct rig *rig = self;
    (void)inbound;
    (void)request;
    (void)response;
    weft__event_post(&rig->handling);
    while (pause() < 0)
        continue;
    return WEFT_INTERNAL;
}

/* In a child. It has a handler that does not end, and so does not end by itself either. */
static void be_killed_by_the_third_signal(void)
{
    static const user_UserService_ops stuck = {.GetUser = never_return};
    pthread_t caller;
    (void)alarm(60); /* instead of hanging */
    struct rig *rig = set_up_rig(true, &stuck);
    rig->stops = 0;
    rig->options.handle_signals = true;
    (void)begin(rig);
    (void)pthread_create(&caller, NULL, call_apart, rig);
    (void)weft__event_wait(&rig->handling, INT64_MAX);
    (void)kill(getpid(), SIGTERM);
    (void)weft__event_wait(&rig->phases[WEFT_PHASE_LAME_DUCK], INT64_MAX); /* or the kernel makes one of two */
    for (;;)
        (void)kill(getpid(), SIGTERM);
}

static void the_third_signal_has_its_usual_effect(void **state)
{
    int status;
    (void)state;
    pid_t child = fork();
    if (child == 0)
        be_killed_by_the_third_signal();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
}

/* ---- out of memory ----------------------------------------------------------------------------------------------- */

/* A whole life with two instances. The events stay, of all else there is nothing yet. */
static int live(void *context)
{
    struct rig *rig = context;
    memset(rig, 0, offsetof(struct rig, phases));
    int rc = make(rig, false, &ops);
    if (rc == 0) {
        fill(rig);
        rig->options.instance_count = INSTANCES;
        rc = weft_app_new(&rig->app, &rig->options);
    }
    if (rc == 0)
        rc = weft_app_run(rig->app);
    assert_int_equal(rig->directory.held, 0);
    unmake(rig);
    return rc;
}

static void it_survives_the_failure_of_each_allocation(void **state)
{
    struct rig *rig = *state;
    unmake(rig);
    assert_true(weft_test_oom_sweep(live, rig) > 20);
    memset(rig, 0, offsetof(struct rig, phases));
    assert_int_equal(make(rig, false, &ops), 0);
}

#define CASE(test)     cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define THREADED(test) cmocka_unit_test_setup_teardown(test, set_up_threaded, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(each_phase_does_its_part_in_the_order_in_which_no_call_fails),
        CASE(each_phase_is_counted),
        CASE(statistics_are_filled_as_far_as_the_caller_knows_them),
        CASE(every_phase_has_a_name),
        CASE(without_a_directory_there_is_no_lame_duck),
        CASE(the_lame_duck_lasts_as_long_as_it_is_told),
        CASE(there_may_be_no_lame_duck_beside_a_directory),
        CASE(a_second_stop_ends_the_lame_duck),
        CASE(who_is_told_to_stop_before_it_runs_starts_nothing),
        CASE(who_is_told_to_stop_while_it_registers_takes_that_back),
        CASE(a_stepped_app_that_nobody_can_stop_says_so),
        CASE(a_deregistration_that_fails_is_counted_and_changes_nothing_else),
        CASE(all_deregistrations_together_take_no_longer_than_their_time),
        CASE(what_one_deregistration_leaves_of_the_time_is_the_others),
        CASE(an_instance_that_cannot_be_registered_ends_it_at_once_and_the_others_are_taken_back),
        CASE(an_instance_of_a_newer_version_is_not_registered_in_part),
        CASE(instances_of_a_newer_version_are_registered_if_they_ask_for_nothing_new),
        CASE(a_server_that_cannot_start_is_never_registered),
        CASE(options_that_make_no_sense_are_refused),
        CASE(options_of_a_newer_version_are_taken_if_they_ask_for_nothing_new),
        CASE(a_life_is_lived_once),
        cmocka_unit_test(a_handler_cannot_run_its_app),
        CASE(after_fork_it_is_refused),
        THREADED(any_thread_may_stop_it_and_the_lame_duck_ends_by_time),
        THREADED(a_second_stop_in_the_lame_duck_cancels_what_runs),
        THREADED(a_second_stop_in_the_drain_cancels_what_runs),
        THREADED(a_server_on_a_loop_is_refused),
        CASE(signals_that_are_not_blocked_are_not_waited_for),
        THREADED(a_signal_stops_and_another_one_ends_the_waiting),
        cmocka_unit_test(the_third_signal_has_its_usual_effect),
        CASE(it_survives_the_failure_of_each_allocation),
    };
    if (weft_app_block_signals() != 0) /* before the first thread */
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
