/* weft/arena.h: memory that is freed all at once.
 *
 * Every call has an arena (weft_call_arena); what a handler allocates from it dies with the call, so handlers free
 * nothing. A client makes one for the results of its calls, on the stack if it likes:
 *
 *     char block[4096];
 *     weft_arena *arena;
 *     int rc = weft_arena_init(&arena, block, sizeof block, 1 << 20);   // grows on the heap, to 1 MiB in all
 *     …
 *     weft_arena_fini(arena);
 */
#ifndef WEFT_ARENA_H
#define WEFT_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <weft/sv.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

typedef struct weft_arena weft_arena;

/* The smallest first block that weft_arena_init takes. */
#define WEFT_ARENA_MIN_BLOCK 256

/**
 * Makes an arena inside a block of the caller's; more blocks come from the heap as needed.
 *
 * @param out       the arena, which lies inside `block`.
 * @param block     aligned as malloc aligns, or any char array (the arena aligns it); outlives the arena.
 * @param size      bytes at `block`, WEFT_ARENA_MIN_BLOCK at least.
 * @param max_bytes what may be handed out until the next reset, in all blocks, padding to 16 bytes included; 0 for no
 *                  limit.
 * @return 0, or -EINVAL when `size` is too small.
 *
 * Limits: what the arena takes from the heap stays below twice max_bytes, or 8 KiB when that is more.
 * Thread: any; an arena belongs to one thread at a time.
 */
WEFT_API int weft_arena_init(weft_arena **out, void *block, size_t size, size_t max_bytes);

/* Frees all that the arena took from the heap. The first block is the caller's again. NULL is fine. */
WEFT_API void weft_arena_fini(weft_arena *arena);

/**
 * Makes an arena on the heap, with a first block of 1 KiB; otherwise like weft_arena_init.
 *
 * @return 0, or -ENOMEM. Free it with weft_arena_free.
 */
WEFT_API int weft_arena_new(weft_arena **out, size_t max_bytes);

/* Frees an arena of weft_arena_new and all that it handed out. NULL is fine. */
WEFT_API void weft_arena_free(weft_arena *arena);

/**
 * Allocates `size` bytes, aligned for any type; a size of 0 gives an address too, which nobody else has. Costs a few
 * nanoseconds while the current block has room.
 *
 * @return the memory, or NULL when the heap or the limit is exhausted. Failure sticks: every later allocation fails
 * too, so that a builder may check once, at the end, with weft_arena_failed.
 */
WEFT_API void *weft_arena_alloc(weft_arena *arena, size_t size);

/* The same, filled with zeros. */
WEFT_API void *weft_arena_zalloc(weft_arena *arena, size_t size);

/* `count` elements of `size` bytes, zeroed; NULL also when the product overflows. */
WEFT_API void *weft_arena_calloc(weft_arena *arena, size_t count, size_t size);

/* A copy of `size` bytes, or NULL. */
WEFT_API void *weft_arena_memdup(weft_arena *arena, const void *data, size_t size);

/* A NUL-terminated copy of a C string, or NULL. */
WEFT_API char *weft_arena_strdup(weft_arena *arena, const char *text);

/* A NUL-terminated copy of a view, or NULL. */
WEFT_API char *weft_arena_svdup(weft_arena *arena, weft_sv view);

/* Formats into the arena. @return the text, or NULL. */
WEFT_API char *weft_arena_printf(weft_arena *arena, const char *format, ...) WEFT_PRINTF(2, 3);
WEFT_API char *weft_arena_vprintf(weft_arena *arena, const char *format, va_list args) WEFT_PRINTF(2, 0);

/* Forgets all allocations and a failure, and keeps the first block; the other blocks go back to the heap. */
WEFT_API void weft_arena_reset(weft_arena *arena);

/* Whether an allocation has failed since the last reset. */
WEFT_API bool weft_arena_failed(const weft_arena *arena);

/* Bytes handed out since the last reset, padding included. */
WEFT_API size_t weft_arena_used(const weft_arena *arena);

/**
 * The arena as protobuf-c's allocator: `x__unpack(weft_arena_allocator(arena), n, bytes)` needs no free_unpacked.
 *
 * @return an allocator that lives as long as the arena; its free does nothing.
 */
WEFT_API ProtobufCAllocator *weft_arena_allocator(weft_arena *arena);

WEFT_END_DECLS
#endif
