#include "unit/resolve/watcher.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/event.h"
#include "resolve/runner.h"
#include "resolve/target.h"

#define WAIT_S     10
#define MAX_SORTED 1024

static int by_address(const void *left, const void *right)
{
    const weft_address *const *a = left;
    const weft_address *const *b = right;
    return strcmp((*a)->address, (*b)->address);
}

static void add(struct watcher *watcher, const char *format, ...) WEFT_PRINTF(2, 3);

static void add(struct watcher *watcher, const char *format, ...)
{
    size_t used = strlen(watcher->list);
    va_list args;
    va_start(args, format);
    vsnprintf(watcher->list + used, sizeof watcher->list - used, format, args);
    va_end(args);
}

static void add_address(struct watcher *watcher, const weft_address *address)
{
    add(watcher, "%s%s", watcher->list[0] != '\0' ? " " : "", address->address);
    if (address->weight > 1)
        add(watcher, "*%u", (unsigned)address->weight);
    if (address->health != WEFT_INSTANCE_UNKNOWN)
        add(watcher, "!%d", (int)address->health);
    if (address->zone != NULL)
        add(watcher, "@%s", address->zone);
    for (size_t i = 0; i < address->metadata.count; i++)
        add(watcher, "{%.*s=%.*s}", (int)address->metadata.items[i].key.len, address->metadata.items[i].key.data,
            (int)address->metadata.items[i].value.len, address->metadata.items[i].value.data);
}

static void on_publish(weft_sink *sink, const weft_resolution *resolution)
{
    struct watcher *watcher = (struct watcher *)(void *)sink;
    const weft_address *sorted[MAX_SORTED];
    size_t count = resolution->address_count < MAX_SORTED ? resolution->address_count : MAX_SORTED;
    pthread_mutex_lock(&watcher->lock);
    watcher->list[0] = '\0';
    for (size_t i = 0; i < count; i++)
        sorted[i] = &resolution->addresses[i];
    qsort(sorted, count, sizeof *sorted, by_address);
    for (size_t i = 0; i < count; i++)
        add_address(watcher, sorted[i]);
    watcher->lists++;
    watcher->inside = true;
    pthread_cond_broadcast(&watcher->told);
    while (watcher->hold)
        pthread_cond_wait(&watcher->told, &watcher->lock);
    watcher->inside = false;
    pthread_mutex_unlock(&watcher->lock);
}

static void on_fail(weft_sink *sink, const char *text)
{
    struct watcher *watcher = (struct watcher *)(void *)sink;
    pthread_mutex_lock(&watcher->lock);
    snprintf(watcher->text, sizeof watcher->text, "%s", text);
    watcher->fails++;
    pthread_cond_broadcast(&watcher->told);
    pthread_mutex_unlock(&watcher->lock);
}

void watcher_init(struct watcher *watcher)
{
    pthread_condattr_t attributes;
    *watcher = (struct watcher){.sink = {.publish = on_publish, .fail = on_fail}};
    pthread_mutex_init(&watcher->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&watcher->told, &attributes);
    pthread_condattr_destroy(&attributes);
}

void watcher_fini(struct watcher *watcher)
{
    pthread_cond_destroy(&watcher->told);
    pthread_mutex_destroy(&watcher->lock);
}

int watcher_watch(struct watcher *watcher, weft_resolver *resolver, const char *text, char reason[256])
{
    char parts[WEFT__TARGET_MAX];
    weft_target target;
    weft__target_split(text, parts, &target);
    reason[0] = '\0';
    watcher->resolver = resolver;
    return resolver->vtable->watch(resolver, &target, &watcher->sink, &watcher->watch, reason, 256);
}

void watcher_start(struct watcher *watcher, weft_resolver *resolver, const char *target)
{
    char reason[256];
    watcher_init(watcher);
    if (watcher_watch(watcher, resolver, target, reason) != 0)
        fail_msg("%s is not watched: %s", target, reason);
}

void watcher_stop(struct watcher *watcher)
{
    watcher->resolver->vtable->unwatch(watcher->resolver, watcher->watch);
    watcher_fini(watcher);
}

/* Waits until `is` holds; with the lock. */
static void wait_for(struct watcher *watcher, bool (*is)(const struct watcher *watcher, const void *what),
                     const void *what, const char *told)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += WAIT_S;
    int error = 0;
    while (!is(watcher, what) && error == 0)
        error = pthread_cond_timedwait(&watcher->told, &watcher->lock, &end);
    bool came = is(watcher, what);
    pthread_mutex_unlock(&watcher->lock);
    if (!came)
        fail_msg("waited for %s; %d lists, the last \"%s\"; %d failures, the last \"%s\"", told, watcher->lists,
                 watcher->list, watcher->fails, watcher->text);
}

