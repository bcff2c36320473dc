/* base/table.h */
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

#include "base/random.h"
#include "base/table.h"
#include "support/alloc_fault.h"

#define KEYS 1000

static char keys[KEYS][16];

static int make_keys(void **state)
{
    (void)state;
    for (int i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof keys[i], "key-%d", i);
    return 0;
}

static void an_empty_table_finds_nothing_and_takes_no_memory(void **state)
{
    (void)state;
    weft__table table;
    size_t cursor = 0;
    long before = weft_test_alloc_count();

    weft__table_init(&table);
    assert_null(weft__table_find(&table, weft_sv_from("x")));
    assert_null(weft__table_remove(&table, weft_sv_from("x")));
    assert_false(weft__table_next(&table, &cursor, NULL, NULL));
    assert_int_equal(weft_test_alloc_count(), before);
    weft__table_fini(&table);
}

static void what_was_put_is_found_by_an_equal_key(void **state)
{
    (void)state;
    weft__table table;
    int a, b;
    char copy[] = "alpha";

    weft__table_init(&table);
    assert_int_equal(weft__table_put(&table, weft_sv_from("alpha"), &a), 0);
    assert_int_equal(weft__table_put(&table, weft_sv_from("beta"), &b), 0);
    assert_ptr_equal(weft__table_find(&table, weft_sv_from(copy)), &a);
    assert_ptr_equal(weft__table_find(&table, weft_sv_from("beta")), &b);
    assert_null(weft__table_find(&table, weft_sv_from("alph")));
    assert_null(weft__table_find(&table, weft_sv_from("")));
    assert_int_equal(table.count, 2);
    weft__table_fini(&table);
}

static void a_key_may_be_empty_or_hold_any_byte(void **state)
{
    (void)state;
    weft__table table;
    int a, b;

    weft__table_init(&table);
    assert_int_equal(weft__table_put(&table, weft_sv_from(""), &a), 0);
    assert_int_equal(weft__table_put(&table, weft_sv_of("\0", 1), &b), 0);
    assert_ptr_equal(weft__table_find(&table, weft_sv_from("")), &a);
    assert_ptr_equal(weft__table_find(&table, weft_sv_of("\0", 1)), &b);
    weft__table_fini(&table);
}

static void a_key_that_is_there_is_not_replaced(void **state)
{
    (void)state;
    weft__table table;
    int a, b;

    weft__table_init(&table);
    assert_int_equal(weft__table_put(&table, weft_sv_from("x"), &a), 0);
    assert_int_equal(weft__table_put(&table, weft_sv_from("x"), &b), -EEXIST);
    assert_ptr_equal(weft__table_find(&table, weft_sv_from("x")), &a);
    assert_int_equal(table.count, 1);
    weft__table_fini(&table);
}

/* Random puts and removals, against an array that says what must be there. */
static void it_agrees_with_a_plain_array_over_many_random_changes(void **state)
{
    (void)state;
    weft__table table;
    weft__random_seeded source;
    weft__random *random = weft__random_seed(&source, 42);
    bool there[KEYS] = {false};
    size_t count = 0;

    weft__table_init(&table);
    for (int step = 0; step < 50000; step++) {
        size_t i = (size_t)weft__random_below(random, KEYS);
        if (weft__random_below(random, 2) == 0) {
            assert_int_equal(weft__table_put(&table, weft_sv_from(keys[i]), keys[i]), there[i] ? -EEXIST : 0);
            count += !there[i];
            there[i] = true;
        } else {
            assert_ptr_equal(weft__table_remove(&table, weft_sv_from(keys[i])), there[i] ? keys[i] : NULL);
            count -= there[i];
            there[i] = false;
        }
        assert_int_equal(table.count, count);
        if (step % 1000 == 0) {
            for (size_t j = 0; j < KEYS; j++)
                assert_ptr_equal(weft__table_find(&table, weft_sv_from(keys[j])), there[j] ? keys[j] : NULL);
        }
    }
    weft__table_fini(&table);
}

static void removals_leave_no_trace_that_would_slow_it_down(void **state)
{
    (void)state;
    weft__table table;

    weft__table_init(&table);
    for (int round = 0; round < 1000; round++) {
        for (int i = 0; i < 6; i++)
            assert_int_equal(weft__table_put(&table, weft_sv_from(keys[(round + i) % KEYS]), keys), 0);
        for (int i = 0; i < 6; i++)
            assert_non_null(weft__table_remove(&table, weft_sv_from(keys[(round + i) % KEYS])));
    }
    assert_int_equal(table.mask, 7); /* still the first eight slots */
    for (size_t i = 0; i <= table.mask; i++)
        assert_null(table.slots[i].value);
    weft__table_fini(&table);
}

static void a_walk_meets_every_entry_once(void **state)
{
    (void)state;
    weft__table table;
    bool met[KEYS] = {false};
    size_t cursor = 0, count = 0;
    weft_sv key;
    void *value;

    weft__table_init(&table);
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(weft__table_put(&table, weft_sv_from(keys[i]), keys[i]), 0);
    while (weft__table_next(&table, &cursor, &key, &value)) {
        size_t i = (size_t)((char(*)[16])value - keys);
        assert_ptr_equal(key.data, keys[i]);
        assert_false(met[i]);
        met[i] = true;
        count++;
    }
    assert_int_equal(count, KEYS);
    assert_false(weft__table_next(&table, &cursor, &key, &value));
    weft__table_fini(&table);
}

static void every_table_has_a_secret_of_its_own(void **state)
{
    (void)state;
    weft__table a, b;

    weft__table_init(&a);
    weft__table_init(&b);
    assert_memory_not_equal(a.seed, b.seed, sizeof a.seed);
    weft__table_fini(&a);
    weft__table_fini(&b);
}

static int fill(void *context)
{
    (void)context;
    weft__table table;
    int rc = 0;
    size_t put = 0;

    weft__table_init(&table);
    for (; put < 100; put++) {
        rc = weft__table_put(&table, weft_sv_from(keys[put]), keys[put]);
        if (rc < 0)
            break;
    }
    assert_int_equal(table.count, put);
    for (size_t i = 0; i < KEYS; i++) /* a failed put loses nothing */
        assert_ptr_equal(weft__table_find(&table, weft_sv_from(keys[i])), i < put ? keys[i] : NULL);
    weft__table_fini(&table);
    return rc;
}

static void every_failing_allocation_is_reported_and_nothing_leaks(void **state)
{
    (void)state;
    assert_int_equal(weft_test_oom_sweep(fill, NULL), 6); /* 8 to 256 slots */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_table_finds_nothing_and_takes_no_memory),
        cmocka_unit_test(what_was_put_is_found_by_an_equal_key),
        cmocka_unit_test(a_key_may_be_empty_or_hold_any_byte),
        cmocka_unit_test(a_key_that_is_there_is_not_replaced),
        cmocka_unit_test(it_agrees_with_a_plain_array_over_many_random_changes),
        cmocka_unit_test(removals_leave_no_trace_that_would_slow_it_down),
        cmocka_unit_test(a_walk_meets_every_entry_once),
        cmocka_unit_test(every_table_has_a_secret_of_its_own),
        cmocka_unit_test(every_failing_allocation_is_reported_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, make_keys, NULL);
}
