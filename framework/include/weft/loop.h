/* weft/loop.h: Weft inside a program's own event loop: epoll, libuv, libevent, GLib, or poll in a while.
 *
 * Give a loop to a server or a channel (its options), and every handler and every callback of theirs runs in
 * weft_loop_dispatch, on the thread that calls it. The engine's threads go on reading and writing in the background.
 *
 *     weft_loop_new(&loop);
 *     epoll_ctl(epoll, EPOLL_CTL_ADD, weft_loop_fd(loop), …);       // for reading, level-triggered
 *     …
 *     when it is readable:  weft_loop_dispatch(loop, 64);
 *
 * Nothing there may block: a blocking call fails at once, and streams return -EAGAIN (weft/stream.h). Calls are made by
 * the …_async stubs (weft/async.h).
 */
#ifndef WEFT_LOOP_H
#define WEFT_LOOP_H

#include <stddef.h>

#include <weft/version.h>

WEFT_BEGIN_DECLS

typedef struct weft_loop weft_loop;

/* Makes a loop. @return 0; -EMFILE or -ENFILE out of descriptors; -ENOMEM. */
WEFT_API int weft_loop_new(weft_loop **out);

/* The descriptor that is readable while callbacks wait. Poll it for reading, level-triggered; never read or close
 * it. */
WEFT_API int weft_loop_fd(const weft_loop *loop);

/**
 * Runs callbacks that wait, oldest first, those included that come meanwhile.
 *
 * @param max how many at most, so that the program's other work gets its turn.
 * @return how many ran; 0 from within a callback. Thread: one at a time; does not block.
 */
WEFT_API size_t weft_loop_dispatch(weft_loop *loop, size_t max);

/**
 * Frees a loop. NULL is fine.
 *
 * @return 0; -EBUSY, and nothing is freed, while a server or a channel has it, or callbacks wait: dispatch them first.
 */
WEFT_API int weft_loop_free(weft_loop *loop);

WEFT_END_DECLS
#endif
