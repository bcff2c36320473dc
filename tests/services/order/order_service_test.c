/* The handlers, called as clients call them, over the memory engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <time.h>

#include "rig.h"

static void assert_bad_field(weft_status status, const char *field, const char *why)
{
    char message[128];
    snprintf(message, sizeof message, "%s %s", field, why);
    assert_status(status, WEFT_INVALID_ARGUMENT, message);
    const Google__Rpc__BadRequest *bad =
        (Google__Rpc__BadRequest *)detail(&status, &google__rpc__bad_request__descriptor);
    assert_int_equal(bad->n_field_violations, 1);
    assert_string_equal(bad->field_violations[0]->field, field);
}

static void assert_reason(weft_status status, const char *reason)
{
    const Google__Rpc__ErrorInfo *info =
        (Google__Rpc__ErrorInfo *)detail(&status, &google__rpc__error_info__descriptor);
    assert_string_equal(info->reason, reason);
    assert_string_equal(info->domain, "order.OrderService");
}

static void assert_is_order(const Order__Order *order, const char *id, Order__OrderStatus status)
{
    assert_string_equal(order->id, id);
    assert_string_equal(order->user_id, ADA);
    assert_int_equal(order->status, status);
    assert_int_equal(order->n_items, 2);
    assert_string_equal(order->items[0]->product_id, "tea");
    assert_int_equal(order->items[0]->quantity, 2);
    assert_int_equal(order->items[0]->price->minor_units, 500);
    assert_string_equal(order->items[1]->product_id, "pot");
    assert_int_equal(order->items[1]->quantity, 1);
    assert_string_equal(order->items[1]->price->currency_code, "EUR");
    assert_string_equal(order->total_amount->currency_code, "EUR");
    assert_int_equal(order->total_amount->minor_units, 3000);
}

#define PENDING   ORDER__ORDER_STATUS__ORDER_STATUS_PENDING
#define CANCELLED ORDER__ORDER_STATUS__ORDER_STATUS_CANCELLED

/* ---- CreateOrder, GetOrder --------------------------------------------------------------------------------------- */

static void an_order_is_placed_and_fetched(void **state)
{
    (void)state;
    Order__CreateOrderResponse *created = NULL;
    Order__GetOrderResponse *fetched = NULL;
    uint8_t id[WEFT_UUID_BYTES];
    struct timespec before; /* time() may lag behind */
    struct timespec after;
    clock_gettime(CLOCK_REALTIME, &before);
    assert_status(create(request_of(ADA, "key"), &created), WEFT_OK, "");
    assert_true(weft_uuid_parse(created->order->id, id));
    assert_int_equal(id[6] >> 4, 7);
    assert_is_order(created->order, created->order->id, PENDING);
    clock_gettime(CLOCK_REALTIME, &after);
    assert_in_range(created->order->created_at->seconds, before.tv_sec, after.tv_sec);
    assert_true(created->order->created_at->nanos >= 0 && created->order->created_at->nanos < 1000000000);
    assert_status(get(created->order->id, &fetched), WEFT_OK, "");
    assert_is_order(fetched->order, created->order->id, PENDING);
    assert_true(fetched->order->created_at->seconds == created->order->created_at->seconds);
    assert_int_equal(fetched->order->created_at->nanos, created->order->created_at->nanos);
}

static void ids_may_be_written_in_upper_case(void **state)
{
    (void)state;
    Order__CreateOrderResponse *created = NULL;
    Order__GetOrderResponse *fetched = NULL;
    char upper[WEFT_UUID_TEXT_BYTES];
    assert_status(create(request_of("0190A000-0000-7000-8000-00000000000A", "key"), &created), WEFT_OK, "");
    assert_string_equal(created->order->user_id, ADA);
    for (int i = 0; i < WEFT_UUID_TEXT_BYTES; i++) {
        char c = created->order->id[i];
        upper[i] = c >= 'a' && c <= 'f' ? (char)(c - 'a' + 'A') : c;
    }
    assert_status(get(upper, &fetched), WEFT_OK, "");
    assert_string_equal(fetched->order->id, created->order->id);
    assert_string_equal(create_order("key"), created->order->id);
}

