/* The linker's --wrap=malloc sends calls of malloc to __wrap_malloc, and those of __real_malloc to the true one. */
#include "support/alloc_fault.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SWEEP_LIMIT 100000

static atomic_long live;
static atomic_long count;
static atomic_size_t largest;
static atomic_long countdown; /* the allocation at which it comes to 0 fails */
static atomic_bool sticky;
static atomic_bool failed;
static atomic_long thread_countdown;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *block, size_t size);
int __real_posix_memalign(void **out, size_t alignment, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *block);
int __real_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*fn)(void *), void *arg);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *block, size_t size);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t max);
void __wrap_free(void *block);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*fn)(void *), void *arg);

/* Counts an allocation. @return whether it is to fail. */
static bool strikes(size_t size)
{
    size_t before = atomic_load(&largest);
    while (size > before && !atomic_compare_exchange_weak(&largest, &before, size)) {
    }
    atomic_fetch_add(&count, 1);
    if (atomic_load(&countdown) <= 0)
        return atomic_load(&sticky) && atomic_load(&failed);
    if (atomic_fetch_sub(&countdown, 1) != 1)
        return false;
    atomic_store(&failed, true);
    return true;
}

static void *born(void *block)
{
    if (block != NULL)
        atomic_fetch_add(&live, 1);
    return block;
}

void *__wrap_malloc(size_t size)
{
    return strikes(size) ? NULL : born(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return strikes(n * size) ? NULL : born(__real_calloc(n, size));
}

void *__wrap_realloc(void *block, size_t size)
{
    if (strikes(size))
        return NULL;
    return block == NULL ? born(__real_realloc(NULL, size)) : __real_realloc(block, size);
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t size)
{
    if (strikes(size))
        return ENOMEM;
    int error = __real_posix_memalign(out, alignment, size);
    if (error == 0)
        born(*out);
    return error;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return strikes(size) ? NULL : born(__real_aligned_alloc(alignment, size));
}

char *__wrap_strndup(const char *text, size_t max)
{
    size_t len = strnlen(text, max);
    char *copy = __wrap_malloc(len + 1);

    if (copy == NULL)
        return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, SIZE_MAX);
}

void __wrap_free(void *block)
{
    if (block != NULL)
        atomic_fetch_sub(&live, 1);
    __real_free(block);
}

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*fn)(void *), void *arg)
{
    if (atomic_load(&thread_countdown) > 0 && atomic_fetch_sub(&thread_countdown, 1) == 1)
        return EAGAIN;
    return __real_pthread_create(out, attributes, fn, arg);
}

long weft_test_alloc_live(void)
{
    return atomic_load(&live);
}

long weft_test_alloc_count(void)
{
    return atomic_load(&count);
}

size_t weft_test_alloc_largest(void)
{
    return atomic_exchange(&largest, 0);
}

static void arm(long n, bool and_later)
{
    atomic_store(&countdown, 0); /* no strike while the rest is set */
    atomic_store(&failed, false);
    atomic_store(&sticky, and_later);
    atomic_store(&countdown, n);
}

void weft_test_alloc_fail_at(long n)
{
    arm(n, false);
}

void weft_test_alloc_fail_from(long n)
{
    arm(n, true);
}

bool weft_test_alloc_failed(void)
{
    return atomic_load(&failed);
}

void weft_test_thread_fail_at(long n)
{
    atomic_store(&thread_countdown, n);
}

/* One run. @return whether an allocation failed in it. */
static bool run(int (*scenario)(void *context), void *context, long n, bool and_later, bool mends)
{
    const char *more = and_later ? " and so do all after it" : "";
    long before = weft_test_alloc_live();

    arm(n, and_later);
    int rc = scenario(context);
    bool struck = weft_test_alloc_failed();
    arm(0, false);

    long left = weft_test_alloc_live() - before;
    if (rc != (struck ? -ENOMEM : 0) && !(struck && mends && rc == 0))
        fail_msg("allocation %ld fails%s: returned %d, not %d", n, more, rc, struck ? -ENOMEM : 0);
    if (left != 0)
        fail_msg("allocation %ld fails%s: %ld blocks are left", n, more, left);
    return struck;
}

static long sweep(int (*scenario)(void *context), void *context, bool mends)
{
    for (long n = 1; n <= SWEEP_LIMIT; n++) {
        bool struck = run(scenario, context, n, false, mends);
        if (!struck)
            return n - 1;
        run(scenario, context, n, true, false);
    }
    fail_msg("no end after %d allocations", SWEEP_LIMIT);
    return -1;
}

long weft_test_oom_sweep(int (*scenario)(void *context), void *context)
{
    return sweep(scenario, context, false);
}

long weft_test_oom_sweep_mending(int (*scenario)(void *context), void *context)
{
    return sweep(scenario, context, true);
}
