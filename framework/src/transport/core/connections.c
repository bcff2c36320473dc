/* connections.c: see the header.
 *
 * Design notes
 * - Nothing is looked at while there is room. A full table is swept (one fstat an entry, 0.3 us), but sweeping may take
 *   a tenth of the time at most, so that a flood of connections over the limit cannot buy more than that.
 */
#include "transport/core/connections.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"

enum {
    FIRST_SIZE = 64,
    REST_FACTOR = 10
};

void weft__core_connections_init(weft_core_connections *connections, int64_t max)
{
    memset(connections, 0, sizeof *connections);
    connections->max = max;
}

void weft__core_connections_fini(weft_core_connections *connections)
{
    free(connections->inodes);
}

/* The inode of a socket, or 0. */
static ino_t inode_of(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

size_t weft__core_connections_count(weft_core_connections *connections)
{
    for (size_t fd = 0; fd < connections->size; fd++) {
        ino_t inode = connections->inodes[fd];
        if (inode != 0 && inode_of((int)fd) != inode) {
            connections->inodes[fd] = 0;
            connections->count--;
        }
    }
    return connections->count;
}

static bool is_full(weft_core_connections *connections)
{
    weft__clock *clock = weft__clock_system();
    if (connections->max == INT64_MAX || connections->count < (uint64_t)connections->max)
        return false;
    int64_t began_ns = clock->now_ns(clock);
    if (began_ns < connections->resting_ns)
        return true;
    size_t count = weft__core_connections_count(connections);
    int64_t ended_ns = clock->now_ns(clock);
    connections->resting_ns = ended_ns + (ended_ns - began_ns) * REST_FACTOR;
    return count >= (uint64_t)connections->max;
}

static int grow(weft_core_connections *connections, size_t fd)
{
    size_t size = connections->size > 0 ? connections->size : FIRST_SIZE;
    while (size <= fd)
        size *= 2;
    ino_t *inodes = realloc(connections->inodes, size * sizeof *inodes);
    if (inodes == NULL)
        return -ENOMEM;
    memset(inodes + connections->size, 0, (size - connections->size) * sizeof *inodes);
    connections->inodes = inodes;
    connections->size = size;
    return 0;
}

int weft__core_connections_add(weft_core_connections *connections, int fd)
{
    ino_t inode = fd >= 0 ? inode_of(fd) : 0;
    if (inode == 0)
        return -EBADF;
    if ((size_t)fd >= connections->size) {
        int rc = grow(connections, (size_t)fd);
        if (rc < 0)
            return rc;
    }
    if (connections->inodes[fd] != 0) { /* of a connection that is gone: its number was free for this one */
        connections->inodes[fd] = 0;
        connections->count--;
    }
    if (is_full(connections))
        return -EUSERS;
    connections->inodes[fd] = inode;
    connections->count++;
    return 0;
}
