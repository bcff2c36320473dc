/* A client of the user service: creates a user or fetches one. It prints the status first, then the user. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "user.weft.h"

static const char usage[] = "usage: user-client [--address HOST:PORT] [--timeout-ms N] COMMAND\n"
                            "  create NAME EMAIL [PASSWORD]\n"
                            "  get ID\n";

static int report(weft_status status, const char *id, const char *name, const char *email)
{
    if (status.code == WEFT_OK)
        printf("OK\n  id:    %s\n  name:  %s\n  email: %s\n", id, name, email);
    else
        printf("%s: %s\n", weft_code_name(status.code), status.message);
    return status.code == WEFT_OK ? 0 : 1;
}

static int create(weft_channel *channel, weft_arena *arena, const weft_call_options *options, int argc, char **argv)
{
    User__CreateUserRequest request = USER__CREATE_USER_REQUEST__INIT;
    User__CreateUserResponse none = USER__CREATE_USER_RESPONSE__INIT, *user = &none;
    request.name = argv[0];
    request.email = argv[1];
    if (argc > 2)
        request.password = argv[2];
    weft_status status = user_UserService_CreateUser(channel, arena, options, &request, &user);
    return report(status, user->id, user->name, user->email);
}

static int get(weft_channel *channel, weft_arena *arena, const weft_call_options *options, char **argv)
{
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *response = NULL;
    User__User none = USER__USER__INIT, *user = &none;
    request.id = argv[0];
    weft_status status = user_UserService_GetUser(channel, arena, options, &request, &response);
    if (status.code == WEFT_OK && response->user != NULL)
        user = response->user;
    return report(status, user->id, user->name, user->email);
}

int main(int argc, char **argv)
{
    const char *address = "127.0.0.1:50051";
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    for (; argc > 2 && strncmp(argv[1], "--", 2) == 0; argc -= 2, argv += 2) {
        if (strcmp(argv[1], "--address") == 0)
            address = argv[2];
        else if (strcmp(argv[1], "--timeout-ms") == 0)
            options.timeout_ms = strtoll(argv[2], NULL, 10);
        else
            break;
    }

    char block[4096]; /* answers lie here; the heap serves only what does not fit */
    weft_arena *arena;
    weft_arena_init(&arena, block, sizeof block, 1 << 20);
    weft_engine *engine = NULL;
    weft_channel *channel = NULL;
    int result = 2;
    int rc = weft_core_engine_new(&engine, NULL);
    if (rc == 0)
        rc = weft_channel_new(&channel, engine, address, NULL);
    if (rc < 0)
        fprintf(stderr, "user-client: %s: %s\n", address, strerror(-rc));
    else if (argc > 3 && strcmp(argv[1], "create") == 0)
        result = create(channel, arena, &options, argc - 2, argv + 2);
    else if (argc == 3 && strcmp(argv[1], "get") == 0)
        result = get(channel, arena, &options, argv + 2);
    else
        fputs(usage, stderr);
    weft_channel_free(channel);
    weft_engine_free(engine);
    weft_arena_fini(arena);
    return result;
}
