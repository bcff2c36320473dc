#include "integration/consul/real.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* All are held until the last is known, so that they differ. */
void real_choose_ports(int *ports, int count)
{
    int fds[REAL_PORTS];
    assert_in_range(count, 1, REAL_PORTS);
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

void real_init(struct real_consul *consul, const char *binary)
{
    *consul = (struct real_consul){.binary = binary};
    real_choose_ports(consul->ports, REAL_PORTS);
    snprintf(consul->address, sizeof consul->address, "127.0.0.1:%d", consul->ports[REAL_HTTP]);
}

void real_become(const char *binary, const char *const *args)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* it never outlives the test */
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    execv(binary, (char *const *)(uintptr_t)args);
    _exit(127);
}

void real_start(struct real_consul *consul, const char *config_file)
{
    char flags[REAL_HTTPS][32], file[128];
    static const char *const names[REAL_HTTPS] = {"-http-port", "-server-port", "-serf-lan-port", "-serf-wan-port"};
    const char *args[16] = {"consul",       "agent",        "-dev", "-bind=127.0.0.1", "-client=127.0.0.1",
                            "-dns-port=-1", "-grpc-port=-1"};
    int count = 7;
    for (int i = 0; i < REAL_HTTPS; i++) {
        snprintf(flags[i], sizeof flags[i], "%s=%d", names[i], consul->ports[i]);
        args[count++] = flags[i];
    }
    snprintf(file, sizeof file, "-config-file=%s", config_file != NULL ? config_file : "");
    if (config_file != NULL)
        args[count] = file;
    consul->pid = fork();
    assert_true(consul->pid >= 0);
    if (consul->pid == 0)
        real_become(consul->binary, args);
}

void real_stop(struct real_consul *consul)
{
    int status;
    if (consul->pid <= 0)
        return;
    kill(consul->pid, SIGKILL);
    waitpid(consul->pid, &status, 0);
    consul->pid = 0;
}
