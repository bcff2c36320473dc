/* probe-client: calls probe.Probe/Echo by Weft on gRPC core and prints all that came back, one fact a line, texts
 * and values of metadata in hexadecimal. Several --call words make calls one after the other on one channel.
 *
 *     probe-client TARGET [OPTION VALUE]… --call TIMES
 *
 * Details of a failure come once more as what they say: error_info, violation_N, retry_ms.
 *
 * Options count for the calls named after them: --timeout-ms N, --metadata KEY=VALUE, --message TEXT, --code N,
 * --payload-bytes N, --wait-ms N, --wait-for-ready 0|1, --gzip 0|1.
 *
 * For the channel: --service-config JSON; TLS: --tls-roots FILE, --tls-name NAME, --tls-certificate FILE,
 * --tls-key FILE.
 *
 * --until-ok MS makes calls until one ends with OK, or the time is over, and prints the last one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "probe.weft.h"

#define MAX_METADATA 16

typedef struct probe_state {
    weft_engine *engine;
    weft_channel *channel;
    weft_tls *tls;
    Probe__EchoRequest request;
    weft_call_options options;
    weft_metadatum metadata[MAX_METADATA];
} probe_state;

static void print_hex(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        printf("%02x", bytes[i]);
    printf("\n");
}

static void print_metadata(const char *title, const weft_metadata *metadata)
{
    for (size_t i = 0; i < metadata->count; i++) {
        weft_metadatum pair = metadata->items[i];
        printf("%s %.*s ", title, (int)pair.key.len, pair.key.data);
        print_hex(pair.value.data, pair.value.len);
    }
}

/* The details that it knows, read typed. */
static void print_details(const weft_status *status, weft_arena *arena)
{
    Google__Rpc__Status *all = NULL;
    ProtobufCMessage *found = NULL;
    int rc = weft_status_details(status, arena, &all);
    printf("details_read %s\n", rc == 0 ? "ok" : strerror(-rc));
    for (size_t i = 0; rc == 0 && i < all->n_details; i++)
        printf("detail_%zu %s\n", i, all->details[i]->type_url);
    if (weft_status_detail(status, &google__rpc__error_info__descriptor, arena, &found) == 0) {
        const Google__Rpc__ErrorInfo *info = (Google__Rpc__ErrorInfo *)found;
        printf("error_info %s %s", info->reason, info->domain);
        for (size_t i = 0; i < info->n_metadata; i++)
            printf(" %s=%s", info->metadata[i]->key, info->metadata[i]->value);
        printf("\n");
    }
    if (weft_status_detail(status, &google__rpc__bad_request__descriptor, arena, &found) == 0) {
        const Google__Rpc__BadRequest *bad = (Google__Rpc__BadRequest *)found;
        for (size_t i = 0; i < bad->n_field_violations; i++)
            printf("violation_%zu %s %s\n", i, bad->field_violations[i]->field, bad->field_violations[i]->description);
    }
    if (weft_status_detail(status, &google__rpc__retry_info__descriptor, arena, &found) == 0) {
        const Google__Protobuf__Duration *delay = ((Google__Rpc__RetryInfo *)found)->retry_delay;
        printf("retry_ms %lld\n", delay != NULL ? (long long)delay->seconds * 1000 + delay->nanos / 1000000 : 0LL);
    }
}

static void print_call(const weft_status *status, const weft_call_info *info, const Probe__EchoResponse *response,
                       weft_arena *arena)
{
    printf("code %d\n", (int)status->code);
    printf("from_peer %d\n", status->from_peer);
    printf("message ");
    print_hex(status->message, strlen(status->message));
    printf("details ");
    print_hex(status->details.data, status->details.len);
    print_details(status, arena);
    printf("compressed %d\n", info->compressed);
    printf("peer %s\n", info->peer == NULL ? "" : info->peer);
    print_metadata("header", &info->headers);
    print_metadata("trailer", &info->trailers);
    printf("response %d\n", response != NULL);
    if (status->code == WEFT_OK && response != NULL) {
        size_t right = 0;
        while (right < response->payload.len && response->payload.data[right] == (uint8_t)right)
            right++;
        printf("payload_bytes %zu\n", response->payload.len);
        printf("payload_right %d\n", right == response->payload.len);
        printf("answer ");
        print_hex(response->message, strlen(response->message));
        printf("remaining_ms %lld\n", (long long)response->remaining_ms);
    }
    printf("end\n");
    fflush(stdout);
}

