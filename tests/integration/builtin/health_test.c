/* grpc.health.v1.Health as its clients see it. The same cases on every engine. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/testing.h>

#include "grpc/health/v1/health.weft.h"
#include "integration/builtin/rig.h"

enum {
    UNKNOWN = 0,
    SERVING = 1,
    NOT_SERVING = 2,
    SERVICE_UNKNOWN = 3
};

typedef grpc_health_v1_Health_Watch_client watch_client;

static const char users[] = "user.UserService";

/* ---- what the tests do ------------------------------------------------------------------------------------------- */

static weft_status check_status(struct rig *rig, const char *service, int *status)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    Grpc__Health__V1__HealthCheckResponse *response = NULL;
    request.service = (char *)(uintptr_t)service;
    weft_status result = grpc_health_v1_Health_Check(rig->channel, rig->arena, NULL, &request, &response);
    *status = result.code == WEFT_OK ? (int)response->status : -1;
    return result;
}

static void assert_checked(struct rig *rig, const char *service, int expected)
{
    int status;
    assert_int_equal(check_status(rig, service, &status).code, WEFT_OK);
    assert_int_equal(status, expected);
}

static watch_client *watch(struct rig *rig, const char *service)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    watch_client *client = NULL;
    request.service = (char *)(uintptr_t)service;
    assert_int_equal(grpc_health_v1_Health_Watch(&client, rig->channel, NULL, &request), 0);
    return client;
}

/* The next status; -1: there are no more. */
static int next(watch_client *client)
{
    Grpc__Health__V1__HealthCheckResponse *response;
    return grpc_health_v1_Health_Watch_client_recv(client, &response) == 1 ? (int)response->status : -1;
}

static weft_code finish(struct rig *rig, watch_client *client)
{
    return grpc_health_v1_Health_Watch_client_finish(client, rig->arena).code;
}

static void cancel(struct rig *rig, watch_client *client)
{
    weft_stream_cancel(WEFT_STREAM(client));
    assert_int_equal(finish(rig, client), WEFT_CANCELLED);
}

static void set(struct rig *rig, const char *service, weft_serving status)
{
    assert_int_equal(weft_health_set(rig->health, service, status), 0);
}

/* ---- Check and List ---------------------------------------------------------------------------------------------- */

static void what_is_registered_serves_until_said_otherwise(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(rig_make(rig, NULL, NULL), 0);
    set(rig, "cache", WEFT_NOT_SERVING); /* before the start, and no service of the server */
    assert_int_equal(rig_serve(rig), 0);
    assert_checked(rig, "", SERVING);
    assert_checked(rig, users, SERVING);
    assert_checked(rig, "grpc.health.v1.Health", SERVING);
    assert_checked(rig, "cache", NOT_SERVING);
    set(rig, users, WEFT_NOT_SERVING);
    assert_checked(rig, users, NOT_SERVING);
    assert_checked(rig, "", SERVING);
    set(rig, "", WEFT_NOT_SERVING);
    set(rig, users, WEFT_SERVING);
    assert_checked(rig, "", NOT_SERVING);
    assert_checked(rig, users, SERVING);
}

static void what_was_set_before_the_start_stays(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(rig_make(rig, NULL, NULL), 0);
    set(rig, users, WEFT_NOT_SERVING);
    assert_int_equal(rig_serve(rig), 0);
    assert_checked(rig, users, NOT_SERVING);
}

static void a_service_that_nobody_knows_is_not_found(void **state)
{
    struct rig *rig = *state;
    int status;
    rig_start(rig, NULL, NULL);
    weft_status result = check_status(rig, "no.Such", &status);
    assert_int_equal(result.code, WEFT_NOT_FOUND);
    assert_string_equal(result.message, "unknown service no.Such");
    watch_client *client = watch(rig, "no.Such"); /* watching does not make it known */
    assert_int_equal(next(client), SERVICE_UNKNOWN);
    assert_int_equal(check_status(rig, "no.Such", &status).code, WEFT_NOT_FOUND);
    cancel(rig, client);
}

