/* Calls of every kind by several threads at once, of all sizes, which are cancelled, expire, and lose their connections
 * at random: no call gets stuck, what succeeds is right, counters add up, and nothing is left behind.
 *
 *     test_stream_soak_core ENGINE [SECONDS [SEED]]      ENGINE: core, threaded
 *
 * The seconds are shared by two runs, with handlers that pull on workers and with handlers that are told. The seed is
 * printed; threads make it no more than a beginning.
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#include "integration/stream/rig.h"
#include "support/alloc_fault.h"

#include <weft/testing.h>

enum {
    CALLERS = 6,
    ASYNC_AT_ONCE = 8,
    STUCK_S = 60,          /* without a call that ends */
    MAX_PAYLOAD = 4000000, /* with the rest of the message below the limit of 4 MiB */
    CUT_EVERY_MS = 300,    /* on gRPC core */
    CANCEL_EVERY_MS = 2,   /* by another thread than the caller's */
    CODES = WEFT_UNAUTHENTICATED + 1
};

static int64_t seconds = 4;
static uint64_t seed = 20261125;

struct soak;

struct caller {
    struct soak *soak;
    pthread_t thread;
    uint64_t random;
    weft_channel *channel;
    weft_arena *arena;
    uint8_t *payload;
    pthread_mutex_t lock; /* guards `stream` */
    weft_stream *stream;  /* that another thread may cancel */
    int64_t begun;        /* calls that did */
    int64_t ended[CODES];
    atomic_int untold; /* asynchronous calls that have not ended */
    weft__event all_told;
    const char *wrong;
};

struct soak {
    struct rig *rig;
    struct caller callers[CALLERS];
    atomic_bool over;
    weft__event fate_over;
    weft__event watch_over;
    atomic_llong ended; /* calls of all callers */
};

/* ---- chance ------------------------------------------------------------------------------------------------------ */

static uint64_t next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x;
}

static int64_t below(struct caller *c, int64_t bound)
{
    return (int64_t)(next(&c->random) % (uint64_t)bound);
}

static bool one_in(struct caller *c, int64_t n)
{
    return below(c, n) == 0;
}

static size_t some_bytes(struct caller *c)
{
    switch (below(c, 100)) {
    case 0:
        return (size_t)below(c, MAX_PAYLOAD);
    case 1:
    case 2:
    case 3:
    case 4:
        return (size_t)below(c, 300000);
    default:
        return (size_t)below(c, one_in(c, 3) ? 20000 : 100);
    }
}

static weft_call_options some_options(struct caller *c)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    static const int64_t longest[] = {5, 50, 1000, 60000};
    options.timeout_ms = 1 + below(c, longest[below(c, 4)]);
    options.wait_for_ready = one_in(c, 4);
    return options;
}

