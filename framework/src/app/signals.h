/* app/signals.h: SIGTERM, SIGINT and SIGHUP, taken from the process by a thread, without a handler. */
#ifndef WEFT_APP_SIGNALS_H
#define WEFT_APP_SIGNALS_H

#include <pthread.h>
#include <stdbool.h>

typedef struct weft__signals {
    bool (*told)(void *arg, int number);
    void *arg;
    int signal_fd;
    int end_fd; /* readable: the thread ends */
    pthread_t thread;
} weft__signals;

/**
 * Starts the thread, which tells of signals as they come. After the second that stops the process it lets the rest
 * through: they have their usual effect.
 *
 * @param told on that thread; whether the signal was one that stops.
 * @return 0; -EINVAL the calling thread does not block them all, so they would not come here; -EMFILE, -ENFILE;
 *         -EAGAIN no thread; -ENOMEM.
 */
int weft__signals_start(weft__signals *signals, bool (*told)(void *arg, int number), void *arg);

/* Ends the thread: `told` is not called any more. */
void weft__signals_end(weft__signals *signals);

#endif
