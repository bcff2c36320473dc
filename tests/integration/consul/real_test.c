/* Resolver and registry against a real agent: test_consul_real CONSUL. real.sh fetches one. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft/consul.h>
#include <weft/core.h>
#include <weft/health.h>
#include <weft/server.h>

#include "integration/consul/agent.h"
#include "integration/consul/sink.h"
#include "support/process.h"

static const char *binary;

struct rig {
    struct agent agent;
    weft_consul *consul;
    weft_resolver *resolver;
    weft_registry *registry;
    weft_sink *sink;
    weft_watch *watch;
    weft_registration *registration;
};

static void watch(struct rig *rig, const char *target)
{
    char reason[256];
    int rc = sink_watch(rig->resolver, target, rig->sink, &rig->watch, reason);
    if (rc != 0)
        fail_msg("watch: %d %s", rc, reason);
}

static void make_client(struct rig *rig, const weft_consul_options *given)
{
    char reason[256] = "";
    weft_consul_options options = *given;
    options.no_environment = true;
    options.query_interval_ms = 1;
    options.backoff_ms = 50;
    options.max_backoff_ms = 200;
    options.empty_grace_ms = 500;
    if (weft_consul_new(&rig->consul, &options, reason, sizeof reason) != 0)
        fail_msg("%s", reason);
    rig->resolver = weft_consul_resolver(rig->consul);
    rig->registry = weft_consul_registry(rig->consul);
}

static struct rig *new_rig(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    agent_init(&rig->agent, binary);
    rig->sink = sink_new();
    *state = rig;
    return rig;
}

static int set_up(void **state)
{
    struct rig *rig = new_rig(state);
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    agent_start(&rig->agent);
    options.address = rig->agent.address;
    make_client(rig, &options);
    return 0;
}

/* Runs "consul tls …", which writes into the folder that it runs in. */
static void make_certificate(const struct rig *rig, const char *const *args)
{
    pid_t pid = process_spawn(binary, rig->agent.folder, STDOUT_FILENO, args);
    assert_int_equal(process_wait(pid), 0);
}

static const char root_token[] = "11111111-2222-3333-4444-555555555555";

/* An agent that wants client certificates over TLS, and tokens; or plain HTTP over a unix socket. The tests
 * make their own clients. */
static int set_up_secured(void **state)
{
    struct rig *rig = new_rig(state);
    char path[96];
    snprintf(rig->agent.folder, sizeof rig->agent.folder, "/tmp/weft-consul.XXXXXX");
    assert_non_null(mkdtemp(rig->agent.folder));
    make_certificate(rig, (const char *[]){"consul", "tls", "ca", "create", NULL});
    make_certificate(rig, (const char *[]){"consul", "tls", "cert", "create", "-server", NULL});
    make_certificate(rig, (const char *[]){"consul", "tls", "cert", "create", "-client", NULL});
    snprintf(path, sizeof path, "%s/agent.json", rig->agent.folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "{\"ports\":{\"https\":%d},\"addresses\":{\"http\":\"unix://%s/"
            "http.sock\"},\"verify_incoming_https\":true,\"ca_file\":\"%s/consul-agent-ca.pem\","
            "\"cert_file\":\"%s/dc1-server-consul-0.pem\",\"key_file\":\"%s/dc1-server-consul-0-key.pem\","
            "\"acl\":{\"enabled\":true,\"default_policy\":\"deny\",\"tokens\":{\"master\":\"%s\"}}}",
            rig->agent.ports[HTTPS], rig->agent.folder, rig->agent.folder, rig->agent.folder, rig->agent.folder,
            root_token);
    fclose(file);
    agent_start(&rig->agent);
    return 0;
}

static void remove_folder(const char *path)
{
    char file[512];
    const struct dirent *entry;
    DIR *folder = opendir(path);
    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        snprintf(file, sizeof file, "%s/%.255s", path, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(file);
    }
    closedir(folder);
    rmdir(path);
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    if (rig->watch != NULL)
        rig->resolver->vtable->unwatch(rig->resolver, rig->watch);
    assert_int_equal(weft_registry_deregister(rig->registry, rig->registration, 0), 0);
    assert_int_equal(weft_consul_free(rig->consul), 0);
    sink_free(rig->sink);
    agent_stop(&rig->agent);
    if (rig->agent.folder[0] != '\0')
        remove_folder(rig->agent.folder);
    free(rig);
    return 0;
}

/* Lists that come before it are on the way to it: empty ones, and instances whose checks have not been looked at. */
static void wait_for(struct rig *rig, const char *list)
{
    const char *got;
    do
        got = sink_next(rig->sink);
    while (strcmp(got, list) != 0);
}

