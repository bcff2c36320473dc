#include "base/random.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"

static inline uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

/* splitmix64 by Vigna: any state will do, also 0. */
static uint64_t splitmix_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* xoshiro256** by Blackman and Vigna: its state must not be all zeros. */
static uint64_t xoshiro_next(uint64_t s[4])
{
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

int weft__random_secret(void *data, size_t n)
{
    unsigned char *bytes = data;

    while (n > 0) {
        ssize_t got = getrandom(bytes, n, 0);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got > 0) {
            bytes += got;
            n -= (size_t)got;
        }
    }
    return 0;
}

static uint64_t system_next(weft__random *self)
{
    static _Thread_local uint64_t state[4];
    static _Thread_local bool seeded;

    (void)self;
    if (!seeded) {
        if (weft__random_secret(state, sizeof state) < 0) { /* a kernel or sandbox without getrandom */
            weft__clock *clock = weft__clock_system();
            uint64_t mix = (uint64_t)clock->now_ns(clock) ^ (uint64_t)(uintptr_t)state;
            for (int i = 0; i < 4; i++)
                state[i] = splitmix_next(&mix);
        }
        state[0] |= 1;
        seeded = true;
    }
    return xoshiro_next(state);
}

weft__random *weft__random_system(void)
{
    static weft__random system = {.next = system_next};

    return &system;
}

static uint64_t seeded_next(weft__random *self)
{
    return splitmix_next(&((weft__random_seeded *)(void *)self)->state);
}

weft__random *weft__random_seed(weft__random_seeded *source, uint64_t seed)
{
    source->base.next = seeded_next;
    source->state = seed;
    return &source->base;
}

uint64_t weft__random_below(weft__random *random, uint64_t limit)
{
    if (limit == 0)
        return 0;

    /* 2^64 is no multiple of `limit`: numbers below the remainder would favour some results and are drawn again. The
     * bound is for a source that is stuck; a sound one gets that far once in 2^100 times. */
    uint64_t remainder = (0 - limit) % limit;
    uint64_t x = random->next(random);
    for (int i = 0; x < remainder && i < 100; i++)
        x = random->next(random);
    return x % limit;
}

double weft__random_unit(weft__random *random)
{
    return (double)(random->next(random) >> 11) * 0x1p-53;
}

void weft__random_bytes(weft__random *random, void *data, size_t n)
{
    unsigned char *bytes = data;

    while (n > 0) {
        uint64_t word = random->next(random);
        size_t part = n < sizeof word ? n : sizeof word;
        memcpy(bytes, &word, part);
        bytes += part;
        n -= part;
    }
}
