/* transport/listen/listen.h */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/alloc_fault.h"
#include "transport/listen/listen.h"

#define WAIT_MS 20000

/* ---- clients and servers ----------------------------------------------------------------------------------------- */

union name {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static union name tcp4(int port)
{
    union name name = {.v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)}};
    name.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return name;
}

static union name tcp6(int port)
{
    union name name = {.v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)}};
    name.v6.sin6_addr.s6_addr[15] = 1;
    return name;
}

static union name unix_name(const char *path)
{
    union name name = {.local = {.sun_family = AF_UNIX}};
    snprintf(name.local.sun_path, sizeof name.local.sun_path, "%s", path);
    return name;
}

static socklen_t length_of(const union name *name)
{
    return name->any.sa_family == AF_UNIX    ? sizeof name->local
           : name->any.sa_family == AF_INET6 ? sizeof name->v6
                                             : sizeof name->v4;
}

static int new_socket(int family)
{
    int fd = socket(family, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    return fd;
}

/* @return 0 or -errno */
static int connect_to(int fd, const union name *name)
{
    return connect(fd, &name->any, length_of(name)) == 0 ? 0 : -errno;
}

/* @return a connected descriptor, or -errno. */
static int dial(union name name)
{
    int fd = new_socket(name.any.sa_family);
    int rc = connect_to(fd, &name);
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

/* A plain listening socket of somebody else's, bound to `name`, whose port may be 0. */
static int listen_at(union name name)
{
    int fd = new_socket(name.any.sa_family);
    assert_int_equal(bind(fd, &name.any, length_of(&name)), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static int port_of(int fd)
{
    union name name;
    socklen_t len = sizeof name;
    assert_int_equal(getsockname(fd, &name.any, &len), 0);
    return ntohs(name.v4.sin_port);
}

static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    union name name = tcp6(0);
    bool can = fd >= 0 && bind(fd, &name.any, length_of(&name)) == 0;
    if (fd >= 0)
        close(fd);
    return can;
}

#define NEEDS_IPV6()                                                                                                   \
    do {                                                                                                               \
        if (!has_ipv6()) {                                                                                             \
            print_message("SKIPPED %s: this machine has no ::1\n", __func__);                                          \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

static bool is_readable(int fd)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    return poll(&polled, 1, WAIT_MS) == 1;
}

/* Waits until the other side has closed the connection. */
static void assert_closed(int fd)
{
    char byte;
    assert_true(is_readable(fd));
    ssize_t n = recv(fd, &byte, 1, 0);
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
}

/* ---- the fixture: a listener, the connections it hands over in a pipe, and an own folder ------------------------- */

static weft__listener *listener;
static int inbox[2];            /* of the numbers of accepted descriptors */
static atomic_int last_binding; /* that one came to */
#define FOLDER "/tmp/weft-listen-XXXXXX"
static char folder[sizeof FOLDER];
static char path[sizeof folder + 8];
static char unix_address[sizeof path + 8];
static int open_before;

static int count_descriptors(void)
{
    DIR *list = opendir("/proc/self/fd");
    int count = 0;
    if (list == NULL) /* a chroot without /proc */
        return 0;
    while (readdir(list) != NULL)
        count++;
    closedir(list);
    return count;
}

static int set_up(void **state)
{
    (void)state;
    open_before = count_descriptors();
    memcpy(folder, FOLDER, sizeof folder);
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
    snprintf(unix_address, sizeof unix_address, "unix:%s", path);
    assert_int_equal(pipe(inbox), 0);
    return weft__listener_new(&listener, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    weft__listener_free(listener);
    listener = NULL;
    close(inbox[0]);
    close(inbox[1]);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(count_descriptors(), open_before); /* nothing leaks */
    return 0;
}

static int into_inbox(void *user, size_t binding, int fd)
{
    (void)user;
    atomic_store(&last_binding, (int)binding);
    return write(inbox[1], &fd, sizeof fd) == (ssize_t)sizeof fd ? 0 : -EIO;
}

static int refuse(void *user, size_t binding, int fd)
{
    (void)user;
    (void)binding;
    (void)fd;
    return -EUSERS;
}

static void start(void)
{
    assert_int_equal(weft__listener_start(listener, into_inbox, NULL), 0);
}

static int take_accepted(void)
{
    int fd = -1;
    assert_true(is_readable(inbox[0]));
    assert_int_equal(read(inbox[0], &fd, sizeof fd), sizeof fd);
    return fd;
}

/* A client reaches the listener at `name`, and bytes go both ways. */
static void assert_serves(union name name)
{
    char byte = 0;
    int client = dial(name);
    assert_true(client >= 0);
    int server = take_accepted();
    assert_int_equal(write(client, "a", 1), 1);
    assert_true(is_readable(server));
    assert_int_equal(read(server, &byte, 1), 1);
    assert_int_equal(byte, 'a');
    assert_int_equal(write(server, "b", 1), 1);
    assert_int_equal(read(client, &byte, 1), 1);
    assert_int_equal(byte, 'b');
    close(client);
    close(server);
}

static int tcp4_listener(void)
{
    assert_int_equal(weft__listener_bind(listener, "127.0.0.1:0"), 0);
    int port = weft__listener_port(listener, 0);
    assert_in_range(port, 1, 65535);
    return port;
}

/* The first binding tells its address as "host:port". */
static void assert_address(const char *host, int port)
{
    char text[64];
    snprintf(text, sizeof text, "%s:%d", host, port);
    assert_string_equal(weft__listener_address(listener, 0), text);
}

/* ---- binding ----------------------------------------------------------------------------------------------------- */

static void ipv4_is_served_at_the_port_that_is_told(void **state)
{
    (void)state;
    int port = tcp4_listener();
    assert_address("127.0.0.1", port);
    assert_null(weft__listener_address(listener, 1));
    assert_int_equal(weft__listener_port(listener, 1), 0);
    start();
    assert_serves(tcp4(port));
}

static void ipv6_is_served_and_leaves_ipv4_alone(void **state)
{
    (void)state;
    NEEDS_IPV6();
    assert_int_equal(weft__listener_bind(listener, "[::1]:0"), 0);
    int port = weft__listener_port(listener, 0);
    assert_address("[::1]", port);
    start();
    assert_serves(tcp6(port));
    assert_int_equal(dial(tcp4(port)), -ECONNREFUSED);
}

static void all_interfaces_share_one_free_port(void **state)
{
    (void)state;
    NEEDS_IPV6();
    assert_int_equal(weft__listener_bind(listener, ":0"), 0);
    int port = weft__listener_port(listener, 0);
    assert_in_range(port, 1, 65535);
    assert_address("", port);
    assert_null(weft__listener_address(listener, 1)); /* two sockets, one binding */
    start();
    assert_serves(tcp4(port));
    assert_serves(tcp6(port));
}

/* A bare chroot has no /etc/hosts. */
static bool localhost_has_an_address(void)
{
    struct addrinfo *list;
    if (getaddrinfo("localhost", NULL, NULL, &list) != 0)
        return false;
    freeaddrinfo(list);
    return true;
}

static void a_name_is_looked_up(void **state)
{
    (void)state;
    if (!localhost_has_an_address())
        skip();
    assert_int_equal(weft__listener_bind(listener, "localhost:0"), 0);
    int port = weft__listener_port(listener, 0);
    assert_address("localhost", port);
    start();
    assert_serves(tcp4(port));
}

static void several_addresses_are_served_at_once(void **state)
{
    (void)state;
    int first = tcp4_listener();
    assert_int_equal(weft__listener_bind(listener, "127.0.0.1:0"), 0);
    assert_int_equal(weft__listener_bind(listener, unix_address), 0);
    int second = weft__listener_port(listener, 1);
    assert_int_not_equal(first, second);
    start();
    for (int i = 0; i < 3; i++) {
        assert_serves(tcp4(first));
        assert_serves(tcp4(second));
        assert_serves(unix_name(path));
    }
}

static void accepted_connections_do_not_block_delay_or_leak_into_programs(void **state)
{
    (void)state;
    int port = tcp4_listener();
    start();
    int client = dial(tcp4(port));
    int server = take_accepted();
    int on = 0;
    socklen_t len = sizeof on;
    assert_true((fcntl(server, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(server, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(getsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_int_not_equal(on, 0);
    close(client);
    close(server);
}

static void a_port_in_use_is_an_error_and_stays_in_use(void **state)
{
    (void)state;
    int port = tcp4_listener();
    start();
    weft__listener *other;
    char text[32];
    snprintf(text, sizeof text, "127.0.0.1:%d", port);
    assert_int_equal(weft__listener_new(&other, NULL), 0);
    assert_int_equal(weft__listener_bind(other, text), -EADDRINUSE);
    if (localhost_has_an_address()) {
        snprintf(text, sizeof text, "localhost:%d", port);
        assert_int_equal(weft__listener_bind(other, text), -EADDRINUSE);
    }
    assert_null(weft__listener_address(other, 0));
    assert_int_equal(weft__listener_start(other, into_inbox, NULL), -EINVAL);
    weft__listener_free(other);
    assert_serves(tcp4(port));
}

static void all_addresses_of_a_name_bind_or_none(void **state)
{
    (void)state;
    NEEDS_IPV6();
    char text[32];
    int busy = listen_at(tcp6(0));
    int port = port_of(busy);
    snprintf(text, sizeof text, ":%d", port);
    assert_int_equal(weft__listener_bind(listener, text), -EADDRINUSE);
    assert_int_equal(dial(tcp4(port)), -ECONNREFUSED);

    close(busy);
    assert_int_equal(weft__listener_bind(listener, text), 0);
    start();
    assert_serves(tcp4(port));
    assert_serves(tcp6(port));
}

static void the_callback_is_told_which_binding_a_connection_came_to(void **state)
{
    (void)state;
    assert_int_equal(weft__listener_bind(listener, unix_address), 0);
    assert_int_equal(weft__listener_bind(listener, "localhost:0"), 0); /* IPv4 and IPv6, where there is any */
    assert_int_equal(weft__listener_bind(listener, "127.0.0.1:0"), 0);
    start();
    assert_serves(tcp4(weft__listener_port(listener, 2)));
    assert_int_equal(atomic_load(&last_binding), 2);
    assert_serves(tcp4(weft__listener_port(listener, 1)));
    assert_int_equal(atomic_load(&last_binding), 1);
    assert_serves(unix_name(path));
    assert_int_equal(atomic_load(&last_binding), 0);
}

static void what_cannot_be_bound_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(weft__listener_bind(listener, "127.0.0.1"), -EINVAL);
    assert_int_equal(weft__listener_bind(listener, "192.0.2.1:0"), -EADDRNOTAVAIL); /* reserved for examples */
    assert_int_equal(weft__listener_bind(listener, "unix:/nonexistent/socket"), -ENOENT);
    assert_null(weft__listener_address(listener, 0));
    assert_int_equal(weft__listener_start(listener, into_inbox, NULL), -EINVAL);
    int port = tcp4_listener();
    start();
    assert_serves(tcp4(port));
}

static void the_table_of_sockets_is_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < WEFT__LISTENER_MAX_SOCKETS - 1; i++)
        assert_int_equal(weft__listener_bind(listener, "127.0.0.1:0"), 0);
    if (has_ipv6())
        assert_int_equal(weft__listener_bind(listener, ":0"), -ENOSPC); /* of two, one fits */
    assert_int_equal(weft__listener_bind(listener, unix_address), 0);
    assert_int_equal(weft__listener_bind(listener, "127.0.0.1:0"), -ENOSPC);
    assert_string_equal(weft__listener_address(listener, WEFT__LISTENER_MAX_SOCKETS - 1), unix_address);
    start();
    assert_serves(unix_name(path));
    assert_serves(tcp4(weft__listener_port(listener, 0)));
}

static void calls_out_of_order_are_refused(void **state)
{
    (void)state;
    assert_int_equal(weft__listener_start(listener, into_inbox, NULL), -EINVAL);
    tcp4_listener();
    start();
    assert_int_equal(weft__listener_start(listener, into_inbox, NULL), -EALREADY);
    assert_int_equal(weft__listener_bind(listener, "127.0.0.1:0"), -EBUSY);
    weft__listener_stop(listener);
    weft__listener_stop(listener);
    assert_int_equal(weft__listener_start(listener, into_inbox, NULL), -EALREADY);
    assert_int_equal(weft__listener_bind(listener, "127.0.0.1:0"), -EBUSY);
    assert_non_null(weft__listener_address(listener, 0)); /* still told */
}

/* ---- unix sockets ------------------------------------------------------------------------------------------------ */

static bool exists(void)
{
    struct stat file;
    return lstat(path, &file) == 0;
}

static void a_unix_socket_is_served_and_removed_at_the_end(void **state)
{
    (void)state;
    assert_int_equal(weft__listener_bind(listener, unix_address), 0);
    assert_string_equal(weft__listener_address(listener, 0), unix_address);
    assert_int_equal(weft__listener_port(listener, 0), 0);
    start();
    assert_serves(unix_name(path));
    assert_true(exists());
    weft__listener_stop(listener);
    assert_false(exists());
}

static void a_unix_socket_has_the_permissions_asked_for(void **state)
{
    (void)state;
    weft__listener *other;
    struct stat file;
    const weft__listener_options options = {.unix_mode = 0620};
    assert_int_equal(weft__listener_new(&other, &options), 0);
    assert_int_equal(weft__listener_bind(other, unix_address), 0);
    assert_int_equal(lstat(path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0620);
    weft__listener_free(other);
    assert_false(exists());
}

static void a_live_unix_socket_is_not_stolen(void **state)
{
    (void)state;
    weft__listener *other;
    assert_int_equal(weft__listener_bind(listener, unix_address), 0);
    start();
    assert_int_equal(weft__listener_new(&other, NULL), 0);
    assert_int_equal(weft__listener_bind(other, unix_address), -EADDRINUSE);
    weft__listener_free(other);
    close(take_accepted()); /* the other one knocked */
    assert_serves(unix_name(path));
}

static void a_unix_socket_whose_queue_is_full_is_not_stolen(void **state)
{
    (void)state;
    union name name = unix_name(path);
    int busy = new_socket(AF_UNIX);
    assert_int_equal(bind(busy, &name.any, length_of(&name)), 0);
    assert_int_equal(listen(busy, 0), 0);
    int clients[64];
    int count = 0;
    int rc = 0;
    while (rc == 0 && count < 64) {
        clients[count] = new_socket(AF_UNIX);
        fcntl(clients[count], F_SETFL, O_NONBLOCK);
        rc = connect_to(clients[count++], &name);
    }
    assert_int_equal(rc, -EAGAIN);
    assert_int_equal(weft__listener_bind(listener, unix_address), -EADDRINUSE);
    assert_true(exists());
    while (count > 0)
        close(clients[--count]);
    close(busy);
}

static void a_unix_socket_left_over_is_replaced(void **state)
{
    (void)state;
    close(listen_at(unix_name(path)));
    assert_true(exists());
    assert_int_equal(weft__listener_bind(listener, unix_address), 0);
    start();
    assert_serves(unix_name(path));
}

static void other_files_are_not_replaced(void **state)
{
    (void)state;
    char target[sizeof path + 8];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(weft__listener_bind(listener, unix_address), -EADDRINUSE);
    assert_int_equal(unlink(path), 0);

    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(weft__listener_bind(listener, unix_address), -EADDRINUSE);
    assert_int_equal(rmdir(path), 0);

    /* Not even a link to a socket that is left over. */
    snprintf(target, sizeof target, "%s-target", path);
    close(listen_at(unix_name(target)));
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(weft__listener_bind(listener, unix_address), -EADDRINUSE);
    assert_true(exists());
    assert_int_equal(unlink(target), 0);
}

static void a_file_that_is_no_longer_ours_is_not_removed(void **state)
{
    (void)state;
    assert_int_equal(weft__listener_bind(listener, unix_address), 0);
    /* The first file is kept under another name, so that the second cannot get its inode number. */
    char aside[sizeof path + 8];
    snprintf(aside, sizeof aside, "%s-aside", path);
    assert_int_equal(rename(path, aside), 0);
    int successor = listen_at(unix_name(path));
    weft__listener_stop(listener);
    assert_true(exists());
    close(successor);
    assert_int_equal(unlink(aside), 0);
}

/* ---- inherited descriptors --------------------------------------------------------------------------------------- */

static int bind_fd(int fd)
{
    char text[32];
    snprintf(text, sizeof text, "fd:%d", fd);
    return weft__listener_bind(listener, text);
}

static void an_inherited_tcp_socket_is_served_and_owned(void **state)
{
    (void)state;
    int fd = listen_at(tcp4(0));
    int port = port_of(fd);
    assert_int_equal(bind_fd(fd), 0);
    assert_int_equal(weft__listener_port(listener, 0), port);
    assert_address("127.0.0.1", port);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(bind_fd(fd), -EADDRINUSE);
    start();
    assert_serves(tcp4(port));
    weft__listener_stop(listener);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(dial(tcp4(port)), -ECONNREFUSED);
}

static void an_inherited_unix_socket_keeps_its_file(void **state)
{
    (void)state;
    assert_int_equal(bind_fd(listen_at(unix_name(path))), 0);
    assert_string_equal(weft__listener_address(listener, 0), unix_address);
    assert_int_equal(weft__listener_port(listener, 0), 0);
    start();
    assert_serves(unix_name(path));
    weft__listener_stop(listener);
    assert_true(exists()); /* who made it removes it */
}

static void descriptors_that_do_not_listen_are_refused(void **state)
{
    (void)state;
    int idle = new_socket(AF_INET);
    int datagram = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(bind_fd(inbox[0]), -ENOTSOCK);
    assert_int_equal(bind_fd(datagram), -EPROTOTYPE);
    assert_int_equal(bind_fd(idle), -ENOTCONN);
    close(datagram);
    close(idle); /* still the caller's */
    assert_int_equal(bind_fd(idle), -EBADF);
}

static void a_socket_that_somebody_shuts_down_is_given_up_once(void **state)
{
    (void)state;
    int lines[2];
    weft_log *log;
    weft_log_options log_options = WEFT_LOG_OPTIONS_INIT;
    assert_int_equal(pipe(lines), 0);
    log_options.fd = lines[1];
    assert_int_equal(weft_log_new(&log, &log_options), 0);
    weft__listener_free(listener);
    assert_int_equal(weft__listener_new(&listener, &(weft__listener_options){.log = log}), 0);

    int dead = listen_at(tcp4(0));
    int port = tcp4_listener();
    assert_int_equal(bind_fd(dead), 0);
    start();
    assert_int_equal(shutdown(dead, SHUT_RDWR), 0);
    assert_true(is_readable(lines[0]));
    assert_serves(tcp4(port));
    weft__listener_stop(listener);

    char text[1024] = "";
    weft_log_free(log);
    assert_true(read(lines[0], text, sizeof text - 1) > 0);
    assert_non_null(strstr(text, "a listening socket failed"));
    assert_ptr_equal(strchr(text, '\n') + 1, text + strlen(text)); /* one line */
    close(lines[0]);
    close(lines[1]);
}

/* ---- out of descriptors ------------------------------------------------------------------------------------------ */

static struct rlimit usual_limit;

static void limit_descriptors(rlim_t limit)
{
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual_limit), 0);
    struct rlimit low = {.rlim_cur = limit, .rlim_max = usual_limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
}

static void unlimit_descriptors(void)
{
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual_limit), 0);
}

/* Waits until so many connections could not be accepted. */
static void wait_for_failures(uint64_t count)
{
    struct timespec start_time, now;
    clock_gettime(CLOCK_MONOTONIC, &start_time);
    while (weft__listener_failures(listener) < count) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        assert_true((now.tv_sec - start_time.tv_sec) * 1000 < WAIT_MS);
        sched_yield();
    }
}

static void out_of_descriptors_peers_are_told_at_once_and_service_resumes(void **state)
{
    (void)state;
    enum {
        HELD = 256
    };
    int held[HELD];
    int count = 0;
    int clients[4];
    int port = tcp4_listener();
    union name name = tcp4(port);
    start();
    for (int i = 0; i < 4; i++)
        clients[i] = new_socket(AF_INET);

    limit_descriptors(HELD);
    while (count < HELD && (held[count] = dup(0)) >= 0)
        count++;
    assert_int_equal(errno, EMFILE);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(connect_to(clients[i], &name), 0);
        assert_closed(clients[i]);
    }
    wait_for_failures(3);
    assert_int_equal(weft__listener_failures(listener), 3);

    while (count > 0)
        close(held[--count]);
    unlimit_descriptors();
    assert_int_equal(connect_to(clients[3], &name), 0);
    close(take_accepted());
    for (int i = 0; i < 4; i++)
        close(clients[i]);
    assert_serves(tcp4(port));
}

static void without_even_a_spare_descriptor_it_pauses_and_then_accepts(void **state)
{
    (void)state;
    int port = tcp4_listener();
    union name name = tcp4(port);
    int clients[2] = {new_socket(AF_INET), new_socket(AF_INET)};
    start();
    limit_descriptors(3); /* all that are lower are open: neither the spare nor anything else can be opened again */
    assert_int_equal(connect_to(clients[0], &name), 0);
    wait_for_failures(3);
    unlimit_descriptors();
    close(take_accepted()); /* it waited in the kernel */
    assert_in_range(weft__listener_failures(listener), 3, 20);

    /* The spare is there again. */
    enum {
        HELD = 256
    };
    int held[HELD];
    int count = 0;
    uint64_t failures = weft__listener_failures(listener);
    limit_descriptors(HELD);
    while (count < HELD && (held[count] = dup(0)) >= 0)
        count++;
    assert_int_equal(connect_to(clients[1], &name), 0);
    assert_closed(clients[1]);
    assert_int_equal(weft__listener_failures(listener), failures + 1);
    while (count > 0)
        close(held[--count]);
    unlimit_descriptors();
    close(clients[0]);
    close(clients[1]);
    assert_serves(tcp4(port));
}

static void it_does_not_start_without_descriptors(void **state)
{
    (void)state;
    int port = tcp4_listener();
    limit_descriptors(3);
    assert_int_equal(weft__listener_start(listener, into_inbox, NULL), -EMFILE);
    unlimit_descriptors();
    start();
    assert_serves(tcp4(port));
}

/* ---- the callback and the end ------------------------------------------------------------------------------------ */

static void a_connection_that_the_callback_refuses_is_closed(void **state)
{
    (void)state;
    int port = tcp4_listener();
    assert_int_equal(weft__listener_start(listener, refuse, NULL), 0);
    int client = dial(tcp4(port));
    assert_true(client >= 0);
    assert_closed(client);
    close(client);
    assert_int_equal(weft__listener_failures(listener), 0);
}

static void after_stop_the_port_refuses(void **state)
{
    (void)state;
    int port = tcp4_listener();
    start();
    int client = dial(tcp4(port));
    int server = take_accepted();
    weft__listener_stop(listener);
    assert_int_equal(dial(tcp4(port)), -ECONNREFUSED);
    assert_int_equal(write(client, "a", 1), 1); /* what was handed over lives on */
    assert_true(is_readable(server));
    close(client);
    close(server);
}

static void connections_queue_before_start_and_are_dropped_without_it(void **state)
{
    (void)state;
    int port = tcp4_listener();
    int client = dial(tcp4(port));
    assert_true(client >= 0);
    weft__listener_stop(listener);
    assert_closed(client);
    close(client);
}

static atomic_int accepted_count;

static int count_and_close(void *user, size_t binding, int fd)
{
    (void)user;
    (void)binding;
    atomic_fetch_add(&accepted_count, 1);
    close(fd);
    return 0;
}

/* Connects again and again until the port refuses. */
static void *knock(void *arg)
{
    union name name = tcp4(*(int *)arg);
    struct linger hard = {.l_onoff = 1, .l_linger = 0}; /* leave no ports in TIME_WAIT */
    int rc = 0;
    for (int i = 0; i < 100000 && rc != -ECONNREFUSED; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        rc = connect(fd, &name.any, length_of(&name)) == 0 ? 0 : -errno;
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close(fd);
    }
    return rc == -ECONNREFUSED ? arg : NULL;
}

static void it_stops_while_connections_arrive(void **state)
{
    (void)state;
    int port = tcp4_listener();
    pthread_t threads[3];
    atomic_store(&accepted_count, 0);
    assert_int_equal(weft__listener_start(listener, count_and_close, NULL), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, knock, &port), 0);
    while (atomic_load(&accepted_count) < 100)
        sched_yield();
    weft__listener_stop(listener);
    int at_stop = atomic_load(&accepted_count);
    for (int i = 0; i < 3; i++) {
        void *refused;
        assert_int_equal(pthread_join(threads[i], &refused), 0);
        assert_non_null(refused);
    }
    assert_int_equal(atomic_load(&accepted_count), at_stop);
}

/* ---- out of memory and threads ----------------------------------------------------------------------------------- */

static int serve_once(void *context)
{
    (void)context;
    weft__listener *other = NULL;
    int rc = weft__listener_new(&other, NULL);
    if (rc == 0)
        rc = weft__listener_bind(other, unix_address);
    if (rc == 0)
        rc = weft__listener_bind(other, "127.0.0.1:0");
    if (rc == 0)
        rc = weft__listener_start(other, into_inbox, NULL);
    weft__listener_free(other);
    assert_false(exists());
    return rc;
}

static void it_survives_every_failed_allocation(void **state)
{
    (void)state;
    assert_true(weft_test_oom_sweep(serve_once, NULL) >= 1);
}

static void it_can_start_after_no_thread_could_be_had(void **state)
{
    (void)state;
    int port = tcp4_listener();
    weft_test_thread_fail_at(1);
    assert_int_equal(weft__listener_start(listener, into_inbox, NULL), -EAGAIN);
    weft_test_thread_fail_at(0);
    start();
    assert_serves(tcp4(port));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ipv4_is_served_at_the_port_that_is_told),
        TEST(ipv6_is_served_and_leaves_ipv4_alone),
        TEST(all_interfaces_share_one_free_port),
        TEST(a_name_is_looked_up),
        TEST(several_addresses_are_served_at_once),
        TEST(accepted_connections_do_not_block_delay_or_leak_into_programs),
        TEST(a_port_in_use_is_an_error_and_stays_in_use),
        TEST(all_addresses_of_a_name_bind_or_none),
        TEST(the_callback_is_told_which_binding_a_connection_came_to),
        TEST(what_cannot_be_bound_changes_nothing),
        TEST(the_table_of_sockets_is_bounded),
        TEST(calls_out_of_order_are_refused),
        TEST(a_unix_socket_is_served_and_removed_at_the_end),
        TEST(a_unix_socket_has_the_permissions_asked_for),
        TEST(a_live_unix_socket_is_not_stolen),
        TEST(a_unix_socket_whose_queue_is_full_is_not_stolen),
        TEST(a_unix_socket_left_over_is_replaced),
        TEST(other_files_are_not_replaced),
        TEST(a_file_that_is_no_longer_ours_is_not_removed),
        TEST(an_inherited_tcp_socket_is_served_and_owned),
        TEST(an_inherited_unix_socket_keeps_its_file),
        TEST(descriptors_that_do_not_listen_are_refused),
        TEST(a_socket_that_somebody_shuts_down_is_given_up_once),
        TEST(out_of_descriptors_peers_are_told_at_once_and_service_resumes),
        TEST(without_even_a_spare_descriptor_it_pauses_and_then_accepts),
        TEST(it_does_not_start_without_descriptors),
        TEST(a_connection_that_the_callback_refuses_is_closed),
        TEST(after_stop_the_port_refuses),
        TEST(connections_queue_before_start_and_are_dropped_without_it),
        TEST(it_stops_while_connections_arrive),
        TEST(it_survives_every_failed_allocation),
        TEST(it_can_start_after_no_thread_could_be_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
