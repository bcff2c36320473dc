/* feed.c: one change to many server streams.
 *
 *     kept, oldest first:   ┌─ 17 a ─┐  ┌─ 18 b ─┐  ┌─ 19 a ─┐  ┌─ 21 c ─┐      those of one topic are linked, too
 *                           └────┬───┘  └────────┘  └───┬────┘  └────────┘
 *        dropped: 16             │                      │
 *                            interest              interest       each points to the change that is sent next;
 *                                └── follower ──┐                 none: it is up to date
 *                                               ▼
 *     idle ──publish, add──▶ sending ──▶ idle     the stream takes no more: waiting ──on_writable──▶ sending
 *       └─────────┴── over ──▶ its call is finished, or its handler leaves
 *
 * Design notes
 * - One lock for all; it is let go for each send, which may call interceptors, and runs on whatever thread had the
 *   reason: publish, add, on_writable. `sending` says that some thread does, and no other may use the sending half.
 * - An interest knows the position of its next change beside the pointer. Changes are dropped oldest first, so that
 *   whoever wants one at or below `dropped` is behind, and the pointer is not looked at any more. So nobody walks over
 *   followers to drop a change, and a slow one learns of it when its stream could have taken the next.
 * - A follower is linked to its server until it is over. Who makes it over says how it ends; then its call is
 *   finished, if it stays, or its handler is woken and leaves. Where a send is under way the sender sees to that.
 * - It is kept by its call, until that is finished, and by each callback it has asked for, which on a program's loop
 *   may come after the call. The feed is kept by the program, the followers, and the servers it observes.
 */
#include <weft/feed.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/options.h"
#include "base/table.h"
#include "server/server.h"
#include "server/stream.h"

static const int64_t ns_per_ms = 1000000;

#define UP_TO_DATE INT64_MAX /* a position: there is no next change yet */

struct weft_feed {
    weft_engine *engine;
    int64_t keep;
    int64_t max_bytes;
    int64_t max_followers;
    int64_t max_keys;
    atomic_int keepers;
    atomic_int compressing; /* followers whose streams are compressed */

    pthread_mutex_t lock; /* of what follows, and of all below */
    pthread_cond_t sent;  /* some follower that is over does not send any more */
    weft__table topics;
    weft__list everything; /* interests */
    weft__list kept;
    int64_t kept_count;
    int64_t kept_bytes;
    weft__list servers;
    int64_t follower_count;
    int64_t position;
    int64_t dropped; /* the last position that is not kept */
};

/* A key that somebody follows, or that a kept change has. */
struct topic {
    weft__list changes;
    weft__list interests;
    size_t key_len;
    char key[];
};

struct change {
    weft__list_node node; /* in no list: it is dropped, and freed by the last sender */
    weft__list_node in_topic;
    struct topic *topic; /* while it is kept */
    weft_packed *packed;
    int64_t bytes;
    int64_t position;
    bool last;
    int senders;
};

/* A follower in a topic, or in everything. */
struct interest {
    weft__list_node node;        /* in its topic, or in everything */
    weft__list_node in_follower; /* in its follower's list */
    weft__heap_node due;         /* in its follower's heap while there is something to send */
    weft_follower *follower;
    struct topic *topic; /* NULL: everything */
    int64_t after;
    weft_packed *first;  /* to be sent before all changes */
    struct change *next; /* there, if it is not up to date, and the position is not dropped */
    int64_t next_position;
};

struct weft_follower {
    weft__list_node node; /* in its server's list, until it is over */
    weft__list_node work; /* of a publish that has something for it; once over, of those whose call is to be finished */
    atomic_int keepers;
    weft_feed *feed;
    weft_call *call;
    weft_stream *stream;
    weft__list interests;
    int64_t keys;
    weft__heap due;
    bool compressed;
    bool stays;   /* the call is deferred, and the feed's to finish */
    bool waiting; /* on_writable will come */
    bool sending;
    bool over;
    int rc; /* what it is over with */
    int64_t waiting_since_ns;
};

