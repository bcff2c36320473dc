/* order-service: what it may be told, and which store it serves. */
#include <string.h>

#include <weft/consul.h>
#include <weft/core.h>
#include <weft/weft.h>

#include "order_service.h"
#include "order_store_sqlite.h"
#include "users_grpc.h"

static const weft_config_key keys[] = {
    {.name = "database.path", .type = WEFT_CONFIG_STRING, .fallback = "orders.db", .doc = "The SQLite file"},
    {.name = "database.readers",
     .type = WEFT_CONFIG_INT,
     .fallback = "4",
     .min = 1,
     .max = 64,
     .unit = "connections",
     .doc = "What may read at the same time"},
    {.name = "database.busy_timeout",
     .type = WEFT_CONFIG_DURATION,
     .fallback = "5s",
     .min = 1,
     .max = 3600000,
     .doc = "How long a call waits for a locked database"},
    {.name = "database.max_size",
     .type = WEFT_CONFIG_SIZE,
     .fallback = "0",
     .doc = "What the database may grow to; 0: whatever the disk has"},
    {.name = "database.sync",
     .type = WEFT_CONFIG_BOOL,
     .fallback = "true",
     .doc = "Whether a change waits for the disk, so that a power cut loses none that was answered for"},
    {.name = "users.target",
     .type = WEFT_CONFIG_STRING,
     .fallback = "consul:///user-service",
     .doc = "Where the user service is"},
    {.name = "users.timeout",
     .type = WEFT_CONFIG_DURATION,
     .fallback = "1s",
     .min = 1,
     .max = 3600000,
     .doc = "How long the user service may take to answer, with all attempts"},
};

struct state {
    struct order_service service;
    weft_channel *users;
};

static void stop(void *arg)
{
    struct state *state = arg;
    order_changes_stop(state->service.changes);
    user_directory_destroy(state->service.users);
    weft_channel_free(state->users);
    order_store_destroy(state->service.store);
    memset(state, 0, sizeof *state);
}

static int open_store(weft_process *process, struct order_store **store)
{
    const weft_config *config = weft_process_config(process);
    char error[512];
    weft_sqlite_options options = WEFT_SQLITE_OPTIONS_INIT;
    options.path = weft_config_string(config, "database.path");
    options.readers = weft_config_int(config, "database.readers");
    options.busy_timeout_ms = weft_config_duration_ms(config, "database.busy_timeout");
    options.max_bytes = weft_config_size_bytes(config, "database.max_size");
    options.sync_commits = weft_config_bool(config, "database.sync");
    int rc = order_store_sqlite_open(store, &options, error, sizeof error);
    if (rc < 0)
        weft_log_error(weft_process_log(process), "cannot open the database",
                       WEFT_FIELDS(WEFT_STR("path", options.path), WEFT_STR("error", error)));
    return rc;
}

static int open_users(weft_process *process, weft_channel **channel, struct user_directory **users)
{
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.service_config = users_grpc_service_config;
    int rc = weft_process_channel(process, "users.target", &options, channel);
    if (rc < 0)
        return rc;
    int64_t timeout_ms = weft_config_duration_ms(weft_process_config(process), "users.timeout");
    return users_grpc_new(users, *channel, timeout_ms, weft_process_log(process));
}

static int start(weft_process *process, void **out)
{
    static struct state state;
    weft_log *log = weft_process_log(process);
    int rc = open_store(process, &state.service.store);
    if (rc == 0)
        rc = open_users(process, &state.users, &state.service.users);
    if (rc == 0)
        rc = order_changes_start(&state.service.changes, state.service.store, weft_process_engine(process), log);
    if (rc == 0)
        rc = order_service_register(weft_process_server(process), &state.service);
    if (rc < 0) {
        weft_log_error(log, "cannot serve orders", WEFT_FIELDS(WEFT_STR("error", strerror(-rc))));
        stop(&state);
        return rc;
    }
    *out = &state;
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
