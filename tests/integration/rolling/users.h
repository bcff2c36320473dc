/* rolling/users.h: a process of user-service that registers at an agent, and a client to call it. */
#ifndef WEFT_TEST_ROLLING_USERS_H
#define WEFT_TEST_ROLLING_USERS_H

#include <sys/types.h>

#include <weft/weft.h>

#include "integration/rolling/agency.h"

#define USERS "users" /* what they register as */

struct users {
    int port;
    char database[128];
    char log[128]; /* a file; a new process adds to it */
    pid_t pid;     /* 0: it does not run */
};

/* Chooses the ports of `count` processes, at most four, which share one database in a new folder. */
void users_init(struct users *users, int count);

/* Starts one. @param lame_duck "3s", or NULL: the default. It never outlives the test. */
void users_start(struct users *users, const struct agency *agency, const char *lame_duck);

/* Waits for its end. @return the exit code, or -1 for a death by signal. */
int users_wait(struct users *users);

/* Kills those that run, and removes the folder. */
void users_fini(struct users *users, int count);

/* All that one has logged, to be freed; NULL: nothing. */
char *users_log(const struct users *users);

/* A client of one: an engine, a channel, an arena. */
struct client {
    weft_engine *engine;
    weft_channel *channel;
    weft_arena *arena;
};

/* @param resolver of the target; NULL: a plain address. */
void client_open(struct client *client, const char *target, weft_resolver *resolver);

/* Creates a user. @return the id, in the arena; fails the test otherwise. */
char *client_create(struct client *client);

/* Asks for one. The arena is used up: reset it. */
weft_status client_get(struct client *client, char *id);

void client_close(struct client *client);

#endif
