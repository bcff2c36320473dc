/* The handlers: between the messages of order.proto and the domain. Everything they allocate dies with the call. */
#include "order_service.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <weft/details.h>
#include <weft/token.h>
#include <weft/uuid.h>

#include "order.h"
#include "order.weft.h"
#include "order_errors.h"
#include "order_message.h"

#define DEFAULT_PAGE_SIZE 50
#define MAX_PAGE_SIZE     1000
#define MAX_TRACK_BYTES   1024  /* a request is an id, and is kept while its stream lasts */
#define MAX_PAGE_ITEMS    10000 /* of all orders of a page: clients take 4 MiB */

/* ---- Messages ---------------------------------------------------------------------------------------------------- */

/* An empty string of a message means that the field is not set. */
static bool is_set(const char *field)
{
    return field[0] != '\0';
}

/* Checks an item. @param others the currency of the items before; NULL for the first. @param field what is wrong. */
static int check_item(const Order__OrderItem *message, const char *others, const char **field, const char **why)
{
    *field = "product_id";
    if (order_check_product(message->product_id, why) < 0)
        return -EINVAL;
    *field = "quantity";
    if (order_check_quantity(message->quantity, why) < 0)
        return -EINVAL;
    *field = "price";
    *why = "must be set";
    if (message->price == NULL)
        return -EINVAL;
    *field = "price.currency_code";
    if (order_check_currency(message->price->currency_code, others, why) < 0)
        return -EINVAL;
    *field = "price.minor_units";
    return order_check_price(message->price->minor_units, why);
}

/* Checks the items of a request and gives them to the order, with their currency and their sum. */
static weft_code to_items(weft_call *call, const Order__CreateOrderRequest *request, struct order *order)
{
    const char *why = NULL;
    if (order_check_item_count(request->n_items, &why) < 0)
        return weft_fail_field(call, "items", "%s", why);
    order->item_count = request->n_items;
    order->items = weft_arena_calloc(weft_call_arena(call), request->n_items, sizeof *order->items);
    if (order->items == NULL)
        return weft_fail_store(call, -ENOMEM);
    for (size_t i = 0; i < request->n_items; i++) {
        const Order__OrderItem *message = request->items[i];
        const char *field;
        char path[64];
        if (check_item(message, order->currency_code, &field, &why) < 0) {
            snprintf(path, sizeof path, "items[%zu].%s", i, field);
            return weft_fail_field(call, path, "%s", why);
        }
        order->currency_code = message->price->currency_code;
        order->items[i] = (struct order_item){message->product_id, message->quantity, message->price->minor_units};
    }
    if (order_add_up(order->items, order->item_count, &order->total, &why) < 0)
        return weft_fail_field(call, "items", "%s", why);
    return WEFT_OK;
}

/* Checks the request and makes an order of it, which refers to its strings. It has no id and no user yet. */
static weft_code to_order(weft_call *call, const Order__CreateOrderRequest *request, struct order *out)
{
    const char *why = NULL;
    *out = (struct order){.idempotency_key = request->idempotency_key};
    if (!is_set(request->user_id))
        return weft_fail_field(call, "user_id", "must not be empty");
    if (order_check_key(request->idempotency_key, &why) < 0)
        return weft_fail_field(call, "idempotency_key", "%s", why);
    return to_items(call, request, out);
}

/* Answers with an order, or with the status of the arena. */
static weft_code answer(weft_call *call, const struct order *order, Order__Order **out)
{
    *out = order_message_new(order, weft_call_arena(call));
    return *out != NULL ? WEFT_OK : weft_fail_store(call, -ENOMEM);
}

/* ---- CreateOrder ------------------------------------------------------------------------------------------------- */

/* Answers with the order that was placed before with the same key, if it is the same. */
static weft_code answer_again(weft_call *call, const struct order *order, const struct order *stored,
                              Order__CreateOrderResponse *response)
{
    if (!order_asks_the_same(order, stored))
        return order_fail_reused(call);
    return answer(call, stored, &response->order);
}

/* Gives a new order what it still lacks. */
static int complete(struct order *order, weft_arena *arena)
{
    struct timespec now;
    char *id = weft_arena_alloc(arena, WEFT_UUID_TEXT_BYTES);
    int rc = id != NULL ? weft_uuid7(id) : -ENOMEM;
    if (rc < 0)
        return rc;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -errno;
    order->id = id;
    order->status = ORDER_PENDING;
    order->created_at_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    return 0;
}

static weft_code create_order(weft_call *call, const Order__CreateOrderRequest *request,
                              Order__CreateOrderResponse *response, void *self)
{
    const struct order_service *service = self;
    weft_arena *arena = weft_call_arena(call);
    char *user_id = weft_arena_alloc(arena, WEFT_UUID_TEXT_BYTES); /* the answer refers to it */
    struct order order;
    struct order stored;
    weft_code code = to_order(call, request, &order);
    if (code != WEFT_OK)
        return code;
    if (user_id == NULL)
        return weft_fail_store(call, -ENOMEM);
    if (!order_parse_id(request->user_id, user_id))
        return order_fail_users(call, request->user_id, -ENOENT);
    order.user_id = user_id;
    int rc = order_store_find(service->store, user_id, order.idempotency_key, arena, &stored);
    if (rc == 0)
        return answer_again(call, &order, &stored, response);
    if (rc != -ENOENT)
        return weft_fail_store(call, rc);
    rc = user_directory_find(service->users, call, user_id);
    if (rc < 0)
        return order_fail_users(call, user_id, rc);
    rc = complete(&order, arena);
    if (rc == 0)
        rc = order_store_create(service->store, &order);
    if (rc == 0)
        return answer(call, &order, &response->order);
    if (rc == -EEXIST) /* another call was faster */
        rc = order_store_find(service->store, user_id, order.idempotency_key, arena, &stored);
    return rc == 0 ? answer_again(call, &order, &stored, response) : weft_fail_store(call, rc);
}

