/* service_rig.h: a service on a database of its own and the memory engine with its workers, and a channel to it. What
 * is one service's own lies in its rig.h, and in its rig.c, which defines the two functions at the end. */
#ifndef WEFT_TESTS_SERVICE_RIG_H
#define WEFT_TESTS_SERVICE_RIG_H

#include <stdint.h>

#include <weft/sqlite.h>
#include <weft/weft.h>

#include "support/temp_dir.h"

struct rig {
    char path[TEMP_PATH_BYTES]; /* of the database */
    weft_engine *engine;
    weft_server *server;
    weft_channel *channel;
    weft_arena *arena; /* of the client */
};

extern struct rig rig;

/* cmocka set-up and tear-down. */
int rig_make(void **state);
int rig_drop(void **state);

/* What a process does when it starts and when it stops. */
void rig_start(int64_t busy_timeout_ms, int64_t max_bytes);
void rig_stop(void);

/* For one more connection to the database. */
weft_sqlite_options rig_sqlite_options(int64_t busy_timeout_ms, int64_t max_bytes);

/* Runs SQL on a connection of its own, as another program would. */
void rig_sql(const char *sql);

void assert_status(weft_status status, weft_code code, const char *message);
ProtobufCMessage *detail(const weft_status *status, const ProtobufCMessageDescriptor *type);

/* Opens what the handlers use, and registers the service with rig.server; closes it, after that server. */
void service_open(int64_t busy_timeout_ms, int64_t max_bytes);
void service_close(void);

#endif
