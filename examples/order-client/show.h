/* order-client/show.h: what the order client prints: the status word first, then lines "  key: value" for an order. */
#ifndef EXAMPLES_ORDER_CLIENT_SHOW_H
#define EXAMPLES_ORDER_CLIENT_SHOW_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "order.weft.h"

/* Ends the program when it was called in a wrong way, or something failed before anything was sent. */
static inline void expect(bool right, const char *what)
{
    if (right)
        return;
    fprintf(stderr, "%s\n", what);
    exit(2);
}

static inline void show_order(const Order__Order *order)
{
    if (order == NULL)
        return;
    const ProtobufCEnumValue *status =
        protobuf_c_enum_descriptor_get_value(&order__order_status__descriptor, (int)order->status);
    printf("  id: %s\n  user: %s\n", order->id, order->user_id);
    for (size_t i = 0; i < order->n_items; i++)
        printf("  item: %s %" PRId32 " %" PRId64 "\n", order->items[i]->product_id, order->items[i]->quantity,
               order->items[i]->price != NULL ? order->items[i]->price->minor_units : 0);
    if (order->total_amount != NULL)
        printf("  total: %" PRId64 " %s\n", order->total_amount->minor_units, order->total_amount->currency_code);
    printf("  status: %s\n", status != NULL ? status->name + strlen("ORDER_STATUS_") : "of a newer service");
}

/* A call that went well begins with OK, before its orders. */
static inline weft_status show_answer(weft_status status, const Order__Order *order)
{
    if (status.code == WEFT_OK) {
        printf("OK\n");
        show_order(order);
    }
    return status;
}

/* @return an exit code. */
static inline int show_failure(const weft_status *status)
{
    if (status->code != WEFT_OK)
        printf("%s: %s\n", weft_code_name(status->code), status->message);
    return status->code == WEFT_OK ? 0 : 1;
}

#endif
