#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "resolve/consul/answer.h"
#include "support/alloc_fault.h"

static weft__consul_answer answer;
static char reason[256];

static int parse(const char *text)
{
    weft__consul_answer_fini(&answer);
    return weft__consul_answer_parse(&answer, text, strlen(text), reason, sizeof reason);
}

/* The first address of an answer with one such "Service", or NULL. */
static const char *address_of(const char *service)
{
    char text[2048];
    snprintf(text, sizeof text, "[{\"Node\":{\"Node\":\"n\",\"Address\":\"10.0.0.9\"},\"Service\":{%s}}]", service);
    assert_int_equal(parse(text), 0);
    return answer.count > 0 ? answer.instances[0].address.address : NULL;
}

static void assert_health(const char *checks, weft_instance_health health, unsigned weight, bool passing)
{
    char text[2048];
    snprintf(text, sizeof text,
             "[{\"Node\":{},\"Service\":{\"Address\":\"1.2.3.4\",\"Port\":1,\"Weights\":{\"Passing\":9,\"Warning\":0}},"
             "\"Checks\":[%s]}]",
             checks);
    assert_int_equal(parse(text), 0);
    assert_int_equal(answer.instances[0].address.health, health);
    assert_int_equal(answer.instances[0].address.weight, weight);
    assert_int_equal(answer.instances[0].passing, passing);
}

static int fini(void **state)
{
    (void)state;
    weft__consul_answer_fini(&answer);
    return 0;
}

