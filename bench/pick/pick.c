/* bench-pick: what it costs to choose an instance. See README.md. */
#define _GNU_SOURCE /* threads are kept on a CPU each */
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <weft/picker.h>

#include "base/epoch.h"
#include "base/list.h"
#include "base/random.h"
#include "pick/endpoint.h"

static const double min_ran = 0.9; /* a round with less is measured again */

enum {
    MAX_ENDPOINTS = 10000,
    MAX_AGAIN = 10,
    MAX_ROUNDS = 99,
    MAX_THREADS = 2,
    PICKS = 2000000, /* a thread and round: many time slices of the system's */
    UNDER_WAY = 16,  /* calls that a thread has at once */
    STALL_PICKS = 3000000,
    MAX_SWITCHES = 10 /* in a run that counts */
};

struct snapshot {
    weft__epoch_item retired;
    weft_picker *picker;
    void *table;
    size_t count;
    weft_endpoint *endpoints[];
};

static weft_picker *picker;
static _Atomic(struct snapshot *) current;
static weft__epoch epoch;
static weft_endpoint *endpoints[MAX_ENDPOINTS];

static void die(const char *what)
{
    fprintf(stderr, "bench-pick: %s\n", what);
    exit(1);
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Left to themselves, both threads may share a CPU, and then neither is in the other's way. */
static void stay_on_cpu(int number)
{
    static cpu_set_t allowed;
    static atomic_bool known;
    cpu_set_t one;
    if (!atomic_exchange(&known, true) && sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        die("no CPUs");
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || number-- > 0)
            continue;
        CPU_SET(cpu, &one);
        (void)pthread_setaffinity_np(pthread_self(), sizeof one, &one);
        return;
    }
}

/* ---- as a channel does it ---------------------------------------------------------------------------------------- */

static void free_snapshot(weft__epoch_item *item)
{
    struct snapshot *snapshot = WEFT__CONTAINER_OF(item, struct snapshot, retired);
    if (snapshot->table != NULL)
        snapshot->picker->vtable->unbuild(snapshot->picker, snapshot->table);
    free(snapshot);
}

static struct snapshot *make_snapshot(size_t count)
{
    struct snapshot *snapshot = calloc(1, sizeof *snapshot + count * sizeof snapshot->endpoints[0]);
    if (snapshot == NULL)
        die("out of memory");
    snapshot->picker = picker;
    snapshot->count = count;
    memcpy(snapshot->endpoints, endpoints, count * sizeof *endpoints); /* the list has the references */
    if (picker->vtable->build != NULL &&
        picker->vtable->build(picker, snapshot->endpoints, count, &snapshot->table) < 0)
        die("out of memory");
    return snapshot;
}

static void publish(size_t count)
{
    struct snapshot *old = atomic_exchange(&current, make_snapshot(count));
    if (old != NULL)
        weft__epoch_retire(&epoch, &old->retired, free_snapshot);
}

static weft_endpoint *choose(const struct snapshot *snapshot, uint64_t hash, int64_t now_ns)
{
    weft_endpoint *endpoint = NULL;
    const weft_pick_args args = {.struct_size = sizeof args,
                                 .endpoints = snapshot->endpoints,
                                 .endpoint_count = snapshot->count,
                                 .table = snapshot->table,
                                 .hash = hash,
                                 .has_hash = true,
                                 .now_ns = now_ns,
                                 .deadline_ns = INT64_MAX};
    (void)picker->vtable->pick(picker, &args, &endpoint);
    return endpoint;
}

static weft_endpoint *begin_call(uint64_t hash, int64_t now_ns)
{
    weft__epoch_slot *slot = weft__epoch_enter();
    weft_endpoint *endpoint = choose(atomic_load(&current), hash, now_ns);
    weft__endpoint_ref(endpoint);
    atomic_fetch_add_explicit(&endpoint->calls, 1, memory_order_relaxed);
    weft__epoch_leave(slot);
    return endpoint;
}

