#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli.h"

/* A hangup that was ignored before, by nohup, stays so. */
static void fill(sigset_t *set)
{
    struct sigaction hangup;
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaddset(set, SIGHUP);
    sigaddset(set, SIGCHLD);
}

int process_signals(void)
{
    sigset_t set;
    fill(&set);
    if (signal(SIGCHLD, SIG_DFL) == SIG_ERR) /* whoever ignores it hears of no child's end */
        return -errno;
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd >= 0 ? fd : -errno;
}

int process_next_signal(int signals)
{
    struct signalfd_siginfo info;
    return read(signals, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

/* In the child, until it is the program. */
static void become(const process_spec *spec, pid_t parent)
{
    sigset_t set;
    int nothing = open("/dev/null", O_RDONLY);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a service that waits for SIGTERM only would outlive the tool */
    if (getppid() != parent)
        _exit(CLI_FAILED);
    if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(spec->output, STDOUT_FILENO) < 0 ||
        dup2(spec->output, STDERR_FILENO) < 0)
        _exit(CLI_FAILED);
    close(nothing);
    signal(SIGPIPE, SIG_DFL);
    fill(&set);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    if (spec->variable != NULL)
        (void)setenv(spec->variable, spec->value, 0);
    if (spec->folder == NULL || chdir(spec->folder) == 0)
        execvp(spec->argv[0], spec->argv);
    (void)cli_error("cannot run %s: %s", spec->argv[0], strerror(errno));
    _exit(CLI_USAGE);
}

int process_start(pid_t *out, const process_spec *spec)
{
    pid_t parent = getpid();
    fflush(NULL); /* not twice */
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        become(spec, parent);
    (void)setpgid(pid, pid); /* whoever is first */
    *out = pid;
    return 0;
}
