/*
 * bench-layers: what Weft itself costs on the server side of a unary call, without any network.
 *
 * The same GetUser runs over the memory engine, stepped, on one thread, in two ways:
 *
 *   bare   a server at the seam that answers every call with ready-made bytes: client, engine and driver alone
 *   weft   a Weft server with an inline handler: dispatch, guard, unpack, handler, pack
 *
 * The difference is the server side: Weft above the seam together with protobuf-c's own work. A third figure is
 * protobuf-c alone (unpack, sizes, pack). Rounds of both are interleaved; medians and quartiles are printed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <weft/testing.h>
#include <weft/weft.h>

#include "count.h"
#include "transport/transport.h"
#include "user.weft.h"

enum {
    WARM_UP = 20000,
    CALLS = 200000,
    MAX_ROUNDS = 99
};

static const char user_id[] = "0190f5a8-6f6c-7cc0-8000-1234567890ab";

static int64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "bench-layers: %s\n", what);
    exit(1);
}

/* ---- the client at the seam -------------------------------------------------------------------------------------- */

struct driver {
    weft_engine *engine;
    weft__tchannel *channel;
    weft__op op;
    bool done;
    size_t response_bytes;
    uint8_t request[128];
    size_t request_size;
};

static void on_done(weft__op *op, int result)
{
    struct driver *driver = (struct driver *)((char *)op - offsetof(struct driver, op));
    (void)result;
    driver->done = true;
}

static void one_call(struct driver *driver)
{
    const weft_engine *engine = driver->engine;
    weft__ccall *call;
    weft__tx tx;
    weft__result result;
    weft__call_args args = {.method = &user_UserService_GetUser_method, .deadline_ns = INT64_MAX, .half_close = true};
    if (driver->channel->vtable->call_new(driver->channel, &call) < 0 ||
        engine->vtable->tx_alloc(driver->engine, driver->request_size, &tx) < 0)
        die("out of memory");
    memcpy(tx.data, driver->request, driver->request_size);
    args.message = &tx;
    driver->done = false;
    if (call->vtable->unary(call, &args, &driver->op) < 0)
        die("the call did not start");
    while (!driver->done)
        if (weft_test_step(driver->engine, SIZE_MAX) == 0 && !driver->done)
            die("the call did not end");
    call->vtable->result(call, &result);
    if (result.code != WEFT_OK || result.response.impl == NULL)
        die("the call failed");
    driver->response_bytes = result.response.total;
    engine->vtable->rx_release(&result.response);
    call->vtable->free(call);
}

static void driver_open(struct driver *driver, weft_engine *engine, const char *target)
{
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    weft__channel_config config = {
        .target = target,
        .max_message_bytes = INT64_MAX,
        .max_metadata_bytes = INT64_MAX,
        .connect_timeout_ms = 1000,
        .min_backoff_ms = 1000,
        .max_backoff_ms = 1000,
        .keepalive_ms = INT64_MAX,
        .keepalive_timeout_ms = INT64_MAX,
    };
    *driver = (struct driver){.engine = engine, .op = {on_done}};
    request.id = (char *)(uintptr_t)user_id;
    driver->request_size = user__get_user_request__pack(&request, driver->request);
    if (engine->vtable->channel_new(engine, &config, &driver->channel) < 0)
        die("no channel");
}

/* CPU nanoseconds a call. */
static double round_of(struct driver *driver)
{
    int64_t start = cpu_ns();
    for (int i = 0; i < CALLS; i++)
        one_call(driver);
    return (double)(cpu_ns() - start) / CALLS;
}

/* ---- the handler, and the bare server ---------------------------------------------------------------------------- */

static weft_code get_user(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                          void *self)
{
    static char name[] = "Ada Lovelace";
    static char email[] = "ada@example.org";
    User__User *user = weft_arena_alloc(weft_call_arena(call), sizeof *user);
    (void)self;
    if (user == NULL)
        return weft_fail(call, WEFT_RESOURCE_EXHAUSTED, "out of memory");
    user__user__init(user);
    user->id = request->id;
    user->name = name;
    user->email = email;
    response->user = user;
    return WEFT_OK;
}

struct bare {
    weft_engine *engine;
    uint8_t response[256];
    size_t response_size;
    const char *name; /* that it is bound to */
};

