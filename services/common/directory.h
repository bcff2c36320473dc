/* directory.h: where a service is found: in Consul, if the keys registry.* name an agent. */
#ifndef SERVICES_COMMON_DIRECTORY_H
#define SERVICES_COMMON_DIRECTORY_H

#include <weft/config.h>
#include <weft/consul.h>
#include <weft/log.h>
#include <weft/registry.h>

struct directory {
    weft_consul *consul; /* NULL: the service is registered nowhere */
    weft_check check;
    weft_instance instance; /* port 0: the server's first */
};

/* Prints the mistakes that the configuration's table cannot see, each with its place. 0; -EINVAL; or another -errno. */
int directory_check(const weft_config *config);

/**
 * Makes the client of Consul and the instance of a service. Consul itself may be down.
 *
 * @param name what the service is called where registry.service does not say; outlives the directory, as `config` does.
 * @return 0; -errno, which is logged.
 */
int directory_open(struct directory *out, const weft_config *config, const char *name, weft_log *log);

/* Nothing is registered any more. */
void directory_close(struct directory *directory);

#endif
