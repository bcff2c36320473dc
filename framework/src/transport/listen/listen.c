/* Design notes
 *
 * The listener holds two fixed tables, its sockets and what was bound. Bind fills them, stop empties the first; the
 * thread, which lives in between, only reads them. A bind that fails takes back the sockets that it has added. All
 * sockets of one bind are bound before the first listens, so that no client meets half of them.
 *
 * One thread polls all sockets and a wake-up descriptor, and takes at most BATCH connections from one socket before it
 * looks at the next. When the process is out of descriptors, poll would return at once for ever, and the connections
 * that wait in the kernel would hang until their peers give up. So one descriptor is kept in reserve:
 *
 *     accept ──EMFILE──▶ close the spare ──▶ accept, close: the peer knows ──▶ open the spare again
 *                                     └─ fails too ──▶ pause: 10, 20, … 1000 ms, and try again
 */
#define _GNU_SOURCE /* accept4 */
#include "transport/listen/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "transport/listen/address.h"

#define BATCH               64
#define PORT_TRIES          16 /* to find a port that is free on all addresses */
#define MIN_PAUSE_MS        10
#define MAX_PAUSE_MS        1000
#define WARNING_INTERVAL_NS INT64_C(10000000000)

struct listen_socket {
    int fd;
    size_t binding; /* its index */
    bool is_tcp;
    struct sockaddr_un file; /* the unix socket that goes when this one does, if it still is this one; or no path */
    dev_t device;
    ino_t inode;
};

struct binding {
    char text[WEFT__ADDRESS_TEXT_BYTES];
    int port;
};

struct weft__listener {
    weft_log *log;
    mode_t unix_mode;
    struct listen_socket sockets[WEFT__LISTENER_MAX_SOCKETS];
    size_t socket_count;
    struct binding bindings[WEFT__LISTENER_MAX_SOCKETS];
    size_t binding_count;

    bool started; /* once true it stays so */
    bool stopped;
    pthread_t thread;
    int wake_fd; /* readable: the thread ends */
    weft__accepted_fn accepted;
    void *user;
    atomic_uint_fast64_t failures;

    /* The thread's own. */
    int spare_fd;           /* -1: there is none at the moment */
    bool paused;            /* no socket is polled for pause_ms */
    int pause_ms;           /* the last pause; 0 once a connection was accepted */
    int64_t quiet_until_ns; /* no warning before */
};

int weft__listener_new(weft__listener **out, const weft__listener_options *options)
{
    weft__listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return -ENOMEM;
    if (options != NULL) {
        listener->log = options->log;
        listener->unix_mode = (mode_t)options->unix_mode;
    }
    atomic_init(&listener->failures, 0);
    *out = listener;
    return 0;
}

/* ---- binding ----------------------------------------------------------------------------------------------------- */

static int open_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd >= 0 ? fd : -errno;
}

/* Adds an open socket, which is the listener's from now on. @return it, or NULL when the table is full. */
static struct listen_socket *add_socket(weft__listener *listener, int fd)
{
    if (listener->socket_count == WEFT__LISTENER_MAX_SOCKETS)
        return NULL;
    struct listen_socket *added = &listener->sockets[listener->socket_count++];
    memset(added, 0, sizeof *added);
    added->fd = fd;
    return added;
}

/* Whether the file is still the unix socket that we made. */
static bool is_own_file(const struct listen_socket *listening)
{
    struct stat file;
    return listening->file.sun_path[0] != '\0' && lstat(listening->file.sun_path, &file) == 0 &&
           file.st_dev == listening->device && file.st_ino == listening->inode;
}

/* Closes all sockets but the first `keep`. */
static void close_sockets(weft__listener *listener, size_t keep)
{
    while (listener->socket_count > keep) {
        struct listen_socket *last = &listener->sockets[--listener->socket_count];
        if (is_own_file(last))
            unlink(last->file.sun_path);
        close(last->fd);
    }
}