static void fill(struct caller *c, Chat__Text *message, int64_t number)
{
    *message = (Chat__Text)CHAT__TEXT__INIT;
    message->number = number;
    message->payload.len = some_bytes(c);
    message->payload.data = c->payload;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static void wrong(struct caller *c, const char *what)
{
    if (c->wrong == NULL)
        c->wrong = what;
}

static void ended(struct caller *c, weft_status status)
{
    bool expected = status.code == WEFT_OK || status.code == WEFT_CANCELLED || status.code == WEFT_DEADLINE_EXCEEDED ||
                    status.code == WEFT_UNAVAILABLE || status.code == WEFT_RESOURCE_EXHAUSTED;
    if (!expected) {
        print_error("%s: %s\n", weft_code_name(status.code), status.message);
        wrong(c, "a status that nothing here gives");
    }
    c->ended[status.code]++;
    atomic_fetch_add(&c->soak->ended, 1);
}

/* Lets another thread cancel a stream, and no more. */
static void expose(struct caller *c, weft_stream *stream)
{
    pthread_mutex_lock(&c->lock);
    c->stream = stream;
    pthread_mutex_unlock(&c->lock);
}

static bool begun(struct caller *c, int rc, void *stream)
{
    if (rc < 0) {
        wrong(c, "a stream could not begin");
        return false;
    }
    c->begun++;
    expose(c, WEFT_STREAM(stream));
    return true;
}

/* Now and then the caller changes its mind. */
static void maybe_cancel(struct caller *c, void *stream)
{
    if (one_in(c, 40))
        weft_stream_cancel(WEFT_STREAM(stream));
}

static void call_say(struct caller *c)
{
    weft_call_options options = some_options(c);
    Chat__Text request, *response = NULL;
    fill(c, &request, below(c, 1000));
    c->begun++;
    weft_status status = chat_Chat_Say(c->channel, c->arena, &options, &request, &response);
    if (status.code == WEFT_OK && response->number != request.number)
        wrong(c, "another answer came back");
    ended(c, status);
}

static void on_said(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    struct caller *c = arg;
    (void)response;
    if (status->code == WEFT_OK && response == NULL)
        abort();
    (void)result;
    atomic_fetch_add(&c->soak->ended, 1);
    if (atomic_fetch_sub(&c->untold, 1) == 1)
        weft__event_post(&c->all_told);
}

static void call_async(struct caller *c)
{
    weft__event_reset(&c->all_told);
    int count = 1 + (int)below(c, ASYNC_AT_ONCE);
    atomic_store(&c->untold, count);
    for (int i = 0; i < count; i++) {
        weft_call_options options = some_options(c);
        Chat__Text request;
        fill(c, &request, i);
        if (chat_Chat_Say_async(c->channel, &options, &request, on_said, c) < 0)
            abort(); /* the others would never be waited for */
    }
    (void)weft__event_wait(&c->all_told, INT64_MAX);
    if (atomic_load(&c->untold) != 0)
        wrong(c, "a callback came twice");
    c->begun += count;
    c->ended[WEFT_OK] += count; /* or otherwise */
}

static void call_gather(struct caller *c)
{
    weft_call_options options = some_options(c);
    chat_Chat_Gather_client *stream = NULL;
    Chat__Text message, *response = NULL;
    int64_t sum = 0, count = below(c, 10);
    if (!begun(c, chat_Chat_Gather(&stream, c->channel, &options), stream))
        return;
    for (int64_t i = 1; i <= count; i++) {
        fill(c, &message, i);
        sum += i;
        if (chat_Chat_Gather_client_send(stream, &message) < 0)
            break;
        maybe_cancel(c, stream);
    }
    expose(c, NULL);
    weft_status status = chat_Chat_Gather_client_finish(stream, c->arena, &response);
    if (status.code == WEFT_OK && response->number != sum)
        wrong(c, "not all was gathered");
    ended(c, status);
}

static void call_spread(struct caller *c)
{
    weft_call_options options = some_options(c);
    chat_Chat_Spread_client *stream = NULL;
    Chat__Text request, *message;
    int64_t received = 0, read_at_most = one_in(c, 4) ? below(c, 5) : INT64_MAX;
    fill(c, &request, below(c, 20));
    if (!begun(c, chat_Chat_Spread(&stream, c->channel, &options, &request), stream))
        return;
    while (received < read_at_most && chat_Chat_Spread_client_recv(stream, &message) == 1) {
        if (message->number != received++ || message->payload.len != request.payload.len)
            wrong(c, "another message came");
        maybe_cancel(c, stream);
    }
    expose(c, NULL);
    weft_status status = chat_Chat_Spread_client_finish(stream, c->arena);
    if (status.code == WEFT_OK && received < read_at_most && received != request.number)
        wrong(c, "not all was spread");
    ended(c, status);
}

static void call_talk(struct caller *c)
{
    weft_call_options options = some_options(c);
    chat_Chat_Talk_client *stream = NULL;
    Chat__Text message, *answer;
    int64_t count = below(c, 20);
    if (!begun(c, chat_Chat_Talk(&stream, c->channel, &options), stream))
        return;
    for (int64_t i = 0; i < count; i++) {
        fill(c, &message, i);
        if (chat_Chat_Talk_client_send(stream, &message) < 0 || chat_Chat_Talk_client_recv(stream, &answer) != 1)
            break;
        if (answer->number != i || answer->payload.len != message.payload.len)
            wrong(c, "another echo came back");
        maybe_cancel(c, stream);
    }
    expose(c, NULL);
    ended(c, chat_Chat_Talk_client_finish(stream, c->arena));
}

static int open_channel(struct caller *c)
{
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.min_backoff_ms = 10;
    options.max_backoff_ms = 100;
    return weft_channel_new(&c->channel, c->soak->rig->engine, c->soak->rig->target, &options);
}

static void *run_caller(void *arg)
{
    static void (*const calls[])(struct caller *) = {call_say, call_async, call_gather, call_spread, call_talk};
    struct caller *c = arg;
    while (!atomic_load(&c->soak->over) && c->wrong == NULL) {
        weft_arena_reset(c->arena);
        calls[below(c, 5)](c);
        if (one_in(c, 200)) {
            weft_channel_free(c->channel);
            if (open_channel(c) < 0)
                abort();
        }
    }
    weft_channel_free(c->channel);
    return NULL;
}

/* Lets real time pass: until `over` is posted, or so long. */
static bool over_within_ms(weft__event *over, int64_t ms)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return weft__event_wait(over, (int64_t)now.tv_sec * 1000000000 + now.tv_nsec + ms * 1000000) == 0;
}

