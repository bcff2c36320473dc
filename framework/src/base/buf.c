#include "base/buf.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 64

/* What data points to while cap is 0. Never written, so that empty buffers of all threads may share it. */
static char nothing[1];

static int fail(weft__buf *buf, int rc)
{
    buf->failed = rc;
    return rc;
}

void weft__buf_init(weft__buf *buf, size_t max)
{
    *buf = (weft__buf){.data = nothing, .max = max};
}

void weft__buf_init_block(weft__buf *buf, size_t max, char *block, size_t size)
{
    *buf = (weft__buf){.data = block, .cap = size, .max = max, .block = block};
    block[0] = '\0';
}

void weft__buf_fini(weft__buf *buf)
{
    if (buf->data != buf->block && buf->cap > 0)
        free(buf->data);
    weft__buf_init(buf, buf->max);
}

void weft__buf_reset(weft__buf *buf)
{
    buf->len = 0;
    buf->failed = 0;
    if (buf->cap > 0)
        buf->data[0] = '\0';
}

int weft__buf_reserve(weft__buf *buf, size_t n)
{
    size_t max = buf->max > 0 && buf->max < SIZE_MAX / 2 ? buf->max : SIZE_MAX / 2;

    if (buf->failed != 0)
        return buf->failed;
    if (n > max - buf->len)
        return fail(buf, -E2BIG);
    if (n == 0 || n < buf->cap - buf->len)
        return 0;

    size_t need = buf->len + n;
    size_t len = buf->cap < max / 2 ? buf->cap * 2 : max; /* grows twofold, but not past the maximum */
    if (len < FIRST_CAP)
        len = FIRST_CAP;
    if (len < need)
        len = need;

    bool owned = buf->data != buf->block && buf->cap > 0;
    char *data = realloc(owned ? buf->data : NULL, len + 1);
    if (data == NULL)
        return fail(buf, -ENOMEM);
    if (!owned)
        memcpy(data, buf->data, buf->len + 1);
    buf->data = data;
    buf->cap = len + 1;
    return 0;
}

int weft__buf_append(weft__buf *buf, const void *data, size_t n)
{
    int rc = weft__buf_reserve(buf, n);

    if (rc < 0 || n == 0)
        return rc;
    memcpy(buf->data + buf->len, data, n);
    buf->len += n;
    buf->data[buf->len] = '\0';
    return 0;
}

int weft__buf_puts(weft__buf *buf, const char *text)
{
    return weft__buf_append(buf, text, strlen(text));
}

int weft__buf_putc(weft__buf *buf, char c)
{
    return weft__buf_append(buf, &c, 1);
}

int weft__buf_printf(weft__buf *buf, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int rc = weft__buf_vprintf(buf, format, args);
    va_end(args);
    return rc;
}

int weft__buf_vprintf(weft__buf *buf, const char *format, va_list args)
{
    va_list again;

    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    int rc = n >= 0 ? weft__buf_reserve(buf, (size_t)n) : fail(buf, -EINVAL);
    if (rc == 0 && n > 0) {
        vsnprintf(buf->data + buf->len, (size_t)n + 1, format, args);
        buf->len += (size_t)n;
    }
    return rc;
}
