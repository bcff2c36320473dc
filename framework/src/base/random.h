/* base/random.h: random numbers for jitter, picking and seeds, behind a vtable so that tests can repeat them.
 * Not for secrets: weft__random_secret is.
 */
#ifndef WEFT_BASE_RANDOM_H
#define WEFT_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include <weft/version.h>

typedef struct weft__random weft__random;

/* A source of one's own embeds this first. */
struct weft__random {
    uint64_t (*next)(weft__random *self); /* 64 random bits */
};

/* A source of which every thread has its own state, seeded by the kernel. Static. Thread: any; no lock.
 * A forked child repeats its parent's numbers. */
WEFT_API weft__random *weft__random_system(void);

/* A source that gives the same numbers for the same seed. Thread: one at a time. */
typedef struct weft__random_seeded {
    weft__random base;
    uint64_t state;
} weft__random_seeded;

/* @return `&source->base`. */
WEFT_API weft__random *weft__random_seed(weft__random_seeded *source, uint64_t seed);

/* A number below `limit`, all equally likely; 0 for a limit of 0. */
uint64_t weft__random_below(weft__random *random, uint64_t limit);

/* A number from 0 up to, but not including, 1. */
WEFT_API double weft__random_unit(weft__random *random);

/* Fills `n` bytes. */
void weft__random_bytes(weft__random *random, void *data, size_t n);

/* Fills `n` bytes that nobody can guess. @return 0, or -errno of getrandom. Blocks only early in a system's boot. */
int weft__random_secret(void *data, size_t n);

#endif
