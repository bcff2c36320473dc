/* client/policy.h: what a channel's service config asks for now, which a resolver may replace while calls run. */
#ifndef WEFT_CLIENT_POLICY_H
#define WEFT_CLIENT_POLICY_H

#include <stdatomic.h>
#include <stdbool.h>

#include <weft/log.h>
#include <weft/picker.h>
#include <weft/sv.h>

#include "base/epoch.h"
#include "client/retry.h"
#include "client/service_config.h"

/* A service config, and the throttle of the calls that go by it. Counted: a call that may be retried holds it. */
typedef struct weft__policy {
    weft__epoch_item retired;
    atomic_size_t refs;
    char *text;
    weft__service_config *config;
    weft__throttle throttle;
} weft__policy;

typedef struct weft__policies {
    weft__epoch epoch;
    _Atomic(weft__policy *) current; /* NULL: nothing is asked for */
    weft__policy *own;               /* the channel's, which counts while the resolver has none; a reference */
    weft_log *log;
} weft__policies;

/* The picker that it asks for: 0, and `out` is left alone if it asks for none; -EINVAL an option out of range; -ENOMEM.
 */
int weft__policy_picker(const weft__policy *policy, weft_picker **out);

/* Takes what weft__policy_new has made; NULL: the channel has none of its own. */
void weft__policies_init(weft__policies *policies, weft__policy *own, weft_log *log);

/* Nobody looks any more. */
void weft__policies_fini(weft__policies *policies);

/* 0; -EINVAL: every mistake is logged, by its line and column; -EFBIG; -ENOMEM. */
int weft__policy_new(weft__policy **out, const char *text, weft_log *log);
void weft__policy_unref(weft__policy *policy); /* NULL is fine */

/* What the resolver says: a text, or NULL for "as the channel wants it". One that is wrong is logged and changes
 * nothing (gRFC A21). One at a time. */
void weft__policies_update(weft__policies *policies, const char *text);

/* What holds for a method: false: nothing. `held` is the policy that `out` points into, a reference of it, when it asks
 * for retries or hedging; else NULL. Thread: any; no lock. */
bool weft__policies_find(weft__policies *policies, const char *path, weft__method_config *out, weft__policy **held);

#endif
