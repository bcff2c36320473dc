/* SipHash-1-3 by Aumasson and Bernstein: one round a word of 8 bytes, three to finish. */
#include "base/hash.h"

static inline uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void round_of(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

/* Eight bytes as a little-endian number. Compilers make one load of it. */
static inline uint64_t load64(const unsigned char *b)
{
    return (uint64_t)b[0] | (uint64_t)b[1] << 8 | (uint64_t)b[2] << 16 | (uint64_t)b[3] << 24 | (uint64_t)b[4] << 32 |
           (uint64_t)b[5] << 40 | (uint64_t)b[6] << 48 | (uint64_t)b[7] << 56;
}

/* The last `n` bytes, 7 at most, of `len` that end at `end`, as a little-endian number. */
static inline uint64_t load_tail(const unsigned char *end, size_t n, size_t len)
{
    uint64_t word = 0;

    if (n > 0 && len >= 8)
        return load64(end - 8) >> (64 - 8 * n);
    for (size_t i = 0; i < n; i++)
        word |= (uint64_t)(end - n)[i] << (8 * i);
    return word;
}

uint64_t weft__hash(const uint64_t key[2], const void *data, size_t len)
{
    const unsigned char *bytes = len > 0 ? data : (const void *)""; /* no arithmetic on NULL */
    uint64_t v[4] = {key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
                     key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};
    size_t tail = len & 7;

    for (const unsigned char *end = bytes + (len - tail); bytes != end; bytes += 8) {
        uint64_t word = load64(bytes);
        v[3] ^= word;
        round_of(v);
        v[0] ^= word;
    }
    uint64_t word = (uint64_t)len << 56 | load_tail(bytes + tail, tail, len);
    v[3] ^= word;
    round_of(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        round_of(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
