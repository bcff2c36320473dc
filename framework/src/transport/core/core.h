/* core.h: what the files of the engine on gRPC core share. Nothing outside this folder sees a gRPC type.
 *
 * A tag of a completion queue is a weft_core_tag, embedded in the object whose operation it ends: the queue's thread
 * calls it. No table, no switch, no allocation.
 */
#ifndef WEFT_TRANSPORT_CORE_CORE_H
#define WEFT_TRANSPORT_CORE_CORE_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>

#include "base/list.h"
#include "transport/transport.h"

typedef struct weft_core_tag weft_core_tag;
struct weft_core_tag {
    void (*run)(weft_core_tag *tag, bool ok);
    bool failed; /* while the tag is passed on to its queue's thread, which takes it back */
};

typedef struct weft_core_engine {
    weft_engine base;
    grpc_completion_queue **queues;
    size_t queue_count;
    weft__alarms *alarms;
    pthread_t *threads;
    size_t thread_count;
    atomic_size_t next_queue;   /* where the next channel's calls complete */
    int64_t max_buffered_bytes; /* of a server; INT64_MAX: none */
    bool took_log;
} weft_core_engine;

static inline weft_core_engine *weft__core_engine(weft_engine *engine)
{
    return WEFT__CONTAINER_OF(engine, weft_core_engine, base);
}

int weft__core_server_new(weft_engine *base, const weft__server_config *config, weft__tserver **out);
int weft__core_channel_new(weft_engine *base, const weft__channel_config *config, weft__tchannel **out);

/* ---- threads and time (engine.c) ---- */

/* Starts a batch of a call whose completions are `queue`'s. On a thread that may block, `tag` may be called before this
 * returns, if gRPC core is done with the batch by then. */
grpc_call_error weft__core_start(grpc_completion_queue *queue, grpc_call *call, const grpc_op *ops, size_t count,
                                 weft_core_tag *tag);

/* Around what may make gRPC core start threads: they inherit the mask, so that no signal handler of the program runs
 * there. */
void weft__core_block_signals(sigset_t *before);
void weft__core_unblock_signals(const sigset_t *before);

gpr_timespec weft__core_time(int64_t ns);
int64_t weft__core_time_ns(gpr_timespec time);

/* A limit as an int argument of gRPC core: "none" and what does not fit become `none`. */
int weft__core_int(int64_t limit, int none);

/* ---- messages and metadata (message.c) ---- */

int weft__core_tx_alloc(weft_engine *engine, size_t len, weft__tx *out);
void weft__core_tx_ref(weft__tx *tx);
void weft__core_tx_unref(weft__tx *tx);
void weft__core_rx_gather(const weft__rx *rx, uint8_t *out);
void weft__core_rx_release(weft__rx *rx);
weft_metadatum weft__core_md_at(const weft__md *md, size_t index);

/* Describes a received message that `rx` then owns; NULL is "no message". Before the call receives another one. */
weft__rx weft__core_rx(grpc_call *call, grpc_byte_buffer *buffer);

/* What was received, without the pairs that are not legal: those leave the array. */
weft__md weft__core_md(grpc_metadata_array *array);

weft_sv weft__core_sv(const grpc_slice *slice);

/* A byte buffer that lies in a call object and is used again: gRPC core takes the slices out of it when a batch starts.
 */
void weft__core_buffer_init(grpc_byte_buffer *buffer);
void weft__core_buffer_fini(grpc_byte_buffer *buffer);

/* Puts a message into an empty one, for one operation to send; its reference goes along. */
grpc_op weft__core_send_message(grpc_byte_buffer *buffer, const weft__tx *message, bool more);

/* Copies of metadata to send, as gRPC core wants them. It keeps its own references once a batch has started, so that
 * they can be dropped then. */
enum {
    WEFT__CORE_METADATA_OWN = 2, /* what an engine adds by itself */
    WEFT__CORE_METADATA_INLINE = 16
};
typedef struct weft_core_metadata {
    grpc_metadata *items;
    size_t count;
    grpc_metadata room[WEFT__CORE_METADATA_INLINE + WEFT__CORE_METADATA_OWN];
} weft_core_metadata;

/* 0 or -ENOMEM. */
int weft__core_metadata_copy(weft_core_metadata *out, const weft_metadatum *pairs, size_t count);
void weft__core_metadata_drop(weft_core_metadata *metadata);

/* Add the headers which say that messages may be gzip, and that gzip is taken. Once each. */
void weft__core_metadata_add_encoding(weft_core_metadata *metadata);
void weft__core_metadata_add_accept_encoding(weft_core_metadata *metadata);

/* Whether the peer of a server's call has said that it takes gzip. */
bool weft__core_takes_gzip(grpc_call *call);

/* Writes the peer's address as weft__scall_vtable.peer wants it. Empty for a call that `local` (a channel's target; or
 * NULL) is all that gRPC core knows of. */
size_t weft__core_peer(grpc_call *call, const char *local, char *out, size_t size);

/* ---- gRPC core's log (log.c) ---- */

/* Sends gRPC core's log to `log` (NULL: nowhere) until it is given back. The engine made last has it. */
void weft__core_log_take(weft_core_engine *engine);
void weft__core_log_give_back(weft_core_engine *engine);

#endif
