/* The pickers of weft/picker.h, on a simulation in virtual time. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/random.h"
#include "pick/endpoint.h"

#include <weft/picker.h>

enum {
    MAX_ENDPOINTS = 16,
    MAX_RUNNING = 4096,
    SAMPLES = 20000
};

static const int64_t ns_per_ms = 1000000;

/* A call that runs. */
struct running {
    weft__heap_node node;
    weft_endpoint *endpoint;
    int64_t began_ns;
    weft_code code;
};

/* Servers that take exponentially distributed times, and callers that come at random. */
struct world {
    weft_picker *picker;
    weft_endpoint *endpoints[MAX_ENDPOINTS];
    size_t count;
    double mean_ms[MAX_ENDPOINTS];
    weft_code code[MAX_ENDPOINTS];
    int64_t picked[MAX_ENDPOINTS];
    weft__random_seeded source;
    weft__heap heap;
    struct running running[MAX_RUNNING];
    struct running *spare[MAX_RUNNING];
    size_t spares;
    int64_t now_ns;
    int64_t latencies[SAMPLES];
    size_t samples;
};

static void never_unused(weft_endpoint *endpoint)
{
    (void)endpoint;
    fail_msg("an endpoint's references are not balanced");
}

static weft_endpoint *add(struct world *world, double mean_ms, uint32_t weight)
{
    char text[64];
    snprintf(text, sizeof text, "ipv4:127.0.0.1:%zu", world->count + 1);
    const weft_address address = {.address = text, .weight = weight};
    weft_endpoint *endpoint = NULL;
    assert_int_equal(weft__endpoint_new(&endpoint, &address, world->picker->vtable->endpoint_size), 0);
    endpoint->unused = never_unused;
    if (world->picker->vtable->join != NULL)
        world->picker->vtable->join(world->picker, endpoint, world->endpoints, world->count);
    world->mean_ms[world->count] = mean_ms;
    world->endpoints[world->count++] = endpoint;
    return endpoint;
}

static struct world *new_world(weft_picker *picker, size_t count, double mean_ms)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->picker = picker;
    world->now_ns = 1000 * ns_per_ms;
    (void)weft__random_seed(&world->source, 20261125);
    for (size_t i = 0; i < MAX_RUNNING; i++)
        world->spare[world->spares++] = &world->running[i];
    for (size_t i = 0; i < count; i++)
        (void)add(world, mean_ms, 1);
    return world;
}

static weft_endpoint *pick(struct world *world, weft_endpoint *const *tried, size_t tried_count)
{
    weft_endpoint *endpoint = NULL;
    const weft_pick_args args = {
        .struct_size = sizeof args,
        .endpoints = world->endpoints,
        .endpoint_count = world->count,
        .now_ns = world->now_ns,
        .deadline_ns = INT64_MAX,
        .tried = tried,
        .tried_count = tried_count,
    };
    assert_int_equal(world->picker->vtable->pick(world->picker, &args, &endpoint), WEFT_PICK_ENDPOINT);
    assert_non_null(endpoint);
    return endpoint;
}

static void done(struct world *world, weft_endpoint *endpoint, weft_code code, bool cancelled, int64_t latency_ns)
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

static size_t index_of(const struct world *world, const weft_endpoint *endpoint)
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

/* Lets `calls` come, one each `every_ms` on average. */
static void simulate(struct world *world, int calls, double every_ms)
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

static int64_t p99_ns(struct world *world)
{
    qsort(world->latencies, world->samples, sizeof *world->latencies, compare);
    return world->latencies[world->samples * 99 / 100];
}

static void end_world(struct world *world)
{
    for (size_t i = 0; i < world->count; i++)
        weft__endpoint_free(world->endpoints[i]);
    weft_picker_free(world->picker);
    free(world);
}

/* Pearson's statistic against equal shares; its expectation is count - 1, and twice that and 20 is far out. */
static void assert_even(const struct world *world, int64_t calls)
{
    double expected = (double)calls / (double)world->count;
    double statistic = 0;
    for (size_t i = 0; i < world->count; i++)
        statistic += ((double)world->picked[i] - expected) * ((double)world->picked[i] - expected) / expected;
    assert_true(statistic < 2.0 * (double)world->count + 20);
}

/* ---- the simple ones --------------------------------------------------------------------------------------------- */

