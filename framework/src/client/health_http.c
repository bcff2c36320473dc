/* health_http.c: checks by HTTP: a connection each, of which the status line is read.
 *
 *     idle ──due──▶ connecting ──▶ sending ──▶ receiving ──status, error or timeout──▶ idle
 *
 * Design notes
 * - All of it runs on the runner's thread, by times and descriptors; link and close only wake it. So nothing here is
 *   guarded but what the base guards.
 * - `renewed` is taken note of by that thread: what is under way then is dropped, and another check begins at once.
 */
#include "client/health_http.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <weft/version.h>

#include "client/health_check.h"

static const int64_t ns_per_ms = 1000000;

typedef struct http_checker {
    weft__checker base;
    weft__runner_task task;
    bool added;
    struct sockaddr_storage peer;
    socklen_t peer_len; /* 0: it cannot be asked */
    char *request;
    /* the runner's thread only */
    int fd; /* -1: nothing is under way */
    size_t sent;
    char answer[WEFT__HTTP_STATUS_BYTES];
    size_t received;
    bool first; /* no check has ended on this connection */
    int64_t begun_ns;
    int64_t next_ns;
} http_checker;

/* ---- text -------------------------------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int weft__http_status(const char *data, size_t len)
{
    static const char form[WEFT__HTTP_STATUS_BYTES + 1] = "HTTP/1.d ddde"; /* d: a digit; e: what ends the code */
    for (size_t i = 0; i < len && i < WEFT__HTTP_STATUS_BYTES; i++) {
        bool fits = form[i] == 'd'   ? is_digit(data[i])
                    : form[i] == 'e' ? data[i] == ' ' || data[i] == '\r' || data[i] == '\n'
                                     : data[i] == form[i];
        if (!fits)
            return -EBADMSG;
    }
    if (len < WEFT__HTTP_STATUS_BYTES)
        return 0;
    int status = (data[9] - '0') * 100 + (data[10] - '0') * 10 + (data[11] - '0');
    return status >= 100 && status <= 599 ? status : -EBADMSG;
}

int weft__http_place_parse(weft__http_place *out, const char *address, uint16_t port)
{
    weft__http_place place = {.path = NULL};
    if (strncmp(address, "unix:", 5) == 0) {
        place.path = strncmp(address + 5, "//", 2) == 0 ? address + 7 : address + 5;
        if (place.path[0] == '\0')
            return -EINVAL;
        *out = place;
        return 0;
    }
    bool six = strncmp(address, "ipv6:[", 6) == 0;
    if (!six && strncmp(address, "ipv4:", 5) != 0)
        return -EINVAL;
    const char *host = address + (six ? 6 : 5);
    const char *end = six ? strchr(host, ']') : strrchr(host, ':');
    if (end == NULL || end == host || (size_t)(end - host) >= sizeof place.host || (six && end[1] != ':'))
        return -EINVAL;
    const char *own_port = end + (six ? 2 : 1);
    memcpy(place.host, host, (size_t)(end - host));
    int len = port != 0 ? snprintf(place.port, sizeof place.port, "%u", (unsigned)port)
                        : snprintf(place.port, sizeof place.port, "%s", own_port);
    if (len <= 0 || (size_t)len >= sizeof place.port || strspn(place.port, "0123456789") != (size_t)len)
        return -EINVAL;
    *out = place;
    return 0;
}

char *weft__http_request(const weft__http_place *place, const char *host, const char *path)
{
    static const char form[] = "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: weft-c/" WEFT_VERSION_STRING
                               "\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    char own[sizeof place->host + sizeof place->port + 3];
    bool six = strchr(place->host, ':') != NULL;
    if (place->path != NULL)
        (void)snprintf(own, sizeof own, "localhost");
    else
        (void)snprintf(own, sizeof own, six ? "[%s]:%s" : "%s:%s", place->host, place->port);
    if (host == NULL)
        host = own;
    size_t size = sizeof form + strlen(path) + strlen(host);
    char *request = malloc(size);
    if (request != NULL)
        (void)snprintf(request, size, form, path, host);
    return request;
}

/* A number needs no name server, so this does not block. 0 bytes: it cannot be used. */
static socklen_t find_peer(struct sockaddr_storage *out, const weft__http_place *place)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    if (place->path != NULL) {
        if (strlen(place->path) >= sizeof local.sun_path)
            return 0;
        memcpy(local.sun_path, place->path, strlen(place->path));
        memcpy(out, &local, sizeof local);
        return (socklen_t)sizeof local;
    }
    if (getaddrinfo(place->host, place->port, &hints, &found) != 0)
        return 0;
    socklen_t len = found->ai_addrlen;
    memcpy(out, found->ai_addr, len);
    freeaddrinfo(found);
    return len;
}

/* ---- a check ----------------------------------------------------------------------------------------------------- */

static void hang_up(http_checker *checker)
{
    if (checker->fd >= 0)
        close(checker->fd);
    checker->fd = -1;
    checker->task.fd_count = 0;
}

/* The check is over. `reason` is why it failed; NULL: it has not. */
static void end(http_checker *checker, const char *reason)
{
    hang_up(checker);
    checker->next_ns = weft__checker_next_ns(&checker->base, checker->begun_ns, checker->first);
    checker->first = false;
    weft__checker_note(&checker->base, reason == NULL, reason != NULL ? reason : "");
}

