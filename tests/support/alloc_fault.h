/* support/alloc_fault.h: makes the N-th allocation fail, and counts what is not freed.
 *
 * A test that lists weft_test_alloc_fault under LIBS is linked so that malloc and its kin, called from the test or from
 * Weft's static libraries, come by here first; calls from shared libraries do not. Works under the sanitizers and
 * valgrind too.
 */
#ifndef WEFT_TEST_ALLOC_FAULT_H
#define WEFT_TEST_ALLOC_FAULT_H

#include <stdbool.h>
#include <stddef.h>

/* Blocks allocated and not freed. */
long weft_test_alloc_live(void);

/* Allocations made so far, to show that something makes none. */
long weft_test_alloc_count(void);

/* Bytes of the largest block asked for since this was called before. */
size_t weft_test_alloc_largest(void);

/* The `n`-th allocation from now, by any thread, fails (1: the next one). 0: none does. */
void weft_test_alloc_fail_at(long n);

/* The same, and so does every one after it. */
void weft_test_alloc_fail_from(long n);

/* Whether one has failed since it was last told to. */
bool weft_test_alloc_failed(void);

/* The `n`-th pthread_create from now fails with EAGAIN (1: the next one). 0: none does. */
void weft_test_thread_fail_at(long n);

/**
 * Runs a scenario again and again, with the first allocation failing, then the second, until it comes through without
 * a failure; and once more with all later ones failing too. Each run must return -ENOMEM if an allocation failed and 0
 * if none did, and leave as many live blocks behind as it found. Fails the test otherwise.
 *
 * @return how many allocations the scenario makes, so that the test can tell that it is not blind.
 */
long weft_test_oom_sweep(int (*scenario)(void *context), void *context);

/* The same for a scenario that tries again what has failed: it may return 0 when one allocation has failed. */
long weft_test_oom_sweep_mending(int (*scenario)(void *context), void *context);

#endif
