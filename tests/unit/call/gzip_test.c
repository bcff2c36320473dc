/* gzip: there and back, what is no gzip, and what would be too much of it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "call/gzip.h"
#include "support/alloc_fault.h"

enum {
    ROOM = 1 << 20,
    LIMIT = 4 << 20
};

/* Some bytes as gzip, in a block to be freed. */
static uint8_t *deflated(const uint8_t *data, size_t len, size_t *out_len)
{
    uint8_t *out = malloc(ROOM);
    assert_non_null(out);
    assert_int_equal(weft__gzip_deflate(data, len, out, ROOM, out_len), 0);
    return out;
}

static uint8_t *zeros_deflated(size_t count, size_t *out_len)
{
    uint8_t *zeros = calloc(1, count + 1);
    assert_non_null(zeros);
    uint8_t *out = deflated(zeros, count, out_len);
    free(zeros);
    return out;
}

/* The same of many zeros. */
static uint8_t *bomb(size_t mebibytes, size_t *out_len)
{
    static uint8_t block[1 << 20];
    uint8_t *out = malloc(ROOM);
    z_stream z;
    assert_non_null(out);
    memset(&z, 0, sizeof z);
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_out = out;
    z.avail_out = ROOM;
    for (size_t i = 0; i < mebibytes; i++) {
        z.next_in = block;
        z.avail_in = sizeof block;
        assert_int_equal(deflate(&z, i + 1 < mebibytes ? Z_NO_FLUSH : Z_FINISH),
                         i + 1 < mebibytes ? Z_OK : Z_STREAM_END);
    }
    *out_len = z.total_out;
    deflateEnd(&z);
    return out;
}

static void expect_inflated(const uint8_t *gzip, size_t len, int64_t max, const uint8_t *data, size_t data_len)
{
    uint8_t *out = NULL;
    size_t out_len = SIZE_MAX;
    assert_int_equal(weft__gzip_inflate(gzip, len, max, &out, &out_len), 0);
    assert_int_equal(out_len, data_len);
    if (data_len > 0)
        assert_memory_equal(out, data, data_len);
    free(out);
}

static void expect_refused(const uint8_t *gzip, size_t len, int64_t max, int error)
{
    uint8_t *out = NULL;
    size_t out_len = 1234;
    assert_int_equal(weft__gzip_inflate(gzip, len, max, &out, &out_len), error);
    assert_null(out);
    assert_int_equal(out_len, 1234);
}

static void what_was_deflated_inflates_to_the_same(void **state)
{
    static const size_t sizes[] = {0, 1, 63, 64, 511, 512, 513, 4096, 32767, 32768, 32769, 100000};
    static uint8_t data[100000];
    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * i >> 7);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t len;
        uint8_t *gzip = deflated(data, sizes[i], &len);
        expect_inflated(gzip, len, LIMIT, data, sizes[i]);
        expect_inflated(gzip, len, INT64_MAX, data, sizes[i]);
        free(gzip);
    }
}

static void what_does_not_fit_is_not_written(void **state)
{
    static const uint8_t data[] = "not the kind of text that becomes much shorter";
    uint8_t out[sizeof data];
    size_t len = 1234;
    (void)state;
    assert_int_equal(weft__gzip_deflate(data, sizeof data, out, sizeof data - 1, &len), -ENOSPC);
    assert_int_equal(weft__gzip_deflate(data, sizeof data, out, 0, &len), -ENOSPC);
    assert_int_equal(len, 1234);
}

static void the_limit_is_the_last_size_that_passes(void **state)
{
    static const uint8_t zeros[1000];
    size_t len;
    uint8_t *gzip = zeros_deflated(sizeof zeros, &len);
    (void)state;
    expect_inflated(gzip, len, 1000, zeros, sizeof zeros);
    expect_refused(gzip, len, 999, -EMSGSIZE);
    expect_refused(gzip, len, 1, -EMSGSIZE);
    free(gzip);
}

static void a_bomb_costs_its_limit_and_no_more(void **state)
{
    size_t len;
    uint8_t *gzip = bomb(64, &len);
    (void)state;
    assert_in_range(len, 1, ROOM);
    (void)weft_test_alloc_largest();
    expect_refused(gzip, len, LIMIT, -EMSGSIZE);
    assert_in_range(weft_test_alloc_largest(), LIMIT, LIMIT + 1);
    memset(gzip + len - 4, 0, 4); /* now it lies about its size */
    expect_refused(gzip, len, LIMIT, -EMSGSIZE);
    assert_in_range(weft_test_alloc_largest(), LIMIT, LIMIT + 1);
    free(gzip);
}