static void end_call(weft_endpoint *endpoint, int64_t now_ns)
{
    const weft_pick_result result = {
        .struct_size = sizeof result, .from_peer = true, .now_ns = now_ns, .latency_ns = 1000000 + now_ns % 1000000};
    if (picker->vtable->done != NULL)
        picker->vtable->done(picker, endpoint, &result);
    atomic_fetch_sub_explicit(&endpoint->calls, 1, memory_order_relaxed);
    weft__endpoint_unref(endpoint);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* ---- what a pick costs ------------------------------------------------------------------------------------------- */

static atomic_int waiting;              /* threads that measure, until all do */
static atomic_int_least64_t virtual_ns; /* goes on from one measurement to the next */

struct cost {
    pthread_t thread;
    int number;
    double ran; /* share of the time in which the thread had its CPU: with less than nearly all, threads took turns */
    double pick_ns; /* the picker's choice alone; ring_hash's with the end that it counts */
    double call_ns; /* all that a channel does, from pick to done */
};

static void *measure(void *arg)
{
    struct cost *cost = arg;
    stay_on_cpu(cost->number);
    weft_endpoint *under_way[UNDER_WAY] = {NULL};
    uint64_t hash = (uint64_t)(uintptr_t)arg;
    int64_t now_ns = atomic_load(&virtual_ns);
    for (int i = 0; i < UNDER_WAY; i++)
        under_way[i] = begin_call(hash++, now_ns);
    atomic_fetch_sub(&waiting, 1);
    while (atomic_load(&waiting) > 0) /* awake, so that all have their CPU */
        continue;
    int64_t began = clock_ns(CLOCK_MONOTONIC);
    int64_t began_cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    int64_t before = began_cpu;
    for (int i = 0; i < PICKS; i++, now_ns += 1000) {
        end_call(under_way[i % UNDER_WAY], now_ns);
        under_way[i % UNDER_WAY] = begin_call(hash++, now_ns);
    }
    cost->call_ns = (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - before) / PICKS;
    bool counts = strcmp(picker->vtable->name, "ring_hash") == 0; /* its picks must end */
    const struct snapshot *snapshot = atomic_load(&current);
    const weft_pick_result result = {.struct_size = sizeof result};
    before = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < PICKS; i++, now_ns += 1000) {
        weft_endpoint *endpoint = choose(snapshot, hash++, now_ns);
        if (counts)
            picker->vtable->done(picker, endpoint, &result);
    }
    int64_t ended_cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    cost->pick_ns = (double)(ended_cpu - before) / PICKS;
    cost->ran = (double)(ended_cpu - began_cpu) / (double)(clock_ns(CLOCK_MONOTONIC) - began);
    for (int i = 0; i < UNDER_WAY; i++)
        end_call(under_way[i], now_ns);
    atomic_store(&virtual_ns, now_ns);
    return NULL;
}

/* The mean over threads, of one round. */
static struct cost measure_threads(int threads)
{
    struct cost costs[MAX_THREADS];
    struct cost mean = {.ran = 1};
    atomic_store(&waiting, threads);
    for (int i = 0; i < threads; i++) {
        costs[i].number = i;
        if (pthread_create(&costs[i].thread, NULL, measure, &costs[i]) != 0)
            die("no thread");
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(costs[i].thread, NULL);
        mean.pick_ns += costs[i].pick_ns / threads;
        mean.call_ns += costs[i].call_ns / threads;
        mean.ran = costs[i].ran < mean.ran ? costs[i].ran : mean.ran;
    }
    return mean;
}

static void print_costs(size_t count, int threads, int rounds)
{
    double pick_ns[MAX_ROUNDS], call_ns[MAX_ROUNDS];
    double ran = 1;
    (void)measure_threads(threads); /* warms up */
    for (int i = 0; i < rounds; i++) {
        struct cost cost = measure_threads(threads);
        for (int again = 0; cost.ran < min_ran && again < MAX_AGAIN; again++)
            cost = measure_threads(threads);
        pick_ns[i] = cost.pick_ns;
        call_ns[i] = cost.call_ns;
        ran = cost.ran < ran ? cost.ran : ran;
    }
    qsort(pick_ns, (size_t)rounds, sizeof pick_ns[0], by_value);
    qsort(call_ns, (size_t)rounds, sizeof call_ns[0], by_value);
    printf("%-20s %6zu %8d %5.0f  [%.0f .. %.0f] %10.0f  [%.0f .. %.0f] %8.0f %%\n", picker->vtable->name, count,
           threads, pick_ns[rounds / 2], pick_ns[rounds / 4], pick_ns[rounds * 3 / 4], call_ns[rounds / 2],
           call_ns[rounds / 4], call_ns[rounds * 3 / 4], ran * 100);
}

/* ---- what an update costs ---------------------------------------------------------------------------------------- */

enum other {
    IDLE,    /* nobody else */
    BUSY,    /* the other thread works, on memory of its own */
    UPDATING /* it publishes one list after the other */
};

static atomic_bool stop;
static atomic_long updates;

static void *disturb(void *arg)
{
    stay_on_cpu(1);
    while (!atomic_load(&stop)) {
        if (*(const enum other *)arg == UPDATING)
            publish(MAX_ENDPOINTS);
        else
            free_snapshot(&make_snapshot(MAX_ENDPOINTS)->retired);
        atomic_fetch_add(&updates, 1);
    }
    return NULL;
}

/* Of one thread's picks, the times sorted. */
struct stalls {
    double took_ns[STALL_PICKS];
    double lists_a_second;
    long switches; /* of threads on its CPU: a stall that long may be one of them */
};