static int bare_init(void *user, weft__scall *call)
{
    (void)user;
    (void)call;
    return 0;
}

static void bare_ignore(void *user, weft__scall *call)
{
    (void)user;
    (void)call;
}

static void bare_begin(void *user, weft__scall *call, const weft__call_start *start)
{
    struct bare *bare = user;
    weft__rx request = start->message;
    weft__tx tx;
    weft__finish finish = {.message = &tx, .code = WEFT_OK};
    bare->engine->vtable->rx_release(&request);
    if (bare->engine->vtable->tx_alloc(bare->engine, bare->response_size, &tx) < 0)
        die("out of memory");
    memcpy(tx.data, bare->response, bare->response_size);
    if (call->vtable->finish(call, &finish) < 0)
        die("finish failed");
}

static void bare_closed(void *user)
{
    (void)user;
}

static const weft__server_events bare_events = {
    .init = bare_init,
    .fini = bare_ignore,
    .begin = bare_begin,
    .cancelled = bare_ignore,
    .ended = bare_ignore,
    .closed = bare_closed,
};

static weft__tserver *bare_serve(struct bare *bare, weft_engine *engine, char *bound, size_t size)
{
    static const weft__server_method method = {"/user.UserService/GetUser", WEFT_UNARY, INT64_MAX, true};
    static const weft__server_method *const methods[] = {&method};
    User__User user = USER__USER__INIT;
    User__GetUserResponse response = USER__GET_USER_RESPONSE__INIT;
    weft__tserver *server;
    user.id = (char *)(uintptr_t)user_id;
    user.name = (char *)(uintptr_t) "Ada Lovelace";
    user.email = (char *)(uintptr_t) "ada@example.org";
    response.user = &user;
    bare->engine = engine;
    bare->response_size = user__get_user_response__pack(&response, bare->response);
    if (engine->vtable->bind_name(engine, "bare:0", bound, size) < 0)
        die("bind failed");
    bare->name = bound;
    weft__server_config config = {
        .events = &bare_events,
        .user = bare,
        .call_size = 64,
        .methods = methods,
        .method_count = 1,
        .names = &bare->name,
        .name_count = 1,
        .max_connections = INT64_MAX,
        .max_streams = INT64_MAX,
        .max_message_bytes = INT64_MAX,
        .max_metadata_bytes = INT64_MAX,
        .keepalive_ms = INT64_MAX,
        .keepalive_timeout_ms = INT64_MAX,
        .max_connection_age_ms = INT64_MAX,
        .max_connection_age_grace_ms = INT64_MAX,
        .max_connection_idle_ms = INT64_MAX,
    };
    if (engine->vtable->server_new(engine, &config, &server) < 0)
        die("no bare server");
    return server;
}

/* ---- protobuf-c alone -------------------------------------------------------------------------------------------- */

static double protobuf_round(const struct driver *driver)
{
    char block[4096];
    uint8_t out[256];
    weft_arena *arena;
    size_t sum = 0;
    if (weft_arena_init(&arena, block, sizeof block, 0) < 0)
        die("no arena");
    int64_t start = cpu_ns();
    for (int i = 0; i < CALLS; i++) {
        User__GetUserResponse response = USER__GET_USER_RESPONSE__INIT;
        User__User user = USER__USER__INIT;
        User__GetUserRequest *request =
            user__get_user_request__unpack(weft_arena_allocator(arena), driver->request_size, driver->request);
        user.id = request->id;
        user.name = (char *)(uintptr_t) "Ada Lovelace";
        user.email = (char *)(uintptr_t) "ada@example.org";
        response.user = &user;
        sum += user__get_user_response__get_packed_size(&response);
        sum += user__get_user_response__pack(&response, out);
        weft_arena_reset(arena);
    }
    double each = (double)(cpu_ns() - start) / CALLS;
    weft_arena_fini(arena);
    return sum > 0 ? each : 0;
}

/* ---- through a channel ------------------------------------------------------------------------------------------- */

static void call_through(weft_channel *channel, weft_arena *arena)
{
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *response = NULL;
    request.id = (char *)(uintptr_t)user_id;
    weft_arena_reset(arena);
    if (user_UserService_GetUser(channel, arena, NULL, &request, &response).code != WEFT_OK)
        die("a call failed");
}

