#include "integration/rolling/agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
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

#include "integration/consul/fake.h"
#include "integration/consul/real.h"

#define MAX_INSTANCES 8
#define ANSWER_BYTES  65536
#define PATIENCE_S    60
#define TURN_MS       20 /* how often the keeper looks whether it is to end */

struct agent {
    struct real_consul real; /* binary NULL: a keeper */

    /* The keeper's; its thread's alone, but where atomic. */
    struct fake *fake;
    pthread_t thread;
    bool running;
    atomic_bool ending;
    atomic_int deaf;
    json_t *instances[MAX_INSTANCES]; /* as they were registered */
    size_t count;
    long long index;
    fake_request *hanging[FAKE_CONNECTIONS];
    size_t hanging_count;
};

/* ---- the keeper -------------------------------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

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

/* All instances, as Consul lists them. */
static void answer_list(struct agent *agent, fake_request *request)
{
    json_t *list = json_array();
    for (size_t i = 0; i < agent->count; i++) {
        const json_t *instance = agent->instances[i];
        json_array_append_new(
            list, json_pack("{s:{s:s,s:s}, s:{s:s,s:s,s:s,s:O,s:O,s:O}, s:[{s:s,s:s}]}", "Node", "Node", "node",
                            "Address", "127.0.0.1", "Service", "ID", text_of(instance, "ID"), "Service",
                            text_of(instance, "Name"), "Address", text_of(instance, "Address"), "Port",
                            json_object_get(instance, "Port"), "Weights", json_object_get(instance, "Weights"), "Tags",
                            json_object_get(instance, "Tags"), "Checks", "CheckID", "grpc", "Status", "passing"));
    }
    char *text = json_dumps(list, JSON_COMPACT);
    fake_answer(request, 200, agent->index, text != NULL ? text : "[]");
    free(text);
    json_decref(list);
}

static void tell_change(struct agent *agent)
{
    agent->index++;
    while (agent->hanging_count > 0)
        answer_list(agent, agent->hanging[--agent->hanging_count]);
}

static void drop_instance(struct agent *agent, const char *id)
{
    for (size_t i = 0; i < agent->count; i++) {
        if (strcmp(text_of(agent->instances[i], "ID"), id) != 0)
            continue;
        json_decref(agent->instances[i]);
        agent->instances[i] = agent->instances[--agent->count];
        return;
    }
}

static void keep(struct agent *agent, fake_request *request)
{
    json_t *instance = json_loads(fake_body(request), 0, NULL);
    int fd = connect_to((int)json_integer_value(json_object_get(instance, "Port")));
    if (fd < 0)
        atomic_fetch_add(&agent->deaf, 1);
    else
        close(fd);
    drop_instance(agent, text_of(instance, "ID"));
    if (instance != NULL && agent->count < MAX_INSTANCES)
        agent->instances[agent->count++] = instance;
    else
        json_decref(instance);
    fake_answer(request, 200, -1, "");
    tell_change(agent);
}

static void list_or_hang(struct agent *agent, fake_request *request)
{
    const char *index = strstr(fake_line(request), "index=");
    if (index != NULL && strtoll(index + strlen("index="), NULL, 10) >= agent->index &&
        agent->hanging_count < FAKE_CONNECTIONS)
        agent->hanging[agent->hanging_count++] = request;
    else
        answer_list(agent, request);
}

static void handle(struct agent *agent, fake_request *request)
{
    static const char register_line[] = "PUT /v1/agent/service/register";
    static const char deregister_line[] = "PUT /v1/agent/service/deregister/";
    const char *line = fake_line(request);
    if (strncmp(line, register_line, strlen(register_line)) == 0) {
        keep(agent, request);
    } else if (strncmp(line, deregister_line, strlen(deregister_line)) == 0) {
        drop_instance(agent, line + strlen(deregister_line));
        fake_answer(request, 200, -1, "");
        tell_change(agent);
    } else if (strncmp(line, "GET /v1/health/service/", strlen("GET /v1/health/service/")) == 0) {
        list_or_hang(agent, request);
    } else {
        fake_answer(request, 404, -1, "");
    }
}

