/* client.h: a client of Consul's HTTP API: one thread, many requests. client.c has the design notes. */
#ifndef WEFT_RESOLVE_CONSUL_CLIENT_H
#define WEFT_RESOLVE_CONSUL_CLIENT_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <weft/arena.h>
#include <weft/consul.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/random.h"

struct weft_consul {
    weft_resolver resolver; /* first: the resolver is the client, by another name */
    weft_registry registry;
    weft_consul_options options; /* texts lie in the arena; limits are filled in */
    weft_arena *arena;
    weft__clock *clock;
    weft__random *random;
    uint64_t seed; /* of what limits choose */
    pid_t pid;
    pthread_t thread;
    CURLM *multi;      /* the thread's; but for wake-ups */
    weft__buf token;   /* the thread's: what the token file held last */
    weft__buf scratch; /* the thread's: of a URL that is being made */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a publish or a removal is over */
    bool stopping;
    weft__list services;      /* services.c */
    weft__list registrations; /* registry.c */
    size_t service_count;     /* those that are watched */
    size_t registration_count;
    weft_consul_counters counters;
};

/* One request after the other, each on the thread. All zeros but `max_bytes` to begin with. */
typedef struct weft__consul_request {
    CURL *easy; /* of all its requests */
    struct curl_slist *headers;
    struct curl_slist *connect_to;
    bool running;
    bool done; /* it has an outcome, which the owner has not taken yet */
    bool too_large;
    bool no_memory;
    CURLcode result;
    long status;      /* HTTP's; 0: none came */
    uint64_t index;   /* X-Consul-Index; 0: none, or none that is a number */
    bool filtered;    /* X-Consul-Results-Filtered-By-ACLs: true */
    weft__buf answer; /* its max is the limit */
    char text[160];   /* of a failure, for people */
} weft__consul_request;

/* What to ask. Texts are copied. */
typedef struct weft__consul_ask {
    const char *method;
    const char *authority;     /* "" the options' */
    const char *user_password; /* "" the options' */
    const char *token;         /* "" the options' */
    const char *path;          /* with its query */
    const char *body;          /* NULL: none */
    bool insecure;
    int64_t timeout_ms;
} weft__consul_ask;

/* ---- the thread's ------------------------------------------------------------------------------------------------ */

void weft__consul_request_init(weft__consul_request *request, int64_t max_bytes);

/* Begins one; none is running. @return 0 or -ENOMEM. */
int weft__consul_request_start(weft_consul *consul, weft__consul_request *request, const weft__consul_ask *ask);

/* Whether the outcome is an answer with this status; if not, `text` says what it is. */
bool weft__consul_request_ok(weft__consul_request *request);

/* Gives a running one up. */
void weft__consul_request_cancel(weft_consul *consul, weft__consul_request *request);
void weft__consul_request_fini(weft_consul *consul, weft__consul_request *request);

/* A pause after `failures` failures in a row: random, up to a limit that doubles. */
int64_t weft__consul_backoff_ns(weft_consul *consul, unsigned failures, int64_t max_ms);

/* services.c and registry.c: do what is due, and make `next_ns` no later than what comes next. The lock is held, but
 * given up in between. */
void weft__consul_services_step_locked(weft_consul *consul, int64_t *next_ns);
void weft__consul_registrations_step_locked(weft_consul *consul, int64_t *next_ns);

/* Free what nobody uses any more; the thread has ended. */
void weft__consul_services_fini(weft_consul *consul);

/* Registers everything anew, soon: the agent may have lost it. */
void weft__consul_reassert_locked(weft_consul *consul);

/* ---- any thread's ------------------------------------------------------------------------------------------------ */

extern const weft_resolver_vtable weft__consul_resolver_vtable;
extern const weft_registry_vtable weft__consul_registry_vtable;

int64_t weft__consul_now_ns(const weft_consul *consul);
bool weft__consul_forked(const weft_consul *consul);

/* Has the thread look at what was changed. */
void weft__consul_wake(weft_consul *consul);

#endif
