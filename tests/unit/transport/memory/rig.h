/* rig.h: a server and a channel of the memory engine, driven at the seam by a test that plays both upper sides. */
#ifndef WEFT_TEST_MEMORY_RIG_H
#define WEFT_TEST_MEMORY_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <weft/testing.h>

#include "base/list.h"
#include "transport/transport.h"

enum {
    RIG_MS = 1000000 /* nanoseconds */
};

/* An operation of the test: how often it has completed, and with what. */
typedef struct rig_op {
    weft__op op;
    int completed;
    int result;
    weft__event *event; /* posted at the completion; or NULL */
    weft_engine *engine;
} rig_op;

/* What the rig's server knows of a call: the upper side's state of every call object. */
typedef struct rig_call {
    struct rig *rig;
    weft__scall *transport;
    weft__call_start start; /* of the call that runs, or ran last */
    rig_op recv;
    rig_op send;
    weft__job job;
    int begun; /* calls on this object so far */
    int cancelled;
    int ended;
} rig_call;

struct rig {
    weft_engine *engine;
    weft__tserver *server;
    weft__tchannel *channel;
    char name[64];
    weft__server_config server_config; /* to be changed before rig_serve */
    weft__channel_config channel_config;
    void (*handler)(struct rig *rig, rig_call *call); /* what `begin` does; NULL: nothing, the test answers */
    rig_call *call;                                   /* that began last */
    int begun;
    int ended;
    int cancelled;
    int closed;
    int init_error; /* what `init` fails with */
};

extern const weft_method rig_unary, rig_client_stream, rig_server_stream, rig_bidi, rig_unknown;

/* An engine, a bound name, a server on it and a channel to it. `prepare` may change the configurations, or be NULL. */
void rig_start(struct rig *rig, const weft_memory_engine_options *options, void (*prepare)(struct rig *rig));
void rig_serve(struct rig *rig);       /* only the server (rig_start does it) */
void rig_stop_server(struct rig *rig); /* shutdown, cancel_all, closed, destroy */
void rig_stop(struct rig *rig);

void rig_op_init(rig_op *op);
weft__tx rig_message(struct rig *rig, const char *text);
weft__tx rig_big_message(struct rig *rig, size_t len);
/* Whether what was received is this text; releases it. */
void assert_rig_received(struct rig *rig, weft__rx *rx, const char *text);

/* A handler that answers a unary call with its request. */
void rig_echo(struct rig *rig, rig_call *call);
/* Ends a call on the server; `text` may be NULL: no message. */
void rig_finish(rig_call *call, weft_code code, const char *text);

weft__ccall *rig_call_new(struct rig *rig);
/* Starts a unary call with this text. */
weft__ccall *rig_unary_start(struct rig *rig, const char *text, int64_t deadline_ns, rig_op *op);
/* A whole unary call with this text in a stepped engine; the call is to be freed. */
weft__ccall *rig_unary_run(struct rig *rig, const char *text, weft__result *result);
void rig_free(weft__ccall *call);

#endif