static bool is_list(const struct watcher *watcher, const void *what)
{
    return watcher->lists > 0 && strcmp(watcher->list, what) == 0;
}

static bool has_lists(const struct watcher *watcher, const void *what)
{
    return watcher->lists >= *(const int *)what;
}

static bool has_fails(const struct watcher *watcher, const void *what)
{
    return watcher->fails >= *(const int *)what;
}

static bool has_any(const struct watcher *watcher, const void *what)
{
    (void)what;
    return watcher->fails + watcher->lists > 0;
}

static bool has_text(const struct watcher *watcher, const void *what)
{
    return strstr(watcher->text, what) != NULL;
}

static bool is_inside(const struct watcher *watcher, const void *what)
{
    (void)what;
    return watcher->inside;
}

void watcher_expect(struct watcher *watcher, const char *list)
{
    pthread_mutex_lock(&watcher->lock);
    wait_for(watcher, is_list, list, list);
}

void watcher_expect_lists(struct watcher *watcher, int lists)
{
    pthread_mutex_lock(&watcher->lock);
    wait_for(watcher, has_lists, &lists, "lists");
}

void watcher_expect_fails(struct watcher *watcher, int fails)
{
    pthread_mutex_lock(&watcher->lock);
    wait_for(watcher, has_fails, &fails, "failures");
}

bool watcher_expect_any(struct watcher *watcher)
{
    pthread_mutex_lock(&watcher->lock);
    wait_for(watcher, has_any, NULL, "anything");
    return watcher_lists(watcher) > 0;
}

void watcher_expect_text(struct watcher *watcher, const char *part)
{
    pthread_mutex_lock(&watcher->lock);
    wait_for(watcher, has_text, part, part);
}

int watcher_lists(struct watcher *watcher)
{
    pthread_mutex_lock(&watcher->lock);
    int lists = watcher->lists;
    pthread_mutex_unlock(&watcher->lock);
    return lists;
}

int watcher_fails(struct watcher *watcher)
{
    pthread_mutex_lock(&watcher->lock);
    int fails = watcher->fails;
    pthread_mutex_unlock(&watcher->lock);
    return fails;
}

void watcher_hold(struct watcher *watcher)
{
    pthread_mutex_lock(&watcher->lock);
    watcher->hold = true;
    pthread_mutex_unlock(&watcher->lock);
}

void watcher_expect_inside(struct watcher *watcher)
{
    pthread_mutex_lock(&watcher->lock);
    wait_for(watcher, is_inside, NULL, "a publish that is held");
}

void watcher_release(struct watcher *watcher)
{
    pthread_mutex_lock(&watcher->lock);
    watcher->hold = false;
    pthread_cond_broadcast(&watcher->told);
    pthread_mutex_unlock(&watcher->lock);
}

struct leaver {
    struct watcher *watcher;
    weft__event left;
};

static void *leave(void *arg)
{
    struct leaver *leaver = arg;
    weft_resolver *resolver = leaver->watcher->resolver;
    resolver->vtable->unwatch(resolver, leaver->watcher->watch);
    weft__event_post(&leaver->left);
    return NULL;
}

void watcher_expect_end_waits(struct watcher *watcher)
{
    struct leaver leaver = {.watcher = watcher};
    pthread_t thread;
    assert_int_equal(weft__event_init(&leaver.left), 0);
    assert_int_equal(pthread_create(&thread, NULL, leave, &leaver), 0);
    assert_int_equal(weft__event_wait(&leaver.left, weft__runner_now_ns() + 50 * INT64_C(1000000)), -ETIMEDOUT);
    watcher_release(watcher);
    assert_int_equal(weft__event_wait(&leaver.left, INT64_MAX), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    weft__event_fini(&leaver.left);
}

void watcher_expect_fork_refused(struct watcher *watcher, const char *target)
{
    weft_resolver *resolver = watcher->resolver;
    weft_watch *watch = watcher->watch;
    struct watcher other;
    char reason[256];
    int status;
    watcher_init(&other);
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(60); /* instead of hanging */
        bool refused = watcher_watch(&other, resolver, target, reason) == -ECHILD && other.lists + other.fails == 0;
        if (resolver->vtable->hint != NULL)
            resolver->vtable->hint(resolver, watch);
        resolver->vtable->unwatch(resolver, watch);
        weft_resolver_free(resolver);
        (void)raise(refused ? SIGKILL : SIGABRT); /* without a report of what its parent's threads still hold */
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    watcher_fini(&other);
}
