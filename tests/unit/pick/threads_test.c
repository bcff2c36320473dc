/* Threads that pick and report while the list changes, as under a channel: for ThreadSanitizer and the address
 * sanitizer, which see what is freed too early or not at all. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft/picker.h>

#include "base/epoch.h"
#include "base/list.h"
#include "base/random.h"
#include "pick/endpoint.h"

enum {
    THREADS = 4,
    PICKS = 20000, /* a thread */
    UPDATES = 500,
    MAX_LISTED = 12
};

struct snapshot {
    weft__epoch_item retired;
    weft_picker *picker;
    void *table;
    size_t count;
    weft_endpoint *endpoints[MAX_LISTED];
};

static weft_picker *picker;
static _Atomic(struct snapshot *) current;
static weft__epoch epoch;
static atomic_int living; /* endpoints */
static atomic_int picks;

static void unused(weft_endpoint *endpoint)
{
    atomic_fetch_sub(&living, 1);
    weft__endpoint_free(endpoint);
}

static void free_snapshot(weft__epoch_item *item)
{
    struct snapshot *snapshot = WEFT__CONTAINER_OF(item, struct snapshot, retired);
    if (snapshot->table != NULL)
        snapshot->picker->vtable->unbuild(snapshot->picker, snapshot->table);
    for (size_t i = 0; i < snapshot->count; i++)
        weft__endpoint_unref(snapshot->endpoints[i]);
    free(snapshot);
}

static void publish(weft_endpoint *const *endpoints, size_t count)
{
    struct snapshot *snapshot = calloc(1, sizeof *snapshot);
    assert_non_null(snapshot);
    snapshot->picker = picker;
    snapshot->count = count;
    for (size_t i = 0; i < count; i++) {
        snapshot->endpoints[i] = endpoints[i];
        weft__endpoint_ref(endpoints[i]);
    }
    if (picker->vtable->build != NULL)
        assert_int_equal(picker->vtable->build(picker, snapshot->endpoints, count, &snapshot->table), 0);
    struct snapshot *old = atomic_exchange(&current, snapshot);
    if (old != NULL)
        weft__epoch_retire(&epoch, &old->retired, free_snapshot);
}

static weft_endpoint *pick(uint64_t hash, int64_t now_ns)
{
    weft_endpoint *endpoint = NULL;
    weft__epoch_slot *slot = weft__epoch_enter();
    const struct snapshot *snapshot = atomic_load(&current);
    const weft_pick_args args = {.struct_size = sizeof args,
                                 .endpoints = snapshot->endpoints,
                                 .endpoint_count = snapshot->count,
                                 .table = snapshot->table,
                                 .hash = hash,
                                 .has_hash = true,
                                 .now_ns = now_ns};
    (void)picker->vtable->pick(picker, &args, &endpoint);
    weft__endpoint_ref(endpoint);
    atomic_fetch_add_explicit(&endpoint->calls, 1, memory_order_relaxed);
    weft__epoch_leave(slot);
    return endpoint;
}

static void *call(void *arg)
{
    const weft__random *random = weft__random_system();
    for (int i = 0; i < PICKS; i++) {
        uint64_t number = random->next(weft__random_system());
        int64_t now_ns = (int64_t)i * 1000;
        weft_endpoint *endpoint = pick(number, now_ns);
        const weft_pick_result result = {.struct_size = sizeof result,
                                         .code = number % 16 == 0 ? WEFT_UNAVAILABLE : WEFT_OK,
                                         .caller_cancelled = number % 32 == 1,
                                         .now_ns = now_ns + 500,
                                         .latency_ns = 500};
        if (picker->vtable->done != NULL)
            picker->vtable->done(picker, endpoint, &result);
        atomic_fetch_sub_explicit(&endpoint->calls, 1, memory_order_relaxed);
        weft__endpoint_unref(endpoint);
        atomic_fetch_add_explicit(&picks, 1, memory_order_relaxed);
    }
    return arg;
}

static weft_endpoint *new_endpoint(int number, weft_endpoint *const *peers, size_t count)
{
    char text[64];
    weft_endpoint *endpoint = NULL;
    snprintf(text, sizeof text, "ipv4:127.0.0.1:%d", number);
    const weft_address address = {.address = text, .weight = (uint32_t)number % 4};
    assert_int_equal(weft__endpoint_new(&endpoint, &address, picker->vtable->endpoint_size), 0);
    endpoint->unused = unused;
    atomic_fetch_add(&living, 1);
    if (picker->vtable->join != NULL)
        picker->vtable->join(picker, endpoint, peers, count);
    return endpoint;
}

/* One comes, one goes, weights change, `UPDATES` times and as long as threads pick. */
static void update(weft_endpoint **endpoints, size_t count)
{
    for (int i = 0; i < UPDATES || atomic_load(&picks) < THREADS * PICKS; i++) {
        size_t at = (size_t)i % count;
        weft_endpoint *old = endpoints[at];
        endpoints[at] = new_endpoint(100 + i, endpoints, count);
        weft__endpoint_set_weight(endpoints[(at + 1) % count], (uint32_t)i % 5);
        publish(endpoints, count - (size_t)i % 3);
        weft__endpoint_unref(old);
    }
}

static void run(int (*make)(weft_picker **out))
{
    weft_endpoint *endpoints[MAX_LISTED];
    pthread_t threads[THREADS];
    assert_int_equal(make(&picker), 0);
    weft__epoch_init(&epoch);
    atomic_store(&picks, 0);
    for (size_t i = 0; i < MAX_LISTED; i++)
        endpoints[i] = new_endpoint((int)i, endpoints, i);
    publish(endpoints, MAX_LISTED);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call, NULL), 0);
    update(endpoints, MAX_LISTED);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < MAX_LISTED; i++) {
        assert_int_equal(weft_endpoint_calls(endpoints[i]), 0);
        weft__endpoint_unref(endpoints[i]);
    }
    free_snapshot(&atomic_exchange(&current, NULL)->retired);
    weft__epoch_fini(&epoch);
    assert_int_equal(atomic_load(&living), 0);
    weft_picker_free(picker);
}

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

static void round_robin_picks_while_the_list_changes(void **state)
{
    (void)state;
    run(weft_round_robin_new);
}

static void weighted_round_robin_picks_while_the_list_changes(void **state)
{
    (void)state;
    run(weft_weighted_round_robin_new);
}

static void least_request_picks_while_the_list_changes(void **state)
{
    (void)state;
    run(new_least_request);
}

static void p2c_picks_while_the_list_changes(void **state)
{
    (void)state;
    run(new_p2c);
}

static void ring_hash_picks_while_the_list_changes(void **state)
{
    (void)state;
    run(new_ring_hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_robin_picks_while_the_list_changes),
        cmocka_unit_test(weighted_round_robin_picks_while_the_list_changes),
        cmocka_unit_test(least_request_picks_while_the_list_changes),
        cmocka_unit_test(p2c_picks_while_the_list_changes),
        cmocka_unit_test(ring_hash_picks_while_the_list_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
