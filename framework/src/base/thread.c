#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

static _Thread_local bool is_loop;

/* What a new thread is told; freed by it. */
typedef struct weft_thread_start {
    void *(*fn)(void *);
    void *arg;
    char name[16];
} weft_thread_start;

static void *run(void *arg)
{
    weft_thread_start start = *(weft_thread_start *)arg;

    free(arg);
#ifdef __linux__
    if (start.name[0] != '\0')
        prctl(PR_SET_NAME, start.name, 0, 0, 0);
#endif
    return start.fn(start.arg);
}

int weft__thread_start(pthread_t *out, size_t stack_bytes, const char *name, void *(*fn)(void *), void *arg)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    weft_thread_start *start = malloc(sizeof *start);

    if (start == NULL)
        return -ENOMEM;
    *start = (weft_thread_start){.fn = fn, .arg = arg};
    snprintf(start->name, sizeof start->name, "%s", name != NULL ? name : "");

    int error = pthread_attr_init(&attributes);
    if (error != 0) {
        free(start);
        return -error;
    }
    if (stack_bytes > 0) {
        long least = sysconf(_SC_THREAD_STACK_MIN);
        if (least > 0 && stack_bytes < (size_t)least)
            stack_bytes = (size_t)least;
        error = pthread_attr_setstacksize(&attributes, stack_bytes);
    }
    if (error == 0) {
        /* A thread inherits its mask: blocking in here leaves no moment in which a signal could reach it. */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        error = pthread_create(out, &attributes, run, start);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attributes);
    if (error != 0)
        free(start);
    return -error;
}

void weft__thread_set_loop(bool loop)
{
    is_loop = loop;
}

bool weft__thread_is_loop(void)
{
    return is_loop;
}
