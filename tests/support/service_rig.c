#include "support/service_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sqlite3.h>

#include <weft/testing.h>

struct rig rig;

void rig_start(int64_t busy_timeout_ms, int64_t max_bytes)
{
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    options.threaded = true;
    assert_int_equal(weft_memory_engine_new(&rig.engine, &options), 0);
    assert_int_equal(weft_server_new(&rig.server, rig.engine, NULL), 0);
    service_open(busy_timeout_ms, max_bytes);
    assert_int_equal(weft_server_listen(rig.server, "service:1"), 0);
    assert_int_equal(weft_server_start(rig.server), 0);
    assert_int_equal(weft_channel_new(&rig.channel, rig.engine, "service:1", NULL), 0);
}

void rig_stop(void)
{
    weft_channel_free(rig.channel);
    weft_server_free(rig.server);
    service_close();
    assert_int_equal(weft_engine_free(rig.engine), 0);
}

int rig_make(void **state)
{
    (void)state;
    if (temp_dir_make() != 0 || weft_arena_new(&rig.arena, 0) != 0)
        return -1;
    temp_path("service.db", rig.path);
    rig_start(5000, 0);
    return 0;
}

int rig_drop(void **state)
{
    (void)state;
    rig_stop();
    weft_arena_free(rig.arena);
    temp_dir_remove();
    return 0;
}

weft_sqlite_options rig_sqlite_options(int64_t busy_timeout_ms, int64_t max_bytes)
{
    weft_sqlite_options options = WEFT_SQLITE_OPTIONS_INIT;
    options.path = rig.path;
    options.readers = 1;
    options.busy_timeout_ms = busy_timeout_ms;
    options.max_bytes = max_bytes;
    return options;
}

void rig_sql(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(rig.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(db, 5000), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

void assert_status(weft_status status, weft_code code, const char *message)
{
    if (status.code != code || strcmp(status.message, message) != 0)
        fail_msg("%s \"%s\" instead of %s \"%s\"", weft_code_name(status.code), status.message, weft_code_name(code),
                 message);
}

ProtobufCMessage *detail(const weft_status *status, const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *found = NULL;
    assert_int_equal(weft_status_detail(status, type, rig.arena, &found), 0);
    return found;
}
