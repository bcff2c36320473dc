/* service.h: what every service program does the same: command line, configuration, log, server, signals.
 *
 *     int main(int argc, char **argv)
 *     {
 *         return service_main(&user_service, argc, argv);
 *     }
 */
#ifndef SERVICES_COMMON_SERVICE_H
#define SERVICES_COMMON_SERVICE_H

#include <stddef.h>

#include <weft/config.h>
#include <weft/log.h>
#include <weft/server.h>

struct service {
    const char *name;            /* of the program */
    const char *env_prefix;      /* of its environment variables */
    const weft_config_key *keys; /* key_count of them, SERVICE_KEYS included */
    size_t key_count;

    /* Makes what the handlers need and registers them. What goes wrong is logged here.
       @return 0 or -errno, with nothing left behind. */
    int (*start)(const weft_config *config, weft_log *log, weft_server *server, void **state);

    /* Frees it, once the server has stopped. */
    void (*stop)(void *state);
};

/* The keys that every service has. */
#define SERVICE_KEYS                                                                                                   \
    {.name = "listen",                                                                                                 \
     .type = WEFT_CONFIG_LIST,                                                                                         \
     .fallback = "127.0.0.1:50051",                                                                                    \
     .doc = "Where to serve: host:port, [::1]:port, :port (everywhere), unix:/path, fd:N"},                            \
        {.name = "server.workers",                                                                                     \
         .type = WEFT_CONFIG_INT,                                                                                      \
         .fallback = "0",                                                                                              \
         .max = 4096,                                                                                                  \
         .unit = "threads",                                                                                            \
         .doc = "What runs the handlers; 0: four a CPU, eight at least"},                                              \
        {.name = "server.max_connections",                                                                             \
         .type = WEFT_CONFIG_INT,                                                                                      \
         .fallback = "10000",                                                                                          \
         .min = 1,                                                                                                     \
         .max = 1000000,                                                                                               \
         .unit = "connections",                                                                                        \
         .doc = "Further ones are closed at once"},                                                                    \
        {.name = "server.max_concurrent_calls",                                                                        \
         .type = WEFT_CONFIG_INT,                                                                                      \
         .fallback = "10000",                                                                                          \
         .min = 1,                                                                                                     \
         .max = 1000000,                                                                                               \
         .unit = "calls",                                                                                              \
         .doc = "Further ones are refused with RESOURCE_EXHAUSTED"},                                                   \
        {.name = "server.max_queued_calls",                                                                            \
         .type = WEFT_CONFIG_INT,                                                                                      \
         .fallback = "1024",                                                                                           \
         .min = 1,                                                                                                     \
         .max = 1000000,                                                                                               \
         .unit = "calls",                                                                                              \
         .doc = "What may wait for a worker; further ones are refused with RESOURCE_EXHAUSTED"},                       \
        {.name = "server.max_message",                                                                                 \
         .type = WEFT_CONFIG_SIZE,                                                                                     \
         .fallback = "4MiB",                                                                                           \
         .min = 1,                                                                                                     \
         .max = INT32_MAX,                                                                                             \
         .doc = "The largest request"},                                                                                \
        {.name = "server.keepalive",                                                                                   \
         .type = WEFT_CONFIG_DURATION,                                                                                 \
         .fallback = "1m",                                                                                             \
         .min = 1000,                                                                                                  \
         .max = 86400000,                                                                                              \
         .doc = "How long a connection may be silent before it is pinged"},                                            \
        {.name = "server.lame_duck",                                                                                   \
         .type = WEFT_CONFIG_DURATION,                                                                                 \
         .fallback = "3s",                                                                                             \
         .min = 0,                                                                                                     \
         .max = 3600000,                                                                                               \
         .doc = "How long it serves on after it has left the directory, before it drains; without one only if set"},   \
        {.name = "server.drain",                                                                                       \
         .type = WEFT_CONFIG_DURATION,                                                                                 \
         .fallback = "10s",                                                                                            \
         .doc = "How long running calls may take to end after SIGTERM"},                                               \
        {.name = "server.reflection",                                                                                  \
         .type = WEFT_CONFIG_BOOL,                                                                                     \
         .fallback = "true",                                                                                           \
         .doc = "Whether tools like grpcurl may ask for services and contracts"},                                      \
        {.name = "registry.consul",                                                                                    \
         .type = WEFT_CONFIG_STRING,                                                                                   \
         .fallback = "",                                                                                               \
         .doc = "The agent of Consul to register at: host:port, https://host:port or unix:///path; empty: none"},      \
        {.name = "registry.service",                                                                                   \
         .type = WEFT_CONFIG_STRING,                                                                                   \
         .fallback = "",                                                                                               \
         .doc = "The name to be found by; empty: the name of the program"},                                            \
        {.name = "registry.address",                                                                                   \
         .type = WEFT_CONFIG_STRING,                                                                                   \
         .fallback = "",                                                                                               \
         .doc = "The IP address to be reached at; empty: that of the agent"},                                          \
        {.name = "registry.tags", .type = WEFT_CONFIG_LIST, .fallback = "", .doc = "What Consul knows it by besides"}, \
        {.name = "registry.weight",                                                                                    \
         .type = WEFT_CONFIG_INT,                                                                                      \
         .fallback = "1",                                                                                              \
         .min = 1,                                                                                                     \
         .max = 65535,                                                                                                 \
         .doc = "How many calls it gets beside others"},                                                               \
        {.name = "registry.check_interval",                                                                            \
         .type = WEFT_CONFIG_DURATION,                                                                                 \
         .fallback = "10s",                                                                                            \
         .min = 1000,                                                                                                  \
         .max = 3600000,                                                                                               \
         .doc = "How often the agent asks whether it is well"},                                                        \
        {.name = "log.level",                                                                                          \
         .type = WEFT_CONFIG_STRING,                                                                                   \
         .fallback = "info",                                                                                           \
         .choices = "debug|info|warn|error|off",                                                                       \
         .doc = "The least severe lines that are logged"},                                                             \
    {                                                                                                                  \
        .name = "log.format", .type = WEFT_CONFIG_STRING, .fallback = "json", .choices = "json|text",                  \
        .doc = "How lines are written"                                                                                 \
    }

/**
 * The life of a service program, up to its exit code: 0 after SIGTERM or SIGINT, also for --help and the like; 1 when
 * it cannot run; 2 for mistakes in the command line or the configuration. weft/app.h has what it does after a signal,
 * and after another one.
 */
int service_main(const struct service *service, int argc, char **argv);

#endif
