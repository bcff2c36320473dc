/* The handlers: between the messages of user.proto and the domain. Everything they allocate dies with the call. */
#include "user_service.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <weft/details.h>
#include <weft/token.h>
#include <weft/uuid.h>

#include "password.h"
#include "user.weft.h"
#include "user_errors.h"
#include "user_import.h"
#include "user_message.h"

#define DEFAULT_PAGE_SIZE 50
#define MAX_PAGE_SIZE     1000

static struct user_store *store_of(void *self)
{
    return ((const struct user_service *)self)->store;
}

/* An empty string of a message means that the field is not set. */
static bool is_set(const char *field)
{
    return field[0] != '\0';
}

/* Brings an id into the form that ids are stored in. What is no UUID is the id of nobody. */
static bool to_id(const char *text, char id[WEFT_UUID_TEXT_BYTES])
{
    uint8_t bytes[WEFT_UUID_BYTES];
    if (!weft_uuid_parse(text, bytes))
        return false;
    weft_uuid_format(bytes, id);
    return true;
}

/* ---- One user ---------------------------------------------------------------------------------------------------- */

static weft_code get_user(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                          void *self)
{
    char id[WEFT_UUID_TEXT_BYTES];
    struct user user;
    int rc = to_id(request->id, id) ? user_store_get(store_of(self), id, weft_call_arena(call), &user) : -ENOENT;
    if (rc == -ENOENT)
        return user_fail_missing(call, request->id);
    if (rc < 0)
        return weft_fail_store(call, rc);
    response->user = user_message_new(&user, weft_call_arena(call));
    return response->user != NULL ? WEFT_OK : weft_fail_store(call, -ENOMEM);
}

/* Whether a password was hashed, which takes its time, and nobody would learn of the change any more. */
static bool in_vain(weft_call *call, const char *password_hash)
{
    return password_hash != NULL && weft_call_cancelled(call);
}

static weft_code fail_in_vain(weft_call *call)
{
    return weft_fail_errno(call, weft_call_cancel_cause(call) == WEFT_CANCELLED_BY_DEADLINE ? -ETIMEDOUT : -ECANCELED);
}

static weft_code create_user(weft_call *call, const User__CreateUserRequest *request,
                             User__CreateUserResponse *response, void *self)
{
    const struct user_input input = {request->name, request->email, request->password};
    struct user_refusal refusal;
    struct user user;
    int rc = user_read_new(&input, weft_call_arena(call), &user, &refusal);
    if (rc < 0)
        return user_fail_input(call, rc, &refusal);
    if (in_vain(call, user.password_hash))
        return fail_in_vain(call);
    rc = user_store_create(store_of(self), &user);
    if (rc < 0)
        return user_fail_change(call, user.id, rc);
    response->id = (char *)user.id;
    response->name = (char *)user.name;
    response->email = (char *)user.email;
    return WEFT_OK;
}

static weft_code update_user(weft_call *call, const User__UpdateUserRequest *request,
                             User__UpdateUserResponse *response, void *self)
{
    const struct user_input input = {request->name, request->email, request->password};
    weft_arena *arena = weft_call_arena(call);
    char id[WEFT_UUID_TEXT_BYTES];
    struct user_refusal refusal;
    struct user_update values;
    struct user user;
    if (!to_id(request->id, id))
        return user_fail_missing(call, request->id);
    int rc = user_read_update(&input, arena, &values, &refusal);
    if (rc < 0)
        return user_fail_input(call, rc, &refusal);
    if (in_vain(call, values.password_hash))
        return fail_in_vain(call);
    response->user = weft_arena_alloc(arena, sizeof *response->user);
    rc = response->user != NULL ? user_store_update(store_of(self), id, &values, arena, &user) : -ENOMEM;
    if (rc < 0)
        return user_fail_change(call, request->id, rc);
    user_message_fill(response->user, &user);
    return WEFT_OK;
}

static weft_code delete_user(weft_call *call, const User__DeleteUserRequest *request,
                             User__DeleteUserResponse *response, void *self)
{
    char id[WEFT_UUID_TEXT_BYTES];
    (void)response;
    int rc = to_id(request->id, id) ? user_store_remove(store_of(self), id) : -ENOENT;
    return rc < 0 ? user_fail_change(call, request->id, rc) : WEFT_OK;
}

/* ---- Many users -------------------------------------------------------------------------------------------------- */

