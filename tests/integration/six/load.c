#include "integration/six/load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/random.h"
#include "six.weft.h"

static int64_t now_ns(void)
{
    return weft__clock_system()->now_ns(weft__clock_system());
}

static void note(struct load *load, const weft_status *status, const Six__Answer *answer)
{
    pthread_mutex_lock(&load->lock);
    load->ended++;
    if (status->code == WEFT_OK)
        load->answered[answer->server]++;
    else if (load->failed++ == 0)
        (void)snprintf(load->failure, sizeof load->failure, "%s: %s", weft_code_name(status->code), status->message);
    pthread_cond_broadcast(&load->changed);
    pthread_mutex_unlock(&load->lock);
}

/* The job with that number: from half to one and a half of what a server takes, with up to 4 KiB of padding. */
static void make_job(Six__Job *job, int64_t number, uint8_t *padding, size_t size)
{
    weft__random_seeded source;
    weft__random *random = weft__random_seed(&source, (uint64_t)number + 1);
    job->thousandths = 500 + (int32_t)(weft__random_unit(random) * 1000);
    job->padding.data = padding;
    job->padding.len = (size_t)(weft__random_unit(random) * (double)size);
}

static void *make_calls(void *arg)
{
    const struct caller *caller = arg;
    struct load *load = caller->load;
    uint8_t padding[4096];
    memset(padding, 'x', sizeof padding);
    for (int64_t number; (number = atomic_fetch_add(&load->next, 1)) < load->calls;) {
        Six__Job job = SIX__JOB__INIT;
        Six__Answer *answer = NULL;
        make_job(&job, number, padding, sizeof padding);
        int64_t began_ns = now_ns();
        weft_status status = six_Six_Do(load->channel, caller->arena, NULL, &job, &answer);
        load->latencies_ns[number] = now_ns() - began_ns;
        note(load, &status, answer);
        weft_arena_reset(caller->arena);
    }
    return NULL;
}

void load_start(struct load *load, weft_channel *channel, int64_t calls)
{
    memset(load, 0, sizeof *load);
    load->channel = channel;
    load->running = true;
    load->calls = calls;
    load->latencies_ns = calloc((size_t)calls, sizeof *load->latencies_ns);
    assert_non_null(load->latencies_ns);
    assert_int_equal(pthread_mutex_init(&load->lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&load->changed, NULL), 0);
    for (int i = 0; i < CALLERS; i++) {
        load->callers[i].load = load;
        assert_int_equal(weft_arena_new(&load->callers[i].arena, 0), 0);
        assert_int_equal(pthread_create(&load->callers[i].thread, NULL, make_calls, &load->callers[i]), 0);
    }
}

void load_await(struct load *load, int64_t ended)
{
    pthread_mutex_lock(&load->lock);
    while (load->ended < ended)
        pthread_cond_wait(&load->changed, &load->lock);
    pthread_mutex_unlock(&load->lock);
}

bool load_await_answers(struct load *load, int server, int64_t more)
{
    pthread_mutex_lock(&load->lock);
    int64_t wanted = load->answered[server] + more;
    while (load->answered[server] < wanted && load->ended < load->calls)
        pthread_cond_wait(&load->changed, &load->lock);
    bool answered = load->answered[server] >= wanted;
    pthread_mutex_unlock(&load->lock);
    return answered;
}

void load_cut(struct load *load)
{
    atomic_store(&load->next, load->calls);
}

void load_join(struct load *load)
{
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_join(load->callers[i].thread, NULL), 0);
        weft_arena_free(load->callers[i].arena);
    }
    load->running = false;
}

void load_free(struct load *load)
{
    if (load->latencies_ns == NULL)
        return;
    if (load->running) {
        load_cut(load);
        load_join(load);
    }
    pthread_cond_destroy(&load->changed);
    pthread_mutex_destroy(&load->lock);
    free(load->latencies_ns);
    load->latencies_ns = NULL;
}

static int compare(const void *a, const void *b)
{
    int64_t first = *(const int64_t *)a;
    int64_t second = *(const int64_t *)b;
    return (first > second) - (first < second);
}

double load_quantile_ms(const struct load *load, double quantile, int64_t from, int64_t to)
{
    size_t count = (size_t)(to - from);
    int64_t *sorted = malloc(count * sizeof *sorted);
    assert_non_null(sorted);
    memcpy(sorted, load->latencies_ns + from, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    double ms = (double)sorted[(size_t)((double)count * quantile)] / 1e6;
    free(sorted);
    return ms;
}
