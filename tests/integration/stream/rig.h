/* rig.h: a chat.Chat server and a channel to it on one engine. Its streaming handlers exist twice, as pull loops on
 * workers and as callbacks on the engine's thread; every case runs with both, where the engine has workers. */
#ifndef WEFT_TESTS_STREAM_RIG_H
#define WEFT_TESTS_STREAM_RIG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <weft/weft.h>

#include "base/event.h"
#include "chat.weft.h"

struct rig {
    bool core;
    bool stepped;
    bool event_driven;
    weft_engine *engine;
    weft_server *server;
    weft_channel *channel;
    char target[256];
    weft_arena *arena; /* of what the client's calls give back */

    /* What the handlers do besides: set before rig_start. */
    const chat_Chat_ops *ops;     /* or the rig's own */
    void *user;                   /* of a test that has its own */
    weft_code end_with;           /* their status */
    int64_t end_after;            /* messages after which they end at once; 0: never */
    const char *header;           /* x-header of the answer */
    atomic_int entered;           /* handlers that began */
    atomic_int left;              /* and that ended */
    atomic_int last_error;        /* the last negative result that a handler got */
    atomic_int last_cause;        /* weft_cancel_cause, when it left */
    weft__event began;            /* posted by the first that begins */
    weft__event over;             /* posted by the first that ends */
    _Atomic(const char *) broken; /* the first RIG_CHECK that did not hold */
};

/* For handlers, which run on other threads than cmocka's asserts may: the test fails in its tear-down. */
#define RIG_CHECK(rig, condition) rig_check((rig), (condition), #condition)
void rig_check(struct rig *rig, bool holds, const char *text);

int rig_setup_core(void **state);
int rig_setup_core_events(void **state);
int rig_setup_threaded(void **state);
int rig_setup_threaded_events(void **state);
int rig_setup_stepped(void **state);
int rig_teardown(void **state);

typedef struct rig_options {
    weft_server_options server;
    weft_channel_options channel;
} rig_options;
rig_options rig_default_options(void);

/* Starts server and channel. NULL: the default options. */
void rig_start(struct rig *rig, const rig_options *options);

/* Lets time pass: really, or virtually. */
void rig_pass_ms(struct rig *rig, int64_t ms);

/* Waits until a handler has begun, or ended. */
void rig_await(struct rig *rig, weft__event *event);

void rig_assert_status(weft_status status, weft_code code, const char *message);

#endif