static weft_registration *add(weft_registry *registry, const weft_check *check, int port)
{
    static const char *const tags[] = {"v2", "eu"};
    static const weft_metadatum metadata[] = {{{"version", 7}, {"2.1", 3}}};
    char reason[256] = "";
    weft_registration *registration = NULL;
    weft_instance instance = WEFT_INSTANCE_INIT;
    instance.service = "users";
    instance.address = "127.0.0.1";
    instance.port = port;
    instance.tags = tags;
    instance.tag_count = 2;
    instance.metadata.items = metadata;
    instance.metadata.count = 1;
    instance.weight = 7;
    instance.warning_weight = 3;
    instance.checks = check;
    instance.check_count = check != NULL;
    int rc = weft_registry_register(registry, &instance, &registration, reason, sizeof reason);
    if (rc != 0)
        fail_msg("register: %d %s", rc, reason);
    return registration;
}

static void what_is_registered_is_found_and_drains_and_goes(void **state)
{
    struct rig *rig = *state;
    const weft_check ttl = {.kind = WEFT_CHECK_TTL, .interval_ms = 3000};
    watch(rig, "consul:///users");
    rig->registration = add(rig->registry, &ttl, 50051);
    wait_for(rig, "ipv4:127.0.0.1:50051/1*7");
    assert_string_equal(sink_first_metadatum(rig->sink, "consul.id"), "consul.id=users-127.0.0.1-50051");
    assert_string_equal(sink_first_metadatum(rig->sink, "version"), "version=2.1");
    weft_registration_set_health(rig->registry, rig->registration, WEFT_INSTANCE_UNKNOWN, "warm-up");
    wait_for(rig, "ipv4:127.0.0.1:50051/1*3");
    weft_registration_set_health(rig->registry, rig->registration, WEFT_INSTANCE_UNHEALTHY, "disk full");
    wait_for(rig, "ipv4:127.0.0.1:50051/2*7");
    weft_registration_set_health(rig->registry, rig->registration, WEFT_INSTANCE_HEALTHY, NULL);
    wait_for(rig, "ipv4:127.0.0.1:50051/1*7");
    weft_registration_drain(rig->registry, rig->registration, true, "stopping");
    wait_for(rig, "ipv4:127.0.0.1:50051/3*7");
    assert_int_equal(weft_registry_deregister(rig->registry, rig->registration, 0), 0);
    rig->registration = NULL;
    wait_for(rig, "");
}

static void several_instances_are_chosen_by_tag_and_limit(void **state)
{
    struct rig *rig = *state;
    weft_registration *second = add(rig->registry, NULL, 50052);
    rig->registration = add(rig->registry, NULL, 50051);
    watch(rig, "consul:///users?tag=V2&tag=eu&near=_agent&healthy=true&allow-stale=true");
    wait_for(rig, "ipv4:127.0.0.1:50051/1*7 ipv4:127.0.0.1:50052/1*7");
    rig->resolver->vtable->unwatch(rig->resolver, rig->watch);
    watch(rig, "consul:///users?limit=1&dc=dc1&wait=2s");
    const char *list = sink_next(rig->sink);
    assert_true(strcmp(list, "ipv4:127.0.0.1:50051/1*7") == 0 || strcmp(list, "ipv4:127.0.0.1:50052/1*7") == 0);
    assert_int_equal(weft_registry_deregister(rig->registry, second, 0), 0);
}

static void an_agent_that_restarts_without_its_memory_is_told_again(void **state)
{
    struct rig *rig = *state;
    const weft_check ttl = {.kind = WEFT_CHECK_TTL, .interval_ms = 3000};
    watch(rig, "consul:///users");
    rig->registration = add(rig->registry, &ttl, 50051);
    wait_for(rig, "ipv4:127.0.0.1:50051/1*7");
    agent_stop(&rig->agent);
    sink_next_failure(rig->sink);
    agent_start(&rig->agent);
    weft_registration_set_health(rig->registry, rig->registration, WEFT_INSTANCE_UNKNOWN, "back");
    wait_for(rig, "ipv4:127.0.0.1:50051/1*3");
}

