/* world.h: servers that take exponentially distributed times, and callers that come at random, in virtual time. */
#ifndef WEFT_TEST_PICK_WORLD_H
#define WEFT_TEST_PICK_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/picker.h>

#include "base/heap.h"
#include "base/random.h"
#include "pick/endpoint.h"

enum {
    MAX_ENDPOINTS = 128,
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

struct world {
    weft_picker *picker;
    weft_endpoint *endpoints[MAX_ENDPOINTS];
    size_t count;
    void *table;
    double mean_ms[MAX_ENDPOINTS];
    weft_code code[MAX_ENDPOINTS];
    int64_t picked[MAX_ENDPOINTS];
    bool has_hash; /* calls have */
    uint64_t hash; /* of the next call */
    weft_metadata metadata;
    weft__random_seeded source;
    weft__random_seeded pickers; /* their random numbers */
    weft__heap heap;
    struct running running[MAX_RUNNING];
    struct running *spare[MAX_RUNNING];
    size_t spares;
    int64_t now_ns;
    int64_t latencies[SAMPLES];
    size_t samples;
};

/* With `count` endpoints. It owns the picker. The same numbers each time. */
struct world *new_world(weft_picker *picker, size_t count, double mean_ms);
void end_world(struct world *world);

/* The list changes: as a channel does it. */
weft_endpoint *add(struct world *world, double mean_ms, uint32_t weight);
void remove_at(struct world *world, size_t index);
void set_weight(struct world *world, size_t index, uint32_t weight);

/* One pick, which is not counted anywhere. */
weft_endpoint *pick(struct world *world, weft_endpoint *const *tried, size_t tried_count);
void done(struct world *world, weft_endpoint *endpoint, weft_code code, bool cancelled, int64_t latency_ns);

size_t index_of(const struct world *world, const weft_endpoint *endpoint);

/* Lets `calls` come, one each `every_ms` on average. */
void simulate(struct world *world, int calls, double every_ms);

/* Of the last simulation. */
int64_t p99_ns(struct world *world);
void assert_even(const struct world *world, int64_t calls);

#endif
