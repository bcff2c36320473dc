/* client/retry.h */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/retry.h"

#define MS      INT64_C(1000000)
#define BIT(c)  (UINT32_C(1) << (c))
#define THREADS 4
#define ROUNDS  20000

static const weft__retry_policy policy = {.max_attempts = 3,
                                          .initial_backoff_ns = 100 * MS,
                                          .max_backoff_ns = 300 * MS,
                                          .backoff_multiplier = 2,
                                          .codes = BIT(WEFT_UNAVAILABLE) | BIT(WEFT_ABORTED),
                                          .attempt_timeout_ns = INT64_MAX};
static const weft__hedging_policy hedging = {.max_attempts = 3, .delay_ns = 10 * MS, .codes = BIT(WEFT_UNAVAILABLE)};

static weft__throttle throttle;
static weft__retry_state retry;
static weft__retry_outcome outcome;
static int64_t wait_ns;
static uint64_t draw; /* what the random source gives */

static uint64_t next_draw(weft__random *self)
{
    (void)self;
    return draw;
}

static weft__random source = {.next = next_draw};

static int setup(void **state)
{
    (void)state;
    weft__throttle_init(&throttle, 10000, 100);
    retry = (weft__retry_state){0};
    weft__retry_start(&retry);
    outcome = (weft__retry_outcome){.code = WEFT_UNAVAILABLE, .pushback_ms = WEFT__PUSHBACK_NONE, .left_ns = INT64_MAX};
    wait_ns = -1;
    draw = 0;
    return 0;
}

static weft__retry_verdict judge(void)
{
    return weft__retry_judge(&retry, &policy, &throttle, &outcome, &source, &wait_ns);
}

static weft__retry_verdict judge_hedge(void)
{
    return weft__hedge_judge(&retry, &hedging, &throttle, &outcome, &wait_ns);
}

static int tokens(void)
{
    return throttle.tokens;
}

/* ---- Throttle ---------------------------------------------------------------------------------------------------- */

static void tokens_stay_between_none_and_all(void **state)
{
    (void)state;
    weft__throttle_success(&throttle);
    assert_int_equal(tokens(), 10000);
    for (int i = 0; i < 12; i++)
        weft__throttle_failure(&throttle);
    assert_int_equal(tokens(), 0);
    weft__throttle_success(&throttle);
    assert_int_equal(tokens(), 100);
    weft__throttle_failure(&throttle);
    assert_int_equal(tokens(), 0);
}

static void at_half_of_the_tokens_nothing_is_retried_and_a_little_above_it_is(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        weft__throttle_failure(&throttle);
    assert_true(weft__throttle_allows(&throttle));
    weft__throttle_failure(&throttle);
    assert_false(weft__throttle_allows(&throttle));
    weft__throttle_success(&throttle);
    assert_true(weft__throttle_allows(&throttle));
}

static void half_of_an_odd_number_is_not_rounded_up(void **state)
{
    (void)state;
    weft__throttle_init(&throttle, 2001, 1);
    weft__throttle_failure(&throttle); /* 1001 of 2001 is more than half */
    assert_true(weft__throttle_allows(&throttle));
    weft__throttle_init(&throttle, 1999, 1);
    weft__throttle_failure(&throttle); /* 999 of 1999 is not */
    assert_false(weft__throttle_allows(&throttle));
}

static void no_throttle_never_throttles(void **state)
{
    (void)state;
    weft__throttle_init(&throttle, 0, 0);
    for (int i = 0; i < 100; i++)
        weft__throttle_failure(&throttle);
    assert_true(weft__throttle_allows(&throttle));
    weft__throttle_success(&throttle);
    assert_int_equal(tokens(), 0);
}

/* As many of each kind as leaves the bucket as it was, if none gets lost. */
static void *use_throttle(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        weft__throttle_failure(arg);
        (void)weft__throttle_allows(arg);
        weft__throttle_success(arg);
    }
    return NULL;
}

static void threads_lose_no_tokens(void **state)
{
    (void)state;
    static weft__throttle shared;
    pthread_t threads[THREADS];
    weft__throttle_init(&shared, 1000000, 1000);
    for (int i = 0; i < 100; i++)
        weft__throttle_failure(&shared); /* neither end is in reach */
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_throttle, &shared), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(shared.tokens, 900000);
}

/* ---- Waiting ----------------------------------------------------------------------------------------------------- */

