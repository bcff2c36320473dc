/* Calls of every kind by several threads, which are tried again and hedged, over servers that fail, are slow or never
 * answer, and connections that are lost, at random: each call ends once, what succeeds is right, and nothing is left.
 *
 *     test_retry_soak_short ENGINE [SECONDS [SEED]]      ENGINE: core, threaded
 */
#include <inttypes.h>
#include <netinet/in.h>
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

#include <weft/testing.h>

#include "integration/retry/rig.h"
#include "support/alloc_fault.h"

enum {
    CALLERS = 6, /* every second one hedges */
    ASYNC_AT_ONCE = 6,
    FATE_EVERY_MS = 2,
    CUT_EVERY = 100, /* times that fate comes */
    CODES = WEFT_UNAUTHENTICATED + 1
};

static int64_t seconds = 3;
static uint64_t seed = 20261129;

static const char *const retrying =
    "{\"methodConfig\":[{\"name\":[{}],\"retryPolicy\":{\"maxAttempts\":4,\"initialBackoff\":\"0.001s\","
    "\"maxBackoff\":\"0.005s\",\"backoffMultiplier\":2,\"retryableStatusCodes\":[\"UNAVAILABLE\"],"
    "\"perAttemptRecvTimeout\":\"0.05s\"}}]}";
static const char *const hedging = CONFIG(HEDGE(3, "0.002s", UNAVAILABLE));

struct soak;

struct caller {
    struct soak *soak;
    pthread_t thread;
    uint64_t random;
    weft_channel *channel;
    weft_arena *arena;
    pthread_mutex_t lock;
    weft_stream *stream; /* that another thread may cancel; the lock's */
    int64_t begun;
    int64_t ended[CODES];
    atomic_int untold;
    weft__event all_told;
    _Atomic(const char *) wrong;
};

struct soak {
    struct rig *rig;
    struct caller callers[CALLERS];
    atomic_bool over;
    weft__event fate_over;
};

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int64_t below(struct caller *c, uint64_t bound)
{
    return (int64_t)(next(&c->random) % bound);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static void wrong(struct caller *c, const char *what)
{
    atomic_store(&c->wrong, what);
}

static void check_status(struct caller *c, const weft_status *status)
{
    switch (status->code) {
    case WEFT_OK:
    case WEFT_CANCELLED:
    case WEFT_DEADLINE_EXCEEDED:
    case WEFT_UNAVAILABLE:
        return;
    case WEFT_INTERNAL:
        if (status->from_peer)
            return;
        break;
    default:
        break;
    }
    fprintf(stderr, "%s: %s\n", weft_code_name(status->code), status->message);
    wrong(c, "a status that nothing here gives");
}

static void ended(struct caller *c, weft_status status)
{
    check_status(c, &status);
    c->ended[status.code]++;
}

static weft_call_options some_options(struct caller *c)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    static const uint64_t longest[] = {5, 100, 10000};
    options.timeout_ms = 1 + below(c, longest[below(c, 3)]);
    options.wait_for_ready = below(c, 3) == 0;
    return options;
}

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

static void call_say(struct caller *c)
{
    const weft_call_options options = some_options(c);
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    request.text = (char *)"said";
    c->begun++;
    weft_status status = chat_Chat_Say(c->channel, c->arena, &options, &request, &response);
    if (status.code == WEFT_OK && strcmp(response->text, "said") != 0)
        wrong(c, "another answer came back");
    ended(c, status);
}

static void on_said(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    struct caller *c = arg;
    (void)result;
    check_status(c, status);
    if (status->code == WEFT_OK && strcmp(response->text, "said") != 0)
        wrong(c, "another answer came back");
    if (atomic_fetch_sub(&c->untold, 1) == 1)
        weft__event_post(&c->all_told);
}

