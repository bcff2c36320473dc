/* base/buf.h: a growing byte buffer with a maximum, for building text and messages.
 *
 * Failure sticks: after the first one nothing more is appended and every call returns it, so that a builder checks
 * once:
 *
 *     weft__buf buf;
 *     weft__buf_init(&buf, 4096);
 *     weft__buf_puts(&buf, "users/");
 *     weft__buf_append(&buf, id.data, id.len);
 *     rc = buf.failed;
 */
#ifndef WEFT_BASE_BUF_H
#define WEFT_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

#include <weft/version.h>

typedef struct weft__buf {
    char *data;  /* len bytes and a NUL; never NULL; not to be written while cap is 0 */
    size_t len;  /* without the NUL */
    size_t cap;  /* bytes at data, the NUL included; 0 before the first append */
    size_t max;  /* the largest len; 0 for no limit */
    char *block; /* the caller's block, or NULL */
    int failed;  /* the first failure, -ENOMEM or -E2BIG; 0 while there is none */
} weft__buf;

/* An empty buffer of at most `max` bytes (0: no limit). Allocates nothing yet. */
WEFT_API void weft__buf_init(weft__buf *buf, size_t max);

/* The same, but the first `size` bytes (at least 1) come from the caller's block, which outlives the buffer. */
WEFT_API void weft__buf_init_block(weft__buf *buf, size_t max, char *block, size_t size);

/* Frees what the buffer took from the heap. */
WEFT_API void weft__buf_fini(weft__buf *buf);

/* Empties it and forgets a failure; keeps the memory. */
WEFT_API void weft__buf_reset(weft__buf *buf);

/**
 * Makes room for `n` bytes more (and the NUL), so that they can be written at data + len. With 0 it does nothing.
 *
 * @return 0; -E2BIG over the maximum; -ENOMEM; or the failure that sticks. On failure the content stays as it was.
 */
WEFT_API int weft__buf_reserve(weft__buf *buf, size_t n);

/* Appends all of it or nothing. @return like weft__buf_reserve; printf also -EINVAL, for a text it cannot convert. */
WEFT_API int weft__buf_append(weft__buf *buf, const void *data, size_t n);
WEFT_API int weft__buf_puts(weft__buf *buf, const char *text);
int weft__buf_putc(weft__buf *buf, char c);
WEFT_API int weft__buf_printf(weft__buf *buf, const char *format, ...) WEFT_PRINTF(2, 3);
int weft__buf_vprintf(weft__buf *buf, const char *format, va_list args) WEFT_PRINTF(2, 0);

#endif
