#include "integration/consul/agent.h"

#include <signal.h>
#include <stdio.h>

#include "support/process.h"

void agent_init(struct agent *agent, const char *binary)
{
    *agent = (struct agent){.binary = binary};
    process_choose_ports(agent->ports, PORTS);
    snprintf(agent->address, sizeof agent->address, "127.0.0.1:%d", agent->ports[HTTP]);
    snprintf(agent->https, sizeof agent->https, "https://127.0.0.1:%d", agent->ports[HTTPS]);
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
    agent->pid = process_start(agent->binary, "/dev/null", args);
}

void agent_stop(struct agent *agent)
{
    if (agent->pid <= 0)
        return;
    kill(agent->pid, SIGKILL);
    (void)process_wait(agent->pid);
    agent->pid = 0;
}
