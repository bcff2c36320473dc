/* base/list.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
    int number;
    weft__list_node node;
};

/* The numbers in the list, as a text. */
static const char *numbers(const weft__list *list)
{
    static char text[64];
    size_t len = 0;

    text[0] = '\0';
    for (weft__list_node *n = weft__list_first(list); n != NULL; n = weft__list_next(list, n))
        len += (size_t)snprintf(text + len, sizeof text - len, "%d", WEFT__CONTAINER_OF(n, struct item, node)->number);
    return text;
}

static void nodes_stand_in_the_order_of_their_linking(void **state)
{
    (void)state;
    weft__list list;
    struct item items[4] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};

    weft__list_init(&list);
    assert_true(weft__list_empty(&list));
    assert_string_equal(numbers(&list), "");
    weft__list_push_back(&list, &items[1].node);
    weft__list_push_back(&list, &items[3].node);
    weft__list_push_front(&list, &items[0].node);
    weft__list_insert_before(&items[3].node, &items[2].node);
    assert_false(weft__list_empty(&list));
    assert_string_equal(numbers(&list), "1234");
}

static void a_node_can_be_removed_wherever_it_stands(void **state)
{
    (void)state;
    struct item items[3] = {{.number = 1}, {.number = 2}, {.number = 3}};
    const char *const left[] = {"23", "13", "12"};

    for (int i = 0; i < 3; i++) {
        weft__list list;
        weft__list_init(&list);
        for (int j = 0; j < 3; j++)
            weft__list_push_back(&list, &items[j].node);
        assert_true(weft__list_linked(&items[i].node));
        weft__list_remove(&items[i].node);
        assert_false(weft__list_linked(&items[i].node));
        assert_string_equal(numbers(&list), left[i]);
        weft__list_remove(&items[i].node); /* again: nothing happens */
        assert_string_equal(numbers(&list), left[i]);
    }
}

static void popping_takes_the_first_until_none_is_left(void **state)
{
    (void)state;
    weft__list list;
    struct item items[2] = {{.number = 1}, {.number = 2}};

    weft__list_init(&list);
    weft__list_push_back(&list, &items[0].node);
    weft__list_push_back(&list, &items[1].node);
    assert_ptr_equal(weft__list_pop_front(&list), &items[0].node);
    assert_ptr_equal(weft__list_pop_front(&list), &items[1].node);
    assert_null(weft__list_pop_front(&list));
    assert_true(weft__list_empty(&list));
}

static void a_list_can_be_walked_from_its_end(void **state)
{
    (void)state;
    weft__list list;
    struct item items[3] = {{.number = 1}, {.number = 2}, {.number = 3}};

    weft__list_init(&list);
    assert_null(weft__list_last(&list));
    for (int i = 0; i < 3; i++)
        weft__list_push_back(&list, &items[i].node);
    weft__list_node *node = weft__list_last(&list);
    for (int i = 2; i >= 0; i--) {
        assert_ptr_equal(node, &items[i].node);
        node = weft__list_prev(&list, node);
    }
    assert_null(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_can_be_walked_from_its_end),
        cmocka_unit_test(nodes_stand_in_the_order_of_their_linking),
        cmocka_unit_test(a_node_can_be_removed_wherever_it_stands),
        cmocka_unit_test(popping_takes_the_first_until_none_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
