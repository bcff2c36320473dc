#include "call/protobuf_c_methods.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t path_size(const ProtobufCServiceDescriptor *service, const ProtobufCMethodDescriptor *method)
{
    return strlen(service->name) + strlen(method->name) + 3; /* two slashes and the NUL */
}

int weft__protobuf_c_methods(weft_method **out, const ProtobufCServiceDescriptor *service)
{
    if (service->name == NULL)
        return -ENOTSUP;
    size_t size = (size_t)service->n_methods * sizeof(weft_method) + 1;
    for (unsigned i = 0; i < service->n_methods; i++) {
        if (service->methods[i].name == NULL)
            return -ENOTSUP;
        size += path_size(service, &service->methods[i]);
    }
    weft_method *methods = calloc(1, size);
    if (methods == NULL)
        return -ENOMEM;
    char *path = (char *)(methods + service->n_methods);
    for (unsigned i = 0; i < service->n_methods; i++) {
        const ProtobufCMethodDescriptor *from = &service->methods[i];
        size_t room = path_size(service, from);
        (void)snprintf(path, room, "/%s/%s", service->name, from->name);
        methods[i] = (weft_method){
            .struct_size = sizeof(weft_method),
            .path = path,
            .name = from->name,
            .kind = WEFT_UNARY,
            .request = from->input,
            .response = from->output,
        };
        path += room;
    }
    *out = methods;
    return 0;
}
