/* The registry against an agent that says what the test wants. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft/consul.h>

#include "integration/consul/fake.h"
#include "integration/consul/sink.h"

#define REGISTER   "PUT /v1/agent/service/register"
#define UPDATE     "PUT /v1/agent/check/update/"
#define MAINTAIN   "PUT /v1/agent/service/maintenance/"
#define DEREGISTER "PUT /v1/agent/service/deregister/"

struct rig {
    struct fake *fake;
    weft_consul *consul;
    weft_registry *registry;
    weft_registration *registration;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    weft_registration_state states[64];
    char texts[64][128];
    unsigned count;
    unsigned read;
};

static void on_state(void *arg, weft_registration_state state, const char *text)
{
    struct rig *rig = arg;
    pthread_mutex_lock(&rig->lock);
    rig->states[rig->count % 64] = state;
    snprintf(rig->texts[rig->count++ % 64], sizeof rig->texts[0], "%s", text);
    pthread_cond_broadcast(&rig->changed);
    pthread_mutex_unlock(&rig->lock);
}

/* Waits for the next change of state; returns what was said of it. */
static const char *next_state(struct rig *rig, weft_registration_state expected)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += DEADLINE_MS / 1000;
    pthread_mutex_lock(&rig->lock);
    int error = 0;
    while (rig->read == rig->count && error == 0)
        error = pthread_cond_timedwait(&rig->changed, &rig->lock, &deadline);
    unsigned at = rig->read++ % 64;
    pthread_mutex_unlock(&rig->lock);
    assert_int_equal(error, 0);
    assert_int_equal(rig->states[at], expected);
    return rig->texts[at];
}

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->fake = fake_new();
    pthread_mutex_init(&rig->lock, NULL);
    pthread_cond_init(&rig->changed, NULL);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    fake_stop(rig->fake);
    assert_int_equal(weft_registry_deregister(rig->registry, rig->registration, 1), rig->registration ? -ETIMEDOUT : 0);
    assert_int_equal(weft_consul_free(rig->consul), 0);
    fake_free(rig->fake);
    pthread_cond_destroy(&rig->changed);
    pthread_mutex_destroy(&rig->lock);
    free(rig);
    return 0;
}

static void make_client(struct rig *rig, int64_t reassert_ms)
{
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    options.no_environment = true;
    options.address = fake_address(rig->fake);
    options.backoff_ms = 1;
    options.reassert_ms = reassert_ms;
    assert_int_equal(weft_consul_new(&rig->consul, &options, NULL, 0), 0);
    rig->registry = weft_consul_registry(rig->consul);
}

static const weft_check ttl = {.kind = WEFT_CHECK_TTL, .interval_ms = 60000};
static const weft_check quick_ttl = {.kind = WEFT_CHECK_TTL, .interval_ms = 1000};

static void add(struct rig *rig, const weft_check *checks, size_t count)
{
    char reason[256] = "";
    weft_instance instance = WEFT_INSTANCE_INIT;
    instance.service = "users";
    instance.id = "users-1";
    instance.address = "10.0.0.1";
    instance.port = 50051;
    instance.checks = checks;
    instance.check_count = count;
    instance.on_state = on_state;
    instance.arg = rig;
    int rc = weft_registry_register(rig->registry, &instance, &rig->registration, reason, sizeof reason);
    if (rc != 0)
        fail_msg("register: %d %s", rc, reason);
}

static void accept_registration(struct rig *rig)
{
    fake_answer(fake_next(rig->fake, REGISTER), 200, -1, "");
    next_state(rig, WEFT_REGISTRATION_REGISTERED);
}

static weft_registration_counters count(struct rig *rig)
{
    weft_registration_counters counters = WEFT_REGISTRATION_COUNTERS_INIT;
    assert_int_equal(weft_registration_count(rig->registry, rig->registration, &counters), 0);
    return counters;
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" has no \"%s\"", text, part);
}

/* Deregisters on a thread of its own, since that waits for the answer that the test gives. */
struct removal {
    struct rig *rig;
    int64_t timeout_ms;
    int rc;
    pthread_t thread;
};

