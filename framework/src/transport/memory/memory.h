/* memory.h: the objects of the memory engine, shared by its files.
 *
 *   engine.c   the engine: its queue of tasks, timers, virtual time, stepping, waiting, the thread
 *   message.c  blocks, frames and copies of metadata
 *   connect.c  names, channels and connections
 *   server.c   servers
 *   call.c     calls: both ends of a stream
 *   fault.c    planted faults
 *
 * Everything is guarded by one lock, weft__memory.lock, which a stepped engine does not take. A function marked
 * "unlocks" lets it go around a call to the upper side. Whatever tells the upper side something is a task.
 */
#ifndef WEFT_TRANSPORT_MEMORY_H
#define WEFT_TRANSPORT_MEMORY_H

#include <pthread.h>

#include <weft/testing.h>

#include "base/list.h"
#include "base/table.h"
#include "transport/transport.h"

typedef struct weft__memory weft__memory;
typedef struct weft__task weft__task;
typedef struct weft__mserver weft__mserver;
typedef struct weft__mchannel weft__mchannel;
typedef struct weft__mconnection weft__mconnection;
typedef struct weft__mscall weft__mscall;
typedef struct weft__mccall weft__mccall;

/* ---- tasks and timers -------------------------------------------------------------------------------------------- */

/* Something to do, once, as soon as its turn comes. Lies in the object that it is about. */
struct weft__task {
    weft__list_node node;
    void (*run)(weft__memory *memory, weft__task *task); /* locked; may unlock, and then ends without touching `task` */
};

/* A task whose turn comes at a time. */
typedef struct weft__timer {
    weft__task task;
    int64_t at_ns;
    bool background; /* nobody waits for it: a stepped engine comes to it only when it is advanced */
} weft__timer;

/* The alarms of the upper side: those that it waits for, or those in the background. */
typedef struct weft__malarms {
    weft__heap heap;
    weft__timer next;
} weft__malarms;

/* ---- messages ---------------------------------------------------------------------------------------------------- */

enum {
    WEFT__BLOCK_CLASSES = 9,    /* powers of two from … */
    WEFT__BLOCK_SMALLEST = 256, /* … to 64 KiB are kept for the next message; larger ones go back to the heap */
};

/* The bytes of a message, shared by reference. */
typedef struct weft__block weft__block;
struct weft__block {
    weft__memory *memory;
    weft__block *next; /* among the free ones */
    atomic_uint refs;
    unsigned size_class; /* WEFT__BLOCK_CLASSES: not kept */
    _Alignas(max_align_t) uint8_t data[];
};

/* A message on its way: one reference to a block. */
typedef struct weft__frame {
    weft__list_node node;
    weft__block *block;
    const uint8_t *data;
    size_t len;
    weft__coding coding;
} weft__frame;

/* One direction of a call: messages sent and not yet received. */
typedef struct weft__lane {
    weft__list frames;
    size_t count;
    int64_t buffered_bytes; /* as framed by gRPC: five bytes more a message */
    bool gzip;              /* its headers have said that messages may be gzip */
    bool closed;            /* nothing follows */
} weft__lane;

/* Metadata (and a text) that outlive their sender. The memory stays for the next call. */
typedef struct weft__copy {
    void *memory;
    size_t size;
    weft__md md;
    weft_sv text;
} weft__copy;

/* ---- servers, channels, connections ------------------------------------------------------------------------------ */

/* A bound name. */
typedef struct weft__mname {
    weft__list_node node;
    weft__mserver *server; /* NULL: bound, and nobody accepts (yet, or any more) */
    char text[];
} weft__mname;

struct weft__mserver {
    weft__tserver base;
    weft__memory *memory;
    weft__server_config config;
    weft__table methods;    /* path → weft__server_method */
    weft__list connections; /* weft__mconnection.of_server */
    size_t connection_count;
    weft__list running; /* calls that began and have not ended */
    weft__list unused;  /* call objects for the next ones */
    weft__task closed;
    bool is_shutdown;
    bool closed_told; /* or queued */
};

struct weft__mchannel {
    weft__tchannel base;
    weft__memory *memory;
    weft__list_node node; /* in weft__memory.channels */
    weft__channel_config config;
    char *target;
    weft__mconnection *connection; /* for new calls; NULL: none */
    weft__list waiting;            /* calls that wait for one */
    bool connecting;               /* an attempt hangs, until `retry` */
    weft__timer retry;             /* ends a hanging attempt, or makes the next one */
    int64_t backoff_ms;
    weft__op *watch; /* or NULL: none is outstanding */
    int watch_last;
    bool closed;
    weft__task look; /* queued: the watch looks whether the state has changed */
};

