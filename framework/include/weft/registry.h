/* weft/registry.h: keeps this process's instances in a directory, so that resolvers elsewhere find them.
 *
 * A directory (Consul, etcd, Kubernetes) gives a registry; the program says what it serves and where, once, when its
 * servers listen. From then on the registry keeps the directory to it: it retries, renews what expires, and puts back
 * what the directory has lost.
 *
 *              register             accepted                drain
 *     (none) ───────────▶ PENDING ───────────▶ REGISTERED ───────────▶ DRAINING
 *                            ▲  ▲                 │  ▲                     │
 *                            │  └── lost, failed ─┘  └──────── undrain ────┤      deregister, from any state:
 *                            └────────────── lost, failed ─────────────────┘      ───▶ (none)
 *
 * A program that stops deregisters, serves on until callers have heard of it, and then stops its server: weft/app.h.
 * To drain is for an instance that gets no calls for a while, and stays.
 */
#ifndef WEFT_REGISTRY_H
#define WEFT_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/endpoint.h>
#include <weft/metadata.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

typedef struct weft_registry weft_registry;
typedef struct weft_registration weft_registration; /* the registry's: its own struct, by another name */

typedef enum weft_check_kind {
    WEFT_CHECK_GRPC = 1, /* the directory calls grpc.health.v1.Health/Check of the instance */
    WEFT_CHECK_HTTP = 2, /* the directory GETs a URL: 2xx is healthy */
    WEFT_CHECK_TTL = 3   /* the registry reports, weft_registration_set_health says what */
} weft_check_kind;

/* How the directory learns whether the instance is well. All texts are copied. */
typedef struct weft_check {
    weft_check_kind kind; /* required */
    const char *id; /* optional; of the check, unique at the agent. Default: "<instance id>:grpc", ":http", ":ttl" */
    const char *target;   /* GRPC: optional "host:port" or "host:port/service", default: the instance's address and
                             port, the server as a whole. HTTP: the URL, required. TTL: NULL */
    int64_t interval_ms;  /* optional; between two looks; of TTL how long a report is good. 1,000 at least. Default:
                             10,000; of TTL 15,000 */
    int64_t timeout_ms;   /* optional; of one look. Default: 5,000, but no more than the interval. Not of TTL */
    bool tls;             /* optional; GRPC over TLS */
    bool tls_skip_verify; /* optional; GRPC or HTTP without a look at the certificate */
    uint64_t reserved[2]; /* 0 */
} weft_check;

typedef enum weft_registration_state {
    WEFT_REGISTRATION_PENDING = 1, /* the directory does not have it, as far as is known; it is tried again */
    WEFT_REGISTRATION_REGISTERED = 2,
    WEFT_REGISTRATION_DRAINING = 3 /* the directory has it, and says that it gets no new calls */
} weft_registration_state;

/* What is registered. Texts and arrays are copied. */
typedef struct weft_instance {
    size_t struct_size;          /* set by WEFT_INSTANCE_INIT */
    const char *service;         /* required; its name: "users" */
    const char *id;              /* optional; unique at the directory. Default: "<service>-<address>-<port>" */
    const char *address;         /* optional; where others reach it: an IP address. Default: the agent's */
    int port;                    /* required; 1 to 65535 */
    const char *const *tags;     /* optional; tag_count of them */
    size_t tag_count;            /* */
    weft_metadata metadata;      /* optional */
    uint32_t weight;             /* optional; while it is well. Default: 1 */
    uint32_t warning_weight;     /* optional; while a check warns. Default: 1 */
    const weft_check *checks;    /* optional; check_count of them, 16 at most */
    size_t check_count;          /* */
    int64_t deregister_after_ms; /* optional; the directory forgets an instance that was unwell for so long, if its
                                    process died, say. -1: it does not. Default: 600,000 */
    /* optional; told of every change of state: `text` says why, for people. On the registry's thread, never from inside
     * a function of the registration; must not block, nor call weft_registry_deregister. */
    void (*on_state)(void *arg, weft_registration_state state, const char *text);
    void *arg; /* on_state's */
} weft_instance;
#define WEFT_INSTANCE_INIT WEFT__INIT(weft_instance)

