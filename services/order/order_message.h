/* order_message.h: an order of the domain as a message of order.proto. */
#ifndef ORDER_ORDER_MESSAGE_H
#define ORDER_ORDER_MESSAGE_H

#include <weft/arena.h>

#include "order.h"
#include "order.pb-c.h"

/* Makes a message, which refers to the strings of `order`. @return NULL when the arena is full. */
Order__Order *order_message_new(const struct order *order, weft_arena *arena);

#endif