/* A server whose calls follow. */
struct served {
    weft__server_observer observer;
    weft__list_node node;
    weft_feed *feed;
    const weft_server *server;
    weft__list followers;
    bool draining;
};

/* ---- what keeps what --------------------------------------------------------------------------------------------- */

static void let_go_of_feed(weft_feed *feed)
{
    if (atomic_fetch_sub_explicit(&feed->keepers, 1, memory_order_acq_rel) != 1)
        return;
    weft__table_fini(&feed->topics);
    pthread_cond_destroy(&feed->sent);
    pthread_mutex_destroy(&feed->lock);
    free(feed);
}

static void keep_feed(weft_feed *feed)
{
    atomic_fetch_add_explicit(&feed->keepers, 1, memory_order_relaxed);
}

static void let_go(weft_follower *follower)
{
    if (atomic_fetch_sub_explicit(&follower->keepers, 1, memory_order_acq_rel) != 1)
        return;
    let_go_of_feed(follower->feed);
    free(follower);
}

/* ---- topics and changes ------------------------------------------------------------------------------------------ */

/* Finds a topic, or makes one. 0; -ENOMEM. */
static int obtain_locked(weft_feed *feed, const char *key, struct topic **out)
{
    size_t len = strlen(key);
    *out = weft__table_find(&feed->topics, weft_sv_of(key, len));
    if (*out != NULL)
        return 0;
    struct topic *topic = malloc(sizeof *topic + len);
    if (topic == NULL)
        return -ENOMEM;
    weft__list_init(&topic->changes);
    weft__list_init(&topic->interests);
    topic->key_len = len;
    memcpy(topic->key, key, len);
    int rc = weft__table_put(&feed->topics, weft_sv_of(topic->key, len), topic);
    if (rc < 0) {
        free(topic);
        return rc;
    }
    *out = topic;
    return 0;
}

/* Frees a topic that has neither changes nor interests. NULL is fine. */
static void drop_unused_locked(weft_feed *feed, struct topic *topic)
{
    if (topic == NULL || !weft__list_empty(&topic->changes) || !weft__list_empty(&topic->interests))
        return;
    (void)weft__table_remove(&feed->topics, weft_sv_of(topic->key, topic->key_len));
    free(topic);
}

static void free_change(struct change *change)
{
    if (change == NULL)
        return;
    weft_packed_free(change->packed);
    free(change);
}

/* 0; -ENOMEM; -EMSGSIZE. */
static int new_change(weft_feed *feed, const ProtobufCMessage *message, struct change **out)
{
    struct change *change = calloc(1, sizeof *change);
    if (change == NULL)
        return -ENOMEM;
    int rc = weft_packed_new(&change->packed, feed->engine, message);
    if (rc < 0) {
        free(change);
        return rc;
    }
    if (atomic_load_explicit(&feed->compressing, memory_order_relaxed) > 0)
        (void)weft_packed_compress(change->packed); /* else it goes as it is */
    change->bytes = weft__packed_bytes(change->packed);
    *out = change;
    return 0;
}

static void drop_oldest_locked(weft_feed *feed)
{
    struct change *change = WEFT__CONTAINER_OF(weft__list_pop_front(&feed->kept), struct change, node);
    struct topic *topic = change->topic;
    weft__list_remove(&change->in_topic);
    feed->kept_count--;
    feed->kept_bytes -= change->bytes;
    feed->dropped = change->position;
    if (change->senders == 0)
        free_change(change);
    drop_unused_locked(feed, topic);
}

static void drop_all_locked(weft_feed *feed)
{
    while (!weft__list_empty(&feed->kept))
        drop_oldest_locked(feed);
}

static void keep_change_locked(weft_feed *feed, struct topic *topic, struct change *change)
{
    change->topic = topic;
    weft__list_push_back(&topic->changes, &change->in_topic);
    weft__list_push_back(&feed->kept, &change->node);
    feed->kept_count++;
    feed->kept_bytes += change->bytes;
    while (feed->kept_count > 1 && (feed->kept_count > feed->keep || feed->kept_bytes > feed->max_bytes))
        drop_oldest_locked(feed);
}

