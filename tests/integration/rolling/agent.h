/* rolling/agent.h: an agent of Consul, real or one that keeps what it is told, asked by HTTP in either case. */
#ifndef WEFT_TEST_ROLLING_AGENT_H
#define WEFT_TEST_ROLLING_AGENT_H

#include <stdbool.h>

struct agent;

/* How an instance stands with it. */
enum standing {
    ABSENT,
    UNWELL, /* listed; a check does not pass */
    WELL
};

/**
 * Makes an agent, which is down, at a port that stays its own.
 *
 * @param binary of Consul; NULL: the one that keeps what it is told. That one takes every instance for well, and looks
 *        at registration whether somebody listens there.
 */
struct agent *agent_new(const char *binary);

/* Starts it. */
void agent_start(struct agent *agent);

/* Stops and frees it. */
void agent_free(struct agent *agent);

/* "127.0.0.1:port". */
const char *agent_address(const struct agent *agent);

/* How the instance of `service` at that port stands now. */
enum standing agent_ask(struct agent *agent, const char *service, int port);

/* Waits until it stands so: hangs at the agent until something changes. Fails the test after a minute. */
void agent_await(struct agent *agent, const char *service, int port, enum standing standing);

/* How many instances were registered where nobody listened: of a real one always 0. */
int agent_deaf_registrations(const struct agent *agent);

#endif
