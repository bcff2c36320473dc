/* weft/interceptor.h: hooks around calls, one type for servers and channels and for all four kinds of call, blocking or
 * not.
 *
 *     call begins ──▶ start ──▶ recv, send: one for each message ──▶ end          (interceptors: may refuse)
 *     call is over, however far it got ─────────────────────────────────▶ ended    (observers: only look)
 *
 * An interceptor is an object of the program's that begins with a weft_interceptor:
 *
 *     struct token { weft_interceptor base; const char *secret; };
 *     static const weft_interceptor_vtable token_vtable = {
 *         .struct_size = sizeof token_vtable, .name = "token", .start = token_start};
 *
 * Order: as given in the options for start and send, in reverse for recv and end: the first one is the outermost.
 * Threads: on a server, start and recv run where the handler runs (worker, engine's thread or loop), send where it
 * sends, end where it is answered; on a channel, where the caller calls, and end where it is called back. So a hook may
 * block only if all of its methods' handlers and callers may. Hooks of different calls run at the same time.
 */
#ifndef WEFT_INTERCEPTOR_H
#define WEFT_INTERCEPTOR_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/call.h>
#include <weft/method.h>
#include <weft/status.h>

WEFT_BEGIN_DECLS

/* Options hold at most this many interceptors. */
#define WEFT_MAX_INTERCEPTORS 64

/**
 * What an interceptor does; each function may be NULL. `self` is the interceptor, `state` is `state_size` bytes of this
 * call's, zeroed before start, for nobody else.
 */
typedef struct weft_interceptor_vtable {
    size_t struct_size;
    const char *name; /* for logs */
    size_t state_size;

    /* Before the request is read (server), or sent (channel). A code other than WEFT_OK ends the call with it, and with
     * what weft_fail said; the interceptors that follow, and the handler or server, never see it. On a channel
     * weft_call_add_header adds to the request's metadata. */
    weft_code (*start)(weft_interceptor *self, weft_call *call, void *state);

    /* Each message that was received, or is about to be sent. A code other than WEFT_OK fails the call. A message that
     * was packed before (weft_stream_send_packed) is NULL. */
    weft_code (*recv)(weft_interceptor *self, weft_call *call, const ProtobufCMessage *message, void *state);
    weft_code (*send)(weft_interceptor *self, weft_call *call, const ProtobufCMessage *message, void *state);

    /* Once for every start, with how the call ends. On a server the status is not sent yet, and trailers may be
     * added. */
    void (*end)(weft_interceptor *self, weft_call *call, const weft_status *status, void *state);

    void (*destroy)(weft_interceptor *self); /* by weft_interceptor_free */
} weft_interceptor_vtable;

struct weft_interceptor {
    const weft_interceptor_vtable *vtable;
};

/* Frees an interceptor by its destroy, which Weft's own have. Nobody may use it any more. NULL is fine. */
WEFT_API void weft_interceptor_free(weft_interceptor *interceptor);

/* An interceptor in the options of a server or channel. */
typedef struct weft_interception {
    weft_interceptor *interceptor; /* required; outlives the server or channel */
    const char *const *methods;    /* optional; method_count paths: "/user.UserService/GetUser", or a whole service,
                                      "/user.UserService/ *" without the blank. Copied. Default: all methods */
    size_t method_count;
} weft_interception;

/* Whether the call is one that this process makes, and not one that it serves. */
WEFT_API bool weft_call_is_client(const weft_call *call);

/* Which of the four kinds the call's method is. Every call that a hook sees has one. */
WEFT_API weft_method_kind weft_call_kind(const weft_call *call);

/* ---- observers --------------------------------------------------------------------------------------------------- */

/* How a call went. The texts live until the observer returns. */
typedef struct weft_call_summary {
    const char *path;          /* "/user.UserService/GetUser"; of an unknown method, what the peer asked for */
    const weft_method *method; /* NULL: an unknown one */
    const weft_status *status;
    bool client;
    bool handled;     /* server: a handler began; a call may be refused, or expire, before */
    int64_t began_ns; /* of the engine's clock */
    int64_t ended_ns;
    uint64_t received; /* messages */
    uint64_t sent;
} weft_call_summary;

typedef struct weft_observer_vtable {
    size_t struct_size;
    const char *name;

    /* Every call, once, when it is over: also those that no handler ever saw. Any thread, many at a time; it must not
     * block. */
    void (*ended)(weft_observer *self, const weft_call_summary *summary);
} weft_observer_vtable;

/* Lies at the beginning of the program's object. */
struct weft_observer {
    const weft_observer_vtable *vtable;
};

WEFT_END_DECLS
#endif