static void an_order_that_does_not_exist_is_not_found(void **state)
{
    (void)state;
    char long_id[9000];
    ProtobufCMessage *none = NULL;
    assert_status(get(NOBODY, NULL), WEFT_NOT_FOUND, "order " NOBODY " does not exist");
    assert_status(get("no-uuid", NULL), WEFT_NOT_FOUND, "order no-uuid does not exist");
    assert_status(cancel(NOBODY, NULL), WEFT_NOT_FOUND, "order " NOBODY " does not exist");
    assert_status(cancel("", NULL), WEFT_NOT_FOUND, "order  does not exist");
    weft_status status = get(NOBODY, NULL);
    const Google__Rpc__ResourceInfo *resource =
        (Google__Rpc__ResourceInfo *)detail(&status, &google__rpc__resource_info__descriptor);
    assert_string_equal(resource->resource_type, "order");
    assert_string_equal(resource->resource_name, NOBODY);
    memset(long_id, 'x', sizeof long_id - 1);
    long_id[sizeof long_id - 1] = '\0';
    status = get(long_id, NULL);
    assert_int_equal(status.code, WEFT_NOT_FOUND);
    assert_int_equal(weft_status_detail(&status, &google__rpc__resource_info__descriptor, rig.arena, &none), -ENOENT);
}

static void a_bad_field_is_named_before_anybody_is_asked(void **state)
{
    (void)state;
    char long_key[130];
    Order__CreateOrderRequest *request = request_of("", "key");
    assert_bad_field(create(request, NULL), "user_id", "must not be empty");
    assert_bad_field(create(request_of(ADA, ""), NULL), "idempotency_key", "must not be empty");
    memset(long_key, 'k', 129);
    long_key[129] = '\0';
    assert_bad_field(create(request_of(ADA, long_key), NULL), "idempotency_key",
                     "must not be longer than 128 characters");
    request = request_of(ADA, "key");
    request->n_items = 0;
    assert_bad_field(create(request, NULL), "items", "must not be empty");
    request = request_of(ADA, "key");
    request->items[1]->product_id = "";
    assert_bad_field(create(request, NULL), "items[1].product_id", "must not be empty");
    request = request_of(ADA, "key");
    request->items[0]->quantity = 0;
    assert_bad_field(create(request, NULL), "items[0].quantity", "must lie between 1 and 1000000");
    request = request_of(ADA, "key");
    request->items[1]->price = NULL;
    assert_bad_field(create(request, NULL), "items[1].price", "must be set");
    request = request_of(ADA, "key");
    request->items[0]->price->currency_code = "eur";
    assert_bad_field(create(request, NULL), "items[0].price.currency_code", "must be three letters such as EUR");
    request = request_of(ADA, "key");
    request->items[1]->price->currency_code = "USD";
    assert_bad_field(create(request, NULL), "items[1].price.currency_code", "must be the same for all items");
    request = request_of(ADA, "key");
    request->items[1]->price->minor_units = -1;
    assert_bad_field(create(request, NULL), "items[1].price.minor_units", "must not be negative");
    request = request_of(ADA, "key");
    request->items[0]->price->minor_units = INT64_MAX;
    assert_bad_field(create(request, NULL), "items", "add up to more than an amount can hold");
    assert_int_equal(atomic_load(&fake_users.asked), 0);
}

static void more_than_100_items_are_refused(void **state)
{
    (void)state;
    Order__OrderItem *items[101];
    Order__CreateOrderRequest *request = request_of(ADA, "key");
    for (size_t i = 0; i < 101; i++)
        items[i] = request->items[i % 2];
    request->items = items;
    request->n_items = 101;
    assert_bad_field(create(request, NULL), "items", "must not be more than 100");
    request->n_items = 100;
    assert_status(create(request, NULL), WEFT_OK, "");
}

/* ---- Idempotency ------------------------------------------------------------------------------------------------- */

static void the_same_request_gets_the_stored_order_without_the_user_service(void **state)
{
    (void)state;
    Order__CreateOrderResponse *again = NULL;
    char *id = create_order("key");
    assert_int_equal(atomic_load(&fake_users.asked), 1);
    atomic_store(&fake_users.answer, -EHOSTUNREACH);
    assert_status(create(request_of(ADA, "key"), &again), WEFT_OK, "");
    assert_is_order(again->order, id, PENDING);
    assert_status(cancel(id, NULL), WEFT_OK, "");
    assert_status(create(request_of(ADA, "key"), &again), WEFT_OK, "");
    assert_is_order(again->order, id, CANCELLED);
    assert_int_equal(atomic_load(&fake_users.asked), 1);
}

