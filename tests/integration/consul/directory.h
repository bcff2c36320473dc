/* consul/directory.h: the fake agent with a memory and a thread of its own: instances are registered, drain and go, and
 * queries hang until something changes. Just what Weft's own client asks of an agent.
 */
#ifndef WEFT_TEST_CONSUL_DIRECTORY_H
#define WEFT_TEST_CONSUL_DIRECTORY_H

struct directory;

struct directory *directory_new(void);
void directory_free(struct directory *directory);

/* "127.0.0.1:port". */
const char *directory_address(const struct directory *directory);

/* Dies, with all that it knew; and is there again, at the same port. Return when it is so. */
void directory_stop(struct directory *directory);
void directory_start(struct directory *directory);

#endif
