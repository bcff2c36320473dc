/* rig.h: user.UserService on a file of its own and the memory engine with its workers, and a channel to it. */
#ifndef WEFT_TESTS_USER_RIG_H
#define WEFT_TESTS_USER_RIG_H

#include <stdint.h>

#include <weft/weft.h>

#include "support/temp_dir.h"
#include "user.weft.h"
#include "user_service.h"

struct rig {
    char path[TEMP_PATH_BYTES]; /* of the database */
    struct user_service service;
    weft_engine *engine;
    weft_server *server;
    weft_channel *channel;
    weft_arena *arena; /* of the client */
};

extern struct rig rig;

/* cmocka set-up and tear-down. */
int rig_make(void **state);
int rig_drop(void **state);

/* Opens one more store on the file. */
struct user_store *rig_open_store(int64_t busy_timeout_ms, int64_t max_bytes);

/* What a process does when it starts and when it stops. */
void rig_start(int64_t busy_timeout_ms, int64_t max_bytes);
void rig_stop(void);

/* Runs SQL on a connection of its own, as another program would. */
void rig_sql(const char *sql);

void assert_status(weft_status status, weft_code code, const char *message);
void assert_bad_field(weft_status status, const char *field);
ProtobufCMessage *detail(const weft_status *status, const ProtobufCMessageDescriptor *type);

/* Calls. `response` may be NULL. */
weft_status create(char *name, char *email, char *password, User__CreateUserResponse **response);
weft_status update(const User__UpdateUserRequest *request, User__UpdateUserResponse **response);
weft_status delete_user(char *id);
weft_status list(int32_t page_size, char *token, User__ListUsersResponse **response);
weft_status authenticate(char *email, char *password, User__AuthenticateResponse **response);

/* Ada@Example.org, "analytical engine". @return her id. */
char *create_ada(void);

#endif
