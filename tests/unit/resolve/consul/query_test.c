#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "resolve/consul/query.h"

static char reason[256];
static weft_arena *arena;
static weft__consul_query query;

static int parse(const char *authority, const char *path, const char *text)
{
    weft_target target = {.text = "", .scheme = "consul", .authority = authority, .path = path, .query = text};
    reason[0] = '\0';
    return weft__consul_query_parse(arena, &target, &query, reason, sizeof reason);
}

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

static void a_bare_service_leaves_all_to_the_options(void **state)
{
    (void)state;
    assert_int_equal(parse("", "users", ""), 0);
    assert_string_equal(query.service, "users");
    assert_string_equal(query.authority, "");
    assert_string_equal(query.near, "");
    assert_int_equal(query.wait_ms, 0);
    assert_false(query.healthy);
}

static void all_names_of_grpc_consul_resolver_are_read(void **state)
{
    (void)state;
    assert_int_equal(parse("me:p%40ss@consul.local:8500", "my%2Dusers",
                           "healthy=true&wait=14s&near=_agent&insecure=true&limit=3&tag=a+b&tag=c&timeout=1.5s&"
                           "max-backoff=1s&token=t&dc=east&allow-stale=true&require-consistent=false&ns=team"),
                     0);
    assert_string_equal(query.user_password, "me:p@ss");
    assert_string_equal(query.authority, "consul.local:8500");
    assert_string_equal(query.service, "my-users");
    assert_true(query.healthy);
    assert_int_equal(query.wait_ms, 14000);
    assert_string_equal(query.near, "_agent");
    assert_true(query.insecure);
    assert_int_equal(query.limit, 3);
    assert_int_equal(query.tag_count, 2);
    assert_string_equal(query.tags[0], "a b");
    assert_int_equal(query.timeout_ms, 1500);
    assert_int_equal(query.max_backoff_ms, 1000);
    assert_string_equal(query.token, "t");
    assert_string_equal(query.datacenter, "east");
    assert_true(query.stale);
    assert_false(query.consistent);
    assert_string_equal(query.name_space, "team");
}

static void an_unknown_name_is_told_which_are_known(void **state)
{
    (void)state;
    assert_int_equal(parse("", "users", "passing=true"), -EINVAL);
    assert_string_equal(reason, "\"passing\" is none of tag, healthy, near, limit, dc, ns, token, wait, timeout, "
                                "max-backoff, allow-stale, require-consistent, insecure");
}

static void what_means_nothing_is_refused(void **state)
{
    static const char *const queries[] = {"wait=14",
                                          "wait=11m",
                                          "wait=0s",
                                          "wait=-1s",
                                          "limit=many",
                                          "limit=-1",
                                          "healthy=maybe",
                                          "tag=",
                                          "dc=%0a",
                                          "dc=%zz",
                                          "dc=%4",
                                          "%00=1",
                                          "limit=9999999999",
                                          "allow-stale=true&require-consistent=true"};
    (void)state;
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        assert_int_equal(parse("", "users", queries[i]), -EINVAL);
        assert_string_not_equal(reason, "");
    }
    assert_int_equal(parse("", "", ""), -EINVAL);
    assert_int_equal(parse("", "a/b", ""), -EINVAL);
    assert_int_equal(parse("", "a%0d%0aX: y", ""), -EINVAL);
    assert_int_equal(parse("host:port", "users", ""), -EINVAL);
    assert_int_equal(parse("a/b", "users", ""), -EINVAL);
}

static void a_query_takes_so_many_tags_and_no_more(void **state)
{
    char text[WEFT__CONSUL_MAX_TAGS * 6 + 16] = "";
    (void)state;
    for (int i = 0; i < WEFT__CONSUL_MAX_TAGS; i++)
        memcpy(text + i * 6, "tag=a&", 7);
    assert_int_equal(parse("", "users", text), 0);
    memcpy(text + WEFT__CONSUL_MAX_TAGS * 6, "tag=b", 6);
    assert_int_equal(parse("", "users", text), -EINVAL);
}

static void an_authority_is_a_host_and_perhaps_a_port(void **state)
{
    static const char *const good[] = {"a", "a:1", "a.b-c_d:8500", "1.2.3.4:80", "[::1]:8500", "[fe80::1]"};
    static const char *const bad[] = {"",     ":1",     "a:",  "a:b", "a:123456", "a:1:2",
                                      "[::1", "[::1]x", "a b", "a/b", "[x]:1"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(weft__consul_authority_ok(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(weft__consul_authority_ok(bad[i]));
}

static void durations_are_those_of_go(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"0", 0},   {"250ms", 250},  {"1m30s", 90000}, {"1.5h", 5400000},
                {"1us", 1}, {"10m", 600000}, {".5s", 500}};
    static const char *const bad[] = {"", "1", "s", "1x", "-1s", "1s ", "1..5s", "99999999h", "1e3s", "."};
    int64_t ms;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(weft__consul_duration(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(weft__consul_duration(bad[i], &ms), -EINVAL);
}

static void queries_that_differ_in_what_is_chosen_here_share_a_watch(void **state)
{
    (void)state;
    assert_int_equal(parse("", "users", "tag=a&healthy=true&limit=2"), 0);
    weft__consul_query first = query;
    assert_int_equal(parse("", "users", ""), 0);
    assert_true(weft__consul_query_same(&first, &query));
    assert_int_equal(parse("", "users", "near=_agent"), 0);
    assert_false(weft__consul_query_same(&first, &query));
    assert_int_equal(parse("", "users", "token=t"), 0);
    assert_false(weft__consul_query_same(&first, &query));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_bare_service_leaves_all_to_the_options, make_arena, free_arena),
        cmocka_unit_test_setup_teardown(all_names_of_grpc_consul_resolver_are_read, make_arena, free_arena),
        cmocka_unit_test_setup_teardown(an_unknown_name_is_told_which_are_known, make_arena, free_arena),
        cmocka_unit_test_setup_teardown(what_means_nothing_is_refused, make_arena, free_arena),
        cmocka_unit_test_setup_teardown(a_query_takes_so_many_tags_and_no_more, make_arena, free_arena),
        cmocka_unit_test(an_authority_is_a_host_and_perhaps_a_port),
        cmocka_unit_test(durations_are_those_of_go),
        cmocka_unit_test_setup_teardown(queries_that_differ_in_what_is_chosen_here_share_a_watch, make_arena,
                                        free_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