static void a_key_with_another_request_is_refused(void **state)
{
    (void)state;
    static const char answer[] = "idempotency_key belongs to another order";
    Order__CreateOrderResponse *bobs = NULL;
    char *id = create_order("key");
    Order__CreateOrderRequest *request = request_of(ADA, "key");
    request->items[0]->quantity = 3;
    weft_status status = create(request, NULL);
    assert_status(status, WEFT_ALREADY_EXISTS, answer);
    assert_reason(status, "IDEMPOTENCY_KEY_REUSED");
    request = request_of(ADA, "key");
    request->n_items = 1;
    assert_status(create(request, NULL), WEFT_ALREADY_EXISTS, answer);
    assert_status(create(request_of(BOB, "key"), &bobs), WEFT_OK, ""); /* keys are a user's own */
    assert_string_not_equal(bobs->order->id, id);
}

struct caller {
    pthread_t thread;
    weft_arena *arena;
    Order__CreateOrderRequest *request;
    Order__CreateOrderResponse *response;
    weft_status status;
};

static void *call(void *arg)
{
    struct caller *caller = arg;
    caller->status =
        order_OrderService_CreateOrder(rig.channel, caller->arena, NULL, caller->request, &caller->response);
    return NULL;
}

static void calls_at_the_same_time_place_one_order(void **state)
{
    (void)state;
    struct caller callers[8];
    for (int round = 0; round < 10; round++) {
        char key[16];
        snprintf(key, sizeof key, "%d", round);
        Order__CreateOrderRequest *request = request_of(ADA, key);
        for (int i = 0; i < 8; i++) {
            callers[i] = (struct caller){.request = request};
            assert_int_equal(weft_arena_new(&callers[i].arena, 0), 0);
            assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
        }
        for (int i = 0; i < 8; i++)
            pthread_join(callers[i].thread, NULL);
        for (int i = 0; i < 8; i++) {
            assert_status(callers[i].status, WEFT_OK, "");
            assert_string_equal(callers[i].response->order->id, callers[0].response->order->id);
        }
        for (int i = 0; i < 8; i++)
            weft_arena_free(callers[i].arena);
    }
}

/* ---- The user ---------------------------------------------------------------------------------------------------- */

static void nobody_orders_nothing(void **state)
{
    (void)state;
    weft_status status = create(request_of(NOBODY, "key"), NULL);
    assert_status(status, WEFT_FAILED_PRECONDITION, "user " NOBODY " does not exist");
    assert_reason(status, "USER_NOT_FOUND");
    assert_int_equal(atomic_load(&fake_users.asked), 1);
    status = create(request_of("no-uuid", "key"), NULL);
    assert_status(status, WEFT_FAILED_PRECONDITION, "user no-uuid does not exist");
    assert_reason(status, "USER_NOT_FOUND");
    assert_int_equal(atomic_load(&fake_users.asked), 1); /* that is the id of nobody */
}

static void a_user_service_that_cannot_be_asked_is_unavailable_and_says_when_to_try_again(void **state)
{
    (void)state;
    atomic_store(&fake_users.answer, -EHOSTUNREACH);
    weft_status status = create(request_of(ADA, "key"), NULL);
    assert_status(status, WEFT_UNAVAILABLE, "the user service cannot be asked; try again");
    const Google__Rpc__RetryInfo *info =
        (Google__Rpc__RetryInfo *)detail(&status, &google__rpc__retry_info__descriptor);
    assert_int_equal(info->retry_delay->seconds, 1);
    atomic_store(&fake_users.answer, 0);
    create_order("key"); /* nothing was ordered before */
    assert_int_equal(atomic_load(&fake_users.asked), 2);
}

