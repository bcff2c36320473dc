/* The bytes of grpc-status-details-bin, which are whatever a peer sends: they are read or refused, also when memory
 * runs out half-way; a handler that passes them on, and adds a detail, sends what can be read again and says its own
 * code. The first byte of an input chooses the memory.
 */
#include <errno.h>
#include <string.h>

#include <google/protobuf/struct.pb-c.h>
#include <weft/details.h>

#include "call/call.h"
#include "fuzz/fuzz.h"

static const ProtobufCMessageDescriptor *const types[] = {
    &google__rpc__error_info__descriptor,  &google__rpc__bad_request__descriptor,
    &google__rpc__retry_info__descriptor,  &google__rpc__quota_failure__descriptor,
    &google__rpc__help__descriptor,        &google__rpc__resource_info__descriptor,
    &google__protobuf__struct__descriptor, /* nests */
};

enum {
    TYPES = sizeof types / sizeof *types,
    METADATA_MAX = 4096
};

static bool is_of(const Google__Protobuf__Any *detail, const ProtobufCMessageDescriptor *type)
{
    const char *slash = strrchr(detail->type_url, '/');
    return slash != NULL && strcmp(slash + 1, type->name) == 0;
}

/* Reads each detail as each type; one is found just when it names the type. */
static void read_each(const weft_status *status, const Google__Rpc__Status *all, weft_arena *arena)
{
    for (size_t t = 0; t < TYPES; t++) {
        ProtobufCMessage *message = NULL;
        int first = -ENOENT;
        for (size_t i = 0; i < all->n_details; i++) {
            int rc = weft_detail_unpack(all->details[i], types[t], arena, &message);
            FUZZ_REQUIRE((rc != -ENOENT) == is_of(all->details[i], types[t]));
            FUZZ_REQUIRE(rc == 0 || rc == -ENOENT || rc == -EBADMSG || (rc == -ENOMEM && weft_arena_failed(arena)));
            FUZZ_REQUIRE(rc != 0 || message->descriptor == types[t]);
            if (first == -ENOENT)
                first = rc;
        }
        int rc = weft_status_detail(status, types[t], arena, &message);
        FUZZ_REQUIRE(rc == first || (rc == -ENOMEM && weft_arena_failed(arena)));
    }
}

/* What a call that passes the status on answers with; the details only. */
static weft_sv passed_on(const weft_status *status, bool add, weft_arena *arena)
{
    struct weft_call call = {.arena = arena, .metadata_left = METADATA_MAX};
    Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;
    FUZZ_REQUIRE(weft_fail_from(&call, status) == WEFT_ABORTED);
    if (add) {
        int rc = weft_fail_detail(&call, &retry.base);
        FUZZ_REQUIRE(rc == 0 || rc == -E2BIG || (rc == -ENOMEM && weft_arena_failed(arena)));
    }
    FUZZ_REQUIRE(call.metadata_left + call.details_cost == METADATA_MAX);
    weft__details_tell(&call, WEFT_DATA_LOSS);
    FUZZ_REQUIRE(call.response_trailers.count <= 1);
    if (call.response_trailers.count == 0)
        return (weft_sv){NULL, 0};
    weft_metadatum pair = call.response_trailers.items[0];
    FUZZ_REQUIRE(weft__pair_cost(pair.key, pair.value.len) == call.details_cost);
    return pair.value;
}

static void pass_on(const weft_status *status, const Google__Rpc__Status *all, weft_arena *arena)
{
    size_t kept = 0; /* details that were passed on: all, or none when they do not fit */
    for (size_t added = 0; added <= 1; added++) {
        Google__Rpc__Status *again = NULL;
        weft_status told = {.code = WEFT_DATA_LOSS, .message = "", .details = passed_on(status, added == 1, arena)};
        if (weft_arena_failed(arena))
            return;
        if (told.details.len == 0) {
            FUZZ_REQUIRE(all == NULL || status->details.len + 100 > METADATA_MAX);
            continue;
        }
        int rc = weft_status_details(&told, arena, &again);
        if (rc < 0) {
            FUZZ_REQUIRE(rc == -ENOMEM && weft_arena_failed(arena));
            return;
        }
        if (added == 0)
            kept = again->n_details;
        FUZZ_REQUIRE(kept == 0 || (all != NULL && kept == all->n_details));
        FUZZ_REQUIRE(again->n_details >= kept && again->n_details <= kept + added);
        FUZZ_REQUIRE(again->code == WEFT_DATA_LOSS && strcmp(again->message, "passed on") == 0);
        for (size_t i = 0; all != NULL && i < kept; i++) {
            FUZZ_REQUIRE(strcmp(again->details[i]->type_url, all->details[i]->type_url) == 0);
            FUZZ_REQUIRE(again->details[i]->value.len == all->details[i]->value.len);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    weft_arena *arena = NULL;
    if (len == 0 || weft_arena_new(&arena, data[0] == 0 ? (size_t)1 << 22 : (size_t)data[0] * 128) < 0)
        return 0;
    const weft_status status = {.code = WEFT_ABORTED, .message = "passed on", .details = weft_sv_of(data + 1, len - 1)};
    Google__Rpc__Status *all = NULL;
    int rc = weft_status_details(&status, arena, &all);
    FUZZ_REQUIRE(rc == 0 || rc == -ENOENT || rc == -EBADMSG || (rc == -ENOMEM && weft_arena_failed(arena)));
    FUZZ_REQUIRE((rc == 0) == (all != NULL && all->n_details > 0));
    if (all != NULL)
        read_each(&status, all, arena);
    pass_on(&status, all, arena);
    weft_arena_free(arena);
    return 0;
}