static void *remove_now(void *arg)
{
    struct removal *removal = arg;
    removal->rc = weft_registry_deregister(removal->rig->registry, removal->rig->registration, removal->timeout_ms);
    return NULL;
}

static void begin_removal(struct removal *removal, struct rig *rig, int64_t timeout_ms)
{
    *removal = (struct removal){.rig = rig, .timeout_ms = timeout_ms};
    assert_int_equal(pthread_create(&removal->thread, NULL, remove_now, removal), 0);
}

static int end_removal(struct removal *removal)
{
    pthread_join(removal->thread, NULL);
    removal->rig->registration = NULL;
    return removal->rc;
}

/* ------------------------------------------------------------------------------------------------------------------ */

static void an_instance_is_registered_and_replaces_what_was_there(void **state)
{
    struct rig *rig = *state;
    make_client(rig, 0);
    add(rig, NULL, 0);
    assert_int_equal(weft_registration_now(rig->registry, rig->registration), WEFT_REGISTRATION_PENDING);
    fake_request *request = fake_next(rig->fake, REGISTER);
    assert_string_equal(fake_line(request), REGISTER "?replace-existing-checks=true");
    assert_has(fake_body(request), "\"ID\":\"users-1\"");
    assert_has(fake_body(request), "\"Name\":\"users\"");
    fake_answer(request, 200, -1, "");
    next_state(rig, WEFT_REGISTRATION_REGISTERED);
    assert_int_equal(weft_registration_now(rig->registry, rig->registration), WEFT_REGISTRATION_REGISTERED);
    assert_int_equal(weft_consul_free(rig->consul), -EBUSY);
}

static void a_refused_registration_is_told_and_tried_again(void **state)
{
    struct rig *rig = *state;
    make_client(rig, 0);
    add(rig, NULL, 0);
    fake_answer(fake_next(rig->fake, REGISTER), 403, -1, "Permission denied: Missing service:write on users");
    assert_has(next_state(rig, WEFT_REGISTRATION_PENDING), "HTTP 403: Permission denied");
    accept_registration(rig);
    assert_int_equal(count(rig).failures, 1);
    assert_int_equal(count(rig).registrations, 1);
}

static void an_agent_that_is_down_is_tried_until_it_is_there(void **state)
{
    struct rig *rig = *state;
    make_client(rig, 0);
    fake_stop(rig->fake);
    add(rig, NULL, 0);
    next_state(rig, WEFT_REGISTRATION_PENDING);
    fake_start(rig->fake);
    accept_registration(rig);
}

static void a_ttl_check_is_reported_at_once_and_every_third_of_it(void **state)
{
    struct rig *rig = *state;
    make_client(rig, 0);
    add(rig, &quick_ttl, 1);
    accept_registration(rig);
    for (int i = 0; i < 3; i++) {
        fake_request *request = fake_next(rig->fake, UPDATE);
        assert_string_equal(fake_line(request), UPDATE "users-1%3Attl");
        assert_string_equal(fake_body(request), "{\"Status\":\"passing\",\"Output\":\"\"}");
        fake_answer(request, 200, -1, "");
    }
}

static void what_the_program_says_of_its_health_is_reported_at_once(void **state)
{
    struct rig *rig = *state;
    make_client(rig, 0);
    add(rig, &ttl, 1);
    accept_registration(rig);
    fake_answer(fake_next(rig->fake, UPDATE), 200, -1, "");
    assert_int_equal(weft_registration_set_health(rig->registry, rig->registration, WEFT_INSTANCE_UNHEALTHY, "disk"),
                     0);
    fake_request *request = fake_next(rig->fake, UPDATE);
    assert_string_equal(fake_body(request), "{\"Status\":\"critical\",\"Output\":\"disk\"}");
    /* What changes while a report is under way is reported after it. */
    assert_int_equal(weft_registration_set_health(rig->registry, rig->registration, WEFT_INSTANCE_UNKNOWN, NULL), 0);
    fake_answer(request, 200, -1, "");
    assert_has(fake_body(fake_next(rig->fake, UPDATE)), "warning");
    assert_int_equal(weft_registration_set_health(rig->registry, rig->registration, WEFT_INSTANCE_DRAINING, NULL),
                     -EINVAL);
}

