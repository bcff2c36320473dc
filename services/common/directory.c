#include "directory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool is_wanted(const weft_config *config)
{
    return *weft_config_string(config, "registry.consul") != '\0';
}

static int make_consul(weft_consul **out, const weft_config *config, weft_log *log, char *reason, size_t reason_size)
{
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    options.log = log;
    options.address = weft_config_string(config, "registry.consul");
    return weft_consul_new(out, &options, reason, reason_size);
}

static bool is_ip_address(const char *text)
{
    struct in6_addr binary;
    return inet_pton(AF_INET, text, &binary) == 1 || inet_pton(AF_INET6, text, &binary) == 1;
}

int directory_check(const weft_config *config)
{
    char reason[256] = "";
    weft_consul *consul;
    const char *address = weft_config_string(config, "registry.address");
    int rc = 0;
    if (*address != '\0' && !is_ip_address(address)) {
        fprintf(stderr, "%s: registry.address: expected an IP address, found \"%s\"\n",
                weft_config_source(config, "registry.address"), address);
        rc = -EINVAL;
    }
    if (!is_wanted(config))
        return rc;
    int made = make_consul(&consul, config, NULL, reason, sizeof reason);
    if (made == 0)
        (void)weft_consul_free(consul);
    else
        fprintf(stderr, "%s: registry.consul: %s\n", weft_config_source(config, "registry.consul"),
                made == -EINVAL ? reason : strerror(-made));
    return made < 0 ? made : rc;
}

int directory_open(struct directory *out, const weft_config *config, const char *name, weft_log *log)
{
    char reason[256] = "";
    const char *service = weft_config_string(config, "registry.service");
    const char *address = weft_config_string(config, "registry.address");
    *out = (struct directory){.instance = WEFT_INSTANCE_INIT};
    if (!is_wanted(config))
        return 0;
    int rc = make_consul(&out->consul, config, log, reason, sizeof reason);
    if (rc < 0) {
        weft_log_error(log, "cannot use Consul",
                       WEFT_FIELDS(WEFT_STR("error", strerror(-rc)), WEFT_STR("reason", reason)));
        return rc;
    }
    out->check.kind = WEFT_CHECK_GRPC;
    out->check.interval_ms = weft_config_duration_ms(config, "registry.check_interval");
    out->instance.service = *service != '\0' ? service : name;
    out->instance.address = *address != '\0' ? address : NULL;
    out->instance.tags = weft_config_list(config, "registry.tags", &out->instance.tag_count);
    out->instance.weight = (uint32_t)weft_config_int(config, "registry.weight");
    out->instance.checks = &out->check;
    out->instance.check_count = 1;
    return 0;
}

void directory_close(struct directory *directory)
{
    (void)weft_consul_free(directory->consul);
}
