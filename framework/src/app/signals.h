/* app/signals.h: SIGTERM and SIGINT, taken from the process by a thread, without a handler. */
#ifndef WEFT_APP_SIGNALS_H
#define WEFT_APP_SIGNALS_H

#include <pthread.h>

typedef struct weft__signals {
    void (*told)(void *arg, int number);
    void *arg;
    int signal_fd;
    int end_fd; /* readable: the thread ends */
    pthread_t thread;
} weft__signals;

/**
 * Starts the thread, which tells of the first two signals that come. After them it lets the rest through: they have
 * their usual effect.
 *
 * @param told on that thread.
 * @return 0; -EINVAL the calling thread does not block both signals, so they would not come here; -EMFILE, -ENFILE;
 *         -EAGAIN no thread; -ENOMEM.
 */
int weft__signals_start(weft__signals *signals, void (*told)(void *arg, int number), void *arg);

/* Ends the thread: `told` is not called any more. */
void weft__signals_end(weft__signals *signals);

#endif
