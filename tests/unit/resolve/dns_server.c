/* One thread, which polls both sockets and a pipe that ends it. Messages are small and records few: all have limits. */
#include "unit/resolve/dns_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MAX_RECORDS 2048
#define MAX_MESSAGE 65535
#define HEADER      12
#define WAIT_S      10

#define TYPE_A     1
#define TYPE_CNAME 5
#define TYPE_AAAA  28
#define TYPE_SRV   33

struct record {
    char name[128];
    uint16_t type;
    uint32_t ttl;
    unsigned char data[160];
    size_t len;
};

struct dns_server {
    pthread_mutex_t lock;
    pthread_cond_t asked;
    pthread_t thread;
    int udp;
    int tcp;
    int stop[2];
    uint16_t port;
    enum dns_answer answer;
    enum dns_answer answer_aaaa;
    enum dns_answer answer_odd;
    char odd_name[128];
    int questions;
    int tcp_questions;
    size_t record_count;
    struct record records[MAX_RECORDS];
    unsigned char out[2 + MAX_MESSAGE]; /* the thread's */
};

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static void put16(unsigned char **at, unsigned value)
{
    *(*at)++ = (unsigned char)(value >> 8);
    *(*at)++ = (unsigned char)value;
}

/* "a.b" as DNS writes it. */
static size_t encode_name(unsigned char *out, const char *name)
{
    unsigned char *at = out;
    while (*name != '\0') {
        size_t len = strcspn(name, ".");
        *at++ = (unsigned char)len;
        memcpy(at, name, len);
        at += len;
        name += len + (name[len] == '.');
    }
    *at++ = 0;
    return (size_t)(at - out);
}

/* The name in a question. @return the bytes that it takes; 0: it is none. */
static size_t decode_name(const unsigned char *data, size_t len, char out[256])
{
    size_t at = 0, used = 0;
    while (at < len && data[at] != 0) {
        size_t label = data[at];
        if (label > 63 || at + 1 + label >= len || used + label + 2 > 256)
            return 0;
        if (used > 0)
            out[used++] = '.';
        memcpy(out + used, data + at + 1, label);
        used += label;
        at += 1 + label;
    }
    out[used] = '\0';
    return at < len ? at + 1 : 0;
}

/* Appends the records of a name and type, following CNAMEs. @return how many. */
static unsigned put_records(const struct dns_server *server, const char *name, unsigned type, unsigned char **at,
                            const unsigned char *end)
{
    unsigned count = 0;
    for (size_t i = 0; i < server->record_count; i++) {
        const struct record *record = &server->records[i];
        char other[256];
        if (strcasecmp(record->name, name) != 0 || (record->type != type && record->type != TYPE_CNAME))
            continue;
        if ((size_t)(end - *at) < sizeof record->name + sizeof record->data + 16)
            break;
        *at += encode_name(*at, record->name);
        put16(at, record->type);
        put16(at, 1);
        put16(at, record->ttl >> 16);
        put16(at, record->ttl & 0xffff);
        put16(at, (unsigned)record->len);
        memcpy(*at, record->data, record->len);
        *at += record->len;
        count++;
        if (record->type == TYPE_CNAME && decode_name(record->data, record->len, other) > 0)
            count += put_records(server, other, type, at, end);
    }
    return count;
}

static bool is_known(const struct dns_server *server, const char *name)
{
    for (size_t i = 0; i < server->record_count; i++)
        if (strcasecmp(server->records[i].name, name) == 0)
            return true;
    return false;
}

