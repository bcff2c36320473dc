/* Many calls by several threads over gRPC core: memory does not grow, the counters add up, all frees come clean.
 *
 *     test_unary_soak_short [CALLS]
 *
 * Four threads make calls of several kinds in turn. Once a fifth of the calls is made, whatever is kept for reuse is
 * there; from then to the end the process may grow by GROWTH_MAX, however many the calls: a leak of 263 bytes a
 * call shows with 10,000 calls, one of 27 bytes with 100,000.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "integration/unary/rig.h"

enum {
    THREADS = 4,
    GROWTH_MAX = 2 << 20,
    MEASURED_FROM = 10000, /* with fewer calls, what the first ones set up still shows */
    LARGE = 20000          /* bytes: more than the first block of any arena */
};

/* Sanitizers keep freed memory for a while. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool measured = false;
#else
static const bool measured = true;
#endif

static int64_t total_calls = 2000;

/* The kinds of call, one after the other. */
enum kind {
    SMALL,
    LARGE_BOTH_WAYS,
    WITH_METADATA,
    FAILED,
    UNKNOWN,
    DEFERRED,
    KINDS
};

struct caller {
    pthread_t thread;
    struct rig *rig;
    weft_arena *arena;
    int64_t calls;
    int64_t wrong;
    char first_wrong[128];
};

static int64_t resident_bytes(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    assert_true(len > 0);
    text[len] = '\0';
    int64_t size, resident;
    assert_int_equal(sscanf(text, "%" SCNd64 " %" SCNd64, &size, &resident), 2);
    return resident * sysconf(_SC_PAGESIZE);
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

static weft_code answer(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                        struct rig *rig)
{
    if (request->id[0] == 'f')
        return weft_fail(call, WEFT_NOT_FOUND, "user %s does not exist", request->id);
    if (request->id[0] == 'm') {
        RIG_CHECK(rig, weft_sv_is(weft_call_metadata(call, "x-sent"), "value"));
        RIG_CHECK(rig, weft_call_add_header(call, "x-header", weft_sv_from("h")) == 0);
        RIG_CHECK(rig, weft_call_add_trailer(call, "x-trailer-bin", weft_sv_of("\0\1", 2)) == 0);
    }
    weft_code code = rig_echo(call, request, response, rig);
    if (request->id[0] == 'd') {
        RIG_CHECK(rig, weft_call_defer(call) == 0);
        user_UserService_GetUser_finish(call, code, response);
    }
    return code;
}

/* ---- the callers ------------------------------------------------------------------------------------------------- */

static weft_status make_call(const struct caller *caller, enum kind kind, const char *large)
{
    static const char *const ids[KINDS] = {"small", "", "metadata", "failed", "unknown", "deferred"};
    static const weft_metadatum sent = {{"x-sent", 6}, {"value", 5}};
    weft_method method = user_UserService_GetUser_method;
    weft_call_info info = WEFT_CALL_INFO_INIT;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    request.id = (char *)(uintptr_t)(kind == LARGE_BOTH_WAYS ? large : ids[kind]);
    if (kind == WITH_METADATA) {
        options.metadata = &sent;
        options.metadata_count = 1;
        options.info = &info;
        options.timeout_ms = 60000;
    }
    if (kind == UNKNOWN)
        method.path = "/user.UserService/Nothing";
    weft_status status =
        weft_channel_unary(caller->rig->channel, caller->arena, &options, &method, &request.base, &response);
    if (status.code == WEFT_OK && strcmp(((User__GetUserResponse *)response)->user->id, request.id) != 0)
        status = (weft_status){.code = WEFT_DATA_LOSS, .message = "another user came back"};
    return status;
}

static void *run_caller(void *arg)
{
    struct caller *caller = arg;
    char *large = malloc(LARGE + 1);
    if (large == NULL)
        return NULL;
    memset(large, 'x', LARGE);
    large[LARGE] = '\0';
    for (int64_t i = 0; i < caller->calls; i++) {
        enum kind kind = (enum kind)(i % KINDS);
        weft_code expected = kind == FAILED ? WEFT_NOT_FOUND : kind == UNKNOWN ? WEFT_UNIMPLEMENTED : WEFT_OK;
        weft_arena_reset(caller->arena);
        weft_status status = make_call(caller, kind, large);
        if (status.code != expected && caller->wrong++ == 0)
            (void)snprintf(caller->first_wrong, sizeof caller->first_wrong, "%s: %s", weft_code_name(status.code),
                           status.message);
    }
    free(large);
    return NULL;
}

/* Makes so many calls, by all threads together. */
static void make_calls(struct rig *rig, int64_t calls)
{
    struct caller callers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){.rig = rig, .calls = calls / THREADS + (i < calls % THREADS)};
        assert_int_equal(weft_arena_new(&callers[i].arena, 0), 0);
        assert_int_equal(pthread_create(&callers[i].thread, NULL, run_caller, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
        weft_arena_free(callers[i].arena);
    }
    for (int i = 0; i < THREADS; i++)
        if (callers[i].wrong > 0)
            fail_msg("%" PRId64 " of %" PRId64 " calls went wrong, the first: %s", callers[i].wrong, callers[i].calls,
                     callers[i].first_wrong);
}

static int64_t count_of(int64_t calls, enum kind kind)
{
    int64_t count = 0;
    for (int i = 0; i < THREADS; i++) {
        int64_t own = calls / THREADS + (i < calls % THREADS);
        count += own / KINDS + (own % KINDS > (int64_t)kind);
    }
    return count;
}

static void soak(struct rig *rig, bool run_inline)
{
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    rig_options options = rig_default_options();
    const int64_t first = total_calls / 5;
    const int64_t rest = total_calls - first;
    options.get_user.run_inline = run_inline;
    rig->get_user = answer;
    rig_start(rig, &options);
    make_calls(rig, first);
    const int64_t before = resident_bytes();
    make_calls(rig, rest);
    const int64_t growth = resident_bytes() - before;
    print_message("%" PRId64 " calls %s: resident %+" PRId64 " KiB after the first fifth\n", total_calls,
                  run_inline ? "inline" : "on workers", growth / 1024);
    if (measured && total_calls >= MEASURED_FROM)
        assert_true(growth <= GROWTH_MAX);
    assert_int_equal(weft_server_stop(rig->server, 60000), 0);
    assert_int_equal(weft_server_read_stats(rig->server, &stats), 0);
    assert_int_equal(stats.calls_started, total_calls);
    assert_int_equal(stats.calls_handled, total_calls - count_of(first, UNKNOWN) - count_of(rest, UNKNOWN));
    assert_int_equal(atomic_load(&rig->handled), stats.calls_handled);
    assert_int_equal(stats.calls, 0);
    assert_int_equal(stats.queued, 0);
    assert_int_equal(stats.refused_calls, 0);
    assert_int_equal(stats.refused_connections, 0);
    assert_int_equal(stats.expired_calls, 0);
    assert_int_equal(stats.accept_failures, 0);
}

static void inline_calls_leave_nothing_behind(void **state)
{
    soak(*state, true);
}

static void calls_on_workers_leave_nothing_behind(void **state)
{
    soak(*state, false);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(inline_calls_leave_nothing_behind, rig_setup_core, rig_teardown),
        cmocka_unit_test_setup_teardown(calls_on_workers_leave_nothing_behind, rig_setup_core, rig_teardown),
    };
    if (argc > 1)
        total_calls = strtoll(argv[1], NULL, 10);
    if (total_calls < 1)
        return 2;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