static void a_name_longer_than_any_service_is_refused(void **state)
{
    struct rig *rig = *state;
    char name[5000];
    int status;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    rig_start(rig, NULL, NULL);
    assert_int_equal(check_status(rig, name, &status).code, WEFT_RESOURCE_EXHAUSTED);
    watch_client *client = watch(rig, name);
    assert_int_equal(next(client), -1);
    assert_int_equal(finish(rig, client), WEFT_RESOURCE_EXHAUSTED);
}

static weft_status list(struct rig *rig, Grpc__Health__V1__HealthListResponse **response)
{
    const Grpc__Health__V1__HealthListRequest request = GRPC__HEALTH__V1__HEALTH_LIST_REQUEST__INIT;
    return grpc_health_v1_Health_List(rig->channel, rig->arena, NULL, &request, response);
}

static int listed(const Grpc__Health__V1__HealthListResponse *response, const char *service)
{
    for (size_t i = 0; i < response->n_statuses; i++)
        if (strcmp(response->statuses[i]->key, service) == 0)
            return (int)response->statuses[i]->value->status;
    return -1;
}

static void a_list_has_all_that_is_known(void **state)
{
    struct rig *rig = *state;
    Grpc__Health__V1__HealthListResponse *response = NULL;
    rig_start(rig, NULL, NULL);
    set(rig, users, WEFT_NOT_SERVING);
    watch_client *client = watch(rig, "watched.Only");
    assert_int_equal(next(client), SERVICE_UNKNOWN);
    assert_int_equal(list(rig, &response).code, WEFT_OK);
    assert_int_equal(response->n_statuses, 5); /* "", users, health, reflection twice */
    assert_int_equal(listed(response, ""), SERVING);
    assert_int_equal(listed(response, users), NOT_SERVING);
    assert_int_equal(listed(response, "grpc.reflection.v1.ServerReflection"), SERVING);
    assert_int_equal(listed(response, "watched.Only"), -1);
    cancel(rig, client);
}

static void a_list_of_more_than_a_hundred_is_refused(void **state)
{
    struct rig *rig = *state;
    Grpc__Health__V1__HealthListResponse *response = NULL;
    char name[16];
    rig_start(rig, NULL, NULL);
    for (int i = 0; i < 95; i++) {
        snprintf(name, sizeof name, "s%d", i);
        set(rig, name, WEFT_SERVING);
    }
    assert_int_equal(list(rig, &response).code, WEFT_OK);
    assert_int_equal(response->n_statuses, 100);
    set(rig, "one more", WEFT_SERVING);
    assert_int_equal(list(rig, &response).code, WEFT_RESOURCE_EXHAUSTED);
}

/* ---- Watch ------------------------------------------------------------------------------------------------------- */

static void a_watch_tells_the_status_and_then_each_change(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL, NULL);
    watch_client *client = watch(rig, users);
    assert_int_equal(next(client), SERVING);
    set(rig, users, WEFT_SERVING); /* no change */
    set(rig, "", WEFT_NOT_SERVING);
    set(rig, users, WEFT_NOT_SERVING);
    assert_int_equal(next(client), NOT_SERVING);
    set(rig, users, WEFT_SERVING);
    assert_int_equal(next(client), SERVING);
    cancel(rig, client);
    rig_wait_for_calls(rig, 0);
    set(rig, users, WEFT_NOT_SERVING); /* and nobody is told */
}

static void a_watch_of_an_unknown_service_tells_when_it_is_known(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL, NULL);
    for (int i = 0; i < 2; i++) { /* the second time all is made anew */
        watch_client *clients[] = {watch(rig, "late.Service"), watch(rig, "late.Service")};
        assert_int_equal(next(clients[0]), SERVICE_UNKNOWN);
        assert_int_equal(next(clients[1]), SERVICE_UNKNOWN);
        cancel(rig, clients[0]);
        rig_wait_for_calls(rig, 1);
        if (i == 1) {
            set(rig, "late.Service", WEFT_SERVING);
            assert_int_equal(next(clients[1]), SERVING);
        }
        cancel(rig, clients[1]);
        rig_wait_for_calls(rig, 0);
    }
    assert_checked(rig, "late.Service", SERVING);
}