static void call_async(struct caller *c)
{
    int count = 1 + (int)below(c, ASYNC_AT_ONCE);
    weft__event_reset(&c->all_told);
    atomic_store(&c->untold, count);
    for (int i = 0; i < count; i++) {
        const weft_call_options options = some_options(c);
        Chat__Text request = CHAT__TEXT__INIT;
        request.text = (char *)"said";
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
    const weft_call_options options = some_options(c);
    chat_Chat_Gather_client *stream = NULL;
    Chat__Text message = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    int64_t sum = 0;
    int64_t count = below(c, 10);
    int rc = chat_Chat_Gather(&stream, c->channel, &options);
    if (!begun(c, rc, stream))
        return;
    for (message.number = 1; message.number <= count; message.number++) {
        sum += message.number;
        if (chat_Chat_Gather_client_send(stream, &message) < 0)
            break;
    }
    expose(c, NULL);
    weft_status status = chat_Chat_Gather_client_finish(stream, c->arena, &response);
    if (status.code == WEFT_OK && response->number != sum)
        wrong(c, "not all was gathered");
    ended(c, status);
}

static void call_spread(struct caller *c)
{
    const weft_call_options options = some_options(c);
    chat_Chat_Spread_client *stream = NULL;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *message = NULL;
    int64_t received = 0;
    int64_t most = below(c, 4) == 0 ? below(c, 5) : INT64_MAX;
    request.number = below(c, 20);
    int rc = chat_Chat_Spread(&stream, c->channel, &options, &request);
    if (!begun(c, rc, stream))
        return;
    while (received < most && chat_Chat_Spread_client_recv(stream, &message) == 1)
        if (message->number != received++)
            wrong(c, "another message came");
    expose(c, NULL);
    weft_status status = chat_Chat_Spread_client_finish(stream, c->arena);
    if (status.code == WEFT_OK && received < most && received != request.number)
        wrong(c, "not all was spread");
    ended(c, status);
}

struct talker {
    chat_Chat_Talk_client *stream;
    int64_t count;
};

static void *talk(void *arg)
{
    struct talker *talker = arg;
    Chat__Text message = CHAT__TEXT__INIT;
    int rc = 0;
    for (message.number = 1; message.number <= talker->count && rc == 0; message.number++)
        rc = chat_Chat_Talk_client_send(talker->stream, &message);
    if (rc == 0)
        (void)chat_Chat_Talk_client_close_send(talker->stream);
    return NULL;
}

/* By two threads, now and then. */
static void call_talk(struct caller *c)
{
    const weft_call_options options = some_options(c);
    struct talker talker = {.count = below(c, 20)};
    Chat__Text *answer = NULL;
    pthread_t thread;
    int64_t received = 0;
    bool alone = below(c, 2) == 0;
    int rc = chat_Chat_Talk(&talker.stream, c->channel, &options);
    if (!begun(c, rc, talker.stream))
        return;
    if (alone)
        (void)talk(&talker);
    else if (pthread_create(&thread, NULL, talk, &talker) != 0)
        abort();
    while (chat_Chat_Talk_client_recv(talker.stream, &answer) == 1)
        if (answer->number != ++received)
            wrong(c, "another echo came back");
    if (!alone)
        (void)pthread_join(thread, NULL);
    expose(c, NULL);
    weft_status status = chat_Chat_Talk_client_finish(talker.stream, c->arena);
    if (status.code == WEFT_OK && received != talker.count)
        wrong(c, "not all came back");
    ended(c, status);
}

static void open_channel(struct caller *c)
{
    char target[512] = "static:///";
    struct rig *rig = c->soak->rig;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    for (int i = 0; i < NODES; i++) {
        size_t len = strlen(target);
        snprintf(target + len, sizeof target - len, "%s%s", i > 0 ? "," : "", rig->nodes[i].address + strlen("ipv4:"));
    }
    options.min_backoff_ms = 10;
    options.max_backoff_ms = 100;
    options.service_config = (c - c->soak->callers) % 2 == 0 ? retrying : hedging;
    if (weft_channel_new(&c->channel, rig->engine, target, &options) < 0)
        abort();
}

static void *run_caller(void *arg)
{
    static void (*const calls[])(struct caller *) = {call_say, call_async, call_gather, call_spread, call_talk};
    struct caller *c = arg;
    while (!atomic_load(&c->soak->over) && atomic_load(&c->wrong) == NULL) {
        weft_arena_reset(c->arena);
        calls[below(c, 5)](c);
        if (below(c, 200) == 0) {
            weft_channel_free(c->channel);
            open_channel(c);
        }
    }
    weft_channel_free(c->channel);
    return NULL;
}

/* ---- what comes between ------------------------------------------------------------------------------------------ */

static bool over_within_ms(weft__event *over, int64_t ms)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return weft__event_wait(over, (int64_t)now.tv_sec * 1000 * MS + now.tv_nsec + ms * MS) == 0;
}

/* Cuts the connections to one server. */
static void cut_connections(const struct node *node)
{
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_in6 peer; /* or IPv4, which has the port in the same place */
        socklen_t len = sizeof peer;
        memset(&peer, 0, sizeof peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 &&
            ntohs(peer.sin6_port) == weft_server_port(node->server, 0))
            (void)shutdown(fd, SHUT_RDWR);
    }
}

static void break_something(struct rig *rig, uint64_t chance)
{
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    fault.point = (weft_test_point)(WEFT_TEST_CONNECT + chance % WEFT_TEST_FINISH);
    fault.kind = WEFT_TEST_BREAK;
    if (weft_test_inject(rig->engine, &fault) < 0)
        abort();
}