static void an_instance_that_the_agent_has_lost_is_registered_again(void **state)
{
    struct rig *rig = *state;
    make_client(rig, 0);
    add(rig, &ttl, 1);
    accept_registration(rig);
    fake_answer(fake_next(rig->fake, UPDATE), 500, -1, "CheckID \"users-1:ttl\" does not have associated TTL");
    next_state(rig, WEFT_REGISTRATION_PENDING);
    accept_registration(rig);
    fake_answer(fake_next(rig->fake, UPDATE), 404, -1, "Unknown check ID \"users-1:ttl\"");
    next_state(rig, WEFT_REGISTRATION_PENDING);
    accept_registration(rig);
    fake_next(rig->fake, UPDATE);
    assert_int_equal(count(rig).losses, 2);
    assert_int_equal(count(rig).registrations, 3);
}

static void an_instance_without_reports_is_registered_again_every_so_often(void **state)
{
    struct rig *rig = *state;
    make_client(rig, 20);
    add(rig, NULL, 0);
    accept_registration(rig);
    for (int i = 0; i < 3; i++)
        fake_answer(fake_next(rig->fake, REGISTER), 200, -1, "");
}

static void a_watch_that_comes_back_has_the_instances_registered_again(void **state)
{
    struct rig *rig = *state;
    weft_sink *sink = sink_new();
    weft_watch *watch;
    char reason[256];
    make_client(rig, 0);
    add(rig, NULL, 0);
    accept_registration(rig);
    weft_resolver *resolver = weft_consul_resolver(rig->consul);
    assert_int_equal(sink_watch(resolver, "consul:///orders", sink, &watch, reason), 0);
    fake_answer(fake_next(rig->fake, "GET "), 500, -1, "No cluster leader");
    fake_answer(fake_next(rig->fake, "GET "), 200, 1, "[]");
    fake_answer(fake_next(rig->fake, REGISTER), 200, -1, "");
    resolver->vtable->unwatch(resolver, watch);
    sink_free(sink);
}

static void a_draining_instance_is_in_maintenance_until_it_is_not(void **state)
{
    struct rig *rig = *state;
    make_client(rig, 20); /* and is not registered anew meanwhile */
    add(rig, NULL, 0);
    assert_int_equal(weft_registration_drain(rig->registry, rig->registration, true, "going down"), 0);
    accept_registration(rig);
    fake_request *request = fake_next(rig->fake, MAINTAIN);
    assert_string_equal(fake_line(request), MAINTAIN "users-1?enable=true&reason=going%20down");
    fake_answer(request, 200, -1, "");
    next_state(rig, WEFT_REGISTRATION_DRAINING);
    assert_false(fake_has(rig->fake, REGISTER, 60));
    assert_int_equal(weft_registration_drain(rig->registry, rig->registration, false, NULL), 0);
    request = fake_next(rig->fake, MAINTAIN);
    assert_string_equal(fake_line(request), MAINTAIN "users-1?enable=false");
    fake_answer(request, 200, -1, "");
    next_state(rig, WEFT_REGISTRATION_REGISTERED);
}

static void a_deregistered_instance_is_gone_also_when_the_agent_did_not_know_it(void **state)
{
    static const int statuses[] = {200, 404};
    struct rig *rig = *state;
    struct removal removal;
    make_client(rig, 0);
    for (size_t i = 0; i < 2; i++) {
        add(rig, NULL, 0);
        accept_registration(rig);
        begin_removal(&removal, rig, 0);
        fake_request *request = fake_next(rig->fake, DEREGISTER);
        assert_string_equal(fake_line(request), DEREGISTER "users-1");
        fake_answer(request, statuses[i], -1, "");
        assert_int_equal(end_removal(&removal), 0);
    }
}

