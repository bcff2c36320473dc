/* count.h: counts what a program allocates and locks, by standing in front of libc's functions. */
#ifndef WEFT_BENCH_LAYERS_COUNT_H
#define WEFT_BENCH_LAYERS_COUNT_H

#include <stdint.h>

/* Calls of malloc, calloc, realloc and aligned_alloc, and of pthread_mutex_lock, since the program began. All threads.
 */
uint64_t count_allocations(void);
uint64_t count_locks(void);

#endif
