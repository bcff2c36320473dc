/* base/thread.h: how the library starts a thread, and what a thread knows of itself. */
#ifndef WEFT_BASE_THREAD_H
#define WEFT_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include <weft/version.h>

/**
 * Starts a joinable thread with all signals blocked, so that the program's handlers never run on it.
 *
 * @param stack_bytes raised to what the system needs; 0 for the system's default.
 * @param name        shown by ps and gdb, its first 15 bytes; copied. May be NULL.
 * @return 0; -EAGAIN out of threads; -ENOMEM; -EINVAL.
 */
WEFT_API int weft__thread_start(pthread_t *out, size_t stack_bytes, const char *name, void *(*fn)(void *), void *arg);

/* Marks the calling thread as one that must not block (an engine's own, or one in an inline handler). */
WEFT_API void weft__thread_set_loop(bool loop);

/* Whether the calling thread is marked so. */
WEFT_API bool weft__thread_is_loop(void);

#endif
