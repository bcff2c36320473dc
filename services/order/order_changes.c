/* order_changes.c: from the store to the streams.
 *
 *     order_changes ──changed()──▶ what came after `position` ──▶ feed of WatchOrder ──▶ callers
 *     (a commit, here or elsewhere)                            └─▶ feed of Track ──▶ callers
 *
 * Design notes
 * - Positions are the store's. A handler reads an order together with the position that it is of, and follows from
 *   there, whether the feeds are there already or not: nothing is missed and nothing told twice.
 * - A feed's messages are of one type, so each method has its own. Both are at the same position.
 */
#include "order_changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weft/feed.h>

#include "order_errors.h"
#include "order_message.h"

#define BATCH               100
#define TRACK_SCRATCH_BYTES (1 << 20)

struct order_changes {
    struct order_store *store;
    weft_log *log;
    weft_feed *watch;
    weft_feed *track;
    weft_arena *arena; /* the publisher's */
    int64_t position;  /* of the last change that was published */
    int error;         /* of the last attempt to read changes, which was logged; or 0 */
};

/* ---- publishing -------------------------------------------------------------------------------------------------- */

/* What does not fit into memory ends those whom it concerns; they watch again. That is the feed's word. */
static void note(struct order_changes *changes, int rc)
{
    if (rc < 0)
        weft_log_error(changes->log, "a change of an order could not be told",
                       WEFT_FIELDS(WEFT_INT("position", changes->position), WEFT_STR("error", strerror(-rc))));
}

static int publish(struct order_changes *changes, const struct order_change *change)
{
    const struct order *order = &change->order;
    Order__WatchOrderResponse watched = ORDER__WATCH_ORDER_RESPONSE__INIT;
    Order__TrackResponse tracked = ORDER__TRACK_RESPONSE__INIT;
    bool last = order_is_final(order);
    watched.order = order_message_new(order, changes->arena);
    if (watched.order == NULL)
        return -ENOMEM;
    tracked.event_case = ORDER__TRACK_RESPONSE__EVENT_ORDER;
    tracked.order = watched.order;
    changes->position = change->position;
    note(changes, weft_feed_publish(changes->watch, order->id, change->position, &watched.base, last));
    note(changes, weft_feed_publish(changes->track, order->id, change->position, &tracked.base, last));
    return 0;
}

/* This process was so slow that changes are not kept any more: whoever waits for them shall know. */
static void skip_to(struct order_changes *changes, int64_t position)
{
    weft_log_warn(changes->log, "changes of orders were missed", WEFT_FIELDS(WEFT_INT("after", changes->position)));
    weft_feed_skip(changes->watch, position);
    weft_feed_skip(changes->track, position);
    changes->position = position;
}

/* Publishes what comes after a position, up to BATCH of it. @return how many changes; -errno. */
static int publish_some(struct order_changes *changes)
{
    struct order_change *list;
    size_t count;
    weft_arena_reset(changes->arena);
    int rc = order_store_changes(changes->store, changes->position, BATCH, changes->arena, &list, &count);
    if (rc < 0)
        return rc;
    if (count > 0 && list[0].position > changes->position + 1)
        skip_to(changes, list[0].position - 1);
    for (size_t i = 0; i < count; i++) {
        rc = publish(changes, &list[i]);
        if (rc < 0)
            return rc;
    }
    return (int)count;
}

static int changed(void *arg)
{
    struct order_changes *changes = arg;
    int rc = publish_some(changes);
    if (rc < 0 && rc != changes->error) /* it is tried again ten times a second */
        weft_log_error(changes->log, "cannot read the changes of orders",
                       WEFT_FIELDS(WEFT_STR("error", strerror(-rc))));
    changes->error = rc < 0 ? rc : 0;
    return rc;
}

/* ---- start and stop ---------------------------------------------------------------------------------------------- */

static int new_feeds(struct order_changes *changes, weft_engine *engine)
{
    weft_feed_options options = WEFT_FEED_OPTIONS_INIT;
    int rc = order_store_position(changes->store, &changes->position);
    options.engine = engine;
    options.start = changes->position;
    if (rc == 0)
        rc = weft_feed_new(&changes->watch, &options);
    return rc == 0 ? weft_feed_new(&changes->track, &options) : rc;
}

int order_changes_start(struct order_changes **out, struct order_store *store, weft_engine *engine, weft_log *log)
{
    struct order_changes *changes = calloc(1, sizeof *changes);
    if (changes == NULL)
        return -ENOMEM;
    changes->store = store;
    changes->log = log;
    int rc = weft_arena_new(&changes->arena, 0);
    if (rc == 0)
        rc = new_feeds(changes, engine);
    if (rc == 0)
        rc = order_store_watch(store, changed, changes);
    if (rc < 0)
        order_changes_stop(changes);
    else
        *out = changes;
    return rc;
}

