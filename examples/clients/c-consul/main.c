/* A client of the user service that finds it by Consul: user-client-consul consul:///user-service NAME EMAIL. The agent
 * is at 127.0.0.1:8500, or where CONSUL_HTTP_ADDR says. */
#include <weft/consul.h>

#include "clients/common.h"

/* Reads are tried again, on another instance. So is a CreateUser, but only when no instance has seen it. */
static const char service_config[] =
    "{\"methodConfig\": ["
    "  {\"name\": [{\"service\": \"user.UserService\"}], \"timeout\": \"5s\", \"waitForReady\": true},"
    "  {\"name\": [{\"service\": \"user.UserService\", \"method\": \"GetUser\"},"
    "              {\"service\": \"user.UserService\", \"method\": \"ListUsers\"}],"
    "   \"timeout\": \"5s\", \"waitForReady\": true,"
    "   \"retryPolicy\": {\"maxAttempts\": 4, \"initialBackoff\": \"0.05s\", \"maxBackoff\": \"1s\","
    "     \"backoffMultiplier\": 2, \"retryableStatusCodes\": [\"UNAVAILABLE\"]}}],"
    " \"retryThrottling\": {\"maxTokens\": 100, \"tokenRatio\": 0.1}}";

/* Creates a user, fetches it, lists all, and asks for one who is not there. @return the first failure, or the last. */
static weft_status visit(weft_channel *users, weft_arena *arena, char *name, char *email)
{
    User__CreateUserRequest create = USER__CREATE_USER_REQUEST__INIT;
    User__CreateUserResponse *user = NULL;
    create.name = name;
    create.email = email;
    weft_status status = user_UserService_CreateUser(users, arena, NULL, &create, &user);
    if (status.code != WEFT_OK)
        return status;
    show_created(user);

    User__GetUserRequest get = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *got = NULL;
    get.id = user->id;
    status = user_UserService_GetUser(users, arena, NULL, &get, &got);
    if (status.code != WEFT_OK)
        return status;
    show_got(got);

    User__ListUsersRequest list = USER__LIST_USERS_REQUEST__INIT;
    User__ListUsersResponse *page = NULL;
    list.page_size = 2;
    for (int number = 1; number == 1 || list.page_token[0] != '\0'; number++) {
        status = user_UserService_ListUsers(users, arena, NULL, &list, &page);
        if (status.code != WEFT_OK)
            return status;
        show_page(number, page);
        list.page_token = page->next_page_token;
    }
    get.id = (char *)"no-such-user";
    return user_UserService_GetUser(users, arena, NULL, &get, &got);
}

int main(int argc, char **argv)
{
    weft_engine *engine = NULL;
    weft_consul *consul = NULL;
    weft_channel *users = NULL;
    weft_arena *arena = NULL;
    char why[256] = "";
    expect(argc == 4, "user-client-consul consul:///user-service NAME EMAIL");
    check(weft_arena_new(&arena, 64 << 20), "memory");
    check(weft_core_engine_new(&engine, NULL), "engine");
    check(weft_consul_new(&consul, NULL, why, sizeof why), why);
    weft_resolver *resolver = weft_consul_resolver(consul);
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.resolvers = &resolver;
    options.resolver_count = 1;
    options.service_config = service_config;
    check(weft_channel_new(&users, engine, argv[1], &options), argv[1]);
    weft_status status = visit(users, arena, argv[2], argv[3]);
    (void)show_failure(&status, arena);
    weft_channel_free(users);
    weft_consul_free(consul);
    weft_engine_free(engine);
    weft_arena_free(arena);
    return status.code == WEFT_NOT_FOUND ? 0 : 1; /* the user who is not there */
}
