/* weft/arena.h */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/arena.h>

#include "support/alloc_fault.h"

static bool is_aligned(const void *memory)
{
    return (uintptr_t)memory % _Alignof(max_align_t) == 0;
}

static void an_arena_lies_inside_the_callers_block(void **state)
{
    (void)state;
    char block[WEFT_ARENA_MIN_BLOCK + 1];
    weft_arena *arena = NULL;
    long before = weft_test_alloc_count();

    assert_int_equal(weft_arena_init(&arena, block + 1, WEFT_ARENA_MIN_BLOCK, 0), 0); /* an odd address */
    assert_true((char *)arena >= block && (char *)arena < block + sizeof block);
    char *memory = weft_arena_alloc(arena, 64);
    assert_true(memory > (char *)arena && memory + 64 <= block + sizeof block);
    assert_int_equal(weft_test_alloc_count(), before);
    weft_arena_fini(arena);
    memset(block, 0xab, sizeof block); /* the caller's again, also for AddressSanitizer */
}

static void a_block_that_is_too_small_is_refused(void **state)
{
    (void)state;
    char block[WEFT_ARENA_MIN_BLOCK];
    weft_arena *arena = NULL;

    assert_int_equal(weft_arena_init(&arena, block, WEFT_ARENA_MIN_BLOCK - 1, 0), -EINVAL);
    assert_null(arena);
}

static void memory_is_aligned_and_never_overlaps(void **state)
{
    (void)state;
    weft_arena *arena;
    static unsigned char *memory[2000];

    assert_int_equal(weft_arena_new(&arena, 0), 0);
    for (size_t i = 0; i < 2000; i++) {
        memory[i] = weft_arena_alloc(arena, i);
        assert_non_null(memory[i]);
        assert_true(is_aligned(memory[i]));
        memset(memory[i], (int)(i & 0xff), i);
    }
    for (size_t i = 0; i < 2000; i++) {
        for (size_t j = 0; j < i; j++)
            assert_int_equal(memory[i][j], i & 0xff);
    }
    weft_arena_free(arena);
}

static void empty_allocations_have_addresses_of_their_own(void **state)
{
    (void)state;
    weft_arena *arena;

    assert_int_equal(weft_arena_new(&arena, 0), 0);
    void *a = weft_arena_alloc(arena, 0);
    void *b = weft_arena_alloc(arena, 0);
    assert_non_null(a);
    assert_ptr_not_equal(a, b);
    assert_non_null(weft_arena_memdup(arena, NULL, 0));
    weft_arena_free(arena);
}

static void used_counts_what_was_handed_out(void **state)
{
    (void)state;
    weft_arena *arena;

    assert_int_equal(weft_arena_new(&arena, 0), 0);
    assert_int_equal(weft_arena_used(arena), 0);
    assert_non_null(weft_arena_alloc(arena, 1));
    assert_int_equal(weft_arena_used(arena), 16);
    assert_non_null(weft_arena_alloc(arena, 100000)); /* a block of its own */
    assert_int_equal(weft_arena_used(arena), 100016);
    assert_non_null(weft_arena_alloc(arena, 16));
    assert_int_equal(weft_arena_used(arena), 100032);
    weft_arena_free(arena);
}

static void the_limit_holds_to_the_byte_however_it_is_reached(void **state)
{
    (void)state;
    static const size_t sizes[] = {16, 48, 112, 1008, 4096, 9984, 65536, 500000};
    const size_t max = 1 << 20;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        weft_arena *arena;
        assert_int_equal(weft_arena_new(&arena, max), 0);
        size_t total = 0;
        for (; total + sizes[i] <= max; total += sizes[i])
            assert_non_null(weft_arena_alloc(arena, sizes[i]));
        if (total < max)
            assert_non_null(weft_arena_alloc(arena, max - total));
        assert_int_equal(weft_arena_used(arena), max);
        assert_false(weft_arena_failed(arena));
        assert_null(weft_arena_alloc(arena, 1));
        assert_true(weft_arena_failed(arena));
        assert_int_equal(weft_arena_used(arena), max);
        weft_arena_free(arena);
    }
}

