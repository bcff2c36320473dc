/* base/json_write.h: writes JSON into a buffer, one value after the other; commas come by themselves:
 *
 *     weft__json json = {.buf = &buf};
 *     weft__json_begin_object(&json);
 *     weft__json_key(&json, weft_sv_from("port"));
 *     weft__json_int(&json, 50051);
 *     weft__json_end_object(&json);
 *
 * Whether all of it fitted, the buffer knows (buf.failed). Nesting and keys are for the caller to get right.
 */
#ifndef WEFT_BASE_JSON_WRITE_H
#define WEFT_BASE_JSON_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include <weft/sv.h>
#include <weft/version.h>

typedef struct weft__json {
    weft__buf *buf;
    bool comma; /* a comma is due before the next value or key */
} weft__json;

WEFT_API void weft__json_begin_object(weft__json *json);
WEFT_API void weft__json_end_object(weft__json *json);
WEFT_API void weft__json_begin_array(weft__json *json);
WEFT_API void weft__json_end_array(weft__json *json);
WEFT_API void weft__json_key(weft__json *json, weft_sv key);
WEFT_API void weft__json_string(weft__json *json, weft_sv value); /* absent: null */
WEFT_API void weft__json_int(weft__json *json, int64_t value);
void weft__json_uint(weft__json *json, uint64_t value);
void weft__json_double(weft__json *json, double value); /* "NaN", "Infinity", "-Infinity" as strings */
WEFT_API void weft__json_bool(weft__json *json, bool value);
void weft__json_null(weft__json *json);

/**
 * Appends text as it stands inside a JSON string, without the quotes: quote, backslash and control characters (C0, DEL,
 * C1) escaped, every byte that is not UTF-8 as \ufffd. Stops before the character that would make it longer than
 * `room`.
 *
 * @return how many bytes of `text` went in.
 */
size_t weft__json_escape(weft__buf *buf, weft_sv text, size_t room);

#endif
