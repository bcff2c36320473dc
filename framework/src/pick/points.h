/* pick/points.h: endpoints on a ring of 2^64 positions, each at as many points as its weight gives it. */
#ifndef WEFT_PICK_POINTS_H
#define WEFT_PICK_POINTS_H

#include <stddef.h>
#include <stdint.h>

#include <weft/endpoint.h>

enum {
    WEFT__MAX_POINTS = 1 << 18 /* of all endpoints, as long as each has one */
};

/* A point is one number: its position above, its endpoint's index below. The points lie in buckets by their upper bits,
 * about one in each, so that most of a search is one look-up. */
typedef struct weft__points {
    uint64_t *values; /* sorted; count of them */
    size_t count;
    uint64_t index_mask;
    double weights;    /* of all endpoints */
    int bucket_shift;  /* a value's bucket is value >> bucket_shift */
    uint32_t *buckets; /* where each begins; and where the last one ends */
} weft__points;

/* How many points a weight gives. */
typedef struct weft__points_share {
    uint64_t points;
    uint64_t weight;
} weft__points_share;

/* Writes the positions of an endpoint. Those of all endpoints together are spread evenly enough. */
typedef void weft__points_place(const weft_endpoint *endpoint, size_t index, uint64_t *positions, size_t count);

/* 0; -ENOMEM. */
int weft__points_new(weft__points **out, weft_endpoint *const *endpoints, size_t endpoint_count,
                     weft__points_share share, weft__points_place *place);
void weft__points_free(weft__points *points);

/* The index of the first point at or behind a position; count: that is the first of all. */
static inline size_t weft__points_find(const weft__points *points, uint64_t position)
{
    uint64_t bucket = position >> points->bucket_shift;
    size_t low = points->buckets[bucket];
    size_t high = points->buckets[bucket + 1]; /* what is not found in the bucket begins a later one */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (points->values[middle] < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The index of a point's endpoint. */
static inline size_t weft__points_endpoint(const weft__points *points, size_t at)
{
    return (size_t)(points->values[at] & points->index_mask);
}

#endif