static void the_limit_also_holds_inside_the_first_block(void **state)
{
    (void)state;
    char block[4096];
    weft_arena *arena;

    assert_int_equal(weft_arena_init(&arena, block, sizeof block, 100), 0);
    assert_non_null(weft_arena_alloc(arena, 100));
    assert_null(weft_arena_alloc(arena, 16));
    weft_arena_fini(arena);
}

static void a_large_block_does_not_widen_the_limit_of_the_current_one(void **state)
{
    (void)state;
    char block[4096];
    weft_arena *arena;

    assert_int_equal(weft_arena_init(&arena, block, sizeof block, 8192), 0);
    assert_non_null(weft_arena_alloc(arena, 8000));
    assert_non_null(weft_arena_alloc(arena, 192));
    assert_null(weft_arena_alloc(arena, 1));
    weft_arena_fini(arena);
}

static void failure_sticks_until_a_reset(void **state)
{
    (void)state;
    weft_arena *arena;

    assert_int_equal(weft_arena_new(&arena, 1024), 0);
    assert_non_null(weft_arena_alloc(arena, 16));
    assert_null(weft_arena_alloc(arena, 2000));
    assert_true(weft_arena_failed(arena));
    assert_null(weft_arena_alloc(arena, 1)); /* though there is room */
    assert_null(weft_arena_alloc(arena, 0));
    assert_null(weft_arena_strdup(arena, "x"));
    assert_null(weft_arena_printf(arena, "%d", 1));
    assert_int_equal(weft_arena_used(arena), 16);
    weft_arena_reset(arena);
    assert_false(weft_arena_failed(arena));
    assert_int_equal(weft_arena_used(arena), 0);
    assert_non_null(weft_arena_alloc(arena, 1024));
    weft_arena_free(arena);
}

static void a_reset_keeps_the_first_block_and_returns_the_others(void **state)
{
    (void)state;
    char block[1024];
    weft_arena *arena;

    assert_int_equal(weft_arena_init(&arena, block, sizeof block, 0), 0);
    void *first = weft_arena_alloc(arena, 8);
    long before = weft_test_alloc_live();
    assert_non_null(weft_arena_alloc(arena, 100000));
    assert_non_null(weft_arena_alloc(arena, 1000));
    assert_true(weft_test_alloc_live() > before);
    weft_arena_reset(arena);
    assert_int_equal(weft_test_alloc_live(), before);
    assert_ptr_equal(weft_arena_alloc(arena, 8), first);
    weft_arena_fini(arena);
}

static void many_small_allocations_take_few_blocks(void **state)
{
    (void)state;
    weft_arena *arena;

    assert_int_equal(weft_arena_new(&arena, 0), 0);
    long before = weft_test_alloc_count();
    for (int i = 0; i < 100000; i++)
        assert_non_null(weft_arena_alloc(arena, 32));
    assert_true(weft_test_alloc_count() - before < 16); /* 3.2 MB: blocks of 4 KiB to 1 MiB */
    weft_arena_free(arena);
}

static void huge_sizes_fail_and_do_not_wrap_round(void **state)
{
    (void)state;
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 15, SIZE_MAX - 16, SIZE_MAX - 64, SIZE_MAX / 2};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        weft_arena *arena;
        assert_int_equal(weft_arena_new(&arena, 0), 0);
        assert_null(weft_arena_alloc(arena, sizes[i]));
        assert_true(weft_arena_failed(arena));
        weft_arena_reset(arena);
        assert_null(weft_arena_calloc(arena, sizes[i], 2));
        weft_arena_reset(arena);
        assert_null(weft_arena_calloc(arena, 2, sizes[i]));
        weft_arena_reset(arena);
        assert_null(weft_arena_svdup(arena, weft_sv_of("x", SIZE_MAX)));
        assert_true(weft_arena_failed(arena));
        weft_arena_free(arena);
    }
}

