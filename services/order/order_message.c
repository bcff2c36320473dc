#include "order_message.h"

static const int64_t ns_per_s = 1000000000;

static Order__OrderStatus to_status(enum order_status status)
{
    switch (status) {
    case ORDER_PENDING:
        return ORDER__ORDER_STATUS__ORDER_STATUS_PENDING;
    case ORDER_CANCELLED:
        return ORDER__ORDER_STATUS__ORDER_STATUS_CANCELLED;
    }
    return ORDER__ORDER_STATUS__ORDER_STATUS_UNSPECIFIED; /* a newer program has written it */
}

static void to_money(const char *currency_code, int64_t minor_units, Order__Money *message)
{
    order__money__init(message);
    message->currency_code = (char *)currency_code;
    message->minor_units = minor_units;
}

static void to_item(const struct order_item *item, const char *currency_code, Order__OrderItem *message,
                    Order__Money *price)
{
    to_money(currency_code, item->price, price);
    order__order_item__init(message);
    message->product_id = (char *)item->product_id;
    message->quantity = item->quantity;
    message->price = price;
}

static void to_timestamp(int64_t ns, Google__Protobuf__Timestamp *message)
{
    google__protobuf__timestamp__init(message);
    message->seconds = ns / ns_per_s;
    message->nanos = (int32_t)(ns % ns_per_s);
}

Order__Order *order_message_new(const struct order *order, weft_arena *arena)
{
    Order__Order *message = weft_arena_alloc(arena, sizeof *message);
    Order__Money *total = weft_arena_alloc(arena, sizeof *total);
    Google__Protobuf__Timestamp *created_at = weft_arena_alloc(arena, sizeof *created_at);
    Order__OrderItem **pointers = weft_arena_calloc(arena, order->item_count, sizeof *pointers);
    Order__OrderItem *items = weft_arena_calloc(arena, order->item_count, sizeof *items);
    Order__Money *prices = weft_arena_calloc(arena, order->item_count, sizeof *prices);
    if (weft_arena_failed(arena))
        return NULL;
    for (size_t i = 0; i < order->item_count; i++) {
        to_item(&order->items[i], order->currency_code, &items[i], &prices[i]);
        pointers[i] = &items[i];
    }
    to_money(order->currency_code, order->total, total);
    to_timestamp(order->created_at_ns, created_at);
    order__order__init(message);
    message->id = (char *)order->id;
    message->user_id = (char *)order->user_id;
    message->items = pointers;
    message->n_items = order->item_count;
    message->total_amount = total;
    message->status = to_status(order->status);
    message->created_at = created_at;
    return message;
}
