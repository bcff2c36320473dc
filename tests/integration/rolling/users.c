#include "integration/rolling/users.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <weft/core.h>

#include "support/process.h"
#include "support/temp_dir.h"
#include "user.weft.h"

#define MAX_PROCESSES 4

void users_init(struct users *users, int count)
{
    int ports[MAX_PROCESSES];
    assert_in_range(count, 1, MAX_PROCESSES);
    char path[TEMP_PATH_BYTES];
    char name[32];
    process_choose_ports(ports, count);
    assert_int_equal(temp_dir_make(), 0);
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%d.log", i);
        users[i] = (struct users){.port = ports[i]};
        snprintf(users[i].database, sizeof users[i].database, "%.120s", temp_path("users.db", path));
        snprintf(users[i].log, sizeof users[i].log, "%.120s", temp_path(name, path));
    }
}

void users_start(struct users *users, const struct agency *agency, const char *lame_duck)
{
    char listen[32], database[160], consul[64], service[64], duck[64];
    const char *args[] = {"user-service",
                          "--listen",
                          listen,
                          "--set",
                          database,
                          "--set",
                          consul,
                          "--set",
                          service,
                          "--set",
                          "registry.address=127.0.0.1",
                          "--set",
                          "registry.check_interval=1s",
                          lame_duck != NULL ? "--set" : NULL,
                          duck,
                          NULL};
    snprintf(listen, sizeof listen, "127.0.0.1:%d", users->port);
    snprintf(database, sizeof database, "database.path=%s", users->database);
    snprintf(consul, sizeof consul, "registry.consul=%s", agency_address(agency));
    snprintf(service, sizeof service, "registry.service=%s", USERS);
    snprintf(duck, sizeof duck, "server.lame_duck=%s", lame_duck != NULL ? lame_duck : "");
    users->pid = process_start(USER_SERVICE, users->log, args);
}

int users_wait(struct users *users)
{
    int code = process_wait(users->pid);
    users->pid = 0;
    return code;
}

void users_fini(struct users *users, int count)
{
    for (int i = 0; i < count; i++) {
        if (users[i].pid <= 0)
            continue;
        kill(users[i].pid, SIGKILL);
        (void)users_wait(&users[i]);
    }
    temp_dir_remove();
}

char *users_log(const struct users *users)
{
    struct stat file;
    FILE *stream = fopen(users->log, "r");
    if (stream == NULL)
        return NULL;
    char *text = fstat(fileno(stream), &file) == 0 ? calloc(1, (size_t)file.st_size + 1) : NULL;
    if (text != NULL && fread(text, 1, (size_t)file.st_size, stream) != (size_t)file.st_size)
        text[0] = '\0';
    fclose(stream);
    return text;
}

void client_open(struct client *client, const char *target, weft_resolver *resolver)
{
    weft_core_engine_options engine = WEFT_CORE_ENGINE_OPTIONS_INIT;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    engine.threads = 1;
    options.resolvers = &resolver;
    options.resolver_count = resolver != NULL;
    assert_int_equal(weft_core_engine_new(&client->engine, &engine), 0);
    assert_int_equal(weft_channel_new(&client->channel, client->engine, target, &options), 0);
    assert_int_equal(weft_channel_connect(client->channel, 30000), 0);
    assert_int_equal(weft_arena_new(&client->arena, 0), 0);
}

char *client_create(struct client *client)
{
    User__CreateUserRequest request = USER__CREATE_USER_REQUEST__INIT;
    User__CreateUserResponse *response = NULL;
    request.name = (char *)(uintptr_t) "Ada";
    request.email = (char *)(uintptr_t) "ada@example.org";
    request.password = (char *)(uintptr_t) "analytical engine";
    weft_status status = user_UserService_CreateUser(client->channel, client->arena, NULL, &request, &response);
    if (status.code != WEFT_OK)
        fail_msg("%s: %s", weft_code_name(status.code), status.message);
    return response->id;
}

weft_status client_get(struct client *client, char *id)
{
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *response = NULL;
    request.id = id;
    return user_UserService_GetUser(client->channel, client->arena, NULL, &request, &response);
}

void client_close(struct client *client)
{
    weft_channel_free(client->channel);
    assert_int_equal(weft_engine_free(client->engine), 0);
    weft_arena_free(client->arena);
}
