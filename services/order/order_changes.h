/* order_changes.h: what becomes of orders, told to the callers who watch them. */
#ifndef ORDER_ORDER_CHANGES_H
#define ORDER_ORDER_CHANGES_H

#include <weft/engine.h>
#include <weft/log.h>

#include "order.weft.h"
#include "order_store.h"

struct order_changes;

/**
 * Begins to publish the changes of a store, whatever process makes them.
 *
 * @param store  outlives the changes.
 * @param engine of the server whose calls follow; outlives the changes.
 * @param log    gets what goes wrong; outlives the changes. May be NULL.
 * @return 0; as order_store_watch and order_store_changes, or weft_feed_new.
 */
int order_changes_start(struct order_changes **out, struct order_store *store, weft_engine *engine, weft_log *log);

/* Ends it, after the server. NULL is fine. */
void order_changes_stop(struct order_changes *changes);

/* WatchOrder: the call follows from now on. @return what the handler returns. */
weft_code order_changes_watch(struct order_changes *changes, weft_call *call, const Order__WatchOrderRequest *request);

/* Track: receives until the caller has asked for all, then the call follows. @return what the handler returns. */
weft_code order_changes_track(struct order_changes *changes, weft_call *call, order_OrderService_Track_server *stream);

#endif
