/* order_changes.c: from the store to the streams.
 *
 *     order_changes ──tell()──▶ what came after `position` ──▶ feed of WatchOrder ──▶ callers
 *     (a commit, here or elsewhere)                            └─▶ feed of Track      ──▶ callers
 *
 * Design notes
 * - A feed's messages are of one type, so each method has its own; both are at the same position.
 * - Positions are the store's. A handler reads an order together with the position that it is of, and follows from there:
 *   nothing is missed and nothing told twice, however far the feeds have come.
 * - What cannot be read just now is logged, and told with the next change.
 */
#include "order_changes.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "order_message.h"

#define BATCH           100
#define MAX_BATCH_BYTES (16 << 20)

struct order_changes {
    struct order_store *store;
    weft_log *log;
    weft_feed *watch;
    weft_feed *track;
    pthread_mutex_t lock; /* who holds it publishes */
    int64_t position;     /* of the last change that was published */
    weft_arena *arena;    /* of what is being published */
};

static void free_changes(struct order_changes *changes)
{
    weft_feed_free(changes->watch);
    weft_feed_free(changes->track);
    weft_arena_free(changes->arena);
    pthread_mutex_destroy(&changes->lock);
    free(changes);
}

weft_feed *order_changes_to_watch(struct order_changes *changes)
{
    return changes->watch;
}

weft_feed *order_changes_to_track(struct order_changes *changes)
{
    return changes->track;
}

static void note(struct order_changes *changes, int rc)
{
    if (rc < 0)
        weft_log_error(changes->log, "cannot tell changes of orders",
                       WEFT_FIELDS(WEFT_INT("after", changes->position), WEFT_STR("error", strerror(-rc))));
}

/* What a feed has no memory for ends its followers, who watch again: that is the feed's word. */
static int publish(struct order_changes *changes, const struct order_change *change)
{
    const struct order *order = &change->order;
    Order__WatchOrderResponse watched = ORDER__WATCH_ORDER_RESPONSE__INIT;
    Order__TrackResponse tracked = ORDER__TRACK_RESPONSE__INIT;
    Order__Order *message = order_message_new(order, changes->arena);
    if (message == NULL)
        return -ENOMEM;
    watched.order = message;
    tracked.event_case = ORDER__TRACK_RESPONSE__EVENT_ORDER;
    tracked.order = message;
    bool last = order_is_final(order);
    note(changes, weft_feed_publish(changes->watch, order->id, change->position, &watched.base, last));
    note(changes, weft_feed_publish(changes->track, order->id, change->position, &tracked.base, last));
    changes->position = change->position;
    return 0;
}

/* Changes that are not kept any more were missed: whoever waits for them shall know. */
static void skip_to(struct order_changes *changes, int64_t position)
{
    weft_log_warn(changes->log, "changes of orders were missed", WEFT_FIELDS(WEFT_INT("after", changes->position)));
    weft_feed_skip(changes->watch, position);
    weft_feed_skip(changes->track, position);
    changes->position = position;
}

/* Publishes what came after the last change. @return how many changes; -errno. */
static int tell_some_locked(struct order_changes *changes)
{
    struct order_change *list;
    size_t count;
    weft_arena_reset(changes->arena);
    int rc = order_store_changes(changes->store, changes->position, BATCH, changes->arena, &list, &count);
    if (rc == 0 && count > 0 && list[0].position > changes->position + 1)
        skip_to(changes, list[0].position - 1);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = publish(changes, &list[i]);
    return rc < 0 ? rc : (int)count;
}

static void tell(void *arg)
{
    struct order_changes *changes = arg;
    int rc;
    pthread_mutex_lock(&changes->lock);
    do
        rc = tell_some_locked(changes);
    while (rc == BATCH);
    note(changes, rc);
    pthread_mutex_unlock(&changes->lock);
}

static int start(struct order_changes *changes, weft_engine *engine)
{
    weft_feed_options options = WEFT_FEED_OPTIONS_INIT;
    int rc = order_store_position(changes->store, &changes->position);
    if (rc < 0)
        return rc;
    options.engine = engine;
    options.start = changes->position;
    rc = weft_feed_new(&changes->watch, &options);
    if (rc == 0)
        rc = weft_feed_new(&changes->track, &options);
    if (rc == 0)
        rc = weft_arena_new(&changes->arena, MAX_BATCH_BYTES);
    return rc == 0 ? order_store_watch(changes->store, tell, changes) : rc;
}

int order_changes_start(struct order_changes **out, struct order_store *store, weft_engine *engine, weft_log *log)
{
    struct order_changes *changes = calloc(1, sizeof *changes);
    if (changes == NULL)
        return -ENOMEM;
    changes->store = store;
    changes->log = log;
    (void)pthread_mutex_init(&changes->lock, NULL); /* cannot fail without attributes */
    int rc = start(changes, engine);
    if (rc < 0) {
        free_changes(changes);
        return rc;
    }
    tell(changes); /* what was committed before the watch stood */
    *out = changes;
    return 0;
}

void order_changes_stop(struct order_changes *changes)
{
    if (changes == NULL)
        return;
    order_store_unwatch(changes->store);
    free_changes(changes);
}