static void copies_hold_what_they_copied(void **state)
{
    (void)state;
    weft_arena *arena;

    assert_int_equal(weft_arena_new(&arena, 0), 0);
    assert_string_equal(weft_arena_strdup(arena, "hello"), "hello");
    assert_string_equal(weft_arena_svdup(arena, weft_sv_of("hello", 4)), "hell");
    assert_string_equal(weft_arena_svdup(arena, (weft_sv){NULL, 0}), "");
    assert_memory_equal(weft_arena_memdup(arena, "a\0b", 3), "a\0b", 3);
    assert_string_equal(weft_arena_printf(arena, "%s-%03d", "x", 7), "x-007");
    const int *numbers = weft_arena_calloc(arena, 100, sizeof *numbers);
    for (int i = 0; i < 100; i++)
        assert_int_equal(numbers[i], 0);
    assert_non_null(weft_arena_calloc(arena, 0, SIZE_MAX));
    assert_non_null(weft_arena_calloc(arena, SIZE_MAX, 0));
    weft_arena_free(arena);
}

static void zeroed_memory_is_zero_after_a_reset_too(void **state)
{
    (void)state;
    weft_arena *arena;

    assert_int_equal(weft_arena_new(&arena, 0), 0);
    memset(weft_arena_alloc(arena, 200), 0xff, 200);
    weft_arena_reset(arena);
    const unsigned char *memory = weft_arena_zalloc(arena, 200);
    for (int i = 0; i < 200; i++)
        assert_int_equal(memory[i], 0);
    weft_arena_free(arena);
}

static void it_serves_protobuf_c_as_an_allocator(void **state)
{
    (void)state;
    weft_arena *arena;

    assert_int_equal(weft_arena_new(&arena, 64), 0);
    ProtobufCAllocator *allocator = weft_arena_allocator(arena);
    void *memory = allocator->alloc(allocator->allocator_data, 64);
    assert_non_null(memory);
    allocator->free(allocator->allocator_data, memory);
    assert_null(allocator->alloc(allocator->allocator_data, 1));
    assert_true(weft_arena_failed(arena));
    weft_arena_free(arena);
}

static void freeing_nothing_is_fine(void **state)
{
    (void)state;
    weft_arena_fini(NULL);
    weft_arena_free(NULL);
}

static int build_in_an_arena(void *context)
{
    (void)context;
    weft_arena *arena = NULL;
    int rc = weft_arena_new(&arena, 0);
    if (rc < 0) {
        assert_null(arena);
        return rc;
    }
    for (size_t i = 0; i < 100; i++)
        weft_arena_strdup(arena, "a builder that looks only at the end");
    weft_arena_alloc(arena, 100000);
    weft_arena_printf(arena, "%s", "x");
    rc = weft_arena_failed(arena) ? -ENOMEM : 0;
    weft_arena_free(arena);
    return rc;
}

static void every_failing_allocation_is_reported_and_nothing_leaks(void **state)
{
    (void)state;
    assert_int_equal(weft_test_oom_sweep(build_in_an_arena, NULL), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_arena_lies_inside_the_callers_block),
        cmocka_unit_test(a_block_that_is_too_small_is_refused),
        cmocka_unit_test(memory_is_aligned_and_never_overlaps),
        cmocka_unit_test(empty_allocations_have_addresses_of_their_own),
        cmocka_unit_test(used_counts_what_was_handed_out),
        cmocka_unit_test(the_limit_holds_to_the_byte_however_it_is_reached),
        cmocka_unit_test(the_limit_also_holds_inside_the_first_block),
        cmocka_unit_test(a_large_block_does_not_widen_the_limit_of_the_current_one),
        cmocka_unit_test(failure_sticks_until_a_reset),
        cmocka_unit_test(a_reset_keeps_the_first_block_and_returns_the_others),
        cmocka_unit_test(many_small_allocations_take_few_blocks),
        cmocka_unit_test(huge_sizes_fail_and_do_not_wrap_round),
        cmocka_unit_test(copies_hold_what_they_copied),
        cmocka_unit_test(zeroed_memory_is_zero_after_a_reset_too),
        cmocka_unit_test(it_serves_protobuf_c_as_an_allocator),
        cmocka_unit_test(freeing_nothing_is_fine),
        cmocka_unit_test(every_failing_allocation_is_reported_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
