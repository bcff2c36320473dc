/* rig.h: order.OrderService on a file of its own and the memory engine with its workers, users who are made up, and a
 * channel to it. */
#ifndef WEFT_TESTS_ORDER_RIG_H
#define WEFT_TESTS_ORDER_RIG_H

#include <stdatomic.h>
#include <stdint.h>

#include <weft/weft.h>

#include "order.weft.h"
#include "order_service.h"
#include "support/temp_dir.h"

#define ADA    "0190a000-0000-7000-8000-00000000000a"
#define BOB    "0190a000-0000-7000-8000-00000000000b"
#define NOBODY "0190a000-0000-7000-8000-000000000000"

/* Ada and Bob are users, unless it answers otherwise. */
struct fake_users {
    struct user_directory base;
    atomic_int answer; /* what a question gets, if not 0 */
    atomic_int asked;
};

struct rig {
    char path[TEMP_PATH_BYTES]; /* of the database */
    struct fake_users users;
    atomic_int get_answer; /* what a look-up of an order in the store gets, if not 0 */
    struct order_service service;
    weft_engine *engine;
    weft_server *server;
    weft_channel *channel;
    weft_arena *arena; /* of the client */
};

extern struct rig rig;

/* cmocka set-up and tear-down. */
int rig_make(void **state);
int rig_drop(void **state);

/* Opens one more store on the file. */
struct order_store *rig_open_store(int64_t busy_timeout_ms, int64_t max_bytes);

/* What a process does when it starts and when it stops. */
void rig_start(int64_t busy_timeout_ms, int64_t max_bytes);
void rig_stop(void);

/* Runs SQL on a connection of its own, as another program would. */
void rig_sql(const char *sql);

void assert_status(weft_status status, weft_code code, const char *message);
ProtobufCMessage *detail(const weft_status *status, const ProtobufCMessageDescriptor *type);

/* A request for two pieces of tea and a pot, 3000 cents in all. Valid until the next one. */
Order__CreateOrderRequest *request_of(char *user_id, char *key);

/* Calls. `response` may be NULL. */
weft_status create(const Order__CreateOrderRequest *request, Order__CreateOrderResponse **response);
weft_status get(char *id, Order__GetOrderResponse **response);
weft_status cancel(char *id, Order__CancelOrderResponse **response);

/* An order of Ada's, which must succeed. @return its id. */
char *create_order(char *key);

#endif