static void random_picks_all_equally(void **state)
{
    weft_picker *picker = NULL;
    (void)state;
    assert_int_equal(weft_random_new(&picker), 0);
    struct world *world = new_world(picker, 10, 1);
    simulate(world, 20000, 1);
    assert_even(world, 20000);
    end_world(world);
}

static void round_robin_picks_one_after_the_other(void **state)
{
    weft_picker *picker = NULL;
    (void)state;
    assert_int_equal(weft_round_robin_new(&picker), 0);
    struct world *world = new_world(picker, 7, 1);
    simulate(world, 700, 1);
    for (size_t i = 0; i < world->count; i++)
        assert_int_equal(world->picked[i], 100);
    end_world(world);
}

static void pick_first_stays_with_the_first(void **state)
{
    weft_picker *picker = NULL;
    (void)state;
    assert_int_equal(weft_pick_first_new(&picker), 0);
    struct world *world = new_world(picker, 3, 1);
    simulate(world, 100, 1);
    assert_int_equal(world->picked[0], 100);
    assert_ptr_equal(pick(world, world->endpoints, 1), world->endpoints[1]);
    end_world(world);
}

static void least_request_goes_where_least_is_under_way(void **state)
{
    weft_picker *picker = NULL;
    (void)state;
    assert_int_equal(weft_least_request_new(&picker, -1), -EINVAL);
    assert_int_equal(weft_least_request_new(&picker, 17), -EINVAL);
    assert_int_equal(weft_least_request_new(&picker, 0), 0);
    struct world *world = new_world(picker, 4, 2);
    world->mean_ms[2] = 40;
    simulate(world, 20000, 1);
    assert_true(world->picked[2] < world->picked[0] / 3);
    end_world(world);
}

static void least_request_heeds_weights(void **state)
{
    weft_picker *picker = NULL;
    (void)state;
    assert_int_equal(weft_least_request_new(&picker, 4), 0);
    struct world *world = new_world(picker, 2, 10);
    weft__endpoint_set_weight(world->endpoints[0], 3);
    simulate(world, 20000, 0.2);
    assert_in_range(world->picked[0] * 100 / world->picked[1], 250, 350);
    end_world(world);
}

/* ---- p2c --------------------------------------------------------------------------------------------------------- */

static weft_picker *new_p2c(void)
{
    weft_picker *picker = NULL;
    assert_int_equal(weft_p2c_new(&picker, NULL), 0);
    return picker;
}

static void options_of_p2c_are_checked(void **state)
{
    weft_picker *picker = NULL;
    weft_p2c_options options = WEFT_P2C_OPTIONS_INIT;
    (void)state;
    options.decay_ms = -2;
    assert_int_equal(weft_p2c_new(&picker, &options), -EINVAL);
    options.decay_ms = 1;
    options.struct_size = 0;
    assert_int_equal(weft_p2c_new(&picker, &options), -EINVAL);
    options.struct_size = sizeof options;
    assert_int_equal(weft_p2c_new(&picker, &options), 0);
    weft_picker_free(picker);
}

static void p2c_spreads_over_equals(void **state)
{
    struct world *world = new_world(new_p2c(), 8, 5);
    (void)state;
    simulate(world, 20000, 1);
    for (size_t i = 0; i < world->count; i++)
        assert_in_range(world->picked[i], 20000 / 8 * 8 / 10, 20000 / 8 * 12 / 10);
    end_world(world);
}

static void p2c_keeps_away_from_who_is_slow(void **state)
{
    weft_picker *picker = NULL;
    (void)state;
    struct world *world = new_world(new_p2c(), 6, 5);
    world->mean_ms[3] = 50;
    simulate(world, 20000, 1);
    int64_t p2c_ns = p99_ns(world);
    assert_true(world->picked[3] < 20000 / 6 / 5);
    assert_true(world->picked[3] > 0); /* and looks again */
    end_world(world);
    assert_int_equal(weft_round_robin_new(&picker), 0);
    world = new_world(picker, 6, 5);
    world->mean_ms[3] = 50;
    simulate(world, 20000, 1);
    assert_true(p2c_ns * 2 <= p99_ns(world));
    end_world(world);
}

