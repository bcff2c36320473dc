/* bench-handover: what it costs to hand jobs to the worker pool. See README.md. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "base/event.h"
#include "base/pool.h"

enum {
    WORKERS = 8,
    MAX_BURST = 100,
    JOBS = 30000, /* a round */
    MAX_ROUNDS = 99,
    BEFORE_SUBMIT = 4000, /* turns of work, about a nanosecond each */
    IN_JOB = 3000
};

static atomic_int left;
static weft__event done;

static void work(int turns)
{
    for (volatile int i = 0; i < turns; i++)
        continue;
}

static void run_job(weft__job *job)
{
    (void)job;
    work(IN_JOB);
    if (atomic_fetch_sub_explicit(&left, 1, memory_order_acq_rel) == 1)
        weft__event_post(&done);
}

static void run_bursts(weft__pool *pool, int burst, int bursts)
{
    static weft__job jobs[MAX_BURST];

    for (int i = 0; i < bursts; i++) {
        weft__event_reset(&done);
        atomic_store_explicit(&left, burst, memory_order_relaxed);
        for (int j = 0; j < burst; j++) {
            work(BEFORE_SUBMIT);
            jobs[j].run = run_job;
            if (pool == NULL)
                run_job(&jobs[j]);
            else if (weft__pool_submit(pool, &jobs[j]) < 0)
                exit(1);
        }
        weft__event_wait(&done, INT64_MAX);
    }
}

/* The cost of a round so far. */
typedef struct cost {
    double cpu_ns;
    double switches;
} cost;

static cost measure(weft__pool *pool, int burst)
{
    struct timespec begin, end;
    struct rusage before, after;
    int bursts = JOBS / burst;

    run_bursts(pool, burst, bursts / 10);
    getrusage(RUSAGE_SELF, &before);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    run_bursts(pool, burst, bursts);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    getrusage(RUSAGE_SELF, &after);
    double ns = (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
    long switches = after.ru_nvcsw - before.ru_nvcsw + after.ru_nivcsw - before.ru_nivcsw;
    return (cost){.cpu_ns = ns / JOBS, .switches = (double)switches / bursts};
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static const int bursts[] = {1, 10, 100};
    weft__pool *pool;
    const weft__pool_options options = {.threads = WORKERS, .max_queued = -1};
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 9;

    if (rounds < 1 || rounds > MAX_ROUNDS || weft__event_init(&done) < 0 || weft__pool_new(&pool, &options) < 0) {
        fprintf(stderr, "usage: bench-handover [rounds, 1 to %d]\n", MAX_ROUNDS);
        return 2;
    }
    printf("burst  CPU ns a job on top of the work  thread switches a burst\n");
    for (size_t i = 0; i < sizeof bursts / sizeof bursts[0]; i++) {
        double ns[MAX_ROUNDS], switches[MAX_ROUNDS];
        for (long r = 0; r < rounds; r++) {
            cost alone = measure(NULL, bursts[i]);
            cost handed = measure(pool, bursts[i]);
            ns[r] = handed.cpu_ns - alone.cpu_ns;
            switches[r] = handed.switches;
        }
        qsort(ns, (size_t)rounds, sizeof ns[0], by_value);
        qsort(switches, (size_t)rounds, sizeof switches[0], by_value);
        printf("%5d  %6.0f  [%.0f .. %.0f]  %20.2f  [%.2f .. %.2f]\n", bursts[i], ns[rounds / 2], ns[rounds / 4],
               ns[rounds * 3 / 4], switches[rounds / 2], switches[rounds / 4], switches[rounds * 3 / 4]);
    }
    weft__pool_free(pool);
    weft__event_fini(&done);
    return 0;
}