/* By another client that registers the same instance and takes it out. */
static void an_instance_that_somebody_else_takes_out_is_put_back(void **state)
{
    struct rig *rig = *state;
    const weft_check ttl = {.kind = WEFT_CHECK_TTL, .interval_ms = 3000};
    weft_registration_counters counters = WEFT_REGISTRATION_COUNTERS_INIT;
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    weft_consul *other;
    watch(rig, "consul:///users");
    rig->registration = add(rig->registry, &ttl, 50051);
    wait_for(rig, "ipv4:127.0.0.1:50051/1*7");
    options.no_environment = true;
    options.address = rig->agent.address;
    assert_int_equal(weft_consul_new(&other, &options, NULL, 0), 0);
    weft_registration *twin;
    weft_instance instance = WEFT_INSTANCE_INIT;
    instance.service = "users";
    instance.address = "127.0.0.1";
    instance.port = 50051;
    instance.weight = 9;
    assert_int_equal(weft_registry_register(weft_consul_registry(other), &instance, &twin, NULL, 0), 0);
    wait_for(rig, "ipv4:127.0.0.1:50051/1*9");
    assert_int_equal(weft_registry_deregister(weft_consul_registry(other), twin, 0), 0);
    assert_int_equal(weft_consul_free(other), 0);
    weft_registration_set_health(rig->registry, rig->registration, WEFT_INSTANCE_UNKNOWN, "again");
    wait_for(rig, "ipv4:127.0.0.1:50051/1*3");
    assert_int_equal(weft_registration_count(rig->registry, rig->registration, &counters), 0);
    assert_true(counters.registrations > 1);
}

