/* client/outlier.h */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/outlier.h"

enum {
    COUNT = 10
};

static const int64_t ns_per_ms = 1000000;

struct fleet {
    weft_outlier_options options;
    weft__outlier outliers[COUNT];
    weft__outlier *all[COUNT];
};

static void init(struct fleet *fleet, const weft_outlier_options *options)
{
    memset(fleet, 0, sizeof *fleet);
    assert_int_equal(weft__outlier_options(&fleet->options, options), 0);
    for (size_t i = 0; i < COUNT; i++)
        fleet->all[i] = &fleet->outliers[i];
}

/* Calls in the present interval. */
static void serve(struct fleet *fleet, size_t i, int good, int bad, int64_t latency_ms)
{
    for (int k = 0; k < good + bad; k++) {
        weft_code code = k % (good + bad) < bad ? WEFT_UNAVAILABLE : WEFT_OK;
        (void)weft__outlier_count(&fleet->outliers[i], &fleet->options, code, latency_ms * ns_per_ms);
    }
}

static size_t ejected(const struct fleet *fleet)
{
    size_t count = 0;
    for (size_t i = 0; i < COUNT; i++)
        count += fleet->outliers[i].ejected;
    return count;
}

static bool judge(struct fleet *fleet, int64_t now_ms)
{
    return weft__outlier_judge(fleet->all, COUNT, &fleet->options, now_ms * ns_per_ms);
}

static void options_have_defaults_and_limits(void **state)
{
    weft_outlier_options out;
    weft_outlier_options options = WEFT_OUTLIER_OPTIONS_INIT;
    (void)state;
    assert_int_equal(weft__outlier_options(&out, NULL), 0);
    assert_int_equal(out.failures_in_row, 5);
    assert_int_equal(out.latency_percent, INT64_MAX);
    options.max_ejected_percent = 101;
    assert_int_equal(weft__outlier_options(&out, &options), -EINVAL);
    options.max_ejected_percent = 0;
    options.latency_percent = 100;
    assert_int_equal(weft__outlier_options(&out, &options), -EINVAL);
    options.latency_percent = -1;
    options.max_ejection_ms = 10;
    assert_int_equal(weft__outlier_options(&out, &options), -EINVAL);
    options.max_ejection_ms = 0;
    options.struct_size = 0;
    assert_int_equal(weft__outlier_options(&out, &options), -EINVAL);
}

static void failures_in_a_row_are_broken_by_a_success(void **state)
{
    struct fleet fleet;
    (void)state;
    init(&fleet, NULL);
    for (int i = 0; i < 4; i++)
        assert_false(weft__outlier_count(&fleet.outliers[0], &fleet.options, WEFT_INTERNAL, 0));
    assert_false(weft__outlier_count(&fleet.outliers[0], &fleet.options, WEFT_NOT_FOUND, 0));
    for (int i = 0; i < 4; i++)
        assert_false(weft__outlier_count(&fleet.outliers[0], &fleet.options, WEFT_INTERNAL, 0));
    assert_true(weft__outlier_count(&fleet.outliers[0], &fleet.options, WEFT_INTERNAL, 0));
}

static void a_low_success_rate_stands_out(void **state)
{
    struct fleet fleet;
    (void)state;
    init(&fleet, NULL);
    for (size_t i = 0; i < COUNT; i++)
        serve(&fleet, i, i == 3 ? 100 : 198, i == 3 ? 100 : 2, 5);
    assert_true(judge(&fleet, 1));
    assert_int_equal(ejected(&fleet), 1);
    assert_true(fleet.outliers[3].ejected);
}

static void equal_rates_do_not_stand_out(void **state)
{
    struct fleet fleet;
    (void)state;
    init(&fleet, NULL);
    for (int bad = 0; bad <= 200; bad += 50) {
        for (size_t i = 0; i < COUNT; i++)
            serve(&fleet, i, 200 - bad, bad, 5);
        assert_false(judge(&fleet, 1));
    }
}

static void few_calls_or_few_instances_prove_nothing(void **state)
{
    struct fleet fleet;
    (void)state;
    init(&fleet, NULL);
    for (size_t i = 0; i < COUNT; i++)
        serve(&fleet, i, i == 3 ? 0 : 99, i == 3 ? 99 : 0, 5);
    assert_false(judge(&fleet, 1));
    for (size_t i = 0; i < 4; i++)
        serve(&fleet, i, i == 3 ? 0 : 200, i == 3 ? 200 : 0, 5);
    assert_false(judge(&fleet, 2));
}

static void a_slow_instance_stands_out_when_it_is_asked_for(void **state)
{
    struct fleet fleet;
    weft_outlier_options options = WEFT_OUTLIER_OPTIONS_INIT;
    (void)state;
    options.latency_percent = 300;
    init(&fleet, &options);
    for (size_t i = 0; i < COUNT; i++)
        serve(&fleet, i, 100, 0, i == 7 ? 16 : 5);
    assert_true(judge(&fleet, 1));
    assert_int_equal(ejected(&fleet), 1);
    assert_true(fleet.outliers[7].ejected);
}

static void the_share_is_limited_but_one_of_two_may_go(void **state)
{
    struct fleet fleet;
    (void)state;
    init(&fleet, NULL);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(weft__outlier_eject(&fleet.outliers[i], &fleet.options, COUNT, i, 0), i < 5);
    memset(fleet.outliers, 0, sizeof fleet.outliers);
    assert_false(weft__outlier_eject(&fleet.outliers[0], &fleet.options, 1, 0, 0));
    assert_true(weft__outlier_eject(&fleet.outliers[0], &fleet.options, 2, 0, 0));
    assert_false(weft__outlier_eject(&fleet.outliers[0], &fleet.options, 2, 0, 0)); /* it is */
}

static void each_time_is_longer_and_good_behaviour_is_remembered(void **state)
{
    struct fleet fleet;
    (void)state;
    init(&fleet, NULL);
    weft__outlier *outlier = &fleet.outliers[0];
    int64_t now_ms = 0;
    for (int times = 1; times <= 12; times++) {
        int64_t wanted_ms = times < 10 ? times * 30000 : 300000;
        assert_true(weft__outlier_eject(outlier, &fleet.options, COUNT, 0, now_ms * ns_per_ms));
        assert_int_equal(outlier->until_ns, (now_ms + wanted_ms) * ns_per_ms);
        now_ms += wanted_ms;
        assert_false(judge(&fleet, now_ms - 1));
        assert_true(judge(&fleet, now_ms));
        assert_false(outlier->ejected);
    }
    for (int i = 0; i < 12; i++)
        assert_false(judge(&fleet, now_ms));
    assert_true(weft__outlier_eject(outlier, &fleet.options, COUNT, 0, 0));
    assert_int_equal(outlier->until_ns, 30000 * ns_per_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_have_defaults_and_limits),
        cmocka_unit_test(failures_in_a_row_are_broken_by_a_success),
        cmocka_unit_test(a_low_success_rate_stands_out),
        cmocka_unit_test(equal_rates_do_not_stand_out),
        cmocka_unit_test(few_calls_or_few_instances_prove_nothing),
        cmocka_unit_test(a_slow_instance_stands_out_when_it_is_asked_for),
        cmocka_unit_test(the_share_is_limited_but_one_of_two_may_go),
        cmocka_unit_test(each_time_is_longer_and_good_behaviour_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
