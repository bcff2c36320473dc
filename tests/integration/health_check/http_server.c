/* One thread, which polls the listening socket, a pipe that ends it, and all connections. */
#include "integration/health_check/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    CONNECTIONS = 16,
    FIRST = 2 /* of the connections among what is polled */
};

struct connection {
    bool silent; /* it is not answered */
    size_t len;
    char request[1024];
};

struct http_server {
    pthread_t thread;
    uint16_t port;
    int stop[2];
    struct pollfd fds[FIRST + CONNECTIONS]; /* the thread's, as are the connections */
    struct connection connections[CONNECTIONS];

    pthread_mutex_t lock;
    enum http_answer answer;
    int asked;
    int waiting;
    char request[1024];
};

static enum http_answer count(struct http_server *server, int asked, int waiting)
{
    pthread_mutex_lock(&server->lock);
    enum http_answer answer = server->answer;
    server->asked += asked;
    server->waiting += waiting;
    pthread_mutex_unlock(&server->lock);
    return answer;
}

static void hang_up(struct http_server *server, size_t i)
{
    close(server->fds[FIRST + i].fd);
    server->fds[FIRST + i].fd = -1;
}

static void send_all(int fd, const char *text, size_t piece)
{
    for (size_t at = 0, len = strlen(text); at < len; at += piece)
        if (send(fd, text + at, at + piece < len ? piece : len - at, MSG_NOSIGNAL) < 0)
            return;
}

static void answer(struct http_server *server, size_t i, enum http_answer answer)
{
    int fd = server->fds[FIRST + i].fd;
    switch (answer) {
    case HTTP_GOOD:
        send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n", 1000);
        break;
    case HTTP_PIECES:
        send_all(fd, "HTTP/1.0 204 No Content\r\n\r\n", 1);
        break;
    case HTTP_ERROR:
        send_all(fd, "HTTP/1.1 500 Internal Server Error\r\n\r\n", 1000);
        break;
    case HTTP_GARBAGE:
        send_all(fd, "220 mail.example.org ESMTP\r\n", 1000);
        break;
    case HTTP_CUT:
        send_all(fd, "HTTP/1.1 20", 1000);
        break;
    case HTTP_SILENCE:
        server->connections[i].silent = true;
        (void)count(server, 0, 1);
        return;
    case HTTP_CLOSE:
        break;
    }
    hang_up(server, i);
}

static void read_request(struct http_server *server, size_t i)
{
    struct connection *connection = &server->connections[i];
    size_t room = sizeof connection->request - 1 - connection->len;
    ssize_t n = recv(server->fds[FIRST + i].fd, connection->request + connection->len, room, 0);
    if (n <= 0) {
        hang_up(server, i);
        (void)count(server, 0, connection->silent ? -1 : 0);
        return;
    }
    connection->len += (size_t)n;
    if (strstr(connection->request, "\r\n\r\n") == NULL)
        return;
    pthread_mutex_lock(&server->lock);
    memcpy(server->request, connection->request, sizeof server->request);
    pthread_mutex_unlock(&server->lock);
    answer(server, i, count(server, 1, 0));
}

static void take_connection(struct http_server *server)
{
    const int on = 1;
    int fd = accept(server->fds[1].fd, NULL, NULL);
    if (fd < 0)
        return;
    if (count(server, 0, 0) == HTTP_CLOSE) {
        (void)count(server, 1, 0);
        close(fd);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        if (server->fds[FIRST + i].fd >= 0)
            continue;
        server->fds[FIRST + i].fd = fd;
        memset(&server->connections[i], 0, sizeof server->connections[i]);
        return;
    }
    close(fd);
}

static void *serve(void *arg)
{
    struct http_server *server = arg;
    for (;;) {
        (void)poll(server->fds, FIRST + CONNECTIONS, -1);
        if (server->fds[0].revents != 0)
            return NULL;
        for (size_t i = 0; i < CONNECTIONS; i++)
            if (server->fds[FIRST + i].revents != 0)
                read_request(server, i);
        if (server->fds[1].revents != 0)
            take_connection(server);
    }
}

struct http_server *http_server_start(int host, uint16_t port)
{
    const int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(0x7f000000U + (uint32_t)host);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        assert_int_equal(errno, EADDRINUSE);
        close(fd);
        return NULL;
    }
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    struct http_server *server = calloc(1, sizeof *server);
    assert_non_null(server);
    server->port = ntohs(address.sin_port);
    assert_int_equal(pipe(server->stop), 0);
    for (size_t i = 0; i < FIRST + CONNECTIONS; i++)
        server->fds[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    server->fds[0].fd = server->stop[0];
    server->fds[1].fd = fd;
    assert_int_equal(pthread_mutex_init(&server->lock, NULL), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
    return server;
}

void http_server_stop(struct http_server *server)
{
    assert_int_equal(write(server->stop[1], "x", 1), 1);
    assert_int_equal(pthread_join(server->thread, NULL), 0);
    for (size_t i = 0; i < FIRST + CONNECTIONS; i++)
        if (server->fds[i].fd >= 0)
            close(server->fds[i].fd);
    close(server->stop[1]);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

void http_server_answer(struct http_server *server, enum http_answer answer)
{
    pthread_mutex_lock(&server->lock);
    server->answer = answer;
    pthread_mutex_unlock(&server->lock);
}

int http_server_asked(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    int asked = server->asked;
    pthread_mutex_unlock(&server->lock);
    return asked;
}

int http_server_waiting(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    int waiting = server->waiting;
    pthread_mutex_unlock(&server->lock);
    return waiting;
}

void http_server_request(struct http_server *server, char out[1024])
{
    pthread_mutex_lock(&server->lock);
    memcpy(out, server->request, sizeof server->request);
    pthread_mutex_unlock(&server->lock);
}
