/* Lists that are known without asking: the target's and the program's; and what a sink does with a bad list. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "resolve/list.h"
#include "support/alloc_fault.h"
#include "unit/resolve/watcher.h"

static void a_static_target_is_published_at_once_with_its_weights(void **state)
{
    struct watcher watcher;
    (void)state;
    watcher_start(&watcher, weft__static_resolver(),
                  "static:///10.0.0.2:1;weight=3,[::1]:2,unix:/run/a.sock,10.0.0.1:1");
    assert_string_equal(watcher.list, "ipv4:10.0.0.1:1 ipv4:10.0.0.2:1*3 ipv6:[::1]:2 unix:/run/a.sock");
    assert_int_equal(watcher.lists, 1);
    watcher_stop(&watcher);
}

static void a_static_target_with_a_mistake_is_refused_with_the_reason(void **state)
{
    static const char *const bad[][2] = {
        {"static:///", "no address"},
        {"static:///users:1", "\"users:1\" is no address"},
        {"static:///10.0.0.1", "\"10.0.0.1\" is no address"},
        {"static:///10.0.0.1:1,10.0.0.1:1", "there twice"},
        {"static:///10.0.0.1:1;weight=0", "weight"},
        {"static:///10.0.0.1:1;weight=65536", "weight"},
        {"static:///10.0.0.1:1;weight=", "weight"},
        {"static:///10.0.0.1:1;weight=1x", "weight"},
        {"static:///10.0.0.1:1;wait=1", "is no address"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct watcher watcher;
        char reason[256];
        watcher_init(&watcher);
        assert_int_equal(watcher_watch(&watcher, weft__static_resolver(), bad[i][0], reason), -EINVAL);
        assert_non_null(strstr(reason, bad[i][1]));
        assert_int_equal(watcher.lists, 0);
        watcher_fini(&watcher);
    }
}

static void a_list_of_the_program_is_published_to_all_when_it_changes(void **state)
{
    struct watcher one, two;
    weft_resolver *list;
    const weft_address a = {.address = "ipv4:10.0.0.1:1"};
    const weft_address b = {.address = "ipv4:10.0.0.2:1", .weight = 2, .zone = "eu"};
    (void)state;
    assert_int_equal(weft_list_resolver_new(&list), 0);
    watcher_start(&one, list, "list:///");
    assert_string_equal(one.list, "");
    assert_int_equal(one.lists, 1);
    assert_int_equal(weft_list_resolver_add(list, &a), 0);
    assert_int_equal(weft_list_resolver_add(list, &a), -EEXIST);
    watcher_start(&two, list, "list:///any");
    assert_string_equal(two.list, "ipv4:10.0.0.1:1");
    assert_int_equal(weft_list_resolver_set(list, &b, 1), 0);
    assert_string_equal(one.list, "ipv4:10.0.0.2:1*2@eu");
    watcher_stop(&one);
    assert_int_equal(weft_list_resolver_remove(list, a.address), -ENOENT);
    assert_int_equal(weft_list_resolver_remove(list, b.address), 0);
    assert_string_equal(two.list, "");
    assert_string_equal(one.list, "ipv4:10.0.0.2:1*2@eu"); /* it was told nothing after its end */
    watcher_stop(&two);
    weft_resolver_free(list);
}

