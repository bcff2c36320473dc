/* weft_ring_hash_new */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft/picker.h>

#include "unit/pick/world.h"

enum {
    HASHES = 20000
};

static struct world *new_ring(size_t count, int64_t max_load_percent, const char *metadata_key)
{
    weft_picker *picker = NULL;
    weft_ring_hash_options options = WEFT_RING_HASH_OPTIONS_INIT;
    options.max_load_percent = max_load_percent;
    options.metadata_key = metadata_key;
    assert_int_equal(weft_ring_hash_new(&picker, &options), 0);
    struct world *world = new_world(picker, count, 1);
    world->has_hash = true;
    return world;
}

/* A call that is over at once. */
static weft_endpoint *pick_hash(struct world *world, uint64_t hash)
{
    world->hash = hash;
    weft_endpoint *endpoint = pick(world, NULL, 0);
    done(world, endpoint, WEFT_OK, false, 1);
    return endpoint;
}

/* Where each hash goes now. */
static weft_endpoint **map(struct world *world)
{
    weft_endpoint **to = malloc(HASHES * sizeof(weft_endpoint *));
    assert_non_null(to);
    for (uint64_t hash = 0; hash < HASHES; hash++)
        to[hash] = pick_hash(world, hash);
    return to;
}

static void options_are_checked(void **state)
{
    static const weft_ring_hash_options bad[] = {
        {.struct_size = 0},
        {.struct_size = sizeof *bad, .points = -2},
        {.struct_size = sizeof *bad, .points = -1}, /* no limit */
        {.struct_size = sizeof *bad, .points = 10001},
        {.struct_size = sizeof *bad, .max_load_percent = 100},
        {.struct_size = sizeof *bad, .max_load_percent = -2},
        {.struct_size = sizeof *bad, .max_load_percent = 1000001},
    };
    weft_picker *picker = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(weft_ring_hash_new(&picker, &bad[i]), -EINVAL);
    assert_null(picker);
}

static void the_hash_is_the_same_on_every_machine(void **state)
{
    (void)state;
    assert_true(weft_hash(weft_sv_from("")) == weft_hash(weft_sv_of("x", 0)));
    assert_true(weft_hash(weft_sv_from("customer-42")) == UINT64_C(0x5119dec7f945d3db));
}

static void a_hash_stays_where_it_is(void **state)
{
    struct world *world = new_ring(10, 0, NULL);
    weft_endpoint **before = map(world);
    weft_endpoint **after = map(world);
    (void)state;
    assert_memory_equal(before, after, HASHES * sizeof *before);
    free(before);
    free(after);
    end_world(world);
}

static void the_order_of_the_list_does_not_matter(void **state)
{
    struct world *world = new_ring(10, 0, NULL);
    weft_endpoint **before = map(world);
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        weft_endpoint *other = world->endpoints[i];
        world->endpoints[i] = world->endpoints[9 - i];
        world->endpoints[9 - i] = other;
    }
    set_weight(world, 0, 1); /* a new table */
    weft_endpoint **after = map(world);
    assert_memory_equal(before, after, HASHES * sizeof *before);
    free(before);
    free(after);
    end_world(world);
}

static void one_that_comes_moves_its_share_of_the_hashes_and_only_to_itself(void **state)
{
    struct world *world = new_ring(9, 0, NULL);
    weft_endpoint **before = map(world);
    const weft_endpoint *added = add(world, 1, 1);
    weft_endpoint **after = map(world);
    int moved = 0;
    (void)state;
    for (size_t i = 0; i < HASHES; i++) {
        if (before[i] == after[i])
            continue;
        assert_ptr_equal(after[i], added);
        moved++;
    }
    assert_in_range(moved, HASHES / 10 * 6 / 10, HASHES / 10 * 14 / 10);
    free(before);
    free(after);
    end_world(world);
}

static void one_that_goes_moves_only_its_own_hashes(void **state)
{
    struct world *world = new_ring(10, 0, NULL);
    weft_endpoint **before = map(world);
    const weft_endpoint *gone = world->endpoints[4];
    (void)state;
    remove_at(world, 4);
    weft_endpoint **after = map(world);
    int moved = 0;
    for (size_t i = 0; i < HASHES; i++) {
        assert_true((before[i] == gone) == (before[i] != after[i]));
        moved += before[i] == gone;
    }
    assert_in_range(moved, HASHES / 10 * 6 / 10, HASHES / 10 * 14 / 10);
    free(before);
    free(after);
    end_world(world);
}

static void weights_are_shares_of_the_ring(void **state)
{
    struct world *world = new_ring(5, 0, NULL);
    int64_t heavy = 0;
    (void)state;
    set_weight(world, 2, 4); /* half of all */
    for (uint64_t hash = 0; hash < HASHES; hash++)
        heavy += pick_hash(world, hash) == world->endpoints[2];
    assert_in_range(heavy, HASHES * 4 / 10, HASHES * 6 / 10);
    end_world(world);
}

static void a_ring_that_is_too_large_has_fewer_points_of_each(void **state)
{
    struct world *world = new_ring(4, 0, NULL);
    (void)state;
    for (size_t i = 0; i < world->count; i++)
        set_weight(world, i, UINT32_MAX);
    for (uint64_t hash = 0; hash < HASHES; hash++)
        world->picked[index_of(world, pick_hash(world, hash))]++;
    for (size_t i = 0; i < world->count; i++)
        assert_in_range(world->picked[i], HASHES / 4 * 9 / 10, HASHES / 4 * 11 / 10);
    end_world(world);
}