static void a_size_that_is_a_lie_reserves_little(void **state)
{
    size_t len;
    uint8_t *gzip = zeros_deflated(100, &len);
    (void)state;
    (void)weft_test_alloc_largest();
    memset(gzip + len - 4, 0xff, 4);
    expect_refused(gzip, len, INT64_MAX, -EBADMSG);
    memset(gzip + len - 4, 0, 4);
    expect_refused(gzip, len, INT64_MAX, -EBADMSG);
    assert_in_range(weft_test_alloc_largest(), 1, 64 * 1024);
    free(gzip);
}

static void what_is_cut_off_anywhere_is_not_gzip(void **state)
{
    static uint8_t data[2000];
    size_t len;
    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * i >> 3);
    uint8_t *gzip = deflated(data, sizeof data, &len);
    for (size_t cut = 0; cut < len; cut++)
        expect_refused(gzip, cut, LIMIT, -EBADMSG);
    free(gzip);
}

static void a_changed_byte_is_found_out(void **state)
{
    static const uint8_t data[] = "abcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabc";
    size_t len;
    uint8_t *gzip = deflated(data, sizeof data, &len);
    (void)state;
    for (size_t i = len - 8; i < len; i++) { /* CRC and size */
        gzip[i] ^= 1;
        expect_refused(gzip, len, LIMIT, -EBADMSG);
        gzip[i] ^= 1;
    }
    gzip[0] ^= 1;
    expect_refused(gzip, len, LIMIT, -EBADMSG);
    gzip[0] ^= 1;
    expect_inflated(gzip, len, LIMIT, data, sizeof data);
    free(gzip);
}

static void garbage_after_the_end_is_refused(void **state)
{
    static const uint8_t zeros[100];
    size_t len;
    uint8_t *gzip = zeros_deflated(sizeof zeros, &len);
    (void)state;
    memset(gzip + len, 0, 16);
    for (size_t more = 1; more < 16; more++)
        expect_refused(gzip, len + more, LIMIT, -EBADMSG);
    free(gzip);
}

static void joined_members_are_one_message(void **state)
{
    static const uint8_t data[] = "hello, hello, hello, hello, ";
    uint8_t joined[3 * (sizeof data - 1)];
    size_t len;
    uint8_t *gzip = deflated(data, sizeof data - 1, &len);
    (void)state;
    for (size_t i = 1; i < 3; i++)
        memcpy(gzip + i * len, gzip, len);
    for (size_t i = 0; i < 3; i++)
        memcpy(joined + i * (sizeof data - 1), data, sizeof data - 1);
    expect_inflated(gzip, 3 * len, (int64_t)sizeof joined, joined, sizeof joined);
    expect_refused(gzip, 3 * len, (int64_t)sizeof joined - 1, -EMSGSIZE);
    expect_refused(gzip, 3 * len - 1, LIMIT, -EBADMSG);
    free(gzip);
}

static void zlib_streams_and_nothing_are_not_gzip(void **state)
{
    static const uint8_t zlib[] = {0x78, 0x9c, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01};
    (void)state;
    expect_refused(zlib, sizeof zlib, LIMIT, -EBADMSG);
    expect_refused(NULL, 0, LIMIT, -EBADMSG);
}

static int there_and_back(void *context)
{
    static const uint8_t zeros[300000];
    uint8_t *gzip = malloc(2 * ROOM);
    uint8_t *out = NULL;
    size_t len, out_len;
    (void)context;
    if (gzip == NULL)
        return -ENOMEM;
    int rc = weft__gzip_deflate(zeros, sizeof zeros, gzip, ROOM, &len);
    if (rc == 0) {
        memcpy(gzip + len, gzip, len); /* two members: the block must grow */
        rc = weft__gzip_inflate(gzip, 2 * len, LIMIT, &out, &out_len);
    }
    free(gzip);
    free(out);
    return rc;
}

static void the_failure_of_each_allocation_is_told(void **state)
{
    (void)state;
    assert_in_range(weft_test_oom_sweep(there_and_back, NULL), 8, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_deflated_inflates_to_the_same),
        cmocka_unit_test(what_does_not_fit_is_not_written),
        cmocka_unit_test(the_limit_is_the_last_size_that_passes),
        cmocka_unit_test(a_bomb_costs_its_limit_and_no_more),
        cmocka_unit_test(a_size_that_is_a_lie_reserves_little),
        cmocka_unit_test(what_is_cut_off_anywhere_is_not_gzip),
        cmocka_unit_test(a_changed_byte_is_found_out),
        cmocka_unit_test(garbage_after_the_end_is_refused),
        cmocka_unit_test(joined_members_are_one_message),
        cmocka_unit_test(zlib_streams_and_nothing_are_not_gzip),
        cmocka_unit_test(the_failure_of_each_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