static void an_address_is_taken_from_where_it_is_written(void **state)
{
    static const struct {
        const char *service;
        const char *address;
    } cases[] = {
        {"\"Address\":\"10.0.0.1\",\"Port\":80", "ipv4:10.0.0.1:80"},
        {"\"Address\":\"\",\"Port\":80", "ipv4:10.0.0.9:80"},
        {"\"Port\":80", "ipv4:10.0.0.9:80"},
        {"\"Address\":\"fd00::1\",\"Port\":80", "ipv6:[fd00::1]:80"},
        {"\"Address\":\"[fd00::1]\",\"Port\":80", "ipv6:[fd00::1]:80"},
        {"\"Address\":\"10.0.0.1\",\"Port\":80,\"Meta\":{\"gRPC_port\":\"9090\"}", "ipv4:10.0.0.1:9090"},
        {"\"Address\":\"10.0.0.1\",\"Port\":80,\"Meta\":{\"gRPC_port\":\"99999\"}", "ipv4:10.0.0.1:80"},
        {"\"Address\":\"10.0.0.1\",\"Port\":80,\"TaggedAddresses\":{\"grpc\":{\"Address\":"
         "\"grpc://10.0.0.2:9000?isSecure=false\",\"Port\":9001}}",
         "ipv4:10.0.0.2:9000"},
        {"\"Address\":\"10.0.0.1\",\"Port\":80,\"TaggedAddresses\":{\"grpc\":{\"Address\":\"10.0.0.2\",\"Port\":9000}}",
         "ipv4:10.0.0.2:9000"},
        {"\"Port\":80,\"TaggedAddresses\":{\"grpc\":{\"Address\":\"grpc://[fd00::2]:9000\"}}", "ipv6:[fd00::2]:9000"},
        {"\"Port\":80,\"TaggedAddresses\":{\"grpc\":{\"Address\":\"fd00::2\",\"Port\":9000}}", "ipv6:[fd00::2]:9000"},
        {"\"Address\":\"10.0.0.1\",\"Port\":80,\"TaggedAddresses\":{\"grpc\":{\"Address\":\"grpc://users.local:1\"}}",
         "ipv4:10.0.0.1:80"},
        {"\"SocketPath\":\"/run/users.sock\",\"Port\":0", "unix:/run/users.sock"},
        {"\"Address\":\"users.local\",\"Port\":80", NULL},
        {"\"Address\":\"10.0.0.1\",\"Port\":0", NULL},
        {"\"Address\":\"10.0.0.1\",\"Port\":65536", NULL},
        {"\"Address\":\"10.0.0.1\",\"Port\":\"80\"", NULL},
        {"\"Address\":7,\"Port\":80", "ipv4:10.0.0.9:80"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *address = address_of(cases[i].service);
        assert_int_equal(answer.skipped, cases[i].address == NULL);
        if (cases[i].address == NULL)
            assert_null(address);
        else
            assert_string_equal(address, cases[i].address);
    }
}

static void the_worst_check_counts_and_maintenance_is_draining(void **state)
{
    (void)state;
    assert_health("", WEFT_INSTANCE_HEALTHY, 9, true);
    assert_health("{\"Status\":\"passing\"}", WEFT_INSTANCE_HEALTHY, 9, true);
    assert_health("{\"Status\":\"passing\"},{\"Status\":\"critical\"}", WEFT_INSTANCE_UNHEALTHY, 9, false);
    assert_health("{\"Status\":\"warning\"}", WEFT_INSTANCE_UNHEALTHY, 1, false); /* its weight is 0 */
    assert_health("{\"Status\":\"critical\",\"CheckID\":\"_service_maintenance:a\"},{\"Status\":\"critical\"}",
                  WEFT_INSTANCE_DRAINING, 9, false);
    assert_health("{\"Status\":\"critical\",\"CheckID\":\"_node_maintenance\"}", WEFT_INSTANCE_DRAINING, 9, false);
    assert_health("{\"Status\":\"odd\"}", WEFT_INSTANCE_UNHEALTHY, 9, false);
    assert_health("7", WEFT_INSTANCE_UNHEALTHY, 9, false);
}

static void tags_metadata_and_zone_come_along(void **state)
{
    (void)state;
    address_of("\"ID\":\"u1\",\"Port\":1,\"Tags\":[\"v2\",7,\"eu\"],\"Meta\":{\"zone\":\"b\",\"n\":3}");
    const weft_address *address = &answer.instances[0].address;
    assert_string_equal(address->zone, "b");
    assert_int_equal(address->metadata.count, 5);
    assert_true(weft_sv_is(address->metadata.items[0].value, "u1"));
    assert_true(weft_sv_is(address->metadata.items[1].value, "n"));
    assert_true(weft_sv_is(address->metadata.items[3].value, "eu"));
    assert_true(weft_sv_is(weft_metadata_find(&address->metadata, "zone"), "b"));
    address_of("\"Port\":1,\"Locality\":{\"Zone\":\"c\"},\"Meta\":{\"zone\":\"b\"}");
    assert_string_equal(answer.instances[0].address.zone, "c");
}

static void what_is_no_list_of_instances_is_refused(void **state)
{
    static const char *const texts[] = {"", "{}", "[", "[7]", "[{}]", "[{\"Service\":\"a\"}]", "[]x", "[\"\\u0000\"]"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_int_equal(parse(texts[i]), -EBADMSG);
    assert_int_equal(parse("[]"), 0);
    assert_int_equal(answer.count, 0);
}

#define INSTANCE(address, tag, status)                                                                                 \
    "{\"Service\":{\"Address\":\"" address "\",\"Port\":1,\"Tags\":[\"" tag "\"]},\"Checks\":[{\"Status\":\"" status   \
    "\"}]}"

static const char several[] = "[" INSTANCE("10.0.0.3", "a", "passing") "," INSTANCE(
    "10.0.0.1", "A", "critical") "," INSTANCE("10.0.0.2", "b", "passing") "," INSTANCE("10.0.0.1", "c", "passing") "]";

/* The last bytes of the addresses that are chosen: "123". */
static const char *choose(weft__consul_query query, uint64_t seed)
{
    static char text[16];
    weft_address out[8];
    size_t count;
    if (query.near == NULL)
        query.near = "";
    assert_int_equal(weft__consul_answer_select(&answer, &query, seed, out, &count), 0);
    for (size_t i = 0; i < count; i++)
        text[i] = out[i].address[strlen("ipv4:10.0.0.")];
    text[count] = '\0';
    return text;
}

static void a_query_chooses_among_the_instances(void **state)
{
    (void)state;
    assert_int_equal(parse(several), 0);
    assert_string_equal(choose((weft__consul_query){0}, 1), "123"); /* each address once */
    assert_string_equal(choose((weft__consul_query){.tags = {"a"}, .tag_count = 1}, 1), "13");
    assert_string_equal(choose((weft__consul_query){.tags = {"a", "b"}, .tag_count = 2}, 1), "");
    assert_string_equal(choose((weft__consul_query){.tags = {"a"}, .tag_count = 1, .healthy = true}, 1), "3");
    assert_string_equal(choose((weft__consul_query){.near = "_agent"}, 1), "321"); /* in Consul's order */
    assert_string_equal(choose((weft__consul_query){.near = "_agent", .limit = 2}, 1), "32");
}

static void a_limit_chooses_otherwise_in_other_processes_and_always_alike_in_one(void **state)
{
    char first[16];
    unsigned seen = 0;
    (void)state;
    assert_int_equal(parse(several), 0);
    for (uint64_t seed = 1; seed < 64; seed++) {
        snprintf(first, sizeof first, "%s", choose((weft__consul_query){.limit = 1}, seed));
        assert_string_equal(choose((weft__consul_query){.limit = 1}, seed), first);
        seen |= 1u << (first[0] - '0');
    }
    assert_int_equal(seen, 1u << 1 | 1u << 2 | 1u << 3);
}

static void lists_that_differ_anywhere_are_written_otherwise(void **state)
{
    const weft_metadatum item = {{"k", 1}, {"v", 1}}, other = {{"kv", 2}, {"", 0}};
    const weft_address addresses[] = {
        {.address = "ipv4:10.0.0.1:1", .weight = 1},
        {.address = "ipv4:10.0.0.1:1", .weight = 2},
        {.address = "ipv4:10.0.0.2:1", .weight = 1},
        {.address = "ipv4:10.0.0.1:1", .weight = 1, .zone = "z"},
        {.address = "ipv4:10.0.0.1:1", .weight = 1, .health = WEFT_INSTANCE_HEALTHY},
        {.address = "ipv4:10.0.0.1:1", .weight = 1, .metadata = {&item, 1}},
        {.address = "ipv4:10.0.0.1:1", .weight = 1, .metadata = {&other, 1}},
    };
    size_t count = sizeof addresses / sizeof addresses[0];
    (void)state;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++) {
            weft__buf left, right;
            weft__buf_init(&left, 0);
            weft__buf_init(&right, 0);
            weft__consul_addresses_write(&left, &addresses[i], 1);
            weft__consul_addresses_write(&right, &addresses[j], 1);
            assert_int_equal(i == j, strcmp(left.data, right.data) == 0);
            weft__buf_fini(&right);
            weft__buf_fini(&left);
        }
}

#define MANY 200

/* Reads and chooses from an answer that fills several blocks of an arena. */
static int scenario(void *context)
{
    const char *text = context;
    weft_address out[MANY];
    size_t count;
    weft__consul_answer mine = {0};
    weft__consul_query query = {.near = "", .limit = 1};
    int rc = weft__consul_answer_parse(&mine, text, strlen(text), reason, sizeof reason);
    if (rc == 0)
        rc = weft__consul_answer_select(&mine, &query, 1, out, &count);
    weft__consul_answer_fini(&mine);
    return rc;
}

/* And never that the answer is wrong. */
static void without_memory_it_says_so(void **state)
{
    static char text[MANY * sizeof(INSTANCE("10.0.0.255", "a", "passing"))] = "[";
    (void)state;
    for (int i = 0; i < MANY; i++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, INSTANCE("10.0.0.%d", "a", "passing") "%s", i,
                 i < MANY - 1 ? "," : "]");
    }
    assert_true(weft_test_oom_sweep(scenario, text) > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(an_address_is_taken_from_where_it_is_written, fini),
        cmocka_unit_test_teardown(the_worst_check_counts_and_maintenance_is_draining, fini),
        cmocka_unit_test_teardown(tags_metadata_and_zone_come_along, fini),
        cmocka_unit_test_teardown(what_is_no_list_of_instances_is_refused, fini),
        cmocka_unit_test_teardown(a_query_chooses_among_the_instances, fini),
        cmocka_unit_test_teardown(a_limit_chooses_otherwise_in_other_processes_and_always_alike_in_one, fini),
        cmocka_unit_test(lists_that_differ_anywhere_are_written_otherwise),
        cmocka_unit_test(without_memory_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
