/*
 * What every server of a comparison shares: its command line, how it announces its port and how it waits to be stopped.
 * Programs of one comparison differ only in what they compare.
 */
#ifndef WEFT_BENCH_PROGRAM_H
#define WEFT_BENCH_PROGRAM_H

#ifdef __cplusplus
extern "C" {
#endif

/* What the user chooses among with one option of the program's own, for example --ops one-batch|recv2. */
typedef struct bench_variants {
    const char *option;       /* without the dashes */
    const char *const *names; /* ends with NULL; the first is the default */
} bench_variants;

typedef struct bench_options {
    int variant; /* index into bench_variants.names */
    int port;    /* 0: any free port */
    int queues;  /* completion queues */
    int threads; /* over all queues; thread i serves queue i % queues */
    int posted;  /* calls accepted ahead, per queue */
} bench_options;

/*
 * Reads the command line; `*options` starts from the defaults: a thread for each CPU in the affinity mask, a queue for
 * each two threads. Returns 0, or -EINVAL after it has printed the usage.
 */
int bench_options_parse(bench_options *options, const bench_variants *variants, int argc, char **argv);

/* Blocks SIGTERM and SIGINT in this thread and all that it starts. Call it before any library makes threads. */
void bench_block_stop_signals(void);

/* Tells the driver, on standard output, that the server answers on this port. */
void bench_announce(int port);

/* Returns when SIGTERM or SIGINT arrives. */
void bench_wait_for_stop_signal(void);

#ifdef __cplusplus
}
#endif

#endif