static void a_watch_ends_at_its_deadline(void **state)
{
    struct rig *rig = *state;
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    watch_client *client;
    options.timeout_ms = 50;
    rig_start(rig, NULL, NULL);
    assert_int_equal(grpc_health_v1_Health_Watch(&client, rig->channel, &options, &request), 0);
    if (rig->kind == RIG_THREADED) {
        assert_int_equal(next(client), SERVING);
        weft_test_advance(rig->engine, 51000000);
    }
    while (next(client) != -1) { /* on a busy machine not even the first comes */
    }
    assert_int_equal(finish(rig, client), WEFT_DEADLINE_EXCEEDED);
    rig_wait_for_calls(rig, 0);
}

/* The engine holds one message back; what changes meanwhile is told as one. */
static void a_slow_watcher_sees_the_last_of_several_changes(void **state)
{
    struct rig *rig = *state;
    if (rig->kind == RIG_CORE)
        skip(); /* it buffers megabytes */
    rig_start(rig, NULL, NULL);
    watch_client *client = watch(rig, users);
    rig_wait_for_calls(rig, 1);
    for (int i = 0; i < 1000; i++)
        set(rig, users, i % 2 == 0 ? WEFT_NOT_SERVING : WEFT_SERVING);
    set(rig, users, WEFT_NOT_SERVING);
    int changes = 0;
    int status = UNKNOWN;
    while (status != NOT_SERVING || changes < 2) {
        status = next(client);
        changes++;
    }
    assert_in_range(changes, 2, 3); /* the first, maybe one that was on its way, and the last */
    set(rig, users, WEFT_SERVING);
    assert_int_equal(next(client), SERVING);
    cancel(rig, client);
}

static void watches_are_limited(void **state)
{
    struct rig *rig = *state;
    weft_health_options options = WEFT_HEALTH_OPTIONS_INIT;
    options.max_watches = 2;
    rig_start(rig, NULL, &options);
    watch_client *first = watch(rig, "");
    watch_client *second = watch(rig, "no.Such");
    assert_int_equal(next(first), SERVING);
    assert_int_equal(next(second), SERVICE_UNKNOWN);
    watch_client *third = watch(rig, "");
    assert_int_equal(next(third), -1);
    assert_int_equal(finish(rig, third), WEFT_RESOURCE_EXHAUSTED);
    assert_checked(rig, "", SERVING); /* the limit is that of Watch alone */
    cancel(rig, first);
    rig_wait_for_calls(rig, 1);
    third = watch(rig, "");
    assert_int_equal(next(third), SERVING);
    cancel(rig, second);
    cancel(rig, third);
}

static void watches_take_half_of_the_calls_by_default(void **state)
{
    struct rig *rig = *state;
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    watch_client *clients[3];
    options.max_concurrent_calls = 5;
    options.quiet_ms = 20;
    rig_start(rig, &options, NULL);
    for (int i = 0; i < 3; i++) {
        clients[i] = watch(rig, "");
        assert_int_equal(next(clients[i]), SERVING);
    }
    watch_client *more = watch(rig, "");
    assert_int_equal(next(more), -1);
    assert_int_equal(finish(rig, more), WEFT_RESOURCE_EXHAUSTED);
    assert_checked(rig, "", SERVING);
    for (int i = 0; i < 3; i++)
        cancel(rig, clients[i]);
}

