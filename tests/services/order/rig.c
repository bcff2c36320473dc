#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

#include "order_store_sqlite.h"

struct order_service service;
struct fake_users fake_users;
atomic_int store_get_answer;

static int find_user(struct user_directory *base, weft_call *parent, const char *id)
{
    struct fake_users *users = (struct fake_users *)base;
    (void)parent;
    atomic_fetch_add(&users->asked, 1);
    if (atomic_load(&users->answer) != 0)
        return atomic_load(&users->answer);
    return strcmp(id, ADA) == 0 || strcmp(id, BOB) == 0 ? 0 : -ENOENT;
}

static const struct user_directory_vtable fake_vtable = {.name = "fake", .find = find_user};

/* ---- A store that fails when it shall ---------------------------------------------------------------------------- */

static const struct order_store_vtable *sound;

static int get_or_fail(struct order_store *store, const char *id, weft_arena *arena, struct order *out,
                       int64_t *position)
{
    int rc = atomic_load(&store_get_answer);
    return rc != 0 ? rc : sound->get(store, id, arena, out, position);
}

static void let_fail(struct order_store *store)
{
    static struct order_store_vtable faulty;
    sound = store->vtable;
    faulty = *sound;
    faulty.get = get_or_fail;
    store->vtable = &faulty;
    atomic_store(&store_get_answer, 0);
}

/* ------------------------------------------------------------------------------------------------------------------ */

struct order_store *rig_open_store(int64_t busy_timeout_ms, int64_t max_bytes)
{
    char error[256];
    struct order_store *store = NULL;
    weft_sqlite_options options = rig_sqlite_options(busy_timeout_ms, max_bytes);
    if (order_store_sqlite_open(&store, &options, error, sizeof error) != 0)
        fail_msg("%s", error);
    return store;
}

void service_open(int64_t busy_timeout_ms, int64_t max_bytes)
{
    service.store = rig_open_store(busy_timeout_ms, max_bytes);
    let_fail(service.store); /* before anybody uses it */
    fake_users.base.vtable = &fake_vtable;
    atomic_store(&fake_users.answer, 0);
    atomic_store(&fake_users.asked, 0);
    service.users = &fake_users.base;
    assert_int_equal(order_changes_start(&service.changes, service.store, rig.engine, NULL), 0);
    assert_int_equal(order_service_register(rig.server, &service), 0);
}

void service_close(void)
{
    order_changes_stop(service.changes);
    order_store_destroy(service.store);
}

Order__CreateOrderRequest *request_of(char *user_id, char *key)
{
    static Order__CreateOrderRequest request;
    static Order__Money prices[2];
    static Order__OrderItem items[2];
    static Order__OrderItem *pointers[2] = {&items[0], &items[1]};
    static char *const products[2] = {"tea", "pot"};
    for (int i = 0; i < 2; i++) {
        order__money__init(&prices[i]);
        prices[i].currency_code = "EUR";
        prices[i].minor_units = i == 0 ? 500 : 2000;
        order__order_item__init(&items[i]);
        items[i].product_id = products[i];
        items[i].quantity = i == 0 ? 2 : 1;
        items[i].price = &prices[i];
    }
    order__create_order_request__init(&request);
    request.user_id = user_id;
    request.idempotency_key = key;
    request.items = pointers;
    request.n_items = 2;
    return &request;
}

weft_status create(const Order__CreateOrderRequest *request, Order__CreateOrderResponse **response)
{
    Order__CreateOrderResponse *unused = NULL;
    return order_OrderService_CreateOrder(rig.channel, rig.arena, NULL, request, response != NULL ? response : &unused);
}

weft_status get(char *id, Order__GetOrderResponse **response)
{
    Order__GetOrderRequest request = ORDER__GET_ORDER_REQUEST__INIT;
    Order__GetOrderResponse *unused = NULL;
    request.id = id;
    return order_OrderService_GetOrder(rig.channel, rig.arena, NULL, &request, response != NULL ? response : &unused);
}

weft_status cancel(char *id, Order__CancelOrderResponse **response)
{
    Order__CancelOrderRequest request = ORDER__CANCEL_ORDER_REQUEST__INIT;
    Order__CancelOrderResponse *unused = NULL;
    request.id = id;
    return order_OrderService_CancelOrder(rig.channel, rig.arena, NULL, &request,
                                          response != NULL ? response : &unused);
}

char *create_order(char *key)
{
    Order__CreateOrderResponse *response = NULL;
    assert_status(create(request_of(ADA, key), &response), WEFT_OK, "");
    return response->order->id;
}
