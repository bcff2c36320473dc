/* A rolling restart under load: test_rolling_restart [CONSUL|- [ROUNDS]].
 *
 * Three processes of user-service are registered at an agent; a channel finds them there. Calls begin at a constant
 * rate, whether those before them have ended or not, and a call's latency counts from when it was to begin. Meanwhile
 * each process in turn is stopped by SIGTERM and started again. No call may fail: no retries are configured.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/consul.h>

#include "base/clock.h"
#include "base/event.h"
#include "integration/rolling/agency.h"
#include "integration/rolling/users.h"
#include "user.weft.h"

#define PROCESSES      3
#define RATE           300 /* calls a second */
#define MAX_CALLS      (RATE * 600)
#define NS_PER_S       INT64_C(1000000000)
#define SHOWN_FAILURES 10

static const char *binary; /* of Consul; NULL: the fake agent */
static int rounds = 2;

/* One call, and what became of it. */
struct sample {
    struct load *load;
    int64_t intended_ns;
    int64_t latency_ns;
    weft_code code;
    char text[120];
};

struct load {
    weft_channel *channel;
    char id[64];
    pthread_t thread;
    weft__event end;     /* no more calls begin */
    weft__event drained; /* all have ended */
    atomic_size_t open;  /* calls, and one for the thread */
    struct sample *samples;
    size_t count;
};

static int64_t now_ns(void)
{
    return weft__clock_system()->now_ns(weft__clock_system());
}

/* ---- the load ---------------------------------------------------------------------------------------------------- */

static void leave(struct load *load)
{
    if (atomic_fetch_sub(&load->open, 1) == 1)
        weft__event_post(&load->drained);
}

static void take(struct sample *sample, weft_code code, const char *text)
{
    sample->latency_ns = now_ns() - sample->intended_ns;
    sample->code = code;
    snprintf(sample->text, sizeof sample->text, "%s", text);
    leave(sample->load);
}

static void on_user(const weft_status *status, User__GetUserResponse *response, weft_result *result, void *arg)
{
    (void)response;
    (void)result;
    take(arg, status->code, status->message);
}

static void begin_call(struct load *load, struct sample *sample)
{
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    request.id = load->id;
    options.timeout_ms = 10000;
    atomic_fetch_add(&load->open, 1);
    int rc = user_UserService_GetUser_async(load->channel, &options, &request, on_user, sample);
    if (rc < 0)
        take(sample, WEFT_INTERNAL, strerror(-rc));
}

static void *make_calls(void *arg)
{
    struct load *load = arg;
    int64_t next_ns = now_ns();
    while (load->count < MAX_CALLS && weft__event_wait(&load->end, next_ns) == -ETIMEDOUT) {
        struct sample *sample = &load->samples[load->count++];
        *sample = (struct sample){.load = load, .intended_ns = next_ns};
        begin_call(load, sample);
        next_ns += NS_PER_S / RATE;
    }
    leave(load);
    return NULL;
}

static void load_begin(struct load *load, weft_channel *channel, const char *id)
{
    *load = (struct load){.channel = channel, .samples = calloc(MAX_CALLS, sizeof *load->samples)};
    assert_non_null(load->samples);
    snprintf(load->id, sizeof load->id, "%s", id);
    atomic_init(&load->open, 1);
    assert_int_equal(weft__event_init(&load->end), 0);
    assert_int_equal(weft__event_init(&load->drained), 0);
    assert_int_equal(pthread_create(&load->thread, NULL, make_calls, load), 0);
}

static void load_end(struct load *load)
{
    weft__event_post(&load->end);
    assert_int_equal(pthread_join(load->thread, NULL), 0);
    assert_int_equal(weft__event_wait(&load->drained, INT64_MAX), 0);
}

static double ms_at(const struct load *load, size_t rank)
{
    return (double)load->samples[rank].latency_ns / 1e6;
}

static int compare(const void *left, const void *right)
{
    const struct sample *a = left;
    const struct sample *b = right;
    return (a->latency_ns > b->latency_ns) - (a->latency_ns < b->latency_ns);
}

/* Prints what became of the calls, and frees. @return how many have failed. */
static size_t load_report(struct load *load)
{
    size_t failed = 0;
    int64_t begin_ns = load->count > 0 ? load->samples[0].intended_ns : 0;
    for (size_t i = 0; i < load->count; i++) {
        const struct sample *sample = &load->samples[i];
        if (sample->code == WEFT_OK)
            continue;
        if (failed++ < SHOWN_FAILURES)
            printf("failed at %.3f s after %.3f ms: %s: %s\n", (double)(sample->intended_ns - begin_ns) / 1e9,
                   (double)sample->latency_ns / 1e6, weft_code_name(sample->code), sample->text);
    }
    qsort(load->samples, load->count, sizeof *load->samples, compare);
    size_t middle = load->count / 2;
    size_t late = load->count * 99 / 100;
    if (load->count > 0)
        printf("calls %zu, failed %zu, p50 %.2f ms, p99 %.2f ms, longest %.2f ms\n", load->count, failed,
               ms_at(load, middle), ms_at(load, late), ms_at(load, load->count - 1));
    (void)fflush(stdout);
    free(load->samples);
    weft__event_fini(&load->end);
    weft__event_fini(&load->drained);
    return failed;
}

/* ---- the restart ------------------------------------------------------------------------------------------------- */

struct rig {
    struct agency *agency;
    struct users users[PROCESSES];
    weft_consul *consul;
    struct client client;
};

static int set_up(void **state)
{
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    *state = rig;
    rig->agency = agency_new(binary);
    agency_start(rig->agency);
    users_init(rig->users, PROCESSES);
    for (int i = 0; i < PROCESSES; i++) {
        users_start(&rig->users[i], rig->agency, NULL);
        agency_await(rig->agency, USERS, rig->users[i].port, WELL);
    }
    options.no_environment = true;
    options.address = agency_address(rig->agency);
    assert_int_equal(weft_consul_new(&rig->consul, &options, NULL, 0), 0);
    client_open(&rig->client, "consul:///" USERS, weft_consul_resolver(rig->consul));
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    client_close(&rig->client);
    assert_int_equal(weft_consul_free(rig->consul), 0);
    users_fini(rig->users, PROCESSES);
    agency_free(rig->agency);
    free(rig);
    return 0;
}

static void restart(struct rig *rig, struct users *users)
{
    assert_int_equal(kill(users->pid, SIGTERM), 0);
    assert_int_equal(users_wait(users), 0);
    users_start(users, rig->agency, NULL);
    agency_await(rig->agency, USERS, users->port, WELL);
}

static void no_call_fails_while_each_instance_is_restarted(void **state)
{
    struct rig *rig = *state;
    struct load load;
    load_begin(&load, rig->client.channel, client_create(&rig->client));
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < PROCESSES; i++)
            restart(rig, &rig->users[i]);
    load_end(&load);
    assert_true(load.count >= (size_t)rounds * PROCESSES * RATE);
    assert_int_equal(load_report(&load), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_call_fails_while_each_instance_is_restarted, set_up, tear_down),
    };
    if (argc > 1 && strcmp(argv[1], "-") != 0)
        binary = argv[1];
    if (argc > 2)
        rounds = (int)strtol(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
