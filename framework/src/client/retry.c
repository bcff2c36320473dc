/* Design notes
 *
 * An attempt that has ended is asked these, in this order; the first answer counts:
 *
 *     OK?                                        throttle up;   end
 *     cancelled by the caller?                                  end
 *     not seen by the server, first time?                       at once, free of count and throttle
 *     a code that is not tried again?                           end     (with pushback "stop": throttle down)
 *     else                                       throttle down
 *     throttle at half or below, committed, pushback "stop", no attempts left?   end
 *     pushback                                                  after so long; the backoff begins anew
 *     else                                                      after the backoff
 *
 * "At once" needs an uncommitted call, too, and every wait must be over before the deadline.
 */
#include "client/retry.h"

#define NS_PER_MS INT64_C(1000000)

/* ---- Throttle ---------------------------------------------------------------------------------------------------- */

void weft__throttle_init(weft__throttle *throttle, int32_t max, int32_t ratio)
{
    atomic_init(&throttle->tokens, max);
    throttle->max = max;
    throttle->ratio = ratio;
}

/* The number stands alone, nothing else is read on the strength of it: relaxed will do. A full bucket stays as it is
 * under success, and is only read, so that calls which all go well share no cache line that is written. */
static void add(weft__throttle *throttle, int32_t change)
{
    int32_t old = atomic_load_explicit(&throttle->tokens, memory_order_relaxed);
    int32_t sum;
    do {
        sum = old + change;
        sum = sum < 0 ? 0 : sum > throttle->max ? throttle->max : sum;
        if (sum == old)
            return;
    } while (!atomic_compare_exchange_weak_explicit(&throttle->tokens, &old, sum, memory_order_relaxed,
                                                    memory_order_relaxed));
}

void weft__throttle_success(weft__throttle *throttle)
{
    add(throttle, throttle->ratio);
}

void weft__throttle_failure(weft__throttle *throttle)
{
    add(throttle, -1000);
}

bool weft__throttle_allows(weft__throttle *throttle)
{
    return throttle->max == 0 || atomic_load_explicit(&throttle->tokens, memory_order_relaxed) > throttle->max / 2;
}

/* ---- Waiting ----------------------------------------------------------------------------------------------------- */

int64_t weft__retry_backoff_ns(const weft__retry_policy *policy, int n, weft__random *random)
{
    double limit = (double)policy->initial_backoff_ns;
    for (int i = 1; i < n; i++)
        limit *= policy->backoff_multiplier;
    int64_t most = policy->max_backoff_ns;
    if (limit < (double)most)
        most = (int64_t)limit;
    return (int64_t)weft__random_below(random, (uint64_t)most + 1);
}

/* A decimal number from 0 to INT32_MAX without zeros in front; -1 when it is none. */
static int64_t parse_ms(weft_sv text)
{
    int64_t value = 0;
    if (text.len == 0 || text.len > 10 || (text.data[0] == '0' && text.len > 1))
        return -1;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return -1;
        value = value * 10 + (text.data[i] - '0');
    }
    return value <= INT32_MAX ? value : -1;
}

int64_t weft__retry_pushback_ms(const weft_metadata *trailers)
{
    int64_t found = WEFT__PUSHBACK_NONE;
    for (size_t i = 0; i < trailers->count; i++) {
        if (!weft_sv_is(trailers->items[i].key, "grpc-retry-pushback-ms"))
            continue;
        int64_t ms = found == WEFT__PUSHBACK_NONE ? parse_ms(trailers->items[i].value) : -1;
        found = ms >= 0 ? ms : WEFT__PUSHBACK_STOP;
    }
    return found;
}

/* ---- Judging ----------------------------------------------------------------------------------------------------- */

/* Whether an attempt that the server has not seen goes out again, free of everything. */
static bool goes_again_free(weft__retry_state *state, const weft__retry_outcome *outcome)
{
    if (outcome->seen != WEFT__SEEN_NO || state->transparent || outcome->committed || outcome->left_ns <= 0)
        return false;
    state->transparent = true;
    state->attempts--; /* of this one; the next is counted when it goes out */
    return true;
}

/* Tells the throttle of a failure, if it is one of those that count. @return whether the policy tries it again. */
static bool count_failure(weft__throttle *throttle, const weft__retry_outcome *outcome, uint32_t codes)
{
    bool again = outcome->timed_out || weft__codes_have(codes, outcome->code);
    if (again || outcome->pushback_ms == WEFT__PUSHBACK_STOP)
        weft__throttle_failure(throttle);
    return again;
}

weft__retry_verdict weft__retry_judge(weft__retry_state *state, const weft__retry_policy *policy,
                                      weft__throttle *throttle, const weft__retry_outcome *outcome,
                                      weft__random *random, int64_t *wait_ns)
{
    int64_t wait;
    if (outcome->code == WEFT_OK && !outcome->timed_out) {
        weft__throttle_success(throttle);
        return WEFT__RETRY_END;
    }
    if (outcome->cancelled)
        return WEFT__RETRY_END;
    if (goes_again_free(state, outcome)) {
        *wait_ns = 0;
        return WEFT__RETRY_NEXT;
    }
    if (!count_failure(throttle, outcome, policy != NULL ? policy->codes : 0) || policy == NULL)
        return WEFT__RETRY_END;
    if (!weft__throttle_allows(throttle) || outcome->committed || outcome->pushback_ms == WEFT__PUSHBACK_STOP ||
        state->attempts >= policy->max_attempts)
        return WEFT__RETRY_END;
    if (outcome->pushback_ms >= 0) {
        state->backoffs = 0;
        wait = outcome->pushback_ms * NS_PER_MS;
    } else {
        state->backoffs++;
        wait = weft__retry_backoff_ns(policy, state->backoffs, random);
    }
    if (wait >= outcome->left_ns)
        return WEFT__RETRY_END;
    *wait_ns = wait;
    return WEFT__RETRY_NEXT;
}

bool weft__hedge_due(weft__retry_state *state, const weft__hedging_policy *policy, weft__throttle *throttle)
{
    if (state->attempts >= policy->max_attempts || !weft__throttle_allows(throttle))
        state->stopped = true;
    return !state->stopped;
}

weft__retry_verdict weft__hedge_judge(weft__retry_state *state, const weft__hedging_policy *policy,
                                      weft__throttle *throttle, const weft__retry_outcome *outcome, int64_t *wait_ns)
{
    if (outcome->code == WEFT_OK) {
        weft__throttle_success(throttle);
        return WEFT__RETRY_END;
    }
    if (outcome->cancelled)
        return WEFT__RETRY_END;
    if (!state->stopped && goes_again_free(state, outcome)) {
        *wait_ns = 0;
        return WEFT__RETRY_NEXT;
    }
    if (!count_failure(throttle, outcome, policy->codes) || outcome->committed)
        return WEFT__RETRY_END;
    if (outcome->pushback_ms == WEFT__PUSHBACK_STOP)
        state->stopped = true;
    if (!weft__hedge_due(state, policy, throttle))
        return WEFT__RETRY_WAIT;
    int64_t wait = outcome->pushback_ms > 0 ? outcome->pushback_ms * NS_PER_MS : 0;
    if (wait >= outcome->left_ns) {
        state->stopped = true;
        return WEFT__RETRY_WAIT;
    }
    *wait_ns = wait;
    return WEFT__RETRY_NEXT;
}
