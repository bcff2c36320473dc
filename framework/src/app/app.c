/* app.c: the life of a service's process (the states are drawn in weft/app.h).
 *
 * Design notes
 * - One thread lives it, that of weft_app_run: it alone changes the phase, and does what each phase is there for. All
 *   others can do no more than ask, by weft_app_stop, which counts: the first posts `stop`, the second `hurry`.
 * - A life that fails to start takes the same way out as any other, in a hurry. So whatever was begun is undone in one
 *   place and in one order, and each step there is right for what was never begun.
 * - All waiting is on the engine's clock, so that tests live a life in virtual time. The deregistration waits on the
 *   registry's.
 * - Nothing of the server is changed but by its own functions: it may as well be stopped by somebody else.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/app.h>

#include "app/notify.h"
#include "app/signals.h"
#include "base/options.h"
#include "base/thread.h"
#include "server/server.h"

static const int64_t ns_per_ms = 1000000;

struct weft_app {
    weft_app_options options; /* normalized: INT64_MAX is "none" */
    weft_engine *engine;
    weft__event stop;
    weft__event hurry;
    atomic_uint_least64_t stops;
    atomic_bool running;               /* or has been */
    bool started;                      /* the server has */
    weft_registration **registrations; /* stats.registered of them have been there */
    size_t registration_count;         /* and so many are now */

    pthread_mutex_t lock;  /* of the rest */
    weft_app_stats stats;  /* of the present phase nothing yet */
    int64_t began_ns;      /* the present phase … */
    uint64_t calls_before; /* … and the calls that had come by then */
};

/* ---- phases ------------------------------------------------------------------------------------------------------ */

const char *weft_phase_name(weft_phase phase)
{
    static const char *const names[] = {
        [WEFT_PHASE_NEW] = "new",
        [WEFT_PHASE_STARTING] = "starting",
        [WEFT_PHASE_SERVING] = "serving",
        [WEFT_PHASE_NOT_SERVING] = "not serving",
        [WEFT_PHASE_DEREGISTERING] = "deregistering",
        [WEFT_PHASE_CLOSING] = "closing",
        [WEFT_PHASE_LAME_DUCK] = "lame duck",
        [WEFT_PHASE_DRAINING] = "draining",
        [WEFT_PHASE_STOPPED] = "stopped",
    };
    size_t index = (size_t)phase;
    return index < sizeof names / sizeof *names ? names[index] : "unknown";
}

static uint64_t calls_so_far(const weft_app *app)
{
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    (void)weft_server_read_stats(app->options.server, &stats); /* fails for another struct_size only */
    return stats.calls_started;
}

/* What the present phase has come to. */
static weft_phase_stats present_locked(const weft_app *app)
{
    int64_t now_ns = weft_engine_now_ns(app->engine);
    return (weft_phase_stats){.ns = now_ns - app->began_ns, .calls = calls_so_far(app) - app->calls_before};
}

/* What the service manager hears of: that the process is ready, and that it stops; and its phase, for people. */
static void notify(weft_app *app, weft_phase phase)
{
    char state[64];
    const char *event = phase == WEFT_PHASE_SERVING       ? "READY=1\n"
                        : phase == WEFT_PHASE_NOT_SERVING ? "STOPPING=1\n"
                                                          : "";
    snprintf(state, sizeof state, "%sSTATUS=%s", event, weft_phase_name(phase));
    int rc = weft__notify(state);
    if (rc < 0)
        weft_log_warn(app->options.log, "cannot tell the service manager",
                      WEFT_FIELDS(WEFT_STR("error", strerror(-rc))));
}

static void enter(weft_app *app, weft_phase phase)
{
    const weft_app_options *options = &app->options;
    pthread_mutex_lock(&app->lock);
    weft_phase last = app->stats.phase;
    weft_phase_stats took = present_locked(app);
    app->stats.phases[last] = took;
    app->stats.phase = phase;
    app->began_ns += took.ns;
    app->calls_before += took.calls;
    pthread_mutex_unlock(&app->lock);
    weft_log_info(options->log, "phase",
                  WEFT_FIELDS(WEFT_STR("phase", weft_phase_name(phase)), WEFT_STR("after", weft_phase_name(last)),
                              WEFT_INT("after_ms", took.ns / ns_per_ms), WEFT_INT("after_calls", took.calls)));
    if (options->notify)
        notify(app, phase);
    if (options->on_phase != NULL)
        options->on_phase(options->arg, phase);
}

