/* picker.c: the pickers that keep nothing, or next to nothing, in endpoints. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "pick/pick.h"

weft__random *weft__pick_random;

void weft_picker_free(weft_picker *picker)
{
    if (picker != NULL && picker->vtable->destroy != NULL)
        picker->vtable->destroy(picker);
}

static void destroy(weft_picker *self)
{
    free(self); /* every object here begins with its picker */
}

/* ---- pick_first and random --------------------------------------------------------------------------------------- */

static int make_plain(weft_picker **out, const weft_picker_vtable *vtable)
{
    weft_picker *picker = malloc(sizeof *picker);
    if (picker == NULL)
        return -ENOMEM;
    picker->vtable = vtable;
    *out = picker;
    return 0;
}

static weft_pick pick_first(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    (void)self;
    *out = weft__untried_from(args, 0);
    return WEFT_PICK_ENDPOINT;
}

int weft_pick_first_new(weft_picker **out)
{
    static const weft_picker_vtable vtable = {
        .struct_size = sizeof vtable, .name = "pick_first", .pick = pick_first, .destroy = destroy};
    return make_plain(out, &vtable);
}

/* Where an endpoint stands in the shuffled list: drawn once, so that the others do not move when one comes or goes. */
static uint64_t *place_of(weft_endpoint *endpoint)
{
    return weft_endpoint_state(endpoint);
}

static void draw_place(weft_picker *self, weft_endpoint *endpoint, weft_endpoint *const *peers, size_t peer_count)
{
    weft__random *random = weft__random_source();
    (void)self;
    (void)peers;
    (void)peer_count;
    *place_of(endpoint) = random->next(random);
}

static int by_place(const void *a, const void *b)
{
    uint64_t place_a = *place_of(*(weft_endpoint *const *)a);
    uint64_t place_b = *place_of(*(weft_endpoint *const *)b);
    return (place_a > place_b) - (place_a < place_b);
}

/* The table is the shuffled list. */
static int shuffle(weft_picker *self, weft_endpoint *const *endpoints, size_t endpoint_count, void **table)
{
    (void)self;
    weft_endpoint **shuffled = malloc(endpoint_count * sizeof(weft_endpoint *));
    if (shuffled == NULL)
        return -ENOMEM;
    memcpy(shuffled, endpoints, endpoint_count * sizeof(weft_endpoint *));
    qsort(shuffled, endpoint_count, sizeof(weft_endpoint *), by_place);
    *table = shuffled;
    return 0;
}

static void drop_shuffled(weft_picker *self, void *table)
{
    (void)self;
    free(table);
}

static weft_pick pick_first_shuffled(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    weft_pick_args shuffled = *args;
    shuffled.endpoints = args->table;
    return pick_first(self, &shuffled, out);
}

int weft__pick_first_shuffled_new(weft_picker **out)
{
    static const weft_picker_vtable vtable = {.struct_size = sizeof vtable,
                                              .name = "pick_first",
                                              .endpoint_size = sizeof(uint64_t),
                                              .join = draw_place,
                                              .build = shuffle,
                                              .unbuild = drop_shuffled,
                                              .pick = pick_first_shuffled,
                                              .destroy = destroy};
    return make_plain(out, &vtable);
}

static weft_pick pick_random(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    (void)self;
    *out = weft__untried_from(args, weft__any_index(args));
    return WEFT_PICK_ENDPOINT;
}

int weft_random_new(weft_picker **out)
{
    static const weft_picker_vtable vtable = {
        .struct_size = sizeof vtable, .name = "random", .pick = pick_random, .destroy = destroy};
    return make_plain(out, &vtable);
}

/* ---- round_robin ------------------------------------------------------------------------------------------------- */

struct round_robin {
    weft_picker base;
    atomic_size_t next;
};

static weft_pick pick_next(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    struct round_robin *robin = WEFT__CONTAINER_OF(self, struct round_robin, base);
    size_t turn = atomic_fetch_add_explicit(&robin->next, 1, memory_order_relaxed);
    *out = weft__untried_from(args, turn % args->endpoint_count);
    return WEFT_PICK_ENDPOINT;
}

int weft_round_robin_new(weft_picker **out)
{
    static const weft_picker_vtable vtable = {
        .struct_size = sizeof vtable, .name = "round_robin", .pick = pick_next, .destroy = destroy};
    struct round_robin *robin = malloc(sizeof *robin);
    if (robin == NULL)
        return -ENOMEM;
    robin->base.vtable = &vtable;
    atomic_init(&robin->next, (size_t)weft__random_below(weft__random_source(), 1 << 20)); /* begins anywhere */
    *out = &robin->base;
    return 0;
}

/* ---- least_request ----------------------------------------------------------------------------------------------- */

enum {
    MAX_CHOICES = 16
};

struct least_request {
    weft_picker base;
    int choices;
};

/* Whether a has fewer calls for its weight than b; without a division. */
static bool is_less_busy(const weft_endpoint *a, const weft_endpoint *b)
{
    uint64_t calls_a = (uint64_t)weft_endpoint_calls(a) + 1;
    uint64_t calls_b = (uint64_t)weft_endpoint_calls(b) + 1;
    return calls_a * weft_endpoint_weight(b) < calls_b * weft_endpoint_weight(a);
}

static weft_pick pick_least(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    const struct least_request *least = WEFT__CONTAINER_OF(self, struct least_request, base);
    weft_endpoint *best = weft__untried_from(args, weft__any_index(args));
    for (int i = 1; i < least->choices; i++) {
        weft_endpoint *other = weft__untried_from(args, weft__any_index(args));
        if (is_less_busy(other, best))
            best = other;
    }
    *out = best;
    return WEFT_PICK_ENDPOINT;
}

int weft_least_request_new(weft_picker **out, int choices)
{
    static const weft_picker_vtable vtable = {
        .struct_size = sizeof vtable, .name = "least_request", .pick = pick_least, .destroy = destroy};
    if (choices < 0 || choices > MAX_CHOICES)
        return -EINVAL;
    struct least_request *least = malloc(sizeof *least);
    if (least == NULL)
        return -ENOMEM;
    *least = (struct least_request){{&vtable}, choices > 0 ? choices : 2};
    *out = &least->base;
    return 0;
}
