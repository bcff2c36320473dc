#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/uuid.h"

static const uint8_t ones[10] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t zeros[10];

static uint64_t time_of(const uint8_t *id)
{
    uint64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id[i];
    return ms;
}

static void the_bits_lie_where_the_rfc_puts_them(void **state)
{
    (void)state;
    /* The example of RFC 9562, appendix A.6, but for the counter's highest bit, which a fresh one has clear. */
    weft__uuid7_series series = {0, 0};
    uint8_t id[WEFT_UUID_BYTES];
    char text[WEFT_UUID_TEXT_BYTES];
    static const uint8_t random[10] = {0x04, 0xc3, 0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f};
    weft__uuid7_next(&series, 0x017f22e279b0, random, id);
    weft_uuid_format(id, text);
    assert_string_equal(text, "017f22e2-79b0-74c3-98c4-dc0c0c07398f");
}

static void version_and_variant_are_kept_whatever_the_random_bits(void **state)
{
    (void)state;
    weft__uuid7_series series = {0, 0};
    uint8_t id[WEFT_UUID_BYTES];
    weft__uuid7_next(&series, UINT64_C(0xffffffffffff), ones, id);
    assert_int_equal(id[6] >> 4, 7);
    assert_int_equal(id[8] >> 6, 2);
    weft__uuid7_next(&series, 1, zeros, id);
    assert_int_equal(id[6] >> 4, 7);
    assert_int_equal(id[8] >> 6, 2);
}

static void ids_ascend_within_a_millisecond_and_past_the_counters_end(void **state)
{
    (void)state;
    weft__uuid7_series series = {0, 0};
    uint8_t last[WEFT_UUID_BYTES];
    uint8_t id[WEFT_UUID_BYTES];
    weft__uuid7_next(&series, 1000, ones, last);
    for (int i = 0; i < 20000; i++) {
        weft__uuid7_next(&series, 1000, i % 2 == 0 ? zeros : ones, id);
        assert_true(memcmp(last, id, sizeof id) < 0);
        memcpy(last, id, sizeof id);
    }
    assert_true(time_of(last) > 1000 && time_of(last) < 1020);
}

static void ids_ascend_when_the_clock_goes_back(void **state)
{
    (void)state;
    weft__uuid7_series series = {0, 0};
    uint8_t first[WEFT_UUID_BYTES];
    uint8_t second[WEFT_UUID_BYTES];
    weft__uuid7_next(&series, 5000, zeros, first);
    weft__uuid7_next(&series, 4000, zeros, second);
    assert_true(memcmp(first, second, sizeof first) < 0);
    assert_int_equal(time_of(second), 5000);
}

static void a_new_id_carries_the_time(void **state)
{
    (void)state;
    char text[WEFT_UUID_TEXT_BYTES];
    uint8_t id[WEFT_UUID_BYTES];
    time_t before = time(NULL);
    assert_int_equal(weft_uuid7(text), 0);
    assert_true(weft_uuid_parse(text, id));
    uint64_t seconds = time_of(id) / 1000;
    assert_true(seconds >= (uint64_t)before && seconds <= (uint64_t)time(NULL) + 1);
}

#define PER_THREAD 2000
#define THREADS    4

static void *make_ids(void *arg)
{
    char(*texts)[WEFT_UUID_TEXT_BYTES] = arg;
    for (int i = 0; i < PER_THREAD; i++)
        if (weft_uuid7(texts[i]) != 0)
            return arg;
    return NULL;
}

static void threads_never_get_the_same_id_and_each_sees_them_ascend(void **state)
{
    (void)state;
    static char texts[THREADS][PER_THREAD][WEFT_UUID_TEXT_BYTES];
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, make_ids, texts[t]), 0);
    for (int t = 0; t < THREADS; t++) {
        void *failed;
        pthread_join(threads[t], &failed);
        assert_null(failed);
    }
    /* Four ascending runs, merged: two equal ids would meet. */
    int at[THREADS] = {0};
    const char *last = "";
    for (int n = 0; n < THREADS * PER_THREAD; n++) {
        int least = -1;
        for (int t = 0; t < THREADS; t++)
            if (at[t] < PER_THREAD && (least < 0 || strcmp(texts[t][at[t]], texts[least][at[least]]) < 0))
                least = t;
        assert_true(strcmp(last, texts[least][at[least]]) < 0);
        last = texts[least][at[least]++];
    }
}

static void text_is_read_in_either_case_and_written_in_lower(void **state)
{
    (void)state;
    uint8_t id[WEFT_UUID_BYTES];
    char text[WEFT_UUID_TEXT_BYTES];
    assert_true(weft_uuid_parse("017F22E2-79b0-7cc3-98C4-DC0C0C07398F", id));
    weft_uuid_format(id, text);
    assert_string_equal(text, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

static void what_is_not_a_uuid_is_refused(void **state)
{
    (void)state;
    uint8_t id[WEFT_UUID_BYTES];
    static const char *const wrong[] = {
        "",
        "0",
        "017f22e2",
        "017f22e279b07cc398c4dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        "017f22e2-79b0-7cc3-98c4dc0c0c07398f-",
        "{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}",
        " 017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f ",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(weft_uuid_parse(wrong[i], id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bits_lie_where_the_rfc_puts_them),
        cmocka_unit_test(version_and_variant_are_kept_whatever_the_random_bits),
        cmocka_unit_test(ids_ascend_within_a_millisecond_and_past_the_counters_end),
        cmocka_unit_test(ids_ascend_when_the_clock_goes_back),
        cmocka_unit_test(a_new_id_carries_the_time),
        cmocka_unit_test(threads_never_get_the_same_id_and_each_sees_them_ascend),
        cmocka_unit_test(text_is_read_in_either_case_and_written_in_lower),
        cmocka_unit_test(what_is_not_a_uuid_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
