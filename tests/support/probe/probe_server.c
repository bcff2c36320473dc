/* probe-server: serves probe.proto by Weft on gRPC core, until SIGTERM.
 *
 *     probe-server --listen HOST:PORT [--certificate FILE --key FILE [--client-roots FILE]] [--workers N]
 *     [--max-connections N] [--max-streams N] [--keepalive-ms N]
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "probe.weft.h"

#define STOP_GRACE_MS 5000

typedef struct probe_options {
    const char *listen;
    weft_tls_options tls; /* with a certificate: TLS; with roots: clients must show one, and EchoInline tells its id */
    weft_server_options server;
} probe_options;

/* The guard has bounded the depth. */
static uint32_t count_nodes(const Probe__Node *node)
{
    if (node == NULL)
        return 0;
    uint32_t count = 1;
    for (size_t i = 0; i < node->n_children; i++)
        count += count_nodes(node->children[i]);
    return count;
}

static int echo_metadata(weft_call *call)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < weft_call_metadata_count(call); i++) {
        weft_metadatum pair = weft_call_metadata_at(call, i);
        char *key = weft_arena_svdup(weft_call_arena(call), pair.key);
        if (key == NULL)
            return -ENOMEM;
        if (strncmp(key, "head-", 5) == 0)
            rc = weft_call_add_header(call, key, pair.value);
        else if (strncmp(key, "tail-", 5) == 0)
            rc = weft_call_add_trailer(call, key, pair.value);
    }
    return rc;
}

/* Metadata "compress": the answer is compressed, and a trailer tells whether the request was. */
static int obey_compress(weft_call *call)
{
    if (weft_call_metadata(call, "compress").data == NULL)
        return 0;
    int rc = weft_call_set_compression(call, WEFT_COMPRESSION_GZIP);
    if (rc < 0)
        return rc;
    return weft_call_add_trailer(call, "compressed", weft_sv_from(weft_call_request_compressed(call) ? "1" : "0"));
}

static void take_ms(uint32_t ms)
{
    (void)poll(NULL, 0, (int)ms);
}

/* A failure with details of several types. */
static weft_code fail_richly(weft_call *call, weft_code code, const char *message)
{
    static char reason[] = "PROBED", domain[] = "probe.example.org", key[] = "limit", value[] = "12";
    static char fields[][16] = {"message", "tree.children"}, descriptions[][16] = {"is wrong", "are Grüße"};
    Google__Rpc__ErrorInfo__MetadataEntry entry = GOOGLE__RPC__ERROR_INFO__METADATA_ENTRY__INIT, *entries[] = {&entry};
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    Google__Rpc__BadRequest__FieldViolation violations[2], *list[] = {&violations[0], &violations[1]};
    Google__Rpc__BadRequest bad = GOOGLE__RPC__BAD_REQUEST__INIT;
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;
    entry.key = key;
    entry.value = value;
    info.reason = reason;
    info.domain = domain;
    info.n_metadata = 1;
    info.metadata = entries;
    for (size_t i = 0; i < 2; i++) {
        google__rpc__bad_request__field_violation__init(&violations[i]);
        violations[i].field = fields[i];
        violations[i].description = descriptions[i];
    }
    bad.n_field_violations = 2;
    bad.field_violations = list;
    delay.seconds = 1;
    delay.nanos = 500000000;
    retry.retry_delay = &delay;
    const ProtobufCMessage *const details[] = {&info.base, &bad.base, &retry.base};
    code = weft_fail(call, code, "%s", message);
    for (size_t i = 0; i < sizeof details / sizeof *details; i++)
        if (weft_fail_detail(call, details[i]) < 0)
            return weft_fail(call, WEFT_INTERNAL, "no room for a detail");
    return code;
}

static weft_code echo(weft_call *call, const Probe__EchoRequest *request, Probe__EchoResponse *response, void *self)
{
    (void)self;
    int rc = echo_metadata(call);
    if (rc == 0)
        rc = obey_compress(call);
    if (rc < 0)
        return weft_fail_errno(call, rc);
    int64_t remaining_ns = weft_call_remaining_ns(call);
    response->remaining_ms = remaining_ns == INT64_MAX ? 0 : remaining_ns / 1000000;
    take_ms(request->wait_ms);
    if (request->code != WEFT_OK && weft_sv_is(weft_call_metadata(call, "details"), "1"))
        return fail_richly(call, (weft_code)request->code, request->message);
    if (request->code != WEFT_OK)
        return weft_fail(call, (weft_code)request->code, "%s", request->message);
    response->message = request->message;
    response->nodes = count_nodes(request->tree);
    if (request->payload_bytes > 0) {
        response->payload.len = request->payload_bytes;
        response->payload.data = weft_arena_alloc(weft_call_arena(call), response->payload.len);
        if (response->payload.data == NULL)
            return weft_fail_errno(call, -ENOMEM);
        for (size_t i = 0; i < response->payload.len; i++)
            response->payload.data[i] = (uint8_t)i;
    }
    return WEFT_OK;
}

