/* The pickers of weft/picker.h, on a simulation in virtual time. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <weft/picker.h>

#include "pick/pick.h"
#include "unit/pick/world.h"

/* ---- the simple ones --------------------------------------------------------------------------------------------- */

static void random_picks_all_equally(void **state)
{
    weft_picker *picker = NULL;
    (void)state;
    assert_int_equal(weft_random_new(&picker), 0);
    struct world *world = new_world(picker, 10, 1);
    simulate(world, 20000, 1);
    assert_even(world, 20000);
    end_world(world);
}

static void round_robin_picks_one_after_the_other(void **state)
{
    weft_picker *picker = NULL;
    (void)state;
    assert_int_equal(weft_round_robin_new(&picker), 0);
    struct world *world = new_world(picker, 7, 1);
    simulate(world, 700, 1);
    for (size_t i = 0; i < world->count; i++)
        assert_int_equal(world->picked[i], 100);
    end_world(world);
}

static void pick_first_stays_with_the_first(void **state)
{
    weft_picker *picker = NULL;
    (void)state;
    assert_int_equal(weft_pick_first_new(&picker), 0);
    struct world *world = new_world(picker, 3, 1);
    simulate(world, 100, 1);
    assert_int_equal(world->picked[0], 100);
    assert_ptr_equal(pick(world, world->endpoints, 1), world->endpoints[1]);
    end_world(world);
}

static void a_shuffled_pick_first_stays_with_one_that_may_be_any(void **state)
{
    int firsts[3] = {0};
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        weft_picker *picker = NULL;
        assert_int_equal(weft__pick_first_shuffled_new(&picker), 0);
        struct world *world = new_world(picker, 0, 1);
        weft__pick_random = weft__random_seed(&world->pickers, seed);
        for (int i = 0; i < 3; i++)
            (void)add(world, 1, 1);
        weft_endpoint *first = pick(world, NULL, 0);
        firsts[index_of(world, first)]++;
        weft_endpoint *second = pick(world, &first, 1);
        assert_ptr_not_equal(second, first);
        simulate(world, 20, 1);
        assert_int_equal(world->picked[index_of(world, first)], 20);
        assert_ptr_equal(pick(world, &first, 1), second);
        end_world(world);
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(firsts[i], 70, 130);
}

static void a_shuffled_list_keeps_its_order_when_it_changes(void **state)
{
    weft_picker *picker = NULL;
    (void)state;
    assert_int_equal(weft__pick_first_shuffled_new(&picker), 0);
    struct world *world = new_world(picker, 4, 1);
    weft_endpoint *order[4];
    for (size_t i = 0; i < 4; i++)
        order[i] = pick(world, order, i);
    remove_at(world, index_of(world, order[0]));
    assert_ptr_equal(pick(world, NULL, 0), order[1]);
    weft_endpoint *new = add(world, 1, 1);
    assert_ptr_equal(pick(world, &new, 1), order[1]);
    weft_endpoint *tried[] = {order[1], new};
    assert_ptr_equal(pick(world, tried, 2), order[2]);
    end_world(world);
}

static void least_request_goes_where_least_is_under_way(void **state)
{
    weft_picker *picker = NULL;
    (void)state;
    assert_int_equal(weft_least_request_new(&picker, -1), -EINVAL);
    assert_int_equal(weft_least_request_new(&picker, 17), -EINVAL);
    assert_int_equal(weft_least_request_new(&picker, 0), 0);
    struct world *world = new_world(picker, 4, 2);
    world->mean_ms[2] = 40;
    simulate(world, 20000, 1);
    assert_true(world->picked[2] < world->picked[0] / 3);
    end_world(world);
}

static void least_request_heeds_weights(void **state)
{
    weft_picker *picker = NULL;
    (void)state;
    assert_int_equal(weft_least_request_new(&picker, 4), 0);
    struct world *world = new_world(picker, 2, 10);
    set_weight(world, 0, 3);
    simulate(world, 20000, 0.2);
    assert_in_range(world->picked[0] * 100 / world->picked[1], 250, 350);
    end_world(world);
}

