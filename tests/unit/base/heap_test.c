/* base/heap.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/heap.h"
#include "base/random.h"

enum {
    COUNT = 500
};

static void an_empty_heap_has_no_first(void **state)
{
    const weft__heap heap = {NULL};
    (void)state;
    assert_null(weft__heap_first(&heap));
}

static void what_is_in_no_heap_cannot_be_removed(void **state)
{
    weft__heap heap = {NULL};
    weft__heap_node node = {.linked = false};
    (void)state;
    assert_false(weft__heap_remove(&heap, &node));
    weft__heap_push(&heap, &node, 7);
    assert_ptr_equal(weft__heap_first(&heap), &node);
    assert_true(weft__heap_remove(&heap, &node));
    assert_false(weft__heap_remove(&heap, &node));
    assert_null(weft__heap_first(&heap));
}

static const weft__heap_node *least(const weft__heap_node *nodes)
{
    const weft__heap_node *found = NULL;
    for (size_t i = 0; i < COUNT; i++)
        if (nodes[i].linked && (found == NULL || nodes[i].key < found->key))
            found = &nodes[i];
    return found;
}

/* Pushes and removes at random, and compares with a search through all. */
static void the_first_is_always_the_least(void **state)
{
    static weft__heap_node nodes[COUNT];
    weft__heap heap = {NULL};
    weft__random_seeded source;
    weft__random *random = weft__random_seed(&source, 20261125);
    (void)state;
    for (int step = 0; step < 20000; step++) {
        weft__heap_node *node = &nodes[random->next(random) % COUNT];
        if (node->linked)
            assert_true(weft__heap_remove(&heap, node));
        else
            weft__heap_push(&heap, node, (int64_t)(random->next(random) % 100));
        const weft__heap_node *wanted = least(nodes);
        const weft__heap_node *first = weft__heap_first(&heap);
        assert_int_equal(first == NULL, wanted == NULL);
        if (first != NULL && wanted != NULL)
            assert_int_equal(first->key, wanted->key);
    }
}

static void taking_the_first_again_and_again_sorts(void **state)
{
    static weft__heap_node nodes[COUNT];
    weft__heap heap = {NULL};
    int64_t last = INT64_MIN;
    (void)state;
    for (int64_t i = 0; i < COUNT; i++)
        weft__heap_push(&heap, &nodes[i], i * 7919 % COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        weft__heap_node *first = weft__heap_first(&heap);
        assert_true(first->key >= last);
        last = first->key;
        assert_true(weft__heap_remove(&heap, first));
    }
    assert_null(weft__heap_first(&heap));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_heap_has_no_first),
        cmocka_unit_test(what_is_in_no_heap_cannot_be_removed),
        cmocka_unit_test(the_first_is_always_the_least),
        cmocka_unit_test(taking_the_first_again_and_again_sorts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
