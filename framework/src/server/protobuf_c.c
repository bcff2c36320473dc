/* protobuf_c.c: serves a ProtobufCService. Every call is a deferred one, because protobuf-c's functions answer by a
 * closure, before or after they return. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include <weft/protobuf_c.h>

#include "call/protobuf_c_methods.h"
#include "server/server.h"

/* What a method of the service is registered with. */
struct served {
    ProtobufCService *service;
    unsigned index;
};

static _Thread_local weft_call *current_call;

weft_call *weft_protobuf_c_call(void)
{
    return current_call;
}

static void on_response(const ProtobufCMessage *response, void *data)
{
    weft_call *call = data;
    if (response != NULL)
        weft_call_finish(call, WEFT_OK, response);
    else /* what the function said by weft_fail on weft_protobuf_c_call(), if it did */
        weft_call_finish(call, call->code != WEFT_OK ? call->code : WEFT_INTERNAL, NULL);
}

static weft_code serve(weft_call *call, const ProtobufCMessage *request, ProtobufCMessage *response, const void *ops,
                       void *self)
{
    const struct served *served = self;
    weft_call *outer = current_call;
    (void)response;
    (void)ops;
    (void)weft_call_defer(call);
    current_call = call;
    served->service->invoke(served->service, served->index, request, on_response, call);
    current_call = outer;
    return WEFT_OK;
}

int weft_server_add_protobuf_c(weft_server *server, ProtobufCService *service)
{
    if (service == NULL || service->descriptor == NULL)
        return -EINVAL;
    const ProtobufCServiceDescriptor *descriptor = service->descriptor;
    const bool generated = service->invoke == protobuf_c_service_invoke_internal;
    weft_method *methods;
    int rc = weft__protobuf_c_methods(&methods, descriptor);
    if (rc < 0)
        return rc;
    struct served *served = calloc((size_t)descriptor->n_methods + 1, sizeof *served);
    if (served == NULL) {
        free(methods);
        return -ENOMEM;
    }
    size_t before = server->method_count;
    size_t services_before = server->service_count;
    rc = weft__server_add_service(server, descriptor->name, NULL);
    for (unsigned i = 0; rc == 0 && i < descriptor->n_methods; i++) {
        /* A generated service is its base followed by one function pointer a method; of another kind of service nothing
         * is known but `invoke`, which is then what must be there. */
        methods[i].ops_offset =
            generated ? sizeof(ProtobufCService) + i * sizeof(void (*)(void)) : offsetof(ProtobufCService, invoke);
        methods[i].handler = serve;
        served[i] = (struct served){service, i};
        rc = weft__server_add_method(server, &methods[i], service, &served[i], NULL);
    }
    if (rc == 0)
        rc = weft__server_own(server, methods);
    if (rc == 0) {
        rc = weft__server_own(server, served);
        if (rc == 0)
            return 0;
        weft__server_disown_last(server);
    }
    weft__server_remove_methods(server, before);
    server->service_count = services_before;
    free(served);
    free(methods);
    return rc;
}