static void a_deregistration_that_the_agent_refuses_ends(void **state)
{
    struct rig *rig = *state;
    struct removal removal;
    make_client(rig, 0);
    add(rig, NULL, 0);
    accept_registration(rig);
    begin_removal(&removal, rig, 0);
    fake_answer(fake_next(rig->fake, DEREGISTER), 500, -1, "not now");
    fake_answer(fake_next(rig->fake, DEREGISTER), 403, -1, "Permission denied");
    assert_int_equal(end_removal(&removal), -EACCES);
}

static void a_deregistration_is_bounded_in_time(void **state)
{
    struct rig *rig = *state;
    struct removal removal;
    make_client(rig, 0);
    add(rig, NULL, 0);
    accept_registration(rig);
    begin_removal(&removal, rig, 100);
    fake_next(rig->fake, DEREGISTER);
    assert_int_equal(end_removal(&removal), -ETIMEDOUT);
}

static void a_registration_that_hangs_is_undone_too(void **state)
{
    struct rig *rig = *state;
    struct removal removal;
    make_client(rig, 0);
    add(rig, NULL, 0);
    fake_next(rig->fake, REGISTER); /* the agent has it, and has not answered */
    begin_removal(&removal, rig, 400);
    fake_answer(fake_next(rig->fake, DEREGISTER), 200, -1, "");
    assert_int_equal(end_removal(&removal), 0);
}

static void what_cannot_be_registered_is_refused_with_a_reason(void **state)
{
    struct rig *rig = *state;
    char reason[256];
    weft_registration *other;
    weft_instance instance = WEFT_INSTANCE_INIT;
    make_client(rig, 0);
    add(rig, NULL, 0);
    accept_registration(rig);
    assert_int_equal(weft_registry_register(rig->registry, &instance, &other, reason, sizeof reason), -EINVAL);
    assert_has(reason, "service: a name is required");
    instance.service = "users";
    instance.port = 1;
    instance.id = "users-1";
    assert_int_equal(weft_registry_register(rig->registry, &instance, &other, reason, sizeof reason), -EEXIST);
    assert_int_equal(weft_registration_set_health(rig->registry, rig->registration, WEFT_INSTANCE_HEALTHY, NULL),
                     -ENOENT);
    assert_int_equal(weft_registry_deregister(rig->registry, rig->registration, -1), -EINVAL);
    instance.struct_size = 0;
    assert_int_equal(weft_registry_register(rig->registry, &instance, &other, NULL, 0), -EINVAL);
}

static void a_forked_child_is_refused(void **state)
{
    struct rig *rig = *state;
    make_client(rig, 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        weft_instance instance = WEFT_INSTANCE_INIT;
        weft_registration *other;
        instance.service = "users";
        instance.port = 1;
        bool refused = weft_registry_register(rig->registry, &instance, &other, NULL, 0) == -ECHILD &&
                       weft_consul_free(rig->consul) == -ECHILD;
        _exit(refused ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_instance_is_registered_and_replaces_what_was_there),
        CASE(a_refused_registration_is_told_and_tried_again),
        CASE(an_agent_that_is_down_is_tried_until_it_is_there),
        CASE(a_ttl_check_is_reported_at_once_and_every_third_of_it),
        CASE(what_the_program_says_of_its_health_is_reported_at_once),
        CASE(an_instance_that_the_agent_has_lost_is_registered_again),
        CASE(an_instance_without_reports_is_registered_again_every_so_often),
        CASE(a_watch_that_comes_back_has_the_instances_registered_again),
        CASE(a_draining_instance_is_in_maintenance_until_it_is_not),
        CASE(a_deregistered_instance_is_gone_also_when_the_agent_did_not_know_it),
        CASE(a_deregistration_that_the_agent_refuses_ends),
        CASE(a_deregistration_is_bounded_in_time),
        CASE(a_registration_that_hangs_is_undone_too),
        CASE(what_cannot_be_registered_is_refused_with_a_reason),
        CASE(a_forked_child_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
