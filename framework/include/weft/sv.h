/* weft/sv.h: a view of bytes that somebody else owns. */
#ifndef WEFT_SV_H
#define WEFT_SV_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <weft/version.h>

WEFT_BEGIN_DECLS

/**
 * `len` bytes at `data`, not necessarily text and not necessarily NUL-terminated. A view never owns its bytes.
 *
 * "Absent" is `data == NULL`; present but empty has `len == 0` and another `data`. Pass it by value.
 */
typedef struct weft_sv {
    const char *data;
    size_t len;
} weft_sv;

/* For printf: printf("%.*s", WEFT_SV_ARG(view)). */
#define WEFT_SV_ARG(sv) (int)(sv).len, (sv).data

/* A view of a C string; absent when `text` is NULL. */
static inline weft_sv weft_sv_from(const char *text)
{
    weft_sv view = {text, text != NULL ? strlen(text) : 0};
    return view;
}

/* A view of `len` bytes at `data`. */
static inline weft_sv weft_sv_of(const void *data, size_t len)
{
    weft_sv view = {(const char *)data, len};
    return view;
}

/* Whether two views hold the same bytes. Not constant in time: never compare secrets with it. */
static inline bool weft_sv_equal(weft_sv a, weft_sv b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Whether the view holds just the bytes of a C string. */
static inline bool weft_sv_is(weft_sv view, const char *text)
{
    return weft_sv_equal(view, weft_sv_from(text));
}

WEFT_END_DECLS
#endif
