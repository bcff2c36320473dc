/* sample-service: what it may be told, and what it serves. */
#include <string.h>

#include <weft/consul.h>
#include <weft/core.h>
#include <weft/weft.h>

#include "sample_service.h"

/* Makes what the handlers need, and registers them. Keys of the configuration are named in `program` below. */
static int start(weft_process *process, void **state)
{
    int rc = sample_service_register(weft_process_server(process));
    if (rc < 0) {
        weft_log_error(weft_process_log(process), "cannot serve", WEFT_FIELDS(WEFT_STR("error", strerror(-rc))));
        return rc;
    }
    *state = NULL;
    return 0;
}

static void stop(void *state)
{
    (void)state;
}

int main(int argc, char **argv)
{
    static const weft_program program = {
        .struct_size = sizeof program,
        .name = "sample-service",
        .env_prefix = "SAMPLE",
        .engine = weft_core_program_engine,
        .directory = &weft_consul_directory,
        .start = start,
        .stop = stop,
    };
    return weft_program_main(&program, argc, argv);
}
