/* gzip.c: messages as gzip, over zlib.
 *
 * Design notes
 * - What comes out is limited, not what goes in: a few KiB can hold gigabytes. Inflating stops one byte past the limit.
 * - The block to inflate into is as large as the end of the gzip says that the message is, but no larger than the
 *   limit, nor than deflate could have made of so few bytes, for it may lie. Only for one that lies, and for joined
 *   members, the block grows, to twice its size each time.
 * - A short message takes a small window and small tables: zlib's own are 256 KiB, to be set up for every message.
 */
#include "call/gzip.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

enum {
    GZIP = 16, /* added to the bits of a window: gzip's header and trailer, not zlib's */
    MIN_WINDOW_BITS = 9,
    MAX_WINDOW_BITS = 15,
    MAX_RATIO = 1032, /* deflate's: two bits for 258 bytes */
    SIZE_BYTES = 4    /* at the end of a member: its size, modulo 2^32 */
};

/* zlib's allocations, made here so that a test can fail them too. */
static voidpf allocate(voidpf user, uInt items, uInt size)
{
    (void)user;
    return malloc((size_t)items * size);
}

static void release(voidpf user, voidpf block)
{
    (void)user;
    free(block);
}

static void set_up(z_stream *z, const uint8_t *data, size_t len)
{
    memset(z, 0, sizeof *z);
    z->zalloc = allocate;
    z->zfree = release;
    z->next_in = (Bytef *)(uintptr_t)data; /* zlib only reads it */
    z->avail_in = (uInt)len;
}

/* zlib's type for sizes is 32 bits wide. */
static uInt at_most_uint(size_t size)
{
    return size < UINT_MAX ? (uInt)size : UINT_MAX;
}

/* ---- deflate ----------------------------------------------------------------------------------------------------- */

static int window_bits(size_t len)
{
    int bits = MIN_WINDOW_BITS;
    while (bits < MAX_WINDOW_BITS && ((size_t)1 << bits) < len)
        bits++;
    return bits;
}

int weft__gzip_deflate(const uint8_t *data, size_t len, uint8_t *out, size_t room, size_t *out_len)
{
    z_stream z;
    int bits = window_bits(len);
    set_up(&z, data, len);
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, bits + GZIP, bits - 7, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    z.next_out = out;
    z.avail_out = at_most_uint(room);
    int end = deflate(&z, Z_FINISH);
    size_t written = (size_t)(z.next_out - out);
    (void)deflateEnd(&z);
    if (end != Z_STREAM_END)
        return -ENOSPC;
    *out_len = written;
    return 0;
}

/* ---- inflate ----------------------------------------------------------------------------------------------------- */

/* What has come out so far. */
struct output {
    uint8_t *data;
    size_t len;
    size_t room;
    size_t max_room; /* one byte more than the limit */
};

static int grow(struct output *output, size_t room)
{
    if (room > output->max_room)
        room = output->max_room;
    uint8_t *data = realloc(output->data, room);
    if (data == NULL)
        return -ENOMEM;
    output->data = data;
    output->room = room;
    return 0;
}

/* Room for what the gzip says it holds, and a byte more, so that its end is seen in one go. */
static size_t first_room(const uint8_t *data, size_t len)
{
    if (len < SIZE_BYTES)
        return 1;
    const uint8_t *at = data + len - SIZE_BYTES;
    uint64_t said = (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 | (uint64_t)at[3] << 24;
    uint64_t possible = (uint64_t)len * MAX_RATIO;
    return (size_t)(said < possible ? said : possible) + 1;
}

/* Goes on until the room is full or there is no more: what zlib says. */
static int inflate_some(z_stream *z, struct output *output)
{
    z->next_out = output->data + output->len;
    z->avail_out = at_most_uint(output->room - output->len);
    int rc = inflate(z, Z_FINISH);
    output->len = (size_t)(z->next_out - output->data);
    return rc;
}

static int inflate_all(z_stream *z, struct output *output)
{
    for (;;) {
        int rc = output->len == output->room ? Z_BUF_ERROR : inflate_some(z, output);
        if (output->len == output->max_room)
            return -EMSGSIZE;
        if (rc == Z_STREAM_END && z->avail_in == 0)
            return 0;
        if (rc == Z_STREAM_END && inflateReset(z) == Z_OK)
            continue; /* what follows is another member */
        if (rc == Z_MEM_ERROR)
            return -ENOMEM;
        if (rc != Z_BUF_ERROR || z->avail_out > 0) /* broken, or cut off */
            return -EBADMSG;
        if (output->len == output->room && grow(output, 2 * output->room) < 0)
            return -ENOMEM;
    }
}

int weft__gzip_inflate(const uint8_t *data, size_t len, int64_t max_bytes, uint8_t **out, size_t *out_len)
{
    struct output output = {.max_room = (uint64_t)max_bytes < SIZE_MAX / 2 ? (size_t)max_bytes + 1 : SIZE_MAX / 2};
    z_stream z;
    if (len > UINT_MAX)
        return -EBADMSG;
    set_up(&z, data, len);
    if (inflateInit2(&z, MAX_WINDOW_BITS + GZIP) != Z_OK)
        return -ENOMEM;
    int rc = grow(&output, first_room(data, len));
    if (rc == 0)
        rc = inflate_all(&z, &output);
    (void)inflateEnd(&z);
    if (rc < 0) {
        free(output.data);
        return rc;
    }
    *out = output.data;
    *out_len = output.len;
    return 0;
}
