#include "integration/consul/directory.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "integration/consul/fake.h"

#define QUERY         "GET /v1/health/service/users"
#define MAX_INSTANCES 8
#define TURN_MS       5 /* it looks so often whether it is to stop */

struct instance {
    char id[64]; /* "": there is none */
    long port;
    long weight;
    bool draining;
};

struct directory {
    struct fake *fake;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t settled;
    bool wanted; /* whether it is to be there */
    bool there;
    bool ending;
    /* the rest is the thread's */
    struct instance instances[MAX_INSTANCES];
    long long index;
    fake_request *hanging[FAKE_CONNECTIONS];
    size_t hanging_count;
};

static bool begins(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* ---- what it knows ----------------------------------------------------------------------------------------------- */

/* The text after `start`, up to a quote, '?' or the end. */
static bool read_after(const char *text, const char *start, char *out, size_t size)
{
    const char *at = strstr(text, start);
    if (at == NULL)
        return false;
    at += strlen(start);
    snprintf(out, size, "%.*s", (int)strcspn(at, "\"?,}"), at);
    return true;
}

/* The number there, which ends with the text or before a letter that is no digit; -1: there is none. */
static long read_number(const char *text, const char *start)
{
    char digits[32], *end;
    if (!read_after(text, start, digits, sizeof digits))
        return -1;
    long number = strtol(digits, &end, 10);
    return end != digits ? number : -1;
}

/* The instance of this id, or a free place when there is none. */
static struct instance *place_of(struct directory *directory, const char *id)
{
    struct instance *free_one = NULL;
    for (size_t i = 0; i < MAX_INSTANCES; i++) {
        struct instance *instance = &directory->instances[i];
        if (strcmp(instance->id, id) == 0)
            return instance;
        if (instance->id[0] == '\0' && free_one == NULL)
            free_one = instance;
    }
    return free_one;
}

static void answer_list(const struct directory *directory, fake_request *request)
{
    char body[4096] = "[";
    size_t len = 1;
    for (size_t i = 0; i < MAX_INSTANCES; i++) {
        const struct instance *instance = &directory->instances[i];
        if (instance->id[0] == '\0')
            continue;
        len += (size_t)snprintf(
            body + len, sizeof body - len,
            "%s{\"Node\":{\"Node\":\"n\",\"Address\":\"127.0.0.1\"},\"Service\":{\"ID\":\"%s\","
            "\"Port\":%ld,\"Weights\":{\"Passing\":%ld,\"Warning\":1}},\"Checks\":[{\"CheckID\":\"%s\","
            "\"Status\":\"%s\"}]}",
            len > 1 ? "," : "", instance->id, instance->port, instance->weight,
            instance->draining ? "_service_maintenance:" : "c", instance->draining ? "critical" : "passing");
    }
    snprintf(body + len, sizeof body - len, "]");
    fake_answer(request, 200, directory->index, body);
}

static void change(struct directory *directory)
{
    directory->index++;
    for (size_t i = 0; i < directory->hanging_count; i++) {
        fake_request *request = directory->hanging[i];
        if (fake_waits(request) && begins(fake_line(request), QUERY)) /* another may have its place */
            answer_list(directory, request);
    }
    directory->hanging_count = 0;
}

/* ---- what it is asked -------------------------------------------------------------------------------------------- */

static void take_query(struct directory *directory, fake_request *request)
{
    bool hangs = read_number(fake_line(request), "index=") == directory->index;
    if (hangs && directory->hanging_count < FAKE_CONNECTIONS)
        directory->hanging[directory->hanging_count++] = request;
    else
        answer_list(directory, request);
}

static void take_registration(struct directory *directory, fake_request *request)
{
    char id[64];
    long port = read_number(fake_body(request), "\"Port\":");
    long weight = read_number(fake_body(request), "\"Passing\":");
    bool whole = read_after(fake_body(request), "\"ID\":\"", id, sizeof id) && port > 0 && weight > 0;
    struct instance *instance = whole ? place_of(directory, id) : NULL;
    if (instance != NULL) {
        *instance = (struct instance){.port = port, .weight = weight};
        memcpy(instance->id, id, sizeof id);
        change(directory);
    }
    fake_answer(request, instance != NULL ? 200 : 400, -1, "");
}

/* "PUT /v1/agent/service/maintenance/ID?enable=true" and "…/deregister/ID". */
static void take_order(struct directory *directory, fake_request *request, const char *start, bool goes)
{
    char id[64] = "";
    (void)read_after(fake_line(request), start, id, sizeof id);
    struct instance *instance = id[0] != '\0' ? place_of(directory, id) : NULL;
    bool known = instance != NULL && instance->id[0] != '\0';
    if (known && goes)
        *instance = (struct instance){.port = 0};
    else if (known)
        instance->draining = strstr(fake_line(request), "enable=true") != NULL;
    if (known)
        change(directory);
    fake_answer(request, known ? 200 : 404, -1, "");
}

static void take(struct directory *directory, fake_request *request)
{
    const char *line = fake_line(request);
    if (begins(line, QUERY))
        take_query(directory, request);
    else if (begins(line, "PUT /v1/agent/service/register"))
        take_registration(directory, request);
    else if (begins(line, "PUT /v1/agent/service/maintenance/"))
        take_order(directory, request, "/maintenance/", false);
    else if (begins(line, "PUT /v1/agent/service/deregister/"))
        take_order(directory, request, "/deregister/", true);
    else
        fake_answer(request, 404, -1, "");
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

/* @return whether it goes on. */
static bool settle(struct directory *directory)
{
    pthread_mutex_lock(&directory->lock);
    if (directory->there && !directory->wanted) {
        fake_stop(directory->fake);
        memset(directory->instances, 0, sizeof directory->instances);
        directory->index = 1;
        directory->hanging_count = 0;
    } else if (!directory->there && directory->wanted) {
        fake_start(directory->fake);
    }
    directory->there = directory->wanted;
    bool goes_on = !directory->ending;
    pthread_cond_broadcast(&directory->settled);
    pthread_mutex_unlock(&directory->lock);
    return goes_on;
}

static void *serve(void *arg)
{
    struct directory *directory = arg;
    while (settle(directory))
        if (fake_has(directory->fake, "", TURN_MS))
            take(directory, fake_next(directory->fake, ""));
    return NULL;
}

struct directory *directory_new(void)
{
    struct directory *directory = calloc(1, sizeof *directory);
    assert_non_null(directory);
    directory->fake = fake_new();
    directory->wanted = directory->there = true;
    directory->index = 1;
    assert_int_equal(pthread_mutex_init(&directory->lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&directory->settled, NULL), 0);
    assert_int_equal(pthread_create(&directory->thread, NULL, serve, directory), 0);
    return directory;
}

void directory_free(struct directory *directory)
{
    pthread_mutex_lock(&directory->lock);
    directory->ending = true;
    pthread_mutex_unlock(&directory->lock);
    pthread_join(directory->thread, NULL);
    fake_free(directory->fake);
    pthread_cond_destroy(&directory->settled);
    pthread_mutex_destroy(&directory->lock);
    free(directory);
}

const char *directory_address(const struct directory *directory)
{
    return fake_address(directory->fake);
}

static void want(struct directory *directory, bool wanted)
{
    pthread_mutex_lock(&directory->lock);
    directory->wanted = wanted;
    while (directory->there != wanted)
        pthread_cond_wait(&directory->settled, &directory->lock);
    pthread_mutex_unlock(&directory->lock);
}

void directory_stop(struct directory *directory)
{
    want(directory, false);
}

void directory_start(struct directory *directory)
{
    want(directory, true);
}
