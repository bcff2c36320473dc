/* base/hash.h: SipHash-1-3, a keyed hash: who does not know the key cannot make keys that collide. */
#ifndef WEFT_BASE_HASH_H
#define WEFT_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include <weft/version.h>

WEFT_API uint64_t weft__hash(const uint64_t key[2], const void *data, size_t len);

#endif
