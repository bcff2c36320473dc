/* weighted_round_robin.c: one turn after the other, in proportion to weights.
 *
 *   weights   a: 5   b: 1   c: 1
 *
 *   a ●───────●───────●───────●───────●───────   an endpoint of weight w has w points at equal distances,
 *   b ────────────────────────●───────────────   and begins somewhere else than the others
 *   c ─────────●──────────────────────────────
 *     a       a c     a       a b     a          a turn goes to the next point
 *
 * Design notes
 * - The begins are multiples of the golden section: any number of them lie apart as evenly as can be. Were they the
 *   same, all endpoints of little weight would have their turns at once, and those of great weight none meanwhile.
 * - Equal weights are a plain rotation.
 * - Picks share one counter, which only grows, and survives every new table.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/list.h"
#include "pick/pick.h"
#include "pick/points.h"

struct weighted {
    weft_picker base;
    atomic_uint_least64_t turn;
};

static void place(const weft_endpoint *endpoint, size_t index, uint64_t *positions, size_t count)
{
    static const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 times the golden section */
    uint64_t distance = UINT64_MAX / count;
    uint64_t position = (golden * index >> 32) * (distance >> 32);
    (void)endpoint;
    for (size_t i = 0; i < count; i++, position += distance)
        positions[i] = position;
}

static uint64_t common_factor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static int build(weft_picker *self, weft_endpoint *const *endpoints, size_t endpoint_count, void **table)
{
    weft__points *points = NULL;
    uint64_t factor = 0;
    (void)self;
    for (size_t i = 0; i < endpoint_count; i++)
        factor = common_factor(weft_endpoint_weight(endpoints[i]), factor);
    int rc = weft__points_new(&points, endpoints, endpoint_count, (weft__points_share){1, factor}, place);
    if (rc == 0)
        *table = points;
    return rc;
}

static void unbuild(weft_picker *self, void *table)
{
    (void)self;
    weft__points_free(table);
}

static weft_pick pick(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    struct weighted *weighted = WEFT__CONTAINER_OF(self, struct weighted, base);
    const weft__points *points = args->table;
    uint64_t turn = atomic_fetch_add_explicit(&weighted->turn, 1, memory_order_relaxed);
    *out = weft__untried_from(args, weft__points_endpoint(points, (size_t)(turn % points->count)));
    return WEFT_PICK_ENDPOINT;
}

static void destroy(weft_picker *self)
{
    free(WEFT__CONTAINER_OF(self, struct weighted, base));
}

int weft_weighted_round_robin_new(weft_picker **out)
{
    static const weft_picker_vtable vtable = {.struct_size = sizeof vtable,
                                              .name = "weighted_round_robin",
                                              .build = build,
                                              .unbuild = unbuild,
                                              .pick = pick,
                                              .destroy = destroy};
    struct weighted *weighted = malloc(sizeof *weighted);
    if (weighted == NULL)
        return -ENOMEM;
    weighted->base.vtable = &vtable;
    atomic_init(&weighted->turn, weft__random_below(weft__random_source(), 1 << 20)); /* begins anywhere */
    *out = &weighted->base;
    return 0;
}