/* ---- p2c --------------------------------------------------------------------------------------------------------- */

static weft_picker *new_p2c(void)
{
    weft_picker *picker = NULL;
    assert_int_equal(weft_p2c_new(&picker, NULL), 0);
    return picker;
}

static void options_of_p2c_are_checked(void **state)
{
    weft_picker *picker = NULL;
    weft_p2c_options options = WEFT_P2C_OPTIONS_INIT;
    (void)state;
    options.decay_ms = -2;
    assert_int_equal(weft_p2c_new(&picker, &options), -EINVAL);
    options.decay_ms = 1;
    options.struct_size = 0;
    assert_int_equal(weft_p2c_new(&picker, &options), -EINVAL);
    options.struct_size = sizeof options;
    assert_int_equal(weft_p2c_new(&picker, &options), 0);
    weft_picker_free(picker);
}

static void p2c_spreads_over_equals(void **state)
{
    struct world *world = new_world(new_p2c(), 8, 5);
    (void)state;
    simulate(world, 20000, 1);
    for (size_t i = 0; i < world->count; i++)
        assert_in_range(world->picked[i], 20000 / 8 * 8 / 10, 20000 / 8 * 12 / 10);
    end_world(world);
}

static void p2c_keeps_away_from_who_is_slow(void **state)
{
    weft_picker *picker = NULL;
    (void)state;
    struct world *world = new_world(new_p2c(), 6, 5);
    world->mean_ms[3] = 50;
    simulate(world, 20000, 1);
    int64_t p2c_ns = p99_ns(world);
    assert_true(world->picked[3] < 20000 / 6 / 5);
    assert_true(world->picked[3] > 0); /* and looks again */
    end_world(world);
    assert_int_equal(weft_round_robin_new(&picker), 0);
    world = new_world(picker, 6, 5);
    world->mean_ms[3] = 50;
    simulate(world, 20000, 1);
    assert_true(p2c_ns * 2 <= p99_ns(world));
    end_world(world);
}

static void p2c_comes_back_to_who_has_recovered(void **state)
{
    struct world *world = new_world(new_p2c(), 6, 5);
    (void)state;
    world->mean_ms[3] = 200;
    simulate(world, 10000, 1);
    world->mean_ms[3] = 5;
    simulate(world, 20000, 2); /* 40 s */
    simulate(world, 20000, 2);
    assert_in_range(world->picked[3], 20000 / 6 * 7 / 10, 20000 / 6 * 13 / 10);
    end_world(world);
}

static void p2c_keeps_away_from_who_fails_fast(void **state)
{
    struct world *world = new_world(new_p2c(), 6, 5);
    (void)state;
    simulate(world, 2000, 1);
    world->mean_ms[2] = 0.1;
    world->code[2] = WEFT_UNAVAILABLE;
    simulate(world, 20000, 1);
    assert_true(world->picked[2] < 20000 / 6 / 5);
    end_world(world);
}

static void a_first_answer_that_is_a_failure_is_not_a_fast_one(void **state)
{
    struct world *world = new_world(new_p2c(), 2, 5);
    (void)state;
    done(world, world->endpoints[0], WEFT_UNAVAILABLE, false, ns_per_ms / 10);
    done(world, world->endpoints[1], WEFT_OK, false, 5 * ns_per_ms);
    for (int i = 0; i < 50; i++)
        assert_ptr_equal(pick(world, NULL, 0), world->endpoints[1]);
    end_world(world);
}

/* How many of a hundred picks between the two go to the first, when nothing is under way. */
static int share_of_first(struct world *world)
{
    int first = 0;
    for (int i = 0; i < 100; i++)
        first += pick(world, NULL, 0) == world->endpoints[0];
    return first;
}

