#include "clients/calls.h"

#include "clients/common.h"

static void on_got(const weft_status *status, User__GetUserResponse *got, weft_result *result, void *arg)
{
    struct calls *calls = arg;
    show_got(got);
    calls->ended(calls, show_failure(status, weft_result_arena(result)));
}

void calls_get(struct calls *calls, char *id)
{
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    request.id = id;
    check(user_UserService_GetUser_async(calls->users, &calls->options, &request, on_got, calls), "GetUser");
}

static void on_created(const weft_status *status, User__CreateUserResponse *user, weft_result *result, void *arg)
{
    struct calls *calls = arg;
    show_created(user);
    if (user != NULL)
        calls_get(calls, user->id); /* which packs the id; the answer is gone when this callback has returned */
    else
        calls->ended(calls, show_failure(status, weft_result_arena(result)));
}

void calls_create(struct calls *calls, char *name, char *email)
{
    User__CreateUserRequest request = USER__CREATE_USER_REQUEST__INIT;
    request.name = name;
    request.email = email;
    check(user_UserService_CreateUser_async(calls->users, &calls->options, &request, on_created, calls), "CreateUser");
}

static void on_page(const weft_status *status, User__ListUsersResponse *page, weft_result *result, void *arg)
{
    struct calls *calls = arg;
    show_page(++calls->page_number, page);
    if (page != NULL && page->next_page_token[0] != '\0')
        calls_list(calls, page->next_page_token);
    else
        calls->ended(calls, show_failure(status, weft_result_arena(result)));
}

void calls_list(struct calls *calls, char *page_token)
{
    User__ListUsersRequest request = USER__LIST_USERS_REQUEST__INIT;
    request.page_size = 2;
    request.page_token = page_token;
    check(user_UserService_ListUsers_async(calls->users, &calls->options, &request, on_page, calls), "ListUsers");
}
