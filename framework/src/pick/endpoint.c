#include "pick/endpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    CACHE_LINE = 64 /* threads that count calls on two endpoints do not share one, and a pick reads as few as can be */
};

int weft__endpoint_new(weft_endpoint **out, const weft_address *address, size_t state_size)
{
    size_t size = (sizeof(weft_endpoint) + state_size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    weft_endpoint *endpoint = aligned_alloc(CACHE_LINE, size);
    if (endpoint == NULL)
        return -ENOMEM;
    memset(endpoint, 0, size);
    endpoint->address = strdup(address->address);
    if (endpoint->address == NULL) {
        free(endpoint);
        return -ENOMEM;
    }
    atomic_init(&endpoint->refs, 1);
    weft__endpoint_set_weight(endpoint, address->weight);
    *out = endpoint;
    return 0;
}

void weft__endpoint_free(weft_endpoint *endpoint)
{
    free(endpoint->address);
    free(endpoint);
}

void weft__endpoint_ref(weft_endpoint *endpoint)
{
    atomic_fetch_add_explicit(&endpoint->refs, 1, memory_order_relaxed);
}

void weft__endpoint_unref(weft_endpoint *endpoint)
{
    if (atomic_fetch_sub_explicit(&endpoint->refs, 1, memory_order_acq_rel) == 1)
        endpoint->unused(endpoint);
}

void weft__endpoint_set_weight(weft_endpoint *endpoint, uint32_t weight)
{
    atomic_store_explicit(&endpoint->weight, weight > 0 ? weight : 1, memory_order_relaxed);
}

const char *weft_endpoint_address(const weft_endpoint *endpoint)
{
    return endpoint->address;
}

uint32_t weft_endpoint_weight(const weft_endpoint *endpoint)
{
    return atomic_load_explicit(&endpoint->weight, memory_order_relaxed);
}

uint32_t weft_endpoint_calls(const weft_endpoint *endpoint)
{
    return atomic_load_explicit(&endpoint->calls, memory_order_relaxed);
}

void *weft_endpoint_state(weft_endpoint *endpoint)
{
    return endpoint->state;
}

bool weft__is_failure(weft_code code)
{
    switch (code) {
    case WEFT_UNKNOWN:
    case WEFT_DEADLINE_EXCEEDED:
    case WEFT_RESOURCE_EXHAUSTED:
    case WEFT_UNIMPLEMENTED:
    case WEFT_INTERNAL:
    case WEFT_UNAVAILABLE:
    case WEFT_DATA_LOSS:
        return true;
    default:
        return false;
    }
}
