/* query.h: what a target of the scheme "consul" asks for (weft/consul.h lists it). */
#ifndef WEFT_RESOLVE_CONSUL_QUERY_H
#define WEFT_RESOLVE_CONSUL_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/arena.h>
#include <weft/resolver.h>

#include "base/buf.h"

#define WEFT__CONSUL_MAX_TAGS 32

typedef struct weft__consul_query {
    /* Where and what to ask. Texts are never NULL; "" is the options' or the agent's. */
    const char *authority; /* "host:port" */
    const char *user_password;
    const char *service;
    const char *near;
    const char *datacenter;
    const char *name_space;
    const char *token;
    bool stale;
    bool consistent;
    bool insecure;
    int64_t wait_ms; /* 0: default; so are the next two */
    int64_t timeout_ms;
    int64_t max_backoff_ms;

    /* What is looked at here, so that watches that differ in nothing else share their queries. */
    const char *tags[WEFT__CONSUL_MAX_TAGS];
    size_t tag_count;
    bool healthy;
    int64_t limit; /* 0: none */
} weft__consul_query;

/**
 * Reads a target.
 *
 * @param arena takes the texts. @param reason on -EINVAL: what is wrong.
 * @return 0; -EINVAL; -ENOMEM.
 */
int weft__consul_query_parse(weft_arena *arena, const weft_target *target, weft__consul_query *out, char *reason,
                             size_t reason_size);

/* Whether one watch at Consul serves both. */
bool weft__consul_query_same(const weft__consul_query *a, const weft__consul_query *b);

/* Reads "250ms", "1m30s", "1.5h" as Go writes durations. @return 0; -EINVAL, also below 0 and over ten years. */
int weft__consul_duration(const char *text, int64_t *out_ms);

/* Appends text as it may stand between slashes, '&' and '=' of a URL. */
void weft__consul_escape(weft__buf *buf, const char *text);

/* Whether a text is "host:port", "host" or "[v6]:port", of letters that a URL takes as they are. */
bool weft__consul_authority_ok(const char *text);

#endif
