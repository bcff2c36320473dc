/* A table with a key of every type, for the tests of this folder. */
#ifndef WEFT_TESTS_CONFIG_TABLE_H
#define WEFT_TESTS_CONFIG_TABLE_H

#include <weft/config.h>

static const weft_config_key table[] = {
    {.name = "listen", .type = WEFT_CONFIG_LIST, .fallback = "127.0.0.1:50051", .doc = "Where to serve"},
    {.name = "database.path", .type = WEFT_CONFIG_STRING, .fallback = "user.db", .doc = "Where the users are kept"},
    {.name = "database.readers", .type = WEFT_CONFIG_INT, .fallback = "4", .unit = "connections", .min = 1, .max = 64},
    {.name = "database.busy_timeout", .type = WEFT_CONFIG_DURATION, .fallback = "5s"},
    {.name = "server.max_message", .type = WEFT_CONFIG_SIZE, .fallback = "4MiB"},
    {.name = "server.reflection", .type = WEFT_CONFIG_BOOL, .fallback = "false"},
    {.name = "log.level", .type = WEFT_CONFIG_STRING, .fallback = "info", .choices = "debug|info|warn|error|off"},
    {.name = "token", .type = WEFT_CONFIG_STRING, .fallback = "", .secret = true},
};

static char errors[4096];

static inline weft_config_options table_options(void)
{
    weft_config_options options = WEFT_CONFIG_OPTIONS_INIT;
    options.keys = table;
    options.key_count = sizeof table / sizeof table[0];
    options.env_prefix = "USER";
    options.errors = errors;
    options.errors_size = sizeof errors;
    return options;
}

#endif
