/* protobuf_c.c: a ProtobufCService whose functions are calls over a channel. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <weft/protobuf_c.h>

#include "base/utf8.h"
#include "call/protobuf_c_methods.h"

struct remote {
    ProtobufCService base; /* first: protobuf-c hands this around */
    weft_channel *channel;
    weft_method *methods;
    int64_t timeout_ms;
};

/* How the thread's last call ended, and through which service. */
static _Thread_local struct {
    const ProtobufCService *service;
    weft_code code;
    bool from_peer;
    char message[256];
} last;

static void remember(const ProtobufCService *service, const weft_status *status)
{
    last.service = service;
    last.code = status->code;
    last.from_peer = status->from_peer;
    size_t len = weft__utf8_cut(status->message, strlen(status->message), sizeof last.message - 1);
    memcpy(last.message, status->message, len);
    last.message[len] = '\0';
}

static void invoke(ProtobufCService *service, unsigned index, const ProtobufCMessage *request, ProtobufCClosure closure,
                   void *data)
{
    struct remote *remote = (struct remote *)service;
    char block[2048];
    weft_arena *arena;
    ProtobufCMessage *response = NULL;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.timeout_ms = remote->timeout_ms;
    (void)weft_arena_init(&arena, block, sizeof block, 0);
    weft_status status =
        weft_channel_unary(remote->channel, arena, &options, &remote->methods[index], request, &response);
    remember(service, &status);
    closure(status.code == WEFT_OK ? response : NULL, data);
    weft_arena_fini(arena);
}

static void destroy(ProtobufCService *service)
{
    struct remote *remote = (struct remote *)service;
    if (last.service == service) /* its address may be used again */
        last.service = NULL;
    free(remote->methods);
    free(remote);
}

int weft_protobuf_c_service_new(ProtobufCService **out, weft_channel *channel,
                                const ProtobufCServiceDescriptor *descriptor, int64_t timeout_ms)
{
    if (channel == NULL || descriptor == NULL || timeout_ms < -1)
        return -EINVAL;
    struct remote *remote = calloc(1, sizeof *remote);
    if (remote == NULL)
        return -ENOMEM;
    int rc = weft__protobuf_c_methods(&remote->methods, descriptor);
    if (rc < 0) {
        free(remote);
        return rc;
    }
    remote->base.descriptor = descriptor;
    remote->base.invoke = invoke;
    remote->base.destroy = destroy;
    remote->channel = channel;
    remote->timeout_ms = timeout_ms;
    *out = &remote->base;
    return 0;
}

weft_status weft_protobuf_c_status(const ProtobufCService *service)
{
    if (last.service != service)
        return (weft_status){.code = WEFT_UNKNOWN, .message = "the thread's last call was not through this service"};
    return (weft_status){.code = last.code, .from_peer = last.from_peer, .message = last.message};
}
