/* Option structs of other versions, and limits. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/options.h"

struct known {
    size_t struct_size;
    int64_t a;
    int64_t b;
};

static void no_options_leave_the_defaults(void **state)
{
    struct known out = {0, 1, 2};
    (void)state;
    assert_int_equal(weft__options_copy(&out, sizeof out, NULL), 0);
    assert_int_equal(out.a, 1);
}

static void an_older_caller_sets_only_what_it_knows(void **state)
{
    struct {
        size_t struct_size;
        int64_t a;
    } older = {sizeof older, 7};
    struct known out = {0, 0, 0};
    (void)state;
    assert_int_equal(weft__options_copy(&out, sizeof out, &older), 0);
    assert_int_equal(out.a, 7);
    assert_int_equal(out.b, 0);
}

static void a_newer_caller_may_not_ask_for_the_unknown(void **state)
{
    struct {
        struct known known;
        int64_t c;
    } newer = {{sizeof newer, 1, 2}, 0};
    struct known out = {0, 0, 0};
    (void)state;
    assert_int_equal(weft__options_copy(&out, sizeof out, &newer), 0);
    assert_int_equal(out.b, 2);
    newer.c = 1;
    newer.known.a = 9;
    assert_int_equal(weft__options_copy(&out, sizeof out, &newer), -E2BIG);
    assert_int_equal(out.a, 1);
}

static void options_that_were_not_set_up_are_refused(void **state)
{
    struct known zero = {0, 0, 0};
    struct known out = {0, 0, 0};
    (void)state;
    assert_int_equal(weft__options_copy(&out, sizeof out, &zero), -EINVAL);
}

static void a_limit_reads_zero_as_default_and_minus_one_as_none(void **state)
{
    int64_t limit = 0;
    (void)state;
    assert_int_equal(weft__limit(&limit, 10, 1), 0);
    assert_int_equal(limit, 10);
    limit = -1;
    assert_int_equal(weft__limit(&limit, 10, 1), 0);
    assert_true(limit == INT64_MAX);
    limit = -2;
    assert_int_equal(weft__limit(&limit, 10, 1), -EINVAL);
    limit = 4;
    assert_int_equal(weft__limit(&limit, 10, 5), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_options_leave_the_defaults),
        cmocka_unit_test(an_older_caller_sets_only_what_it_knows),
        cmocka_unit_test(a_newer_caller_may_not_ask_for_the_unknown),
        cmocka_unit_test(options_that_were_not_set_up_are_refused),
        cmocka_unit_test(a_limit_reads_zero_as_default_and_minus_one_as_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
