/* Design notes
 *
 *     first block (the caller's, or of weft_arena_new)        heap blocks, newest first
 *     +-------+------------------------------------+      +------+-----------------+
 *     | arena | handed out ... | next ....... end  |      | link | handed out ...  |
 *     +-------+------------------------------------+      +------+-----------------+
 *
 * Invariants:
 * - next and end are aligned (ALIGN), so that a request which fits the gap between them still fits when rounded up.
 * - end is also where the limit strikes: the gap is never wider than what may still be handed out. The fast path
 *   therefore makes one comparison, and that one answers "is there room", "is it allowed" and "has it failed before":
 *   after a failure the gap is empty.
 * - `settled` counts what was handed out up to `mark`; what lies from `mark` to `next` comes on top.
 *
 * A request that does not fit opens the next block, which is as large as all before it, and leaves what was left of the
 * gap; or, when it is larger than a quarter of that, gets a block of its own, and the gap stays in use. So what is
 * wasted stays below what is handed out.
 */
#include <weft/arena.h>

#include <errno.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define ALIGN           alignof(max_align_t)
#define NEW_BLOCK_BYTES 1024               /* the first block of weft_arena_new */
#define MIN_BLOCK_BYTES 4096               /* the first block from the heap */
#define MAX_MAX_BYTES   (SIZE_MAX / 4 + 1) /* no limit: sums of sizes below it cannot overflow */
#define MAX_BLOCK_BYTES ((size_t)1 << 20)  /* the largest, but for what is larger itself */

/* Under AddressSanitizer, memory that is not handed out is out of bounds. */
#if defined(__SANITIZE_ADDRESS__)
#define WEFT_ARENA_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEFT_ARENA_POISON 1
#endif
#endif
#ifdef WEFT_ARENA_POISON
#include <sanitizer/asan_interface.h>
#define POISON(from, to)   __asan_poison_memory_region((from), (size_t)((to) - (from)))
#define UNPOISON(from, to) __asan_unpoison_memory_region((from), (size_t)((to) - (from)))
#else
#define POISON(from, to)   ((void)(from), (void)(to))
#define UNPOISON(from, to) ((void)(from), (void)(to))
#endif

typedef struct weft_arena_block {
    alignas(max_align_t) struct weft_arena_block *older;
} weft_arena_block;

struct weft_arena {
    char *next;
    char *end;
    char *mark;
    size_t settled;
    size_t max_bytes;         /* a multiple of ALIGN */
    weft_arena_block *blocks; /* from the heap */
    char *first_end;          /* of the first block */
    bool failed;
    ProtobufCAllocator allocator;
};

static_assert(sizeof(weft_arena) + 2 * ALIGN < WEFT_ARENA_MIN_BLOCK, "the smallest block has room behind the header");

static inline size_t round_up(size_t size)
{
    return (size + (ALIGN - 1)) & ~(ALIGN - 1);
}

/* The first byte behind the header. */
static inline char *first_begin(weft_arena *arena)
{
    return (char *)arena + round_up(sizeof *arena);
}

static inline size_t used(const weft_arena *arena)
{
    return arena->settled + (size_t)(arena->next - arena->mark);
}

/* Makes begin..end the gap, cut to what the limit leaves. */
static void open_gap(weft_arena *arena, char *begin, char *end)
{
    size_t left = arena->max_bytes - arena->settled;

    POISON(begin, end);
    arena->next = begin;
    arena->mark = begin;
    arena->end = (size_t)(end - begin) > left ? begin + left : end;
}

static void *fail(weft_arena *arena)
{
    arena->settled = used(arena);
    arena->mark = arena->next;
    arena->end = arena->next;
    arena->failed = true;
    return NULL;
}

/* As large as all that was handed out, so that the number of blocks grows with the logarithm of the size. */
static size_t next_block_bytes(const weft_arena *arena)
{
    size_t bytes = used(arena);

    return bytes < MIN_BLOCK_BYTES ? MIN_BLOCK_BYTES : bytes < MAX_BLOCK_BYTES ? bytes : MAX_BLOCK_BYTES;
}

static void *alloc_slow(weft_arena *arena, size_t size);

static inline void *alloc(weft_arena *arena, size_t size)
{
    char *memory = arena->next;

    if (size - 1 >= (size_t)(arena->end - memory)) /* a size of 0 wraps round and goes the slow way */
        return alloc_slow(arena, size);
    arena->next = memory + round_up(size);
    UNPOISON(memory, memory + size);
    return memory;
}