static void *run_fate(void *arg)
{
    struct soak *soak = arg;
    struct rig *rig = soak->rig;
    uint64_t random = seed;
    for (int i = 1; !over_within_ms(&soak->fate_over, FATE_EVERY_MS); i++) {
        struct caller *victim = &soak->callers[next(&random) % CALLERS];
        pthread_mutex_lock(&victim->lock);
        if (victim->stream != NULL && next(&random) % 4 == 0)
            weft_stream_cancel(victim->stream);
        pthread_mutex_unlock(&victim->lock);
        if (rig->core && i % CUT_EVERY == 0)
            cut_connections(&rig->nodes[next(&random) % NODES]);
        if (!rig->core && i % 10 == 0)
            break_something(rig, next(&random));
    }
    return NULL;
}

static void *run_time(void *arg)
{
    struct soak *soak = arg;
    while (!atomic_load(&soak->over))
        weft_test_advance(soak->rig->engine, MS);
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
    open_channel(c);
}

static void end_caller(struct caller *c, int64_t *begun_calls, int64_t *ended_calls, int64_t *well)
{
    weft_arena_free(c->arena);
    pthread_mutex_destroy(&c->lock);
    weft__event_fini(&c->all_told);
    *begun_calls += c->begun;
    *well += c->ended[WEFT_OK];
    for (int code = 0; code < CODES; code++)
        *ended_calls += c->ended[code];
    if (atomic_load(&c->wrong) != NULL)
        fail_msg("%s", atomic_load(&c->wrong));
}

static void run_all(struct rig *rig, struct soak *all)
{
    pthread_t fate;
    pthread_t passing;
    weft__event never;
    assert_int_equal(weft__event_init(&never), 0);
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&all->callers[i].thread, NULL, run_caller, &all->callers[i]), 0);
    assert_int_equal(pthread_create(&fate, NULL, run_fate, all), 0);
    if (!rig->core)
        assert_int_equal(pthread_create(&passing, NULL, run_time, all), 0);
    assert_false(over_within_ms(&never, seconds * 1000));
    atomic_store(&all->over, true);
    for (int i = 0; i < CALLERS; i++) {
        if (!rig->core)
            weft_test_advance(rig->engine, 60000 * MS); /* what waits for its deadline */
        assert_int_equal(pthread_join(all->callers[i].thread, NULL), 0);
    }
    weft__event_post(&all->fate_over);
    assert_int_equal(pthread_join(fate, NULL), 0);
    if (!rig->core)
        assert_int_equal(pthread_join(passing, NULL), 0);
    weft__event_fini(&never);
}

static void soak(struct rig *rig)
{
    struct soak *all = calloc(1, sizeof *all);
    int64_t begun_calls = 0;
    int64_t ended_calls = 0;
    int64_t well = 0;
    assert_non_null(all);
    assert_int_equal(weft__event_init(&all->fate_over), 0);
    all->rig = rig;
    rig->chance = seed;
    for (int i = 0; i < CALLERS; i++)
        start_caller(all, i);
    run_all(rig, all);
    for (int i = 0; i < CALLERS; i++)
        end_caller(&all->callers[i], &begun_calls, &ended_calls, &well);
    for (int i = 0; i < NODES; i++) {
        weft_server_stats stats = WEFT_SERVER_STATS_INIT;
        assert_int_equal(weft_server_stop(rig->nodes[i].server, 10000), 0);
        assert_int_equal(weft_server_read_stats(rig->nodes[i].server, &stats), 0);
        assert_int_equal(stats.calls, 0);
    }
    print_message("seed %" PRIu64 ": %" PRId64 " calls, %" PRId64 " went well\n", seed, begun_calls, well);
    assert_true(well > 0);
    assert_int_equal(begun_calls, ended_calls);
    weft__event_fini(&all->fate_over);
    free(all);
}

static void nothing_is_left(int (*setup)(void **state))
{
    void *state = NULL;
    long live = weft_test_alloc_live();
    assert_int_equal(setup(&state), 0);
    soak(state);
    assert_int_equal(rig_teardown(&state), 0);
    assert_int_equal(weft_test_alloc_live(), live);
}

static void each_call_ends_once_and_right_on_core(void **state)
{
    (void)state;
    nothing_is_left(rig_setup_core);
}

static void each_call_ends_once_and_right_in_memory(void **state)
{
    (void)state;
    nothing_is_left(rig_setup_threaded);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {cmocka_unit_test(each_call_ends_once_and_right_on_core)};
    static const struct CMUnitTest memory[] = {cmocka_unit_test(each_call_ends_once_and_right_in_memory)};
    if (argc > 2)
        seconds = strtoll(argv[2], NULL, 10);
    if (argc > 3)
        seed = strtoull(argv[3], NULL, 10);
    if (argc > 1 && strcmp(argv[1], "threaded") == 0)
        return cmocka_run_group_tests(memory, NULL, NULL);
    return cmocka_run_group_tests(core, NULL, NULL);
}
