#include "unit/pick/world.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/list.h"
#include "pick/pick.h"

/* A list has changed. */
static void renew(struct world *world)
{
    const weft_picker_vtable *vtable = world->picker->vtable;
    if (vtable->build == NULL)
        return;
    if (world->table != NULL)
        vtable->unbuild(world->picker, world->table);
    assert_int_equal(vtable->build(world->picker, world->endpoints, world->count, &world->table), 0);
}

static void never_unused(weft_endpoint *endpoint)
{
    (void)endpoint;
    fail_msg("an endpoint's references are not balanced");
}

weft_endpoint *add(struct world *world, double mean_ms, uint32_t weight)
{
    char text[64];
    snprintf(text, sizeof text, "ipv4:127.0.0.1:%zu", world->count + 1);
    assert_true(world->count < MAX_ENDPOINTS);
    const weft_address address = {.address = text, .weight = weight};
    weft_endpoint *endpoint = NULL;
    assert_int_equal(weft__endpoint_new(&endpoint, &address, world->picker->vtable->endpoint_size), 0);
    endpoint->unused = never_unused;
    if (world->picker->vtable->join != NULL)
        world->picker->vtable->join(world->picker, endpoint, world->endpoints, world->count);
    world->mean_ms[world->count] = mean_ms;
    world->endpoints[world->count++] = endpoint;
    renew(world);
    return endpoint;
}

void remove_at(struct world *world, size_t index)
{
    weft__endpoint_free(world->endpoints[index]);
    for (size_t i = index + 1; i < world->count; i++) {
        world->endpoints[i - 1] = world->endpoints[i];
        world->mean_ms[i - 1] = world->mean_ms[i];
        world->code[i - 1] = world->code[i];
    }
    world->count--;
    renew(world);
}

void set_weight(struct world *world, size_t index, uint32_t weight)
{
    weft__endpoint_set_weight(world->endpoints[index], weight);
    renew(world);
}

struct world *new_world(weft_picker *picker, size_t count, double mean_ms)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->picker = picker;
    world->now_ns = 1000 * ns_per_ms;
    (void)weft__random_seed(&world->source, 20261125);
    weft__pick_random = weft__random_seed(&world->pickers, 11);
    for (size_t i = 0; i < MAX_RUNNING; i++)
        world->spare[world->spares++] = &world->running[i];
    for (size_t i = 0; i < count; i++)
        (void)add(world, mean_ms, 1);
    return world;
}

weft_endpoint *pick(struct world *world, weft_endpoint *const *tried, size_t tried_count)
{
    weft_endpoint *endpoint = NULL;
    const weft_pick_args args = {
        .struct_size = sizeof args,
        .endpoints = world->endpoints,
        .endpoint_count = world->count,
        .table = world->table,
        .metadata = world->metadata,
        .hash = world->hash,
        .has_hash = world->has_hash,
        .now_ns = world->now_ns,
        .deadline_ns = INT64_MAX,
        .tried = tried,
        .tried_count = tried_count,
    };
    assert_int_equal(world->picker->vtable->pick(world->picker, &args, &endpoint), WEFT_PICK_ENDPOINT);
    assert_non_null(endpoint);
    return endpoint;
}

void done(struct world *world, weft_endpoint *endpoint, weft_code code, bool cancelled, int64_t latency_ns)
{
    const weft_pick_result result = {
        .struct_size = sizeof result,
        .code = code,
        .from_peer = true,
        .caller_cancelled = cancelled,
        .now_ns = world->now_ns,
        .latency_ns = latency_ns,
    };
    if (world->picker->vtable->done != NULL)
        world->picker->vtable->done(world->picker, endpoint, &result);
}

size_t index_of(const struct world *world, const weft_endpoint *endpoint)
{
    size_t i = 0;
    while (world->endpoints[i] != endpoint)
        i++;
    return i;
}

static int64_t exponential_ns(struct world *world, double mean_ms)
{
    return (int64_t)(-log(1 - weft__random_unit(&world->source.base)) * mean_ms * (double)ns_per_ms);
}

static void end_first(struct world *world)
{
    struct running *running = WEFT__CONTAINER_OF(weft__heap_first(&world->heap), struct running, node);
    world->now_ns = running->node.key;
    weft__heap_remove(&world->heap, &running->node);
    int64_t latency_ns = world->now_ns - running->began_ns;
    done(world, running->endpoint, running->code, false, latency_ns);
    atomic_fetch_sub(&running->endpoint->calls, 1);
    if (world->samples < SAMPLES)
        world->latencies[world->samples++] = latency_ns;
    world->spare[world->spares++] = running;
}

void simulate(struct world *world, int calls, double every_ms)
{
    int64_t next_ns = world->now_ns;
    memset(world->picked, 0, sizeof world->picked);
    world->samples = 0;
    for (int i = 0; i < calls; i++) {
        next_ns += exponential_ns(world, every_ms);
        while (weft__heap_first(&world->heap) != NULL && weft__heap_first(&world->heap)->key <= next_ns)
            end_first(world);
        world->now_ns = next_ns;
        assert_true(world->spares > 0);
        struct running *running = world->spare[--world->spares];
        world->hash = world->source.base.next(&world->source.base) % 1000;
        weft_endpoint *endpoint = pick(world, NULL, 0);
        size_t at = index_of(world, endpoint);
        world->picked[at]++;
        atomic_fetch_add(&endpoint->calls, 1);
        running->endpoint = endpoint;
        running->began_ns = world->now_ns;
        running->code = world->code[at];
        weft__heap_push(&world->heap, &running->node, world->now_ns + exponential_ns(world, world->mean_ms[at]));
    }
    while (weft__heap_first(&world->heap) != NULL)
        end_first(world);
}

static int compare(const void *a, const void *b)
{
    int64_t first = *(const int64_t *)a;
    int64_t second = *(const int64_t *)b;
    return (first > second) - (first < second);
}

int64_t p99_ns(struct world *world)
{
    qsort(world->latencies, world->samples, sizeof *world->latencies, compare);
    return world->latencies[world->samples * 99 / 100];
}

void end_world(struct world *world)
{
    for (size_t i = 0; i < world->count; i++)
        weft__endpoint_free(world->endpoints[i]);
    if (world->table != NULL)
        world->picker->vtable->unbuild(world->picker, world->table);
    weft__pick_random = NULL;
    weft_picker_free(world->picker);
    free(world);
}

/* Pearson's statistic against equal shares; its expectation is count - 1, and twice that and 20 is far out. */
void assert_even(const struct world *world, int64_t calls)
{
    double expected = (double)calls / (double)world->count;
    double statistic = 0;
    for (size_t i = 0; i < world->count; i++)
        statistic += ((double)world->picked[i] - expected) * ((double)world->picked[i] - expected) / expected;
    assert_true(statistic < 2.0 * (double)world->count + 20);
}