static int listen_from(weft__listener *listener, size_t first)
{
    for (size_t i = first; i < listener->socket_count; i++)
        if (listen(listener->sockets[i].fd, SOMAXCONN) != 0)
            return -errno;
    return 0;
}

/* The local address of a socket. */
union socket_name {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
    struct sockaddr_storage room;
};

static int name_of(int fd, union socket_name *out)
{
    socklen_t len = sizeof *out;
    memset(out, 0, sizeof *out);
    return getsockname(fd, &out->any, &len) == 0 ? 0 : -errno;
}

static uint16_t port_of(const union socket_name *name)
{
    if (name->any.sa_family == AF_INET)
        return ntohs(name->v4.sin_port);
    return name->any.sa_family == AF_INET6 ? ntohs(name->v6.sin6_port) : 0;
}

static void set_port(struct addrinfo *list, uint16_t port)
{
    for (struct addrinfo *info = list; info != NULL; info = info->ai_next) {
        union socket_name name;
        memcpy(&name, info->ai_addr, info->ai_addrlen);
        if (info->ai_family == AF_INET)
            name.v4.sin_port = htons(port);
        else if (info->ai_family == AF_INET6)
            name.v6.sin6_port = htons(port);
        memcpy(info->ai_addr, &name, info->ai_addrlen);
    }
}

/* Whether an entry before `info` names the same address: a hosts file may list a name twice. */
static bool is_repeated(const struct addrinfo *list, const struct addrinfo *info)
{
    for (; list != info; list = list->ai_next)
        if (list->ai_addrlen == info->ai_addrlen && memcmp(list->ai_addr, info->ai_addr, info->ai_addrlen) == 0)
            return true;
    return false;
}

/* Whether an address could not be bound because this machine has no IPv6 at all. */
static bool is_missing_ipv6(const struct addrinfo *info, int rc)
{
    union socket_name name;
    if (info->ai_family != AF_INET6)
        return false;
    memcpy(&name, info->ai_addr, info->ai_addrlen);
    return rc == -EAFNOSUPPORT || (rc == -EADDRNOTAVAIL && IN6_IS_ADDR_LOOPBACK(&name.v6.sin6_addr));
}

static int bind_address(weft__listener *listener, const struct addrinfo *info)
{
    const int on = 1;
    int fd = open_socket(info->ai_family);
    if (fd < 0)
        return fd;
    struct listen_socket *added = add_socket(listener, fd);
    if (added == NULL) {
        close(fd);
        return -ENOSPC;
    }
    added->is_tcp = true;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (info->ai_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
        bind(fd, info->ai_addr, info->ai_addrlen) != 0) {
        int rc = -errno;
        close_sockets(listener, listener->socket_count - 1);
        return rc;
    }
    return 0;
}

/* Binds all addresses of the list to one port, or none. */
static int bind_addresses(weft__listener *listener, struct addrinfo *list, uint16_t port)
{
    const size_t first = listener->socket_count;
    int rc = 0;
    int missing = -EADDRNOTAVAIL;
    set_port(list, port);
    for (const struct addrinfo *info = list; info != NULL && rc == 0; info = info->ai_next) {
        if (is_repeated(list, info))
            continue;
        rc = bind_address(listener, info);
        if (rc == 0 && port == 0) {
            union socket_name name;
            rc = name_of(listener->sockets[first].fd, &name);
            port = port_of(&name);
            set_port(list, port);
        } else if (is_missing_ipv6(info, rc)) {
            missing = rc;
            rc = 0;
        }
    }
    if (rc == 0 && listener->socket_count == first)
        rc = missing;
    if (rc == 0)
        rc = listen_from(listener, first);
    if (rc < 0)
        close_sockets(listener, first);
    return rc;
}

static int lookup_error(int rc)
{
    switch (rc) {
    case EAI_SYSTEM:
        return errno != 0 ? -errno : -EIO;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_FAIL:
        return -EIO;
    default:
        return -ENOENT;
    }
}