/* The answer to a question. @return its length; 0: none. Locked. */
static size_t answer_to(struct dns_server *server, const unsigned char *question, size_t len, bool by_tcp,
                        unsigned char *out, size_t size)
{
    char name[256];
    size_t name_len = len > HEADER ? decode_name(question + HEADER, len - HEADER, name) : 0;
    if (name_len == 0 || len < HEADER + name_len + 4)
        return 0;
    size_t asked_len = HEADER + name_len + 4;
    unsigned type = (unsigned)question[HEADER + name_len] << 8 | question[HEADER + name_len + 1];
    enum dns_answer answer = type == TYPE_AAAA ? server->answer_aaaa : server->answer;
    if (strcasecmp(name, server->odd_name) == 0)
        answer = server->answer_odd;
    server->questions += type != TYPE_AAAA;
    server->tcp_questions += by_tcp;
    pthread_cond_broadcast(&server->asked);
    if (answer == DNS_SILENCE)
        return 0;
    memcpy(out, question, asked_len);
    memset(out + 4, 0, HEADER - 4);
    out[2] = 0x85; /* a response with authority, recursion desired */
    out[3] = 0x80; /* recursion available */
    out[5] = 1;
    unsigned char *at = out + asked_len;
    if (answer == DNS_GARBAGE) {
        out[7] = 9; /* records, which are noise */
        memset(at, 0xc3, 40);
        return asked_len + 40;
    }
    if (answer == DNS_SERVFAIL) {
        out[3] |= 2;
        return asked_len;
    }
    if (answer == DNS_TRUNCATED && !by_tcp) {
        out[2] |= 2;
        return asked_len;
    }
    unsigned count = put_records(server, name, type, &at, out + size);
    out[6] = (unsigned char)(count >> 8);
    out[7] = (unsigned char)count;
    if (count == 0 && !is_known(server, name))
        out[3] |= 3;
    size_t whole = (size_t)(at - out);
    return answer == DNS_CUT && count > 0 ? whole - 3 : whole;
}

/* ---- sockets ----------------------------------------------------------------------------------------------------- */

static void serve_udp(struct dns_server *server)
{
    unsigned char *out = server->out;
    unsigned char in[1024];
    struct sockaddr_in peer;
    socklen_t peer_len = sizeof peer;
    ssize_t len = recvfrom(server->udp, in, sizeof in, 0, (struct sockaddr *)(void *)&peer, &peer_len);
    if (len <= 0)
        return;
    pthread_mutex_lock(&server->lock);
    size_t answer_len = answer_to(server, in, (size_t)len, false, out, MAX_MESSAGE);
    pthread_mutex_unlock(&server->lock);
    if (answer_len > 0)
        (void)sendto(server->udp, out, answer_len, 0, (struct sockaddr *)(void *)&peer, peer_len);
}

/* Exactly so many bytes, within a second each. */
static bool read_all(int fd, unsigned char *data, size_t len)
{
    while (len > 0) {
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};
        ssize_t n = poll(&pollfd, 1, 1000) > 0 ? read(fd, data, len) : 0;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* One connection, until it is closed or pauses: c-ares sends its questions together. */
static void serve_tcp(struct dns_server *server)
{
    unsigned char *out = server->out;
    unsigned char in[2 + 1024];
    int fd = accept(server->tcp, NULL, NULL);
    while (fd >= 0 && read_all(fd, in, 2)) {
        size_t len = (size_t)in[0] << 8 | in[1];
        if (len > 1024 || !read_all(fd, in + 2, len))
            break;
        pthread_mutex_lock(&server->lock);
        size_t answer_len = answer_to(server, in + 2, len, true, out + 2, MAX_MESSAGE);
        pthread_mutex_unlock(&server->lock);
        out[0] = (unsigned char)(answer_len >> 8);
        out[1] = (unsigned char)answer_len;
        for (size_t sent = 0; answer_len > 0 && sent < answer_len + 2;) {
            ssize_t n = send(fd, out + sent, answer_len + 2 - sent, MSG_NOSIGNAL);
            if (n <= 0)
                break;
            sent += (size_t)n;
        }
    }
    if (fd >= 0)
        close(fd);
}

static void *serve(void *arg)
{
    struct dns_server *server = arg;
    struct pollfd fds[] = {{.fd = server->stop[0], .events = POLLIN},
                           {.fd = server->udp, .events = POLLIN},
                           {.fd = server->tcp, .events = POLLIN}};
    while (poll(fds, 3, -1) > 0 && fds[0].revents == 0) {
        if (fds[1].revents != 0)
            serve_udp(server);
        if (fds[2].revents != 0)
            serve_tcp(server);
    }
    return NULL;
}

/* Both on one port. False: the port is taken for TCP. */
static bool bind_both(struct dns_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    server->udp = socket(AF_INET, SOCK_DGRAM, 0);
    server->tcp = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(server->udp >= 0 && server->tcp >= 0);
    assert_int_equal(bind(server->udp, (struct sockaddr *)(void *)&address, sizeof address), 0);
    assert_int_equal(getsockname(server->udp, (struct sockaddr *)(void *)&address, &len), 0);
    server->port = ntohs(address.sin_port);
    if (bind(server->tcp, (struct sockaddr *)(void *)&address, sizeof address) == 0 && listen(server->tcp, 16) == 0)
        return true;
    close(server->udp);
    close(server->tcp);
    return false;
}

struct dns_server *dns_server_start(void)
{
    pthread_condattr_t attributes;
    struct dns_server *server = calloc(1, sizeof *server);
    assert_non_null(server);
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&server->asked, &attributes);
    pthread_condattr_destroy(&attributes);
    assert_int_equal(pipe(server->stop), 0);
    bool bound = false;
    for (int i = 0; i < 20 && !bound; i++)
        bound = bind_both(server);
    assert_true(bound);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
    return server;
}

