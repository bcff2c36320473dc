#include "app/signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <weft/app.h>

#include "base/thread.h"

#define STOPS 2 /* after so many signals that stop, the rest have their usual effect */

static void fill(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
    (void)sigaddset(set, SIGHUP);
}

int weft_app_block_signals(void)
{
    sigset_t set;
    fill(&set);
    return -pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static bool are_blocked(void)
{
    sigset_t now;
    return pthread_sigmask(SIG_BLOCK, NULL, &now) == 0 && sigismember(&now, SIGTERM) == 1 &&
           sigismember(&now, SIGINT) == 1 && sigismember(&now, SIGHUP) == 1;
}

static void *run(void *arg)
{
    weft__signals *signals = arg;
    struct pollfd polled[] = {{.fd = signals->end_fd, .events = POLLIN}, {.fd = signals->signal_fd, .events = POLLIN}};
    int stops = 0;
    sigset_t set;
    for (;;) {
        struct signalfd_siginfo info;
        if (poll(polled, 2, -1) < 0)
            continue; /* interrupted: by a debugger */
        if (polled[0].revents != 0)
            return NULL;
        if (read(signals->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
            continue;
        if (signals->told(signals->arg, (int)info.ssi_signo) && ++stops == STOPS) {
            polled[1].fd = -1;
            fill(&set);
            (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        }
    }
}

int weft__signals_start(weft__signals *signals, bool (*told)(void *arg, int number), void *arg)
{
    sigset_t set;
    if (!are_blocked())
        return -EINVAL;
    fill(&set);
    signals->told = told;
    signals->arg = arg;
    signals->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (signals->end_fd < 0)
        return -errno;
    signals->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    int rc = signals->signal_fd >= 0 ? 0 : -errno;
    if (rc < 0)
        goto fail_signal_fd;
    rc = weft__thread_start(&signals->thread, 0, "weft-signals", run, signals);
    if (rc == 0)
        return 0;
    (void)close(signals->signal_fd);
fail_signal_fd:
    (void)close(signals->end_fd);
    return rc;
}

void weft__signals_end(weft__signals *signals)
{
    (void)eventfd_write(signals->end_fd, 1);
    (void)pthread_join(signals->thread, NULL);
    (void)close(signals->signal_fd);
    (void)close(signals->end_fd);
}
