/* weft/testing.h: the memory engine (libweft-testing): servers and channels in one process without sockets, in virtual
 * time.
 *
 * A channel's target is the text a server listens on; "host:0" makes up a port. Nothing happens behind the test's back:
 *
 * - Stepped: no threads at all. Handlers run inline or deferred, on the thread that steps; a blocking stub steps the
 *   engine until its call ends, and moves virtual time to the next deadline when nothing else can happen.
 * - Threaded: one thread of the engine dispatches, servers have real workers, tests any number of threads of their own.
 *   Virtual time moves only by weft_test_advance, which first waits until every worker is idle or blocked in a call.
 */
#ifndef WEFT_TESTING_H
#define WEFT_TESTING_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/engine.h>
#include <weft/log.h>
#include <weft/status.h>

WEFT_BEGIN_DECLS

typedef struct weft_memory_engine_options {
    size_t struct_size; /* set by WEFT_MEMORY_ENGINE_OPTIONS_INIT */
    bool threaded;      /* optional. Default: stepped */
    uint64_t seed;      /* optional; of everything random. Default: 1 */
    int64_t
        max_buffered_bytes; /* optional; what a stream holds per direction before its sender waits. Default: 64 KiB */
    weft_log *log;          /* optional; outlives the engine. Default: nothing is logged */
} weft_memory_engine_options;
#define WEFT_MEMORY_ENGINE_OPTIONS_INIT WEFT__INIT(weft_memory_engine_options)

/**
 * Makes a memory engine. It also carries the servers' and channels' options that have a meaning without a network:
 * limits, deadlines, backoff, the age and idle time of connections.
 *
 * @param options may be NULL: all defaults.
 * @return 0; -EINVAL an option out of range, or struct_size 0; -E2BIG an option that this library does not know;
 *         -ENOMEM; -EAGAIN no thread could be started.
 */
WEFT_API int weft_memory_engine_new(weft_engine **out, const weft_memory_engine_options *options);

/**
 * Stepped mode: runs at most `max` events, oldest first (SIZE_MAX: until none is left). Time stands still.
 *
 * @return how many ran; 0 from within an event, and on any other engine. Thread: the test's only.
 */
WEFT_API size_t weft_test_step(weft_engine *engine, size_t max);

/**
 * Moves virtual time forward by `ns`; deadlines that fall in between fire in order, each at its time. Stepped: runs all
 * events before, between and after. Threaded: waits for quiet before, between and after; a handler that blocks on
 * anything but a call of this engine keeps it waiting.
 *
 * Does nothing from within an event or a worker, and on any other engine. Thread: the test's; in the threaded mode any
 * number of them.
 */
WEFT_API void weft_test_advance(weft_engine *engine, int64_t ns);

/* Where a fault can strike. */
typedef enum weft_test_point {
    WEFT_TEST_CONNECT = 1, /* a channel connects */
    WEFT_TEST_START = 2,   /* a client call starts */
    WEFT_TEST_SEND = 3,    /* a message of a stream is sent, by either side */
    WEFT_TEST_RECV = 4,    /* a message of a stream is received, by either side */
    WEFT_TEST_FINISH = 5   /* a server ends a call, with the response if it is unary */
} weft_test_point;

/* What happens there. */
typedef enum weft_test_fault_kind {
    WEFT_TEST_REFUSE = 1, /* the operation does not start: the caller gets -errno */
    WEFT_TEST_BREAK = 2,  /* the connection is lost: both sides see it */
    WEFT_TEST_SWALLOW = 3 /* nothing happens: the operation completes only when the call ends otherwise */
} weft_test_fault_kind;

typedef struct weft_test_fault {
    size_t struct_size;        /* set by WEFT_TEST_FAULT_INIT */
    weft_test_point point;     /* required */
    weft_test_fault_kind kind; /* required */
    int64_t after;             /* optional; passes this many times first. Default: 0 */
    int64_t times;             /* optional; strikes so often. Default: 1; -1: for ever */
    int error;                 /* optional; of WEFT_TEST_REFUSE. Default: -ENOMEM */
} weft_test_fault;
#define WEFT_TEST_FAULT_INIT WEFT__INIT(weft_test_fault)

/**
 * Plants a fault. Several at one point strike in the order in which they were planted: one counts only what those
 * before it let pass.
 *
 * @return 0; -EINVAL a field out of range, struct_size 0, or another engine; -E2BIG as above; -ENOMEM. Thread: any.
 */
WEFT_API int weft_test_inject(weft_engine *engine, const weft_test_fault *fault);

WEFT_END_DECLS
#endif
