/* A server: unary-server [HOST:PORT]. Ctrl-C drains and stops it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "greeter.weft.h"

/* Runs on a worker thread and may block. What it allocates from the call's arena dies with the call. */
static weft_code hello(weft_call *call, const Greeter__HelloRequest *request, Greeter__HelloResponse *response,
                       void *self)
{
    (void)self;
    if (request->name[0] == '\0')
        return weft_fail(call, WEFT_INVALID_ARGUMENT, "name: must not be empty");
    response->text = weft_arena_printf(weft_call_arena(call), "Hello, %s!", request->name);
    return response->text != NULL ? WEFT_OK : WEFT_RESOURCE_EXHAUSTED;
}

static const greeter_Greeter_ops greeter = {.Hello = hello};

int main(int argc, char **argv)
{
    sigset_t stop_signals;
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGINT);
    sigaddset(&stop_signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop_signals, NULL); /* before any thread is made: sigwait takes them below */

    weft_engine *engine = NULL;
    weft_server *server = NULL;
    weft_health *health = NULL;
    int rc = weft_core_engine_new(&engine, NULL);
    if (rc == 0)
        rc = weft_server_new(&server, engine, NULL);
    if (rc == 0)
        rc = weft_health_new(&health, NULL);
    if (rc == 0)
        rc = weft_health_register(server, health); /* for probes and load balancers */
    if (rc == 0)
        rc = weft_reflection_register(server); /* for grpcurl and the like */
    if (rc == 0)
        rc = greeter_Greeter_register(server, &greeter, NULL, NULL);
    if (rc == 0)
        rc = weft_server_listen(server, argc > 1 ? argv[1] : "127.0.0.1:50051");
    if (rc == 0)
        rc = weft_server_start(server);
    if (rc == 0) {
        int signal_number;
        printf("listening on %s\n", weft_server_address(server, 0));
        fflush(stdout);
        sigwait(&stop_signals, &signal_number);
        rc = weft_server_stop(server, 10000); /* running calls have ten seconds to end */
    }
    if (rc < 0)
        fprintf(stderr, "unary-server: %s\n", strerror(-rc));
    weft_server_free(server);
    weft_health_free(health);
    weft_engine_free(engine);
    return rc < 0 ? 1 : 0;
}
