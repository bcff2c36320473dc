/* base/uuid.h: a series of ids, with its clock and its chance from outside (weft/uuid.h has the process's own). */
#ifndef WEFT_BASE_UUID_H
#define WEFT_BASE_UUID_H

#include <weft/uuid.h>

/* The state of one series. All zeros begins one. */
typedef struct weft__uuid7_series {
    uint64_t last_ms;
    unsigned counter; /* 12 bits */
} weft__uuid7_series;

/**
 * The next id of a series, from what the clock says and from random bytes.
 *
 * @param random 10 of them.
 */
void weft__uuid7_next(weft__uuid7_series *series, uint64_t unix_ms, const uint8_t *random, uint8_t id[WEFT_UUID_BYTES]);

#endif