typedef struct weft_registration_counters {
    size_t struct_size;     /* set by WEFT_REGISTRATION_COUNTERS_INIT */
    uint64_t registrations; /* accepted by the directory */
    uint64_t reports;       /* of a TTL check, accepted */
    uint64_t failures;      /* requests that failed */
    uint64_t losses;        /* times that the directory had lost the instance */
} weft_registration_counters;
#define WEFT_REGISTRATION_COUNTERS_INIT WEFT__INIT(weft_registration_counters)

/* A directory's side. The functions below say what each does. */
typedef struct weft_registry_vtable {
    size_t struct_size;
    const char *name;
    int (*add)(weft_registry *self, const weft_instance *instance, weft_registration **out, char *reason,
               size_t reason_size);
    int (*set_health)(weft_registry *self, weft_registration *registration, weft_instance_health health,
                      const char *note);
    int (*drain)(weft_registry *self, weft_registration *registration, bool draining, const char *note);
    weft_registration_state (*state)(weft_registry *self, weft_registration *registration);
    int (*counters)(weft_registry *self, weft_registration *registration, weft_registration_counters *out);
    int (*remove)(weft_registry *self, weft_registration *registration, int64_t timeout_ms);
} weft_registry_vtable;

/* Lies at the beginning of the registry's object. */
struct weft_registry {
    const weft_registry_vtable *vtable;
};

/**
 * Registers an instance, and keeps it registered until weft_registry_deregister. Returns at once: a program starts also
 * while the directory is down.
 *
 * @param reason on -EINVAL what is wrong, NUL-terminated, cut to `reason_size`. NULL with size 0 if nobody wants it.
 * @return 0; -EINVAL what is required is missing, or out of range; -EEXIST an instance with this id is registered here;
 *         -E2BIG a field that this library does not know; -ENOMEM; -ECHILD after fork. Thread: any; does not block.
 */
static inline int weft_registry_register(weft_registry *registry, const weft_instance *instance,
                                         weft_registration **out, char *reason, size_t reason_size)
{
    return registry->vtable->add(registry, instance, out, reason, reason_size);
}

/**
 * What the TTL checks report from now on; it is told at once. HEALTHY until this is called; UNKNOWN warns.
 *
 * @param note optional; for people; copied.
 * @return 0; -EINVAL DRAINING, which is weft_registration_drain's; -ENOENT the instance has no TTL check; -ENOMEM.
 * Thread: any; does not block.
 */
static inline int weft_registration_set_health(weft_registry *registry, weft_registration *registration,
                                               weft_instance_health health, const char *note)
{
    return registry->vtable->set_health(registry, registration, health, note);
}

/**
 * Has the directory say that the instance gets no new calls, or that it gets them again. Its state tells when.
 *
 * @param note optional; for people; copied. @return 0; -ENOMEM. Thread: any; does not block.
 */
static inline int weft_registration_drain(weft_registry *registry, weft_registration *registration, bool draining,
                                          const char *note)
{
    return registry->vtable->drain(registry, registration, draining, note);
}

/* The state now. Thread: any. */
static inline weft_registration_state weft_registration_now(weft_registry *registry, weft_registration *registration)
{
    return registry->vtable->state(registry, registration);
}

/* What has happened so far. @return 0; -EINVAL out's struct_size is 0. Thread: any. */
static inline int weft_registration_count(weft_registry *registry, weft_registration *registration,
                                          weft_registration_counters *out)
{
    return registry->vtable->counters(registry, registration, out);
}

/**
 * Takes an instance out of the directory, and frees the registration, whatever it returns but -EINVAL, -EDEADLK and
 * -ECHILD.
 *
 * @param timeout_ms until the directory has answered; 0: 5,000.
 * @return 0, also when the directory did not have it; -EACCES the directory refuses; -ETIMEDOUT it could not be
 *         reached in time; -EINVAL a negative timeout; -EDEADLK on a thread that must not block; -ECHILD after fork.
 *         NULL is fine. Thread: any; blocks.
 */
static inline int weft_registry_deregister(weft_registry *registry, weft_registration *registration, int64_t timeout_ms)
{
    return registration == NULL ? 0 : registry->vtable->remove(registry, registration, timeout_ms);
}

WEFT_END_DECLS
#endif