static int bind_tcp(weft__listener *listener, const weft__address *address)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    int rc = getaddrinfo(address->name[0] != '\0' ? address->name : NULL, "0", &hints, &list);
    if (rc != 0)
        return lookup_error(rc);
    rc = bind_addresses(listener, list, address->port);
    for (int i = 1; i < PORT_TRIES && address->port == 0 && rc == -EADDRINUSE; i++)
        rc = bind_addresses(listener, list, 0);
    freeaddrinfo(list);
    return rc;
}

/* Removes the socket that a dead process has left behind. */
static int remove_stale(const struct sockaddr_un *name)
{
    struct stat before, now;
    if (lstat(name->sun_path, &before) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(before.st_mode))
        return -EADDRINUSE;
    int fd = open_socket(AF_UNIX);
    if (fd < 0)
        return fd;
    int rc = connect(fd, (const struct sockaddr *)name, sizeof *name) == 0 ? 0 : -errno;
    close(fd);
    if (rc != -ECONNREFUSED)
        return rc == -EACCES ? rc : -EADDRINUSE;
    /* Another server may have replaced it in between. */
    if (lstat(name->sun_path, &now) != 0 || now.st_dev != before.st_dev || now.st_ino != before.st_ino)
        return -EADDRINUSE;
    return unlink(name->sun_path) == 0 ? 0 : -errno;
}

static int bind_unix(weft__listener *listener, const weft__address *address)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, address->name, strlen(address->name)); /* shorter: weft__address_parse */
    const size_t first = listener->socket_count;
    int fd = open_socket(AF_UNIX);
    if (fd < 0)
        return fd;
    struct listen_socket *added = add_socket(listener, fd); /* there is room for one: weft__listener_bind */
    int rc = bind(fd, (struct sockaddr *)&name, sizeof name) == 0 ? 0 : -errno;
    if (rc == -EADDRINUSE) {
        rc = remove_stale(&name);
        if (rc == 0)
            rc = bind(fd, (struct sockaddr *)&name, sizeof name) == 0 ? 0 : -errno;
    }
    struct stat file;
    if (rc == 0 && lstat(name.sun_path, &file) == 0) {
        added->file = name;
        added->device = file.st_dev;
        added->inode = file.st_ino;
    }
    if (rc == 0 && listener->unix_mode != 0 && chmod(name.sun_path, listener->unix_mode) != 0)
        rc = -errno;
    if (rc == 0)
        rc = listen_from(listener, first);
    if (rc < 0)
        close_sockets(listener, first);
    return rc;
}

/* @return 0 when the descriptor is a stream socket that listens. */
static int check_inherited(int fd)
{
    int type, listens;
    socklen_t len = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0)
        return -errno;
    if (type != SOCK_STREAM)
        return -EPROTOTYPE;
    len = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0)
        return -errno;
    return listens ? 0 : -ENOTCONN;
}

/* Takes an inherited socket, and makes `address` what it is bound to. */
static int take_inherited(weft__listener *listener, weft__address *address)
{
    const int fd = address->fd;
    for (size_t i = 0; i < listener->socket_count; i++)
        if (listener->sockets[i].fd == fd)
            return -EADDRINUSE;
    union socket_name name;
    int rc = check_inherited(fd);
    if (rc == 0)
        rc = name_of(fd, &name);
    if (rc != 0)
        return rc;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    struct listen_socket *added = add_socket(listener, fd); /* there is room for one: weft__listener_bind */
    added->is_tcp = name.any.sa_family == AF_INET || name.any.sa_family == AF_INET6;
    if (added->is_tcp &&
        getnameinfo(&name.any, sizeof name.room, address->name, sizeof address->name, NULL, 0, NI_NUMERICHOST) == 0) {
        address->kind = WEFT__ADDRESS_TCP;
    } else if (name.any.sa_family == AF_UNIX && name.local.sun_path[0] != '\0') {
        snprintf(address->name, sizeof address->name, "%.*s", (int)sizeof name.local.sun_path, name.local.sun_path);
        address->kind = WEFT__ADDRESS_UNIX;
    }
    return 0;
}