/* One call, which is printed; or calls until one is OK or the time is over, of which the last one is. */
static int make_call(const probe_state *state, int64_t until_ok_ns)
{
    weft_arena *arena;
    int rc = weft_arena_new(&arena, 0);
    if (rc < 0)
        return rc;
    weft_call_info info = WEFT_CALL_INFO_INIT;
    weft_call_options options = state->options;
    options.metadata = state->metadata;
    options.info = &info;
    Probe__EchoResponse *response;
    weft_status status;
    do {
        weft_arena_reset(arena);
        response = NULL;
        status = probe_Probe_Echo(state->channel, arena, &options, &state->request, &response);
    } while (status.code != WEFT_OK && weft_engine_now_ns(state->engine) < until_ok_ns);
    print_call(&status, &info, response, arena);
    weft_arena_free(arena);
    return 0;
}

static int add_metadatum(probe_state *state, char *pair)
{
    char *equals = strchr(pair, '=');
    if (equals == NULL || state->options.metadata_count == MAX_METADATA)
        return -EINVAL;
    *equals = '\0';
    state->metadata[state->options.metadata_count].key = weft_sv_from(pair);
    state->metadata[state->options.metadata_count++].value = weft_sv_from(equals + 1);
    return 0;
}

static int apply(probe_state *state, const char *option, char *value)
{
    long long number = strtoll(value, NULL, 10);
    if (strncmp(option, "--tls-", 6) == 0 || strcmp(option, "--service-config") == 0) /* of the channel */
        return 0;
    if (strcmp(option, "--timeout-ms") == 0)
        state->options.timeout_ms = number;
    else if (strcmp(option, "--wait-for-ready") == 0)
        state->options.wait_for_ready = number != 0;
    else if (strcmp(option, "--gzip") == 0)
        state->options.compression = number != 0 ? WEFT_COMPRESSION_GZIP : WEFT_COMPRESSION_NONE;
    else if (strcmp(option, "--metadata") == 0)
        return add_metadatum(state, value);
    else if (strcmp(option, "--message") == 0)
        state->request.message = value;
    else if (strcmp(option, "--code") == 0)
        state->request.code = (int32_t)number;
    else if (strcmp(option, "--payload-bytes") == 0)
        state->request.payload_bytes = (uint32_t)number;
    else if (strcmp(option, "--wait-ms") == 0)
        state->request.wait_ms = (uint32_t)number;
    else if (strcmp(option, "--call") == 0)
        for (int rc = 0; number > 0; number--) {
            rc = make_call(state, 0);
            if (rc < 0)
                return rc;
        }
    else if (strcmp(option, "--until-ok") == 0)
        return make_call(state, weft_engine_now_ns(state->engine) + number * 1000000);
    else
        return -EINVAL;
    return 0;
}

static int make_channel(probe_state *state, int argc, char **argv)
{
    char why[256];
    bool wanted = false;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    weft_tls_options tls_options = WEFT_TLS_OPTIONS_INIT;
    const struct {
        const char *name;
        const char **value;
    } words[] = {
        {"--service-config", &options.service_config}, {"--tls-roots", &tls_options.roots_file},
        {"--tls-name", &tls_options.server_name},      {"--tls-certificate", &tls_options.certificate_file},
        {"--tls-key", &tls_options.key_file},
    };
    for (int i = 2; i < argc; i += 2)
        for (size_t w = 0; w < sizeof words / sizeof *words; w++)
            if (strcmp(argv[i], words[w].name) == 0) {
                *words[w].value = argv[i + 1];
                wanted = wanted || w > 0; /* all others are of TLS */
            }
    int rc = wanted ? weft_tls_new(&state->tls, state->engine, &tls_options, why, sizeof why) : 0;
    if (rc < 0) {
        fprintf(stderr, "probe-client: %s\n", why);
        return rc;
    }
    options.tls = state->tls;
    return weft_channel_new(&state->channel, state->engine, argv[1], &options);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc % 2 != 0) {
        fprintf(stderr, "usage: probe-client TARGET [OPTION VALUE]… --call TIMES\n");
        return 2;
    }
    probe_state state = {.request = PROBE__ECHO_REQUEST__INIT, .options = WEFT_CALL_OPTIONS_INIT};
    int rc = weft_core_engine_new(&state.engine, NULL);
    if (rc == 0)
        rc = make_channel(&state, argc, argv);
    for (int i = 2; rc == 0 && i < argc; i += 2)
        rc = apply(&state, argv[i], argv[i + 1]);
    if (rc < 0)
        fprintf(stderr, "probe-client: %s\n", strerror(-rc));
    weft_channel_free(state.channel);
    weft_tls_free(state.tls);
    weft_engine_free(state.engine);
    return rc == 0 ? 0 : 1;
}
