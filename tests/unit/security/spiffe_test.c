#include "security/spiffe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void names_of_workloads_are_known(void **state)
{
    static const char *const good[] = {
        "spiffe://acme.example/orders", "spiffe://acme.example",           "spiffe://a/b/c",
        "spiffe://a-b_c.9/D.e_f-0",     "spiffe://acme.example/...",       "spiffe://acme.example/.hidden",
        "spiffe://1.2.3.4/service",     "spiffe://acme.example/ns/x/sa/y",
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!weft__is_spiffe_id(good[i]))
            fail_msg("%s", good[i]);
}

static void other_texts_are_not(void **state)
{
    static const char *const bad[] = {
        "",
        "spiffe://",
        "spiffe:///orders",
        "SPIFFE://acme.example/orders",
        "https://acme.example/orders",
        "spiffe://Acme.example/orders",
        "spiffe://acme.example/",
        "spiffe://acme.example/orders/",
        "spiffe://acme.example//orders",
        "spiffe://acme.example/./orders",
        "spiffe://acme.example/../orders",
        "spiffe://acme.example/a/..",
        "spiffe://acme.example:443/orders",
        "spiffe://user@acme.example/orders",
        "spiffe://acme.example/orders?x=1",
        "spiffe://acme.example/orders#x",
        "spiffe://acme.example/or%64ers",
        "spiffe://acme.example/\xc3\xa4",
        " spiffe://acme.example/orders",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (weft__is_spiffe_id(bad[i]))
            fail_msg("%s", bad[i]);
}

static void their_length_is_bounded(void **state)
{
    char text[2100];
    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text, "spiffe://acme.example/", 22);
    text[2048] = '\0';
    assert_true(weft__is_spiffe_id(text));
    text[2048] = 'a';
    text[2049] = '\0';
    assert_false(weft__is_spiffe_id(text));
    memset(text, 'a', sizeof text);
    memcpy(text, "spiffe://", 9);
    text[9 + 255] = '\0';
    assert_true(weft__is_spiffe_id(text));
    text[9 + 255] = 'a';
    text[9 + 256] = '\0';
    assert_false(weft__is_spiffe_id(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_workloads_are_known),
        cmocka_unit_test(other_texts_are_not),
        cmocka_unit_test(their_length_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