/* The request does not fit the gap, or is 0. */
static void *alloc_slow(weft_arena *arena, size_t size)
{
    size_t left = arena->max_bytes - used(arena);

    if (arena->failed)
        return NULL;
    if (size == 0)
        return alloc(arena, 1);
    if (size > left)
        return fail(arena);

    size_t bytes = next_block_bytes(arena);
    bool own_block = size > bytes / 4;
    if (own_block)
        bytes = round_up(size);
    if (bytes > left)
        bytes = left;
    weft_arena_block *block = malloc(sizeof *block + bytes);
    if (block == NULL)
        return fail(arena);
    block->older = arena->blocks;
    arena->blocks = block;
    char *begin = (char *)(block + 1);
    if (own_block) {
        arena->settled += bytes;
        left -= bytes; /* the limit now leaves less for the gap */
        if ((size_t)(arena->end - arena->next) > left)
            arena->end = arena->next + left;
        return begin;
    }
    arena->settled = used(arena);
    open_gap(arena, begin, begin + bytes);
    return alloc(arena, size);
}

void *weft_arena_alloc(weft_arena *arena, size_t size)
{
    return alloc(arena, size);
}

void *weft_arena_zalloc(weft_arena *arena, size_t size)
{
    void *memory = alloc(arena, size);

    return memory != NULL ? memset(memory, 0, size) : NULL;
}

void *weft_arena_calloc(weft_arena *arena, size_t count, size_t size)
{
    if (size > 0 && count > SIZE_MAX / size)
        return fail(arena);
    return weft_arena_zalloc(arena, count * size);
}

void *weft_arena_memdup(weft_arena *arena, const void *data, size_t size)
{
    void *memory = alloc(arena, size);

    return memory != NULL && size > 0 ? memcpy(memory, data, size) : memory;
}

char *weft_arena_strdup(weft_arena *arena, const char *text)
{
    return weft_arena_memdup(arena, text, strlen(text) + 1);
}

char *weft_arena_svdup(weft_arena *arena, weft_sv view)
{
    char *text = view.len < SIZE_MAX ? alloc(arena, view.len + 1) : fail(arena);

    if (text == NULL)
        return NULL;
    if (view.len > 0)
        memcpy(text, view.data, view.len);
    text[view.len] = '\0';
    return text;
}

char *weft_arena_printf(weft_arena *arena, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    char *text = weft_arena_vprintf(arena, format, args);
    va_end(args);
    return text;
}

char *weft_arena_vprintf(weft_arena *arena, const char *format, va_list args)
{
    va_list again;

    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = len >= 0 ? alloc(arena, (size_t)len + 1) : fail(arena);
    if (text != NULL)
        vsnprintf(text, (size_t)len + 1, format, args);
    return text;
}

static void *allocator_alloc(void *arena, size_t size)
{
    return alloc(arena, size);
}

static void allocator_free(void *arena, void *memory)
{
    (void)arena;
    (void)memory;
}

/* As after init: nothing handed out, no heap blocks. */
static void start_over(weft_arena *arena)
{
    arena->settled = 0;
    arena->failed = false;
    arena->blocks = NULL;
    open_gap(arena, first_begin(arena), arena->first_end);
}

static void free_blocks(weft_arena *arena)
{
    for (weft_arena_block *block = arena->blocks, *older; block != NULL; block = older) {
        older = block->older;
        free(block);
    }
}

int weft_arena_init(weft_arena **out, void *block, size_t size, size_t max_bytes)
{
    size_t skip = (ALIGN - (uintptr_t)block % ALIGN) % ALIGN;

    if (size < WEFT_ARENA_MIN_BLOCK)
        return -EINVAL;
    weft_arena *arena = (weft_arena *)(void *)((char *)block + skip);
    *arena = (weft_arena){
        .max_bytes = max_bytes > 0 && max_bytes < MAX_MAX_BYTES ? round_up(max_bytes) : MAX_MAX_BYTES,
        .first_end = (char *)arena + ((size - skip) & ~(ALIGN - 1)),
        .allocator = {.alloc = allocator_alloc, .free = allocator_free, .allocator_data = arena},
    };
    start_over(arena);
    *out = arena;
    return 0;
}

void weft_arena_fini(weft_arena *arena)
{
    if (arena == NULL)
        return;
    free_blocks(arena);
    UNPOISON(first_begin(arena), arena->first_end);
}

int weft_arena_new(weft_arena **out, size_t max_bytes)
{
    void *block = malloc(NEW_BLOCK_BYTES);

    if (block == NULL)
        return -ENOMEM;
    return weft_arena_init(out, block, NEW_BLOCK_BYTES, max_bytes);
}

void weft_arena_free(weft_arena *arena)
{
    weft_arena_fini(arena);
    free(arena); /* malloc aligned the block, so that the arena lies at its begin */
}

void weft_arena_reset(weft_arena *arena)
{
    free_blocks(arena);
    start_over(arena);
}

bool weft_arena_failed(const weft_arena *arena)
{
    return arena->failed;
}

size_t weft_arena_used(const weft_arena *arena)
{
    return used(arena);
}

ProtobufCAllocator *weft_arena_allocator(weft_arena *arena)
{
    return &arena->allocator;
}