/* ---- interests --------------------------------------------------------------------------------------------------- */

/* Puts an interest where its follower finds it when its turn comes. */
static void schedule_locked(struct interest *interest)
{
    weft_follower *follower = interest->follower;
    (void)weft__heap_remove(&follower->due, &interest->due);
    if (interest->first != NULL)
        weft__heap_push(&follower->due, &interest->due, INT64_MIN);
    else if (interest->next_position != UP_TO_DATE)
        weft__heap_push(&follower->due, &interest->due, interest->next_position);
}

static void point_at_locked(struct interest *interest, struct change *change)
{
    interest->next = change;
    interest->next_position = change != NULL ? change->position : UP_TO_DATE;
}

static struct change *newest_of(const weft_feed *feed, const struct topic *topic)
{
    weft__list_node *node = topic != NULL ? weft__list_last(&topic->changes) : weft__list_last(&feed->kept);
    if (node == NULL)
        return NULL;
    return topic != NULL ? WEFT__CONTAINER_OF(node, struct change, in_topic)
                         : WEFT__CONTAINER_OF(node, struct change, node);
}

/* The neighbour of a kept change, in its topic or among all. */
static struct change *beside(const weft_feed *feed, const struct topic *topic, const struct change *change, bool newer)
{
    const weft__list *list = topic != NULL ? &topic->changes : &feed->kept;
    const weft__list_node *from = topic != NULL ? &change->in_topic : &change->node;
    weft__list_node *node = newer ? weft__list_next(list, from) : weft__list_prev(list, from);
    if (node == NULL)
        return NULL;
    return topic != NULL ? WEFT__CONTAINER_OF(node, struct change, in_topic)
                         : WEFT__CONTAINER_OF(node, struct change, node);
}

/* The oldest kept change after a position, looked for from the newest on: who comes back was not away for long. */
static struct change *oldest_after(const weft_feed *feed, const struct topic *topic, int64_t after)
{
    struct change *found = NULL;
    struct change *change = newest_of(feed, topic);
    while (change != NULL && change->position > after) {
        found = change;
        change = beside(feed, topic, change, false);
    }
    return found;
}

static void forget_locked(struct interest *interest)
{
    weft_follower *follower = interest->follower;
    (void)weft__heap_remove(&follower->due, &interest->due);
    weft__list_remove(&interest->node);
    weft__list_remove(&interest->in_follower);
    follower->keys--;
    drop_unused_locked(follower->feed, interest->topic);
    weft_packed_free(interest->first);
    free(interest);
}

/* ---- how a follower ends ----------------------------------------------------------------------------------------- */

/* What a handler returns, or a call is finished with. */
static weft_code end_code(weft_call *call, int rc)
{
    switch (rc) {
    case 0:
        return WEFT_OK;
    case -ERANGE:
        return weft_fail(call, WEFT_OUT_OF_RANGE,
                         "changes were missed that are not kept any more: read the present state again and follow "
                         "from there");
    case -ENOSPC:
        return weft_fail(call, WEFT_RESOURCE_EXHAUSTED, "one stream cannot follow so many keys: open another");
    case -EMFILE:
        return weft_fail(call, WEFT_RESOURCE_EXHAUSTED, "too many streams follow already: try again later");
    case -ESHUTDOWN:
        return weft_fail(call, WEFT_UNAVAILABLE, "the server is shutting down");
    default:
        return weft_fail_errno(call, rc);
    }
}

/* A follower is over. If its call is to be finished, and nobody sends on it, it goes to `ended`. */
static void end_locked(weft_follower *follower, int rc, weft__list *ended)
{
    weft_feed *feed = follower->feed;
    follower->over = true;
    follower->rc = rc;
    for (weft__list_node *node; (node = weft__list_first(&follower->interests)) != NULL;)
        forget_locked(WEFT__CONTAINER_OF(node, struct interest, in_follower));
    weft__list_remove(&follower->node);
    weft__list_remove(&follower->work);
    feed->follower_count--;
    if (follower->compressed)
        atomic_fetch_sub_explicit(&feed->compressing, 1, memory_order_relaxed);
    if (!follower->stays)
        weft__half_interrupt(&follower->stream->in);
    else if (!follower->sending)
        weft__list_push_back(ended, &follower->work);
}