void dns_server_stop(struct dns_server *server)
{
    assert_int_equal(write(server->stop[1], "x", 1), 1);
    pthread_join(server->thread, NULL);
    close(server->stop[0]);
    close(server->stop[1]);
    close(server->udp);
    close(server->tcp);
    pthread_cond_destroy(&server->asked);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

uint16_t dns_server_port(const struct dns_server *server)
{
    return server->port;
}

void dns_server_answer(struct dns_server *server, enum dns_answer answer)
{
    pthread_mutex_lock(&server->lock);
    server->answer = answer;
    server->answer_aaaa = answer;
    pthread_mutex_unlock(&server->lock);
}

void dns_server_answer_name(struct dns_server *server, const char *name, enum dns_answer answer)
{
    pthread_mutex_lock(&server->lock);
    snprintf(server->odd_name, sizeof server->odd_name, "%s", name);
    server->answer_odd = answer;
    pthread_mutex_unlock(&server->lock);
}

void dns_server_answer_aaaa(struct dns_server *server, enum dns_answer answer)
{
    pthread_mutex_lock(&server->lock);
    server->answer_aaaa = answer;
    pthread_mutex_unlock(&server->lock);
}

void dns_server_clear(struct dns_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->record_count = 0;
    pthread_mutex_unlock(&server->lock);
}

static void add(struct dns_server *server, const char *name, unsigned type, uint32_t ttl, const unsigned char *data,
                size_t len)
{
    pthread_mutex_lock(&server->lock);
    assert_true(server->record_count < MAX_RECORDS);
    struct record *record = &server->records[server->record_count++];
    *record = (struct record){.type = (uint16_t)type, .ttl = ttl, .len = len};
    snprintf(record->name, sizeof record->name, "%s", name);
    memcpy(record->data, data, len);
    pthread_mutex_unlock(&server->lock);
}

void dns_server_add(struct dns_server *server, const char *name, const char *address, uint32_t ttl)
{
    unsigned char data[16];
    bool is_v6 = strchr(address, ':') != NULL;
    assert_int_equal(inet_pton(is_v6 ? AF_INET6 : AF_INET, address, data), 1);
    add(server, name, is_v6 ? TYPE_AAAA : TYPE_A, ttl, data, is_v6 ? 16 : 4);
}

void dns_server_add_cname(struct dns_server *server, const char *name, const char *other, uint32_t ttl)
{
    unsigned char data[160];
    add(server, name, TYPE_CNAME, ttl, data, encode_name(data, other));
}

void dns_server_add_srv(struct dns_server *server, const char *name, uint16_t priority, uint16_t weight, uint16_t port,
                        const char *host, uint32_t ttl)
{
    unsigned char data[160];
    unsigned char *at = data;
    put16(&at, priority);
    put16(&at, weight);
    put16(&at, port);
    add(server, name, TYPE_SRV, ttl, data, 6 + encode_name(at, host));
}

int dns_server_questions(struct dns_server *server)
{
    pthread_mutex_lock(&server->lock);
    int questions = server->questions;
    pthread_mutex_unlock(&server->lock);
    return questions;
}

void dns_server_expect_questions(struct dns_server *server, int questions)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += WAIT_S;
    pthread_mutex_lock(&server->lock);
    int error = 0;
    while (server->questions < questions && error == 0)
        error = pthread_cond_timedwait(&server->asked, &server->lock, &end);
    int came = server->questions;
    pthread_mutex_unlock(&server->lock);
    if (came < questions)
        fail_msg("waited for %d questions, %d came", questions, came);
}

int dns_server_tcp_questions(struct dns_server *server)
{
    pthread_mutex_lock(&server->lock);
    int questions = server->tcp_questions;
    pthread_mutex_unlock(&server->lock);
    return questions;
}
