/* order_changes.h: what becomes of orders, told to the callers who watch them. */
#ifndef ORDER_ORDER_CHANGES_H
#define ORDER_ORDER_CHANGES_H

#include <weft/feed.h>
#include <weft/log.h>

#include "order_store.h"

struct order_changes;

/**
 * Begins to publish the changes of a store, whatever process makes them.
 *
 * @param store  outlives the changes.
 * @param engine of the server whose calls follow; outlives the changes.
 * @param log    gets what goes wrong; outlives the changes.
 * @return 0; as order_store_position and order_store_watch.
 */
int order_changes_start(struct order_changes **out, struct order_store *store, weft_engine *engine, weft_log *log);

/* Ends it, after the server. NULL is fine. */
void order_changes_stop(struct order_changes *changes);

/* The changes by the id of the order, at their positions in the store: as WatchOrderResponse, and as TrackResponse. */
weft_feed *order_changes_to_watch(struct order_changes *changes);
weft_feed *order_changes_to_track(struct order_changes *changes);

#endif
