/* base/buf.h */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "support/alloc_fault.h"

static void an_empty_buffer_is_an_empty_text_and_takes_no_memory(void **state)
{
    (void)state;
    weft__buf buf;
    long before = weft_test_alloc_count();

    weft__buf_init(&buf, 0);
    assert_string_equal(buf.data, "");
    assert_int_equal(weft__buf_append(&buf, NULL, 0), 0);
    assert_int_equal(weft__buf_printf(&buf, "%s", ""), 0);
    weft__buf_reset(&buf);
    assert_string_equal(buf.data, "");
    assert_int_equal(weft_test_alloc_count(), before);
    weft__buf_fini(&buf);
}

static void what_is_appended_stands_in_a_row_with_a_nul_behind(void **state)
{
    (void)state;
    weft__buf buf;

    weft__buf_init(&buf, 0);
    assert_int_equal(weft__buf_puts(&buf, "one"), 0);
    assert_int_equal(weft__buf_putc(&buf, ','), 0);
    assert_int_equal(weft__buf_printf(&buf, "%s=%d", "two", 2), 0);
    assert_int_equal(weft__buf_append(&buf, "\0x", 2), 0);
    assert_int_equal(buf.len, 11);
    assert_memory_equal(buf.data, "one,two=2\0x", 12);
    weft__buf_reset(&buf);
    assert_int_equal(buf.len, 0);
    assert_string_equal(buf.data, "");
    weft__buf_fini(&buf);
}

static void it_grows_in_few_steps(void **state)
{
    (void)state;
    weft__buf buf;
    long before = weft_test_alloc_count();

    weft__buf_init(&buf, 0);
    for (int i = 0; i < 1000000; i++)
        assert_int_equal(weft__buf_putc(&buf, (char)('a' + i % 26)), 0);
    for (size_t i = 0; i < 1000000; i++)
        assert_int_equal(buf.data[i], 'a' + (int)(i % 26));
    assert_true(weft_test_alloc_count() - before < 20);
    weft__buf_fini(&buf);
}

static void the_maximum_holds_to_the_byte(void **state)
{
    (void)state;
    weft__buf buf;

    weft__buf_init(&buf, 10);
    assert_int_equal(weft__buf_puts(&buf, "0123456789"), 0);
    assert_int_equal(buf.failed, 0);
    assert_int_equal(weft__buf_putc(&buf, 'x'), -E2BIG);
    assert_string_equal(buf.data, "0123456789");
    assert_int_equal(buf.failed, -E2BIG);
    weft__buf_fini(&buf);
}

static void an_append_that_does_not_fit_changes_nothing_and_sticks(void **state)
{
    (void)state;
    weft__buf buf;

    weft__buf_init(&buf, 10);
    assert_int_equal(weft__buf_puts(&buf, "01234"), 0);
    assert_int_equal(weft__buf_printf(&buf, "%s", "567890"), -E2BIG);
    assert_string_equal(buf.data, "01234");
    assert_int_equal(weft__buf_putc(&buf, '5'), -E2BIG); /* though there is room */
    assert_string_equal(buf.data, "01234");
    weft__buf_reset(&buf);
    assert_int_equal(buf.failed, 0);
    assert_int_equal(weft__buf_puts(&buf, "ok"), 0);
    assert_string_equal(buf.data, "ok");
    weft__buf_fini(&buf);
}

static void huge_sizes_do_not_wrap_round(void **state)
{
    (void)state;
    weft__buf buf;

    weft__buf_init(&buf, 0);
    assert_int_equal(weft__buf_puts(&buf, "x"), 0);
    assert_int_equal(weft__buf_reserve(&buf, SIZE_MAX), -E2BIG);
    assert_string_equal(buf.data, "x");
    weft__buf_fini(&buf);
}

static void a_callers_block_is_used_first_and_never_freed(void **state)
{
    (void)state;
    char block[8];
    weft__buf buf;
    long before = weft_test_alloc_count();

    weft__buf_init_block(&buf, 0, block, sizeof block);
    assert_string_equal(buf.data, "");
    assert_int_equal(weft__buf_puts(&buf, "1234567"), 0);
    assert_ptr_equal(buf.data, block);
    assert_int_equal(weft_test_alloc_count(), before);
    assert_int_equal(weft__buf_putc(&buf, '8'), 0);
    assert_ptr_not_equal(buf.data, block);
    assert_string_equal(buf.data, "12345678");
    weft__buf_fini(&buf);
}

static void reserved_room_can_be_written_directly(void **state)
{
    (void)state;
    weft__buf buf;

    weft__buf_init(&buf, 0);
    assert_int_equal(weft__buf_reserve(&buf, 100), 0);
    memset(buf.data + buf.len, 'x', 101);
    buf.len += 100;
    buf.data[buf.len] = '\0';
    assert_int_equal(weft__buf_putc(&buf, 'y'), 0);
    assert_int_equal(strlen(buf.data), 101);
    weft__buf_fini(&buf);
}

static int build(void *context)
{
    const char *text = context;
    char block[4];
    weft__buf buf;

    weft__buf_init_block(&buf, 0, block, sizeof block);
    for (int i = 0; i < 100; i++) {
        weft__buf_puts(&buf, text);
        weft__buf_printf(&buf, "%d", i);
    }
    int rc = buf.failed;
    assert_int_equal(strlen(buf.data), buf.len);
    weft__buf_fini(&buf);
    return rc;
}

static void every_failing_allocation_is_reported_and_nothing_leaks(void **state)
{
    (void)state;
    assert_true(weft_test_oom_sweep(build, "some text") >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_is_an_empty_text_and_takes_no_memory),
        cmocka_unit_test(what_is_appended_stands_in_a_row_with_a_nul_behind),
        cmocka_unit_test(it_grows_in_few_steps),
        cmocka_unit_test(the_maximum_holds_to_the_byte),
        cmocka_unit_test(an_append_that_does_not_fit_changes_nothing_and_sticks),
        cmocka_unit_test(huge_sizes_do_not_wrap_round),
        cmocka_unit_test(a_callers_block_is_used_first_and_never_freed),
        cmocka_unit_test(reserved_room_can_be_written_directly),
        cmocka_unit_test(every_failing_allocation_is_reported_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
