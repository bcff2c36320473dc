/* base/stamp.h */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/stamp.h"

static const weft__stamp none;

/* A temporary file: it is removed at the end of the test. */
static void make_file(char path[32], const char *text)
{
    snprintf(path, 32, "/tmp/weft-stamp.XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(write(fd, text, 1) == 1);
    assert_int_equal(close(fd), 0);
}

static void a_file_that_is_not_touched_looks_the_same(void **state)
{
    char path[32];
    (void)state;
    make_file(path, "a");
    const weft__stamp before = weft__stamp_of(path);
    const weft__stamp after = weft__stamp_of(path);
    assert_true(weft__stamp_equal(&before, &after));
    assert_false(weft__stamp_equal(&before, &none));
    assert_int_equal(unlink(path), 0);
}

static void a_file_in_its_place_looks_different(void **state)
{
    char path[32];
    char other[32];
    (void)state;
    make_file(path, "a");
    const weft__stamp before = weft__stamp_of(path);
    make_file(other, "b");
    assert_int_equal(rename(other, path), 0);
    const weft__stamp after = weft__stamp_of(path);
    assert_false(weft__stamp_equal(&before, &after));
    assert_int_equal(unlink(path), 0);
}

static void each_part_counts(void **state)
{
    char path[32];
    (void)state;
    make_file(path, "a");
    const weft__stamp stamp = weft__stamp_of(path);
    weft__stamp parts[7] = {stamp, stamp, stamp, stamp, stamp, stamp, stamp};
    parts[0].device++;
    parts[1].inode++;
    parts[2].size++;
    parts[3].modified.tv_sec++;
    parts[4].modified.tv_nsec++;
    parts[5].changed.tv_sec++;
    parts[6].changed.tv_nsec++;
    for (size_t i = 0; i < 7; i++)
        assert_false(weft__stamp_equal(&stamp, &parts[i]));
    assert_int_equal(unlink(path), 0);
}

static void no_file_is_all_zero(void **state)
{
    (void)state;
    const weft__stamp gone = weft__stamp_of("/nowhere/at/all");
    const weft__stamp unnamed = weft__stamp_of(NULL);
    assert_true(weft__stamp_equal(&gone, &none));
    assert_true(weft__stamp_equal(&unnamed, &none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_is_not_touched_looks_the_same),
        cmocka_unit_test(a_file_in_its_place_looks_different),
        cmocka_unit_test(each_part_counts),
        cmocka_unit_test(no_file_is_all_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