static void the_backoff_grows_up_to_its_maximum(void **state)
{
    (void)state;
    static const int64_t most_ms[] = {100, 200, 300, 300, 300};
    weft__random_seeded seeded;
    weft__random *random = weft__random_seed(&seeded, 1);
    for (int n = 1; n <= 5; n++) {
        int64_t longest = 0;
        int64_t shortest = INT64_MAX;
        for (int i = 0; i < 1000; i++) {
            int64_t wait = weft__retry_backoff_ns(&policy, n, random);
            assert_true(wait >= 0 && wait <= most_ms[n - 1] * MS);
            longest = wait > longest ? wait : longest;
            shortest = wait < shortest ? wait : shortest;
        }
        assert_true(longest > most_ms[n - 1] * MS * 9 / 10);
        assert_true(shortest < most_ms[n - 1] * MS / 10);
    }
    draw = (uint64_t)(100 * MS);
    assert_int_equal(weft__retry_backoff_ns(&policy, 1, &source), 100 * MS); /* the end belongs to it */
}

static void a_backoff_may_shrink_and_may_be_for_ever(void **state)
{
    (void)state;
    weft__retry_policy odd = policy;
    odd.backoff_multiplier = 0.5;
    draw = (uint64_t)(25 * MS);
    assert_int_equal(weft__retry_backoff_ns(&odd, 3, &source), 25 * MS);
    odd.backoff_multiplier = 1e6;
    odd.initial_backoff_ns = INT64_MAX;
    odd.max_backoff_ns = INT64_MAX;
    draw = INT64_MAX;
    assert_true(weft__retry_backoff_ns(&odd, 5, &source) == INT64_MAX);
}

static int64_t pushback(const char *value)
{
    weft_metadatum items[] = {{weft_sv_from("a"), weft_sv_from("1")},
                              {weft_sv_from("grpc-retry-pushback-ms"), weft_sv_from(value)}};
    weft_metadata trailers = {items, 2};
    return weft__retry_pushback_ms(&trailers);
}

static void pushback_is_a_number_or_stops(void **state)
{
    (void)state;
    static const char *const garbage[] = {"",   "-1", "-0", "+1", "007",        "1.5",
                                          " 1", "1 ", "x1", "1s", "2147483648", "99999999999999999999"};
    assert_int_equal(pushback("0"), 0);
    assert_int_equal(pushback("250"), 250);
    assert_int_equal(pushback("2147483647"), INT32_MAX);
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++)
        assert_int_equal(pushback(garbage[i]), WEFT__PUSHBACK_STOP);
}

static void pushback_that_is_there_twice_stops_and_none_is_none(void **state)
{
    (void)state;
    weft_metadatum one = {weft_sv_from("grpc-retry-pushback-ms"), weft_sv_from("1")};
    weft_metadatum items[] = {one, one, one};
    weft_metadata trailers = {items, 2};
    assert_int_equal(weft__retry_pushback_ms(&trailers), WEFT__PUSHBACK_STOP);
    trailers.count = 3;
    assert_int_equal(weft__retry_pushback_ms(&trailers), WEFT__PUSHBACK_STOP);
    trailers.count = 0;
    assert_int_equal(weft__retry_pushback_ms(&trailers), WEFT__PUSHBACK_NONE);
}

/* ---- Retries ----------------------------------------------------------------------------------------------------- */

static void a_success_ends_the_call_and_fills_the_bucket(void **state)
{
    (void)state;
    weft__throttle_failure(&throttle);
    outcome.code = WEFT_OK;
    assert_int_equal(judge(), WEFT__RETRY_END);
    assert_int_equal(tokens(), 9100);
}

static void a_code_of_the_policy_is_retried_after_the_backoff(void **state)
{
    (void)state;
    draw = (uint64_t)(70 * MS);
    assert_int_equal(judge(), WEFT__RETRY_NEXT);
    assert_int_equal(wait_ns, 70 * MS);
    assert_int_equal(tokens(), 9000);
    weft__retry_start(&retry);
    draw = (uint64_t)(170 * MS);
    assert_int_equal(judge(), WEFT__RETRY_NEXT);
    assert_int_equal(wait_ns, 170 * MS);
}

static void any_other_code_is_not_retried_and_does_not_throttle(void **state)
{
    (void)state;
    outcome.code = WEFT_INVALID_ARGUMENT;
    assert_int_equal(judge(), WEFT__RETRY_END);
    assert_int_equal(tokens(), 10000);
}

