/* points.c: points are counted by bucket, laid into their buckets, and sorted there: in linear time, because they are
 * spread evenly. A list of 10,000 endpoints is made anew whenever one of them connects.
 */
#include "pick/points.h"

#include <errno.h>
#include <stdlib.h>

/* Insertion sort: nothing has far to go. */
static void sort(uint64_t *values, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        uint64_t value = values[i];
        size_t at = i;
        for (; at > 0 && values[at - 1] > value; at--)
            values[at] = values[at - 1];
        values[at] = value;
    }
}

/* Moves the points from `from` to where they belong. */
static void lay(weft__points *points, const uint64_t *from)
{
    uint32_t *buckets = points->buckets;
    size_t bucket_count = (size_t)1 << (64 - points->bucket_shift);
    for (size_t i = 0; i < points->count; i++)
        buckets[(from[i] >> points->bucket_shift) + 1]++;
    for (size_t i = 0; i < bucket_count; i++)
        buckets[i + 1] += buckets[i];
    for (size_t i = 0; i < points->count; i++)
        points->values[buckets[from[i] >> points->bucket_shift]++] = from[i];
    for (size_t i = bucket_count; i > 0; i--) /* each says where it ends: where the next one begins */
        buckets[i] = buckets[i - 1];
    buckets[0] = 0;
    sort(points->values, points->count);
}

/* How many points each endpoint gets. Weights are read once: they may change. @return of all. */
static size_t count_points(weft__points *points, weft_endpoint *const *endpoints, size_t endpoint_count,
                           weft__points_share share, size_t *counts)
{
    double per_weight = (double)share.points / (double)share.weight;
    size_t total = 0;
    for (size_t i = 0; i < endpoint_count; i++) {
        counts[i] = weft_endpoint_weight(endpoints[i]);
        points->weights += (double)counts[i];
    }
    if (points->weights * per_weight > WEFT__MAX_POINTS)
        per_weight = WEFT__MAX_POINTS / points->weights;
    for (size_t i = 0; i < endpoint_count; i++) {
        size_t count = (size_t)((double)counts[i] * per_weight + 0.5);
        counts[i] = count > 0 ? count : 1;
        total += counts[i];
    }
    return total;
}

/* `values` has room for all, `counts` says how many each has. */
static void place_all(const weft__points *points, weft_endpoint *const *endpoints, size_t endpoint_count,
                      const size_t *counts, weft__points_place *place, uint64_t *values)
{
    for (size_t i = 0; i < endpoint_count; i++) {
        place(endpoints[i], i, values, counts[i]);
        for (size_t k = 0; k < counts[i]; k++)
            values[k] = (values[k] & ~points->index_mask) | i;
        values += counts[i];
    }
}

int weft__points_new(weft__points **out, weft_endpoint *const *endpoints, size_t endpoint_count,
                     weft__points_share share, weft__points_place *place)
{
    uint64_t *placed = NULL;
    size_t *counts = malloc(endpoint_count * sizeof *counts);
    weft__points *points = calloc(1, sizeof *points);
    if (counts == NULL || points == NULL)
        goto fail;
    while (points->index_mask < endpoint_count - 1)
        points->index_mask = points->index_mask << 1 | 1;
    points->count = count_points(points, endpoints, endpoint_count, share, counts);
    points->bucket_shift = 63;
    while ((uint64_t)1 << (64 - points->bucket_shift) < points->count)
        points->bucket_shift--;
    placed = malloc(points->count * sizeof *placed);
    points->values = calloc(points->count, sizeof *points->values);
    points->buckets = calloc(((size_t)1 << (64 - points->bucket_shift)) + 1, sizeof *points->buckets);
    if (placed == NULL || points->values == NULL || points->buckets == NULL)
        goto fail;
    place_all(points, endpoints, endpoint_count, counts, place, placed);
    lay(points, placed);
    free(placed);
    free(counts);
    *out = points;
    return 0;

fail:
    free(placed);
    free(counts);
    weft__points_free(points);
    return -ENOMEM;
}

void weft__points_free(weft__points *points)
{
    if (points == NULL)
        return;
    free(points->values);
    free(points->buckets);
    free(points);
}
