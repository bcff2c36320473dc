/* weft/feed.h: one change to many server streams. What Watch methods are made of.
 *
 *     store ──publish(key, position, message)──▶ feed: the last `keep` of them, packed once
 *                                                 │ each follower sends on when its stream takes more, without a thread
 *                                                 ├──▶ stream of a caller
 *                                                 └──▶ stream of a caller
 *
 *     static weft_code watch_order(weft_call *call, const Order__WatchOrderRequest *request,
 *                                  order_OrderService_WatchOrder_server *stream, void *self)
 *     {
 *         weft_follow_options options = WEFT_FOLLOW_OPTIONS_INIT;
 *         options.key = request->id;                     // NULL: everything
 *         options.after = weft_feed_position(feed);      // first the position, then the state: nothing is missed
 *         … reads the order …
 *         options.first = &order.base;                   // what it is now; then every change
 *         return weft_feed_follow(feed, call, &options); // defers the call: the worker is free again
 *     }
 *
 * Every change has a position, a number that ascends: best that of the change in the database, so that a caller who
 * comes back, to whatever instance, can say after which one it goes on. A follower gets the changes of its keys in the
 * order of positions, none left out and none twice. Where that cannot be, it ends with OUT_OF_RANGE: the caller reads
 * the present state again and follows from there.
 */
#ifndef WEFT_FEED_H
#define WEFT_FEED_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/call.h>
#include <weft/engine.h>
#include <weft/status.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

typedef struct weft_feed weft_feed;

/* Every limit: 0 means the default, -1 none. */
typedef struct weft_feed_options {
    size_t struct_size;  /* set by WEFT_FEED_OPTIONS_INIT */
    weft_engine *engine; /* required; of the servers whose streams follow; outlives the feed */
    int64_t start;       /* optional; the position of the last change before the feed began, which is older than all
                              that it keeps: after a restart, that of the database. Default: 0, for positions that begin
                              with this process */
    int64_t keep;        /* optional; changes kept for who is behind, or comes back. Default: 1024 */
    int64_t max_bytes;   /* optional; of kept changes, packed; the newest is kept whatever its size. Default: 16 MiB */
    int64_t max_followers; /* optional; RESOURCE_EXHAUSTED for one more. Default: 10,000 */
    int64_t max_keys;      /* optional; of one follower. Default: 100 */
} weft_feed_options;
#define WEFT_FEED_OPTIONS_INIT WEFT__INIT(weft_feed_options)

/**
 * Makes a feed, which serves any number of servers and methods; all its messages are of one type, which those methods
 * send.
 *
 * @return 0; -EINVAL no engine, an option out of range, or struct_size 0; -E2BIG an option that this library does not
 *         know; -ENOMEM; -ECHILD after fork.
 */
WEFT_API int weft_feed_new(weft_feed **out, const weft_feed_options *options);

/* Frees a feed, after the servers whose calls follow it. NULL is fine. */
WEFT_API void weft_feed_free(weft_feed *feed);

/**
 * Tells a change to who follows its key, or everything, and keeps it for who is behind.
 *
 * The message is packed once; each follower that is idle costs one reference to it and the start of a send, on this
 * thread. Followers of other keys cost nothing. The message is compressed too, once, while somebody follows whose
 * stream is compressed.
 *
 * @param key      what has changed: "order 17". Copied.
 * @param position greater than the one before.
 * @param message  the caller's.
 * @param last     there will be no more of this key: its followers end with OK after this message.
 * @return 0; -EINVAL no key or message, or the position does not ascend: nothing has happened; -ENOMEM or -EMSGSIZE the
 *         change is lost, and so is all that was kept: who should have got it ends with OUT_OF_RANGE, and the feed goes
 *         on with the next. Thread: any; does not block. Several may publish at a time, but they must see to it that
 *         positions ascend.
 */
WEFT_API int weft_feed_publish(weft_feed *feed, const char *key, int64_t position, const ProtobufCMessage *message,
                               bool last);

/**
 * Says that the changes up to a position were missed, and never come: the publisher could not read them any more. All
 * followers end with OUT_OF_RANGE, and the feed goes on with the change after.
 *
 * @param position of the last that was missed; at or before weft_feed_position nothing happens. Thread: any; does not
 *                 block.
 */
WEFT_API void weft_feed_skip(weft_feed *feed, int64_t position);

/* The position of the last change, or what the feed started with. Thread: any. */
WEFT_API int64_t weft_feed_position(weft_feed *feed);