static void thousands_watch_and_take_no_thread(void **state)
{
    enum {
        WATCHERS = 3000
    };
    struct rig *rig = *state;
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    static watch_client *clients[WATCHERS];
    options.max_streams = -1;
    options.workers = 1;
    options.quiet_ms = 20;
    rig_start(rig, &options, NULL);
    assert_int_equal(weft_channel_connect(rig->channel, 10000), 0); /* so many could not wait for it */
    for (int i = 0; i < WATCHERS; i++)
        clients[i] = watch(rig, i % 2 == 0 ? users : "no.Such");
    for (int i = 0; i < WATCHERS; i++)
        assert_int_equal(next(clients[i]), i % 2 == 0 ? SERVING : SERVICE_UNKNOWN);
    set(rig, users, WEFT_NOT_SERVING);
    set(rig, "no.Such", WEFT_NOT_SERVING);
    assert_checked(rig, users, NOT_SERVING);
    for (int i = 0; i < WATCHERS; i++)
        assert_int_equal(next(clients[i]), NOT_SERVING);
    for (int i = 0; i < WATCHERS; i++) {
        weft_stream_cancel(WEFT_STREAM(clients[i]));
        (void)finish(rig, clients[i]);
    }
    rig_wait_for_calls(rig, 0);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void *stop(void *arg)
{
    const struct rig *rig = arg;
    (void)weft_server_stop(rig->server, -1);
    return NULL;
}

static void who_watches_is_told_of_a_drain_and_sent_away(void **state)
{
    struct rig *rig = *state;
    pthread_t stopper;
    rig_start(rig, NULL, NULL);
    watch_client *known = watch(rig, users);
    watch_client *unknown = watch(rig, "no.Such");
    watch_client *down = watch(rig, "down");
    assert_int_equal(next(known), SERVING);
    assert_int_equal(next(unknown), SERVICE_UNKNOWN);
    assert_int_equal(next(down), SERVICE_UNKNOWN);
    set(rig, "down", WEFT_NOT_SERVING);
    assert_int_equal(next(down), NOT_SERVING);
    /* It waits for nobody who watches, but until the last message has gone. */
    if (rig->kind == RIG_STEPPED)
        assert_int_equal(weft_server_stop(rig->server, -1), -EDEADLK);
    else
        assert_int_equal(pthread_create(&stopper, NULL, stop, rig), 0);
    assert_int_equal(next(known), NOT_SERVING);
    assert_int_equal(next(known), -1);
    assert_int_equal(finish(rig, known), WEFT_UNAVAILABLE);
    assert_int_equal(next(unknown), -1);
    assert_int_equal(finish(rig, unknown), WEFT_UNAVAILABLE);
    assert_int_equal(next(down), -1);
    assert_int_equal(finish(rig, down), WEFT_UNAVAILABLE);
    if (rig->kind != RIG_STEPPED)
        assert_int_equal(pthread_join(stopper, NULL), 0);
    assert_int_equal(weft_server_stop(rig->server, -1), 0);
    assert_int_equal(weft_health_set(rig->health, users, WEFT_SERVING), -ESHUTDOWN);
    assert_int_equal(weft_health_set(rig->health, "new", WEFT_SERVING), -ESHUTDOWN);
}

static void a_shutdown_is_told_while_the_server_serves_and_cannot_be_taken_back(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL, NULL);
    watch_client *known = watch(rig, users);
    watch_client *unknown = watch(rig, "no.Such");
    assert_int_equal(next(known), SERVING);
    assert_int_equal(next(unknown), SERVICE_UNKNOWN);
    weft_health_shutdown(rig->health);
    weft_health_shutdown(rig->health);
    assert_int_equal(next(known), NOT_SERVING);
    assert_int_equal(weft_health_set(rig->health, users, WEFT_SERVING), -ESHUTDOWN);
    assert_checked(rig, "", NOT_SERVING);
    assert_checked(rig, users, NOT_SERVING);
    cancel(rig, known);
    cancel(rig, unknown);
}

static void a_shutdown_before_the_start_stays(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(rig_make(rig, NULL, NULL), 0);
    weft_health_shutdown(rig->health);
    assert_int_equal(rig_serve(rig), 0);
    assert_checked(rig, "", NOT_SERVING);
    assert_checked(rig, users, NOT_SERVING);
}

