/* client/retry.h: whether a call is tried again, and when. Decides only: sends, waits and cancels nothing.
 *
 * A call has a weft__retry_state, the channel a weft__throttle. Each attempt that ends is judged once:
 *
 *     weft__retry_start(&state);                       // an attempt goes out
 *     …
 *     verdict = weft__retry_judge(&state, …);          // it has ended
 *
 * Source: gRFC A6. What counts as an attempt, and what the throttle sees, is drawn in docs/internals/retries.md.
 */
#ifndef WEFT_CLIENT_RETRY_H
#define WEFT_CLIENT_RETRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <weft/metadata.h>
#include <weft/status.h>

#include "base/random.h"
#include "transport/transport.h"

#define WEFT__MAX_ATTEMPTS 5 /* whatever a policy asks for, as A6 says: who writes service configs may be another */

/* ---- Policies ---------------------------------------------------------------------------------------------------- */

/* Tries again after a failure. */
typedef struct weft__retry_policy {
    int max_attempts; /* 2..WEFT__MAX_ATTEMPTS, the first included */
    int64_t initial_backoff_ns;
    int64_t max_backoff_ns;
    double backoff_multiplier;
    uint32_t codes;             /* that are tried again: bit n for code n */
    int64_t attempt_timeout_ns; /* an attempt without an answer is given up then; INT64_MAX: never */
} weft__retry_policy;

/* Tries again while earlier attempts still run. */
typedef struct weft__hedging_policy {
    int max_attempts; /* 2..WEFT__MAX_ATTEMPTS, the first included */
    int64_t delay_ns; /* between two of them */
    uint32_t codes;   /* that leave the others running: bit n for code n */
} weft__hedging_policy;

static inline bool weft__codes_have(uint32_t codes, weft_code code)
{
    return (unsigned)code < 32 && (codes >> (unsigned)code & 1) != 0;
}

/* ---- Throttle ---------------------------------------------------------------------------------------------------- */

/* A bucket of tokens for all calls of a channel, so that retries do not finish off servers that are failing anyway. In
 * thousandths of a token. Thread: any; no lock. */
typedef struct weft__throttle {
    _Atomic int32_t tokens;
    int32_t max;   /* 0: never throttles */
    int32_t ratio; /* that a success puts in */
} weft__throttle;

/* A full bucket. @param max of at most 1,000,000 thousandths; 0: none. @param ratio above 0, at most 1,000,000. */
void weft__throttle_init(weft__throttle *throttle, int32_t max, int32_t ratio);

void weft__throttle_success(weft__throttle *throttle);
void weft__throttle_failure(weft__throttle *throttle);

/* Whether more than half of the tokens are there: no retry and no hedge without. */
bool weft__throttle_allows(weft__throttle *throttle);

/* ---- Waiting ----------------------------------------------------------------------------------------------------- */

/* How long to wait before the `n`-th retry since the backoff began (1: the first): any time, all equally likely, from 0
 * to initial x multiplier^(n-1), or to the maximum if that is less. */
int64_t weft__retry_backoff_ns(const weft__retry_policy *policy, int n, weft__random *random);

#define WEFT__PUSHBACK_NONE (-1) /* the server says nothing */
#define WEFT__PUSHBACK_STOP (-2) /* it wants no retry */

/* What the server's trailers say of retries in grpc-retry-pushback-ms: milliseconds, WEFT__PUSHBACK_NONE or _STOP. What
 * is negative, not a 32-bit number, or there twice, is taken as _STOP. */
int64_t weft__retry_pushback_ms(const weft_metadata *trailers);

/* ---- Judging ----------------------------------------------------------------------------------------------------- */

/* Of one call. All zeros at first. Thread: one at a time. */
typedef struct weft__retry_state {
    int attempts;     /* that went out, without a transparent retry */
    int backoffs;     /* since the last pushback */
    bool transparent; /* the retry that is free of everything is used up */
    bool stopped;     /* hedging: no more attempts */
} weft__retry_state;

/* An attempt goes out. */
static inline void weft__retry_start(weft__retry_state *state)
{
    state->attempts++;
}

/* How an attempt ended. */
typedef struct weft__retry_outcome {
    weft_code code;
    weft__seen seen;
    bool timed_out;      /* the policy's attempt_timeout_ns is over, not the call's deadline: `code` does not count */
    bool committed;      /* its answer has begun to reach the caller, or the request is not kept any more */
    bool cancelled;      /* by the caller */
    int64_t pushback_ms; /* of weft__retry_pushback_ms */
    int64_t left_ns;     /* until the call's deadline; INT64_MAX: it has none */
} weft__retry_outcome;

typedef enum weft__retry_verdict {
    WEFT__RETRY_END,  /* the call ends as this attempt did; attempts that still run are cancelled */
    WEFT__RETRY_NEXT, /* the next attempt goes out after `wait_ns`: at once for 0 */
    WEFT__RETRY_WAIT  /* hedging only: no more attempts; the call ends with the last one that still runs, if there is
                         one, else as this one did */
} weft__retry_verdict;

/**
 * Whether an attempt that has ended is tried again. Counts it in throttle and state.
 *
 * @param policy   NULL: none; what the server has not seen is tried again anyway, once.
 * @param wait_ns  set for WEFT__RETRY_NEXT. It ends before the deadline: a call is not kept waiting for an attempt that
 *                 cannot be made.
 */
weft__retry_verdict weft__retry_judge(weft__retry_state *state, const weft__retry_policy *policy,
                                      weft__throttle *throttle, const weft__retry_outcome *outcome,
                                      weft__random *random, int64_t *wait_ns);

/* The same for a call that hedges. After WEFT__RETRY_NEXT the policy's delay begins anew with that attempt. */
weft__retry_verdict weft__hedge_judge(weft__retry_state *state, const weft__hedging_policy *policy,
                                      weft__throttle *throttle, const weft__retry_outcome *outcome, int64_t *wait_ns);

/* Whether the delay since the last attempt being over, another one goes out. Once false, it stays so. */
bool weft__hedge_due(weft__retry_state *state, const weft__hedging_policy *policy, weft__throttle *throttle);

/* ---- Gates ------------------------------------------------------------------------------------------------------- */

/* Lets so many in at a time: a circuit breaker has one for the calls that run and one for those that wait, of each
 * endpoint and of the channel. Thread: any; no lock. */
typedef struct weft__gate {
    _Atomic int64_t inside;
    int64_t max; /* INT64_MAX: no limit */
} weft__gate;

static inline void weft__gate_init(weft__gate *gate, int64_t max)
{
    atomic_init(&gate->inside, 0);
    gate->max = max;
}

/* @return false: it is full. Each true is followed by one weft__gate_leave. */
static inline bool weft__gate_enter(weft__gate *gate)
{
    if (gate->max == INT64_MAX || atomic_fetch_add_explicit(&gate->inside, 1, memory_order_relaxed) < gate->max)
        return true;
    atomic_fetch_sub_explicit(&gate->inside, 1, memory_order_relaxed);
    return false;
}

static inline void weft__gate_leave(weft__gate *gate)
{
    if (gate->max != INT64_MAX)
        atomic_fetch_sub_explicit(&gate->inside, 1, memory_order_relaxed);
}

#endif