static void calls_that_fail_together_count_as_one_failure(void **state)
{
    struct world *world = new_world(new_p2c(), 2, 5);
    (void)state;
    done(world, world->endpoints[0], WEFT_OK, false, 5 * ns_per_ms);
    done(world, world->endpoints[1], WEFT_OK, false, 15 * ns_per_ms);
    for (int i = 0; i < 20; i++) /* 10 ms, not 5,000 */
        done(world, world->endpoints[0], WEFT_UNAVAILABLE, false, ns_per_ms);
    assert_int_equal(share_of_first(world), 100);
    world->now_ns += 2 * ns_per_ms;
    done(world, world->endpoints[0], WEFT_UNAVAILABLE, false, ns_per_ms); /* begun later: 20 ms */
    assert_int_equal(share_of_first(world), 0);
    end_world(world);
}

static void who_was_overtaken_is_as_slow_as_that_at_least(void **state)
{
    weft_pick_result overtaken = {.struct_size = sizeof overtaken, .code = WEFT_CANCELLED};
    struct world *world = new_world(new_p2c(), 2, 5);
    (void)state;
    done(world, world->endpoints[0], WEFT_OK, false, 20 * ns_per_ms);
    done(world, world->endpoints[1], WEFT_OK, false, 15 * ns_per_ms);
    overtaken.now_ns = world->now_ns + 1;
    overtaken.latency_ns = ns_per_ms; /* which does not make it fast */
    world->picker->vtable->done(world->picker, world->endpoints[0], &overtaken);
    assert_int_equal(share_of_first(world), 0);
    overtaken.latency_ns = 25 * ns_per_ms;
    world->picker->vtable->done(world->picker, world->endpoints[1], &overtaken);
    assert_int_equal(share_of_first(world), 100);
    end_world(world);
}

static void what_p2c_knows_survives_an_update(void **state)
{
    struct world *world = new_world(new_p2c(), 6, 5);
    (void)state;
    world->mean_ms[3] = 50;
    simulate(world, 5000, 1);
    remove_at(world, 0); /* the slow one is the third now */
    (void)add(world, 5, 1);
    simulate(world, 300, 1);
    assert_true(world->picked[2] < 300 / 6 / 3); /* not tried anew, as it would be without a memory */
    end_world(world);
}

static void the_callers_cancel_is_no_penalty(void **state)
{
    struct world *world = new_world(new_p2c(), 2, 5);
    (void)state;
    simulate(world, 2000, 5);
    for (int i = 0; i < 1000; i++)
        done(world, world->endpoints[0], WEFT_CANCELLED, true, 1000 * ns_per_ms);
    simulate(world, 10000, 5);
    assert_in_range(world->picked[0], 4000, 6000);
    end_world(world);
}

static void who_is_new_is_neither_flooded_nor_starved(void **state)
{
    struct world *world = new_world(new_p2c(), 5, 5);
    (void)state;
    simulate(world, 10000, 1);
    (void)add(world, 5, 1);
    simulate(world, 120, 1);
    assert_in_range(world->picked[5], 5, 40); /* 20 is a fair share */
    simulate(world, 12000, 1);
    assert_in_range(world->picked[5], 2000 * 8 / 10, 2000 * 12 / 10);
    end_world(world);
}

static void who_is_new_is_not_flooded_before_its_first_answer(void **state)
{
    struct world *world = new_world(new_p2c(), 5, 5);
    (void)state;
    simulate(world, 10000, 1);
    (void)add(world, 2000, 1); /* which takes its time */
    simulate(world, 120, 1);
    assert_in_range(world->picked[5], 1, 20);
    end_world(world);
}