static void end_by_error(http_checker *checker, int error)
{
    char text[128];
    if (strerror_r(error, text, sizeof text) != 0)
        (void)snprintf(text, sizeof text, "error %d", error);
    end(checker, text);
}

static void poll_for(http_checker *checker, short events)
{
    checker->task.fds[0] = (struct pollfd){.fd = checker->fd, .events = events};
    checker->task.fd_count = 1;
}

static void begin(http_checker *checker, int64_t now_ns)
{
    checker->begun_ns = now_ns;
    checker->sent = 0;
    checker->received = 0;
    if (checker->peer_len == 0) {
        end(checker, "its address cannot be asked by HTTP");
        return;
    }
    checker->fd = socket(checker->peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (checker->fd < 0) { /* out of descriptors: that says nothing of the backend */
        checker->next_ns = weft__checker_next_ns(&checker->base, now_ns, false);
        return;
    }
    if (connect(checker->fd, (const struct sockaddr *)&checker->peer, checker->peer_len) < 0 && errno != EINPROGRESS)
        end_by_error(checker, errno);
    else
        poll_for(checker, POLLOUT);
}

/* Also finds out how connecting went. */
static void send_request(http_checker *checker)
{
    const char *rest = checker->request + checker->sent;
    ssize_t n = send(checker->fd, rest, strlen(rest), MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        end_by_error(checker, errno);
    if (n < 0)
        return;
    checker->sent += (size_t)n;
    if (checker->request[checker->sent] == '\0')
        poll_for(checker, POLLIN);
}

static void receive(http_checker *checker)
{
    char text[64];
    ssize_t n = recv(checker->fd, checker->answer + checker->received, sizeof checker->answer - checker->received, 0);
    if (n < 0 && errno != EAGAIN)
        end_by_error(checker, errno);
    if (n < 0)
        return;
    checker->received += (size_t)n;
    int status = weft__http_status(checker->answer, checker->received);
    if (status >= 200 && status <= 299) {
        end(checker, NULL);
    } else if (status > 0) {
        (void)snprintf(text, sizeof text, "HTTP status %d", status);
        end(checker, text);
    } else if (status < 0) {
        end(checker, "it does not speak HTTP");
    } else if (n == 0) {
        end(checker, "the connection was closed without an answer");
    }
}

static void go_on(http_checker *checker, int64_t now_ns)
{
    int64_t timeout_ns = checker->base.checks->options.timeout_ms * ns_per_ms;
    if (now_ns >= checker->begun_ns + timeout_ns)
        end(checker, "it says nothing");
    else if (checker->task.fds[0].revents == 0)
        return;
    else if (checker->request[checker->sent] != '\0')
        send_request(checker);
    else
        receive(checker);
}

static int64_t due_ns(const http_checker *checker)
{
    return checker->fd >= 0 ? checker->begun_ns + checker->base.checks->options.timeout_ms * ns_per_ms
                            : checker->next_ns;
}

static void run(weft__runner_task *task)
{
    http_checker *checker = WEFT__CONTAINER_OF(task, http_checker, task);
    int64_t now_ns = weft__runner_now_ns();
    pthread_mutex_lock(&checker->base.lock);
    bool checks = checker->base.ready && !checker->base.closed;
    bool renewed = checker->base.renewed;
    checker->base.renewed = false;
    pthread_mutex_unlock(&checker->base.lock);
    if (renewed || !checks) {
        hang_up(checker);
        checker->first = true;
        checker->next_ns = now_ns;
    }
    if (!checks) {
        task->due_ns = INT64_MAX;
        return;
    }
    if (checker->fd >= 0)
        go_on(checker, now_ns);
    else if (checker->next_ns <= now_ns)
        begin(checker, now_ns);
    task->due_ns = due_ns(checker);
}

/* ---- the checker ------------------------------------------------------------------------------------------------- */

static void linked(weft__checker *base)
{
    weft__runner_wake(&base->checks->runner, &WEFT__CONTAINER_OF(base, http_checker, base)->task);
}

static void free_checker(weft__checker *base)
{
    http_checker *checker = WEFT__CONTAINER_OF(base, http_checker, base);
    if (checker->added)
        weft__runner_remove(&base->checks->runner, &checker->task);
    hang_up(checker);
    free(checker->request);
    weft__checker_fini(base);
    free(checker);
}

static const weft__checker_kind kind = {.linked = linked, .free = free_checker};

int weft__http_checker_new(weft__checker **out, weft__health_checks *checks, const weft__checked *about)
{
    weft__http_place place = {.path = NULL};
    http_checker *checker = calloc(1, sizeof *checker);
    if (checker == NULL)
        return -ENOMEM;
    int rc = weft__checker_init(&checker->base, &kind, checks, about);
    if (rc < 0) {
        free(checker);
        return rc;
    }
    checker->fd = -1;
    checker->task.run = run;
    checker->task.due_ns = INT64_MAX;
    if (weft__http_place_parse(&place, about->address, checks->options.port) == 0)
        checker->peer_len = find_peer(&checker->peer, &place);
    checker->request = weft__http_request(&place, checks->host, checks->options.path);
    rc = checker->request != NULL ? weft__runner_add(&checks->runner, &checker->task) : -ENOMEM;
    checker->added = rc == 0;
    if (rc < 0) {
        free_checker(&checker->base);
        return rc;
    }
    *out = &checker->base;
    return 0;
}