static void the_last_attempt_is_the_last(void **state)
{
    (void)state;
    weft__retry_start(&retry);
    weft__retry_start(&retry);
    assert_int_equal(judge(), WEFT__RETRY_END);
    assert_int_equal(tokens(), 9000);
    assert_int_equal(wait_ns, -1);
}

static void an_empty_bucket_stops_retries(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        weft__throttle_failure(&throttle);
    assert_int_equal(judge(), WEFT__RETRY_END); /* its own failure is the one too many */
    assert_int_equal(tokens(), 5000);
}

static void a_committed_call_is_not_retried_and_its_failure_counts(void **state)
{
    (void)state;
    outcome.committed = true;
    assert_int_equal(judge(), WEFT__RETRY_END);
    assert_int_equal(tokens(), 9000);
    outcome.seen = WEFT__SEEN_NO;
    assert_int_equal(judge(), WEFT__RETRY_END);
}

static void a_call_that_its_caller_has_cancelled_is_never_retried(void **state)
{
    (void)state;
    outcome.cancelled = true;
    outcome.seen = WEFT__SEEN_NO;
    assert_int_equal(judge(), WEFT__RETRY_END);
    assert_int_equal(judge_hedge(), WEFT__RETRY_END);
    assert_int_equal(tokens(), 10000);
}

static void what_the_server_has_not_seen_goes_again_once_at_once_and_free(void **state)
{
    (void)state;
    outcome.seen = WEFT__SEEN_NO;
    draw = (uint64_t)(70 * MS);
    assert_int_equal(judge(), WEFT__RETRY_NEXT);
    assert_int_equal(wait_ns, 0);
    assert_int_equal(tokens(), 10000);
    weft__retry_start(&retry);
    assert_int_equal(retry.attempts, 1);
    assert_int_equal(judge(), WEFT__RETRY_NEXT); /* now by the policy */
    assert_int_equal(wait_ns, 70 * MS);
    assert_int_equal(tokens(), 9000);
}

static void the_free_retry_needs_neither_policy_nor_tokens_nor_attempts(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        weft__throttle_failure(&throttle);
    retry.attempts = 3;
    outcome.seen = WEFT__SEEN_NO;
    outcome.code = WEFT_INTERNAL;
    assert_int_equal(weft__retry_judge(&retry, NULL, &throttle, &outcome, &source, &wait_ns), WEFT__RETRY_NEXT);
    assert_int_equal(wait_ns, 0);
    weft__retry_start(&retry);
    assert_int_equal(weft__retry_judge(&retry, NULL, &throttle, &outcome, &source, &wait_ns), WEFT__RETRY_END);
}

static void a_call_whose_time_is_over_goes_nowhere(void **state)
{
    (void)state;
    outcome.left_ns = 0;
    outcome.seen = WEFT__SEEN_NO;
    assert_int_equal(judge(), WEFT__RETRY_END);
}

static void a_wait_past_the_deadline_is_not_begun(void **state)
{
    (void)state;
    draw = (uint64_t)(50 * MS);
    outcome.left_ns = 50 * MS;
    assert_int_equal(judge(), WEFT__RETRY_END);
    outcome.left_ns = 51 * MS;
    assert_int_equal(judge(), WEFT__RETRY_NEXT);
    outcome.pushback_ms = 51;
    assert_int_equal(judge(), WEFT__RETRY_END);
}

static void pushback_sets_the_wait_and_begins_the_backoff_anew(void **state)
{
    (void)state;
    draw = (uint64_t)(100 * MS);
    assert_int_equal(judge(), WEFT__RETRY_NEXT);
    outcome.pushback_ms = 1234;
    assert_int_equal(judge(), WEFT__RETRY_NEXT);
    assert_int_equal(wait_ns, 1234 * MS);
    outcome.pushback_ms = 0;
    assert_int_equal(judge(), WEFT__RETRY_NEXT);
    assert_int_equal(wait_ns, 0);
    outcome.pushback_ms = WEFT__PUSHBACK_NONE;
    draw = (uint64_t)(101 * MS); /* one more than the first backoff may be */
    assert_int_equal(judge(), WEFT__RETRY_NEXT);
    assert_true(wait_ns <= 100 * MS);
}

