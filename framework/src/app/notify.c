#include "app/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* "/run/…", or "@…" for an abstract name, whose first byte is a NUL. */
static int parse(const char *name, struct sockaddr_un *address, socklen_t *size)
{
    size_t len = strlen(name);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof address->sun_path)
        return -EINVAL;
    memcpy(address->sun_path, name, len);
    if (name[0] == '@')
        address->sun_path[0] = '\0';
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return 0;
}

int weft__notify(const char *state)
{
    struct sockaddr_un address;
    socklen_t size;
    const char *name = getenv("NOTIFY_SOCKET");
    if (name == NULL || *name == '\0')
        return 0;
    int rc = parse(name, &address, &size);
    if (rc < 0)
        return rc;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address, size);
    rc = sent < 0 ? -errno : 0;
    (void)close(fd);
    return rc;
}
