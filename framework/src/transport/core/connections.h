/* connections.h: counts the connections of a server whose descriptors gRPC core owns and closes without a word.
 *
 * A connection is a descriptor and the inode of its socket: a closed descriptor has none, one used again has another.
 */
#ifndef WEFT_TRANSPORT_CORE_CONNECTIONS_H
#define WEFT_TRANSPORT_CORE_CONNECTIONS_H

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

/* Not locked: the server's lock guards it. */
typedef struct weft_core_connections {
    ino_t *inodes; /* by descriptor; 0: none */
    size_t size;
    size_t count;       /* entries that are not 0: an upper bound until the next sweep */
    int64_t max;        /* INT64_MAX: none */
    int64_t resting_ns; /* no sweep before this time */
} weft_core_connections;

void weft__core_connections_init(weft_core_connections *connections, int64_t max);
void weft__core_connections_fini(weft_core_connections *connections);

/* Notes a new connection. 0; -EUSERS there are `max`; -ENOMEM; -EBADF no socket. */
int weft__core_connections_add(weft_core_connections *connections, int fd);

/* How many are open now. Looks at each. */
size_t weft__core_connections_count(weft_core_connections *connections);

#endif
