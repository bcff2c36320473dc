/* client/tried.h: the endpoints that the attempts of one call are on, or were. One that was picked, and given back
 * without an attempt, is not. */
#ifndef WEFT_CLIENT_TRIED_H
#define WEFT_CLIENT_TRIED_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "pick/endpoint.h"
#include "transport/transport.h"

#define WEFT__MAX_TRIED 8

/* A reference each. Further ones are not noted. */
typedef struct weft__tried {
    pthread_mutex_t lock; /* of attempts that run at the same time; who is alone needs none, nor an init */
    weft_endpoint *endpoints[WEFT__MAX_TRIED];
    size_t count;
    _Atomic(weft__ccall *) answered; /* the attempt that was; others, which are cancelled, are slower. Or NULL */
} weft__tried;

/* Whether there was room to note it. */
static inline bool weft__tried_add(weft__tried *tried, weft_endpoint *endpoint)
{
    if (tried->count == WEFT__MAX_TRIED)
        return false;
    weft__endpoint_ref(endpoint);
    tried->endpoints[tried->count++] = endpoint;
    return true;
}

/* Of one that is noted, by who has a reference of its own. */
static inline void weft__tried_remove(weft__tried *tried, weft_endpoint *endpoint)
{
    size_t i = 0;
    while (tried->endpoints[i] != endpoint)
        i++;
    tried->endpoints[i] = tried->endpoints[--tried->count];
    weft__endpoint_unref(endpoint);
}

static inline bool weft__tried_has(const weft__tried *tried, const weft_endpoint *endpoint)
{
    for (size_t i = 0; i < tried->count; i++)
        if (tried->endpoints[i] == endpoint)
            return true;
    return false;
}

static inline void weft__tried_clear(weft__tried *tried)
{
    for (size_t i = 0; i < tried->count; i++)
        weft__endpoint_unref(tried->endpoints[i]);
    tried->count = 0;
}

#endif
