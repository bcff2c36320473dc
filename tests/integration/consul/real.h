/* consul/real.h: an agent of the real Consul, in a process of its own that never outlives the test. */
#ifndef WEFT_TEST_CONSUL_REAL_H
#define WEFT_TEST_CONSUL_REAL_H

#include <sys/types.h>

enum {
    REAL_HTTP,
    REAL_SERVER,
    REAL_SERF_LAN,
    REAL_SERF_WAN,
    REAL_HTTPS,
    REAL_PORTS
};

struct real_consul {
    const char *binary;
    int ports[REAL_PORTS];
    char address[32]; /* of HTTP: "127.0.0.1:port" */
    pid_t pid;        /* 0: it does not run */
};

/* Free ports of 127.0.0.1, `count` different ones. */
void real_choose_ports(int *ports, int count);

/* Chooses an agent's ports; it is not started. `binary` stays the caller's. */
void real_init(struct real_consul *consul, const char *binary);

/* Starts it, again with an empty memory. @param config_file NULL: none. */
void real_start(struct real_consul *consul, const char *config_file);

/* Kills it, if it runs. */
void real_stop(struct real_consul *consul);

/* In a child: becomes the program with its output nowhere. Calls only what may be called after fork in a threaded
 * process. */
void real_become(const char *binary, const char *const *args);

#endif
