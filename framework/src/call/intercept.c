/* intercept.c: runs the hooks of interceptors and observers.
 *
 * Design notes
 * - Which interceptors look at a method is a mask of 64 bits, found once a method on a server and once a call on a
 *   channel. A call without any costs one comparison.
 * - `started` is a mask too: of those whose start was called, for whom end follows.
 */
#include "call/intercept.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "call/call.h"

enum {
    ALIGNMENT = _Alignof(max_align_t)
};

void weft_interceptor_free(weft_interceptor *interceptor)
{
    if (interceptor != NULL && interceptor->vtable->destroy != NULL)
        interceptor->vtable->destroy(interceptor);
}

/* ---- the chain --------------------------------------------------------------------------------------------------- */

static int copy_methods(weft__link *link, const weft_interception *from)
{
    if (from->method_count == 0)
        return 0;
    if (from->methods == NULL)
        return -EINVAL;
    link->methods = calloc(from->method_count, sizeof *link->methods);
    if (link->methods == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < from->method_count; i++) {
        if (from->methods[i] == NULL || from->methods[i][0] != '/')
            return -EINVAL;
        link->methods[i] = strdup(from->methods[i]);
        if (link->methods[i] == NULL)
            return -ENOMEM;
        link->method_count++;
    }
    return 0;
}

int weft__chain_init(weft__chain *chain, const weft_interception *interceptors, size_t count,
                     weft_observer *const *observers, size_t observer_count)
{
    memset(chain, 0, sizeof *chain);
    if ((count > 0 && interceptors == NULL) || (observer_count > 0 && observers == NULL))
        return -EINVAL;
    if (count > WEFT_MAX_INTERCEPTORS)
        return -E2BIG;
    chain->observers = observers;
    chain->observer_count = observer_count;
    chain->links = count > 0 ? calloc(count, sizeof *chain->links) : NULL;
    if (count > 0 && chain->links == NULL)
        return -ENOMEM;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        weft__link *link = &chain->links[chain->count++];
        link->interceptor = interceptors[i].interceptor;
        if (link->interceptor == NULL || link->interceptor->vtable->struct_size == 0) {
            rc = -EINVAL;
            break;
        }
        link->slot = chain->state_bytes;
        size_t size = link->interceptor->vtable->state_size;
        chain->state_bytes += (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        rc = copy_methods(link, &interceptors[i]);
    }
    for (size_t i = 0; rc == 0 && i < observer_count; i++)
        if (observers[i] == NULL || observers[i]->vtable->struct_size == 0)
            rc = -EINVAL;
    if (rc < 0)
        weft__chain_fini(chain);
    return rc;
}

void weft__chain_fini(weft__chain *chain)
{
    for (size_t i = 0; chain->links != NULL && i < chain->count; i++) {
        for (size_t k = 0; k < chain->links[i].method_count; k++)
            free(chain->links[i].methods[k]);
        free(chain->links[i].methods);
    }
    free(chain->links);
    memset(chain, 0, sizeof *chain);
}

/* Whether "/a.B/C" is the pattern, or of its service: "/a.B/" and a star. */
static bool matches(const char *pattern, const char *path)
{
    size_t len = strlen(pattern);
    if (len > 2 && pattern[len - 1] == '*' && pattern[len - 2] == '/')
        return strncmp(pattern, path, len - 1) == 0;
    return strcmp(pattern, path) == 0;
}

uint64_t weft__chain_mask(const weft__chain *chain, const char *path)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < chain->count; i++) {
        const weft__link *link = &chain->links[i];
        bool match = link->method_count == 0;
        for (size_t k = 0; !match && k < link->method_count; k++)
            match = matches(link->methods[k], path);
        mask |= match ? UINT64_C(1) << i : 0;
    }
    return mask;
}

/* ---- a call ------------------------------------------------------------------------------------------------------ */

static void *slot(const weft_call *call, const weft__link *link)
{
    return (char *)call->slots + link->slot;
}

static bool has(uint64_t mask, size_t index)
{
    return (mask >> index & 1) != 0;
}

weft_code weft__intercept_start(weft_call *call)
{
    if (call->mask == 0)
        return WEFT_OK;
    const weft__chain *chain = call->chain;
    call->slots = weft_arena_zalloc(call->arena, chain->state_bytes);
    if (call->slots == NULL)
        return weft_fail(call, WEFT_RESOURCE_EXHAUSTED, "the call needs more memory than it may use");
    for (size_t i = 0; i < chain->count; i++) {
        const weft__link *link = &chain->links[i];
        if (!has(call->mask, i))
            continue;
        call->started |= UINT64_C(1) << i;
        if (link->interceptor->vtable->start == NULL)
            continue;
        weft_code code = link->interceptor->vtable->start(link->interceptor, call, slot(call, link));
        if (code != WEFT_OK)
            return weft__call_failed_with(call, code);
    }
    return WEFT_OK;
}

weft_code weft__intercept_recv(weft_call *call, const ProtobufCMessage *message)
{
    call->received++;
    for (size_t i = call->started != 0 ? call->chain->count : 0; i-- > 0;) {
        const weft__link *link = &call->chain->links[i];
        if (!has(call->started, i) || link->interceptor->vtable->recv == NULL)
            continue;
        weft_code code = link->interceptor->vtable->recv(link->interceptor, call, message, slot(call, link));
        if (code != WEFT_OK)
            return weft__call_failed_with(call, code);
    }
    return WEFT_OK;
}

weft_code weft__intercept_send(weft_call *call, const ProtobufCMessage *message)
{
    call->sent++;
    for (size_t i = 0; call->started != 0 && i < call->chain->count; i++) {
        const weft__link *link = &call->chain->links[i];
        if (!has(call->started, i) || link->interceptor->vtable->send == NULL)
            continue;
        weft_code code = link->interceptor->vtable->send(link->interceptor, call, message, slot(call, link));
        if (code != WEFT_OK)
            return weft__call_failed_with(call, code);
    }
    return WEFT_OK;
}

static void tell_observers(weft_call *call, const weft_status *status, bool handled)
{
    const weft__chain *chain = call->chain;
    weft_call_summary summary = {
        .path = call->path,
        .method = call->definition,
        .status = status,
        .client = call->client != NULL,
        .handled = handled,
        .began_ns = call->began_ns,
        .ended_ns = weft_engine_now_ns(call->engine),
        .received = call->received,
        .sent = call->sent,
    };
    for (size_t i = 0; i < chain->observer_count; i++)
        if (chain->observers[i]->vtable->ended != NULL)
            chain->observers[i]->vtable->ended(chain->observers[i], &summary);
}

void weft__intercept_end(weft_call *call, const weft_status *status, bool handled)
{
    uint64_t started = call->started;
    call->started = 0;
    for (size_t i = started != 0 ? call->chain->count : 0; i-- > 0;) {
        const weft__link *link = &call->chain->links[i];
        if (has(started, i) && link->interceptor->vtable->end != NULL)
            link->interceptor->vtable->end(link->interceptor, call, status, slot(call, link));
    }
    if (call->chain != NULL && call->chain->observer_count > 0)
        tell_observers(call, status, handled);
}
