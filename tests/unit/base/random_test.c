/* base/random.h */
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
#include "base/thread.h"

static void one_seed_gives_one_sequence(void **state)
{
    (void)state;
    weft__random_seeded a, b, c;
    weft__random *same = weft__random_seed(&a, 1);
    weft__random *again = weft__random_seed(&b, 1);
    weft__random *other = weft__random_seed(&c, 2);
    int differ = 0;

    for (int i = 0; i < 100; i++) {
        uint64_t x = same->next(same);
        assert_int_equal(again->next(again), x);
        differ += other->next(other) != x;
    }
    assert_int_equal(differ, 100);
}

/* The first outputs of splitmix64 for the seed 0, as its author publishes them. */
static void the_seeded_source_is_splitmix64(void **state)
{
    (void)state;
    weft__random_seeded source;
    weft__random *random = weft__random_seed(&source, 0);

    assert_int_equal(random->next(random), UINT64_C(0xe220a8397b1dcdaf));
    assert_int_equal(random->next(random), UINT64_C(0x6e789e6aa1b965f4));
}

static void numbers_below_a_limit_are_evenly_spread(void **state)
{
    (void)state;
    weft__random_seeded source;
    weft__random *random = weft__random_seed(&source, 7);
    int counts[10] = {0};

    for (int i = 0; i < 100000; i++) {
        uint64_t x = weft__random_below(random, 10);
        assert_true(x < 10);
        counts[x]++;
    }
    for (int i = 0; i < 10; i++) /* five standard deviations around 10,000 */
        assert_in_range(counts[i], 9526, 10474);
}

static void a_limit_may_be_anything(void **state)
{
    (void)state;
    weft__random *random = weft__random_system();

    assert_int_equal(weft__random_below(random, 0), 0);
    assert_int_equal(weft__random_below(random, 1), 0);
    for (int i = 0; i < 1000; i++)
        assert_true(weft__random_below(random, UINT64_MAX / 2 + 2) < UINT64_MAX / 2 + 2);
}

static uint64_t stuck_next(weft__random *self)
{
    (void)self;
    return 0;
}

static void a_source_that_is_stuck_does_not_hang(void **state)
{
    (void)state;
    weft__random stuck = {.next = stuck_next};

    assert_int_equal(weft__random_below(&stuck, 3), 0);
}

static void unit_numbers_lie_from_0_to_below_1(void **state)
{
    (void)state;
    weft__random_seeded source;
    weft__random *random = weft__random_seed(&source, 7);
    double sum = 0;

    for (int i = 0; i < 10000; i++) {
        double x = weft__random_unit(random);
        assert_true(x >= 0 && x < 1);
        sum += x;
    }
    assert_true(sum > 4850 && sum < 5150);
}

static void bytes_fill_just_what_was_asked(void **state)
{
    (void)state;
    weft__random_seeded source;
    weft__random *random = weft__random_seed(&source, 7);

    for (size_t n = 0; n < 40; n++) {
        unsigned char bytes[64] = {0};
        bool last_changed = n == 0;
        for (int tries = 0; tries < 10; tries++) {
            weft__random_bytes(random, bytes, n);
            last_changed = last_changed || bytes[n - 1] != 0;
        }
        assert_true(last_changed);
        for (size_t i = n; i < sizeof bytes; i++)
            assert_int_equal(bytes[i], 0);
    }
}

static void *draw(void *arg)
{
    weft__random *random = weft__random_system();

    *(uint64_t *)arg = random->next(random);
    return NULL;
}

static void every_thread_has_a_sequence_of_its_own(void **state)
{
    (void)state;
    uint64_t numbers[8];
    pthread_t threads[8];

    for (int i = 0; i < 8; i++)
        assert_int_equal(weft__thread_start(&threads[i], 0, "draw", draw, &numbers[i]), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 8; i++) {
        for (int j = 0; j < i; j++)
            assert_true(numbers[i] != numbers[j]);
    }
}

static void secrets_differ(void **state)
{
    (void)state;
    unsigned char a[32] = {0}, b[32] = {0};

    assert_int_equal(weft__random_secret(a, sizeof a), 0);
    assert_int_equal(weft__random_secret(b, sizeof b), 0);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(weft__random_secret(NULL, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_seed_gives_one_sequence),
        cmocka_unit_test(the_seeded_source_is_splitmix64),
        cmocka_unit_test(numbers_below_a_limit_are_evenly_spread),
        cmocka_unit_test(a_limit_may_be_anything),
        cmocka_unit_test(a_source_that_is_stuck_does_not_hang),
        cmocka_unit_test(unit_numbers_lie_from_0_to_below_1),
        cmocka_unit_test(bytes_fill_just_what_was_asked),
        cmocka_unit_test(every_thread_has_a_sequence_of_its_own),
        cmocka_unit_test(secrets_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
