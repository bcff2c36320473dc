/* rig.h: a chat.Chat server whose streams follow a feed, and a channel to it. Spread follows one key and defers, Talk
 * follows a key for each message that it receives; on a stepped engine "a" and "b". */
#ifndef WEFT_TESTS_FEED_RIG_H
#define WEFT_TESTS_FEED_RIG_H

#include <stdatomic.h>
#include <stdbool.h>

#include <weft/weft.h>

#include "base/event.h"
#include "chat.weft.h"

struct rig {
    bool core;
    bool stepped;
    bool run_inline; /* Spread; Talk always runs on a worker, where there are any */
    weft_engine *engine;
    weft_feed *feed;
    weft_server *server;
    weft_channel *channel;
    weft_arena *arena;

    weft__event reached;   /* posted by a handler of Spread that waits for `gate`, for the key "gate" */
    weft__event gate;      /* what it waits for, before it follows */
    atomic_int add_error;  /* the last negative result of weft_follower_add */
    atomic_int ended_with; /* the last negative result that ended a loop of Talk */
    atomic_int left;       /* handlers of Talk that returned */
};

/* cmocka set-up and tear-down: an engine. */
int rig_setup_core(void **state);
int rig_setup_stepped(void **state);
int rig_setup_threaded(void **state);
int rig_setup_threaded_inline(void **state);
int rig_teardown(void **state);

typedef struct rig_options {
    weft_feed_options feed;
    weft_server_options server;
} rig_options;

/* All defaults, but what makes tests quick. */
rig_options rig_default_options(void);

/* Makes a feed, a server that serves, and a channel; NULL: the default options. 0; -errno, and what was made stays. */
int rig_make(struct rig *rig, const rig_options *options);

/* The same, which must succeed. */
void rig_start(struct rig *rig, const rig_options *options);

/* Makes one more server of the kind, and starts it: 0; -errno. */
int rig_serve(struct rig *rig, const weft_server_options *options, weft_server **out);

/* Frees what was made but the engine, in the right order. */
void rig_unmake(struct rig *rig);

/* Publishes a message that says key and position, and carries so many bytes. */
int rig_publish_bytes(struct rig *rig, const char *key, int64_t position, bool last, size_t bytes);

/* The same, which must succeed, with none. */
void rig_publish(struct rig *rig, const char *key, int64_t position);

/* Waits until the server has so many calls that run. */
void rig_wait_for_calls(struct rig *rig, uint64_t calls);

#endif