static void *run(void *arg)
{
    struct agent *agent = arg;
    while (!atomic_load(&agent->ending))
        if (fake_has(agent->fake, "", TURN_MS))
            handle(agent, fake_next(agent->fake, ""));
    return NULL;
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

struct agent *agent_new(const char *binary)
{
    struct agent *agent = calloc(1, sizeof *agent);
    assert_non_null(agent);
    if (binary != NULL) {
        real_init(&agent->real, binary);
        return agent;
    }
    agent->index = 1;
    agent->fake = fake_new();
    fake_stop(agent->fake);
    return agent;
}

void agent_start(struct agent *agent)
{
    if (agent->fake == NULL) {
        real_start(&agent->real, NULL);
        return;
    }
    fake_start(agent->fake);
    assert_int_equal(pthread_create(&agent->thread, NULL, run, agent), 0);
    agent->running = true;
}

void agent_free(struct agent *agent)
{
    if (agent == NULL)
        return;
    real_stop(&agent->real);
    atomic_store(&agent->ending, true);
    if (agent->running)
        pthread_join(agent->thread, NULL);
    if (agent->fake != NULL)
        fake_free(agent->fake);
    for (size_t i = 0; i < agent->count; i++)
        json_decref(agent->instances[i]);
    free(agent);
}

const char *agent_address(const struct agent *agent)
{
    return agent->fake != NULL ? fake_address(agent->fake) : agent->real.address;
}

int agent_deaf_registrations(const struct agent *agent)
{
    return atomic_load(&agent->deaf);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

/* Whether the answer is whole; one that does not say its length is when the peer closes. */
static bool is_whole(const char *answer, size_t len)
{
    const char *head_end = strstr(answer, "\r\n\r\n");
    const char *length = strstr(answer, "Content-Length: ");
    return head_end != NULL && length != NULL && length < head_end &&
           len >= (size_t)(head_end + 4 - answer) + strtoul(length + 16, NULL, 10);
}

/* Asks for all instances. @return false: it is not there, or not ready. */
static bool get(struct agent *agent, const char *service, const char *index, char answer[ANSWER_BYTES])
{
    char request[256];
    size_t len = 0;
    ssize_t n = 1;
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = connect_to((int)strtol(strchr(agent_address(agent), ':') + 1, NULL, 10));
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

static bool passes(const json_t *instance)
{
    const json_t *checks = json_object_get(instance, "Checks");
    const json_t *check;
    size_t i;
    json_array_foreach(checks, i, check)
    {
        if (strcmp(text_of(check, "Status"), "passing") != 0)
            return false;
    }
    return true;
}

static enum standing find(const char *answer, int port)
{
    const char *body = strstr(answer, "\r\n\r\n");
    json_t *list = body != NULL ? json_loads(body + 4, 0, NULL) : NULL;
    const json_t *instance;
    enum standing standing = ABSENT;
    size_t i;
    json_array_foreach(list, i, instance)
    {
        if (json_integer_value(json_object_get(json_object_get(instance, "Service"), "Port")) == port)
            standing = passes(instance) ? WELL : UNWELL;
    }
    json_decref(list);
    return standing;
}

enum standing agent_ask(struct agent *agent, const char *service, int port)
{
    char *answer = malloc(ANSWER_BYTES);
    assert_non_null(answer);
    assert_true(get(agent, service, "", answer));
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

void agent_await(struct agent *agent, const char *service, int port, enum standing standing)
{
    char index[48] = "";
    char *answer = malloc(ANSWER_BYTES);
    time_t begin = time(NULL);
    assert_non_null(answer);
    for (;;) {
        bool there = get(agent, service, index, answer);
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