static void pushback_does_not_make_other_codes_or_further_attempts_good(void **state)
{
    (void)state;
    outcome.pushback_ms = 1;
    outcome.code = WEFT_NOT_FOUND;
    assert_int_equal(judge(), WEFT__RETRY_END);
    outcome.code = WEFT_UNAVAILABLE;
    retry.attempts = 3;
    assert_int_equal(judge(), WEFT__RETRY_END);
}

static void pushback_that_stops_throttles_whatever_the_code(void **state)
{
    (void)state;
    outcome.pushback_ms = WEFT__PUSHBACK_STOP;
    assert_int_equal(judge(), WEFT__RETRY_END);
    outcome.code = WEFT_NOT_FOUND;
    assert_int_equal(judge(), WEFT__RETRY_END);
    assert_int_equal(weft__retry_judge(&retry, NULL, &throttle, &outcome, &source, &wait_ns), WEFT__RETRY_END);
    assert_int_equal(tokens(), 7000);
}

static void an_attempt_that_took_too_long_is_retried_whatever_its_code(void **state)
{
    (void)state;
    outcome.timed_out = true;
    outcome.code = WEFT_CANCELLED;
    assert_int_equal(judge(), WEFT__RETRY_NEXT);
    assert_int_equal(tokens(), 9000);
}

/* ---- Hedging ----------------------------------------------------------------------------------------------------- */

static void hedges_go_out_until_there_are_enough(void **state)
{
    (void)state;
    assert_true(weft__hedge_due(&retry, &hedging, &throttle));
    weft__retry_start(&retry);
    assert_true(weft__hedge_due(&retry, &hedging, &throttle));
    weft__retry_start(&retry);
    assert_false(weft__hedge_due(&retry, &hedging, &throttle));
}

static void hedges_that_the_throttle_has_stopped_do_not_come_back(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        weft__throttle_failure(&throttle);
    assert_false(weft__hedge_due(&retry, &hedging, &throttle));
    weft__throttle_init(&throttle, 10000, 100);
    assert_false(weft__hedge_due(&retry, &hedging, &throttle));
}

static void the_first_answer_ends_a_hedged_call(void **state)
{
    (void)state;
    outcome.code = WEFT_OK;
    assert_int_equal(judge_hedge(), WEFT__RETRY_END);
    outcome.code = WEFT_NOT_FOUND; /* fatal */
    assert_int_equal(judge_hedge(), WEFT__RETRY_END);
    assert_int_equal(tokens(), 10000);
}

static void a_failure_that_is_not_fatal_brings_the_next_hedge_forward(void **state)
{
    (void)state;
    assert_int_equal(judge_hedge(), WEFT__RETRY_NEXT);
    assert_int_equal(wait_ns, 0);
    assert_int_equal(tokens(), 9000);
    weft__retry_start(&retry);
    outcome.pushback_ms = 40;
    assert_int_equal(judge_hedge(), WEFT__RETRY_NEXT);
    assert_int_equal(wait_ns, 40 * MS);
    weft__retry_start(&retry);
    assert_int_equal(judge_hedge(), WEFT__RETRY_WAIT);
}

static void pushback_that_stops_leaves_the_running_hedges_alone(void **state)
{
    (void)state;
    outcome.pushback_ms = WEFT__PUSHBACK_STOP;
    assert_int_equal(judge_hedge(), WEFT__RETRY_WAIT);
    outcome.pushback_ms = WEFT__PUSHBACK_NONE;
    assert_int_equal(judge_hedge(), WEFT__RETRY_WAIT);
    outcome.seen = WEFT__SEEN_NO;
    assert_int_equal(judge_hedge(), WEFT__RETRY_WAIT);
    assert_false(weft__hedge_due(&retry, &hedging, &throttle));
}

static void a_hedge_that_the_server_has_not_seen_goes_again_once_and_free(void **state)
{
    (void)state;
    outcome.seen = WEFT__SEEN_NO;
    outcome.code = WEFT_INTERNAL;
    assert_int_equal(judge_hedge(), WEFT__RETRY_NEXT);
    assert_int_equal(wait_ns, 0);
    assert_int_equal(retry.attempts, 0);
    weft__retry_start(&retry);
    assert_int_equal(judge_hedge(), WEFT__RETRY_END);
}

static void a_hedge_is_not_waited_for_past_the_deadline(void **state)
{
    (void)state;
    outcome.pushback_ms = 40;
    outcome.left_ns = 40 * MS;
    assert_int_equal(judge_hedge(), WEFT__RETRY_WAIT);
    assert_true(retry.stopped); /* and so does the delay start none */
}