/* The same, and tells who calls in a header. */
static weft_code echo_inline(weft_call *call, const Probe__EchoRequest *request, Probe__EchoResponse *response,
                             void *self)
{
    weft_identity peer = WEFT_IDENTITY_INIT;
    if (weft_call_peer_identity(call, &peer) == 0) {
        const char *id = peer.spiffe_id != NULL ? peer.spiffe_id : peer.subject;
        int rc = weft_call_add_header(call, "x-peer", weft_sv_from(id));
        if (rc < 0)
            return weft_fail_errno(call, rc);
    }
    return echo(call, request, response, self);
}

static const probe_Probe_ops probe_ops = {.Echo = echo, .EchoInline = echo_inline};

static int parse_options(probe_options *options, int argc, char **argv)
{
    *options = (probe_options){.server = WEFT_SERVER_OPTIONS_INIT, .tls = WEFT_TLS_OPTIONS_INIT};
    const struct {
        const char *name;
        int64_t *value;
    } numbers[] = {
        {"--workers", &options->server.workers},
        {"--max-connections", &options->server.max_connections},
        {"--max-streams", &options->server.max_streams},
        {"--max-queued-calls", &options->server.max_queued_calls},
        {"--max-concurrent-calls", &options->server.max_concurrent_calls},
        {"--keepalive-ms", &options->server.keepalive_ms},
        {"--keepalive-timeout-ms", &options->server.keepalive_timeout_ms},
    };
    for (int i = 1; i + 1 < argc; i += 2) {
        int64_t *value = NULL;
        for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++)
            if (strcmp(argv[i], numbers[n].name) == 0)
                value = numbers[n].value;
        if (value != NULL)
            *value = strtoll(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--listen") == 0)
            options->listen = argv[i + 1];
        else if (strcmp(argv[i], "--certificate") == 0)
            options->tls.certificate_file = argv[i + 1];
        else if (strcmp(argv[i], "--key") == 0)
            options->tls.key_file = argv[i + 1];
        else if (strcmp(argv[i], "--client-roots") == 0)
            options->tls.roots_file = argv[i + 1];
        else
            return -EINVAL;
    }
    if (options->tls.roots_file != NULL)
        options->tls.client_certificates = WEFT_CLIENT_CERTIFICATES_REQUIRE;
    return options->listen == NULL || argc % 2 == 0 ? -EINVAL : 0;
}

static int listen_on(weft_server *server, weft_engine *engine, const probe_options *options)
{
    char why[256];
    weft_tls *tls = NULL;
    if (options->tls.certificate_file == NULL)
        return weft_server_listen(server, options->listen);
    int rc = weft_tls_new(&tls, engine, &options->tls, why, sizeof why);
    if (rc < 0)
        fprintf(stderr, "probe-server: %s\n", why);
    else
        rc = weft_server_listen_tls(server, options->listen, tls);
    weft_tls_free(tls);
    return rc;
}

static int start(weft_server *server, weft_engine *engine, const probe_options *options)
{
    const weft_method_options methods[] = {
        {.struct_size = sizeof methods[0], .method = "EchoInline", .run_inline = true},
    };
    weft_service_options service = WEFT_SERVICE_OPTIONS_INIT;
    service.methods = methods;
    service.method_count = sizeof methods / sizeof *methods;
    int rc = probe_Probe_register(server, &probe_ops, NULL, &service);
    if (rc == 0)
        rc = listen_on(server, engine, options);
    return rc == 0 ? weft_server_start(server) : rc;
}

int main(int argc, char **argv)
{
    probe_options options;
    if (parse_options(&options, argc, argv) < 0) {
        fprintf(stderr, "usage: probe-server --listen HOST:PORT [--workers N] …\n");
        return 2;
    }
    sigset_t stop_signals;
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGTERM);
    sigaddset(&stop_signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stop_signals, NULL);

    weft_log *log = NULL;
    weft_engine *engine = NULL;
    weft_server *server = NULL;
    weft_health *health = NULL;
    int rc = weft_log_new(&log, NULL);
    if (rc == 0) {
        weft_core_engine_options engine_options = WEFT_CORE_ENGINE_OPTIONS_INIT;
        engine_options.log = log;
        rc = weft_core_engine_new(&engine, &engine_options);
    }
    if (rc == 0) {
        options.server.log = log;
        rc = weft_server_new(&server, engine, &options.server);
    }
    if (rc == 0)
        rc = weft_health_new(&health, NULL);
    if (rc == 0)
        rc = weft_health_register(server, health);
    if (rc == 0)
        rc = weft_health_set(health, "down", WEFT_NOT_SERVING);
    if (rc == 0)
        rc = start(server, engine, &options);
    if (rc == 0) {
        int signal_number;
        sigwait(&stop_signals, &signal_number);
        rc = weft_server_stop(server, STOP_GRACE_MS);
    }
    if (rc < 0)
        fprintf(stderr, "probe-server: %s: %s\n", options.listen, strerror(-rc));
    weft_server_free(server);
    weft_health_free(health);
    weft_engine_free(engine);
    weft_log_free(log);
    return rc == 0 ? 0 : 1;
}
