/* What the file of instances may say, and what is told of its mistakes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/resolver.h>

#include "resolve/instances.h"
#include "support/alloc_fault.h"

static void assert_full(const char *text)
{
    weft__addresses list = {NULL, 0};
    char reason[256] = "";
    int rc = weft__instances_parse("f", weft_sv_from(text), &list, reason, sizeof reason);
    if (rc != 0)
        fail_msg("%s", reason);
    assert_int_equal(list.count, 3);
    assert_string_equal(list.items[0].address, "ipv4:10.0.0.1:50051");
    assert_int_equal(list.items[0].weight, 0);
    assert_int_equal(list.items[0].health, WEFT_INSTANCE_UNKNOWN);
    assert_null(list.items[0].zone);
    assert_string_equal(list.items[1].address, "ipv6:[fd00::2]:50051");
    assert_int_equal(list.items[1].weight, 3);
    assert_int_equal(list.items[1].health, WEFT_INSTANCE_DRAINING);
    assert_string_equal(list.items[1].zone, "eu-1a");
    assert_int_equal(list.items[1].metadata.count, 3);
    assert_true(weft_sv_is(weft_metadata_find(&list.items[1].metadata, "version"), "2"));
    assert_true(weft_sv_is(weft_metadata_find(&list.items[1].metadata, "c"), "d"));
    assert_string_equal(list.items[2].address, "unix:/run/users.sock");
    weft__addresses_fini(&list);
}

static void a_list_is_read_from_yaml(void **state)
{
    (void)state;
    assert_full("# instances\n"
                "- 10.0.0.1:50051\n"
                "- address: \"[fd00::2]:50051\"\n"
                "  weight: 3\n"
                "  zone: eu-1a\n"
                "  health: draining\n"
                "  metadata: {version: 2, a: b, c: d}\n"
                "- {address: unix:/run/users.sock}\n");
}

static void a_list_is_read_from_json(void **state)
{
    (void)state;
    assert_full("[\"10.0.0.1:50051\", {\"address\": \"[fd00::2]:50051\", \"weight\": 3, \"zone\": \"eu-1a\",\n"
                "  \"health\": \"draining\", \"metadata\": {\"version\": \"2\", \"a\": \"b\", \"c\": \"d\"}},\n"
                " {\"address\": \"unix:/run/users.sock\"}]");
}

static void an_empty_list_is_a_list(void **state)
{
    weft__addresses list = {NULL, 0};
    char reason[256];
    (void)state;
    assert_int_equal(weft__instances_parse("f", weft_sv_from("[]"), &list, reason, sizeof reason), 0);
    assert_int_equal(list.count, 0);
    assert_null(list.items);
}

static void a_mistake_is_told_with_its_line_and_nothing_is_taken(void **state)
{
    static const char *const bad[][2] = {
        {"", "f:1: expected a list"}, /* half a write: not the same as no instance */
        {"\n\n", "expected a list"},
        {"10.0.0.1:1", "f:1: expected a list"},
        {"address: 10.0.0.1:1", "f:1: expected a list"},
        {"- 10.0.0.1:1\n- users:1\n", "f:2: \"users:1\" is no address"},
        {"- 10.0.0.1\n", "is no address"},
        {"- ipv4:10.0.0.1:1,10.0.0.2:1\n", "is no address"},
        {"- ~\n", "f:1: address: expected a text, found nothing"},
        {"- 10.0.0.1:1\n- 10.0.0.1:1\n", "f:2: ipv4:10.0.0.1:1 is there twice"},
        {"- weight: 1\n", "f:1: an instance without an address"},
        {"- - 10.0.0.1:1\n", "f:1: expected an address, or keys and values"},
        {"- address: [a]\n", "f:1: address: expected a text"},
        {"- address: 10.0.0.1:1\n  adress: b\n",
         "f:2: expected address, weight, zone, health or metadata, found \"adress\""},
        {"- address: 10.0.0.1:1\n  address: 10.0.0.2:1\n", "f:2: address is there twice"},
        {"- address: 10.0.0.1:1\n  weight: 0\n", "f:2: weight: expected 1 to 65535, found \"0\""},
        {"- address: 10.0.0.1:1\n  weight: 99999\n", "weight: expected 1 to 65535"},
        {"- address: 10.0.0.1:1\n  weight: -1\n", "weight: expected 1 to 65535"},
        {"- address: 10.0.0.1:1\n  health: ill\n",
         "f:2: health: expected unknown, healthy, unhealthy or draining, found \"ill\""},
        {"- address: 10.0.0.1:1\n  metadata: [a]\n", "f:2: metadata: expected keys and values"},
        {"- address: 10.0.0.1:1\n  metadata: {a: {b: c}}\n", "f:2: metadata: expected a text"},
        {"- address: 10.0.0.1:1\n  zone: \"a\\0b\"\n", "f:2: zone: contains a NUL character"},
        {"- address: 10.0.0.1:1\n  [a]: b\n", "f:2: a key must be a text"},
        {"- &a 10.0.0.1:1\n", "anchors, aliases and tags are not allowed"},
        {"- !!str 10.0.0.1:1\n", "anchors, aliases and tags are not allowed"},
        {"- 10.0.0.1:1\n- *a\n", "f:2: "},
        {"- 10.0.0.1:1\n---\n- 10.0.0.2:1\n", "f:2: expected nothing after the list"},
        {"- 10.0.0.1:1\n- {address: \"10.0.0.2:1\"\n", "f:"},
        {"- 10.0.0.1:1\n\t- x\n", "f:"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weft__addresses list = {NULL, 0};
        char reason[256] = "";
        assert_int_equal(weft__instances_parse("f", weft_sv_from(bad[i][0]), &list, reason, sizeof reason), -EINVAL);
        if (strstr(reason, bad[i][1]) == NULL)
            fail_msg("of case %zu was told: %s", i, reason);
        assert_int_equal(list.count, 0);
        assert_null(list.items);
        weft__instances_parse("f", weft_sv_from(bad[i][0]), &list, reason, 3); /* cut */
        assert_true(strlen(reason) < 3);
    }
}

