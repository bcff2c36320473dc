/* A client of the user service that waits for each answer: user-client, see the usage below. */
#include "clients/common.h"

static const char usage[] = "user-client [--timeout-ms N] HOST:PORT COMMAND, which is one of\n"
                            "  create NAME EMAIL [PASSWORD]\n  get ID\n  list [PAGE_SIZE]";
static weft_channel *users;
static weft_arena *arena; /* all answers lie in it */
static weft_call_options options = WEFT_CALL_OPTIONS_INIT;

static weft_status create(char *name, char *email, char *password)
{
    User__CreateUserRequest request = USER__CREATE_USER_REQUEST__INIT;
    User__CreateUserResponse *user = NULL;
    request.name = name;
    request.email = email;
    request.password = password;
    weft_status status = user_UserService_CreateUser(users, arena, &options, &request, &user);
    show_created(user);
    return status;
}

static weft_status get(char *id)
{
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *got = NULL;
    request.id = id;
    weft_status status = user_UserService_GetUser(users, arena, &options, &request, &got);
    show_got(got);
    return status;
}

static weft_status list(int page_size)
{
    User__ListUsersRequest request = USER__LIST_USERS_REQUEST__INIT;
    User__ListUsersResponse *page = NULL;
    weft_status status;
    int number = 1;
    request.page_size = page_size; /* 0: as many as the service likes */
    do {
        status = user_UserService_ListUsers(users, arena, &options, &request, &page);
        if (status.code != WEFT_OK)
            break;
        show_page(number++, page);
        request.page_token = page->next_page_token;
    } while (request.page_token[0] != '\0');
    return status;
}

int main(int argc, char **argv)
{
    char block[4096];
    weft_engine *engine = NULL;
    weft_status status = {.code = WEFT_OK};
    for (options.timeout_ms = 5000; argc > 2 && strcmp(argv[1], "--timeout-ms") == 0; argc -= 2, argv += 2)
        options.timeout_ms = strtoll(argv[2], NULL, 10);
    expect(argc > 2, usage);
    check(weft_arena_init(&arena, block, sizeof block, 64 << 20), "memory"); /* grows on the heap, to 64 MiB */
    check(weft_core_engine_new(&engine, NULL), "engine");
    check(weft_channel_new(&users, engine, argv[1], NULL), argv[1]);
    if (argc > 4 && strcmp(argv[2], "create") == 0)
        status = create(argv[3], argv[4], argc > 5 ? argv[5] : "");
    else if (argc > 3 && strcmp(argv[2], "get") == 0)
        status = get(argv[3]);
    else if (strcmp(argv[2], "list") == 0)
        status = list(argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0);
    else
        expect(false, usage);
    int result = show_failure(&status, arena);
    weft_channel_free(users);
    weft_engine_free(engine);
    weft_arena_fini(arena);
    return result;
}
