/* Design notes. The child's input and output are served by one poll loop, because a child that is not read from while
 * it is written to blocks, and we with it, as soon as both pipes are full. A child that dies early closes its pipes:
 * the write fails with EPIPE (SIGPIPE is ignored here and restored in the child), the read ends, and waitpid tells
 * why. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum {
    READ_END,
    WRITE_END
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Pipes whose ends the child does not inherit, except as its stdin and stdout. */
static int open_pipe(int fds[2])
{
    if (pipe(fds) < 0) {
        fds[READ_END] = fds[WRITE_END] = -1;
        return -errno;
    }
    for (int i = 0; i < 2; i++)
        if (fcntl(fds[i], F_SETFD, FD_CLOEXEC) < 0)
            return -errno;
    return 0;
}

static int spawn(pid_t *pid, const char *program, int input, int output)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t restored;
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc != 0)
        return -rc;
    rc = posix_spawnattr_init(&attributes);
    if (rc != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -rc;
    }
    sigemptyset(&restored);
    sigaddset(&restored, SIGPIPE);
    if ((rc = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)) == 0 &&
        (rc = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)) == 0 &&
        (rc = posix_spawnattr_setsigdefault(&attributes, &restored)) == 0 &&
        (rc = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF)) == 0) {
        char name[64];
        size_t length = strlen(program);
        if (length < sizeof name) {
            memcpy(name, program, length + 1);
            char *argv[] = {name, NULL};
            rc = posix_spawnp(pid, program, &actions, &attributes, argv, environ);
        } else {
            rc = ENAMETOOLONG;
        }
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -rc;
}

/* Writes what the pipe takes; closes it after the last byte, or when the child does not want any more. */
static int feed(int *fd, const uint8_t **input, size_t *left)
{
    ssize_t written = write(*fd, *input, *left);
    if (written < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (written < 0 && errno != EPIPE)
        return -errno;
    if (written < 0)
        *left = 0;
    else {
        *input += written;
        *left -= (size_t)written;
    }
    if (*left == 0)
        close_fd(fd);
    return 0;
}

static int collect(int *fd, text *output)
{
    char chunk[65536];
    ssize_t got = read(*fd, chunk, sizeof chunk);
    if (got < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -errno;
    if (got == 0)
        close_fd(fd);
    else
        text_add_bytes(output, chunk, (size_t)got);
    return 0;
}

static int converse(int *to, int *from, const uint8_t *input, size_t size, text *output)
{
    int rc = fcntl(*to, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
    while (rc == 0 && *from >= 0) {
        struct pollfd fds[2] = {{.fd = *from, .events = POLLIN}, {.fd = *to, .events = POLLOUT}};
        if (poll(fds, 2, -1) < 0) {
            rc = errno == EINTR ? 0 : -errno;
            continue;
        }
        if (fds[1].revents != 0)
            rc = feed(to, &input, &size);
        if (rc == 0 && fds[0].revents != 0)
            rc = collect(from, output);
    }
    return rc;
}

int child_run(pool *p, const char *program, const uint8_t *input, size_t input_size, text *output, const char **problem)
{
    int in[2] = {-1, -1};
    int out[2] = {-1, -1};
    pid_t pid = -1;
    int rc = open_pipe(in);
    if (rc == 0)
        rc = open_pipe(out);
    if (rc == 0)
        rc = spawn(&pid, program, in[READ_END], out[WRITE_END]);
    close_fd(&in[READ_END]);
    close_fd(&out[WRITE_END]);
    if (rc == 0)
        rc = converse(&in[WRITE_END], &out[READ_END], input, input_size, output);
    close_fd(&in[WRITE_END]);
    close_fd(&out[READ_END]);
    if (rc < 0)
        *problem = pool_printf(p, "cannot run %s: %s", program, strerror(-rc));
    if (pid < 0)
        return rc;

    int status = 0;
    pid_t waited;
    do
        waited = waitpid(pid, &status, 0);
    while (waited < 0 && errno == EINTR);
    if (rc < 0 || (waited == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0))
        return rc;
    if (waited < 0)
        *problem = pool_printf(p, "cannot wait for %s: %s", program, strerror(errno));
    else if (WIFSIGNALED(status))
        *problem =
            pool_printf(p, "%s was killed by signal %d (%s)", program, WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        *problem = pool_printf(p, "%s exited with %d", program, WEXITSTATUS(status));
    return -EIO;
}
