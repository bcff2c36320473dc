/* registration.h: an instance as Consul's agent wants it told. */
#ifndef WEFT_RESOLVE_CONSUL_REGISTRATION_H
#define WEFT_RESOLVE_CONSUL_REGISTRATION_H

#include <stddef.h>
#include <stdint.h>

#include <weft/arena.h>
#include <weft/registry.h>

#define WEFT__CONSUL_MAX_CHECKS 16

/* What is kept of an instance. All texts lie in its arena. */
typedef struct weft__consul_registration {
    const char *service;
    const char *id;
    const char *body; /* of PUT /v1/agent/service/register: fields of Consul 1.8 only, since it refuses others */
    const char *ttl_ids[WEFT__CONSUL_MAX_CHECKS];
    int64_t ttl_ms[WEFT__CONSUL_MAX_CHECKS];
    size_t ttl_count;
} weft__consul_registration;

/**
 * Checks an instance and writes it.
 *
 * @param reason on -EINVAL: what is wrong. @return 0; -EINVAL; -ENOMEM.
 */
int weft__consul_registration_write(weft_arena *arena, const weft_instance *instance, weft__consul_registration *out,
                                    char *reason, size_t reason_size);

/* The body of PUT /v1/agent/check/update/ID, or NULL: out of memory. */
const char *weft__consul_report_write(weft_arena *arena, weft_instance_health health, const char *note);

#endif
