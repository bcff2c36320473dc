/* The handlers: between the messages of sample.proto and the domain. Everything they allocate dies with the call. */
#include "sample_service.h"

#include <errno.h>

#include <weft/details.h>

#include "sample.h"
#include "sample.weft.h"

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

/* ---- Methods ----------------------------------------------------------------------------------------------------- */

static weft_code handle_hello(weft_call *call, const Sample__HelloRequest *request, Sample__HelloResponse *response,
                              void *self)
{
    const struct sample_service *service = self;
    weft_arena *arena = weft_call_arena(call);
    const char *name;
    const char *why;
    int rc = sample_check_name(request->name, arena, &name, &why);
    if (rc == -EINVAL)
        return weft_fail_field(call, "name", "%s", why);
    if (rc == 0)
        rc = sample_store_count(service->store, name, &response->count);
    if (rc < 0)
        return weft_fail_store(call, rc);
    response->text = sample_greet(service->greeting, name, arena);
    return response->text != NULL ? WEFT_OK : weft_fail_store(call, -ENOMEM);
}

static const sample_SampleService_ops sample_ops = {
    .Hello = handle_hello,
};

int sample_service_register(weft_server *server, struct sample_service *service)
{
    return sample_SampleService_register(server, &sample_ops, service, NULL);
}
