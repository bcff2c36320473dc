#include "memory.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct pool_block {
    alignas(max_align_t) struct pool_block *next;
} pool_block;

static _Noreturn void out_of_memory(void)
{
    fputs("out of memory\n", stderr);
    exit(EXIT_FAILURE);
}

void *pool_alloc(pool *p, size_t size)
{
    if (size > SIZE_MAX - sizeof(pool_block))
        out_of_memory();
    pool_block *block = calloc(1, sizeof *block + size);
    if (block == NULL)
        out_of_memory();
    block->next = p->blocks;
    p->blocks = block;
    return block + 1;
}

static void *allocator_alloc(void *data, size_t size)
{
    return pool_alloc(data, size);
}

static void allocator_free(void *data, void *pointer)
{
    (void)data;
    (void)pointer;
}

void pool_init(pool *p)
{
    *p = (pool){.allocator = {.alloc = allocator_alloc, .free = allocator_free, .allocator_data = p}};
}

void pool_fini(pool *p)
{
    while (p->blocks != NULL) {
        pool_block *next = p->blocks->next;
        free(p->blocks);
        p->blocks = next;
    }
}

static char *pool_vprintf(pool *p, size_t *size, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    if (length < 0)
        out_of_memory();
    *size = (size_t)length;
    char *result = pool_alloc(p, *size + 1);
    vsnprintf(result, *size + 1, format, again);
    va_end(again);
    return result;
}

char *pool_printf(pool *p, const char *format, ...)
{
    size_t size;
    va_list args;
    va_start(args, format);
    char *result = pool_vprintf(p, &size, format, args);
    va_end(args);
    return result;
}

text text_new(pool *p)
{
    return (text){.pool = p, .data = pool_alloc(p, 1), .capacity = 1};
}

void text_add_bytes(text *t, const void *bytes, size_t size)
{
    if (size >= SIZE_MAX / 2 - t->size)
        out_of_memory();
    if (t->size + size + 1 > t->capacity) {
        size_t capacity = 2 * (t->size + size + 1);
        char *data = pool_alloc(t->pool, capacity);
        memcpy(data, t->data, t->size);
        t->data = data;
        t->capacity = capacity;
    }
    if (size > 0)
        memcpy(t->data + t->size, bytes, size);
    t->size += size;
    t->data[t->size] = '\0';
}

void text_add(text *t, const char *s)
{
    text_add_bytes(t, s, strlen(s));
}

void text_printf(text *t, const char *format, ...)
{
    size_t size;
    va_list args;
    va_start(args, format);
    char *added = pool_vprintf(t->pool, &size, format, args);
    va_end(args);
    text_add_bytes(t, added, size);
}

void text_expand(text *t, const text_variable *variables, const char *template_)
{
    const char *rest = template_;
    for (;;) {
        size_t literal = strcspn(rest, "$");
        text_add_bytes(t, rest, literal);
        rest += literal;
        if (*rest == '\0')
            return;
        size_t length = strcspn(rest + 1, "$");
        const text_variable *v = variables;
        while (v->name != NULL && (strncmp(v->name, rest + 1, length) != 0 || v->name[length] != '\0'))
            v++;
        if (v->name == NULL) {
            fprintf(stderr, "protoc-gen-weft: template names %.*s, which is no variable\n", (int)length, rest + 1);
            exit(EXIT_FAILURE);
        }
        text_add(t, v->value);
        rest += length + 2;
    }
}