struct weft__mconnection {
    weft__memory *memory;
    weft__mchannel *channel; /* that it is the connection of; NULL: takes no new calls, ends with its last one */
    weft__mserver *server;
    weft__list_node of_server;
    weft__list calls;  /* on it */
    weft__list queued; /* over max_streams */
    int64_t streams;   /* how many are in `calls` */
    weft__timer age;   /* drains it; set again, ends the grace of what still runs then */
    weft__timer idle;  /* drains it; set while no call is on it */
    unsigned number;
    bool breaking;
};

/* ---- calls ------------------------------------------------------------------------------------------------------- */

/* An operation that may be outstanding. */
typedef struct weft__slot {
    weft__task task; /* queued: it is about to complete with `result` */
    weft__op *op;    /* NULL: none is outstanding */
    int result;
    bool swallowed; /* by a fault: it completes only when the call ends */
} weft__slot;

/* A call on the server. */
struct weft__mscall {
    weft__scall base;
    weft__mserver *server;
    weft__mccall *client; /* NULL: nobody waits for the answer */
    weft__list_node node; /* in running or unused */
    weft__slot recv;
    weft__slot send;
    weft__task cancelled;
    weft__task ended;
    weft__frame *received; /* waits for `take` */
    weft__copy request;
    int64_t max_message_bytes;
    unsigned connection_number;
    bool unix_peer;
    bool watched;
    bool headers_sent;
    bool finished;
    _Alignas(max_align_t) char state[]; /* the upper side's */
};

typedef enum weft__mccall_state {
    WEFT__CALL_NEW,
    WEFT__CALL_RUNNING,  /* started */
    WEFT__CALL_ANSWERED, /* the status is there; messages are left to be received before it is told */
    WEFT__CALL_ENDING,   /* the end is queued */
    WEFT__CALL_OVER      /* the end was told */
} weft__mccall_state;

/* A call on the client. It holds what is under way in both directions. */
struct weft__mccall {
    weft__ccall base;
    weft__mchannel *channel;
    weft__mconnection *connection; /* NULL: on none */
    weft__mscall *server;          /* NULL: not begun, or over */
    weft__list_node node;          /* in channel->waiting, connection->calls or queued, or among the unused ones */
    weft__call_args args;
    weft__lane to_server;
    weft__lane to_client;
    weft__slot recv;
    weft__slot send;
    weft__slot end;
    weft__task arrive;
    weft__timer deadline;
    weft__frame *received; /* unary: the response; else waits for `take` */
    weft__copy headers;
    weft__copy trailers;
    weft__mccall_state state;
    bool unary;
    bool connected; /* it has been on a connection */
    bool begun;     /* the server has seen it, or may have */
    weft_code code; /* how it ended, or before the start: how it shall */
    bool from_peer;
    weft__seen seen;
    weft_sv message;
};

/* ---- the engine -------------------------------------------------------------------------------------------------- */

struct weft__memory {
    weft_engine base;
    weft__clock clock;
    weft__random random;
    weft__pool_hooks hooks;
    int64_t max_buffered_bytes;

    pthread_mutex_t lock;
    weft__random_seeded source;
    atomic_int_least64_t now_ns; /* changes under the lock */
    weft__list queue;            /* tasks, oldest first */
    weft__list timers;           /* earliest first */
    weft__malarms alarms[2];     /* awaited, and in the background */
    weft__list names;
    weft__list channels;
    weft__list faults;
    unsigned last_port;
    unsigned last_connection;
    weft__block *blocks[WEFT__BLOCK_CLASSES]; /* unused */
    weft__list frames;                        /* unused */
    weft__list calls;                         /* unused: weft__mccall */

    /* Threaded only. */
    pthread_mutex_t advancing; /* one weft_test_advance at a time */
    pthread_t thread;
    pthread_cond_t work;  /* there are tasks, or it is to stop */
    pthread_cond_t quiet; /* it is quiet */
    weft__list waiters;
    size_t busy; /* jobs of workers, queued or running and not waiting */
    bool idle;   /* the thread has nothing to do */
    bool stopping;
};

static inline void weft__memory_lock(weft__memory *memory)
{
    if (!memory->base.stepped)
        pthread_mutex_lock(&memory->lock);
}

static inline void weft__memory_unlock(weft__memory *memory)
{
    if (!memory->base.stepped)
        pthread_mutex_unlock(&memory->lock);
}

static inline int64_t weft__memory_now(weft__memory *memory)
{
    return atomic_load_explicit(&memory->now_ns, memory_order_relaxed);
}

/* engine.c. All locked. */

/* Queues a task behind all others; when it is queued already, it stays where it is. */
void weft__memory_push(weft__memory *memory, weft__task *task);

