#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "resolve/consul/registration.h"
#include "support/alloc_fault.h"

static weft_arena *arena;
static weft__consul_registration written;
static char reason[256];

static int make_arena(void **state)
{
    (void)state;
    return weft_arena_new(&arena, 0);
}

static int free_arena(void **state)
{
    (void)state;
    weft_arena_free(arena);
    return 0;
}

static weft_instance users(void)
{
    weft_instance instance = WEFT_INSTANCE_INIT;
    instance.service = "users";
    instance.address = "10.0.0.1";
    instance.port = 50051;
    return instance;
}

static int write(const weft_instance *instance)
{
    return weft__consul_registration_write(arena, instance, &written, reason, sizeof reason);
}

static int write_check(weft_check check)
{
    weft_instance instance = users();
    instance.checks = &check;
    instance.check_count = 1;
    return write(&instance);
}

static void assert_body_has(const char *part)
{
    if (strstr(written.body, part) == NULL)
        fail_msg("%s has no %s", written.body, part);
}

static void an_instance_is_written_with_an_id_of_its_own(void **state)
{
    weft_instance instance = users();
    (void)state;
    assert_int_equal(write(&instance), 0);
    assert_string_equal(written.body,
                        "{\"ID\":\"users-10.0.0.1-50051\",\"Name\":\"users\",\"Address\":\"10.0.0.1\",\"Port\":50051,"
                        "\"Weights\":{\"Passing\":1,\"Warning\":1},\"Tags\":[],\"Meta\":{},\"Checks\":[]}");
    instance.address = NULL;
    assert_int_equal(write(&instance), 0);
    assert_null(strstr(written.body, "Address"));
}

static void tags_metadata_and_weights_are_written(void **state)
{
    static const char *const tags[] = {"a\"b", "\xc3\xa4"};
    static const weft_metadatum metadata[] = {{{"version", 7}, {"2", 1}}, {{"empty", 5}, {NULL, 0}}};
    weft_instance instance = users();
    (void)state;
    instance.tags = tags;
    instance.tag_count = 2;
    instance.metadata.items = metadata;
    instance.metadata.count = 2;
    instance.weight = 7;
    instance.warning_weight = 2;
    assert_int_equal(write(&instance), 0);
    assert_body_has("\"Tags\":[\"a\\\"b\",\"\xc3\xa4\"]");
    assert_body_has("\"Meta\":{\"version\":\"2\",\"empty\":\"\"}");
    assert_body_has("\"Weights\":{\"Passing\":7,\"Warning\":2}");
}

static void checks_have_ids_and_all_that_they_need(void **state)
{
    (void)state;
    assert_int_equal(write_check((weft_check){.kind = WEFT_CHECK_GRPC, .tls = true, .tls_skip_verify = true}), 0);
    assert_body_has("\"Checks\":[{\"CheckID\":\"users-10.0.0.1-50051:grpc\",\"Name\":\"grpc of users\","
                    "\"GRPC\":\"10.0.0.1:50051\",\"Interval\":\"10000ms\",\"Timeout\":\"5000ms\",\"GRPCUseTLS\":true,"
                    "\"TLSSkipVerify\":true,\"DeregisterCriticalServiceAfter\":\"600000ms\"}]");
    assert_int_equal(write_check((weft_check){
                         .kind = WEFT_CHECK_HTTP, .id = "h", .target = "http://10.0.0.1/", .interval_ms = 1000}),
                     0);
    assert_body_has("{\"CheckID\":\"h\",\"Name\":\"http of users\",\"HTTP\":\"http://10.0.0.1/\","
                    "\"Interval\":\"1000ms\",\"Timeout\":\"1000ms\"");
    assert_int_equal(write_check((weft_check){.kind = WEFT_CHECK_TTL}), 0);
    assert_body_has("{\"CheckID\":\"users-10.0.0.1-50051:ttl\",\"Name\":\"ttl of users\",\"TTL\":\"15000ms\"");
    assert_int_equal(written.ttl_count, 1);
    assert_int_equal(written.ttl_ms[0], 15000);
    assert_string_equal(written.ttl_ids[0], "users-10.0.0.1-50051:ttl");
}

