/* base/json_read.h: reads JSON text (RFC 8259) into a tree that knows where each value stood, so that whoever goes
 * over it can say where a mistake is.
 */
#ifndef WEFT_BASE_JSON_READ_H
#define WEFT_BASE_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/arena.h>
#include <weft/sv.h>
#include <weft/version.h>

#include "base/buf.h"

#define WEFT__JSON_MAX_DEPTH   32
#define WEFT__JSON_MAX_MEMBERS 1000 /* of one object: each is compared with those before it */

typedef enum weft__json_kind {
    WEFT__JSON_NULL,
    WEFT__JSON_BOOL,
    WEFT__JSON_NUMBER,
    WEFT__JSON_STRING,
    WEFT__JSON_LIST,
    WEFT__JSON_OBJECT
} weft__json_kind;

typedef struct weft__json_node weft__json_node;

struct weft__json_node {
    weft__json_kind kind;
    uint32_t line, column;  /* from 1; columns count bytes */
    weft_sv key;            /* of an object's member; else absent */
    weft_sv text;           /* a STRING without its escapes, with a NUL after it and none in it; a NUMBER as written */
    double number;          /* of a NUMBER, maybe infinite; of a BOOL 0 or 1 */
    weft__json_node *first; /* of a LIST or OBJECT: what is in it, in order; no key is there twice */
    weft__json_node *next;
};

/**
 * Reads a text that is one JSON value.
 *
 * @param arena  holds the tree.
 * @param errors gets a line "line:column: …" for what is wrong; reading ends there.
 * @return 0; -EINVAL; -ENOMEM.
 */
WEFT_API int weft__json_read(weft__json_node **out, weft_arena *arena, weft_sv text, weft__buf *errors);

/* Adds "line:column: path: …" to the errors, or nothing if that does not fit. */
void weft__json_report(weft__buf *errors, uint32_t line, uint32_t column, const char *path, const char *format, ...)
    WEFT_PRINTF(5, 6);

/* Appends what a value is, for people: its text, cut, or "a list". */
void weft__json_show(weft__buf *buf, const weft__json_node *node);

#endif
