/* The handlers: between the messages of user.proto and the domain. Everything they allocate dies with the call. */
#include "user_service.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <weft/details.h>
#include <weft/uuid.h>

#include "password.h"
#include "user.h"
#include "user.weft.h"

#define DEFAULT_PAGE_SIZE 50
#define MAX_PAGE_SIZE     1000
#define PAGE_TOKEN_BYTES  (WEFT_UUID_TEXT_BYTES + 9) /* the last id of the page, a dot, eight digits */

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

/* The status of what the store, or the memory, could not do. Missing and doubled users have words of their own. */
static weft_code fail_store(weft_call *call, int rc)
{
    switch (rc) {
    case -ENOSPC:
        return weft_fail(call, WEFT_RESOURCE_EXHAUSTED, "the disk is full");
    case -EBUSY:
        return weft_fail(call, WEFT_UNAVAILABLE, "the database is locked; try again");
    case -EROFS:
        return weft_fail(call, WEFT_UNAVAILABLE, "the database cannot be written");
    default:
        return weft_fail_errno(call, rc);
    }
}

static weft_code fail_missing(weft_call *call, const char *id)
{
    Google__Rpc__ResourceInfo info = GOOGLE__RPC__RESOURCE_INFO__INIT;
    info.resource_type = (char *)"user";
    info.resource_name = (char *)id;
    weft_code code = weft_fail(call, WEFT_NOT_FOUND, "user %.64s does not exist", id);
    if (strlen(id) < WEFT_UUID_TEXT_BYTES) /* what is longer is no id, and might not fit into what the peer takes */
        (void)weft_fail_detail(call, &info.base);
    return code;
}

static weft_code fail_taken(weft_call *call)
{
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    info.reason = (char *)"EMAIL_TAKEN";
    info.domain = (char *)"user.UserService";
    weft_code code = weft_fail(call, WEFT_ALREADY_EXISTS, "email belongs to another user");
    (void)weft_fail_detail(call, &info.base);
    return code;
}

/* The status of a change that did not go through. */
static weft_code fail_change(weft_call *call, const char *id, int rc)
{
    if (rc == -ENOENT)
        return fail_missing(call, id);
    if (rc == -EEXIST)
        return fail_taken(call);
    return fail_store(call, rc);
}

/* The status of a field that the domain refuses. */
static weft_code fail_field(weft_call *call, int rc, const char *field, const char *why)
{
    if (rc == -EINVAL)
        return weft_fail_field(call, field, "%s", why);
    return fail_store(call, rc);
}

/* ---- Messages ---------------------------------------------------------------------------------------------------- */

/* An empty string of a message means that the field is not set. */
static bool is_set(const char *field)
{
    return field[0] != '\0';
}

/* Fills a message, which refers to the strings of `user`. They lie in the call's arena, as all strings of the store. */
static void to_message(const struct user *user, User__User *message)
{
    user__user__init(message);
    message->id = (char *)user->id;
    message->name = (char *)user->name;
    message->email = (char *)user->email;
}