static void more_instances_than_the_limit_are_a_mistake(void **state)
{
    enum {
        COUNT = WEFT_FILE_RESOLVER_MAX_ADDRESSES + 1
    };
    static char text[COUNT * 24];
    weft__addresses list = {NULL, 0};
    char reason[256];
    size_t used = 0;
    (void)state;
    for (int i = 0; i < COUNT; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "- 10.0.0.1:%d\n", i + 1);
    assert_int_equal(weft__instances_parse("f", weft_sv_of(text, used), &list, reason, sizeof reason), -EINVAL);
    assert_string_equal(reason, "f:1001: more than 1000 instances");
    *strrchr(text, '-') = '\0';
    assert_int_equal(weft__instances_parse("f", weft_sv_from(text), &list, reason, sizeof reason), 0);
    assert_int_equal(list.count, WEFT_FILE_RESOLVER_MAX_ADDRESSES);
    weft__addresses_fini(&list);
}

static int parse(void *context)
{
    weft__addresses list = {NULL, 0};
    char reason[256];
    int rc = weft__instances_parse("f", weft_sv_from(context), &list, reason, sizeof reason);
    weft__addresses_fini(&list);
    return rc;
}

static void without_memory_nothing_is_taken(void **state)
{
    static char text[] = "[10.0.0.1:1, {address: 10.0.0.2:1, zone: a, metadata: {b: c}}]";
    (void)state;
    assert_true(weft_test_oom_sweep(parse, text) >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_is_read_from_yaml),
        cmocka_unit_test(a_list_is_read_from_json),
        cmocka_unit_test(an_empty_list_is_a_list),
        cmocka_unit_test(a_mistake_is_told_with_its_line_and_nothing_is_taken),
        cmocka_unit_test(more_instances_than_the_limit_are_a_mistake),
        cmocka_unit_test(without_memory_nothing_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