static double channel_round(weft_channel *channel, weft_arena *arena)
{
    int64_t start = cpu_ns();
    for (int i = 0; i < CALLS; i++)
        call_through(channel, arena);
    return (double)(cpu_ns() - start) / CALLS;
}

/* ---- figures ----------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_figures(const char *name, double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    printf("%-28s %8.0f %8.0f %8.0f\n", name, values[count / 4], values[count / 2], values[count * 3 / 4]);
}

int main(int argc, char **argv)
{
    static const user_UserService_ops ops = {.GetUser = get_user};
    double bare_ns[MAX_ROUNDS], weft_ns[MAX_ROUNDS], server_ns[MAX_ROUNDS], protobuf_ns[MAX_ROUNDS];
    double client_ns[MAX_ROUNDS];
    weft_channel *channel = NULL;
    weft_arena *arena = NULL;
    char bound[64], bare_target[128], over_weft[128];
    struct bare bare;
    struct driver to_bare, to_weft;
    weft_engine *engine = NULL;
    weft_server *server = NULL;
    int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 9;
    if (rounds < 1 || rounds > MAX_ROUNDS)
        die("usage: bench-layers [ROUNDS], 1 to 99");
    if (weft_memory_engine_new(&engine, NULL) < 0)
        die("no engine");
    weft__tserver *bare_server = bare_serve(&bare, engine, bound, sizeof bound);
    (void)snprintf(bare_target, sizeof bare_target, "dns:///%s", bound);
    if (weft_server_new(&server, engine, NULL) < 0 || user_UserService_register(server, &ops, NULL, NULL) < 0 ||
        weft_server_listen(server, "weft:0") < 0 || weft_server_start(server) < 0)
        die("no server");
    (void)snprintf(over_weft, sizeof over_weft, "dns:///%s", weft_server_address(server, 0));
    driver_open(&to_bare, engine, bare_target);
    driver_open(&to_weft, engine, over_weft);
    if (weft_channel_new(&channel, engine, over_weft, NULL) < 0 || weft_arena_new(&arena, 0) < 0)
        die("no channel");
    for (int i = 0; i < WARM_UP; i++) {
        one_call(&to_bare);
        one_call(&to_weft);
        call_through(channel, arena);
    }
    if (to_bare.response_bytes != to_weft.response_bytes)
        die("the two servers answer differently");
    uint64_t allocations = count_allocations();
    uint64_t locks = count_locks();
    for (int r = 0; r < rounds; r++) {
        bare_ns[r] = round_of(&to_bare);
        weft_ns[r] = round_of(&to_weft);
        protobuf_ns[r] = protobuf_round(&to_weft);
        server_ns[r] = weft_ns[r] - bare_ns[r];
    }
    allocations = count_allocations() - allocations;
    locks = count_locks() - locks;
    uint64_t channel_allocations = count_allocations();
    uint64_t channel_locks = count_locks();
    for (int r = 0; r < rounds; r++)
        client_ns[r] = channel_round(channel, arena) - weft_ns[r];
    channel_allocations = count_allocations() - channel_allocations;
    channel_locks = count_locks() - channel_locks;
    printf("%-28s %8s %8s %8s   CPU ns a call, %d rounds of %d calls\n", "", "q1", "median", "q3", rounds, CALLS);
    print_figures("bare seam (both sides)", bare_ns, rounds);
    print_figures("weft (both sides)", weft_ns, rounds);
    print_figures("server side above the seam", server_ns, rounds);
    print_figures("  of that protobuf-c alone", protobuf_ns, rounds);
    print_figures("client side above the seam", client_ns, rounds);
    printf("a call of a channel:            %.1f heap allocations, %.1f mutex locks\n",
           (double)channel_allocations / (rounds * CALLS), (double)channel_locks / (rounds * CALLS));
    printf("heap allocations after warm-up: %" PRIu64 "\n", allocations);
    printf("mutex locks after warm-up:      %" PRIu64 "\n", locks);
    weft_channel_free(channel);
    weft_arena_free(arena);
    to_bare.channel->vtable->destroy(to_bare.channel);
    to_weft.channel->vtable->destroy(to_weft.channel);
    bare_server->vtable->shutdown(bare_server);
    (void)weft_test_step(engine, SIZE_MAX);
    bare_server->vtable->destroy(bare_server);
    weft_server_free(server);
    return weft_engine_free(engine) == 0 ? 0 : 1;
}