/* The agent compresses it, and the limit is on what comes out. */
static void a_large_answer_is_compressed_and_bounded_all_the_same(void **state)
{
    struct rig *rig = *state;
    static const char *const keys[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    char value[500];
    char reason[256];
    weft_metadatum metadata[8];
    weft_sink *other_sink = sink_new();
    weft_watch *other_watch;
    weft_consul *other;
    weft_instance instance = WEFT_INSTANCE_INIT;
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    memset(value, 'x', sizeof value);
    for (size_t i = 0; i < 8; i++)
        metadata[i] = (weft_metadatum){weft_sv_from(keys[i]), weft_sv_of(value, sizeof value)};
    instance.service = "users";
    instance.address = "127.0.0.1";
    instance.port = 50051;
    instance.metadata.items = metadata;
    instance.metadata.count = 8;
    assert_int_equal(weft_registry_register(rig->registry, &instance, &rig->registration, NULL, 0), 0);
    watch(rig, "consul:///users");
    wait_for(rig, "ipv4:127.0.0.1:50051/1*1");
    options.no_environment = true;
    options.address = rig->agent.address;
    options.max_answer_bytes = 3000;
    assert_int_equal(weft_consul_new(&other, &options, NULL, 0), 0);
    weft_resolver *resolver = weft_consul_resolver(other);
    assert_int_equal(sink_watch(resolver, "consul:///users", other_sink, &other_watch, reason), 0);
    assert_non_null(strstr(sink_next_failure(other_sink), "larger than max_answer_bytes"));
    resolver->vtable->unwatch(resolver, other_watch);
    assert_int_equal(weft_consul_free(other), 0);
    sink_free(other_sink);
}

static void a_wrong_datacenter_is_a_failure(void **state)
{
    struct rig *rig = *state;
    watch(rig, "consul:///users?dc=nowhere");
    while (strstr(sink_next_failure(rig->sink), "No path to datacenter") == NULL)
        ; /* at first the agent itself is not there yet */
}

static void the_agent_looks_by_http(void **state)
{
    struct rig *rig = *state;
    char url[64];
    weft_check check = {.kind = WEFT_CHECK_HTTP, .target = url, .interval_ms = 1000};
    snprintf(url, sizeof url, "http://%s/v1/status/leader", rig->agent.address);
    watch(rig, "consul:///users?healthy=true");
    rig->registration = add(rig->registry, &check, 50051);
    wait_for(rig, "ipv4:127.0.0.1:50051/1*7");
}

static void the_agent_looks_by_grpc(void **state)
{
#if defined(__SANITIZE_THREAD__)
    (void)state; /* gRPC core is not built for it */
    skip();
#else
    struct rig *rig = *state;
    weft_check check = {.kind = WEFT_CHECK_GRPC, .interval_ms = 1000};
    char list[64];
    weft_engine *engine;
    weft_server *server;
    weft_health *health;
    assert_int_equal(weft_core_engine_new(&engine, NULL), 0);
    assert_int_equal(weft_server_new(&server, engine, NULL), 0);
    assert_int_equal(weft_health_new(&health, NULL), 0);
    assert_int_equal(weft_health_register(server, health), 0);
    assert_int_equal(weft_server_listen(server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(server), 0);
    int port = weft_server_port(server, 0);
    watch(rig, "consul:///users");
    rig->registration = add(rig->registry, &check, port);
    snprintf(list, sizeof list, "ipv4:127.0.0.1:%d/1*7", port);
    wait_for(rig, list);
    weft_health_set(health, "", WEFT_NOT_SERVING);
    snprintf(list, sizeof list, "ipv4:127.0.0.1:%d/2*7", port);
    wait_for(rig, list);
    assert_int_equal(weft_server_stop(server, 1000), 0);
    weft_server_free(server);
    weft_health_free(health);
    assert_int_equal(weft_engine_free(engine), 0);
#endif
}

/* What a client of the secured agent needs; the texts are the rig's. */
struct credentials {
    char ca[128];
    char cert[128];
    char key[128];
};

static weft_consul_options secured(const struct rig *rig, struct credentials *files)
{
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    snprintf(files->ca, sizeof files->ca, "%s/consul-agent-ca.pem", rig->agent.folder);
    snprintf(files->cert, sizeof files->cert, "%s/dc1-client-consul-0.pem", rig->agent.folder);
    snprintf(files->key, sizeof files->key, "%s/dc1-client-consul-0-key.pem", rig->agent.folder);
    options.address = rig->agent.https;
    options.ca_file = files->ca;
    options.cert_file = files->cert;
    options.key_file = files->key;
    options.server_name = "server.dc1.consul";
    options.token = root_token;
    return options;
}

static void over_tls_with_a_token_all_goes_as_without(void **state)
{
    struct rig *rig = *state;
    struct credentials files;
    const weft_check ttl = {.kind = WEFT_CHECK_TTL, .interval_ms = 3000};
    weft_consul_options options = secured(rig, &files);
    weft_sink *other = sink_new();
    weft_watch *other_watch;
    char reason[256];
    make_client(rig, &options);
    watch(rig, "consul:///users");
    assert_int_equal(sink_watch(rig->resolver, "consul:///orders", other, &other_watch, reason), 0);
    rig->registration = add(rig->registry, &ttl, 50051);
    wait_for(rig, "ipv4:127.0.0.1:50051/1*7");
    assert_string_equal(sink_next(other), "");
    weft_registration_drain(rig->registry, rig->registration, true, NULL);
    wait_for(rig, "ipv4:127.0.0.1:50051/3*7");
    rig->resolver->vtable->unwatch(rig->resolver, other_watch);
    sink_free(other);
}

static void over_a_unix_socket_all_goes_as_over_tcp(void **state)
{
    struct rig *rig = *state;
    char address[128];
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    snprintf(address, sizeof address, "unix://%s/http.sock", rig->agent.folder);
    options.address = address;
    options.token = root_token;
    make_client(rig, &options);
    watch(rig, "consul:///users");
    rig->registration = add(rig->registry, NULL, 50051);
    wait_for(rig, "ipv4:127.0.0.1:50051/1*7");
}

static void an_agent_with_another_name_is_not_trusted(void **state)
{
    struct rig *rig = *state;
    struct credentials files;
    weft_consul_options options = secured(rig, &files);
    options.server_name = "other.dc1.consul";
    make_client(rig, &options);
    watch(rig, "consul:///users?max-backoff=20ms");
    while (strstr(sink_next_failure(rig->sink), "SSL peer certificate") == NULL)
        ; /* at first the agent is not there yet */
    assert_int_equal(sink_lists(rig->sink), 0);
}

static void a_token_that_is_none_is_told(void **state)
{
    struct rig *rig = *state;
    struct credentials files;
    weft_consul_options options = secured(rig, &files);
    options.token = "99999999-2222-3333-4444-555555555555";
    make_client(rig, &options);
    watch(rig, "consul:///users");
    while (strstr(sink_next_failure(rig->sink), "HTTP 403") == NULL)
        ;
}

#define CASE(test)    cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define SECURED(test) cmocka_unit_test_setup_teardown(test, set_up_secured, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(what_is_registered_is_found_and_drains_and_goes),
        CASE(several_instances_are_chosen_by_tag_and_limit),
        CASE(an_agent_that_restarts_without_its_memory_is_told_again),
        CASE(an_instance_that_somebody_else_takes_out_is_put_back),
        CASE(a_large_answer_is_compressed_and_bounded_all_the_same),
        CASE(a_wrong_datacenter_is_a_failure),
        CASE(the_agent_looks_by_http),
        CASE(the_agent_looks_by_grpc),
        SECURED(over_tls_with_a_token_all_goes_as_without),
        SECURED(over_a_unix_socket_all_goes_as_over_tcp),
        SECURED(an_agent_with_another_name_is_not_trusted),
        SECURED(a_token_that_is_none_is_told),
    };
    if (argc != 2) {
        fprintf(stderr, "usage: %s CONSUL\n", argv[0]);
        return 2;
    }
    binary = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
