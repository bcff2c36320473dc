/* call/gzip.h: messages as gzip (RFC 1952), with a bound on what comes out. */
#ifndef WEFT_CALL_GZIP_H
#define WEFT_CALL_GZIP_H

#include <stddef.h>
#include <stdint.h>

/**
 * Compresses `len` bytes (at most UINT32_MAX) into `room` bytes at `out`.
 *
 * @return 0, and `out_len` is set; -ENOSPC they do not fit; -ENOMEM. Thread: any.
 */
int weft__gzip_deflate(const uint8_t *data, size_t len, uint8_t *out, size_t room, size_t *out_len);

/**
 * Decompresses `len` bytes: one gzip member or several, which are joined, and nothing else.
 *
 * @param out     a block of malloc, the caller's to free; never NULL on success.
 * @param out_len how much of it is the message.
 * @return 0; -EMSGSIZE it is more than `max_bytes` (and that was found out at the cost of `max_bytes`, not of all that
 *         the gzip holds); -EBADMSG not whole gzip, or more than 4 GiB of it; -ENOMEM. Thread: any.
 */
int weft__gzip_inflate(const uint8_t *data, size_t len, int64_t max_bytes, uint8_t **out, size_t *out_len);

#endif
