/* symbols.h: what a server's files declare, by name. Filled once, then only read. */
#ifndef WEFT_BUILTIN_SYMBOLS_H
#define WEFT_BUILTIN_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>

#include <weft/arena.h>
#include <weft/method.h>

#include "base/list.h"
#include "base/table.h"

typedef struct weft__known_file weft__known_file;

/* A name, and where it is declared. */
typedef struct weft__symbol {
    const weft__known_file *file;
    bool message; /* it is that of a message type */
} weft__symbol;

struct weft__known_file {
    weft__list_node node;
    const weft_file *file;
    size_t index;                   /* from 0, in the order they came in */
    const weft__known_file **needs; /* itself first, then all it imports, directly or not, each once */
    size_t need_count;
    weft__symbol message; /* what the table of symbols points at */
    weft__symbol other;
    size_t mark;
};

typedef struct weft__symbols {
    weft_arena *arena; /* of files and names; for what shall live as long, too */
    weft__list files;
    size_t file_count;
    weft__table by_file_name;
    weft__table by_name;
} weft__symbols;

/* Nothing is known. All zeros is the same. */
void weft__symbols_fini(weft__symbols *symbols);

/* An empty set: 0; -ENOMEM. */
int weft__symbols_init(weft__symbols *symbols);

/* Adds a file and all it imports. Of two of one name the first counts, and so it does of two symbols. 0; -ENOMEM;
 * -EBADMSG its descriptor is none. After a failure the set is good for weft__symbols_fini only. */
int weft__symbols_add(weft__symbols *symbols, const weft_file *file);

/* After the last add: fills `needs`. 0; -ENOMEM. */
int weft__symbols_link(weft__symbols *symbols);

/* By its name, "user.proto", or NULL. */
const weft__known_file *weft__symbols_file(const weft__symbols *symbols, const char *name);

/* By its full name: service, method, message, field, oneof, enum or enum value. NULL: nobody declares it. */
const weft__symbol *weft__symbols_find(const weft__symbols *symbols, const char *name);

#endif