static void an_ipv6_address_is_checked_in_brackets(void **state)
{
    weft_check check = {.kind = WEFT_CHECK_GRPC};
    weft_instance instance = users();
    (void)state;
    instance.address = "fd00::1";
    instance.checks = &check;
    instance.check_count = 1;
    instance.deregister_after_ms = -1;
    assert_int_equal(write(&instance), 0);
    assert_body_has("\"GRPC\":\"[fd00::1]:50051\"");
    assert_null(strstr(written.body, "Deregister"));
}

static void what_the_agent_would_refuse_is_refused_here(void **state)
{
    static const char *const tags[] = {"\xff"};
    static const weft_metadatum no_key = {{"", 0}, {"v", 1}};
    weft_check twice[] = {{.kind = WEFT_CHECK_TTL}, {.kind = WEFT_CHECK_TTL}};
    weft_instance bad[12];
    (void)state;
    for (size_t i = 0; i < 12; i++)
        bad[i] = users();
    bad[0].service = "";
    bad[1].service = "a\nb";
    bad[2].port = 0;
    bad[3].port = 65536;
    bad[4].address = "users.local";
    bad[5].address = "0.0.0.0";
    bad[6].tags = tags;
    bad[6].tag_count = 1;
    bad[7].metadata.items = &no_key;
    bad[7].metadata.count = 1;
    bad[8].checks = twice;
    bad[8].check_count = 2;
    bad[9].checks = twice;
    bad[9].check_count = WEFT__CONSUL_MAX_CHECKS + 1;
    bad[10].deregister_after_ms = -2;
    bad[11].id = "\xff";
    for (size_t i = 0; i < 12; i++) {
        reason[0] = '\0';
        assert_int_equal(write(&bad[i]), -EINVAL);
        assert_string_not_equal(reason, "");
    }
    assert_int_equal(write_check((weft_check){.kind = WEFT_CHECK_HTTP}), -EINVAL);
    assert_int_equal(write_check((weft_check){.kind = WEFT_CHECK_TTL, .target = "x"}), -EINVAL);
    assert_int_equal(write_check((weft_check){.kind = WEFT_CHECK_TTL, .interval_ms = 999}), -EINVAL);
    assert_int_equal(write_check((weft_check){.kind = WEFT_CHECK_GRPC, .timeout_ms = -1}), -EINVAL);
    assert_int_equal(write_check((weft_check){.target = NULL}), -EINVAL);
}

static void a_report_says_how_it_is(void **state)
{
    (void)state;
    assert_string_equal(weft__consul_report_write(arena, WEFT_INSTANCE_HEALTHY, "a\"b"),
                        "{\"Status\":\"passing\",\"Output\":\"a\\\"b\"}");
    assert_string_equal(weft__consul_report_write(arena, WEFT_INSTANCE_UNHEALTHY, ""),
                        "{\"Status\":\"critical\",\"Output\":\"\"}");
    assert_string_equal(weft__consul_report_write(arena, WEFT_INSTANCE_UNKNOWN, ""),
                        "{\"Status\":\"warning\",\"Output\":\"\"}");
}

static int scenario(void *context)
{
    static const weft_check check = {.kind = WEFT_CHECK_TTL};
    weft_instance instance = users();
    weft_arena *mine;
    (void)context;
    instance.checks = &check;
    instance.check_count = 1;
    int rc = weft_arena_new(&mine, 0);
    if (rc < 0)
        return rc;
    rc = weft__consul_registration_write(mine, &instance, &written, reason, sizeof reason);
    weft_arena_free(mine);
    return rc;
}

static void without_memory_it_says_so(void **state)
{
    (void)state;
    assert_true(weft_test_oom_sweep(scenario, NULL) > 4);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, make_arena, free_arena)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_instance_is_written_with_an_id_of_its_own), CASE(tags_metadata_and_weights_are_written),
        CASE(checks_have_ids_and_all_that_they_need),       CASE(an_ipv6_address_is_checked_in_brackets),
        CASE(what_the_agent_would_refuse_is_refused_here),  CASE(a_report_says_how_it_is),
        cmocka_unit_test(without_memory_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