/* Sets a timer, which is not set; one whose time has come is queued at once. */
void weft__memory_set(weft__memory *memory, weft__timer *timer, int64_t at_ns);

/* Takes back a task or timer; fine when it is not set. */
static inline void weft__memory_unset(weft__task *task)
{
    weft__list_remove(&task->node);
}

/* message.c */
int weft__memory_tx_alloc(weft_engine *engine, size_t len, weft__tx *out);
void weft__memory_tx_ref(weft__tx *tx);
void weft__memory_tx_unref(weft__tx *tx);
void weft__memory_rx_gather(const weft__rx *rx, uint8_t *out);
void weft__memory_rx_release(weft__rx *rx);
weft_metadatum weft__memory_md_at(const weft__md *md, size_t index);

/* The memory engine that an engine of the user's is; NULL: it is another one. */
static inline weft__memory *weft__memory_from(weft_engine *engine)
{
    bool is_memory = engine->vtable->tx_alloc == weft__memory_tx_alloc;
    return is_memory ? WEFT__CONTAINER_OF(engine, weft__memory, base) : NULL;
}

void weft__memory_lane_init(weft__lane *lane);
/* Takes over a message. 0; -ENOMEM, and it is still the caller's. */
int weft__memory_lane_push(weft__memory *memory, weft__lane *lane, const weft__tx *tx);
weft__frame *weft__memory_lane_first(const weft__lane *lane); /* or NULL; the same taken out: */
weft__frame *weft__memory_lane_pop(weft__lane *lane);
void weft__memory_lane_clear(weft__memory *memory, weft__lane *lane);
/* Drops a message nobody will receive. NULL is fine. */
void weft__memory_frame_drop(weft__memory *memory, weft__frame *frame);
/* Drops a message nobody will send. NULL is fine. */
void weft__memory_tx_drop(weft__tx *tx);
/* Turns a frame (or NULL: none) into what the upper side receives. */
void weft__memory_frame_give(weft__memory *memory, weft__frame *frame, weft__rx *out);
/* 0; -ENOMEM, and the copy is what it was. */
int weft__memory_copy_set(weft__copy *copy, const weft_metadatum *pairs, size_t count, weft_sv text);
void weft__memory_copy_clear(weft__copy *copy);
void weft__memory_copy_fini(weft__copy *copy);
/* As HTTP/2 counts: key, value and 32 bytes a pair. */
int64_t weft__memory_metadata_size(const weft_metadatum *pairs, size_t count);
void weft__memory_free_messages(weft__memory *memory);

/* connect.c */
int weft__memory_bind_name(weft_engine *engine, const char *address, char *bound, size_t size);
void weft__memory_unbind_name(weft_engine *engine, const char *bound);
weft__mname *weft__memory_find_name(weft__memory *memory, const char *text, size_t len);
int weft__memory_channel_new(weft_engine *engine, const weft__channel_config *config, weft__tchannel **out);
/* A connection for a new call, made now if need be; NULL: there is none, and `connecting` says whether one may come. */
weft__mconnection *weft__memory_channel_connect(weft__mchannel *channel);
/* Lets all that wait try again: a server has come. */
void weft__memory_channel_kick(weft__mchannel *channel);
/* A call must wait: makes sure that it is woken, if a connection can come. */
void weft__memory_channel_wait(weft__mchannel *channel, weft__mccall *call);
/* Puts a call on a connection, or in its queue. Whether it is on it. */
bool weft__memory_connection_enter(weft__mconnection *connection, weft__mccall *call);
void weft__memory_connection_leave(weft__mccall *call);
void weft__memory_connection_drain(weft__mconnection *connection); /* may free it */
void weft__memory_connection_break(weft__mconnection *connection); /* frees it */

/* server.c */
int weft__memory_server_new(weft_engine *engine, const weft__server_config *config, weft__tserver **out);
void weft__memory_server_check_closed(weft__mserver *server);

/* call.c */
int weft__memory_channel_call_new(weft__tchannel *base, weft__ccall **out);
/* Ends a client's call now, whatever it is doing. `message` is static. */
void weft__memory_call_end(weft__mccall *call, weft_code code, bool from_peer, const char *message);
/* An unused call object, NULL: no memory. Unlocks. */
weft__mscall *weft__memory_server_call_new(weft__mserver *server);
void weft__memory_server_call_free(weft__mscall *call); /* unlocked */
void weft__memory_free_calls(weft__memory *memory);

/* fault.c: what strikes at this point now: 0 and the kind, which is 0 for nothing; or the error of WEFT_TEST_REFUSE. */
int weft__memory_strike(weft__memory *memory, weft_test_point point, weft_test_fault_kind *kind);
void weft__memory_free_faults(weft__memory *memory);

#endif
