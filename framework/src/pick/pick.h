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

/* Whether there is nothing else to pick. */
static inline bool weft__all_tried(const weft_pick_args *args)
{
    if (args->tried_count < args->endpoint_count)
        return false;
    for (size_t i = 0; i < args->endpoint_count; i++)
        if (!weft__was_tried(args, args->endpoints[i]))
            return false;
    return true;
}

/* For tests, which set it before anything picks: where random numbers come from. NULL: from the system. */
extern weft__random *weft__pick_random;

static inline weft__random *weft__random_source(void)
{
    return weft__pick_random != NULL ? weft__pick_random : weft__random_system();
}

/* As weft_pick_first_new, with a list that is in an order of this picker's own (gRFC A62): so many channels that know
 * the same list do not all go to the same endpoint. 0; -ENOMEM. */
int weft__pick_first_shuffled_new(weft_picker **out);

/* Any of them. */
static inline size_t weft__any_index(const weft_pick_args *args)
{
    return (size_t)weft__random_below(weft__random_source(), args->endpoint_count);
}

#endif
