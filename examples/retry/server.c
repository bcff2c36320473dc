/* A server that is busy: retry-server [HOST:PORT]. It serves each call at its third attempt, and says after how many
 * milliseconds to make the next. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "greeter.weft.h"

static weft_code hello(weft_call *call, const Greeter__HelloRequest *request, Greeter__HelloResponse *response,
                       void *self)
{
    weft_sv previous = weft_call_metadata(call, "grpc-previous-rpc-attempts"); /* absent at the first */
    (void)self;
    if (!weft_sv_is(previous, "2")) {
        int rc = weft_call_add_trailer(call, "grpc-retry-pushback-ms", weft_sv_from("20"));
        return rc < 0 ? weft_fail_errno(call, rc) : weft_fail(call, WEFT_UNAVAILABLE, "busy");
    }
    response->text = weft_arena_printf(weft_call_arena(call), "Hello at last, %s!", request->name);
    return response->text != NULL ? WEFT_OK : WEFT_RESOURCE_EXHAUSTED;
}

static const greeter_Greeter_ops greeter = {.Hello = hello};

int main(int argc, char **argv)
{
    sigset_t stop_signals;
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGINT);
    sigaddset(&stop_signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop_signals, NULL); /* before any thread is made */

    weft_engine *engine = NULL;
    weft_server *server = NULL;
    int rc = weft_core_engine_new(&engine, NULL);
    if (rc == 0)
        rc = weft_server_new(&server, engine, NULL);
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
        rc = weft_server_stop(server, 10000);
    }
    if (rc < 0)
        fprintf(stderr, "retry-server: %s\n", strerror(-rc));
    weft_server_free(server);
    weft_engine_free(engine);
    return rc < 0 ? 1 : 0;
}
