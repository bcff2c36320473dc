#include "integration/consul/agent.h"

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

/* Free ports, all held until the last is known, so that they differ. */
void agent_init(struct agent *agent, const char *binary)
{
    *agent = (struct agent){.binary = binary};
    int fds[PORTS];
    for (int i = 0; i < PORTS; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET};
        socklen_t len = sizeof address;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(bind(fds[i], (struct sockaddr *)&address, sizeof address), 0);
        assert_int_equal(getsockname(fds[i], (struct sockaddr *)&address, &len), 0);
        agent->ports[i] = ntohs(address.sin_port);
    }
    for (int i = 0; i < PORTS; i++)
        close(fds[i]);
    snprintf(agent->address, sizeof agent->address, "127.0.0.1:%d", agent->ports[HTTP]);
    snprintf(agent->https, sizeof agent->https, "https://127.0.0.1:%d", agent->ports[HTTPS]);
}

/* Only what may be called after fork in a threaded process. */
void agent_become(const char *binary, const char *const *args)
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

void agent_start(struct agent *agent)
{
    char flags[HTTPS][32], file[96];
    static const char *const names[HTTPS] = {"-http-port", "-server-port", "-serf-lan-port", "-serf-wan-port"};
    const char *args[16] = {"consul",       "agent",        "-dev", "-bind=127.0.0.1", "-client=127.0.0.1",
                            "-dns-port=-1", "-grpc-port=-1"};
    int count = 7;
    for (int i = 0; i < HTTPS; i++) {
        snprintf(flags[i], sizeof flags[i], "%s=%d", names[i], agent->ports[i]);
        args[count++] = flags[i];
    }
    snprintf(file, sizeof file, "-config-file=%s/agent.json", agent->folder);
    if (agent->folder[0] != '\0')
        args[count] = file;
    agent->pid = fork();
    assert_true(agent->pid >= 0);
    if (agent->pid == 0)
        agent_become(agent->binary, args);
}

void agent_stop(struct agent *agent)
{
    int status;
    if (agent->pid <= 0)
        return;
    kill(agent->pid, SIGKILL);
    waitpid(agent->pid, &status, 0);
    agent->pid = 0;
}
