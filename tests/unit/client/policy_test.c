/* client/policy.h */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/policy.h"
#include "support/alloc_fault.h"

#define OF_ALL(policy) "{\"methodConfig\":[{\"name\":[{}]," policy "}]}"
#define RETRY(attempts)                                                                                                \
    "\"retryPolicy\":{\"maxAttempts\":" #attempts ",\"initialBackoff\":\"1s\",\"maxBackoff\":\"1s\","                  \
    "\"backoffMultiplier\":1,\"retryableStatusCodes\":[\"UNAVAILABLE\"]}"

static const char *const two = OF_ALL(RETRY(2));
static const char *const three = OF_ALL(RETRY(3));
static const char *const timeout = OF_ALL("\"timeout\":\"2s\"");

static weft__policy *make(const char *text)
{
    weft__policy *policy = NULL;
    assert_int_equal(weft__policy_new(&policy, text, NULL), 0);
    return policy;
}

/* How many attempts there may be now; 0: nothing is said. */
static int attempts_now(weft__policies *policies)
{
    weft__method_config config;
    weft__policy *held = NULL;
    int attempts = 0;
    if (weft__policies_find(policies, "/a.B/C", &config, &held) && config.retry != NULL) {
        assert_non_null(held);
        attempts = config.retry->max_attempts;
    } else {
        assert_null(held);
    }
    weft__policy_unref(held);
    return attempts;
}

/* ---- which one counts -------------------------------------------------------------------------------------------- */

static void without_a_config_nothing_is_asked_for(void **state)
{
    weft__policies policies;
    weft__method_config config;
    weft__policy *held = (weft__policy *)&config;
    (void)state;
    weft__policies_init(&policies, NULL, NULL);
    assert_false(weft__policies_find(&policies, "/a.B/C", &config, &held));
    assert_null(held);
    weft__policies_update(&policies, NULL);
    assert_int_equal(attempts_now(&policies), 0);
    weft__policies_fini(&policies);
}

static void the_channels_own_counts_while_the_resolver_has_none(void **state)
{
    weft__policies policies;
    (void)state;
    weft__policies_init(&policies, make(two), NULL);
    assert_int_equal(attempts_now(&policies), 2);
    weft__policies_update(&policies, three);
    assert_int_equal(attempts_now(&policies), 3);
    weft__policies_update(&policies, NULL);
    assert_int_equal(attempts_now(&policies), 2);
    weft__policies_fini(&policies);
}

static void what_the_resolver_takes_back_leaves_nothing_where_the_channel_has_none(void **state)
{
    weft__policies policies;
    (void)state;
    weft__policies_init(&policies, NULL, NULL);
    weft__policies_update(&policies, three);
    assert_int_equal(attempts_now(&policies), 3);
    weft__policies_update(&policies, NULL);
    assert_int_equal(attempts_now(&policies), 0);
    weft__policies_fini(&policies);
}

static void the_same_text_again_changes_nothing(void **state)
{
    weft__policies policies;
    (void)state;
    weft__policies_init(&policies, make(two), NULL);
    const weft__policy *before = atomic_load(&policies.current);
    weft__policies_update(&policies, NULL);
    weft__policies_update(&policies, two);
    assert_ptr_equal(atomic_load(&policies.current), before); /* with the tokens of its throttle */
    weft__policies_fini(&policies);
}

static void a_wrong_text_changes_nothing(void **state)
{
    weft__policies policies;
    (void)state;
    weft__policies_init(&policies, make(two), NULL);
    weft__policies_update(&policies, "{");
    weft__policies_update(&policies, OF_ALL(RETRY(1)));
    assert_int_equal(attempts_now(&policies), 2);
    weft__policies_update(&policies, three);
    weft__policies_update(&policies, "[]");
    assert_int_equal(attempts_now(&policies), 3);
    weft__policies_fini(&policies);
}

static void without_memory_the_last_one_goes_on(void **state)
{
    weft__policies policies;
    long live = weft_test_alloc_live();
    long n = 1;
    (void)state;
    for (bool struck = true; struck; n++) {
        weft__policies_init(&policies, make(two), NULL);
        weft_test_alloc_fail_at(n);
        weft__policies_update(&policies, three);
        struck = weft_test_alloc_failed();
        weft_test_alloc_fail_at(0);
        assert_int_equal(attempts_now(&policies), struck ? 2 : 3);
        weft__policies_fini(&policies);
        assert_int_equal(weft_test_alloc_live(), live);
    }
    assert_true(n > 4);
}

/* ---- who holds it ------------------------------------------------------------------------------------------------ */

static void only_a_call_that_may_be_made_again_holds_its_policy(void **state)
{
    weft__policies policies;
    weft__method_config config;
    weft__policy *held;
    (void)state;
    weft__policies_init(&policies, make(timeout), NULL);
    assert_true(weft__policies_find(&policies, "/a.B/C", &config, &held));
    assert_int_equal(config.timeout_ns, INT64_C(2000000000));
    assert_null(held);
    weft__policies_fini(&policies);
}

