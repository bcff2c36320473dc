/*
 * The program around a comparison's server on Weft: its command line, the engine on gRPC core, the server, and its end
 * by a signal.
 */
#ifndef WEFT_BENCH_WEFT_SERVER_H
#define WEFT_BENCH_WEFT_SERVER_H

#include <stdbool.h>

#include <weft/server.h>

typedef struct bench_weft_server {
    const char *name;
    int workers;                                              /* with --mode worker; 0: the default */
    int (*add_service)(weft_server *server, bool run_inline); /* 0, or -errno */
} bench_weft_server;

/* What main returns. --mode inline or --mode worker says where the handlers run. */
int bench_weft_server_main(const bench_weft_server *program, int argc, char **argv);

#endif
