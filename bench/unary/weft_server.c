/*
 * bench-unary-weft: GetUser on Weft over its engine on gRPC core, with the handler inline or on a worker.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "program.h"
#include "user.h"
#include "user.weft.h"

enum mode {
    MODE_INLINE,
    MODE_WORKER,
};

static const char *const mode_names[] = {"inline", "worker", NULL};

static weft_code get_user(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                          void *self)
{
    User__User *user = weft_arena_alloc(weft_call_arena(call), sizeof *user);
    static char name[] = BENCH_USER_NAME;
    static char email[] = BENCH_USER_EMAIL;
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

static int serve(const bench_options *options)
{
    static const user_UserService_ops ops = {.GetUser = get_user};
    weft_core_engine_options engine_options = WEFT_CORE_ENGINE_OPTIONS_INIT;
    weft_method_options method = WEFT_METHOD_OPTIONS_INIT;
    weft_service_options service = WEFT_SERVICE_OPTIONS_INIT;
    weft_engine *engine = NULL;
    weft_server *server = NULL;
    char address[32];

    engine_options.threads = options->threads;
    engine_options.queues = options->queues;
    method.method = "GetUser";
    method.run_inline = options->variant == MODE_INLINE;
    service.methods = &method;
    service.method_count = 1;
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", options->port);
    int rc = weft_core_engine_new(&engine, &engine_options);
    if (rc == 0)
        rc = weft_server_new(&server, engine, NULL);
    if (rc == 0)
        rc = user_UserService_register(server, &ops, NULL, &service);
    if (rc == 0)
        rc = weft_server_listen(server, address);
    if (rc == 0)
        rc = weft_server_start(server);
    if (rc == 0) {
        bench_announce(weft_server_port(server, 0));
        bench_wait_for_stop_signal();
        rc = weft_server_stop(server, 5000);
    }
    weft_server_free(server);
    (void)weft_engine_free(engine);
    return rc;
}

int main(int argc, char **argv)
{
    static const bench_variants variants = {"mode", mode_names};
    bench_options options;
    if (bench_options_parse(&options, &variants, argc, argv) < 0)
        return 2;
    bench_block_stop_signals();
    int rc = serve(&options);
    if (rc < 0) {
        fprintf(stderr, "bench-unary-weft: %s\n", strerror(-rc));
        return 1;
    }
    return 0;
}
