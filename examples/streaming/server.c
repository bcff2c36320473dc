/* A bidirectional stream: streaming-server [HOST:PORT]. What one caller says is sent back to it in capitals. */
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "shout.weft.h"

/* Runs on a worker, for as long as the stream does. */
static weft_code say(weft_call *call, shout_Shouter_Say_server *stream, void *self)
{
    Shout__Line *line;
    int rc;
    (void)self;
    while ((rc = shout_Shouter_Say_server_recv(stream, &line)) > 0) { /* `line` lives until the next receive */
        for (char *c = line->text; *c != '\0'; c++)
            *c = (char)toupper((unsigned char)*c);
        if ((rc = shout_Shouter_Say_server_send(stream, line)) < 0)
            break;
    }
    return rc < 0 ? weft_fail_errno(call, rc) : WEFT_OK;
}

static const shout_Shouter_ops shouter = {.Say = say};

int main(int argc, char **argv)
{
    sigset_t stop_signals;
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGINT);
    sigaddset(&stop_signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop_signals, NULL);

    weft_engine *engine = NULL;
    weft_server *server = NULL;
    int rc = weft_core_engine_new(&engine, NULL);
    if (rc == 0)
        rc = weft_server_new(&server, engine, NULL);
    if (rc == 0)
        rc = shout_Shouter_register(server, &shouter, NULL, NULL);
    if (rc == 0)
        rc = weft_server_listen(server, argc > 1 ? argv[1] : "127.0.0.1:50051");
    if (rc == 0)
        rc = weft_server_start(server);
    if (rc == 0) {
        int signal_number;
        printf("listening on %s\n", weft_server_address(server, 0));
        fflush(stdout);
        sigwait(&stop_signals, &signal_number);
        rc = weft_server_stop(server, 1000);
    }
    if (rc < 0)
        fprintf(stderr, "streaming-server: %s\n", strerror(-rc));
    weft_server_free(server);
    weft_engine_free(engine);
    return rc < 0 ? 1 : 0;
}
