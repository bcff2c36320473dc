#include "integration/consul/fake.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "integration/consul/sink.h"

#define MAX_REQUEST 65536

/* One connection, and the request on it. */
struct fake_request {
    int fd; /* -1: free */
    bool taken;
    size_t len;
    size_t head_len; /* 0: it is not whole yet */
    size_t total;
    char data[MAX_REQUEST + 1];
    char line[2048];
    char head[8192];
    char body[MAX_REQUEST + 1];
};

struct fake {
    int listener; /* -1: stopped */
    char address[32];
    uint16_t port;
    fake_request connections[FAKE_CONNECTIONS];
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void fake_start(struct fake *fake)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(fake->port)};
    socklen_t len = sizeof address;
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fake->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fake->listener >= 0);
    setsockopt(fake->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    assert_int_equal(bind(fake->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fake->listener, 16), 0);
    assert_int_equal(getsockname(fake->listener, (struct sockaddr *)&address, &len), 0);
    fake->port = ntohs(address.sin_port);
    snprintf(fake->address, sizeof fake->address, "127.0.0.1:%u", (unsigned)fake->port);
}

struct fake *fake_new(void)
{
    struct fake *self = calloc(1, sizeof *self);
    assert_non_null(self);
    for (size_t i = 0; i < FAKE_CONNECTIONS; i++)
        self->connections[i].fd = -1;
    fake_start(self);
    return self;
}

static void drop(fake_request *request)
{
    if (request->fd >= 0)
        close(request->fd);
    request->fd = -1;
}

void fake_stop(struct fake *fake)
{
    if (fake->listener >= 0)
        close(fake->listener);
    fake->listener = -1;
    for (size_t i = 0; i < FAKE_CONNECTIONS; i++)
        drop(&fake->connections[i]);
}

void fake_free(struct fake *fake)
{
    fake_stop(fake);
    free(fake);
}

const char *fake_address(const struct fake *fake)
{
    return fake->address;
}

static void begin(fake_request *request)
{
    request->taken = false;
    request->len = request->head_len = request->total = 0;
    request->data[0] = '\0';
}

static void take_connection(struct fake *fake)
{
    int fd = accept(fake->listener, NULL, NULL);
    assert_true(fd >= 0);
    for (size_t i = 0; i < FAKE_CONNECTIONS; i++)
        if (fake->connections[i].fd < 0) {
            fake->connections[i].fd = fd;
            begin(&fake->connections[i]);
            return;
        }
    close(fd);
    fail_msg("more than %d connections", FAKE_CONNECTIONS);
}

static void read_more(fake_request *request)
{
    ssize_t n = recv(request->fd, request->data + request->len, MAX_REQUEST - request->len, 0);
    if (n <= 0) {
        drop(request);
        return;
    }
    request->len += (size_t)n;
    request->data[request->len] = '\0';
    const char *end = strstr(request->data, "\r\n\r\n");
    if (end == NULL)
        return;
    request->head_len = (size_t)(end + 4 - request->data);
    const char *length = strstr(request->data, "Content-Length: ");
    size_t body = length != NULL && length < end ? (size_t)strtoul(length + 16, NULL, 10) : 0;
    request->total = request->head_len + body;
    if (request->len < request->total)
        return;
    snprintf(request->line, sizeof request->line, "%.*s", (int)strcspn(request->data, "\r"), request->data);
    char *version = strstr(request->line, " HTTP/");
    if (version != NULL)
        *version = '\0';
    snprintf(request->head, sizeof request->head, "%.*s", (int)request->head_len, request->data);
    snprintf(request->body, sizeof request->body, "%.*s", (int)body, request->data + request->head_len);
}

static bool whole(const fake_request *request)
{
    return request->fd >= 0 && request->head_len > 0 && request->len >= request->total;
}

static fake_request *find(struct fake *fake, const char *start)
{
    for (size_t i = 0; i < FAKE_CONNECTIONS; i++) {
        fake_request *request = &fake->connections[i];
        if (whole(request) && !request->taken && strncmp(request->line, start, strlen(start)) == 0)
            return request;
    }
    return NULL;
}

/* Reads what comes, once, until the deadline. Requests that wait for an answer are looked at too: they may be given up.
 */
static void turn(struct fake *fake, int64_t deadline_ms)
{
    struct pollfd fds[FAKE_CONNECTIONS + 1];
    int64_t left = deadline_ms - now_ms();
    for (size_t i = 0; i < FAKE_CONNECTIONS; i++)
        fds[i] = (struct pollfd){.fd = fake->connections[i].fd, .events = POLLIN};
    fds[FAKE_CONNECTIONS] = (struct pollfd){.fd = fake->listener, .events = POLLIN};
    if (poll(fds, FAKE_CONNECTIONS + 1, left > 0 ? (int)left : 0) <= 0)
        return;
    for (size_t i = 0; i < FAKE_CONNECTIONS; i++)
        if (fds[i].revents != 0)
            read_more(&fake->connections[i]);
    if (fds[FAKE_CONNECTIONS].revents != 0)
        take_connection(fake);
}

bool fake_has(struct fake *fake, const char *start, int ms)
{
    int64_t deadline_ms = now_ms() + ms;
    while (find(fake, start) == NULL && now_ms() < deadline_ms)
        turn(fake, deadline_ms);
    return find(fake, start) != NULL;
}

fake_request *fake_next(struct fake *fake, const char *start)
{
    if (!fake_has(fake, start, DEADLINE_MS))
        fail_msg("no request \"%s\" came in time", start);
    fake_request *request = find(fake, start);
    request->taken = true;
    return request;
}

bool fake_waits(const fake_request *request)
{
    return whole(request) && request->taken;
}

const char *fake_line(const fake_request *request)
{
    return request->line;
}

const char *fake_head(const fake_request *request)
{
    return request->head;
}

const char *fake_body(const fake_request *request)
{
    return request->body;
}

/* A peer that has gone is its own affair. */
static void send_all(fake_request *request, const char *data, size_t len)
{
    while (request->fd >= 0 && len > 0) {
        ssize_t n = send(request->fd, data, len, MSG_NOSIGNAL);
        if (n < 0) {
            drop(request);
            return;
        }
        data += n;
        len -= (size_t)n;
    }
}

void fake_answer_with(fake_request *request, int status, const char *headers, const char *body)
{
    char head[512];
    int len = snprintf(head, sizeof head, "HTTP/1.1 %d Status\r\nContent-Length: %zu\r\n%s\r\n", status, strlen(body),
                       headers);
    send_all(request, head, (size_t)len);
    send_all(request, body, strlen(body));
    if (request->fd >= 0)
        begin(request);
}

void fake_answer(fake_request *request, int status, long long index, const char *body)
{
    char header[64] = "";
    if (index >= 0)
        snprintf(header, sizeof header, "x-consul-INDEX: %lld\r\n", index);
    fake_answer_with(request, status, header, body);
}

void fake_send(fake_request *request, const char *bytes)
{
    send_all(request, bytes, strlen(bytes));
    drop(request);
}
