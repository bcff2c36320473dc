/* weft/endpoint.h: one instance of a service, as resolvers name it and pickers choose it.
 *
 * A channel keeps an endpoint for each address that its resolver lists, for as long as it is listed or has calls. So
 * what is known of an endpoint (its calls, its latency) survives every change of the list around it.
 */
#ifndef WEFT_ENDPOINT_H
#define WEFT_ENDPOINT_H

#include <stddef.h>
#include <stdint.h>

#include <weft/metadata.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

/* What a directory says of an instance. */
typedef enum weft_instance_health {
    WEFT_INSTANCE_UNKNOWN = 0,   /* nothing: it is used */
    WEFT_INSTANCE_HEALTHY = 1,   /* it is used */
    WEFT_INSTANCE_UNHEALTHY = 2, /* it is used only when there is no other */
    WEFT_INSTANCE_DRAINING = 3   /* it gets no new calls */
} weft_instance_health;

/* One instance. Texts and metadata belong to whoever fills it in. All but `address` are optional. */
typedef struct weft_address {
    const char *address; /* "ipv4:10.0.0.1:50051", "ipv6:[::1]:50051" or "unix:/run/users.sock" */
    const char *zone;    /* where it runs; NULL: not known */
    weft_metadata metadata;
    uint32_t weight;             /* 0: 1 */
    weft_instance_health health; /* as the directory sees it */
    uint64_t reserved[2];        /* 0 */
} weft_address;

typedef struct weft_endpoint weft_endpoint;

/* The following live as long as the endpoint, which is for a picker: as long as the function that it was given to.
 * Thread: any. */

/* "ipv4:10.0.0.1:50051". */
WEFT_API const char *weft_endpoint_address(const weft_endpoint *endpoint);

/* At least 1. It changes when the list does. */
WEFT_API uint32_t weft_endpoint_weight(const weft_endpoint *endpoint);

/* Calls that were picked for it and are not over. */
WEFT_API uint32_t weft_endpoint_calls(const weft_endpoint *endpoint);

/* The picker's own memory in the endpoint, of its vtable's endpoint_size bytes, aligned for any type. */
WEFT_API void *weft_endpoint_state(weft_endpoint *endpoint);

WEFT_END_DECLS
#endif
