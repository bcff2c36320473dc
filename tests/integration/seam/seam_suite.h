/* seam_suite.h: the behaviour of transport.h's contract, tested on every engine.
 *
 * One program, started with the engine's name. A seam is one engine with one server and one channel to it; the server
 * side runs what the test sets as `on_begin` (on the engine's thread: it records and never asserts), the test's thread
 * starts operations, waits and asserts. Nothing sleeps: seam_await waits for what the other side counts.
 */
#ifndef WEFT_TESTS_SEAM_SUITE_H
#define WEFT_TESTS_SEAM_SUITE_H

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/thread.h"
#include "transport/transport.h"

typedef enum seam_kind {
    SEAM_CORE,
    SEAM_STEPPED,
    SEAM_THREADED
} seam_kind;

struct seam;
typedef struct seam_call seam_call;

enum {
    SEAM_METHODS = 5,
    SEAM_MS = 1000000
};

/* The server's side of a call: the state that the engine keeps for us. */
struct seam_call {
    weft__scall *transport;
    struct seam *seam;
    weft__call_start start; /* as begin got it; the message was taken out */
    weft__rx message;
    weft__op recv;
    weft__op send;
    int rounds; /* for handlers */
    bool told;  /* cancelled */
};

struct seam {
    seam_kind kind;
    weft_engine *engine;
    weft__tserver *server;
    weft__tchannel *channel;
    weft__server_config server_config;   /* may be changed before seam_start */
    weft__channel_config channel_config; /* likewise */
    weft__server_method methods[SEAM_METHODS];
    const weft__server_method *method_list[SEAM_METHODS];
    char target[128];
    void (*on_begin)(struct seam *seam, seam_call *call); /* on a thread of the engine */
    const void *arg;                                      /* for on_begin */

    /* A listener of the test's own, for engines that take descriptors. */
    int listener;
    int stop_pipe[2];
    pthread_t acceptor;
    bool accepting;
    int accepted[64]; /* duplicates, to break connections by */
    size_t accepted_count;
    char name[128]; /* bound, for engines that have names */
    const char *names[1];

    pthread_mutex_t lock; /* guards what is below; `changed` tells of every change */
    pthread_cond_t changed;
    int made;
    int destroyed;
    int begun;   /* told by the engine … */
    int handled; /* … and of those, let through to on_begin */
    int cancelled;
    int ended;
    int closed;
    int refused;         /* connections */
    seam_call *held;     /* the last call that seam_hold kept */
    const char *failure; /* what the server's side found wrong */
};

/* An operation of the test's thread. */
typedef struct seam_op {
    weft__op op;
    struct seam *seam;
    int completed;
    int result;
} seam_op;

extern const weft_method seam_unary;
extern const weft_method seam_small; /* unary; takes 100 bytes */
extern const weft_method seam_server_stream;
extern const weft_method seam_client_stream;
extern const weft_method seam_bidi;
extern const weft_method seam_unknown;

/* Which engine the program was started for. */
extern seam_kind seam_kind_under_test;

/* An engine, and configurations to change before the start. */
void seam_init(struct seam *seam);
/* A server and a channel to it. */
void seam_start(struct seam *seam);
/* Parts of the above. */
void seam_bind(struct seam *seam);
void seam_start_server(struct seam *seam);
void seam_start_channel(struct seam *seam);
/* Ends all that is left, and asserts that the server found nothing wrong and every call ended. */
void seam_stop(struct seam *seam);
void seam_stop_accepting(struct seam *seam);

/* Waits until *count is at least `at_least`, which a change of the seam will tell. */
void seam_await(struct seam *seam, const int *count, int at_least);
/* Lets time pass where it is virtual. */
void seam_pass_ms(struct seam *seam, int64_t ms);
int64_t seam_in_ms(struct seam *seam, int64_t ms);
/* Cuts all connections that stand. */
void seam_break_connections(struct seam *seam);
/* Counts something, from the server's side. */
void seam_count(struct seam *seam, int *counter);
/* Notes what is wrong, from the server's side. */
void seam_check(struct seam *seam, bool right, const char *what);

void seam_op_init(struct seam *seam, seam_op *op);
/* Waits for an operation: its result. */
int seam_op_wait(seam_op *op);

/* Watches a channel until its connection is in this state. */
void seam_watch_until(struct seam *seam, weft__tchannel *channel, int wanted);
/* Whether it completes without anything else being done: where time is real, within half a second. */
bool seam_completes_soon(seam_op *op);
/* The starter of an operation runs between these two: no completion may come on this thread meanwhile, but that of
 * `may_complete` (or NULL): a send, a receive or a half-close. */
void seam_starting(const seam_op *may_complete);
int seam_started(int rc);
#define SEAM_START(expression)              (seam_starting(NULL), seam_started(expression))
#define SEAM_MOVE(may_complete, expression) (seam_starting(may_complete), seam_started(expression))

weft__tx seam_tx(struct seam *seam, const void *data, size_t len);
weft__tx seam_text(struct seam *seam, const char *text);
/* Whether a message is `len` bytes of `data`; releases it. */
bool seam_rx_is(struct seam *seam, weft__rx *rx, const void *data, size_t len);
bool seam_rx_is_text(struct seam *seam, weft__rx *rx, const char *text);
/* The value of the `nth` pair with this key, or absent. */
weft_sv seam_md(struct seam *seam, const weft__md *md, const char *key, int nth);

weft__ccall *seam_call_new(struct seam *seam);
/* A unary call with a text, up to its end. */
weft__ccall *seam_unary_text(struct seam *seam, const weft_method *method, const char *text, weft__result *result);
/* Calls until one succeeds, as it must soon after a connection was lost: calls that are quick enough to be put on the
 * dying one may still fail. */
void seam_recover(struct seam *seam);
/* Frees a call, and the response if there is one. */
void seam_call_free(struct seam *seam, weft__ccall *call, weft__result *result);

/* Handlers. */
void seam_echo(struct seam *seam, seam_call *call);
void seam_hold(struct seam *seam, seam_call *call); /* watches, and leaves it to the test's thread: seam.held */
/* Ends a call; the message may be NULL. */
int seam_finish(seam_call *call, weft_code code, const char *text, weft__tx *message);

#define assert_seam_code(result, expected)                                                                             \
    do {                                                                                                               \
        if ((result)->code != (expected))                                                                              \
            fail_msg("%s: %.*s", weft_code_name((result)->code), WEFT_SV_ARG((result)->message));                      \
    } while (0)

/* The cases, one file each. */
extern const struct CMUnitTest seam_unary_cases[];
extern const size_t seam_unary_case_count;
extern const struct CMUnitTest seam_cancel_cases[];
extern const size_t seam_cancel_case_count;
extern const struct CMUnitTest seam_limit_cases[];
extern const size_t seam_limit_case_count;
extern const struct CMUnitTest seam_life_cases[];
extern const size_t seam_life_case_count;
extern const struct CMUnitTest seam_stream_cases[];
extern const size_t seam_stream_case_count;
extern const struct CMUnitTest seam_order_cases[];
extern const size_t seam_order_case_count;

#endif