static void who_is_new_is_not_put_off_by_what_was_slow_long_ago(void **state)
{
    struct world *world = new_world(new_p2c(), 2, 5);
    (void)state;
    done(world, world->endpoints[1], WEFT_OK, false, 5000 * ns_per_ms);
    world->now_ns += 120 * 1000 * ns_per_ms; /* twelve decay times */
    done(world, world->endpoints[0], WEFT_OK, false, 5 * ns_per_ms);
    (void)add(world, 5, 1);
    remove_at(world, 1);
    simulate(world, 200, 5);
    assert_in_range(world->picked[1], 50, 150);
    end_world(world);
}

static void p2c_heeds_weights(void **state)
{
    struct world *world = new_world(new_p2c(), 4, 5);
    (void)state;
    set_weight(world, 1, 4);
    simulate(world, 20000, 1);
    assert_true(world->picked[1] > world->picked[0] * 3 / 2);
    end_world(world);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static int new_least_request(weft_picker **out)
{
    return weft_least_request_new(out, 3);
}

static int new_default_p2c(weft_picker **out)
{
    return weft_p2c_new(out, NULL);
}

typedef int (*constructor)(weft_picker **out);
static int new_default_ring(weft_picker **out)
{
    return weft_ring_hash_new(out, NULL);
}

static const constructor all[] = {
    weft_pick_first_new, weft_random_new, weft_round_robin_new, weft_weighted_round_robin_new,
    new_least_request,   new_default_p2c, new_default_ring,     weft__pick_first_shuffled_new};

static void who_was_tried_is_not_picked_while_there_is_another(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        weft_picker *picker = NULL;
        assert_int_equal(all[k](&picker), 0);
        struct world *world = new_world(picker, 5, 1);
        weft_endpoint *tried[] = {world->endpoints[0], world->endpoints[3], world->endpoints[4], world->endpoints[1]};
        for (int i = 0; i < 200; i++)
            assert_ptr_equal(pick(world, tried, 4), world->endpoints[2]);
        for (int i = 0; i < 200; i++)
            assert_non_null(pick(world, world->endpoints, 5)); /* all were: any will do */
        end_world(world);
    }
}

static void one_endpoint_gets_everything(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        weft_picker *picker = NULL;
        assert_int_equal(all[k](&picker), 0);
        struct world *world = new_world(picker, 1, 1);
        simulate(world, 100, 1);
        assert_int_equal(world->picked[0], 100);
        end_world(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_picks_all_equally),
        cmocka_unit_test(round_robin_picks_one_after_the_other),
        cmocka_unit_test(pick_first_stays_with_the_first),
        cmocka_unit_test(a_shuffled_pick_first_stays_with_one_that_may_be_any),
        cmocka_unit_test(a_shuffled_list_keeps_its_order_when_it_changes),
        cmocka_unit_test(least_request_goes_where_least_is_under_way),
        cmocka_unit_test(least_request_heeds_weights),
        cmocka_unit_test(options_of_p2c_are_checked),
        cmocka_unit_test(p2c_spreads_over_equals),
        cmocka_unit_test(p2c_keeps_away_from_who_is_slow),
        cmocka_unit_test(p2c_comes_back_to_who_has_recovered),
        cmocka_unit_test(p2c_keeps_away_from_who_fails_fast),
        cmocka_unit_test(a_first_answer_that_is_a_failure_is_not_a_fast_one),
        cmocka_unit_test(calls_that_fail_together_count_as_one_failure),
        cmocka_unit_test(who_was_overtaken_is_as_slow_as_that_at_least),
        cmocka_unit_test(what_p2c_knows_survives_an_update),
        cmocka_unit_test(the_callers_cancel_is_no_penalty),
        cmocka_unit_test(who_is_new_is_neither_flooded_nor_starved),
        cmocka_unit_test(who_is_new_is_not_flooded_before_its_first_answer),
        cmocka_unit_test(who_is_new_is_not_put_off_by_what_was_slow_long_ago),
        cmocka_unit_test(p2c_heeds_weights),
        cmocka_unit_test(who_was_tried_is_not_picked_while_there_is_another),
        cmocka_unit_test(one_endpoint_gets_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