static void what_ends_the_question_ends_the_call(void **state)
{
    (void)state;
    static const struct {
        int rc;
        weft_code code;
    } cases[] = {{-ETIMEDOUT, WEFT_DEADLINE_EXCEEDED},
                 {-ECANCELED, WEFT_CANCELLED},
                 {-ENOMEM, WEFT_RESOURCE_EXHAUSTED},
                 {-EPROTO, WEFT_INTERNAL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        atomic_store(&fake_users.answer, cases[i].rc);
        assert_int_equal(create(request_of(ADA, "key"), NULL).code, cases[i].code);
    }
}

/* ---- CancelOrder ------------------------------------------------------------------------------------------------- */

static void an_order_is_cancelled_once_and_for_all(void **state)
{
    (void)state;
    Order__CancelOrderResponse *cancelled = NULL;
    Order__GetOrderResponse *fetched = NULL;
    char *id = create_order("key");
    for (int i = 0; i < 2; i++) {
        assert_status(cancel(id, &cancelled), WEFT_OK, "");
        assert_is_order(cancelled->order, id, CANCELLED);
    }
    assert_status(get(id, &fetched), WEFT_OK, "");
    assert_is_order(fetched->order, id, CANCELLED);
}

static void a_status_that_a_newer_program_has_written_is_not_made_up(void **state)
{
    (void)state;
    Order__GetOrderResponse *fetched = NULL;
    char *id = create_order("key");
    rig_sql("UPDATE orders SET status = 77");
    assert_status(get(id, &fetched), WEFT_OK, "");
    assert_int_equal(fetched->order->status, ORDER__ORDER_STATUS__ORDER_STATUS_UNSPECIFIED);
}

/* ---- ListOrders -------------------------------------------------------------------------------------------------- */

static weft_status list(char *user_id, int32_t page_size, char *token, Order__ListOrdersResponse **response)
{
    Order__ListOrdersRequest request = ORDER__LIST_ORDERS_REQUEST__INIT;
    Order__ListOrdersResponse *unused = NULL;
    request.user_id = user_id;
    request.page_size = page_size;
    request.page_token = token;
    return order_OrderService_ListOrders(rig.channel, rig.arena, NULL, &request, response != NULL ? response : &unused);
}

static void pages_hold_every_order_of_the_user_once_the_newest_first(void **state)
{
    (void)state;
    char *ids[60];
    char key[16];
    Order__ListOrdersResponse *page = NULL;
    size_t seen = 0;
    char *token = "";
    assert_status(list(ADA, 10, "", &page), WEFT_OK, "");
    assert_int_equal(page->n_orders, 0);
    assert_string_equal(page->next_page_token, "");
    for (int i = 0; i < 60; i++) {
        snprintf(key, sizeof key, "%d", i);
        ids[i] = create_order(key);
        assert_status(create(request_of(BOB, key), NULL), WEFT_OK, "");
    }
    do {
        assert_status(list(ADA, 25, token, &page), WEFT_OK, "");
        assert_int_equal(page->n_orders, seen < 50 ? 25 : 10);
        for (size_t i = 0; i < page->n_orders; i++, seen++)
            assert_is_order(page->orders[i], ids[59 - seen], PENDING);
        token = page->next_page_token;
        snprintf(key, sizeof key, "more %zu", seen);
        create_order(key); /* one that comes in the meantime */
    } while (token[0] != '\0' && seen < 60);
    assert_int_equal(seen, 60);
    assert_string_equal(token, "");
}

static void a_page_has_50_orders_unless_it_is_said_and_1000_at_most(void **state)
{
    (void)state;
    Order__ListOrdersResponse *page = NULL;
    create_order("key");
    rig_sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1100)"
            " INSERT INTO orders SELECT printf('00000000-0000-7000-8000-%012d', i), user_id, i, currency_code, total, "
            "status, created_at_ns"
            " FROM orders, n");
    assert_status(list(ADA, 0, "", &page), WEFT_OK, "");
    assert_int_equal(page->n_orders, 50);
    assert_status(list(ADA, INT32_MAX, "", &page), WEFT_OK, "");
    assert_int_equal(page->n_orders, 1000);
    assert_status(list(ADA, INT32_MAX, page->next_page_token, &page), WEFT_OK, "");
    assert_int_equal(page->n_orders, 101);
    assert_string_equal(page->next_page_token, "");
    assert_status(list(ADA, 101, page->next_page_token, &page), WEFT_OK, "");
    assert_int_equal(page->n_orders, 101);
}

static void a_page_of_large_orders_is_shorter_and_fits_into_what_clients_take(void **state)
{
    (void)state;
    Order__ListOrdersResponse *page = NULL;
    size_t seen = 0;
    char *token = "";
    create_order("key");
    /* 150 orders of a hundred items with the longest ids that there are. */
    rig_sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150)"
            " INSERT INTO orders SELECT printf('00000000-0000-7000-8000-%012d', i), user_id, i, currency_code, total, "
            "status, created_at_ns"
            " FROM orders, n;"
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)"
            " INSERT INTO order_items SELECT id, i, replace(printf('%064d', i), '0', char(128512)), 1000000,"
            " 9000000000000 FROM orders, n WHERE id < '00001'");
    do {
        assert_status(list(ADA, 1000, token, &page), WEFT_OK, "");
        assert_true(page->n_orders > 0);
        seen += page->n_orders;
        token = page->next_page_token;
    } while (token[0] != '\0' && seen < 1000);
    assert_int_equal(seen, 151);
}

