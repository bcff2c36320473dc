/* resolve/runner.h: the thread of a resolver, which its watches share. It lives from the first task to the last. */
#ifndef WEFT_RESOLVE_RUNNER_H
#define WEFT_RESOLVE_RUNNER_H

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"

#define WEFT__TASK_FDS 16 /* as many as c-ares tells of */

/* Lies in a watch. `run`, `due_ns` and descriptors are set before it is added, then only by `run`. */
typedef struct weft__runner_task {
    void (*run)(
        struct weft__runner_task *task); /* it is due, was woken, or a descriptor has something: `revents` say so */
    int64_t due_ns;                      /* on CLOCK_MONOTONIC; INT64_MAX: never */
    struct pollfd fds[WEFT__TASK_FDS];
    size_t fd_count;
    /* the rest is the runner's, under its lock */
    weft__list_node node;
    size_t polled_at; /* where its descriptors stand among those that are polled; 0: they are not */
    bool woken;
    bool running;
    bool leaving;
} weft__runner_task;

typedef struct weft__runner {
    pthread_mutex_t life; /* one starts or joins the thread at a time; the thread never takes it */
    pthread_mutex_t lock;
    pthread_cond_t idle; /* a task has run */
    weft__list tasks;
    size_t task_count;
    struct pollfd *spare; /* room for more tasks, which the thread takes over */
    size_t room;          /* for so many tasks */
    const char *name;
    int wake_fd;
    pid_t pid; /* its process: a child made by fork() has no thread, and maybe a lock that nobody gives back */
    pthread_t thread;
    bool started;
    bool stopping;
} weft__runner;

/* Starts nothing yet. @param name of the thread. @return 0; -ENOMEM; -EMFILE, -ENFILE no descriptor for it. */
int weft__runner_init(weft__runner *runner, const char *name);

/* Whether this is a child made by fork(). Then nothing else here may be called. */
bool weft__runner_forked(const weft__runner *runner);

/* No task is left. */
void weft__runner_fini(weft__runner *runner);

/* Has a task run at its time. @return 0; -ENOMEM; -EAGAIN out of threads. Thread: any. */
int weft__runner_add(weft__runner *runner, weft__runner_task *task);

/* Takes a task out; it runs no more. Waits while it does. Thread: any but the runner's own. */
void weft__runner_remove(weft__runner *runner, weft__runner_task *task);

/* Has a task run soon. Thread: any. */
void weft__runner_wake(weft__runner *runner, weft__runner_task *task);

/* The clock of due_ns. */
int64_t weft__runner_now_ns(void);

#endif
