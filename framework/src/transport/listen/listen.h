/* transport/listen/listen.h: listening sockets and the thread that accepts from them. Engines are handed connections.
 *
 *     new ──bind…──▶ bound ──start──▶ accepting ──stop──▶ stopped ──free──▶
 *
 * Functions are called by one thread at a time, except weft__listener_failures. None of them, but start, may be called
 * from the callback.
 */
#ifndef WEFT_TRANSPORT_LISTEN_LISTEN_H
#define WEFT_TRANSPORT_LISTEN_LISTEN_H

#include <stddef.h>
#include <stdint.h>

#include <weft/log.h>

typedef struct weft__listener weft__listener;

/* Sockets of one listener, and times it can bind: a name may have several addresses. */
#define WEFT__LISTENER_MAX_SOCKETS 64

typedef struct weft__listener_options {
    weft_log *log;      /* outlives the listener; or NULL */
    unsigned unix_mode; /* permissions of unix sockets, such as 0660; 0: what the process's umask leaves */
} weft__listener_options;

/* @param options NULL: no log, no mode. @return 0; -ENOMEM. */
int weft__listener_new(weft__listener **out, const weft__listener_options *options);

/**
 * Binds an address (address.h) and lets the kernel queue connections to it.
 *
 * All addresses of a name bind or none; ":port" is every interface by IPv4 and IPv6; port 0 is the same free port on
 * all of them. A unix socket that is left over from another process is replaced, a live one and any other file is not.
 * An inherited descriptor becomes the listener's, and non-blocking for everybody who shares it.
 *
 * @return 0; -EADDRINUSE; -EACCES; -EADDRNOTAVAIL; -EINVAL not an address; -ENOENT an unknown name; -EAGAIN the name
 *         server does not answer; -EBADF, -ENOTSOCK, -EPROTOTYPE, -ENOTCONN a descriptor that is not open, no socket,
 * no stream, not listening; -ENOSPC over WEFT__LISTENER_MAX_SOCKETS; -EBUSY after start; or another -errno of socket,
 * bind or listen. On failure nothing has changed. Blocks while the name is looked up.
 */
int weft__listener_bind(weft__listener *listener, const char *text);

/* What the `index`-th successful bind bound, with the real port; NULL past the last. Lives as long as the listener. */
const char *weft__listener_address(const weft__listener *listener, size_t index);

/* Its TCP port; 0 for a unix socket and past the last. */
int weft__listener_port(const weft__listener *listener, size_t index);

/**
 * Takes a connection: non-blocking, close-on-exec, without Nagle's delay.
 *
 * @param binding which bind, counted as in weft__listener_address, it came to.
 * @return 0: the callback owns `fd`; negative: the listener closes it. Thread: the listener's, one at a time; must not
 * block.
 */
typedef int (*weft__accepted_fn)(void *user, size_t binding, int fd);

/* Begins to accept. @return 0; -EALREADY; -EINVAL nothing is bound; -EMFILE, -ENFILE; -EAGAIN no thread; -ENOMEM. */
int weft__listener_start(weft__listener *listener, weft__accepted_fn accepted, void *user);

/* Ends accepting and closes the sockets: their ports refuse from now on, unix sockets are gone, the callback runs no
   more. Also before start. The second time it does nothing. */
void weft__listener_stop(weft__listener *listener);

/* Stops and frees. NULL is fine. */
void weft__listener_free(weft__listener *listener);

/* How often no connection could be accepted for want of descriptors or memory. Thread: any. */
uint64_t weft__listener_failures(const weft__listener *listener);

#endif
