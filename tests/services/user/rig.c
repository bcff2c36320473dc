#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "user_store_sqlite.h"

struct user_service service;

struct user_store *rig_open_store(int64_t busy_timeout_ms, int64_t max_bytes)
{
    char error[256];
    struct user_store *store = NULL;
    weft_sqlite_options options = rig_sqlite_options(busy_timeout_ms, max_bytes);
    if (user_store_sqlite_open(&store, &options, error, sizeof error) != 0)
        fail_msg("%s", error);
    return store;
}

void service_open(int64_t busy_timeout_ms, int64_t max_bytes)
{
    service.store = rig_open_store(busy_timeout_ms, max_bytes);
    assert_int_equal(user_changes_start(&service.changes, service.store, rig.engine, NULL), 0);
    assert_int_equal(user_service_register(rig.server, &service), 0);
}

void service_close(void)
{
    user_changes_stop(service.changes);
    user_store_destroy(service.store);
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
