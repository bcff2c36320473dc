/* rig.h: a server and a channel to it on one engine, for tests of unary calls that run the same on every engine. */
#ifndef WEFT_TESTS_UNARY_RIG_H
#define WEFT_TESTS_UNARY_RIG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <weft/weft.h>

#include "base/event.h"
#include "user.weft.h"

typedef enum rig_kind {
    RIG_CORE,    /* gRPC core over a loopback socket */
    RIG_STEPPED, /* memory engine without threads: every handler is inline */
    RIG_THREADED /* memory engine with real workers */
} rig_kind;

struct rig;

/* For handlers, which run on other threads than cmocka's asserts may: the test fails in its tear-down. */
#define RIG_CHECK(rig, condition) rig_check((rig), (condition), #condition)

/* What GetUser does in a test; CreateUser is left NULL, and so UNIMPLEMENTED. */
typedef weft_code (*rig_handler)(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                                 struct rig *rig);

struct rig {
    rig_kind kind;
    weft_engine *engine;
    weft_server *server;
    weft_channel *channel;
    char target[256];
    rig_handler get_user;
    weft_arena *arena; /* of the client's calls */

    /* For handlers that wait: `entered` is posted when one begins to, `release` lets all go on. */
    weft__event entered;
    weft__event release;
    pthread_mutex_t releasing; /* several handlers may wait for it, but only one at a time may ask */
    atomic_int handled;
    weft_call *deferred;
    _Atomic(const char *) broken; /* the first RIG_CHECK that did not hold */
};

/* Options that a test changes before rig_start; the rest are defaults. */
typedef struct rig_options {
    weft_server_options server;
    weft_channel_options channel;
    weft_method_options get_user;
} rig_options;

/* cmocka set-up and tear-down: an engine of the kind in `*state`, then a whole rig. */
int rig_setup_core(void **state);
int rig_setup_stepped(void **state);
int rig_setup_threaded(void **state);
int rig_teardown(void **state);

rig_options rig_default_options(void);

/* Starts server and channel. */
void rig_start(struct rig *rig, const rig_options *options);

/* GetUser of `id` with options that may be NULL. */
weft_status rig_get(struct rig *rig, const char *id, weft_call_options *options, User__GetUserResponse **response);

/* A GetUser that another thread makes, for tests that need two at once. */
struct rig_caller {
    pthread_t thread;
    struct rig *rig;
    const char *id;
    int64_t timeout_ms;
    weft_status status;
    char message[256];
};
void rig_caller_start(struct rig_caller *caller, struct rig *rig, const char *id, int64_t timeout_ms);
void rig_caller_join(struct rig_caller *caller);

void rig_check(struct rig *rig, bool holds, const char *text);

/* Answers the call in rig->deferred, if there is one, with a failure. */
void rig_finish_deferred(struct rig *rig, weft_code code);

/* Handlers that several tests use. */
weft_code rig_echo(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                   struct rig *rig);
weft_code rig_wait(weft_call *call, const User__GetUserRequest *request, User__GetUserResponse *response,
                   struct rig *rig);

#endif
