/* consul/sink.h: a channel's end of a watch, for tests: it keeps what it is given. */
#ifndef WEFT_TEST_CONSUL_SINK_H
#define WEFT_TEST_CONSUL_SINK_H

#include <weft/resolver.h>

#define DEADLINE_MS 20000

/* Defined as the library declares it. */
weft_sink *sink_new(void);
void sink_free(weft_sink *sink);

/* Waits for the next list that was not asked for yet; fails the test after DEADLINE_MS. It is written as published,
 * each address with its health's number and its weight: "ipv4:10.0.0.1:80/1*5 ipv4:10.0.0.2:80/2*1". */
const char *sink_next(weft_sink *sink);

/* The next failure. */
const char *sink_next_failure(weft_sink *sink);

/* Lists and failures so far, asked for or not. */
unsigned sink_lists(weft_sink *sink);

/* "key=value" of the last list's first address, or NULL. */
const char *sink_first_metadatum(weft_sink *sink, const char *key);

/* Has publish wait until it is told to go on; and waits until one does. */
void sink_hold(weft_sink *sink);
void sink_wait_held(weft_sink *sink);
void sink_release(weft_sink *sink);

/* Waits for the next failure, or until publish waits. @return the failure; NULL: publish waits. */
const char *sink_next_failure_or_held(weft_sink *sink);

/* A target's parts, as a channel makes them, which the text outlives: "consul://agent/users?tag=a". */
int sink_watch(weft_resolver *resolver, const char *target, weft_sink *sink, weft_watch **out, char reason[256]);

#endif