/* What is followed. */
typedef struct weft_follow_options {
    size_t struct_size;            /* set by WEFT_FOLLOW_OPTIONS_INIT */
    const char *key;               /* optional; copied. Default: everything */
    int64_t after;                 /* the changes after this position; one that is still to come is waited for.
                                      WEFT_FOLLOW_NOTHING: `first` is all that is sent */
    const ProtobufCMessage *first; /* optional; sent before the changes of this key: the present state. Packed before
                                      the function returns */
} weft_follow_options;
#define WEFT_FOLLOW_OPTIONS_INIT WEFT__INIT(weft_follow_options)
#define WEFT_FOLLOW_NOTHING      INT64_MAX

/**
 * Follows for the rest of the call, which it defers: a handler ends with `return weft_feed_follow(…)`. The handler may
 * have sent messages before; it touches the call no more.
 *
 * The call ends with
 *   OK                 after a change that was the last of its key, or `first` if nothing follows it;
 *   OUT_OF_RANGE       what comes next is not kept any more, because the caller came back too late or reads too slowly;
 *   UNAVAILABLE        the server drains, and callers follow another one;
 *   RESOURCE_EXHAUSTED over max_followers, or memory is short;
 *   CANCELLED, DEADLINE_EXCEEDED nobody waits any more; or the caller takes nothing for the server's send_stall_ms
 *                      while changes come.
 *
 * @param call of a method that streams its answer; on a worker (register it with weft_method_options.defers), inline or
 *             on a loop.
 * @param options may be NULL: everything after position 0.
 * @return what the handler returns. Thread: the handler's; does not block.
 */
WEFT_API weft_code weft_feed_follow(weft_feed *feed, weft_call *call, const weft_follow_options *options);

/* ---- one stream, many keys --------------------------------------------------------------------------------------- */

/* A call that follows while its handler, on a worker, goes on receiving:
 *
 *     weft_follower *follower;
 *     weft_code code = weft_feed_join(feed, call, &follower);
 *     if (code != WEFT_OK)
 *         return code;
 *     while ((rc = order_OrderService_Track_server_recv(stream, &request)) > 0) {
 *         … options for request->id …
 *         rc = weft_follower_add(follower, &options);
 *         if (rc < 0 && rc != -EEXIST)
 *             break;
 *     }
 *     return rc == 0 ? weft_follower_stay(follower) : weft_follower_leave(follower, rc);
 *
 * From join on only the feed sends on the stream. When it cannot go on (the server drains, the stream fell behind), the
 * receive returns -ECANCELED. */
typedef struct weft_follower weft_follower;

/**
 * Begins to follow, no key yet. Exactly one of weft_follower_stay and weft_follower_leave follows.
 *
 * @return WEFT_OK; else what the handler returns, as of weft_feed_follow. Thread: the handler's; does not block.
 */
WEFT_API weft_code weft_feed_join(weft_feed *feed, weft_call *call, weft_follower **out);

/**
 * Follows one more key, or everything and then nothing besides.
 *
 * `first` is sent as soon as the stream takes it, the changes of all keys in the order of positions. After the last
 * change of a key, or where nothing follows `first`, the key is forgotten.
 *
 * @param options may be NULL: everything after position 0.
 * @return 0; -EEXIST it is followed already; -ERANGE what comes after `after` is not kept any more; -ENOSPC over
 *         max_keys; -ECANCELED following has ended; -EINVAL struct_size 0; -E2BIG an option that this library does not
 *         know; -EMSGSIZE `first` is too large; -ENOMEM. Thread: the handler's; does not block.
 */
WEFT_API int weft_follower_add(weft_follower *follower, const weft_follow_options *options);

/* Goes on without the handler, as weft_feed_follow, until the last of all keys. @return what the handler returns. */
WEFT_API weft_code weft_follower_stay(weft_follower *follower);

/**
 * Ends following. Waits until the message is on its way that is being sent; what has not been sent yet is not.
 *
 * @param rc what the handler's loop ended with: 0, or the -errno of a receive or of weft_follower_add.
 * @return what the handler returns: what following ended with, if it had ended; else OK, or the status for `rc`:
 *         OUT_OF_RANGE for -ERANGE, RESOURCE_EXHAUSTED for -ENOSPC, and as weft_fail_errno.
 */
WEFT_API weft_code weft_follower_leave(weft_follower *follower, int rc);

WEFT_END_DECLS
#endif
