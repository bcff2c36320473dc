#include "integration/rolling/agency.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "integration/consul/agent.h"
#include "integration/consul/directory.h"
#include "resolve/consul/answer.h"

#define ANSWER_BYTES 65536
#define PATIENCE_S   60

struct agency {
    struct agent real;
    struct directory *directory; /* NULL: it is the real one */
};

struct agency *agency_new(const char *binary)
{
    struct agency *agency = calloc(1, sizeof *agency);
    assert_non_null(agency);
    if (binary != NULL) {
        agent_init(&agency->real, binary);
        return agency;
    }
    agency->directory = directory_new();
    directory_stop(agency->directory);
    return agency;
}

void agency_start(struct agency *agency)
{
    if (agency->directory != NULL)
        directory_start(agency->directory);
    else
        agent_start(&agency->real);
}

void agency_free(struct agency *agency)
{
    if (agency->directory != NULL)
        directory_free(agency->directory);
    else
        agent_stop(&agency->real);
    free(agency);
}

const char *agency_address(const struct agency *agency)
{
    return agency->directory != NULL ? directory_address(agency->directory) : agency->real.address;
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Whether the answer is whole; one that does not say its length is when the peer closes. */
static bool is_whole(const char *answer, size_t len)
{
    const char *head_end = strstr(answer, "\r\n\r\n");
    const char *length = strstr(answer, "Content-Length: ");
    return head_end != NULL && length != NULL && length < head_end &&
           len >= (size_t)(head_end + 4 - answer) + strtoul(length + 16, NULL, 10);
}

/* Asks for all instances. @return false: it is not there, or not ready. */
static bool get(struct agency *agency, const char *service, const char *index, char answer[ANSWER_BYTES])
{
    char request[256];
    size_t len = 0;
    ssize_t n = 1;
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = connect_to((int)strtol(strchr(agency_address(agency), ':') + 1, NULL, 10));
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    snprintf(request, sizeof request, "GET /v1/health/service/%s?wait=10s%s HTTP/1.0\r\n\r\n", service, index);
    answer[0] = '\0';
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request))
        n = 0;
    while (n > 0 && !is_whole(answer, len)) {
        n = recv(fd, answer + len, ANSWER_BYTES - 1 - len, 0);
        len += n > 0 ? (size_t)n : 0;
        answer[len] = '\0';
    }
    close(fd);
    return strstr(answer, " 200 ") != NULL;
}

static enum standing find(const char *text, int port)
{
    const char *body = strstr(text, "\r\n\r\n");
    weft__consul_answer answer;
    char address[48], reason[160];
    enum standing standing = ABSENT;
    assert_non_null(body);
    assert_int_equal(weft__consul_answer_parse(&answer, body + 4, strlen(body + 4), reason, sizeof reason), 0);
    snprintf(address, sizeof address, "ipv4:127.0.0.1:%d", port);
    for (size_t i = 0; i < answer.count; i++)
        if (strcmp(answer.instances[i].address.address, address) == 0)
            standing = answer.instances[i].passing ? WELL : UNWELL;
    weft__consul_answer_fini(&answer);
    return standing;
}

enum standing agency_ask(struct agency *agency, const char *service, int port)
{
    char *answer = malloc(ANSWER_BYTES);
    assert_non_null(answer);
    assert_true(get(agency, service, "", answer));
    enum standing standing = find(answer, port);
    free(answer);
    return standing;
}

static void read_index(const char *answer, char *index, size_t size)
{
    static const char name[] = "\r\nX-Consul-Index: ";
    index[0] = '\0';
    for (const char *at = answer; (at = strstr(at, "\r\n")) != NULL; at++)
        if (strncasecmp(at, name, sizeof name - 1) == 0)
            snprintf(index, size, "&index=%lld", strtoll(at + sizeof name - 1, NULL, 10));
}

void agency_await(struct agency *agency, const char *service, int port, enum standing standing)
{
    char index[48] = "";
    char *answer = malloc(ANSWER_BYTES);
    time_t begin = time(NULL);
    assert_non_null(answer);
    for (;;) {
        bool there = get(agency, service, index, answer);
        if (there && find(answer, port) == standing)
            break;
        if (there)
            read_index(answer, index, sizeof index);
        if (time(NULL) - begin > PATIENCE_S) {
            free(answer);
            fail_msg("the instance at port %d does not come to stand as %d", port, (int)standing);
            return;
        }
    }
    free(answer);
}