static void a_policy_outlives_its_place_while_a_call_holds_it(void **state)
{
    weft__policies policies;
    weft__method_config config;
    weft__policy *held;
    long live = weft_test_alloc_live();
    (void)state;
    weft__policies_init(&policies, make(three), NULL);
    assert_true(weft__policies_find(&policies, "/a.B/C", &config, &held));
    weft__policies_update(&policies, two);
    weft__policies_update(&policies, timeout);
    weft__policies_fini(&policies);
    assert_int_equal(config.retry->max_attempts, 3);
    weft__policy_unref(held);
    weft__policy_unref(NULL);
    assert_int_equal(weft_test_alloc_live(), live);
}

static void *replace(void *arg)
{
    for (int i = 0; i < 2000; i++)
        weft__policies_update(arg, i % 3 == 0 ? NULL : i % 3 == 1 ? two : timeout);
    return NULL;
}

static void calls_look_while_it_is_replaced(void **state)
{
    weft__policies policies;
    pthread_t thread;
    long live = weft_test_alloc_live();
    (void)state;
    weft__policies_init(&policies, make(three), NULL);
    assert_int_equal(pthread_create(&thread, NULL, replace, &policies), 0);
    for (int i = 0; i < 20000; i++) {
        int attempts = attempts_now(&policies);
        assert_true(attempts == 0 || attempts == 2 || attempts == 3);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    weft__policies_fini(&policies);
    assert_true(weft_test_alloc_live() <= live + 1); /* the slot of this thread stays */
}

/* ---- making one -------------------------------------------------------------------------------------------------- */

static void what_is_wrong_or_too_long_makes_none(void **state)
{
    weft__policy *policy = NULL;
    char *huge = malloc(WEFT__SERVICE_CONFIG_MAX_BYTES + 2);
    (void)state;
    assert_non_null(huge);
    memset(huge, ' ', WEFT__SERVICE_CONFIG_MAX_BYTES + 1);
    huge[WEFT__SERVICE_CONFIG_MAX_BYTES + 1] = '\0';
    assert_int_equal(weft__policy_new(&policy, huge, NULL), -EFBIG);
    assert_int_equal(weft__policy_new(&policy, "", NULL), -EINVAL);
    assert_int_equal(weft__policy_new(&policy, OF_ALL("\"timeout\":\"2\""), NULL), -EINVAL);
    assert_null(policy);
    free(huge);
}

static int make_and_drop(void *context)
{
    weft__policy *policy = NULL;
    int rc = weft__policy_new(&policy, context, NULL);
    weft__policy_unref(policy);
    return rc;
}

static void without_memory_there_is_none(void **state)
{
    (void)state;
    assert_true(weft_test_oom_sweep(make_and_drop, (void *)(uintptr_t)three) > 3);
}

static void each_picker_can_be_asked_for(void **state)
{
    static const struct {
        const char *text;
        const char *name;
    } cases[] = {
        {"\"pick_first\":{}", "pick_first"},
        {"\"random\":{}", "random"},
        {"\"round_robin\":{}", "round_robin"},
        {"\"weighted_round_robin\":{}", "weighted_round_robin"},
        {"\"least_request\":{\"choiceCount\":3}", "least_request"},
        {"\"p2c\":{\"decay\":\"5s\"}", "p2c"},
        {"\"ring_hash\":{\"points\":10}", "ring_hash"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        weft_picker *picker = NULL;
        (void)snprintf(text, sizeof text, "{\"loadBalancingConfig\":[{%s}]}", cases[i].text);
        weft__policy *policy = make(text);
        assert_int_equal(weft__policy_picker(policy, &picker), 0);
        assert_non_null(picker);
        assert_string_equal(picker->vtable->name, cases[i].name);
        weft_picker_free(picker);
        weft__policy_unref(policy);
    }
}

static void a_config_that_asks_for_no_picker_leaves_it_alone(void **state)
{
    weft_picker *picker = NULL;
    weft__policy *policy = make(timeout);
    (void)state;
    assert_int_equal(weft__policy_picker(policy, &picker), 0);
    assert_null(picker);
    weft__policy_unref(policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_config_nothing_is_asked_for),
        cmocka_unit_test(the_channels_own_counts_while_the_resolver_has_none),
        cmocka_unit_test(what_the_resolver_takes_back_leaves_nothing_where_the_channel_has_none),
        cmocka_unit_test(the_same_text_again_changes_nothing),
        cmocka_unit_test(a_wrong_text_changes_nothing),
        cmocka_unit_test(without_memory_the_last_one_goes_on),
        cmocka_unit_test(only_a_call_that_may_be_made_again_holds_its_policy),
        cmocka_unit_test(a_policy_outlives_its_place_while_a_call_holds_it),
        cmocka_unit_test(calls_look_while_it_is_replaced),
        cmocka_unit_test(what_is_wrong_or_too_long_makes_none),
        cmocka_unit_test(without_memory_there_is_none),
        cmocka_unit_test(each_picker_can_be_asked_for),
        cmocka_unit_test(a_config_that_asks_for_no_picker_leaves_it_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