int weft__listener_bind(weft__listener *listener, const char *text)
{
    weft__address address;
    const char *reason = "the system refused";
    const size_t first = listener->socket_count;
    if (listener->started || listener->stopped)
        return -EBUSY;
    if (first == WEFT__LISTENER_MAX_SOCKETS)
        return -ENOSPC;
    int rc = weft__address_parse(text, &address, &reason);
    if (rc == 0 && address.kind == WEFT__ADDRESS_TCP)
        rc = bind_tcp(listener, &address);
    else if (rc == 0 && address.kind == WEFT__ADDRESS_UNIX)
        rc = bind_unix(listener, &address);
    else if (rc == 0)
        rc = take_inherited(listener, &address);
    if (rc < 0) {
        weft_log_error(listener->log, "cannot listen",
                       WEFT_FIELDS(WEFT_STR("address", text), WEFT_INT("errno", -rc), WEFT_STR("reason", reason)));
        return rc;
    }
    for (size_t i = first; i < listener->socket_count; i++)
        listener->sockets[i].binding = listener->binding_count;
    /* Each binding has a socket of its own at least, so there is room. */
    struct binding *binding = &listener->bindings[listener->binding_count++];
    union socket_name name;
    if (name_of(listener->sockets[first].fd, &name) == 0)
        address.port = port_of(&name);
    binding->port = address.port;
    weft__address_format(&address, binding->text);
    return 0;
}

const char *weft__listener_address(const weft__listener *listener, size_t index)
{
    return index < listener->binding_count ? listener->bindings[index].text : NULL;
}

int weft__listener_port(const weft__listener *listener, size_t index)
{
    return index < listener->binding_count ? listener->bindings[index].port : 0;
}

/* ---- accepting --------------------------------------------------------------------------------------------------- */

static int accept_one(int fd)
{
    int accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return accepted >= 0 ? accepted : -errno;
}

/* Opens the descriptor that is kept for the day when there are no others. */
static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static bool is_waiting(int fd)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    return poll(&polled, 1, 0) > 0;
}

static void warn(weft__listener *listener, int error)
{
    int64_t now_ns = weft__clock_system()->now_ns(weft__clock_system());
    if (now_ns < listener->quiet_until_ns)
        return;
    listener->quiet_until_ns = now_ns + WARNING_INTERVAL_NS;
    const char *reason = error == EMFILE   ? "the process is out of descriptors"
                         : error == ENFILE ? "the system is out of descriptors"
                                           : "out of memory, or another error";
    weft_log_warn(listener->log, "cannot accept connections",
                  WEFT_FIELDS(WEFT_STR("reason", reason), WEFT_INT("errno", error),
                              WEFT_INT("failures", weft__listener_failures(listener))));
}

/* A connection waits that cannot be accepted: closes it by means of the spare descriptor, or else pauses. */
static void refuse_one(weft__listener *listener, int fd, int error)
{
    atomic_fetch_add_explicit(&listener->failures, 1, memory_order_relaxed);
    warn(listener, error);
    int refused = -1;
    if (listener->spare_fd >= 0) {
        close(listener->spare_fd);
        refused = accept_one(fd);
        if (refused >= 0)
            close(refused);
        listener->spare_fd = open_spare();
    }
    if (refused < 0 && refused != -EAGAIN) {
        int next_ms = listener->pause_ms == 0 ? MIN_PAUSE_MS : 2 * listener->pause_ms;
        listener->pause_ms = next_ms < MAX_PAUSE_MS ? next_ms : MAX_PAUSE_MS;
        listener->paused = true;
    }
}

