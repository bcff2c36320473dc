/* pick/endpoint.h: what lies behind a weft_endpoint. */
#ifndef WEFT_PICK_ENDPOINT_H
#define WEFT_PICK_ENDPOINT_H

#include <stdatomic.h>
#include <stdbool.h>

#include <weft/endpoint.h>
#include <weft/status.h>

struct weft_endpoint {
    char *address;
    atomic_uint weight;
    atomic_uint calls;
    atomic_size_t refs;
    void *owner;                                 /* the channel's part of it */
    void (*unused)(weft_endpoint *endpoint);     /* the last reference is gone: who made it frees it, now or later */
    _Alignas(max_align_t) unsigned char state[]; /* the picker's */
};

/* With one reference. 0; -ENOMEM. */
int weft__endpoint_new(weft_endpoint **out, const weft_address *address, size_t state_size);
void weft__endpoint_free(weft_endpoint *endpoint);

void weft__endpoint_ref(weft_endpoint *endpoint);
void weft__endpoint_unref(weft_endpoint *endpoint);

/* Whether a code says that the instance that answered so, or did not answer, is not well. */
bool weft__is_failure(weft_code code);

/* 0 is 1. */
void weft__endpoint_set_weight(weft_endpoint *endpoint, uint32_t weight);

#endif
