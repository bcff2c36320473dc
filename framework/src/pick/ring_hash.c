/* ring_hash.c: consistent hashing with bounded loads.
 *
 *            ·a        An endpoint has many points on a ring, found from its address alone. A call goes to the first
 *        c·      ·b    point from its own position on, clockwise; when that endpoint is full, to the next one that is
 *      a·    ↗    ·c   not. So a hash moves only when its endpoint goes, or one comes whose point is nearer, or by
 *        b·      ·a    load.
 *            ·c
 *
 * Design notes
 * - The k-th point of an address is the k-th number of a source that the address seeds: whoever gets more points keeps
 *   those that it has.
 * - Who has fewer calls than its share, times the allowed excess, has room. All calls are counted in the picker: an
 *   endpoint's share follows from them and from weights, without a look at the others. Shares sum up to more than all
 *   calls, so somebody always has room.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/options.h"
#include "pick/pick.h"
#include "pick/points.h"

enum {
    DEFAULT_POINTS = 100,
    MAX_POINTS = 10000, /* of an endpoint of weight 1 */
    DEFAULT_LOAD = 125,
    MAX_LOAD = 1000000
};

struct ring_hash {
    weft_picker base;
    char *metadata_key; /* or NULL */
    int64_t points;
    bool bounded;
    double max_load;            /* 1.25: a quarter more than the average */
    atomic_int_least64_t calls; /* picked and not done, if bounded */
};

uint64_t weft_hash(weft_sv key)
{
    static const uint64_t none[2];
    return weft__hash(none, key.data, key.len);
}

/* Callers' hashes may be as uneven as numbers of customers. */
static uint64_t position_of(uint64_t hash)
{
    weft__random_seeded source;
    weft__random *numbers = weft__random_seed(&source, hash);
    return numbers->next(numbers);
}

static void place(const weft_endpoint *endpoint, size_t index, uint64_t *positions, size_t count)
{
    weft__random_seeded source;
    weft__random *numbers = weft__random_seed(&source, weft_hash(weft_sv_from(weft_endpoint_address(endpoint))));
    (void)index;
    for (size_t i = 0; i < count; i++)
        positions[i] = numbers->next(numbers);
}

static int build(weft_picker *self, weft_endpoint *const *endpoints, size_t endpoint_count, void **table)
{
    const struct ring_hash *ring = WEFT__CONTAINER_OF(self, struct ring_hash, base);
    weft__points *points = NULL;
    weft__points_share share = {(uint64_t)ring->points, 1};
    int rc = weft__points_new(&points, endpoints, endpoint_count, share, place);
    if (rc == 0)
        *table = points;
    return rc;
}

static void unbuild(weft_picker *self, void *table)
{
    (void)self;
    weft__points_free(table);
}

static uint64_t hash_of(const struct ring_hash *ring, const weft_pick_args *args)
{
    if (args->has_hash)
        return args->hash;
    if (ring->metadata_key != NULL) {
        weft_sv value = weft_metadata_find(&args->metadata, ring->metadata_key);
        if (value.data != NULL)
            return weft_hash(value);
    }
    weft__random *any = weft__random_source();
    return any->next(any);
}

static weft_pick pick(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    struct ring_hash *ring = WEFT__CONTAINER_OF(self, struct ring_hash, base);
    const weft__points *points = args->table;
    bool any_will_do = weft__all_tried(args);
    weft_endpoint *full = NULL; /* the first that is acceptable but for its load */
    double share = 0;           /* of all calls, this one too, for a weight of 1 */
    if (ring->bounded) {
        int64_t calls = atomic_fetch_add_explicit(&ring->calls, 1, memory_order_relaxed) + 1;
        share = ring->max_load * (double)calls / points->weights;
    }
    size_t at = weft__points_find(points, position_of(hash_of(ring, args)));
    for (size_t i = 0; i < points->count; i++, at++) {
        at = at < points->count ? at : 0;
        weft_endpoint *endpoint = args->endpoints[weft__points_endpoint(points, at)];
        if (!any_will_do && weft__was_tried(args, endpoint))
            continue;
        full = full != NULL ? full : endpoint;
        if (!ring->bounded || (double)weft_endpoint_calls(endpoint) < share * (double)weft_endpoint_weight(endpoint)) {
            *out = endpoint;
            return WEFT_PICK_ENDPOINT;
        }
    }
    *out = full; /* the counts have changed while we looked, or only tried ones have room */
    return WEFT_PICK_ENDPOINT;
}

static void done(weft_picker *self, weft_endpoint *endpoint, const weft_pick_result *result)
{
    struct ring_hash *ring = WEFT__CONTAINER_OF(self, struct ring_hash, base);
    (void)endpoint;
    (void)result;
    if (ring->bounded)
        atomic_fetch_sub_explicit(&ring->calls, 1, memory_order_relaxed);
}

static void destroy(weft_picker *self)
{
    struct ring_hash *ring = WEFT__CONTAINER_OF(self, struct ring_hash, base);
    free(ring->metadata_key);
    free(ring);
}

static int read_options(weft_ring_hash_options *out, const weft_ring_hash_options *options)
{
    memset(out, 0, sizeof *out);
    int rc = weft__options_copy(out, sizeof *out, options);
    if (rc == 0)
        rc = weft__limit(&out->points, DEFAULT_POINTS, 1);
    if (rc == 0)
        rc = weft__limit(&out->max_load_percent, DEFAULT_LOAD, 101);
    if (rc == 0 &&
        (out->points > MAX_POINTS || (out->max_load_percent > MAX_LOAD && out->max_load_percent < INT64_MAX)))
        rc = -EINVAL;
    return rc;
}

int weft_ring_hash_new(weft_picker **out, const weft_ring_hash_options *options)
{
    static const weft_picker_vtable vtable = {.struct_size = sizeof vtable,
                                              .name = "ring_hash",
                                              .build = build,
                                              .unbuild = unbuild,
                                              .pick = pick,
                                              .done = done,
                                              .destroy = destroy};
    weft_ring_hash_options o;
    int rc = read_options(&o, options);
    if (rc < 0)
        return rc;
    struct ring_hash *ring = calloc(1, sizeof *ring);
    if (ring == NULL)
        return -ENOMEM;
    ring->base.vtable = &vtable;
    ring->points = o.points;
    ring->bounded = o.max_load_percent != INT64_MAX;
    ring->max_load = (double)o.max_load_percent / 100;
    if (o.metadata_key != NULL) {
        ring->metadata_key = strdup(o.metadata_key);
        if (ring->metadata_key == NULL) {
            free(ring);
            return -ENOMEM;
        }
    }
    *out = &ring->base;
    return 0;
}
