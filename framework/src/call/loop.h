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

/* Waits until callbacks wait, for `ms` at most (-1: for ever), and runs them. Thread: the dispatching one. */
void weft__loop_turn(weft_loop *loop, int ms);

#endif