static void a_target_in_the_form_of_grpc_is_published_address_by_address(void **state)
{
    static const char *const pairs[][2] = {
        {"ipv4:10.0.0.2:1,10.0.0.1:2", "ipv4:10.0.0.1:2 ipv4:10.0.0.2:1"},
        {"ipv4:10.0.0.1:1", "ipv4:10.0.0.1:1"},
        {"ipv4:10.0.0.1:1,10.0.0.2:1,10.0.0.1:1", "ipv4:10.0.0.1:1 ipv4:10.0.0.2:1"}, /* twice is once */
        {"ipv6:[::1]:1,[fe80::1%eth0]:2", "ipv6:[::1]:1 ipv6:[fe80::1%eth0]:2"},
        {"ipv6:[fe80::1%eth0]:1,[fe80::1%eth1]:1", "ipv6:[fe80::1%eth0]:1 ipv6:[fe80::1%eth1]:1"},
        {"unix:relative.sock", "unix:relative.sock"},
        {"unix:/run/a,b.sock", "unix:/run/a,b.sock"}, /* a comma is a letter of the path */
        {"unix:///run/users.sock", "unix:/run/users.sock"},
        {"unix:/run/a?b", "unix:/run/a?b"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct watcher watcher;
        watcher_start(&watcher, weft__static_resolver(), pairs[i][0]);
        assert_string_equal(watcher.list, pairs[i][1]);
        assert_int_equal(watcher.lists, 1);
        watcher_stop(&watcher);
    }
}

static void a_target_in_the_form_of_grpc_with_a_mistake_is_refused_with_the_reason(void **state)
{
    static const char *const bad[] = {
        "ipv4:",
        "ipv4:10.0.0.1",
        "ipv4:10.0.0.1:1,",
        "ipv4:10.0.0.1:1,,10.0.0.2:1",
        "ipv4:10.0.0.1:1, 10.0.0.2:1",
        "ipv4:10.0.0.1:1,10.0.0.2",
        "ipv4:10.0.0.1:1,[::1]:1",
        "ipv4:10.0.0.1:1,users:1",
        "ipv4:10.0.0.1:1;weight=2",
        "ipv4:///10.0.0.1:1",
        "ipv6:[::1]:1,::1:1",
        "ipv6:[::1%]:1",
        "ipv6:[::1",
        "unix:",
        "unix://host/path",
        "unix-abstract:users", /* no engine takes it */
        "dns:///users:1",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct watcher watcher;
        char reason[256];
        watcher_init(&watcher);
        assert_int_equal(watcher_watch(&watcher, weft__static_resolver(), bad[i], reason), -EINVAL);
        assert_non_null(strstr(reason, "is no list of addresses: write ipv4:"));
        assert_int_equal(watcher.lists, 0);
        watcher_fini(&watcher);
    }
}

static void several_good_addresses_are_a_list_and_one_is_none(void **state)
{
    static const char *const lists[] = {"ipv4:10.0.0.1:1,10.0.0.2:1", "ipv6:[::1]:1,[::2]:1,[fe80::1%eth0]:1"};
    static const char *const others[] = {"ipv4:10.0.0.1:1",       "ipv6:[::1]:1",   "ipv4:10.0.0.1:1,",
                                         "ipv4:10.0.0.1:1,a:1",   "unix:/run/a,b",  "static:///10.0.0.1:1,10.0.0.2:1",
                                         "10.0.0.1:1,10.0.0.2:1", "dns:///users:1", ""};
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        assert_true(weft__is_address_list(lists[i]));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(weft__is_address_list(others[i]));
    assert_false(weft__is_address_list(NULL));
}

static int watch_addresses(void *context)
{
    struct watcher watcher;
    char reason[256];
    watcher_init(&watcher);
    int rc = watcher_watch(&watcher, weft__static_resolver(), context, reason);
    assert_int_equal(watcher.lists, rc == 0);
    watcher_fini(&watcher);
    return rc;
}

static void a_target_that_finds_no_memory_says_so(void **state)
{
    char addresses[] = "ipv4:10.0.0.1:1,10.0.0.2:1";
    (void)state;
    assert_true(weft_test_oom_sweep(watch_addresses, addresses) >= 4);
}

/* Of a list that belongs to a parent. @return whether each does what it says. */
static bool is_refused_in_a_child(weft_resolver *list, const weft_address *address)
{
    return weft_list_resolver_set(list, address, 1) == -ECHILD && weft_list_resolver_add(list, address) == -ECHILD &&
           weft_list_resolver_remove(list, address->address) == -ECHILD;
}

static void a_forked_child_is_refused_and_leaves_the_parent_alone(void **state)
{
    struct watcher watcher;
    weft_resolver *list;
    const weft_address address = {.address = "ipv4:10.0.0.1:1"};
    int status;
    (void)state;
    assert_int_equal(weft_list_resolver_new(&list), 0);
    watcher_start(&watcher, list, "list:///");
    watcher_expect_fork_refused(&watcher, "list:///");
    pid_t child = fork();
    if (child == 0)
        _exit(is_refused_in_a_child(list, &address) ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(weft_list_resolver_add(list, &address), 0);
    assert_string_equal(watcher.list, "ipv4:10.0.0.1:1");
    watcher_stop(&watcher);
    weft_resolver_free(list);
}

static int set_and_change(void *context)
{
    weft_resolver *list;
    const weft_metadatum pair = {weft_sv_from("k"), weft_sv_from("v")};
    const weft_address addresses[] = {{.address = "ipv4:10.0.0.1:1", .zone = "eu", .metadata = {&pair, 1}},
                                      {.address = "ipv4:10.0.0.2:1"}};
    (void)context;
    int rc = weft_list_resolver_new(&list);
    if (rc < 0)
        return rc;
    rc = weft_list_resolver_set(list, addresses, 1);
    if (rc == 0)
        rc = weft_list_resolver_add(list, &addresses[1]);
    if (rc == 0)
        rc = weft_list_resolver_remove(list, addresses[0].address);
    weft_resolver_free(list);
    return rc;
}

static void a_list_that_finds_no_memory_stays_as_it_was(void **state)
{
    (void)state;
    assert_true(weft_test_oom_sweep(set_and_change, NULL) > 10);
}

static void what_is_no_address_is_left_out_and_the_rest_published(void **state)
{
    const weft_address addresses[] = {
        {.address = "users:1"},    {.address = "ipv4:10.0.0.1:1", .weight = 2}, {.address = NULL},
        {.address = "10.0.0.2:1"}, {.address = "ipv4:10.0.0.3:1,10.0.0.4:1"},   {.address = "ipv6:[::1]:1"}};
    weft_resolution resolution = {.struct_size = sizeof resolution, .addresses = addresses, .address_count = 6};
    struct watcher watcher;
    (void)state;
    watcher_init(&watcher);
    weft_sink_publish(&watcher.sink, &resolution);
    assert_string_equal(watcher.list, "ipv4:10.0.0.1:1*2 ipv6:[::1]:1");
    watcher_fini(&watcher);
}

static void a_list_of_nothing_that_is_an_address_is_a_failure(void **state)
{
    const weft_address address = {.address = "users"};
    const weft_resolution resolution = {.struct_size = sizeof resolution, .addresses = &address, .address_count = 1};
    const weft_resolution none = {.struct_size = sizeof none};
    struct watcher watcher;
    (void)state;
    watcher_init(&watcher);
    weft_sink_publish(&watcher.sink, &resolution);
    assert_int_equal(watcher.lists, 0);
    assert_int_equal(watcher.fails, 1);
    weft_sink_publish(&watcher.sink, &none); /* no instance is another thing */
    assert_int_equal(watcher.lists, 1);
    watcher_fini(&watcher);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_static_target_is_published_at_once_with_its_weights),
        cmocka_unit_test(a_static_target_with_a_mistake_is_refused_with_the_reason),
        cmocka_unit_test(a_target_in_the_form_of_grpc_is_published_address_by_address),
        cmocka_unit_test(a_target_in_the_form_of_grpc_with_a_mistake_is_refused_with_the_reason),
        cmocka_unit_test(several_good_addresses_are_a_list_and_one_is_none),
        cmocka_unit_test(a_target_that_finds_no_memory_says_so),
        cmocka_unit_test(a_list_of_the_program_is_published_to_all_when_it_changes),
        cmocka_unit_test(a_forked_child_is_refused_and_leaves_the_parent_alone),
        cmocka_unit_test(a_list_that_finds_no_memory_stays_as_it_was),
        cmocka_unit_test(what_is_no_address_is_left_out_and_the_rest_published),
        cmocka_unit_test(a_list_of_nothing_that_is_an_address_is_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