/* ---- what comes between ------------------------------------------------------------------------------------------ */

static void cut_connections(const struct rig *rig)
{
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in6 peer; /* or IPv4, which has the port in the same place */
        socklen_t len = sizeof peer;
        memset(&peer, 0, sizeof peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 &&
            ntohs(peer.sin6_port) == weft_server_port(rig->server, 0))
            (void)shutdown(fd, SHUT_RDWR);
    }
}

static void break_something(struct rig *rig, uint64_t chance)
{
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    fault.point = (weft_test_point)(WEFT_TEST_CONNECT + chance % WEFT_TEST_FINISH);
    fault.kind = chance % 7 == 0 ? WEFT_TEST_REFUSE : WEFT_TEST_BREAK;
    if (fault.point == WEFT_TEST_START || fault.point == WEFT_TEST_SEND)
        fault.kind = WEFT_TEST_BREAK; /* else the caller is told at once, and these here do not listen */
    if (weft_test_inject(rig->engine, &fault) < 0)
        abort();
}

/* Cancels streams of others, cuts connections and, on the memory engine, lets time pass. */
static void *run_fate(void *arg)
{
    struct soak *soak = arg;
    struct rig *rig = soak->rig;
    uint64_t random = seed;
    for (int i = 1; !over_within_ms(&soak->fate_over, CANCEL_EVERY_MS); i++) {
        struct caller *victim = &soak->callers[next(&random) % CALLERS];
        pthread_mutex_lock(&victim->lock);
        if (victim->stream != NULL && next(&random) % 4 == 0)
            weft_stream_cancel(victim->stream);
        pthread_mutex_unlock(&victim->lock);
        bool cut = i % (CUT_EVERY_MS / CANCEL_EVERY_MS) == 0;
        if (cut && rig->core)
            cut_connections(rig);
        if (!rig->core && i % 10 == 0)
            break_something(rig, next(&random));
    }
    return NULL;
}

static void *run_time(void *arg)
{
    struct soak *soak = arg;
    while (!atomic_load(&soak->over))
        weft_test_advance(soak->rig->engine, 1000000);
    return NULL;
}

