/* memory.h: where the plugin's data lives. A plugin runs once and ends, so everything lies in one pool that is freed at
 * the end, and running out of memory ends the program with a message: no caller checks for NULL. */
#ifndef PROTOC_GEN_WEFT_MEMORY_H
#define PROTOC_GEN_WEFT_MEMORY_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#include <weft/version.h>

typedef struct pool {
    struct pool_block *blocks;
    ProtobufCAllocator allocator; /* the pool as protobuf-c's allocator */
} pool;

void pool_init(pool *p);
void pool_fini(pool *p);

/* `size` zeroed bytes. */
void *pool_alloc(pool *p, size_t size);
char *pool_printf(pool *p, const char *format, ...) WEFT_PRINTF(2, 3);

/* A text that grows. `data` is NUL-terminated; it lives in the pool. */
typedef struct text {
    pool *pool;
    char *data;
    size_t size; /* without the NUL */
    size_t capacity;
} text;

text text_new(pool *p);
void text_add(text *t, const char *s);
void text_add_bytes(text *t, const void *bytes, size_t size);
void text_printf(text *t, const char *format, ...) WEFT_PRINTF(2, 3);

/* A name in a template and what stands for it. */
typedef struct text_variable {
    const char *name;
    const char *value;
} text_variable;

/* Adds `template`, in which every $name$ is one of the variables; the list ends with a NULL name. */
void text_expand(text *t, const text_variable *variables, const char *template_);

#endif