static void p2c_comes_back_to_who_has_recovered(void **state)
{
    struct world *world = new_world(new_p2c(), 6, 5);
    (void)state;
    world->mean_ms[3] = 200;
    simulate(world, 10000, 1);
    world->mean_ms[3] = 5;
    simulate(world, 20000, 2); /* 40 s */
    simulate(world, 20000, 2);
    assert_in_range(world->picked[3], 20000 / 6 * 7 / 10, 20000 / 6 * 13 / 10);
    end_world(world);
}

static void p2c_keeps_away_from_who_fails_fast(void **state)
{
    struct world *world = new_world(new_p2c(), 6, 5);
    (void)state;
    simulate(world, 2000, 1);
    world->mean_ms[2] = 0.1;
    world->code[2] = WEFT_UNAVAILABLE;
    simulate(world, 20000, 1);
    assert_true(world->picked[2] < 20000 / 6 / 5);
    end_world(world);
}

static void the_callers_cancel_is_no_penalty(void **state)
{
    struct world *world = new_world(new_p2c(), 2, 5);
    (void)state;
    simulate(world, 2000, 5);
    for (int i = 0; i < 1000; i++)
        done(world, world->endpoints[0], WEFT_CANCELLED, true, 1000 * ns_per_ms);
    simulate(world, 10000, 5);
    assert_in_range(world->picked[0], 4000, 6000);
    end_world(world);
}

static void who_is_new_is_neither_flooded_nor_starved(void **state)
{
    struct world *world = new_world(new_p2c(), 5, 5);
    (void)state;
    simulate(world, 10000, 1);
    (void)add(world, 5, 1);
    simulate(world, 120, 1);
    assert_in_range(world->picked[5], 5, 40); /* 20 is a fair share */
    simulate(world, 12000, 1);
    assert_in_range(world->picked[5], 2000 * 8 / 10, 2000 * 12 / 10);
    end_world(world);
}

static void p2c_heeds_weights(void **state)
{
    struct world *world = new_world(new_p2c(), 4, 5);
    (void)state;
    weft__endpoint_set_weight(world->endpoints[1], 4);
    simulate(world, 20000, 1);
    assert_true(world->picked[1] > world->picked[0] * 3 / 2);
    end_world(world);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static int new_least_request(weft_picker **out)
{
    return weft_least_request_new(out, 3);
}

static int new_default_p2c(weft_picker **out)
{
    return weft_p2c_new(out, NULL);
}

typedef int (*constructor)(weft_picker **out);
static const constructor all[] = {weft_pick_first_new, weft_random_new, weft_round_robin_new, new_least_request,
                                  new_default_p2c};

static void who_was_tried_is_not_picked_while_there_is_another(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        weft_picker *picker = NULL;
        assert_int_equal(all[k](&picker), 0);
        struct world *world = new_world(picker, 5, 1);
        weft_endpoint *tried[] = {world->endpoints[0], world->endpoints[3], world->endpoints[4], world->endpoints[1]};
        for (int i = 0; i < 200; i++)
            assert_ptr_equal(pick(world, tried, 4), world->endpoints[2]);
        for (int i = 0; i < 200; i++)
            assert_non_null(pick(world, world->endpoints, 5)); /* all were: any will do */
        end_world(world);
    }
}

static void one_endpoint_gets_everything(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        weft_picker *picker = NULL;
        assert_int_equal(all[k](&picker), 0);
        struct world *world = new_world(picker, 1, 1);
        simulate(world, 100, 1);
        assert_int_equal(world->picked[0], 100);
        end_world(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_picks_all_equally),
        cmocka_unit_test(round_robin_picks_one_after_the_other),
        cmocka_unit_test(pick_first_stays_with_the_first),
        cmocka_unit_test(least_request_goes_where_least_is_under_way),
        cmocka_unit_test(least_request_heeds_weights),
        cmocka_unit_test(options_of_p2c_are_checked),
        cmocka_unit_test(p2c_spreads_over_equals),
        cmocka_unit_test(p2c_keeps_away_from_who_is_slow),
        cmocka_unit_test(p2c_comes_back_to_who_has_recovered),
        cmocka_unit_test(p2c_keeps_away_from_who_fails_fast),
        cmocka_unit_test(the_callers_cancel_is_no_penalty),
        cmocka_unit_test(who_is_new_is_neither_flooded_nor_starved),
        cmocka_unit_test(p2c_heeds_weights),
        cmocka_unit_test(who_was_tried_is_not_picked_while_there_is_another),
        cmocka_unit_test(one_endpoint_gets_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
