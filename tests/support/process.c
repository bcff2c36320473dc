#include "support/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MAX_PORTS 16

/* All are held until the last is known, so that they differ. */
void process_choose_ports(int *ports, int count)
{
    int fds[MAX_PORTS];
    assert_in_range(count, 1, MAX_PORTS);
    for (int i = 0; i < count; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET};
        socklen_t len = sizeof address;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(bind(fds[i], (struct sockaddr *)&address, sizeof address), 0);
        assert_int_equal(getsockname(fds[i], (struct sockaddr *)&address, &len), 0);
        ports[i] = ntohs(address.sin_port);
    }
    for (int i = 0; i < count; i++)
        close(fds[i]);
}

/* In the child. Only what may be called after fork in a threaded process. */
static void become(const char *program, const char *folder, int output, const char *const *args)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    if (folder == NULL || chdir(folder) == 0)
        execv(program, (char *const *)(uintptr_t)args);
    _exit(127);
}

pid_t process_spawn(const char *program, const char *folder, int output, const char *const *args)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        become(program, folder, output, args);
    return pid;
}

pid_t process_start(const char *program, const char *log, const char *const *args)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    pid_t pid = process_spawn(program, NULL, fd, args);
    close(fd);
    return pid;
}

int process_wait(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
