/* sample-service: what it may be told, and which store it serves. */
#include <string.h>

#include <weft/consul.h>
#include <weft/core.h>
#include <weft/weft.h>

#include "sample_service.h"
#include "sample_store_sqlite.h"

static const weft_config_key keys[] = {
    {.name = "database.path", .type = WEFT_CONFIG_STRING, .fallback = "sample.db", .doc = "The SQLite file"},
    {.name = "hello.greeting", .type = WEFT_CONFIG_STRING, .fallback = "Hello", .doc = "What a greeting begins with"},
};

static int start(weft_process *process, void **state)
{
    static struct sample_service service;
    const weft_config *config = weft_process_config(process);
    weft_log *log = weft_process_log(process);
    char error[512];
    weft_sqlite_options options = WEFT_SQLITE_OPTIONS_INIT;
    options.path = weft_config_string(config, "database.path");
    service.greeting = weft_config_string(config, "hello.greeting");
    int rc = sample_store_sqlite_open(&service.store, &options, error, sizeof error);
    if (rc < 0) {
        weft_log_error(log, "cannot open the database",
                       WEFT_FIELDS(WEFT_STR("path", options.path), WEFT_STR("error", error)));
        return rc;
    }
    rc = sample_service_register(weft_process_server(process), &service);
    if (rc < 0) {
        weft_log_error(log, "cannot serve", WEFT_FIELDS(WEFT_STR("error", strerror(-rc))));
        sample_store_destroy(service.store);
        return rc;
    }
    *state = service.store;
    return 0;
}

static void stop(void *state)
{
    sample_store_destroy(state);
}

int main(int argc, char **argv)
{
    static const weft_program program = {
        .struct_size = sizeof program,
        .name = "sample-service",
        .env_prefix = "SAMPLE",
        .keys = keys,
        .key_count = sizeof keys / sizeof keys[0],
        .engine = weft_core_program_engine,
        .directory = &weft_consul_directory,
        .start = start,
        .stop = stop,
    };
    return weft_program_main(&program, argc, argv);
}