/* Puts the users into the response, but for the one behind the page, who shows that there is another page. */
static int fill_page(User__ListUsersResponse *response, const struct user *users, size_t count, size_t page_size,
                     weft_arena *arena)
{
    size_t shown = count < page_size ? count : page_size;
    User__User *messages = weft_arena_calloc(arena, shown, sizeof *messages);
    response->users = weft_arena_calloc(arena, shown, sizeof *response->users);
    char *token = weft_arena_zalloc(arena, WEFT_TOKEN_BYTES);
    if (weft_arena_failed(arena))
        return -ENOMEM;
    for (size_t i = 0; i < shown; i++) {
        user_message_fill(&messages[i], &users[i]);
        response->users[i] = &messages[i];
    }
    response->n_users = shown;
    if (count > shown)
        weft_token_format(users[shown - 1].id, "users", token);
    response->next_page_token = token;
    return 0;
}

static weft_code list_users(weft_call *call, const User__ListUsersRequest *request, User__ListUsersResponse *response,
                            void *self)
{
    weft_arena *arena = weft_call_arena(call);
    char text[WEFT_TOKEN_TEXT_BYTES]; /* the last id of the page before */
    char after_id[WEFT_UUID_TEXT_BYTES] = "";
    struct user *users;
    size_t count;
    if (request->page_size < 0)
        return weft_fail_field(call, "page_size", "must not be negative");
    if (is_set(request->page_token) && !(weft_token_parse(request->page_token, "users", text) && to_id(text, after_id)))
        return user_fail_token(call, "page_token");
    size_t page_size = request->page_size == 0 ? DEFAULT_PAGE_SIZE : (size_t)request->page_size;
    if (page_size > MAX_PAGE_SIZE)
        page_size = MAX_PAGE_SIZE;
    int rc = user_store_list(store_of(self), after_id, page_size + 1, arena, &users, &count);
    if (rc == 0)
        rc = fill_page(response, users, count, page_size, arena);
    return rc < 0 ? weft_fail_store(call, rc) : WEFT_OK;
}

/* ---- Passwords --------------------------------------------------------------------------------------------------- */

static weft_code authenticate(weft_call *call, const User__AuthenticateRequest *request,
                              User__AuthenticateResponse *response, void *self)
{
    weft_arena *arena = weft_call_arena(call);
    struct user user = {.password_hash = NULL};
    const char *email_key = user_email_key(request->email, arena);
    int rc = email_key != NULL ? user_store_find(store_of(self), email_key, arena, &user) : -ENOMEM;
    if (rc == 0 || rc == -ENOENT) /* somebody unknown costs as much time as somebody known */
        rc = password_verify(request->password, user.password_hash);
    password_wipe(request->password, strlen(request->password));
    if (rc == -EACCES)
        return weft_fail(call, WEFT_UNAUTHENTICATED, "email and password do not belong together");
    if (rc < 0)
        return weft_fail_store(call, rc);
    response->user = user_message_new(&user, arena);
    return response->user != NULL ? WEFT_OK : weft_fail_store(call, -ENOMEM);
}

/* ---- Streams ----------------------------------------------------------------------------------------------------- */

static weft_code watch_users(weft_call *call, const User__WatchUsersRequest *request,
                             user_UserService_WatchUsers_server *stream, void *self)
{
    (void)stream; /* the feed's from here on */
    return user_changes_follow(((const struct user_service *)self)->changes, call, request);
}

static weft_code import_users(weft_call *call, user_UserService_ImportUsers_server *stream,
                              User__ImportUsersResponse *response, void *self)
{
    return user_import(store_of(self), call, stream, response);
}

/* ------------------------------------------------------------------------------------------------------------------ */

int user_service_register(weft_server *server, struct user_service *service)
{
    static const user_UserService_ops ops = {
        .GetUser = get_user,
        .CreateUser = create_user,
        .UpdateUser = update_user,
        .DeleteUser = delete_user,
        .ListUsers = list_users,
        .Authenticate = authenticate,
        .WatchUsers = watch_users,
        .ImportUsers = import_users,
    };
    weft_method_options watch = WEFT_METHOD_OPTIONS_INIT;
    weft_service_options options = WEFT_SERVICE_OPTIONS_INIT;
    watch.method = "WatchUsers";
    watch.defers = true;
    options.methods = &watch;
    options.method_count = 1;
    return user_UserService_register(server, &ops, service, &options);
}
