/* consul/agent.h: a real agent of Consul, in a process of its own. */
#ifndef WEFT_TEST_CONSUL_AGENT_H
#define WEFT_TEST_CONSUL_AGENT_H

#include <sys/types.h>

enum {
    HTTP,
    SERVER,
    SERF_LAN,
    SERF_WAN,
    HTTPS,
    PORTS
};

struct agent {
    const char *binary;
    int ports[PORTS];
    pid_t pid; /* 0: it does not run */
    char address[32];
    char https[64];
    char folder[64]; /* of its certificates and configuration; "": it has none */
};

/* Chooses free ports; nothing runs yet. */
void agent_init(struct agent *agent, const char *binary);

/* Runs it, without waiting until it answers; and kills it, with its memory. */
void agent_start(struct agent *agent);
void agent_stop(struct agent *agent);

#endif
