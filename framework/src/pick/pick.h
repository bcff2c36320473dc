/* pick/pick.h: what the pickers share. */
#ifndef WEFT_PICK_PICK_H
#define WEFT_PICK_PICK_H

#include <weft/picker.h>

#include "base/random.h"
#include "pick/endpoint.h"

static inline bool weft__was_tried(const weft_pick_args *args, const weft_endpoint *endpoint)
{
    for (size_t i = 0; i < args->tried_count; i++)
        if (args->tried[i] == endpoint)
            return true;
    return false;
}

/* The first from `start` on, around the ring, that was not tried; that at `start` when all were. */
static inline weft_endpoint *weft__untried_from(const weft_pick_args *args, size_t start)
{
    for (size_t i = 0; i < args->endpoint_count; i++) {
        weft_endpoint *endpoint = args->endpoints[(start + i) % args->endpoint_count];
        if (!weft__was_tried(args, endpoint))
            return endpoint;
    }
    return args->endpoints[start];
}

/* Any of them. */
static inline size_t weft__any_index(const weft_pick_args *args)
{
    return (size_t)weft__random_below(weft__random_system(), args->endpoint_count);
}

#endif
