#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "order.h"

static void assert_refused(int rc, const char *const *why, const char *reason)
{
    assert_int_equal(rc, -EINVAL);
    assert_string_equal(*why, reason);
}

/* `count` times an e with an accent: two bytes, one character. */
static char *accents(size_t count)
{
    static char text[1024];
    assert_true(2 * count < sizeof text);
    for (size_t i = 0; i < count; i++)
        memcpy(text + 2 * i, "\xc3\xa9", 2);
    text[2 * count] = '\0';
    return text;
}

static void a_key_has_1_to_128_characters(void **state)
{
    (void)state;
    const char *why = NULL;
    assert_refused(order_check_key("", &why), &why, "must not be empty");
    assert_refused(order_check_key(accents(129), &why), &why, "must not be longer than 128 characters");
    assert_int_equal(order_check_key(accents(128), &why), 0);
    assert_int_equal(order_check_key("k", &why), 0);
}

static void a_product_has_1_to_64_characters(void **state)
{
    (void)state;
    const char *why = NULL;
    assert_refused(order_check_product("", &why), &why, "must not be empty");
    assert_refused(order_check_product(accents(65), &why), &why, "must not be longer than 64 characters");
    assert_int_equal(order_check_product(accents(64), &why), 0);
    assert_int_equal(order_check_product("tea", &why), 0);
}

static void an_order_has_1_to_100_items(void **state)
{
    (void)state;
    const char *why = NULL;
    assert_refused(order_check_item_count(0, &why), &why, "must not be empty");
    assert_refused(order_check_item_count(101, &why), &why, "must not be more than 100");
    assert_int_equal(order_check_item_count(1, &why), 0);
    assert_int_equal(order_check_item_count(100, &why), 0);
}

static void a_quantity_is_1_to_1000000(void **state)
{
    (void)state;
    static const int32_t bad[] = {INT32_MIN, -1, 0, 1000001, INT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *why = NULL;
        assert_refused(order_check_quantity(bad[i], &why), &why, "must lie between 1 and 1000000");
    }
    const char *why = NULL;
    assert_int_equal(order_check_quantity(1, &why), 0);
    assert_int_equal(order_check_quantity(1000000, &why), 0);
}

static void a_price_may_be_nothing_but_not_negative(void **state)
{
    (void)state;
    const char *why = NULL;
    assert_refused(order_check_price(-1, &why), &why, "must not be negative");
    assert_refused(order_check_price(INT64_MIN, &why), &why, "must not be negative");
    assert_int_equal(order_check_price(0, &why), 0);
    assert_int_equal(order_check_price(INT64_MAX, &why), 0);
}

static void a_currency_is_three_capital_letters(void **state)
{
    (void)state;
    static const char *const bad[] = {"E", "EU", "EURO", "eur", "EU1", "E R", "\xc3\x84R", "EUR "};
    const char *why = NULL;
    assert_refused(order_check_currency("", NULL, &why), &why, "must not be empty");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_refused(order_check_currency(bad[i], NULL, &why), &why, "must be three letters such as EUR");
    assert_int_equal(order_check_currency("EUR", NULL, &why), 0);
}

static void all_items_have_one_currency(void **state)
{
    (void)state;
    const char *why = NULL;
    assert_int_equal(order_check_currency("JPY", "JPY", &why), 0);
    assert_refused(order_check_currency("EUR", "JPY", &why), &why, "must be the same for all items");
}

static void amounts_are_added_up_exactly(void **state)
{
    (void)state;
    const char *why = NULL;
    int64_t total = -1;
    static const struct order_item items[] = {
        {"tea", 3, 333}, {"sample", 1000000, 0}, {"gold", 1, INT64_C(9007199254740993)}};
    assert_int_equal(order_add_up(items, 3, &total, &why), 0);
    assert_true(total == INT64_C(9007199254740993) + 999);
}

static void a_sum_that_no_amount_holds_is_refused(void **state)
{
    (void)state;
    const char *why = NULL;
    int64_t total = -1;
    struct order_item most[] = {{"a", 1, INT64_MAX}, {"b", 1, 0}};
    assert_int_equal(order_add_up(most, 2, &total, &why), 0);
    assert_true(total == INT64_MAX);
    total = -1;
    most[1].price = 1;
    assert_refused(order_add_up(most, 2, &total, &why), &why, "add up to more than an amount can hold");
    struct order_item many = {"a", 1000000, INT64_MAX / 1000000};
    assert_int_equal(order_add_up(&many, 1, &total, &why), 0);
    many.price++;
    total = -1;
    assert_refused(order_add_up(&many, 1, &total, &why), &why, "add up to more than an amount can hold");
    assert_int_equal(total, -1);
}

static void the_same_is_what_was_asked_for_not_what_became_of_it(void **state)
{
    (void)state;
    struct order_item items[] = {{"tea", 1, 100}, {"pot", 2, 200}};
    struct order_item others[] = {{"tea", 1, 100}, {"pot", 2, 200}};
    struct order a = {"1", "ada", "k", "EUR", items, 2, 500, ORDER_PENDING, 1};
    struct order b = {"2", "ada", "k", "EUR", others, 2, 500, ORDER_CANCELLED, 2};
    assert_true(order_asks_the_same(&a, &b));
    b.currency_code = "USD";
    assert_false(order_asks_the_same(&a, &b));
    b.currency_code = "EUR";
    b.item_count = 1;
    assert_false(order_asks_the_same(&a, &b));
    b.item_count = 2;
    b.user_id = "bob";
    assert_false(order_asks_the_same(&a, &b));
    b.user_id = "ada";
    b.idempotency_key = "other";
    assert_false(order_asks_the_same(&a, &b));
    b.idempotency_key = "k";
    others[1].quantity = 3;
    assert_false(order_asks_the_same(&a, &b));
    others[1].quantity = 2;
    others[1].price = 201;
    assert_false(order_asks_the_same(&a, &b));
    others[1].price = 200;
    others[1].product_id = "can";
    assert_false(order_asks_the_same(&a, &b));
    others[1].product_id = "pot";
    assert_true(order_asks_the_same(&a, &b));
}

static void only_a_cancelled_order_stays_as_it_is(void **state)
{
    (void)state;
    assert_false(order_is_final(&(struct order){.status = ORDER_PENDING}));
    assert_true(order_is_final(&(struct order){.status = ORDER_CANCELLED}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_has_1_to_128_characters),
        cmocka_unit_test(a_product_has_1_to_64_characters),
        cmocka_unit_test(an_order_has_1_to_100_items),
        cmocka_unit_test(a_quantity_is_1_to_1000000),
        cmocka_unit_test(a_price_may_be_nothing_but_not_negative),
        cmocka_unit_test(a_currency_is_three_capital_letters),
        cmocka_unit_test(all_items_have_one_currency),
        cmocka_unit_test(amounts_are_added_up_exactly),
        cmocka_unit_test(a_sum_that_no_amount_holds_is_refused),
        cmocka_unit_test(the_same_is_what_was_asked_for_not_what_became_of_it),
        cmocka_unit_test(only_a_cancelled_order_stays_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
