/* sample_service.h: sample.SampleService on a store. */
#ifndef SAMPLE_SAMPLE_SERVICE_H
#define SAMPLE_SAMPLE_SERVICE_H

#include <weft/server.h>

#include "sample_store.h"

/* What the handlers share. */
struct sample_service {
    struct sample_store *store;
    const char *greeting; /* what a greeting begins with */
};

/* Serves SampleService. `service` and what it holds outlive the server. @return as weft_server_add. */
int sample_service_register(weft_server *server, struct sample_service *service);

#endif