/* Finishes calls, without the lock. */
static void finish(weft__list *ended)
{
    for (weft__list_node *node; (node = weft__list_pop_front(ended)) != NULL;) {
        weft_follower *follower = WEFT__CONTAINER_OF(node, weft_follower, work);
        weft_call *call = follower->call;
        int rc = follower->rc;
        let_go(follower);
        weft_call_finish(call, end_code(call, rc), NULL);
    }
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

static void on_writable(void *arg);

/* Whether there is something to send, and the stream takes it now. */
static bool can_send_locked(weft_follower *follower, weft__list *ended)
{
    if (follower->over || follower->sending || follower->waiting || weft__heap_first(&follower->due) == NULL)
        return false;
    atomic_fetch_add_explicit(&follower->keepers, 1, memory_order_relaxed);
    int rc = weft_stream_when_writable(follower->stream, on_writable, follower);
    follower->waiting = rc == 0;
    if (rc == 0) {
        follower->waiting_since_ns = weft_engine_now_ns(follower->feed->engine);
        return false;
    }
    atomic_fetch_sub_explicit(&follower->keepers, 1, memory_order_relaxed); /* its call keeps it */
    if (rc < 0)
        end_locked(follower, rc, ended);
    return rc == 1;
}

/* What is being sent: a change that is kept for so long, or a message of its own. */
struct parcel {
    struct change *change;
    weft_packed *packed;
};

/* Takes what is due first. 0; -ERANGE it is not kept any more. */
static int take_locked(weft_follower *follower, struct parcel *out)
{
    weft_feed *feed = follower->feed;
    struct interest *interest = WEFT__CONTAINER_OF(weft__heap_first(&follower->due), struct interest, due);
    if (interest->first != NULL) {
        *out = (struct parcel){.packed = interest->first};
        interest->first = NULL;
        if (interest->after == WEFT_FOLLOW_NOTHING)
            forget_locked(interest);
        else
            schedule_locked(interest);
        return 0;
    }
    if (interest->next_position <= feed->dropped)
        return -ERANGE;
    struct change *change = interest->next;
    change->senders++;
    *out = (struct parcel){.change = change, .packed = change->packed};
    if (change->last && interest->topic != NULL) {
        forget_locked(interest);
        return 0;
    }
    point_at_locked(interest, beside(feed, interest->topic, change, true));
    schedule_locked(interest);
    return 0;
}

static void give_back_locked(struct parcel *parcel)
{
    struct change *change = parcel->change;
    if (change == NULL)
        weft_packed_free(parcel->packed);
    else if (--change->senders == 0 && !weft__list_linked(&change->node))
        free_change(change);
}

/* Sends one parcel, without the lock meanwhile. */
static void send_locked(weft_follower *follower, struct parcel *parcel, weft__list *ended)
{
    weft_feed *feed = follower->feed;
    follower->sending = true;
    pthread_mutex_unlock(&feed->lock);
    int rc = weft_stream_send_packed(follower->stream, parcel->packed); /* does not wait: it is writable */
    pthread_mutex_lock(&feed->lock);
    follower->sending = false;
    give_back_locked(parcel);
    if (follower->over && follower->stays)
        weft__list_push_back(ended, &follower->work);
    else if (follower->over)
        pthread_cond_broadcast(&feed->sent);
    else if (rc < 0)
        end_locked(follower, rc, ended);
    else if (follower->stays && follower->keys == 0)
        end_locked(follower, 0, ended);
}

/* Sends what is due and what the stream takes. Lets go of the lock in between; the follower may be gone then. */
static void pump_locked(weft_follower *follower, weft__list *ended)
{
    while (can_send_locked(follower, ended)) {
        struct parcel parcel;
        int rc = take_locked(follower, &parcel);
        if (rc == 0)
            send_locked(follower, &parcel, ended);
        else
            end_locked(follower, rc, ended);
    }
}

static void on_writable(void *arg)
{
    weft_follower *follower = arg;
    weft_feed *feed = follower->feed;
    weft__list ended;
    weft__list_init(&ended);
    pthread_mutex_lock(&feed->lock);
    follower->waiting = false;
    pump_locked(follower, &ended);
    pthread_mutex_unlock(&feed->lock);
    let_go(follower);
    finish(&ended);
}

/* ---- publishing -------------------------------------------------------------------------------------------------- */

/* A peer that has taken nothing for send_stall_ms loses its call, as where a handler waits for it. */
static void judge_stall_locked(weft_follower *follower, int64_t now_ns)
{
    weft_stream *stream = follower->stream;
    if (!follower->waiting || stream->stall_ms == INT64_MAX ||
        now_ns - follower->waiting_since_ns < stream->stall_ms * ns_per_ms)
        return;
    follower->waiting_since_ns = INT64_MAX; /* once */
    stream->vtable->stalled(stream);
}

/* Offers a change, or one that is lost (NULL), to those of a list. Who is behind comes to it by and by. */
static void offer_locked(weft__list *interests, struct change *change, int64_t position, int64_t now_ns,
                         weft__list *work)
{
    for (weft__list_node *node = weft__list_first(interests); node != NULL; node = weft__list_next(interests, node)) {
        struct interest *interest = WEFT__CONTAINER_OF(node, struct interest, node);
        weft_follower *follower = interest->follower;
        judge_stall_locked(follower, now_ns);
        if (interest->next_position != UP_TO_DATE || position <= interest->after)
            continue;
        interest->next = change;
        interest->next_position = position;
        schedule_locked(interest);
        if (!follower->waiting && !follower->sending && !weft__list_linked(&follower->work))
            weft__list_push_back(work, &follower->work);
    }
}

/* `change` NULL: memory was short. */
static int publish_locked(weft_feed *feed, const char *key, int64_t position, struct change *change, weft__list *work)
{
    struct topic *topic = NULL;
    int rc = change == NULL ? -ENOMEM : obtain_locked(feed, key, &topic);
    feed->position = position;
    if (rc == 0) {
        change->position = position;
        keep_change_locked(feed, topic, change);
    } else {
        drop_all_locked(feed);
        feed->dropped = position;
        topic = weft__table_find(&feed->topics, weft_sv_from(key));
        free_change(change);
        change = NULL;
    }
    int64_t now_ns = weft_engine_now_ns(feed->engine);
    if (topic != NULL)
        offer_locked(&topic->interests, change, position, now_ns, work);
    offer_locked(&feed->everything, change, position, now_ns, work);
    return rc;
}

int weft_feed_publish(weft_feed *feed, const char *key, int64_t position, const ProtobufCMessage *message, bool last)
{
    struct change *change = NULL;
    weft__list work;
    weft__list ended;
    if (key == NULL || message == NULL)
        return -EINVAL;
    weft__list_init(&work);
    weft__list_init(&ended);
    int made = new_change(feed, message, &change);
    if (made == 0)
        change->last = last;
    pthread_mutex_lock(&feed->lock);
    if (position <= feed->position) {
        pthread_mutex_unlock(&feed->lock);
        free_change(change);
        return -EINVAL;
    }
    int rc = publish_locked(feed, key, position, change, &work);
    for (weft__list_node *node; (node = weft__list_pop_front(&work)) != NULL;)
        pump_locked(WEFT__CONTAINER_OF(node, weft_follower, work), &ended);
    pthread_mutex_unlock(&feed->lock);
    finish(&ended);
    return made < 0 ? made : rc;
}

/* All followers of a server are over. */
static void end_all_locked(struct served *served, int rc, weft__list *ended)
{
    for (weft__list_node *node; (node = weft__list_first(&served->followers)) != NULL;)
        end_locked(WEFT__CONTAINER_OF(node, weft_follower, node), rc, ended);
}

void weft_feed_skip(weft_feed *feed, int64_t position)
{
    weft__list ended;
    weft__list_init(&ended);
    pthread_mutex_lock(&feed->lock);
    if (position > feed->position) {
        drop_all_locked(feed);
        feed->position = position;
        feed->dropped = position;
        for (weft__list_node *node = weft__list_first(&feed->servers); node != NULL;
             node = weft__list_next(&feed->servers, node))
            end_all_locked(WEFT__CONTAINER_OF(node, struct served, node), -ERANGE, &ended);
    }
    pthread_mutex_unlock(&feed->lock);
    finish(&ended);
}

int64_t weft_feed_position(weft_feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    int64_t position = feed->position;
    pthread_mutex_unlock(&feed->lock);
    return position;
}

/* ---- the life of a server ---------------------------------------------------------------------------------------- */

static void on_drain(weft__server_observer *observer)
{
    struct served *served = WEFT__CONTAINER_OF(observer, struct served, observer);
    weft_feed *feed = served->feed;
    weft__list ended;
    weft__list_init(&ended);
    pthread_mutex_lock(&feed->lock);
    served->draining = true;
    end_all_locked(served, -ESHUTDOWN, &ended);
    pthread_mutex_unlock(&feed->lock);
    finish(&ended);
}

static void on_destroy(weft__server_observer *observer)
{
    struct served *served = WEFT__CONTAINER_OF(observer, struct served, observer);
    weft_feed *feed = served->feed;
    pthread_mutex_lock(&feed->lock);
    weft__list_remove(&served->node);
    pthread_mutex_unlock(&feed->lock);
    free(served);
    let_go_of_feed(feed);
}

/* Finds a server, or begins to observe it: 0; -ESHUTDOWN it drains; -ENOMEM. */
static int serve_locked(weft_feed *feed, weft_server *server, struct served **out)
{
    for (weft__list_node *node = weft__list_first(&feed->servers); node != NULL;
         node = weft__list_next(&feed->servers, node)) {
        struct served *known = WEFT__CONTAINER_OF(node, struct served, node);
        if (known->server != server)
            continue;
        *out = known;
        return known->draining ? -ESHUTDOWN : 0;
    }
    struct served *served = calloc(1, sizeof *served);
    if (served == NULL)
        return -ENOMEM;
    served->observer.drain = on_drain;
    served->observer.destroy = on_destroy;
    served->feed = feed;
    served->server = server;
    weft__list_init(&served->followers);
    int rc = weft__server_observe(server, &served->observer);
    if (rc < 0) {
        free(served);
        return rc;
    }
    keep_feed(feed);
    weft__list_push_back(&feed->servers, &served->node);
    *out = served;
    return 0;
}

/* ---- following --------------------------------------------------------------------------------------------------- */

/* Why nobody waits for a call any more. */
static int cancel_error(const weft_call *call)
{
    weft_cancel_cause cause = weft_call_cancel_cause(call);
    return cause == WEFT_CANCELLED_BY_DEADLINE || cause == WEFT_CANCELLED_BY_STALL ? -ETIMEDOUT : -ECANCELED;
}

static void on_cancelled(void *arg)
{
    weft_follower *follower = arg;
    weft_feed *feed = follower->feed;
    weft__list ended;
    weft__list_init(&ended);
    pthread_mutex_lock(&feed->lock);
    if (!follower->over)
        end_locked(follower, cancel_error(follower->call), &ended);
    pthread_mutex_unlock(&feed->lock);
    let_go(follower);
    finish(&ended);
}

static weft_follower *new_follower(weft_feed *feed, weft_call *call)
{
    weft_follower *follower = calloc(1, sizeof *follower);
    if (follower == NULL)
        return NULL;
    atomic_init(&follower->keepers, 1);
    weft__list_init(&follower->interests);
    follower->feed = feed;
    follower->call = call;
    follower->stream = weft_call_stream(call);
    keep_feed(feed);
    return follower;
}

/* 0; -EMFILE; -ESHUTDOWN; -ECANCELED, -ETIMEDOUT; -ENOMEM; -EALREADY the handler has asked for on_cancelled itself. */
static int join_locked(weft_feed *feed, weft_follower *follower)
{
    struct served *served;
    if (feed->follower_count >= feed->max_followers)
        return -EMFILE;
    int rc = serve_locked(feed, follower->call->server, &served);
    if (rc < 0)
        return rc;
    atomic_fetch_add_explicit(&follower->keepers, 1, memory_order_relaxed);
    rc = weft_call_when_cancelled(follower->call, on_cancelled, follower);
    if (rc != 0) {
        atomic_fetch_sub_explicit(&follower->keepers, 1, memory_order_relaxed);
        return rc < 0 ? rc : cancel_error(follower->call);
    }
    weft__list_push_back(&served->followers, &follower->node);
    feed->follower_count++;
    follower->compressed = follower->stream->gzip;
    if (follower->compressed)
        atomic_fetch_add_explicit(&feed->compressing, 1, memory_order_relaxed);
    return 0;
}

weft_code weft_feed_join(weft_feed *feed, weft_call *call, weft_follower **out)
{
    const weft_stream *stream = weft_call_stream(call);
    if (stream == NULL || weft_call_kind(call) == WEFT_CLIENT_STREAM || weft_call_engine(call) != feed->engine)
        return weft_fail(call, WEFT_INTERNAL, "a feed is followed by methods that stream their answer, on its engine");
    weft_follower *follower = new_follower(feed, call);
    if (follower == NULL)
        return weft_fail_errno(call, -ENOMEM);
    pthread_mutex_lock(&feed->lock);
    int rc = join_locked(feed, follower);
    pthread_mutex_unlock(&feed->lock);
    if (rc == 0)
        *out = follower;
    else
        let_go(follower);
    return end_code(call, rc);
}

/* Whether a follower has this topic (NULL: everything), or everything, or is to have everything besides. */
static bool follows_locked(const weft_follower *follower, const struct topic *topic)
{
    for (weft__list_node *node = weft__list_first(&follower->interests); node != NULL;
         node = weft__list_next(&follower->interests, node)) {
        const struct interest *interest = WEFT__CONTAINER_OF(node, struct interest, in_follower);
        if (topic == NULL || interest->topic == NULL || interest->topic == topic)
            return true;
    }
    return false;
}

/* Links an interest, which is the follower's from then on: 0; -errno. */
static int add_locked(weft_follower *follower, struct interest *interest, const char *key)
{
    weft_feed *feed = follower->feed;
    struct topic *topic = NULL;
    if (follower->over)
        return -ECANCELED;
    if (interest->after < feed->dropped)
        return -ERANGE;
    int rc = key != NULL ? obtain_locked(feed, key, &topic) : 0;
    if (rc < 0)
        return rc;
    if (follows_locked(follower, topic))
        rc = -EEXIST;
    else if (follower->keys >= feed->max_keys)
        rc = -ENOSPC;
    if (rc < 0) {
        drop_unused_locked(feed, topic);
        return rc;
    }
    interest->topic = topic;
    interest->follower = follower;
    point_at_locked(interest, oldest_after(feed, topic, interest->after));
    weft__list_push_back(topic != NULL ? &topic->interests : &feed->everything, &interest->node);
    weft__list_push_back(&follower->interests, &interest->in_follower);
    follower->keys++;
    schedule_locked(interest);
    return 0;
}

/* 0; -ENOMEM; -EMSGSIZE. */
static int new_interest(weft_feed *feed, const weft_follow_options *options, struct interest **out)
{
    struct interest *interest = calloc(1, sizeof *interest);
    if (interest == NULL)
        return -ENOMEM;
    interest->after = options->after;
    int rc = options->first != NULL ? weft_packed_new(&interest->first, feed->engine, options->first) : 0;
    if (rc < 0) {
        free(interest);
        return rc;
    }
    *out = interest;
    return 0;
}

int weft_follower_add(weft_follower *follower, const weft_follow_options *options)
{
    weft_feed *feed = follower->feed;
    weft_follow_options o;
    struct interest *interest = NULL;
    weft__list ended; /* stays empty: the handler has the call */
    memset(&o, 0, sizeof o);
    weft__list_init(&ended);
    int rc = weft__options_copy(&o, sizeof o, options);
    if (rc == 0)
        rc = new_interest(feed, &o, &interest);
    if (interest == NULL)
        return rc;
    pthread_mutex_lock(&feed->lock);
    rc = add_locked(follower, interest, o.key);
    if (rc == 0)
        pump_locked(follower, &ended);
    pthread_mutex_unlock(&feed->lock);
    if (rc < 0) {
        weft_packed_free(interest->first);
        free(interest);
    }
    return rc;
}

weft_code weft_follower_leave(weft_follower *follower, int rc)
{
    weft_feed *feed = follower->feed;
    weft_call *call = follower->call;
    weft__list ended; /* stays empty: the handler has the call */
    weft__list_init(&ended);
    pthread_mutex_lock(&feed->lock);
    if (!follower->over)
        end_locked(follower, rc, &ended);
    while (follower->sending)
        pthread_cond_wait(&feed->sent, &feed->lock);
    rc = follower->rc;
    pthread_mutex_unlock(&feed->lock);
    let_go(follower);
    return end_code(call, rc);
}

weft_code weft_follower_stay(weft_follower *follower)
{
    weft_feed *feed = follower->feed;
    pthread_mutex_lock(&feed->lock);
    bool stays = !follower->over && follower->keys > 0;
    if (stays) {
        (void)weft_call_defer(follower->call);
        follower->stays = true;
    }
    pthread_mutex_unlock(&feed->lock); /* whoever takes it next may finish the call */
    return stays ? WEFT_OK : weft_follower_leave(follower, 0);
}

weft_code weft_feed_follow(weft_feed *feed, weft_call *call, const weft_follow_options *options)
{
    weft_follower *follower = NULL;
    weft_code code = weft_feed_join(feed, call, &follower);
    if (follower == NULL)
        return code;
    int rc = weft_follower_add(follower, options);
    return rc < 0 ? weft_follower_leave(follower, rc) : weft_follower_stay(follower);
}

/* ---- the feed ---------------------------------------------------------------------------------------------------- */

static int read_options(weft_feed_options *out, const weft_feed_options *options)
{
    memset(out, 0, sizeof *out);
    int rc = weft__options_copy(out, sizeof *out, options);
    if (rc == 0 && (out->engine == NULL || out->start < 0))
        rc = -EINVAL;
    if (rc == 0)
        rc = weft__limit(&out->keep, 1024, 1);
    if (rc == 0)
        rc = weft__limit(&out->max_bytes, 16 << 20, 1);
    if (rc == 0)
        rc = weft__limit(&out->max_followers, 10000, 1);
    return rc == 0 ? weft__limit(&out->max_keys, 100, 1) : rc;
}

int weft_feed_new(weft_feed **out, const weft_feed_options *options)
{
    weft_feed_options o;
    int rc = read_options(&o, options);
    if (rc < 0)
        return rc;
    weft_feed *feed = calloc(1, sizeof *feed);
    if (feed == NULL)
        return -ENOMEM;
    rc = weft__engine_use(o.engine);
    if (rc < 0) {
        free(feed);
        return rc;
    }
    feed->engine = o.engine;
    feed->keep = o.keep;
    feed->max_bytes = o.max_bytes;
    feed->max_followers = o.max_followers;
    feed->max_keys = o.max_keys;
    feed->position = o.start;
    feed->dropped = o.start;
    atomic_init(&feed->keepers, 1);
    atomic_init(&feed->compressing, 0);
    (void)pthread_mutex_init(&feed->lock, NULL); /* cannot fail without attributes */
    (void)pthread_cond_init(&feed->sent, NULL);
    weft__table_init(&feed->topics);
    weft__list_init(&feed->everything);
    weft__list_init(&feed->kept);
    weft__list_init(&feed->servers);
    *out = feed;
    return 0;
}

void weft_feed_free(weft_feed *feed)
{
    if (feed == NULL)
        return;
    pthread_mutex_lock(&feed->lock);
    drop_all_locked(feed);
    pthread_mutex_unlock(&feed->lock);
    weft__engine_unuse(feed->engine);
    let_go_of_feed(feed);
}