/* ---- One order --------------------------------------------------------------------------------------------------- */

static weft_code get_order(weft_call *call, const Order__GetOrderRequest *request, Order__GetOrderResponse *response,
                           void *self)
{
    const struct order_service *service = self;
    char id[WEFT_UUID_TEXT_BYTES];
    struct order order;
    int rc = -ENOENT;
    if (order_parse_id(request->id, id))
        rc = order_store_get(service->store, id, weft_call_arena(call), &order, NULL);
    if (rc == -ENOENT)
        return order_fail_missing(call, request->id);
    if (rc < 0)
        return weft_fail_store(call, rc);
    return answer(call, &order, &response->order);
}

static weft_code cancel_order(weft_call *call, const Order__CancelOrderRequest *request,
                              Order__CancelOrderResponse *response, void *self)
{
    const struct order_service *service = self;
    char id[WEFT_UUID_TEXT_BYTES];
    struct order order;
    int rc = -ENOENT;
    if (order_parse_id(request->id, id))
        rc = order_store_cancel(service->store, id, weft_call_arena(call), &order);
    if (rc == -ENOENT)
        return order_fail_missing(call, request->id);
    if (rc < 0)
        return weft_fail_store(call, rc);
    return answer(call, &order, &response->order);
}

/* ---- Many orders ------------------------------------------------------------------------------------------------- */

/* How many of the orders go on one page: one at least, if there is one. */
static size_t count_shown(const struct order *orders, size_t count, size_t page_size)
{
    size_t items = 0;
    size_t shown = 0;
    while (shown < count && shown < page_size) {
        items += orders[shown].item_count;
        if (shown > 0 && items > MAX_PAGE_ITEMS)
            break;
        shown++;
    }
    return shown;
}

/* Puts the orders into the response, but for those behind the page, which show that there is another page. */
static int fill_page(Order__ListOrdersResponse *response, const struct order *orders, size_t count, size_t page_size,
                     weft_arena *arena)
{
    size_t shown = count_shown(orders, count, page_size);
    response->orders = weft_arena_calloc(arena, shown, sizeof *response->orders);
    char *token = weft_arena_zalloc(arena, WEFT_TOKEN_BYTES);
    if (weft_arena_failed(arena))
        return -ENOMEM;
    for (size_t i = 0; i < shown; i++) {
        response->orders[i] = order_message_new(&orders[i], arena);
        if (response->orders[i] == NULL)
            return -ENOMEM;
    }
    response->n_orders = shown;
    if (count > shown)
        weft_token_format(orders[shown - 1].id, orders[shown - 1].user_id, token);
    response->next_page_token = token;
    return 0;
}

static weft_code list_orders(weft_call *call, const Order__ListOrdersRequest *request,
                             Order__ListOrdersResponse *response, void *self)
{
    const struct order_service *service = self;
    weft_arena *arena = weft_call_arena(call);
    char user_id[WEFT_UUID_TEXT_BYTES] = "";
    char text[WEFT_TOKEN_TEXT_BYTES]; /* the last id of the page before */
    char before_id[WEFT_UUID_TEXT_BYTES];
    struct order *orders = NULL;
    size_t count = 0;
    int rc = 0;
    if (!is_set(request->user_id))
        return weft_fail_field(call, "user_id", "must not be empty");
    if (request->page_size < 0)
        return weft_fail_field(call, "page_size", "must not be negative");
    bool somebody = order_parse_id(request->user_id, user_id);
    if (is_set(request->page_token) &&
        !(weft_token_parse(request->page_token, user_id, text) && order_parse_id(text, before_id)))
        return weft_fail_field(call, "page_token", "does not come from an earlier answer");
    size_t page_size = request->page_size == 0 ? DEFAULT_PAGE_SIZE : (size_t)request->page_size;
    if (page_size > MAX_PAGE_SIZE)
        page_size = MAX_PAGE_SIZE;
    if (somebody)
        rc = order_store_list(service->store, user_id, is_set(request->page_token) ? before_id : NULL, page_size + 1,
                              arena, &orders, &count);
    if (rc == 0)
        rc = fill_page(response, orders, count, page_size, arena);
    return rc < 0 ? weft_fail_store(call, rc) : WEFT_OK;
}

/* ---- Watching ---------------------------------------------------------------------------------------------------- */

static weft_code watch_order(weft_call *call, const Order__WatchOrderRequest *request,
                             order_OrderService_WatchOrder_server *stream, void *self)
{
    (void)stream;
    return order_changes_watch(((const struct order_service *)self)->changes, call, request);
}

static weft_code track(weft_call *call, order_OrderService_Track_server *stream, void *self)
{
    return order_changes_track(((const struct order_service *)self)->changes, call, stream);
}

/* ------------------------------------------------------------------------------------------------------------------ */

int order_service_register(weft_server *server, struct order_service *service)
{
    static const order_OrderService_ops ops = {
        .CreateOrder = create_order,
        .GetOrder = get_order,
        .ListOrders = list_orders,
        .CancelOrder = cancel_order,
        .WatchOrder = watch_order,
        .Track = track,
    };
    weft_method_options methods[] = {WEFT_METHOD_OPTIONS_INIT, WEFT_METHOD_OPTIONS_INIT};
    weft_service_options options = WEFT_SERVICE_OPTIONS_INIT;
    methods[0].method = "WatchOrder";
    methods[0].defers = true;
    methods[1].method = "Track";
    methods[1].max_message_bytes = MAX_TRACK_BYTES;
    options.methods = methods;
    options.method_count = 2;
    return order_OrderService_register(server, &ops, service, &options);
}
