/* rolling/agency.h: an agent of Consul, real or fake, asked by HTTP in either case. */
#ifndef WEFT_TEST_ROLLING_AGENCY_H
#define WEFT_TEST_ROLLING_AGENCY_H

struct agency;

/* How an instance stands with it. */
enum standing {
    ABSENT,
    UNWELL, /* listed; a check does not pass */
    WELL
};

/**
 * Makes an agent, which is down, at a port that stays its own.
 *
 * @param binary of Consul; NULL: the fake one with a memory (consul/directory.h).
 */
struct agency *agency_new(const char *binary);

/* Starts it. */
void agency_start(struct agency *agency);

/* Stops and frees it. */
void agency_free(struct agency *agency);

/* "127.0.0.1:port". */
const char *agency_address(const struct agency *agency);

/* How the instance of `service` at that port stands now. */
enum standing agency_ask(struct agency *agency, const char *service, int port);

/* Waits until it stands so: hangs at the agent until something changes. Fails the test after a minute. */
void agency_await(struct agency *agency, const char *service, int port, enum standing standing);

#endif