static void a_page_token_serves_the_list_that_it_comes_from(void **state)
{
    (void)state;
    static const char answer[] = "does not come from an earlier answer";
    Order__ListOrdersResponse *page = NULL;
    char *oldest = create_order("1");
    create_order("2");
    assert_status(list(ADA, 1, "", &page), WEFT_OK, "");
    char *token = page->next_page_token;
    assert_bad_field(list(ADA, 1, "x", NULL), "page_token", answer);
    assert_bad_field(list(BOB, 1, token, NULL), "page_token", answer);
    assert_bad_field(list("no-uuid", 1, token, NULL), "page_token", answer);
    token[0] ^= 1;
    assert_bad_field(list(ADA, 1, token, NULL), "page_token", answer);
    token[0] ^= 1;
    assert_status(list(ADA, 1, token, &page), WEFT_OK, "");
    assert_int_equal(page->n_orders, 1);
    assert_string_equal(page->orders[0]->id, oldest);
    token[strlen(token) - 1] = '\0';
    assert_bad_field(list(ADA, 1, token, NULL), "page_token", answer);
}

static void a_list_is_somebodys(void **state)
{
    (void)state;
    Order__ListOrdersResponse *page = NULL;
    create_order("1");
    assert_bad_field(list("", 1, "", NULL), "user_id", "must not be empty");
    assert_bad_field(list(ADA, -1, "", NULL), "page_size", "must not be negative");
    assert_status(list(BOB, 0, "", &page), WEFT_OK, "");
    assert_int_equal(page->n_orders, 0);
    assert_status(list("no-uuid", 0, "", &page), WEFT_OK, "");
    assert_int_equal(page->n_orders, 0);
}

/* ---- Trouble with the disk --------------------------------------------------------------------------------------- */

static void a_full_disk_is_resource_exhausted(void **state)
{
    (void)state;
    char key[16];
    weft_status status = {.code = WEFT_OK};
    rig_stop();
    rig_start(5000, 128 << 10);
    for (int i = 0; i < 5000 && status.code == WEFT_OK; i++) {
        snprintf(key, sizeof key, "%d", i);
        status = create(request_of(ADA, key), NULL);
    }
    assert_status(status, WEFT_RESOURCE_EXHAUSTED, "the disk is full");
    assert_status(list(ADA, 1, "", NULL), WEFT_OK, "");
}

static void a_locked_database_is_unavailable(void **state)
{
    (void)state;
    sqlite3 *db;
    char *id = create_order("1");
    rig_stop();
    rig_start(20, 0);
    assert_int_equal(sqlite3_open(rig.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_status(create(request_of(ADA, "2"), NULL), WEFT_UNAVAILABLE, "the database is locked; try again");
    assert_status(cancel(id, NULL), WEFT_UNAVAILABLE, "the database is locked; try again");
    assert_status(get(id, NULL), WEFT_OK, "");
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_status(create(request_of(ADA, "2"), NULL), WEFT_OK, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_drop)
    const struct CMUnitTest tests[] = {
        TEST(an_order_is_placed_and_fetched),
        TEST(ids_may_be_written_in_upper_case),
        TEST(an_order_that_does_not_exist_is_not_found),
        TEST(a_bad_field_is_named_before_anybody_is_asked),
        TEST(more_than_100_items_are_refused),
        TEST(the_same_request_gets_the_stored_order_without_the_user_service),
        TEST(a_key_with_another_request_is_refused),
        TEST(calls_at_the_same_time_place_one_order),
        TEST(nobody_orders_nothing),
        TEST(a_user_service_that_cannot_be_asked_is_unavailable_and_says_when_to_try_again),
        TEST(what_ends_the_question_ends_the_call),
        TEST(an_order_is_cancelled_once_and_for_all),
        TEST(a_status_that_a_newer_program_has_written_is_not_made_up),
        TEST(pages_hold_every_order_of_the_user_once_the_newest_first),
        TEST(a_page_has_50_orders_unless_it_is_said_and_1000_at_most),
        TEST(a_page_of_large_orders_is_shorter_and_fits_into_what_clients_take),
        TEST(a_page_token_serves_the_list_that_it_comes_from),
        TEST(a_list_is_somebodys),
        TEST(a_full_disk_is_resource_exhausted),
        TEST(a_locked_database_is_unavailable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