/* A watcher that does not read is not waited for longer than the grace. */
static void a_watcher_that_reads_nothing_does_not_hold_up_a_stop(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL, NULL);
    watch_client *client = watch(rig, users);
    rig_wait_for_calls(rig, 1);
    set(rig, users, WEFT_NOT_SERVING);
    set(rig, users, WEFT_SERVING);
    assert_int_equal(weft_server_stop(rig->server, 0), 0);
    while (next(client) != -1) {
    }
    assert_int_equal(finish(rig, client), WEFT_UNAVAILABLE);
}

static void a_channel_is_freed_under_its_watchers(void **state)
{
    struct rig *rig = *state;
    watch_client *clients[20];
    rig_start(rig, NULL, NULL);
    for (size_t i = 0; i < 20; i++)
        clients[i] = watch(rig, "");
    rig_wait_for_calls(rig, 20);
    for (size_t i = 0; i < 20; i++)
        cancel(rig, clients[i]);
    weft_channel_free(rig->channel);
    rig->channel = NULL;
    rig_wait_for_calls(rig, 0);
}

/* ---- many at once ------------------------------------------------------------------------------------------------ */

struct stress {
    struct rig *rig;
    bool still; /* statuses do not change while somebody waits for it */
    atomic_bool over;
    atomic_int failures;
};

static void *set_and_set(void *arg)
{
    struct stress *stress = arg;
    char name[8];
    for (unsigned i = 0; !atomic_load(&stress->over); i++) {
        snprintf(name, sizeof name, "s%u", i % 4);
        if (weft_health_set(stress->rig->health, name, i % 3 == 0 ? WEFT_SERVING : WEFT_NOT_SERVING) < 0)
            atomic_fetch_add(&stress->failures, 1);
    }
    return NULL;
}

static void *watch_and_leave(void *arg)
{
    struct stress *stress = arg;
    for (unsigned i = 0; i < 200; i++) {
        Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
        char name[8];
        watch_client *client;
        weft_arena *arena;
        snprintf(name, sizeof name, "%c%u", i % 2 == 0 ? 's' : 'u', i % 4);
        request.service = name;
        if (weft_arena_new(&arena, 0) < 0 ||
            grpc_health_v1_Health_Watch(&client, stress->rig->channel, NULL, &request) < 0) {
            atomic_fetch_add(&stress->failures, 1);
            return NULL;
        }
        for (unsigned n = 0; n < (stress->still ? 1 : i % 4); n++) {
            int status = i % 2 == 0 || n == 0 ? next(client) : SERVING; /* the unknown ones never change */
            if (status < SERVING)
                atomic_fetch_add(&stress->failures, 1);
        }
        weft_stream_cancel(WEFT_STREAM(client));
        (void)grpc_health_v1_Health_Watch_client_finish(client, arena);
        weft_arena_free(arena);
    }
    return NULL;
}

static void watchers_come_and_go_while_statuses_change(void **state)
{
    struct rig *rig = *state;
    pthread_t setter;
    pthread_t watchers[3];
    struct stress stress = {.rig = rig};
    if (rig->kind == RIG_STEPPED)
        skip(); /* one thread */
    rig_start(rig, NULL, NULL);
    assert_int_equal(pthread_create(&setter, NULL, set_and_set, &stress), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&watchers[i], NULL, watch_and_leave, &stress), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_join(watchers[i], NULL), 0);
    rig_wait_for_calls(rig, 0);
    watch_client *last[] = {watch(rig, "s0"), watch(rig, "s1")}; /* to be there when it stops */
    rig_wait_for_calls(rig, 2);
    atomic_store(&stress.over, true);
    assert_int_equal(pthread_join(setter, NULL), 0);
    assert_int_equal(weft_server_stop(rig->server, 0), 0);
    for (int i = 0; i < 2; i++)
        (void)finish(rig, last[i]);
    assert_int_equal(atomic_load(&stress.failures), 0);
}

/* ---- on a program's loop ----------------------------------------------------------------------------------------- */

