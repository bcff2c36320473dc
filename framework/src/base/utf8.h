/* utf8.h: whether bytes are UTF-8 (RFC 3629: no surrogates, nothing above U+10FFFF, shortest form only). */
#ifndef WEFT_BASE_UTF8_H
#define WEFT_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include <weft/version.h>

/* Whether all of it is UTF-8. Nothing is. */
WEFT_API bool weft__is_utf8(const char *text, size_t len);

/* The length of the valid sequence at `text` (1..4), or 0 when the bytes there are none. `len` > 0. */
size_t weft__utf8_sequence(const char *text, size_t len);

/* The largest length up to `max` at which UTF-8 text of `len` bytes can be cut without cutting a sequence. */
size_t weft__utf8_cut(const char *text, size_t len, size_t max);

/* Replaces every byte that belongs to no valid sequence by '?'. */
void weft__utf8_repair(char *text, size_t len);

#endif
