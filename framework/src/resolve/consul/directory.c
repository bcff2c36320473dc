/* directory.c: Consul as the directory of a program. */
#include <weft/consul.h>

static int open_consul(weft_directory **out, const weft_config *config, weft_log *log, char *reason, size_t reason_size)
{
    weft_consul *consul;
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    const char *address = weft_config_string(config, "registry.consul");
    options.log = log;
    options.address = *address != '\0' ? address : NULL;
    int rc = weft_consul_new(&consul, &options, reason, reason_size);
    if (rc == 0)
        *out = (weft_directory *)consul;
    return rc;
}

static weft_resolver *resolver(weft_directory *self)
{
    return weft_consul_resolver((weft_consul *)self);
}

static weft_registry *registry(weft_directory *self)
{
    return weft_consul_registry((weft_consul *)self);
}

static void close_consul(weft_directory *self)
{
    (void)weft_consul_free((weft_consul *)self);
}

static const weft_config_key keys[] = {
    {.name = "registry.consul",
     .type = WEFT_CONFIG_STRING,
     .fallback = "",
     .doc = "The agent of Consul to register at: host:port, https://host:port or unix:///path; empty: none"},
};

const weft_directory_type weft_consul_directory = {
    .struct_size = sizeof weft_consul_directory,
    .name = "Consul",
    .scheme = "consul",
    .keys = keys,
    .key_count = sizeof keys / sizeof keys[0],
    .address_key = "registry.consul",
    .open = open_consul,
    .resolver = resolver,
    .registry = registry,
    .close = close_consul,
};