/* The same in the arena; NULL when that is full. */
static User__User *new_message(const struct user *user, weft_arena *arena)
{
    User__User *message = weft_arena_alloc(arena, sizeof *message);
    if (message != NULL)
        to_message(user, message);
    return message;
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

/* Checks the fields that are set and makes the new values of them. The password is wiped from the request. */
static weft_code to_change(weft_call *call, const char *name, const char *email, char *password,
                           struct user_change *out)
{
    weft_arena *arena = weft_call_arena(call);
    struct user_change change = {NULL, NULL, NULL, NULL};
    const char *why = NULL;
    int rc = is_set(name) ? user_check_name(name, arena, &change.name, &why) : 0;
    if (rc < 0)
        return fail_field(call, rc, "name", why);
    if (is_set(email)) {
        rc = user_check_email(email, &why);
        if (rc < 0)
            return fail_field(call, rc, "email", why);
        change.email = email;
        change.email_key = user_email_key(email, arena);
        if (change.email_key == NULL)
            return fail_store(call, -ENOMEM);
    }
    if (is_set(password)) {
        rc = user_check_password(password, &why);
        if (rc < 0)
            return fail_field(call, rc, "password", why);
        char *hash = weft_arena_alloc(arena, PASSWORD_HASH_BYTES);
        rc = hash != NULL ? password_hash(password, hash) : -ENOMEM;
        password_wipe(password, strlen(password));
        if (rc < 0)
            return fail_store(call, rc);
        change.password_hash = hash;
        if (weft_call_cancelled(call)) /* hashing takes its time; nobody would learn of the change any more */
            return weft_fail(call, WEFT_CANCELLED, "the caller has gone");
    }
    *out = change;
    return WEFT_OK;
}

/* ---- One user ---------------------------------------------------------------------------------------------------- */

static weft_code get_user(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                          void *self)
{
    char id[WEFT_UUID_TEXT_BYTES];
    struct user user;
    int rc = to_id(request->id, id) ? user_store_get(self, id, weft_call_arena(call), &user) : -ENOENT;
    if (rc == -ENOENT)
        return fail_missing(call, request->id);
    if (rc < 0)
        return fail_store(call, rc);
    response->user = new_message(&user, weft_call_arena(call));
    return response->user != NULL ? WEFT_OK : fail_store(call, -ENOMEM);
}

static weft_code create_user(weft_call *call, const User__CreateUserRequest *request,
                             User__CreateUserResponse *response, void *self)
{
    struct user_change change;
    if (!is_set(request->name))
        return weft_fail_field(call, "name", "must not be empty");
    if (!is_set(request->email))
        return weft_fail_field(call, "email", "must not be empty");
    weft_code code = to_change(call, request->name, request->email, request->password, &change);
    if (code != WEFT_OK)
        return code;
    char *id = weft_arena_alloc(weft_call_arena(call), WEFT_UUID_TEXT_BYTES);
    int rc = id != NULL ? weft_uuid7(id) : -ENOMEM;
    if (rc < 0)
        return fail_store(call, rc);
    struct user user = {id, change.name, change.email, change.email_key, change.password_hash};
    rc = user_store_create(self, &user);
    if (rc < 0)
        return fail_change(call, id, rc);
    response->id = id;
    response->name = (char *)user.name;
    response->email = (char *)user.email;
    return WEFT_OK;
}

static weft_code update_user(weft_call *call, const User__UpdateUserRequest *request,
                             User__UpdateUserResponse *response, void *self)
{
    char id[WEFT_UUID_TEXT_BYTES];
    struct user_change change;
    struct user user;
    if (!to_id(request->id, id))
        return fail_missing(call, request->id);
    weft_code code = to_change(call, request->name, request->email, request->password, &change);
    if (code != WEFT_OK)
        return code;
    response->user = weft_arena_alloc(weft_call_arena(call), sizeof *response->user);
    int rc = response->user != NULL ? user_store_update(self, id, &change, weft_call_arena(call), &user) : -ENOMEM;
    if (rc < 0)
        return fail_change(call, request->id, rc);
    to_message(&user, response->user);
    return WEFT_OK;
}

static weft_code delete_user(weft_call *call, const User__DeleteUserRequest *request,
                             User__DeleteUserResponse *response, void *self)
{
    char id[WEFT_UUID_TEXT_BYTES];
    (void)response;
    int rc = to_id(request->id, id) ? user_store_remove(self, id) : -ENOENT;
    return rc < 0 ? fail_change(call, request->id, rc) : WEFT_OK;
}

/* ---- Many users -------------------------------------------------------------------------------------------------- */

/* FNV-1a, which tells a token of ours from one that was cut or made up. */
static uint32_t checksum(const char *text)
{
    uint32_t sum = 2166136261U;
    for (; *text != '\0'; text++)
        sum = (sum ^ (uint8_t)*text) * 16777619U;
    return sum;
}

static void format_page_token(const char *id, char token[PAGE_TOKEN_BYTES])
{
    snprintf(token, PAGE_TOKEN_BYTES, "%s.%08" PRIx32, id, checksum(id));
}

/* Whether a token is one of ours; the id in it comes out. */
static bool parse_page_token(const char *token, char id[WEFT_UUID_TEXT_BYTES])
{
    char again[PAGE_TOKEN_BYTES];
    if (strlen(token) != PAGE_TOKEN_BYTES - 1)
        return false;
    memcpy(id, token, WEFT_UUID_TEXT_BYTES - 1);
    id[WEFT_UUID_TEXT_BYTES - 1] = '\0';
    format_page_token(id, again);
    return strcmp(token, again) == 0;
}

/* Puts the users into the response, but for the one behind the page, who shows that there is another page. */
static int fill_page(User__ListUsersResponse *response, const struct user *users, size_t count, size_t page_size,
                     weft_arena *arena)
{
    size_t shown = count < page_size ? count : page_size;
    User__User *messages = weft_arena_calloc(arena, shown, sizeof *messages);
    response->users = weft_arena_calloc(arena, shown, sizeof *response->users);
    char *token = weft_arena_zalloc(arena, PAGE_TOKEN_BYTES);
    if (weft_arena_failed(arena))
        return -ENOMEM;
    for (size_t i = 0; i < shown; i++) {
        to_message(&users[i], &messages[i]);
        response->users[i] = &messages[i];
    }
    response->n_users = shown;
    if (count > shown)
        format_page_token(users[shown - 1].id, token);
    response->next_page_token = token;
    return 0;
}

static weft_code list_users(weft_call *call, const User__ListUsersRequest *request, User__ListUsersResponse *response,
                            void *self)
{
    weft_arena *arena = weft_call_arena(call);
    char after_id[WEFT_UUID_TEXT_BYTES] = "";
    struct user *users;
    size_t count;
    if (request->page_size < 0)
        return weft_fail_field(call, "page_size", "must not be negative");
    if (is_set(request->page_token) && !parse_page_token(request->page_token, after_id))
        return weft_fail_field(call, "page_token", "does not come from an earlier answer");
    size_t page_size = request->page_size == 0 ? DEFAULT_PAGE_SIZE : (size_t)request->page_size;
    if (page_size > MAX_PAGE_SIZE)
        page_size = MAX_PAGE_SIZE;
    int rc = user_store_list(self, after_id, page_size + 1, arena, &users, &count);
    if (rc == 0)
        rc = fill_page(response, users, count, page_size, arena);
    return rc < 0 ? fail_store(call, rc) : WEFT_OK;
}

/* ---- Passwords --------------------------------------------------------------------------------------------------- */

static weft_code authenticate(weft_call *call, const User__AuthenticateRequest *request,
                              User__AuthenticateResponse *response, void *self)
{
    weft_arena *arena = weft_call_arena(call);
    struct user user = {.password_hash = NULL};
    const char *email_key = user_email_key(request->email, arena);
    int rc = email_key != NULL ? user_store_find(self, email_key, arena, &user) : -ENOMEM;
    if (rc == 0 || rc == -ENOENT) /* somebody unknown costs as much time as somebody known */
        rc = password_verify(request->password, user.password_hash);
    password_wipe(request->password, strlen(request->password));
    if (rc == -EACCES)
        return weft_fail(call, WEFT_UNAUTHENTICATED, "email and password do not belong together");
    if (rc < 0)
        return fail_store(call, rc);
    response->user = new_message(&user, arena);
    return response->user != NULL ? WEFT_OK : fail_store(call, -ENOMEM);
}

/* ------------------------------------------------------------------------------------------------------------------ */

int user_service_register(weft_server *server, struct user_store *store)
{
    static const user_UserService_ops ops = {
        .GetUser = get_user,
        .CreateUser = create_user,
        .UpdateUser = update_user,
        .DeleteUser = delete_user,
        .ListUsers = list_users,
        .Authenticate = authenticate,
    };
    return user_UserService_register(server, &ops, store, NULL);
}