/* Counts what has become of instances. */
static void count(weft_app *app, uint64_t *counter)
{
    pthread_mutex_lock(&app->lock);
    ++*counter;
    pthread_mutex_unlock(&app->lock);
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

static bool is_asked_to_stop(weft_app *app)
{
    return atomic_load(&app->stops) > 0;
}

static int start_server(weft_app *app)
{
    weft_server *server = app->options.server;
    const char *address;
    int rc = weft_server_start(server);
    if (rc < 0) {
        weft_log_error(app->options.log, "cannot serve", WEFT_FIELDS(WEFT_STR("error", strerror(-rc))));
        return rc;
    }
    app->started = true;
    for (size_t i = 0; (address = weft_server_address(server, i)) != NULL; i++)
        weft_log_info(app->options.log, "listening", WEFT_FIELDS(WEFT_STR("address", address)));
    return 0;
}

/* 0: there is none. */
static int first_port(const weft_server *server)
{
    int port = 0;
    for (size_t i = 0; port == 0 && weft_server_address(server, i) != NULL; i++)
        port = weft_server_port(server, i);
    return port;
}

static int register_instance(weft_app *app, const weft_instance *given)
{
    char reason[256] = "";
    weft_instance instance;
    memset(&instance, 0, sizeof instance);
    int rc = weft__options_copy(&instance, sizeof instance, given);
    instance.struct_size = sizeof instance;
    if (rc == 0 && instance.port == 0)
        instance.port = first_port(app->options.server);
    if (rc == 0)
        rc = weft_registry_register(app->options.registry, &instance, &app->registrations[app->registration_count],
                                    reason, sizeof reason);
    if (rc < 0) {
        weft_log_error(app->options.log, "cannot register",
                       WEFT_FIELDS(WEFT_STR("service", given->service), WEFT_STR("error", strerror(-rc)),
                                   WEFT_STR("reason", reason)));
        return rc;
    }
    app->registration_count++;
    count(app, &app->stats.registered);
    return 0;
}

/* The instance after this one: they are as large as the caller's headers made them. */
static const weft_instance *next_instance(const weft_instance *instance)
{
    return (const weft_instance *)(const void *)((const char *)instance + instance->struct_size);
}

static int start(weft_app *app)
{
    const weft_instance *instance = app->options.instances;
    int rc = is_asked_to_stop(app) ? 0 : start_server(app);
    for (size_t i = 0; i < app->options.instance_count && rc == 0 && !is_asked_to_stop(app); i++) {
        rc = register_instance(app, instance);
        instance = next_instance(instance);
    }
    return rc;
}

/* ---- the way out ------------------------------------------------------------------------------------------------- */

/* The last registered goes first. All share one time; what is left of it when it is over is a try each. */
static void deregister(weft_app *app)
{
    int64_t timeout_ms = app->options.deregister_timeout_ms;
    int64_t begin_ns = weft_engine_now_ns(app->engine);
    while (app->registration_count > 0) {
        int64_t left_ms = timeout_ms - (weft_engine_now_ns(app->engine) - begin_ns) / ns_per_ms;
        weft_registration *last = app->registrations[--app->registration_count];
        int rc = weft_registry_deregister(app->options.registry, last, left_ms > 1 ? left_ms : 1);
        count(app, rc == 0 ? &app->stats.deregistered : &app->stats.deregister_failures);
        if (rc < 0)
            weft_log_warn(app->options.log, "cannot deregister", WEFT_FIELDS(WEFT_STR("error", strerror(-rc))));
    }
}

static void be_lame_duck(weft_app *app)
{
    int64_t ms = app->options.lame_duck_ms;
    if (!app->started || ms == INT64_MAX)
        return;
    int64_t ns = ms < INT64_MAX / ns_per_ms ? ms * ns_per_ms : INT64_MAX;
    (void)weft__engine_wait(app->engine, &app->hurry, weft__clock_deadline_ns(app->began_ns, ns));
}

static int leave(weft_app *app)
{
    const weft_app_options *options = &app->options;
    enter(app, WEFT_PHASE_NOT_SERVING);
    if (options->health != NULL)
        weft_health_shutdown(options->health);
    enter(app, WEFT_PHASE_DEREGISTERING);
    deregister(app);
    enter(app, WEFT_PHASE_CLOSING);
    (void)weft_server_stop_accepting(options->server); /* one that has not started refuses, and is closed below */
    enter(app, WEFT_PHASE_LAME_DUCK);
    be_lame_duck(app);
    enter(app, WEFT_PHASE_DRAINING);
    int rc = weft_server_stop(options->server, options->grace_ms == INT64_MAX ? -1 : options->grace_ms);
    if (rc == 0)
        enter(app, WEFT_PHASE_STOPPED);
    return rc;
}

/* ---- the life ---------------------------------------------------------------------------------------------------- */

static void end_waiting(weft_app *app)
{
    app->engine->vtable->post(app->engine, &app->hurry);
    weft__server_hurry(app->options.server);
}

void weft_app_stop(weft_app *app)
{
    uint64_t before = atomic_fetch_add(&app->stops, 1);
    if (before == 0)
        app->engine->vtable->post(app->engine, &app->stop);
    else if (before == 1)
        end_waiting(app);
}

static bool on_signal(void *arg, int number)
{
    weft_app *app = arg;
    weft_log_info(app->options.log, "signal", WEFT_FIELDS(WEFT_INT("signal", number)));
    if (number == SIGHUP && app->options.on_hangup != NULL) {
        app->options.on_hangup(app->options.arg);
        return false;
    }
    weft_app_stop(app);
    return true;
}

static int live(weft_app *app)
{
    enter(app, WEFT_PHASE_STARTING);
    int rc = start(app);
    if (rc == 0 && app->started) { /* and maybe been asked to stop meanwhile */
        enter(app, WEFT_PHASE_SERVING);
        rc = weft__engine_wait(app->engine, &app->stop, INT64_MAX);
    }
    if (rc < 0)
        end_waiting(app);
    int left = leave(app);
    return rc < 0 ? rc : left;
}

int weft_app_run(weft_app *app)
{
    weft__signals signals;
    weft_server *server = app->options.server;
    if (weft__engine_forked(app->engine))
        return -ECHILD;
    if (weft__thread_is_loop() || weft__server_on_worker(server))
        return -EDEADLK;
    if (atomic_exchange(&app->running, true))
        return -EALREADY;
    int rc = app->options.handle_signals ? weft__signals_start(&signals, on_signal, app) : 0;
    if (rc < 0) {
        weft_log_error(app->options.log, "cannot take signals", WEFT_FIELDS(WEFT_STR("error", strerror(-rc))));
        atomic_store(&app->running, false);
        return rc;
    }
    rc = live(app);
    if (app->options.handle_signals)
        weft__signals_end(&signals);
    return rc;
}

/* ---- the object -------------------------------------------------------------------------------------------------- */

static bool are_instances(const weft_app_options *options)
{
    const weft_instance *instance = options->instances;
    if ((options->registry != NULL) != (options->instance_count > 0) ||
        (instance == NULL && options->instance_count > 0))
        return false;
    for (size_t i = 0; i < options->instance_count; i++) {
        if (instance->struct_size == 0)
            return false;
        instance = next_instance(instance);
    }
    return true;
}

static int read_options(weft_app_options *out, const weft_app_options *options)
{
    weft_app_options o;
    memset(&o, 0, sizeof o);
    int rc = weft__options_copy(&o, sizeof o, options);
    if (rc < 0)
        return rc;
    if (o.server == NULL || !are_instances(&o))
        return -EINVAL;
    if (o.server->options.loop != NULL)
        return -ENOTSUP;
    rc = weft__limit(&o.lame_duck_ms, o.registry != NULL ? 3000 : INT64_MAX, 1);
    if (rc == 0)
        rc = weft__limit(&o.grace_ms, 10000, 1);
    if (rc == 0)
        rc = weft__limit(&o.deregister_timeout_ms, 5000, 1);
    if (rc == 0 && o.deregister_timeout_ms == INT64_MAX) /* "none" is no length of time */
        rc = -EINVAL;
    if (rc < 0)
        return rc;
    *out = o;
    return 0;
}

static int init(weft_app *app)
{
    int rc = -pthread_mutex_init(&app->lock, NULL);
    if (rc < 0)
        return rc;
    rc = weft__event_init(&app->stop);
    if (rc < 0)
        goto fail_stop;
    rc = weft__event_init(&app->hurry);
    if (rc < 0)
        goto fail_hurry;
    /* One more, since none may be NULL. */
    app->registrations = calloc(app->options.instance_count + 1, sizeof(weft_registration *));
    if (app->registrations != NULL)
        return 0;
    rc = -ENOMEM;
    weft__event_fini(&app->hurry);
fail_hurry:
    weft__event_fini(&app->stop);
fail_stop:
    pthread_mutex_destroy(&app->lock);
    return rc;
}

int weft_app_new(weft_app **out, const weft_app_options *options)
{
    weft_app_options normalized;
    int rc = read_options(&normalized, options);
    if (rc < 0)
        return rc;
    weft_app *app = calloc(1, sizeof *app);
    if (app == NULL)
        return -ENOMEM;
    app->options = normalized;
    app->engine = normalized.server->engine;
    app->began_ns = weft_engine_now_ns(app->engine);
    rc = init(app);
    if (rc < 0) {
        free(app);
        return rc;
    }
    *out = app;
    return 0;
}

weft_phase weft_app_phase(weft_app *app)
{
    pthread_mutex_lock(&app->lock);
    weft_phase phase = app->stats.phase;
    pthread_mutex_unlock(&app->lock);
    return phase;
}

int weft_app_read_stats(weft_app *app, weft_app_stats *stats)
{
    size_t size = stats->struct_size;
    if (size == 0)
        return -EINVAL;
    pthread_mutex_lock(&app->lock);
    weft_app_stats now = app->stats;
    now.phases[now.phase] = present_locked(app);
    pthread_mutex_unlock(&app->lock);
    now.struct_size = size;
    now.stops = atomic_load(&app->stops);
    memcpy(stats, &now, size < sizeof now ? size : sizeof now);
    return 0;
}

void weft_app_free(weft_app *app)
{
    if (app == NULL)
        return;
    free(app->registrations);
    weft__event_fini(&app->hurry);
    weft__event_fini(&app->stop);
    pthread_mutex_destroy(&app->lock);
    free(app);
}