/* Hands a connection over. */
static void deliver(weft__listener *listener, const struct listen_socket *listening, int fd)
{
    const int on = 1;
    listener->pause_ms = 0;
    if (listener->spare_fd < 0)
        listener->spare_fd = open_spare();
    if (listening->is_tcp)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* a peer that is gone already: found out later */
    if (listener->accepted(listener->user, listening->binding, fd) < 0)
        close(fd);
}

/* Accepts what waits, within bounds. @return 0, or -errno when this socket will never accept again. */
static int accept_batch(weft__listener *listener, const struct listen_socket *listening)
{
    for (int i = 0; i < BATCH && !listener->paused; i++) {
        int fd = accept_one(listening->fd);
        if (fd >= 0) {
            deliver(listener, listening, fd);
            continue;
        }
        switch (-fd) {
        case EAGAIN:
            return 0;
        case EBADF:
        case EINVAL:
        case ENOTSOCK:
            return fd;
        case EINTR:
        case ECONNABORTED: /* and others: the connection is lost before we had it */
        case EPROTO:
        case EPERM:
        case ENETDOWN:
        case ENETUNREACH:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ENOPROTOOPT:
        case EOPNOTSUPP:
        case ETIMEDOUT:
            break;
        default: /* EMFILE and so on; reported before the kernel looks whether anybody waits */
            if (!is_waiting(listening->fd))
                return 0;
            refuse_one(listener, listening->fd, -fd);
        }
    }
    return 0;
}

static void *accept_main(void *arg)
{
    weft__listener *listener = arg;
    struct pollfd polled[1 + WEFT__LISTENER_MAX_SOCKETS] = {{.fd = listener->wake_fd, .events = POLLIN}};
    const nfds_t count = 1 + (nfds_t)listener->socket_count;
    for (nfds_t i = 1; i < count; i++)
        polled[i] = (struct pollfd){.fd = listener->sockets[i - 1].fd, .events = POLLIN};

    weft__thread_set_loop(true);
    for (;;) {
        bool paused = listener->paused;
        listener->paused = false;
        int ready = poll(polled, paused ? 1 : count, paused ? listener->pause_ms : -1);
        if (ready > 0 && polled[0].revents != 0)
            return NULL;
        for (nfds_t i = 1; i < count && ready > 0; i++) {
            int rc = polled[i].revents != 0 ? accept_batch(listener, &listener->sockets[i - 1]) : 0;
            if (rc < 0) {
                polled[i].fd = -1;
                weft_log_error(listener->log, "a listening socket failed", WEFT_FIELDS(WEFT_INT("errno", -rc)));
            }
        }
    }
}

static void close_descriptors(weft__listener *listener)
{
    close(listener->wake_fd);
    if (listener->spare_fd >= 0)
        close(listener->spare_fd);
}

int weft__listener_start(weft__listener *listener, weft__accepted_fn accepted, void *user)
{
    if (listener->started || listener->stopped)
        return -EALREADY;
    if (listener->socket_count == 0)
        return -EINVAL;
    listener->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (listener->wake_fd < 0)
        return -errno;
    listener->spare_fd = open_spare();
    int rc = listener->spare_fd >= 0 ? 0 : -errno;
    listener->accepted = accepted;
    listener->user = user;
    if (rc == 0)
        rc = weft__thread_start(&listener->thread, 0, "weft-accept", accept_main, listener);
    if (rc < 0) {
        close_descriptors(listener);
        return rc;
    }
    listener->started = true;
    return 0;
}

void weft__listener_stop(weft__listener *listener)
{
    if (listener->stopped)
        return;
    listener->stopped = true;
    if (listener->started) {
        eventfd_write(listener->wake_fd, 1);
        pthread_join(listener->thread, NULL);
        close_descriptors(listener);
    }
    close_sockets(listener, 0);
}

void weft__listener_free(weft__listener *listener)
{
    if (listener == NULL)
        return;
    weft__listener_stop(listener);
    free(listener);
}

uint64_t weft__listener_failures(const weft__listener *listener)
{
    return atomic_load_explicit(&listener->failures, memory_order_relaxed);
}