static void *watch_from_afar(void *arg)
{
    struct stress *stress = arg;
    (void)watch_and_leave(stress);
    for (int i = 0; i < 20; i++) { /* this thread sets, the loop's sends what must wait */
        (void)weft_health_set(stress->rig->health, "s0", i % 2 == 0 ? WEFT_NOT_SERVING : WEFT_SERVING);
        (void)watch_and_leave(stress);
    }
    atomic_store(&stress->over, true);
    return NULL;
}

static void dispatch_until_calls(struct rig *rig, weft_loop *loop, uint64_t calls)
{
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    do {
        (void)weft_loop_dispatch(loop, 1);
        assert_int_equal(weft_server_read_stats(rig->server, &stats), 0);
    } while (stats.calls != calls);
    (void)weft_loop_dispatch(loop, SIZE_MAX);
}

static void a_server_on_a_loop_tells_its_watchers_too(void **state)
{
    struct rig *rig = *state;
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    struct stress stress = {.rig = rig, .still = true};
    weft_loop *loop;
    pthread_t watcher;
    if (rig->kind == RIG_STEPPED)
        skip(); /* has no loops */
    assert_int_equal(weft_loop_new(&loop), 0);
    options.loop = loop;
    options.quiet_ms = 20;
    rig_start(rig, &options, NULL);
    for (unsigned i = 0; i < 4; i++) {
        const char name[] = {'s', (char)('0' + i), '\0'};
        set(rig, name, WEFT_SERVING);
    }
    assert_int_equal(pthread_create(&watcher, NULL, watch_from_afar, &stress), 0);
    while (!atomic_load(&stress.over)) {
        struct pollfd fd = {.fd = weft_loop_fd(loop), .events = POLLIN};
        (void)poll(&fd, 1, 10);
        (void)weft_loop_dispatch(loop, 7);
    }
    assert_int_equal(pthread_join(watcher, NULL), 0);
    for (int i = 0; i < 20; i++) { /* one leaves while it is waited for */
        watch_client *client = watch(rig, "s0");
        dispatch_until_calls(rig, loop, 1);
        set(rig, "s0", WEFT_NOT_SERVING);
        set(rig, "s0", WEFT_SERVING);
        cancel(rig, client);
        dispatch_until_calls(rig, loop, 0);
    }
    watch_client *last[] = {watch(rig, "s0"), watch(rig, "no.Such")};
    while (weft_loop_dispatch(loop, 1) == 0) { /* at least one has come */
    }
    assert_int_equal(weft_server_stop(rig->server, 0), 0);
    for (int i = 0; i < 2; i++)
        (void)finish(rig, last[i]);
    assert_int_equal(atomic_load(&stress.failures), 0);
    rig_unmake(rig);
    assert_int_equal(weft_loop_free(loop), 0);
}

/* ---- what can go wrong ------------------------------------------------------------------------------------------- */

static void a_send_that_fails_ends_the_watch(void **state)
{
    struct rig *rig = *state;
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    if (rig->kind == RIG_CORE)
        skip();
    rig_start(rig, NULL, NULL);
    watch_client *client = watch(rig, users);
    assert_int_equal(next(client), SERVING);
    watch_client *other = watch(rig, users);
    assert_int_equal(next(other), SERVING);
    fault.point = WEFT_TEST_SEND;
    fault.kind = WEFT_TEST_REFUSE;
    assert_int_equal(weft_test_inject(rig->engine, &fault), 0);
    set(rig, users, WEFT_NOT_SERVING);
    assert_int_equal(next(client), -1);
    assert_int_equal(finish(rig, client), WEFT_RESOURCE_EXHAUSTED);
    assert_int_equal(next(other), NOT_SERVING);
    cancel(rig, other);
}

static void a_connection_that_breaks_ends_its_watches(void **state)
{
    struct rig *rig = *state;
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    if (rig->kind == RIG_CORE)
        skip();
    rig_start(rig, NULL, NULL);
    watch_client *clients[] = {watch(rig, users), watch(rig, users)};
    assert_int_equal(next(clients[0]), SERVING);
    assert_int_equal(next(clients[1]), SERVING);
    fault.point = WEFT_TEST_SEND;
    fault.kind = WEFT_TEST_BREAK;
    assert_int_equal(weft_test_inject(rig->engine, &fault), 0);
    set(rig, users, WEFT_NOT_SERVING);
    for (int i = 0; i < 2; i++) {
        while (next(clients[i]) != -1) {
        }
        assert_int_equal(finish(rig, clients[i]), WEFT_UNAVAILABLE);
    }
    rig_wait_for_calls(rig, 0);
}

