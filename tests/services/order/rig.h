/* rig.h: order.OrderService in its rig (service_rig.h), with users who are made up, and calls of it. */
#ifndef WEFT_TESTS_ORDER_RIG_H
#define WEFT_TESTS_ORDER_RIG_H

#include <stdatomic.h>

#include "order.weft.h"
#include "order_service.h"
#include "support/service_rig.h"

#define ADA    "0190a000-0000-7000-8000-00000000000a"
#define BOB    "0190a000-0000-7000-8000-00000000000b"
#define NOBODY "0190a000-0000-7000-8000-000000000000"

/* Ada and Bob are users, unless it answers otherwise. */
struct fake_users {
    struct user_directory base;
    atomic_int answer; /* what a question gets, if not 0 */
    atomic_int asked;
};

extern struct order_service service;
extern struct fake_users fake_users;
extern atomic_int store_get_answer; /* what a look-up of an order in the store gets, if not 0 */

/* Opens one more store on the file. */
struct order_store *rig_open_store(int64_t busy_timeout_ms, int64_t max_bytes);

/* A request for two pieces of tea and a pot, 3000 cents in all. Valid until the next one. */
Order__CreateOrderRequest *request_of(char *user_id, char *key);

/* Calls. `response` may be NULL. */
weft_status create(const Order__CreateOrderRequest *request, Order__CreateOrderResponse **response);
weft_status get(char *id, Order__GetOrderResponse **response);
weft_status cancel(char *id, Order__CancelOrderResponse **response);

/* An order of Ada's, which must succeed. @return its id. */
char *create_order(char *key);

#endif