static void measure_stalls(struct stalls *stalls, enum other other)
{
    pthread_t thread;
    struct rusage usage, usage_before;
    atomic_store(&stop, false);
    atomic_store(&updates, 0);
    if (other != IDLE && pthread_create(&thread, NULL, disturb, &other) != 0)
        die("no thread");
    stay_on_cpu(0);
    getrusage(RUSAGE_THREAD, &usage_before);
    int64_t began = clock_ns(CLOCK_MONOTONIC);
    int64_t before = began;
    for (int i = 0; i < STALL_PICKS; i++) {
        weft_endpoint *endpoint = begin_call((uint64_t)i, before);
        int64_t after = clock_ns(CLOCK_MONOTONIC);
        stalls->took_ns[i] = (double)(after - before);
        end_call(endpoint, after);
        before = clock_ns(CLOCK_MONOTONIC);
    }
    getrusage(RUSAGE_THREAD, &usage);
    stalls->lists_a_second = (double)atomic_load(&updates) / ((double)(before - began) / 1e9);
    stalls->switches = usage.ru_nivcsw + usage.ru_nvcsw - usage_before.ru_nivcsw - usage_before.ru_nvcsw;
    atomic_store(&stop, true);
    if (other != IDLE)
        pthread_join(thread, NULL);
    qsort(stalls->took_ns, STALL_PICKS, sizeof stalls->took_ns[0], by_value);
}

/* The run of several in which the thread was interrupted least. */
static void print_stalls(enum other other)
{
    static const char *const names[] = {"nothing else", "lists made, not used", "the list updated"};
    static struct stalls stalls, best;
    best.switches = LONG_MAX;
    for (int i = 0; i < MAX_AGAIN && best.switches > MAX_SWITCHES; i++) {
        measure_stalls(&stalls, other);
        if (stalls.switches < best.switches)
            best = stalls;
    }
    printf("%-20s %-22s %8.0f %8.0f %10.1f %12.1f %12ld\n", picker->vtable->name, names[other], best.lists_a_second,
           best.took_ns[STALL_PICKS / 2], best.took_ns[(size_t)(STALL_PICKS * 0.9999)] / 1e3,
           best.took_ns[STALL_PICKS - 1] / 1e3, best.switches);
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static int new_least_request(weft_picker **out)
{
    return weft_least_request_new(out, 0);
}

static int new_p2c(weft_picker **out)
{
    return weft_p2c_new(out, NULL);
}

static int new_ring_hash(weft_picker **out)
{
    return weft_ring_hash_new(out, NULL);
}

/* The endpoints are new for each picker, whose memory lies in them. Their weights are 1 to 8. */
static void set_up(int (*make)(weft_picker **out))
{
    if (make(&picker) < 0)
        die("out of memory");
    weft__epoch_init(&epoch);
    for (size_t i = 0; i < MAX_ENDPOINTS; i++) {
        char text[64];
        snprintf(text, sizeof text, "ipv4:10.0.%zu.%zu:50051", i / 250, i % 250);
        const weft_address address = {.address = text, .weight = (uint32_t)i % 8 + 1};
        if (weft__endpoint_new(&endpoints[i], &address, picker->vtable->endpoint_size) < 0)
            die("out of memory");
        endpoints[i]->unused = weft__endpoint_free;
    }
}

static void tear_down(void)
{
    free_snapshot(&atomic_exchange(&current, NULL)->retired);
    weft__epoch_fini(&epoch);
    for (size_t i = 0; i < MAX_ENDPOINTS; i++)
        weft__endpoint_unref(endpoints[i]);
    weft_picker_free(picker);
}

int main(int argc, char **argv)
{
    static int (*const makers[])(weft_picker * *out) = {
        weft_pick_first_new, weft_random_new, weft_round_robin_new, weft_weighted_round_robin_new,
        new_least_request,   new_p2c,         new_ring_hash};
    static const size_t counts[] = {10, 100, 1000, MAX_ENDPOINTS};
    const size_t maker_count = sizeof makers / sizeof makers[0];
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 9;

    if (rounds < 1 || rounds > MAX_ROUNDS) {
        fprintf(stderr, "usage: bench-pick [rounds, 1 to %d]\n", MAX_ROUNDS);
        return 2;
    }
    printf("%-20s %6s %8s   %-16s %-22s %s\n", "picker", "of", "threads", "pick, CPU ns", "pick to done, CPU ns",
           "ran");
    for (size_t k = 0; k < maker_count; k++) {
        set_up(makers[k]);
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            publish(counts[i]);
            for (int threads = 1; threads <= MAX_THREADS; threads++)
                print_costs(counts[i], threads, (int)rounds);
        }
        tear_down();
    }
    printf("\npicks of %d, while on another thread        lists/s  p50, ns  p99.99, us  longest, us     switches\n",
           MAX_ENDPOINTS);
    for (size_t k = 0; k < maker_count; k++) {
        set_up(makers[k]);
        publish(MAX_ENDPOINTS);
        for (enum other other = IDLE; other <= UPDATING; other++)
            print_stalls(other);
        tear_down();
    }
    return 0;
}
