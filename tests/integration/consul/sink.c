#include "integration/consul/sink.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define MAX_TEXTS 64
#define MAX_TEXT  4096

struct texts {
    char all[MAX_TEXTS][MAX_TEXT];
    unsigned count;
    unsigned read;
};

struct weft_sink {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct texts lists;
    struct texts failures;
    char metadata[MAX_TEXT]; /* "key=value\n" of the first address */
    char found[256];
    bool hold;
    bool held;
};

weft_sink *sink_new(void)
{
    weft_sink *sink = calloc(1, sizeof *sink);
    pthread_condattr_t monotonic;
    assert_non_null(sink);
    pthread_mutex_init(&sink->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&sink->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return sink;
}

void sink_free(weft_sink *sink)
{
    pthread_cond_destroy(&sink->changed);
    pthread_mutex_destroy(&sink->lock);
    free(sink);
}

/* The last MAX_TEXTS are kept. Allocates nothing, since tests have allocations fail. */
static void put(struct texts *texts, const char *text)
{
    snprintf(texts->all[texts->count++ % MAX_TEXTS], MAX_TEXT, "%s", text);
}

static void wait_locked(weft_sink *sink, const char *what)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += DEADLINE_MS / 1000;
    if (pthread_cond_timedwait(&sink->changed, &sink->lock, &deadline) == ETIMEDOUT) {
        pthread_mutex_unlock(&sink->lock);
        fail_msg("no %s came in time", what);
    }
}

static const char *next(weft_sink *sink, struct texts *texts, const char *what)
{
    pthread_mutex_lock(&sink->lock);
    while (texts->read == texts->count)
        wait_locked(sink, what);
    const char *text = texts->all[texts->read++ % MAX_TEXTS];
    pthread_mutex_unlock(&sink->lock);
    return text;
}

const char *sink_next(weft_sink *sink)
{
    return next(sink, &sink->lists, "list");
}

const char *sink_next_failure(weft_sink *sink)
{
    return next(sink, &sink->failures, "failure");
}

unsigned sink_lists(weft_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    unsigned count = sink->lists.count;
    pthread_mutex_unlock(&sink->lock);
    return count;
}

const char *sink_first_metadatum(weft_sink *sink, const char *key)
{
    const char *found = NULL;
    size_t len = strlen(key);
    pthread_mutex_lock(&sink->lock);
    for (const char *line = sink->metadata; *line != '\0' && found == NULL; line += strcspn(line, "\n") + 1)
        if (strncmp(line, key, len) == 0 && line[len] == '=') {
            snprintf(sink->found, sizeof sink->found, "%.*s", (int)strcspn(line, "\n"), line);
            found = sink->found;
        }
    pthread_mutex_unlock(&sink->lock);
    return found;
}

void sink_hold(weft_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    sink->hold = true;
    pthread_mutex_unlock(&sink->lock);
}

void sink_wait_held(weft_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    while (!sink->held)
        wait_locked(sink, "publish");
    pthread_mutex_unlock(&sink->lock);
}

const char *sink_next_failure_or_held(weft_sink *sink)
{
    const char *failure = NULL;
    pthread_mutex_lock(&sink->lock);
    while (sink->failures.read == sink->failures.count && !sink->held)
        wait_locked(sink, "failure or publish");
    if (sink->failures.read < sink->failures.count)
        failure = sink->failures.all[sink->failures.read++ % MAX_TEXTS];
    pthread_mutex_unlock(&sink->lock);
    return failure;
}

void sink_release(weft_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    sink->hold = false;
    pthread_cond_broadcast(&sink->changed);
    pthread_mutex_unlock(&sink->lock);
}

void weft_sink_publish(weft_sink *sink, const weft_resolution *resolution)
{
    char text[MAX_TEXT] = "";
    size_t len = 0;
    for (size_t i = 0; i < resolution->address_count && len < sizeof text; i++) {
        const weft_address *address = &resolution->addresses[i];
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s/%d*%u", i > 0 ? " " : "", address->address,
                                (int)address->health, (unsigned)address->weight);
    }
    pthread_mutex_lock(&sink->lock);
    while (sink->hold) {
        sink->held = true;
        pthread_cond_broadcast(&sink->changed);
        pthread_cond_wait(&sink->changed, &sink->lock);
    }
    sink->held = false;
    len = 0;
    sink->metadata[0] = '\0';
    for (size_t i = 0; resolution->address_count > 0 && i < resolution->addresses[0].metadata.count; i++) {
        const weft_metadatum *item = &resolution->addresses[0].metadata.items[i];
        if (len < sizeof sink->metadata)
            len += (size_t)snprintf(sink->metadata + len, sizeof sink->metadata - len, "%.*s=%.*s\n",
                                    WEFT_SV_ARG(item->key), WEFT_SV_ARG(item->value));
    }
    put(&sink->lists, text);
    pthread_cond_broadcast(&sink->changed);
    pthread_mutex_unlock(&sink->lock);
}

void weft_sink_fail(weft_sink *sink, const char *text)
{
    pthread_mutex_lock(&sink->lock);
    put(&sink->failures, text);
    pthread_cond_broadcast(&sink->changed);
    pthread_mutex_unlock(&sink->lock);
}

/* Cuts the text at its marks; good enough for the targets of tests. */
int sink_watch(weft_resolver *resolver, const char *target, weft_sink *sink, weft_watch **out, char reason[256])
{
    char parts[1024];
    snprintf(parts, sizeof parts, "%s", target);
    char *query = strchr(parts, '?');
    if (query != NULL)
        *query++ = '\0';
    char *authority = strstr(parts, "://");
    assert_non_null(authority);
    *authority = '\0';
    authority += 3;
    char *path = strchr(authority, '/');
    if (path != NULL)
        *path++ = '\0';
    weft_target split = {.text = target,
                         .scheme = parts,
                         .authority = authority,
                         .path = path != NULL ? path : "",
                         .query = query != NULL ? query : ""};
    reason[0] = '\0';
    return resolver->vtable->watch(resolver, &split, sink, out, reason, 256);
}
