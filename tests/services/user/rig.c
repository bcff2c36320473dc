#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sqlite3.h>

#include <weft/testing.h>

#include "user_store_sqlite.h"

struct rig rig;

struct user_store *rig_open_store(int64_t busy_timeout_ms, int64_t max_bytes)
{
    char error[256];
    struct user_store *store = NULL;
    weft_sqlite_options options = WEFT_SQLITE_OPTIONS_INIT;
    options.path = rig.path;
    options.readers = 1;
    options.busy_timeout_ms = busy_timeout_ms;
    options.max_bytes = max_bytes;
    if (user_store_sqlite_open(&store, &options, error, sizeof error) != 0)
        fail_msg("%s", error);
    return store;
}

void rig_start(int64_t busy_timeout_ms, int64_t max_bytes)
{
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    options.threaded = true;
    struct user_store *store = rig_open_store(busy_timeout_ms, max_bytes);
    rig.service.store = store;
    assert_int_equal(weft_memory_engine_new(&rig.engine, &options), 0);
    assert_int_equal(user_changes_start(&rig.service.changes, store, rig.engine, NULL), 0);
    assert_int_equal(weft_server_new(&rig.server, rig.engine, NULL), 0);
    assert_int_equal(user_service_register(rig.server, &rig.service), 0);
    assert_int_equal(weft_server_listen(rig.server, "user:1"), 0);
    assert_int_equal(weft_server_start(rig.server), 0);
    assert_int_equal(weft_channel_new(&rig.channel, rig.engine, "user:1", NULL), 0);
}

void rig_stop(void)
{
    weft_channel_free(rig.channel);
    weft_server_free(rig.server);
    user_changes_stop(rig.service.changes);
    user_store_destroy(rig.service.store);
    assert_int_equal(weft_engine_free(rig.engine), 0);
}

int rig_make(void **state)
{
    (void)state;
    if (temp_dir_make() != 0 || weft_arena_new(&rig.arena, 0) != 0)
        return -1;
    temp_path("user.db", rig.path);
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

void assert_bad_field(weft_status status, const char *field)
{
    const Google__Rpc__BadRequest *bad =
        (Google__Rpc__BadRequest *)detail(&status, &google__rpc__bad_request__descriptor);
    assert_int_equal(status.code, WEFT_INVALID_ARGUMENT);
    assert_int_equal(bad->n_field_violations, 1);
    assert_string_equal(bad->field_violations[0]->field, field);
}

weft_status create(char *name, char *email, char *password, User__CreateUserResponse **response)
{
    User__CreateUserRequest request = USER__CREATE_USER_REQUEST__INIT;
    User__CreateUserResponse *unused = NULL;
    request.name = name;
    request.email = email;
    request.password = password;
    return user_UserService_CreateUser(rig.channel, rig.arena, NULL, &request, response != NULL ? response : &unused);
}

char *create_ada(void)
{
    User__CreateUserResponse *response = NULL;
    assert_status(create("Ada", "Ada@Example.org", "analytical engine", &response), WEFT_OK, "");
    return response->id;
}

weft_status update(const User__UpdateUserRequest *request, User__UpdateUserResponse **response)
{
    User__UpdateUserResponse *unused = NULL;
    return user_UserService_UpdateUser(rig.channel, rig.arena, NULL, request, response != NULL ? response : &unused);
}

weft_status delete_user(char *id)
{
    User__DeleteUserRequest request = USER__DELETE_USER_REQUEST__INIT;
    User__DeleteUserResponse *unused = NULL;
    request.id = id;
    return user_UserService_DeleteUser(rig.channel, rig.arena, NULL, &request, &unused);
}

weft_status list(int32_t page_size, char *token, User__ListUsersResponse **response)
{
    User__ListUsersRequest request = USER__LIST_USERS_REQUEST__INIT;
    User__ListUsersResponse *unused = NULL;
    request.page_size = page_size;
    request.page_token = token;
    return user_UserService_ListUsers(rig.channel, rig.arena, NULL, &request, response != NULL ? response : &unused);
}

weft_status authenticate(char *email, char *password, User__AuthenticateResponse **response)
{
    User__AuthenticateRequest request = USER__AUTHENTICATE_REQUEST__INIT;
    User__AuthenticateResponse *unused = NULL;
    request.email = email;
    request.password = password;
    return user_UserService_Authenticate(rig.channel, rig.arena, NULL, &request, response != NULL ? response : &unused);
}
