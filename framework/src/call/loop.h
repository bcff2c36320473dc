/* call/loop.h: how servers and channels hand callbacks to a program's event loop. */
#ifndef WEFT_CALL_LOOP_H
#define WEFT_CALL_LOOP_H

#include <stdint.h>

#include <weft/loop.h>

#include "base/pool.h"

/* Has the job run by the next dispatch. NULL for a loop: runs it here. Thread: any; does not block. */
void weft__loop_post(weft_loop *loop, weft__job *job);

/* A server or channel begins and ends to use it. NULL is fine. */
void weft__loop_use(weft_loop *loop);
void weft__loop_unuse(weft_loop *loop);

/* Somebody who is told by a loop, once: apart from what it is about, which may be gone by then. */
typedef struct weft__told weft__told;

/* 0; -ENOMEM. */
int weft__told_new(weft__told **out, weft_loop *loop, void (*fn)(void *arg), void *arg);

/* Has `fn` called by the loop, and frees. Takes a weft__told, so that it can stand where `fn` would. */
void weft__told_post(void *told);

/* Frees one that is not to be told. NULL is fine. */
void weft__told_free(weft__told *told);

/* Waits until callbacks wait, for `ms` at most (-1: for ever), and runs them. Thread: the dispatching one. */
void weft__loop_turn(weft_loop *loop, int ms);

#endif