/* Waits for the time to be over; nothing may get stuck meanwhile, nor at the end. */
static void *run_watch(void *arg)
{
    struct soak *soak = arg;
    int64_t last = -1;
    int still = 0;
    while (!over_within_ms(&soak->watch_over, 1000)) {
        int64_t now = atomic_load(&soak->ended);
        still = now == last ? still + 1 : 0;
        last = now;
        if (still > STUCK_S) {
            fprintf(stderr, "stuck: no call has ended for %d s, %" PRId64 " before\n", STUCK_S, now);
            abort();
        }
    }
    return NULL;
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static void start_caller(struct soak *soak, int i)
{
    struct caller *c = &soak->callers[i];
    c->soak = soak;
    c->random = seed * 1000003 + (uint64_t)i + 1;
    assert_int_equal(weft_arena_new(&c->arena, 0), 0);
    assert_int_equal(pthread_mutex_init(&c->lock, NULL), 0);
    assert_int_equal(weft__event_init(&c->all_told), 0);
    c->payload = calloc(1, MAX_PAYLOAD);
    assert_non_null(c->payload);
    assert_int_equal(open_channel(c), 0);
}

static void end_caller(struct caller *c, int64_t *begun_calls, int64_t *ended_calls)
{
    weft_arena_free(c->arena);
    pthread_mutex_destroy(&c->lock);
    weft__event_fini(&c->all_told);
    free(c->payload);
    *begun_calls += c->begun;
    for (int code = 0; code < CODES; code++)
        *ended_calls += c->ended[code];
    if (c->wrong != NULL)
        fail_msg("%s", c->wrong);
}

static void soak(void **state)
{
    struct rig *rig = *state;
    struct soak *all = calloc(1, sizeof *all);
    pthread_t fate, watch, passing;
    weft__event never;
    rig_options options = rig_default_options();
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    int64_t begun_calls = 0, ended_calls = 0;
    assert_non_null(all);
    assert_int_equal(weft__event_init(&never), 0);
    assert_int_equal(weft__event_init(&all->fate_over), 0);
    assert_int_equal(weft__event_init(&all->watch_over), 0);
    options.server.max_connection_age_ms = 1000;
    options.server.max_connection_age_grace_ms = 500;
    options.server.send_stall_ms = 2000;
    options.server.max_worker_streams = 3;
    rig_start(rig, &options);
    all->rig = rig;
    for (int i = 0; i < CALLERS; i++)
        start_caller(all, i);
    assert_int_equal(pthread_create(&watch, NULL, run_watch, all), 0);
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&all->callers[i].thread, NULL, run_caller, &all->callers[i]), 0);
    assert_int_equal(pthread_create(&fate, NULL, run_fate, all), 0);
    if (!rig->core)
        assert_int_equal(pthread_create(&passing, NULL, run_time, all), 0);
    assert_false(over_within_ms(&never, seconds * 500));
    atomic_store(&all->over, true);
    for (int i = 0; i < CALLERS; i++) {
        if (!rig->core)
            weft_test_advance(rig->engine, INT64_C(60000) * 1000000); /* what waits for its deadline */
        assert_int_equal(pthread_join(all->callers[i].thread, NULL), 0);
    }
    weft__event_post(&all->fate_over);
    assert_int_equal(pthread_join(fate, NULL), 0);
    if (!rig->core)
        assert_int_equal(pthread_join(passing, NULL), 0);
    for (int i = 0; i < CALLERS; i++)
        end_caller(&all->callers[i], &begun_calls, &ended_calls);
    assert_int_equal(weft_server_stop(rig->server, 10000), 0);
    weft__event_post(&all->watch_over);
    assert_int_equal(pthread_join(watch, NULL), 0);
    assert_int_equal(weft_server_read_stats(rig->server, &stats), 0);
    print_message("seed %" PRIu64 ", %s: %" PRId64 " calls, %" PRIu64 " at the server, %" PRIu64 " handled\n", seed,
                  rig->event_driven ? "told" : "pulled", begun_calls, stats.calls_started, stats.calls_handled);
    assert_true(begun_calls > 0);
    assert_int_equal(begun_calls, ended_calls);
    assert_int_equal(begun_calls, atomic_load(&all->ended));
    assert_int_equal(stats.calls, 0);
    assert_int_equal(stats.queued, 0);
    assert_true(stats.calls_started <= (uint64_t)begun_calls);
    assert_true(stats.calls_handled <= stats.calls_started);
    assert_int_equal(atomic_load(&rig->entered), atomic_load(&rig->left));
    weft__event_fini(&never);
    weft__event_fini(&all->fate_over);
    weft__event_fini(&all->watch_over);
    free(all);
}

/* With what the rig allocates: nothing is left when all is freed. */
static void nothing_is_left(int (*setup)(void **state))
{
    void *state = NULL;
    long live = weft_test_alloc_live();
    assert_int_equal(setup(&state), 0);
    soak(&state);
    assert_int_equal(rig_teardown(&state), 0);
    assert_int_equal(weft_test_alloc_live(), live);
}

static void handlers_that_pull_on_core(void **state)
{
    (void)state;
    nothing_is_left(rig_setup_core);
}

static void handlers_that_are_told_on_core(void **state)
{
    (void)state;
    nothing_is_left(rig_setup_core_events);
}

static void handlers_that_pull_in_memory(void **state)
{
    (void)state;
    nothing_is_left(rig_setup_threaded);
}

static void handlers_that_are_told_in_memory(void **state)
{
    (void)state;
    nothing_is_left(rig_setup_threaded_events);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {cmocka_unit_test(handlers_that_pull_on_core),
                                             cmocka_unit_test(handlers_that_are_told_on_core)};
    static const struct CMUnitTest memory[] = {cmocka_unit_test(handlers_that_pull_in_memory),
                                               cmocka_unit_test(handlers_that_are_told_in_memory)};
    if (argc > 2)
        seconds = strtoll(argv[2], NULL, 10);
    if (argc > 3)
        seed = strtoull(argv[3], NULL, 10);
    if (argc > 1 && strcmp(argv[1], "threaded") == 0)
        return cmocka_run_group_tests(memory, NULL, NULL);
    return cmocka_run_group_tests(core, NULL, NULL);
}