static void a_hedge_whose_answer_has_begun_is_the_answer(void **state)
{
    (void)state;
    outcome.committed = true;
    assert_int_equal(judge_hedge(), WEFT__RETRY_END);
}

/* ---- Gates ------------------------------------------------------------------------------------------------------- */

static void a_gate_lets_so_many_in_and_no_more(void **state)
{
    (void)state;
    weft__gate gate;
    weft__gate_init(&gate, 2);
    assert_true(weft__gate_enter(&gate));
    assert_true(weft__gate_enter(&gate));
    assert_false(weft__gate_enter(&gate));
    weft__gate_leave(&gate);
    assert_true(weft__gate_enter(&gate));
    weft__gate_init(&gate, INT64_MAX);
    assert_true(weft__gate_enter(&gate));
    weft__gate_init(&gate, 0);
    assert_false(weft__gate_enter(&gate));
}

struct crowd {
    weft__gate gate;
    _Atomic int most;
    _Atomic int inside;
};

static void *go_in_and_out(void *arg)
{
    struct crowd *crowd = arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (!weft__gate_enter(&crowd->gate))
            continue;
        int now = atomic_fetch_add(&crowd->inside, 1) + 1;
        int most = atomic_load(&crowd->most);
        while (now > most && !atomic_compare_exchange_weak(&crowd->most, &most, now))
            continue;
        atomic_fetch_sub(&crowd->inside, 1);
        weft__gate_leave(&crowd->gate);
    }
    return NULL;
}

static void threads_never_crowd_a_gate_and_leave_it_empty(void **state)
{
    (void)state;
    static struct crowd crowd;
    pthread_t threads[THREADS];
    weft__gate_init(&crowd.gate, 2);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, go_in_and_out, &crowd), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_in_range(crowd.most, 1, 2);
    assert_int_equal(crowd.gate.inside, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        TEST(tokens_stay_between_none_and_all),
        TEST(at_half_of_the_tokens_nothing_is_retried_and_a_little_above_it_is),
        TEST(half_of_an_odd_number_is_not_rounded_up),
        TEST(no_throttle_never_throttles),
        TEST(threads_lose_no_tokens),
        TEST(the_backoff_grows_up_to_its_maximum),
        TEST(a_backoff_may_shrink_and_may_be_for_ever),
        TEST(pushback_is_a_number_or_stops),
        TEST(pushback_that_is_there_twice_stops_and_none_is_none),
        TEST(a_success_ends_the_call_and_fills_the_bucket),
        TEST(a_code_of_the_policy_is_retried_after_the_backoff),
        TEST(any_other_code_is_not_retried_and_does_not_throttle),
        TEST(the_last_attempt_is_the_last),
        TEST(an_empty_bucket_stops_retries),
        TEST(a_committed_call_is_not_retried_and_its_failure_counts),
        TEST(a_call_that_its_caller_has_cancelled_is_never_retried),
        TEST(what_the_server_has_not_seen_goes_again_once_at_once_and_free),
        TEST(the_free_retry_needs_neither_policy_nor_tokens_nor_attempts),
        TEST(a_call_whose_time_is_over_goes_nowhere),
        TEST(a_wait_past_the_deadline_is_not_begun),
        TEST(pushback_sets_the_wait_and_begins_the_backoff_anew),
        TEST(pushback_does_not_make_other_codes_or_further_attempts_good),
        TEST(pushback_that_stops_throttles_whatever_the_code),
        TEST(an_attempt_that_took_too_long_is_retried_whatever_its_code),
        TEST(hedges_go_out_until_there_are_enough),
        TEST(hedges_that_the_throttle_has_stopped_do_not_come_back),
        TEST(the_first_answer_ends_a_hedged_call),
        TEST(a_failure_that_is_not_fatal_brings_the_next_hedge_forward),
        TEST(pushback_that_stops_leaves_the_running_hedges_alone),
        TEST(a_hedge_that_the_server_has_not_seen_goes_again_once_and_free),
        TEST(a_hedge_is_not_waited_for_past_the_deadline),
        TEST(a_hedge_whose_answer_has_begun_is_the_answer),
        TEST(a_gate_lets_so_many_in_and_no_more),
        TEST(threads_never_crowd_a_gate_and_leave_it_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
