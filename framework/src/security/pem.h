/* pem.h: reads PEM texts, and has OpenSSL check them. */
#ifndef WEFT_SECURITY_PEM_H
#define WEFT_SECURITY_PEM_H

#include <stdbool.h>
#include <stddef.h>

#include <weft/sv.h>
#include <weft/version.h>

#include "base/stamp.h"

/* Where the reason of a failure is written: NUL-terminated, cut to `size`. */
typedef struct weft__reason {
    char *text;
    size_t size;
} weft__reason;

/* Writes it, and returns `rc`. */
int weft__reason_tell(weft__reason reason, int rc, const char *format, ...) WEFT_PRINTF(3, 4);

/* Where a text comes from. */
typedef struct weft__pem_source {
    char *file;       /* or NULL: `text` is it */
    char *text;       /* or NULL: there is none */
    const char *name; /* for reasons: the file's, or the option's */
} weft__pem_source;

typedef struct weft__pem {
    char *text; /* NUL-terminated, no other NUL; NULL: there is none */
    weft__stamp stamp;
} weft__pem;

/* Reads a text anew. 0; -ENOMEM; -EFBIG; -EINVAL no regular file; -EBADMSG a NUL in it; -errno of open or read. */
int weft__pem_read(weft__pem *out, const weft__pem_source *source, weft__reason reason);

/* Erases and frees it. */
void weft__pem_fini(weft__pem *pem);

/* Whether a TLS connection can be made with this certificate, those that follow it, and this key. 0; -EBADMSG;
 * -EKEYREJECTED; -EKEYEXPIRED; -ENOMEM. The names are for reasons. */
int weft__pem_check_own(const char *certificates, const char *certificates_name, const char *key, const char *key_name,
                        weft__reason reason);

/* Whether these are certificates, one at least. 0; -EBADMSG; -ENOMEM. */
int weft__pem_check_roots(const char *roots, const char *name, weft__reason reason);

#endif
