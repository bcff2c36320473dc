/* consul/fake.h: an agent that answers what the test says, for what a real one cannot be made to do.
 *
 * It has no thread: the test takes the next request, and answers it, drops the connection, or leaves it hanging. What
 * the client has sent meanwhile waits in the sockets.
 */
#ifndef WEFT_TEST_CONSUL_FAKE_H
#define WEFT_TEST_CONSUL_FAKE_H

#include <stdbool.h>

#define FAKE_CONNECTIONS 16

struct fake;
typedef struct fake_request fake_request;

struct fake *fake_new(void);
void fake_free(struct fake *fake);

/* "127.0.0.1:port". */
const char *fake_address(const struct fake *fake);

/* Refuses connections from now on, and drops those that are; and takes them again, at the same port. */
void fake_stop(struct fake *fake);
void fake_start(struct fake *fake);

/* Waits for a request whose line begins so: "GET /v1/health/". Others wait for their turn. Fails the test after
 * DEADLINE_MS. The request belongs to the fake, until it is answered or dropped. */
fake_request *fake_next(struct fake *fake, const char *start);

/* Whether such a request comes within `ms`: for those that must not. */
bool fake_has(struct fake *fake, const char *start, int ms);

/* Whether a request that was taken still waits for its answer: its peer may have gone. */
bool fake_waits(const fake_request *request);

const char *fake_line(const fake_request *request); /* "GET /v1/…?index=5" */
const char *fake_head(const fake_request *request); /* all header lines */
const char *fake_body(const fake_request *request);

/* Answers. `index`: of X-Consul-Index; -1: without one. */
void fake_answer(fake_request *request, int status, long long index, const char *body);

/* The same with header lines of one's own, each ended by "\r\n". */
void fake_answer_with(fake_request *request, int status, const char *headers, const char *body);

/* Sends these bytes, whatever they are, and closes. */
void fake_send(fake_request *request, const char *bytes);

#endif
