/* base/hash.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"

/* SipHash-1-3 under a key of zeros, computed by Python 3.11 (PYTHONHASHSEED=0, hash(text[:len])). */
static void it_agrees_with_another_implementation(void **state)
{
    (void)state;
    static const char text[] = "/user.UserService/GetUser and more";
    static const struct {
        size_t len;
        uint64_t hash;
    } cases[] = {
        {1, UINT64_C(0x25582f928c81f862)},  {7, UINT64_C(0xcae4e8f23c135779)},  {8, UINT64_C(0x33f68f8abc8349a7)},
        {9, UINT64_C(0x454ca304342498a8)},  {15, UINT64_C(0x1e4314adc8896751)}, {16, UINT64_C(0x402a1bad9607a6f6)},
        {24, UINT64_C(0x92a6799416326d69)}, {25, UINT64_C(0x69cc47833d74612f)}, {31, UINT64_C(0xd6718b1711062fbc)},
        {34, UINT64_C(0x1e226b2b31035904)},
    };
    static const uint64_t zero[2];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(weft__hash(zero, text, cases[i].len), cases[i].hash);
}

static void each_half_of_the_key_matters(void **state)
{
    (void)state;
    static const uint64_t keys[3][2] = {{0, 0}, {1, 0}, {0, 1}};
    uint64_t a = weft__hash(keys[0], "x", 1);
    uint64_t b = weft__hash(keys[1], "x", 1);
    uint64_t c = weft__hash(keys[2], "x", 1);

    assert_true(a != b && b != c && a != c);
}

static void an_address_need_not_be_aligned(void **state)
{
    (void)state;
    static const uint64_t key[2] = {7, 9};
    char text[64];
    uint64_t expected = weft__hash(key, "0123456789abcdef!", 17);

    for (size_t i = 0; i < 16; i++) {
        memcpy(text + i, "0123456789abcdef!", 17);
        assert_int_equal(weft__hash(key, text + i, 17), expected);
    }
}

static void nothing_has_a_hash_too(void **state)
{
    (void)state;
    static const uint64_t key[2] = {7, 9};

    assert_int_equal(weft__hash(key, NULL, 0), weft__hash(key, "", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_agrees_with_another_implementation),
        cmocka_unit_test(each_half_of_the_key_matters),
        cmocka_unit_test(an_address_need_not_be_aligned),
        cmocka_unit_test(nothing_has_a_hash_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
