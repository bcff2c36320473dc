/* base/thread.h */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include <cmocka.h>

#include "base/thread.h"
#include "support/alloc_fault.h"

/* What a thread saw of itself. */
struct self {
    sigset_t blocked;
    char name[16];
    bool loop_before, loop_after;
};

static void *look_at_self(void *arg)
{
    struct self *self = arg;
    volatile char deep[100 * 1024]; /* more than the least stack, less than what is asked for */

    for (size_t i = 0; i < sizeof deep; i += 1024)
        deep[i] = 1;
    pthread_sigmask(SIG_BLOCK, NULL, &self->blocked);
    prctl(PR_GET_NAME, self->name, 0, 0, 0);
    self->loop_before = weft__thread_is_loop();
    weft__thread_set_loop(true);
    self->loop_after = weft__thread_is_loop();
    return arg;
}

static void *do_nothing(void *arg)
{
    return arg;
}

static void a_thread_gets_its_argument_and_gives_its_result(void **state)
{
    (void)state;
    struct self self;
    pthread_t thread;
    void *result = NULL;

    assert_int_equal(weft__thread_start(&thread, 256 * 1024, NULL, look_at_self, &self), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &self);
}

static void a_thread_blocks_all_signals_and_its_starter_keeps_its_mask(void **state)
{
    (void)state;
    struct self self;
    pthread_t thread;
    sigset_t before, after;
    const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGUSR1, SIGCHLD, SIGALRM};

    pthread_sigmask(SIG_BLOCK, NULL, &before);
    assert_int_equal(weft__thread_start(&thread, 256 * 1024, "quiet", look_at_self, &self), 0);
    pthread_join(thread, NULL);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        assert_int_equal(sigismember(&self.blocked, signals[i]), 1);
        assert_int_equal(sigismember(&after, signals[i]), sigismember(&before, signals[i]));
    }
}

static void a_long_name_is_cut(void **state)
{
    (void)state;
    struct self self;
    pthread_t thread;

    assert_int_equal(weft__thread_start(&thread, 256 * 1024, "0123456789abcdefgh", look_at_self, &self), 0);
    pthread_join(thread, NULL);
    assert_string_equal(self.name, "0123456789abcde");
}

static void a_stack_that_is_too_small_is_made_large_enough(void **state)
{
    (void)state;
    pthread_t thread;
    pthread_attr_t attributes;

    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, 1), EINVAL);
    pthread_attr_destroy(&attributes);
    assert_int_equal(weft__thread_start(&thread, 1, "small", do_nothing, NULL), 0);
    pthread_join(thread, NULL);
}

static void the_mark_of_a_loop_is_the_threads_own(void **state)
{
    (void)state;
    struct self self;
    pthread_t thread;

    assert_int_equal(weft__thread_start(&thread, 256 * 1024, "loop", look_at_self, &self), 0);
    pthread_join(thread, NULL);
    assert_false(self.loop_before);
    assert_true(self.loop_after);
    assert_false(weft__thread_is_loop());
    weft__thread_set_loop(true);
    assert_true(weft__thread_is_loop());
    weft__thread_set_loop(false);
    assert_false(weft__thread_is_loop());
}

static void out_of_threads_or_memory_is_reported(void **state)
{
    (void)state;
    struct self self;
    pthread_t thread;
    long before = weft_test_alloc_live();

    weft_test_thread_fail_at(1);
    assert_int_equal(weft__thread_start(&thread, 0, "x", look_at_self, &self), -EAGAIN);
    weft_test_alloc_fail_at(1);
    assert_int_equal(weft__thread_start(&thread, 0, "x", look_at_self, &self), -ENOMEM);
    weft_test_alloc_fail_at(0);
    assert_int_equal(weft_test_alloc_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_gets_its_argument_and_gives_its_result),
        cmocka_unit_test(a_thread_blocks_all_signals_and_its_starter_keeps_its_mask),
        cmocka_unit_test(a_long_name_is_cut),
        cmocka_unit_test(a_stack_that_is_too_small_is_made_large_enough),
        cmocka_unit_test(the_mark_of_a_loop_is_the_threads_own),
        cmocka_unit_test(out_of_threads_or_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