static void misuse_is_told(void **state)
{
    struct rig *rig = *state;
    weft_health_options options = WEFT_HEALTH_OPTIONS_INIT;
    weft_health *other = NULL;
    options.max_watches = -2;
    assert_int_equal(weft_health_new(&other, &options), -EINVAL);
    options.max_watches = -1;
    options.struct_size = 0;
    assert_int_equal(weft_health_new(&other, &options), -EINVAL);
    options.struct_size = sizeof options;
    assert_int_equal(weft_health_new(&other, &options), 0);
    weft_health_free(NULL);
    rig_start(rig, NULL, NULL);
    assert_int_equal(weft_health_register(rig->server, rig->health), -EALREADY);
    assert_int_equal(weft_health_register(rig->server, other), -EBUSY);
    assert_int_equal(weft_health_set(rig->health, NULL, WEFT_SERVING), -EINVAL);
    assert_int_equal(weft_health_set(rig->health, "", (weft_serving)SERVICE_UNKNOWN), -EINVAL);
    weft_server *server;
    assert_int_equal(weft_server_new(&server, rig->engine, NULL), 0);
    weft_health *third;
    assert_int_equal(weft_health_new(&third, NULL), 0);
    assert_int_equal(weft_health_register(server, other), 0);
    assert_int_equal(weft_health_register(server, third), -EEXIST);
    weft_server_free(server);
    weft_health_free(third);
    weft_health_free(other);
}

#define CASE(setup, test) cmocka_unit_test_setup_teardown(test, setup, rig_teardown)
#define CASES(setup)                                                                                                   \
    CASE(setup, what_is_registered_serves_until_said_otherwise), CASE(setup, what_was_set_before_the_start_stays),     \
        CASE(setup, a_service_that_nobody_knows_is_not_found), CASE(setup, a_name_longer_than_any_service_is_refused), \
        CASE(setup, a_list_has_all_that_is_known), CASE(setup, a_list_of_more_than_a_hundred_is_refused),              \
        CASE(setup, a_watch_tells_the_status_and_then_each_change),                                                    \
        CASE(setup, a_watch_of_an_unknown_service_tells_when_it_is_known), CASE(setup, a_watch_ends_at_its_deadline),  \
        CASE(setup, a_slow_watcher_sees_the_last_of_several_changes), CASE(setup, watches_are_limited),                \
        CASE(setup, watches_take_half_of_the_calls_by_default), CASE(setup, thousands_watch_and_take_no_thread),       \
        CASE(setup, who_watches_is_told_of_a_drain_and_sent_away),                                                     \
        CASE(setup, a_watcher_that_reads_nothing_does_not_hold_up_a_stop),                                             \
        CASE(setup, a_shutdown_is_told_while_the_server_serves_and_cannot_be_taken_back),                              \
        CASE(setup, a_shutdown_before_the_start_stays), CASE(setup, a_channel_is_freed_under_its_watchers),            \
        CASE(setup, watchers_come_and_go_while_statuses_change),                                                       \
        CASE(setup, a_server_on_a_loop_tells_its_watchers_too), CASE(setup, a_send_that_fails_ends_the_watch),         \
        CASE(setup, a_connection_that_breaks_ends_its_watches), CASE(setup, misuse_is_told)

static const struct CMUnitTest on_core[] = {CASES(rig_setup_core)};
static const struct CMUnitTest on_stepped[] = {CASES(rig_setup_stepped)};
static const struct CMUnitTest on_threaded[] = {CASES(rig_setup_threaded)};

RIG_MAIN(on_core, on_stepped, on_threaded)
