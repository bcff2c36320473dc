/* Bytes as lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lines.h"

struct heard {
    char text[3 * LINES_MAX]; /* each line in brackets */
    size_t length;
    size_t longest;
};

static void hear(void *arg, const char *line, size_t length)
{
    struct heard *heard = arg;
    heard->length +=
        (size_t)snprintf(heard->text + heard->length, sizeof heard->text - heard->length, "[%.*s]", (int)length, line);
    heard->longest = length > heard->longest ? length : heard->longest;
}

/* What comes of these bytes, `step` of them at a time. */
static struct heard *hear_all(const char *bytes, size_t size, size_t step)
{
    static struct heard heard;
    lines l = {.sink = hear, .arg = &heard};
    heard = (struct heard){.length = 0};
    for (size_t at = 0; at < size; at += step)
        lines_take(&l, bytes + at, size - at < step ? size - at : step);
    lines_end(&l);
    return &heard;
}

static void assert_heard(const char *bytes, const char *expected)
{
    for (size_t step = 1; step <= strlen(bytes) + 1; step++)
        assert_string_equal(hear_all(bytes, strlen(bytes), step)->text, expected);
}

static void lines_are_whole_however_they_come(void **state)
{
    (void)state;
    assert_heard("one\ntwo\n", "[one][two]");
    assert_heard("", "");
    assert_heard("\n\n", "[][]");
    assert_heard("a\r\nb\rc\n", "[a][b\rc]");
}

static void the_last_line_needs_no_end(void **state)
{
    (void)state;
    assert_heard("one\ntwo", "[one][two]");
}

static void a_line_of_the_longest_length_is_whole(void **state)
{
    char bytes[LINES_MAX + 2];
    (void)state;
    memset(bytes, 'x', LINES_MAX);
    bytes[LINES_MAX] = '\n';
    for (size_t step = 1; step < sizeof bytes; step += 511) {
        const struct heard *heard = hear_all(bytes, LINES_MAX + 1, step);
        assert_int_equal(heard->longest, LINES_MAX);
        assert_null(strstr(heard->text, "(cut)"));
    }
}

static void a_longer_one_is_cut_and_the_next_is_not(void **state)
{
    char bytes[2 * LINES_MAX + 8];
    (void)state;
    memset(bytes, 'x', sizeof bytes);
    memcpy(bytes + sizeof bytes - 4, "\nend", 4);
    for (size_t step = 1; step < sizeof bytes; step += 777) {
        const struct heard *heard = hear_all(bytes, sizeof bytes, step);
        assert_int_equal(heard->longest, LINES_MAX);
        assert_non_null(strstr(heard->text, "x … (cut)][end]"));
    }
}

static void a_cut_leaves_characters_whole(void **state)
{
    char bytes[LINES_MAX + 64];
    (void)state;
    for (size_t offset = 0; offset < 4; offset++) {
        memset(bytes, 'x', offset);
        for (size_t at = offset; at + 3 <= sizeof bytes; at += 3)
            memcpy(bytes + at, "€", 3);
        size_t size = offset + (sizeof bytes - offset) / 3 * 3;
        assert_non_null(strstr(hear_all(bytes, size, 100)->text, "€ … (cut)]"));
    }
}

static void bytes_that_are_no_text_are_cut_too(void **state)
{
    char bytes[LINES_MAX + 64];
    (void)state;
    memset(bytes, 0x80, sizeof bytes);
    assert_int_equal(hear_all(bytes, sizeof bytes, 64)->longest, LINES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_whole_however_they_come),
        cmocka_unit_test(the_last_line_needs_no_end),
        cmocka_unit_test(a_line_of_the_longest_length_is_whole),
        cmocka_unit_test(a_longer_one_is_cut_and_the_next_is_not),
        cmocka_unit_test(a_cut_leaves_characters_whole),
        cmocka_unit_test(bytes_that_are_no_text_are_cut_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
