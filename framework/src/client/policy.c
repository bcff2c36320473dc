#include "client/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "pick/pick.h"

enum {
    MAX_ERROR_BYTES = 4096
};

/* ---- one --------------------------------------------------------------------------------------------------------- */

static void log_mistakes(weft_log *log, int rc, weft__buf *lines)
{
    char *rest = NULL;
    if (rc == -EFBIG)
        weft_log_error(log, "the service config is too long",
                       WEFT_FIELDS(WEFT_INT("limit", WEFT__SERVICE_CONFIG_MAX_BYTES)));
    if (rc != -EINVAL || lines->len == 0)
        return;
    for (char *line = strtok_r(lines->data, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
        weft_log_error(log, "a mistake in the service config", WEFT_FIELDS(WEFT_STR("at", line)));
}

int weft__policy_new(weft__policy **out, const char *text, weft_log *log)
{
    weft__buf errors;
    weft__policy *policy = calloc(1, sizeof *policy);
    if (policy == NULL)
        return -ENOMEM;
    weft__buf_init(&errors, MAX_ERROR_BYTES);
    policy->text = strdup(text);
    int rc = policy->text != NULL ? weft__service_config_new(&policy->config, weft_sv_from(text), &errors) : -ENOMEM;
    if (rc < 0)
        log_mistakes(log, rc, &errors);
    weft__buf_fini(&errors);
    if (rc < 0) {
        free(policy->text);
        free(policy);
        return rc;
    }
    atomic_init(&policy->refs, 1);
    weft__throttle_init(&policy->throttle, policy->config->max_tokens, policy->config->token_ratio);
    *out = policy;
    return 0;
}

static void ref(weft__policy *policy)
{
    atomic_fetch_add_explicit(&policy->refs, 1, memory_order_relaxed);
}

void weft__policy_unref(weft__policy *policy)
{
    if (policy == NULL || atomic_fetch_sub_explicit(&policy->refs, 1, memory_order_acq_rel) != 1)
        return;
    weft__service_config_free(policy->config);
    free(policy->text);
    free(policy);
}

/* ---- its picker ------------------------------------------------------------------------------------------------- */

int weft__policy_picker(const weft__policy *policy, weft_picker **out)
{
    const weft__lb_config *lb = &policy->config->lb;
    weft_p2c_options p2c = WEFT_P2C_OPTIONS_INIT;
    weft_ring_hash_options ring = WEFT_RING_HASH_OPTIONS_INIT;
    switch (lb->policy) {
    case WEFT__LB_UNSET:
        break;
    case WEFT__LB_PICK_FIRST:
        return lb->shuffle ? weft__pick_first_shuffled_new(out) : weft_pick_first_new(out);
    case WEFT__LB_RANDOM:
        return weft_random_new(out);
    case WEFT__LB_ROUND_ROBIN:
        return weft_round_robin_new(out);
    case WEFT__LB_WEIGHTED_ROUND_ROBIN:
        return weft_weighted_round_robin_new(out);
    case WEFT__LB_LEAST_REQUEST:
        return weft_least_request_new(out, lb->choices);
    case WEFT__LB_P2C:
        p2c.decay_ms = lb->decay_ms;
        return weft_p2c_new(out, &p2c);
    case WEFT__LB_RING_HASH:
        ring.metadata_key = lb->metadata_key;
        ring.points = lb->points;
        ring.max_load_percent = lb->max_load_percent;
        return weft_ring_hash_new(out, &ring);
    }
    return 0;
}

/* ---- the one that counts ----------------------------------------------------------------------------------------- */

static void release(weft__epoch_item *item)
{
    weft__policy_unref(WEFT__CONTAINER_OF(item, weft__policy, retired));
}

void weft__policies_init(weft__policies *policies, weft__policy *own, weft_log *log)
{
    weft__epoch_init(&policies->epoch);
    policies->own = own;
    policies->log = log;
    if (own != NULL)
        ref(own);
    atomic_init(&policies->current, own);
}

void weft__policies_fini(weft__policies *policies)
{
    weft__policy_unref(atomic_load(&policies->current));
    weft__epoch_fini(&policies->epoch);
    weft__policy_unref(policies->own);
}

void weft__policies_update(weft__policies *policies, const char *text)
{
    weft__policy *now = atomic_load(&policies->current);
    weft__policy *next = NULL;
    if (text == NULL && policies->own != NULL)
        text = policies->own->text;
    if (now != NULL && text != NULL ? strcmp(text, now->text) == 0 : text == NULL && now == NULL)
        return;
    if (text != NULL && weft__policy_new(&next, text, policies->log) < 0)
        return;
    atomic_store(&policies->current, next);
    if (now != NULL)
        weft__epoch_retire(&policies->epoch, &now->retired, release);
}

bool weft__policies_find(weft__policies *policies, const char *path, weft__method_config *out, weft__policy **held)
{
    const weft__method_config *found = NULL;
    *held = NULL;
    if (atomic_load_explicit(&policies->current, memory_order_relaxed) == NULL)
        return false;
    weft__epoch_slot *slot = weft__epoch_enter();
    weft__policy *policy = atomic_load(&policies->current);
    if (policy != NULL)
        found = weft__service_config_find(policy->config, weft_sv_from(path));
    if (found != NULL) {
        *out = *found;
        if (found->retry != NULL || found->hedging != NULL) {
            ref(policy);
            *held = policy;
        }
    }
    weft__epoch_leave(slot);
    return found != NULL;
}