/* Calls of one hash that do not end. @return those that are under way on the endpoint that has most. */
static uint32_t pile_up(struct world *world, int calls)
{
    uint32_t most = 0;
    world->hash = 7;
    for (int i = 0; i < calls; i++) {
        weft_endpoint *endpoint = pick(world, NULL, 0);
        uint32_t under_way = (uint32_t)atomic_fetch_add(&endpoint->calls, 1) + 1;
        most = under_way > most ? under_way : most;
    }
    return most;
}

static void nobody_gets_more_than_the_bound(void **state)
{
    struct world *world = new_ring(10, 0, NULL);
    (void)state;
    assert_in_range(pile_up(world, 1000), 100, 125);
    end_world(world);
}

static void the_bound_heeds_weights(void **state)
{
    struct world *world = new_ring(4, 150, NULL);
    (void)state;
    set_weight(world, 1, 5);
    (void)pile_up(world, 800);
    assert_in_range(weft_endpoint_calls(world->endpoints[1]), 350, 750);
    for (size_t i = 0; i < 4; i++)
        assert_true(i == 1 || weft_endpoint_calls(world->endpoints[i]) <= 150);
    end_world(world);
}

static void without_a_bound_a_hash_never_moves(void **state)
{
    struct world *world = new_ring(10, -1, NULL);
    (void)state;
    assert_int_equal(pile_up(world, 1000), 1000);
    end_world(world);
}

static void a_hash_comes_home_when_there_is_room_again(void **state)
{
    struct world *world = new_ring(10, 0, NULL);
    weft_endpoint *home = pick_hash(world, 7);
    (void)state;
    atomic_store(&home->calls, 100);
    assert_ptr_not_equal(pick_hash(world, 7), home);
    atomic_store(&home->calls, 0);
    assert_ptr_equal(pick_hash(world, 7), home);
    end_world(world);
}

static void calls_end_and_are_forgotten(void **state)
{
    struct world *world = new_ring(10, 0, NULL);
    (void)state;
    simulate(world, 20000, 0.2);
    assert_in_range(pile_up(world, 1000), 100, 125);
    end_world(world);
}

static void who_is_full_is_better_than_who_was_tried(void **state)
{
    struct world *world = new_ring(3, 0, NULL);
    weft_endpoint *tried[] = {world->endpoints[0], world->endpoints[2]};
    (void)state;
    atomic_store(&world->endpoints[1]->calls, 1000);
    for (uint64_t hash = 0; hash < 100; hash++) {
        world->hash = hash;
        assert_ptr_equal(pick(world, tried, 2), world->endpoints[1]);
    }
    end_world(world);
}

static void a_metadatum_is_hashed_when_the_call_has_no_hash(void **state)
{
    struct world *world = new_ring(10, 0, "customer");
    weft_metadatum items[] = {{weft_sv_from("other"), weft_sv_from("1")},
                              {weft_sv_from("customer"), weft_sv_from("42")}};
    (void)state;
    world->metadata = (weft_metadata){items, 2};
    const weft_endpoint *by_hash = pick_hash(world, weft_hash(weft_sv_from("42")));
    world->has_hash = false;
    for (int i = 0; i < 50; i++)
        assert_ptr_equal(pick_hash(world, 0), by_hash);
    world->has_hash = true; /* which comes first */
    const weft_endpoint *elsewhere = pick_hash(world, 1);
    for (uint64_t hash = 2; elsewhere == by_hash; hash++)
        elsewhere = pick_hash(world, hash);
    assert_ptr_not_equal(elsewhere, by_hash);
    end_world(world);
}

static void calls_without_a_hash_go_anywhere(void **state)
{
    struct world *world = new_ring(10, 0, "customer");
    (void)state;
    world->has_hash = false;
    for (int i = 0; i < HASHES; i++)
        world->picked[index_of(world, pick_hash(world, 0))]++;
    for (size_t i = 0; i < world->count; i++)
        assert_in_range(world->picked[i], HASHES / 10 * 6 / 10, HASHES / 10 * 14 / 10);
    end_world(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(the_hash_is_the_same_on_every_machine),
        cmocka_unit_test(a_hash_stays_where_it_is),
        cmocka_unit_test(the_order_of_the_list_does_not_matter),
        cmocka_unit_test(one_that_comes_moves_its_share_of_the_hashes_and_only_to_itself),
        cmocka_unit_test(one_that_goes_moves_only_its_own_hashes),
        cmocka_unit_test(weights_are_shares_of_the_ring),
        cmocka_unit_test(a_ring_that_is_too_large_has_fewer_points_of_each),
        cmocka_unit_test(nobody_gets_more_than_the_bound),
        cmocka_unit_test(the_bound_heeds_weights),
        cmocka_unit_test(without_a_bound_a_hash_never_moves),
        cmocka_unit_test(a_hash_comes_home_when_there_is_room_again),
        cmocka_unit_test(calls_end_and_are_forgotten),
        cmocka_unit_test(who_is_full_is_better_than_who_was_tried),
        cmocka_unit_test(a_metadatum_is_hashed_when_the_call_has_no_hash),
        cmocka_unit_test(calls_without_a_hash_go_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
