/* servers.h: the six server processes. All functions fail the test when something goes wrong. Thread: the test's, whose
 * end would also end the servers. */
#ifndef WEFT_TEST_SIX_SERVERS_H
#define WEFT_TEST_SIX_SERVERS_H

#include <stdint.h>
#include <sys/types.h>

#include <weft/weft.h>

enum {
    SERVERS = 6
};

struct server {
    int number;
    pid_t pid;             /* 0: it does not run */
    char address[64];      /* that it listens on */
    char target[80];       /* of a channel to it, and as a resolver tells it */
    weft_channel *control; /* to it alone */
};

/* Starts it and waits until it listens: the first time at a free port, then at the same one again. Each server has a
 * loopback address of its own, so that no connection of somebody else's can take that port meanwhile. */
void server_start(struct server *server, weft_engine *engine);

/* SIGSTOP, SIGCONT, SIGTERM: to a server that runs. */
void server_signal(const struct server *server, int signal);

/* Kills it by SIGKILL, if it runs, and waits for its end. */
void server_kill(struct server *server);

/* Waits for its end by itself. @return its exit code; -1: by a signal. */
int server_await_end(struct server *server);

/* Tells how to answer from now on. @return the calls that have come to it since it was told last. */
int64_t server_behave(struct server *server, double takes_ms, weft_code code);

/* Kills it, and closes what is to it. Whatever state it is in. */
void server_free(struct server *server);

#endif
