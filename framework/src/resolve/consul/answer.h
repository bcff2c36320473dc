/* answer.h: what Consul says of a service's instances, and which of them a target wants. */
#ifndef WEFT_RESOLVE_CONSUL_ANSWER_H
#define WEFT_RESOLVE_CONSUL_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/arena.h>
#include <weft/endpoint.h>

#include "base/buf.h"
#include "resolve/consul/query.h"

typedef struct weft__consul_instance {
    weft_address address;
    bool passing; /* all its checks do */
    const char **tags;
    size_t tag_count;
} weft__consul_instance;

typedef struct weft__consul_answer {
    weft_arena *arena; /* holds all of it */
    weft__consul_instance *instances;
    size_t count;
    size_t skipped; /* instances without a usable address */
} weft__consul_answer;

/**
 * Reads the answer to /v1/health/service/NAME. Costs memory in proportion to it.
 *
 * @param reason on -EBADMSG: what is wrong. @return 0; -EBADMSG; -ENOMEM. Free it with weft__consul_answer_fini.
 */
int weft__consul_answer_parse(weft__consul_answer *out, const char *data, size_t len, char *reason, size_t reason_size);

/* Frees it. All zeros is fine. */
void weft__consul_answer_fini(weft__consul_answer *answer);

/**
 * The instances that a query wants: each address once, ordered by address; with `near` in Consul's order.
 *
 * @param seed of the choice that a limit makes. @param out room for answer->count; borrows from the answer.
 * @return 0 or -ENOMEM.
 */
int weft__consul_answer_select(const weft__consul_answer *answer, const weft__consul_query *query, uint64_t seed,
                               weft_address *out, size_t *out_count);

/* Appends all that is said of the addresses, so that equal lists make equal bytes and no others do. */
void weft__consul_addresses_write(weft__buf *buf, const weft_address *addresses, size_t count);

#endif