void order_changes_stop(struct order_changes *changes)
{
    if (changes == NULL)
        return;
    order_store_unwatch(changes->store);
    weft_feed_free(changes->watch);
    weft_feed_free(changes->track);
    weft_arena_free(changes->arena);
    free(changes);
}

/* ---- watching ---------------------------------------------------------------------------------------------------- */

/* What a follower is told of an order first, and after which position it goes on. @return as order_store_get. */
static int read_first(struct order_changes *changes, const char *asked, weft_arena *arena, Order__Order **message,
                      weft_follow_options *options)
{
    char id[WEFT_UUID_TEXT_BYTES];
    struct order order;
    if (!order_parse_id(asked, id))
        return -ENOENT;
    int rc = order_store_get(changes->store, id, arena, &order, &options->after);
    if (rc < 0)
        return rc;
    options->key = order.id;
    if (order_is_final(&order))
        options->after = WEFT_FOLLOW_NOTHING;
    *message = order_message_new(&order, arena);
    return *message != NULL ? 0 : -ENOMEM;
}

weft_code order_changes_watch(struct order_changes *changes, weft_call *call, const Order__WatchOrderRequest *request)
{
    Order__WatchOrderResponse first = ORDER__WATCH_ORDER_RESPONSE__INIT;
    weft_follow_options options = WEFT_FOLLOW_OPTIONS_INIT;
    int rc = read_first(changes, request->id, weft_call_arena(call), &first.order, &options);
    if (rc == -ENOENT)
        return order_fail_missing(call, request->id);
    if (rc < 0)
        return weft_fail_store(call, rc);
    options.first = &first.base;
    return weft_feed_follow(changes->watch, call, &options);
}

/* Adds an order to a stream, or says on it that there is none. 0; as order_store_get, or as weft_follower_add.
   @param of_store which of the two. */
static int track_one(struct order_changes *changes, weft_follower *follower, char *asked, weft_arena *scratch,
                     bool *of_store)
{
    static char nothing[] = ""; /* protobuf-c leaves its own empty string out of a oneof */
    Order__TrackResponse first = ORDER__TRACK_RESPONSE__INIT;
    weft_follow_options options = WEFT_FOLLOW_OPTIONS_INIT;
    int rc = read_first(changes, asked, scratch, &first.order, &options);
    *of_store = rc < 0 && rc != -ENOENT;
    first.event_case = ORDER__TRACK_RESPONSE__EVENT_ORDER;
    if (rc == -ENOENT) {
        first.event_case = ORDER__TRACK_RESPONSE__EVENT_UNKNOWN_ID;
        first.unknown_id = asked[0] != '\0' ? asked : nothing;
        options.key = asked;
        options.after = WEFT_FOLLOW_NOTHING;
    } else if (rc < 0) {
        return rc;
    }
    options.first = &first.base;
    return weft_follower_add(follower, &options);
}

/* Adds the orders that the caller asks for. @return 0 when it has asked for all; else what ended it. */
static int track_all(struct order_changes *changes, weft_follower *follower, order_OrderService_Track_server *stream,
                     weft_arena *scratch, bool *of_store)
{
    Order__TrackRequest *request;
    int rc;
    while ((rc = order_OrderService_Track_server_recv(stream, &request)) > 0) {
        weft_arena_reset(scratch);
        rc = track_one(changes, follower, request->id, scratch, of_store);
        if (rc < 0 && rc != -EEXIST) /* asked for twice, it is followed once */
            break;
    }
    return rc;
}

weft_code order_changes_track(struct order_changes *changes, weft_call *call, order_OrderService_Track_server *stream)
{
    weft_follower *follower;
    weft_arena *scratch;
    bool of_store = false;
    int rc = weft_arena_new(&scratch, TRACK_SCRATCH_BYTES);
    if (rc < 0)
        return weft_fail_store(call, rc);
    weft_code code = weft_feed_join(changes->track, call, &follower);
    if (code == WEFT_OK) {
        rc = track_all(changes, follower, stream, scratch, &of_store);
        if (rc == 0)
            code = weft_follower_stay(follower);
        else if (!of_store)
            code = weft_follower_leave(follower, rc);
        else if ((code = weft_follower_leave(follower, 0)) == WEFT_OK)
            code = weft_fail_store(call, rc);
    }
    weft_arena_free(scratch);
    return code;
}
