#define _GNU_SOURCE /* sched_getaffinity */
#include "program.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int allowed_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return CPU_COUNT(&set);
}

static void print_usage(const char *program, const bench_variants *variants)
{
    fprintf(stderr, "usage: %s [--%s ", program, variants->option);
    for (const char *const *name = variants->names; *name != NULL; name++)
        fprintf(stderr, "%s%s", name == variants->names ? "" : "|", *name);
    fprintf(stderr, "] [--port N] [--queues N] [--threads N] [--posted N]\n");
}

static bool parse_number(const char *text, int min, int max, int *out)
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < min || value > max)
        return false;
    *out = (int)value;
    return true;
}

static bool parse_variant(const char *text, const bench_variants *variants, int *out)
{
    for (int i = 0; variants->names[i] != NULL; i++) {
        if (strcmp(text, variants->names[i]) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

int bench_options_parse(bench_options *options, const bench_variants *variants, int argc, char **argv)
{
    const struct option known[] = {
        {variants->option, required_argument, NULL, 'v'}, {"port", required_argument, NULL, 'p'},
        {"queues", required_argument, NULL, 'q'},         {"threads", required_argument, NULL, 't'},
        {"posted", required_argument, NULL, 'n'},         {NULL, 0, NULL, 0},
    };
    bench_options parsed = {.posted = 128};
    bool ok = true;
    int letter;
    while (ok && (letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (letter) {
        case 'v':
            ok = parse_variant(optarg, variants, &parsed.variant);
            break;
        case 'p':
            ok = parse_number(optarg, 0, 65535, &parsed.port);
            break;
        case 'q':
            ok = parse_number(optarg, 1, 1024, &parsed.queues);
            break;
        case 't':
            ok = parse_number(optarg, 1, 1024, &parsed.threads);
            break;
        case 'n':
            ok = parse_number(optarg, 1, 65536, &parsed.posted);
            break;
        default:
            ok = false;
        }
    }
    if (parsed.threads == 0)
        parsed.threads = parsed.queues > 0 ? parsed.queues : allowed_cpus();
    if (parsed.queues == 0)
        parsed.queues = (parsed.threads + 1) / 2;
    /* A queue that no thread serves would accept calls and never answer them. */
    if (!ok || optind < argc || parsed.queues > parsed.threads) {
        print_usage(argv[0], variants);
        return -EINVAL;
    }
    *options = parsed;
    return 0;
}

static sigset_t stop_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
}

void bench_block_stop_signals(void)
{
    sigset_t set = stop_signals();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void bench_announce(int port)
{
    printf("listening on 127.0.0.1:%d\n", port);
    fflush(stdout);
}

void bench_wait_for_stop_signal(void)
{
    sigset_t set = stop_signals();
    int signal_number = 0;
    (void)sigwait(&set, &signal_number);
}
