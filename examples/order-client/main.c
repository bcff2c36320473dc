/* A client of the order service: order-client, see the usage below. A user is one of the user service. */
#include "order-client/show.h"

static const char usage[] = "usage: order-client [--timeout-ms N] [--key KEY] HOST:PORT COMMAND, which is one of\n"
                            "  create USER PRODUCT:QUANTITY:CENTS…\n  get ID\n  list USER\n  cancel ID\n  watch ID";
static weft_channel *orders;
static weft_arena *arena; /* all answers lie in it */
static weft_call_options options = WEFT_CALL_OPTIONS_INIT;
static char key[WEFT_UUID_TEXT_BYTES]; /* whoever tries again uses the same: there will be one order */

static int64_t parse_number(const char *text, int64_t max)
{
    char *end;
    long long number = strtoll(text, &end, 10);
    expect(end != text && *end == '\0' && number >= 0 && number <= max, usage);
    return number;
}

/* "tea:2:350": two pieces at 3.50 euros. */
static Order__OrderItem *parse_item(char *text)
{
    Order__OrderItem *item = weft_arena_alloc(arena, sizeof *item);
    Order__Money *price = weft_arena_alloc(arena, sizeof *price);
    char *quantity = strchr(text, ':');
    char *cents = quantity != NULL ? strchr(quantity + 1, ':') : NULL;
    expect(cents != NULL && item != NULL && price != NULL, usage);
    order__order_item__init(item);
    order__money__init(price);
    item->product_id = text;
    *quantity = *cents = '\0';
    item->quantity = (int32_t)parse_number(quantity + 1, INT32_MAX);
    price->currency_code = "EUR";
    price->minor_units = parse_number(cents + 1, INT64_MAX);
    item->price = price;
    return item;
}

static weft_status create(char *user, char *idempotency_key, char **items, size_t count)
{
    Order__CreateOrderRequest request = ORDER__CREATE_ORDER_REQUEST__INIT;
    Order__CreateOrderResponse none = ORDER__CREATE_ORDER_RESPONSE__INIT, *answer = &none;
    request.user_id = user;
    request.idempotency_key = idempotency_key;
    request.n_items = count;
    request.items = weft_arena_calloc(arena, count, sizeof *request.items);
    expect(request.items != NULL, "out of memory");
    for (size_t i = 0; i < count; i++)
        request.items[i] = parse_item(items[i]);
    weft_status status = order_OrderService_CreateOrder(orders, arena, &options, &request, &answer);
    return show_answer(status, answer->order);
}

static weft_status get(char *id)
{
    Order__GetOrderRequest request = ORDER__GET_ORDER_REQUEST__INIT;
    Order__GetOrderResponse none = ORDER__GET_ORDER_RESPONSE__INIT, *answer = &none;
    request.id = id;
    weft_status status = order_OrderService_GetOrder(orders, arena, &options, &request, &answer);
    return show_answer(status, answer->order);
}

static weft_status list(char *user)
{
    Order__ListOrdersRequest request = ORDER__LIST_ORDERS_REQUEST__INIT;
    Order__ListOrdersResponse *page = NULL;
    request.user_id = user;
    for (bool first = true;; first = false) {
        weft_status status = order_OrderService_ListOrders(orders, arena, &options, &request, &page);
        if (status.code != WEFT_OK)
            return status;
        if (first)
            show_answer(status, NULL);
        for (size_t i = 0; i < page->n_orders; i++)
            show_order(page->orders[i]);
        request.page_token = page->next_page_token;
        if (request.page_token[0] == '\0')
            return status;
    }
}

static weft_status cancel(char *id)
{
    Order__CancelOrderRequest request = ORDER__CANCEL_ORDER_REQUEST__INIT;
    Order__CancelOrderResponse none = ORDER__CANCEL_ORDER_RESPONSE__INIT, *answer = &none;
    request.id = id;
    weft_status status = order_OrderService_CancelOrder(orders, arena, &options, &request, &answer);
    return show_answer(status, answer->order);
}

/* Shows what the order is, and each time what it has become, until it cannot change any more. */
static weft_status watch(char *id)
{
    Order__WatchOrderRequest request = ORDER__WATCH_ORDER_REQUEST__INIT;
    Order__WatchOrderResponse *change;
    order_OrderService_WatchOrder_client *stream;
    weft_call_options endless = WEFT_CALL_OPTIONS_INIT;
    request.id = id;
    expect(order_OrderService_WatchOrder(&stream, orders, &endless, &request) == 0, "out of memory");
    while (order_OrderService_WatchOrder_client_recv(stream, &change) == 1) {
        show_answer((weft_status){.code = WEFT_OK}, change->order);
        fflush(stdout);
    }
    return order_OrderService_WatchOrder_client_finish(stream, arena);
}

int main(int argc, char **argv)
{
    weft_engine *engine = NULL;
    weft_status status = {.code = WEFT_OK};
    char *idempotency_key = weft_uuid7(key) == 0 ? key : "";
    options.timeout_ms = 5000;
    for (; argc > 2 && strncmp(argv[1], "--", 2) == 0; argc -= 2, argv += 2) {
        if (strcmp(argv[1], "--timeout-ms") == 0)
            options.timeout_ms = parse_number(argv[2], INT32_MAX);
        else if (strcmp(argv[1], "--key") == 0)
            idempotency_key = argv[2];
        else
            expect(false, usage);
    }
    expect(argc > 3, usage);
    expect(weft_arena_new(&arena, 64 << 20) == 0 && weft_core_engine_new(&engine, NULL) == 0, "out of memory");
    expect(weft_channel_new(&orders, engine, argv[1], NULL) == 0, "not an address: write HOST:PORT");
    if (argc > 4 && strcmp(argv[2], "create") == 0)
        status = create(argv[3], idempotency_key, argv + 4, (size_t)argc - 4);
    else if (strcmp(argv[2], "get") == 0)
        status = get(argv[3]);
    else if (strcmp(argv[2], "list") == 0)
        status = list(argv[3]);
    else if (strcmp(argv[2], "cancel") == 0)
        status = cancel(argv[3]);
    else if (strcmp(argv[2], "watch") == 0)
        status = watch(argv[3]);
    else
        expect(false, usage);
    int result = show_failure(&status);
    weft_channel_free(orders);
    weft_engine_free(engine);
    weft_arena_free(arena);
    return result;
}
