/* load.h: callers, each a thread that makes one call after the other, until so many have been made in all. */
#ifndef WEFT_TEST_SIX_LOAD_H
#define WEFT_TEST_SIX_LOAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <weft/weft.h>

#include "integration/six/servers.h"

enum {
    CALLERS = 8
};

struct load {
    weft_channel *channel;
    bool running;          /* the callers have not been waited for */
    int64_t calls;         /* that are made, unless it is cut short */
    int64_t *latencies_ns; /* of the call with that number */
    struct caller {
        struct load *load;
        weft_arena *arena;
        pthread_t thread;
    } callers[CALLERS];
    atomic_int_least64_t next; /* number of the next call */
    pthread_mutex_t lock;      /* of the rest */
    pthread_cond_t changed;
    int64_t ended;
    int64_t failed;
    int64_t answered[SERVERS];
    char failure[256]; /* the first one */
};

/* Begins to make calls: jobs of random size and length, the same ones each time. */
void load_start(struct load *load, weft_channel *channel, int64_t calls);

/* Waits until so many calls are over. */
void load_await(struct load *load, int64_t ended);

/* Waits until a server has answered so many more calls than now. @return false: the load ended before. */
bool load_await_answers(struct load *load, int server, int64_t more);

/* Makes no more calls. */
void load_cut(struct load *load);

/* Waits for the end of all. Until load_free what it counted is there, without the lock. */
void load_join(struct load *load);

/* Cuts it short if it still runs, and frees what it has. One of all zeros, or one that is free already, is fine. */
void load_free(struct load *load);

/* A quantile, 0.99 say, of the latencies of these calls, in milliseconds. After load_join. */
double load_quantile_ms(const struct load *load, double quantile, int64_t from, int64_t to);

#endif
