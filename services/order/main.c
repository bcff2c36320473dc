/* order-service: what it may be told, and which store it serves. */
#include <string.h>

#include <weft/consul.h>
#include <weft/core.h>
#include <weft/weft.h>

#include "order_service.h"
#include "order_store_sqlite.h"
#include "users_grpc.h"

static const weft_config_key keys[] = {
    WEFT_SQLITE_KEYS("orders.db", "true"),
    USERS_GRPC_KEYS,
};

static void stop(void *state)
{
    struct order_service *service = state;
    order_changes_stop(service->changes);
    user_directory_destroy(service->users);
    order_store_destroy(service->store);
}

static int start(weft_process *process, void **state)
{
    static struct order_service service;
    weft_log *log = weft_process_log(process);
    char error[512] = "";
    weft_sqlite_options options = WEFT_SQLITE_OPTIONS_INIT;
    weft_sqlite_configure(&options, weft_process_config(process));
    int rc = order_store_sqlite_open(&service.store, &options, error, sizeof error);
    if (rc == 0)
        rc = users_grpc_open(&service.users, process);
    if (rc == 0)
        rc = order_changes_start(&service.changes, service.store, weft_process_engine(process), log);
    if (rc == 0)
        rc = order_service_register(weft_process_server(process), &service);
    if (rc < 0) {
        weft_log_error(log, "cannot serve",
                       WEFT_FIELDS(WEFT_STR("error", strerror(-rc)), WEFT_STR("database", options.path),
                                   WEFT_STR("reason", error)));
        stop(&service);
        return rc;
    }
    *state = &service;
    return 0;
}

int main(int argc, char **argv)
{
    static const weft_program program = {
        .struct_size = sizeof program,
        .name = "order-service",
        .env_prefix = "ORDER",
        .keys = keys,
        .key_count = sizeof keys / sizeof keys[0],
        .engine = weft_core_program_engine,
        .directory = &weft_consul_directory,
        .start = start,
        .stop = stop,
    };
    return weft_program_main(&program, argc, argv);
}
