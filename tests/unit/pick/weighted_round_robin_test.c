/* weft_weighted_round_robin_new */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <weft/picker.h>

#include "unit/pick/world.h"

static struct world *new_weighted(const uint32_t *weights, size_t count)
{
    weft_picker *picker = NULL;
    assert_int_equal(weft_weighted_round_robin_new(&picker), 0);
    struct world *world = new_world(picker, count, 1);
    for (size_t i = 0; i < count; i++)
        set_weight(world, i, weights[i]);
    return world;
}

/* Picks so often and counts. @return the furthest that any endpoint ever was from its share. */
static double furthest(struct world *world, int64_t turns)
{
    double weights = 0;
    double most = 0;
    for (size_t i = 0; i < world->count; i++) {
        world->picked[i] = 0;
        weights += weft_endpoint_weight(world->endpoints[i]);
    }
    for (int64_t turn = 1; turn <= turns; turn++) {
        world->picked[index_of(world, pick(world, NULL, 0))]++;
        for (size_t i = 0; i < world->count; i++) {
            double share = (double)turn * weft_endpoint_weight(world->endpoints[i]) / weights;
            most = fmax(most, fabs((double)world->picked[i] - share));
        }
    }
    return most;
}

static void each_gets_exactly_its_weight(void **state)
{
    static const uint32_t weights[] = {5, 1, 3, 7, 2};
    struct world *world = new_weighted(weights, 5);
    (void)state;
    (void)furthest(world, 18 * 100); /* from any turn on */
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(world->picked[i], 100 * weights[i]);
    end_world(world);
}

static void equal_weights_are_a_rotation(void **state)
{
    static const uint32_t weights[] = {40, 40, 40, 40, 40, 40, 40};
    struct world *world = new_weighted(weights, 7);
    weft_endpoint *first[7];
    (void)state;
    for (size_t i = 0; i < 7; i++) {
        first[i] = pick(world, NULL, 0);
        for (size_t j = 0; j < i; j++)
            assert_ptr_not_equal(first[i], first[j]);
    }
    for (size_t i = 0; i < 70; i++)
        assert_ptr_equal(pick(world, NULL, 0), first[i % 7]);
    end_world(world);
}

static void turns_are_spread_evenly(void **state)
{
    static const uint32_t few[] = {5, 1, 1};
    static const uint32_t mixed[] = {100, 37, 1, 250, 3, 99, 12, 64};
    static const uint32_t one_great[] = {1000, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const struct {
        const uint32_t *weights;
        size_t count;
        double most;
    } cases[] = {{few, 3, 1.5}, {mixed, 8, 2.5}, {one_great, 11, 2}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *world = new_weighted(cases[i].weights, cases[i].count);
        double most = furthest(world, 5000);
        if (most > cases[i].most)
            fail_msg("case %zu: %.2f turns from its share", i, most);
        end_world(world);
    }
}

static void great_weights_are_rounded_to_what_a_table_holds(void **state)
{
    static const uint32_t weights[] = {UINT32_MAX, UINT32_MAX / 2, UINT32_MAX / 4, 1};
    struct world *world = new_weighted(weights, 4);
    const int64_t turns = 1 << 18;
    (void)state;
    for (int64_t i = 0; i < turns; i++)
        world->picked[index_of(world, pick(world, NULL, 0))]++;
    assert_in_range(world->picked[0], turns * 4 / 7 - 4, turns * 4 / 7 + 4);
    assert_in_range(world->picked[1], turns * 2 / 7 - 4, turns * 2 / 7 + 4);
    assert_in_range(world->picked[2], turns / 7 - 4, turns / 7 + 4);
    assert_in_range(world->picked[3], 1, 2); /* nobody is left out */
    end_world(world);
}

static void a_new_weight_counts_with_the_next_table(void **state)
{
    static const uint32_t weights[] = {1, 1};
    struct world *world = new_weighted(weights, 2);
    (void)state;
    assert_true(furthest(world, 100) <= 1);
    set_weight(world, 1, 3);
    assert_true(furthest(world, 100) <= 1.5);
    assert_int_equal(world->picked[1], 75);
    end_world(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_gets_exactly_its_weight),
        cmocka_unit_test(equal_weights_are_a_rotation),
        cmocka_unit_test(turns_are_spread_evenly),
        cmocka_unit_test(great_weights_are_rounded_to_what_a_table_holds),
        cmocka_unit_test(a_new_weight_counts_with_the_next_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
