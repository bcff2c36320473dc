#include "weft_server.h"

#include <stdio.h>
#include <string.h>

#include <weft/core.h>

#include "program.h"

enum mode {
    MODE_INLINE,
    MODE_WORKER,
};

static int serve(const bench_weft_server *program, const bench_options *options)
{
    weft_core_engine_options engine_options = WEFT_CORE_ENGINE_OPTIONS_INIT;
    weft_server_options server_options = WEFT_SERVER_OPTIONS_INIT;
    weft_engine *engine = NULL;
    weft_server *server = NULL;
    char address[32];

    engine_options.threads = options->threads;
    engine_options.queues = options->queues;
    server_options.workers = options->variant == MODE_WORKER ? program->workers : -1;
    server_options.max_worker_streams = -1;
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", options->port);
    int rc = weft_core_engine_new(&engine, &engine_options);
    if (rc == 0)
        rc = weft_server_new(&server, engine, &server_options);
    if (rc == 0)
        rc = program->add_service(server, options->variant == MODE_INLINE);
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

int bench_weft_server_main(const bench_weft_server *program, int argc, char **argv)
{
    static const char *const mode_names[] = {"inline", "worker", NULL};
    static const bench_variants variants = {"mode", mode_names};
    bench_options options;
    if (bench_options_parse(&options, &variants, argc, argv) < 0)
        return 2;
    bench_block_stop_signals();
    int rc = serve(program, &options);
    if (rc < 0) {
        fprintf(stderr, "%s: %s\n", program->name, strerror(-rc));
        return 1;
    }
    return 0;
}
