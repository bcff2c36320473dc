/* The DNS resolver against a name server of the test's. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "resolve/runner.h"
#include "support/alloc_fault.h"
#include "unit/resolve/dns_server.h"
#include "unit/resolve/watcher.h"

#define NS_PER_MS INT64_C(1000000)
#define NEVER_MS  INT64_C(3600000)

/* A server, and a resolver that asks it. */
struct rig {
    struct dns_server *server;
    weft_resolver *dns;
    struct watcher watcher;
    char servers[64];
};

static void set_up(struct rig *rig, int64_t refresh_ms, int64_t min_refresh_ms)
{
    weft_dns_resolver_options options = WEFT_DNS_RESOLVER_OPTIONS_INIT;
    rig->server = dns_server_start();
    snprintf(rig->servers, sizeof rig->servers, "127.0.0.1:%u", (unsigned)dns_server_port(rig->server));
    options.servers = rig->servers;
    options.refresh_ms = refresh_ms;
    options.min_refresh_ms = min_refresh_ms;
    options.timeout_ms = 250;
    assert_int_equal(weft_dns_resolver_new(&rig->dns, &options), 0);
}

static void tear_down(struct rig *rig)
{
    weft_resolver_free(rig->dns);
    dns_server_stop(rig->server);
}

static void hint(struct watcher *watcher)
{
    watcher->resolver->vtable->hint(watcher->resolver, watcher->watch);
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static void a_name_gives_all_its_addresses_of_both_families(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, NEVER_MS, 1);
    dns_server_add(rig.server, "users.test", "10.0.0.1", 60);
    dns_server_add(rig.server, "users.test", "10.0.0.2", 60);
    dns_server_add(rig.server, "users.test", "fd00::1", 60);
    dns_server_add(rig.server, "users.test", "10.0.0.2", 60); /* twice is once */
    watcher_start(&rig.watcher, rig.dns, "dns:///users.test:50051");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:50051 ipv4:10.0.0.2:50051 ipv6:[fd00::1]:50051");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void a_name_of_one_family_needs_no_other(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, NEVER_MS, 1);
    dns_server_add(rig.server, "six.test", "fd00::1", 60);
    dns_server_add(rig.server, "four.test", "10.0.0.1", 60);
    watcher_start(&rig.watcher, rig.dns, "dns:///six.test:1");
    watcher_expect(&rig.watcher, "ipv6:[fd00::1]:1");
    watcher_stop(&rig.watcher);
    dns_server_answer_aaaa(rig.server, DNS_SERVFAIL);
    watcher_start(&rig.watcher, rig.dns, "dns:///four.test:1");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void another_name_of_it_is_followed(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, NEVER_MS, 1);
    dns_server_add_cname(rig.server, "users.test", "blue.test", 60);
    dns_server_add(rig.server, "blue.test", "10.0.0.1", 60);
    watcher_start(&rig.watcher, rig.dns, "dns:///users.test:1");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void an_address_is_published_at_once_and_nobody_is_asked(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, NEVER_MS, 1);
    watcher_start(&rig.watcher, rig.dns, "dns:///10.0.0.1:50051");
    assert_string_equal(rig.watcher.list, "ipv4:10.0.0.1:50051");
    hint(&rig.watcher);
    watcher_stop(&rig.watcher);
    watcher_start(&rig.watcher, rig.dns, "dns:///[::1]:50051");
    assert_string_equal(rig.watcher.list, "ipv6:[::1]:50051");
    watcher_stop(&rig.watcher);
    assert_int_equal(dns_server_questions(rig.server), 0);
    tear_down(&rig);
}

static void the_target_chooses_the_servers(void **state)
{
    struct rig rig, other;
    char target[128];
    (void)state;
    set_up(&rig, NEVER_MS, 1);
    set_up(&other, NEVER_MS, 1);
    dns_server_add(other.server, "users.test", "10.0.0.9", 60);
    snprintf(target, sizeof target, "dns://%s/users.test:1", other.servers);
    watcher_start(&rig.watcher, rig.dns, target);
    watcher_expect(&rig.watcher, "ipv4:10.0.0.9:1");
    watcher_stop(&rig.watcher);
    assert_int_equal(dns_server_questions(rig.server), 0);
    tear_down(&other);
    tear_down(&rig);
}

static void more_addresses_than_the_limit_are_left_out(void **state)
{
    struct rig rig;
    char address[32];
    weft_dns_resolver_options options = WEFT_DNS_RESOLVER_OPTIONS_INIT;
    (void)state;
    set_up(&rig, NEVER_MS, 1);
    weft_resolver_free(rig.dns);
    options.servers = rig.servers;
    options.max_addresses = 2;
    assert_int_equal(weft_dns_resolver_new(&rig.dns, &options), 0);
    for (int i = 1; i <= 5; i++) {
        snprintf(address, sizeof address, "10.0.0.%d", i);
        dns_server_add(rig.server, "users.test", address, 60);
        dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 1, 1, (uint16_t)i, "users.test", 60);
    }
    watcher_start(&rig.watcher, rig.dns, "dns:///users.test:1");
    watcher_expect_lists(&rig.watcher, 1);
    assert_int_equal(strlen(rig.watcher.list), strlen("ipv4:10.0.0.1:1 ipv4:10.0.0.2:1"));
    watcher_stop(&rig.watcher);
    watcher_start(&rig.watcher, rig.dns, "dns:///_grpc._tcp.users.test");
    watcher_expect_lists(&rig.watcher, 1);
    assert_int_equal(strlen(rig.watcher.list), strlen("ipv4:10.0.0.1:1 ipv4:10.0.0.2:1"));
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

/* ---- when -------------------------------------------------------------------------------------------------------- */

static void a_name_is_asked_for_again_when_its_time_to_live_is_over(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, NEVER_MS, 1);
    dns_server_add(rig.server, "users.test", "10.0.0.1", 60);
    dns_server_add(rig.server, "users.test", "10.0.0.2", 1); /* the shortest counts */
    watcher_start(&rig.watcher, rig.dns, "dns:///users.test:1");
    watcher_expect_lists(&rig.watcher, 1);
    int64_t first_ns = weft__runner_now_ns();
    dns_server_clear(rig.server);
    dns_server_add(rig.server, "users.test", "10.0.0.3", 60);
    watcher_expect(&rig.watcher, "ipv4:10.0.0.3:1");
    assert_true(weft__runner_now_ns() - first_ns > 900 * NS_PER_MS);
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void a_name_is_asked_for_again_though_its_time_to_live_is_long_and_nothing_failed(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, 20, 1);
    dns_server_add(rig.server, "users.test", "10.0.0.1", 86400);
    watcher_start(&rig.watcher, rig.dns, "dns:///users.test:1");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    dns_server_add(rig.server, "users.test", "10.0.0.2", 86400);
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1 ipv4:10.0.0.2:1");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void a_time_to_live_of_0_does_not_make_a_name_asked_for_without_pause(void **state)
{
    struct rig rig, often;
    (void)state;
    set_up(&rig, NEVER_MS, 1);
    set_up(&often, 10, 1);
    dns_server_add(rig.server, "users.test", "10.0.0.1", 0);
    dns_server_add(often.server, "users.test", "10.0.0.1", 0);
    watcher_start(&rig.watcher, rig.dns, "dns:///users.test:1");
    watcher_expect_lists(&rig.watcher, 1);
    watcher_start(&often.watcher, often.dns, "dns:///users.test:1");
    watcher_expect_lists(&often.watcher, 10);
    assert_int_equal(watcher_lists(&rig.watcher), 1);
    watcher_stop(&often.watcher);
    watcher_stop(&rig.watcher);
    tear_down(&often);
    tear_down(&rig);
}

static void hints_bring_a_round_but_not_more_often_than_the_least_pause(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, NEVER_MS, 200);
    dns_server_add(rig.server, "users.test", "10.0.0.1", 60);
    int64_t start_ns = weft__runner_now_ns();
    watcher_start(&rig.watcher, rig.dns, "dns:///users.test:1");
    for (int lists = 1; lists <= 3; lists++) {
        watcher_expect_lists(&rig.watcher, lists);
        for (int i = 0; i < 100; i++)
            hint(&rig.watcher);
    }
    watcher_stop(&rig.watcher);
    int64_t passed_ns = weft__runner_now_ns() - start_ns;
    assert_true(passed_ns >= 400 * NS_PER_MS);
    assert_true(dns_server_questions(rig.server) <= passed_ns / (200 * NS_PER_MS) + 1);
    tear_down(&rig);
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

static void a_name_that_is_not_found_is_a_failure_until_it_is(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, 50, 5);
    watcher_start(&rig.watcher, rig.dns, "dns:///users.test:1");
    watcher_expect_text(&rig.watcher, "dns: users.test: ");
    watcher_expect_fails(&rig.watcher, 3);
    assert_int_equal(watcher_lists(&rig.watcher), 0);
    dns_server_add(rig.server, "users.test", "10.0.0.1", 60);
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

/* Publishes a list, then has the server answer badly, sees that the list stays, and that a good answer is taken. */
static void assert_keeps_the_list(enum dns_answer answer)
{
    struct rig rig;
    set_up(&rig, 50, 5);
    dns_server_add(rig.server, "users.test", "10.0.0.1", 60);
    watcher_start(&rig.watcher, rig.dns, "dns:///users.test:1");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    dns_server_answer(rig.server, answer);
    if (answer == DNS_RECORDS)
        dns_server_clear(rig.server);
    watcher_expect_fails(&rig.watcher, 1);
    int lists = watcher_lists(&rig.watcher);
    watcher_expect_fails(&rig.watcher, 2);
    assert_int_equal(watcher_lists(&rig.watcher), lists);
    dns_server_clear(rig.server);
    dns_server_add(rig.server, "users.test", "10.0.0.2", 60);
    dns_server_answer(rig.server, DNS_RECORDS);
    watcher_expect(&rig.watcher, "ipv4:10.0.0.2:1");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void a_name_that_vanishes_keeps_its_last_list(void **state)
{
    (void)state;
    assert_keeps_the_list(DNS_RECORDS);
}

static void a_server_that_is_silent_costs_nothing_but_news(void **state)
{
    (void)state;
    assert_keeps_the_list(DNS_SILENCE);
}

static void a_server_that_fails_costs_nothing_but_news(void **state)
{
    (void)state;
    assert_keeps_the_list(DNS_SERVFAIL);
}

static void an_answer_of_garbage_costs_nothing_but_news(void **state)
{
    (void)state;
    assert_keeps_the_list(DNS_GARBAGE);
}

static void an_answer_that_is_cut_off_costs_nothing_but_news(void **state)
{
    (void)state;
    assert_keeps_the_list(DNS_CUT);
}

static void a_server_that_is_gone_costs_nothing_but_news(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, 50, 5);
    dns_server_add(rig.server, "users.test", "10.0.0.1", 60);
    watcher_start(&rig.watcher, rig.dns, "dns:///users.test:1");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    dns_server_stop(rig.server);
    watcher_expect_fails(&rig.watcher, 2);
    assert_string_equal(rig.watcher.list, "ipv4:10.0.0.1:1");
    watcher_stop(&rig.watcher);
    weft_resolver_free(rig.dns);
}

static void failures_are_asked_about_with_a_growing_pause(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, NEVER_MS, 20); /* pauses of at least 20, up to 40, 80, 160 … */
    int64_t start_ns = weft__runner_now_ns();
    watcher_start(&rig.watcher, rig.dns, "dns:///users.test:1");
    watcher_expect_fails(&rig.watcher, 4);
    assert_true(weft__runner_now_ns() - start_ns >= 60 * NS_PER_MS);
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void an_answer_too_long_for_a_datagram_comes_by_tcp(void **state)
{
    struct rig rig;
    char address[32];
    (void)state;
    set_up(&rig, NEVER_MS, 1);
    for (int i = 1; i <= 200; i++) {
        snprintf(address, sizeof address, "10.0.1.%d", i);
        dns_server_add(rig.server, "users.test", address, 60);
    }
    dns_server_answer(rig.server, DNS_TRUNCATED);
    watcher_start(&rig.watcher, rig.dns, "dns:///users.test:1");
    watcher_expect_lists(&rig.watcher, 1);
    assert_non_null(strstr(rig.watcher.list, "ipv4:10.0.1.1:1"));
    assert_non_null(strstr(rig.watcher.list, "ipv4:10.0.1.200:1"));
    assert_true(dns_server_tcp_questions(rig.server) > 0);
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

/* ---- SRV --------------------------------------------------------------------------------------------------------- */

static void srv_records_give_ports_weights_and_who_is_spare(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, NEVER_MS, 1);
    dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 10, 5, 1001, "a.test", 60);
    dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 10, 0, 1002, "b.test", 60);
    dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 20, 7, 1003, "a.test", 60);
    dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 1, 1, 1004, "", 60);           /* "." */
    dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 10, 1, 0, "a.test", 60);       /* no port */
    dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 10, 1, 1005, "gone.test", 60); /* no address */
    dns_server_add(rig.server, "a.test", "10.0.0.1", 60);
    dns_server_add(rig.server, "b.test", "10.0.0.2", 60);
    dns_server_add(rig.server, "b.test", "fd00::2", 60);
    watcher_start(&rig.watcher, rig.dns, "dns:///_grpc._tcp.users.test");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1001*5 ipv4:10.0.0.1:1003*7!2 ipv4:10.0.0.2:1002 ipv6:[fd00::2]:1002");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void an_instance_of_two_priorities_is_one_of_the_first(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, NEVER_MS, 1);
    dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 20, 7, 1, "a.test", 60);
    dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 10, 5, 1, "a.test", 60);
    dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 20, 9, 1, "a.test", 60);
    dns_server_add(rig.server, "a.test", "10.0.0.1", 60);
    watcher_start(&rig.watcher, rig.dns, "dns:///_grpc._tcp.users.test");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1*5");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void srv_records_are_asked_for_again_when_their_time_is_over(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, NEVER_MS, 1);
    dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 1, 1, 1, "a.test", 1);
    dns_server_add(rig.server, "a.test", "10.0.0.1", 60);
    watcher_start(&rig.watcher, rig.dns, "dns:///_grpc._tcp.users.test");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 1, 1, 2, "a.test", 60);
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1 ipv4:10.0.0.1:2");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void a_host_that_cannot_be_asked_for_does_not_shrink_a_known_list(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, 50, 5);
    dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 1, 1, 1, "a.test", 60);
    dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 1, 1, 1, "b.test", 60);
    dns_server_add(rig.server, "a.test", "10.0.0.1", 60);
    dns_server_add(rig.server, "b.test", "10.0.0.2", 60);
    watcher_start(&rig.watcher, rig.dns, "dns:///_grpc._tcp.users.test");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1 ipv4:10.0.0.2:1");
    dns_server_answer_name(rig.server, "b.test", DNS_SERVFAIL);
    watcher_expect_fails(&rig.watcher, 2);
    assert_string_equal(rig.watcher.list, "ipv4:10.0.0.1:1 ipv4:10.0.0.2:1");
    watcher_stop(&rig.watcher);
    /* Without a known list, some are better than none. */
    watcher_start(&rig.watcher, rig.dns, "dns:///_grpc._tcp.users.test");
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void srv_records_that_name_nobody_are_a_failure(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, 50, 5);
    dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 0, 0, 0, "", 60);
    watcher_start(&rig.watcher, rig.dns, "dns:///_grpc._tcp.users.test");
    watcher_expect_text(&rig.watcher, "there is no such service");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void bad_srv_answers_cost_nothing_but_news(void **state)
{
    static const enum dns_answer bad[] = {DNS_GARBAGE, DNS_CUT};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct rig rig;
        set_up(&rig, 50, 5);
        dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 1, 1, 1, "a.test", 60);
        dns_server_add(rig.server, "a.test", "10.0.0.1", 60);
        watcher_start(&rig.watcher, rig.dns, "dns:///_grpc._tcp.users.test");
        watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1");
        dns_server_answer(rig.server, bad[i]);
        watcher_expect_fails(&rig.watcher, 2);
        assert_string_equal(rig.watcher.list, "ipv4:10.0.0.1:1");
        watcher_stop(&rig.watcher);
        tear_down(&rig);
    }
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void the_end_of_a_watch_waits_for_the_publish_under_way(void **state)
{
    struct rig rig;
    struct watcher other; /* whose rounds show, too, that nothing comes after the end */
    (void)state;
    set_up(&rig, 5, 1);
    dns_server_add(rig.server, "users.test", "10.0.0.1", 60);
    watcher_start(&other, rig.dns, "dns:///users.test:1");
    watcher_start(&rig.watcher, rig.dns, "dns:///users.test:1");
    watcher_hold(&rig.watcher);
    watcher_expect_inside(&rig.watcher);
    watcher_expect_end_waits(&rig.watcher);
    int lists = watcher_lists(&rig.watcher);
    watcher_expect_lists(&other, watcher_lists(&other) + 5);
    assert_int_equal(watcher_lists(&rig.watcher), lists);
    watcher_stop(&other);
    watcher_fini(&rig.watcher);
    tear_down(&rig);
}

static void a_watch_may_end_amid_a_question(void **state)
{
    static const char *const targets[] = {"dns:///users.test:1", "dns:///_grpc._tcp.users.test"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct rig rig;
        set_up(&rig, NEVER_MS, 1);
        dns_server_answer(rig.server, DNS_SILENCE);
        watcher_start(&rig.watcher, rig.dns, targets[i]);
        dns_server_expect_questions(rig.server, 1);
        watcher_stop(&rig.watcher);
        tear_down(&rig);
    }
}

static int count_threads(void)
{
    int count = 0;
    char path[300], name[32];
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (const struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = entry->d_name[0] != '.' ? fopen(path, "r") : NULL;
        if (file == NULL)
            continue;
        count += fgets(name, sizeof name, file) != NULL && strncmp(name, "weft-dns", 8) == 0;
        fclose(file);
    }
    closedir(tasks);
    return count;
}

static void watches_share_a_thread_that_ends_with_the_last(void **state)
{
    enum {
        WATCHES = 20
    };
    static struct watcher watchers[WATCHES];
    struct rig rig;
    (void)state;
    set_up(&rig, 10, 1);
    dns_server_add(rig.server, "users.test", "10.0.0.1", 60);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(count_threads(), 0);
        for (int i = 0; i < WATCHES; i++)
            watcher_start(&watchers[i], rig.dns, "dns:///users.test:1");
        for (int i = 0; i < WATCHES; i++)
            watcher_expect(&watchers[i], "ipv4:10.0.0.1:1");
        assert_int_equal(count_threads(), 1);
        for (int i = 0; i < WATCHES; i++)
            watcher_stop(&watchers[i]);
    }
    assert_int_equal(count_threads(), 0);
    tear_down(&rig);
}

struct churner {
    weft_resolver *dns;
    pthread_t thread;
};

static void *churn(void *arg)
{
    const struct churner *churner = arg;
    for (int i = 0; i < 50; i++) {
        struct watcher watcher;
        watcher_start(&watcher, churner->dns, "dns:///users.test:1");
        hint(&watcher);
        if (i % 2 == 0)
            watcher_expect(&watcher, "ipv4:10.0.0.1:1");
        watcher_stop(&watcher);
    }
    return NULL;
}

static void watches_come_and_go_on_many_threads(void **state)
{
    struct churner churners[4];
    struct rig rig;
    (void)state;
    set_up(&rig, 10, 1);
    dns_server_add(rig.server, "users.test", "10.0.0.1", 60);
    for (size_t i = 0; i < 4; i++) {
        churners[i].dns = rig.dns;
        assert_int_equal(pthread_create(&churners[i].thread, NULL, churn, &churners[i]), 0);
    }
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(churners[i].thread, NULL), 0);
    tear_down(&rig);
}

/* ---- what is refused --------------------------------------------------------------------------------------------- */

static void a_forked_child_is_refused_and_leaves_the_parent_alone(void **state)
{
    struct rig rig;
    char reason[256];
    (void)state;
    set_up(&rig, NEVER_MS, 1);
    dns_server_add(rig.server, "users.test", "10.0.0.1", 60);
    watcher_init(&rig.watcher);
    watcher_hold(&rig.watcher);
    assert_int_equal(watcher_watch(&rig.watcher, rig.dns, "dns:///users.test:1", reason), 0);
    watcher_expect_inside(&rig.watcher); /* to end the watch is to wait for this */
    watcher_expect_fork_refused(&rig.watcher, "dns:///users.test:1");
    watcher_expect_fork_refused(&rig.watcher, "dns:///10.0.0.1:1"); /* which needs no thread */
    dns_server_add(rig.server, "users.test", "10.0.0.2", 60);
    watcher_release(&rig.watcher);
    hint(&rig.watcher);
    watcher_expect(&rig.watcher, "ipv4:10.0.0.1:1 ipv4:10.0.0.2:1");
    watcher_stop(&rig.watcher);
    tear_down(&rig);
}

static void a_target_that_is_no_name_is_refused_with_the_reason(void **state)
{
    static const char *const bad[][2] = {
        {"dns:///users", "no name and port"},          {"dns:///", "no name and port"},
        {"dns:///users:0", "no name and port"},        {"dns:///users:1?a=b", "no name and port"},
        {"dns:///_grpc._tcp.a b", "no name and port"}, {"dns://ns.test/users:1", "no servers"},
        {"dns://127.0.0.1:x/users:1", "no servers"},   {"dns://127.0.0.1,/users:1", "no servers"},
        {"dns://,127.0.0.1/users:1", "no servers"},
    };
    struct rig rig;
    char reason[256];
    (void)state;
    set_up(&rig, NEVER_MS, 1);
    watcher_init(&rig.watcher);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(watcher_watch(&rig.watcher, rig.dns, bad[i][0], reason), -EINVAL);
        assert_non_null(strstr(reason, bad[i][1]));
    }
    watcher_fini(&rig.watcher);
    tear_down(&rig);
}

static void an_option_out_of_range_is_refused(void **state)
{
    static const weft_dns_resolver_options bad[] = {
        {.struct_size = 0},
        {.struct_size = sizeof bad[0], .refresh_ms = -1},
        {.struct_size = sizeof bad[0], .refresh_ms = INT64_MAX},
        {.struct_size = sizeof bad[0], .refresh_ms = 10, .min_refresh_ms = 11},
        {.struct_size = sizeof bad[0], .timeout_ms = -2},
        {.struct_size = sizeof bad[0], .max_addresses = 1000000},
        {.struct_size = sizeof bad[0], .servers = "ns.test"},
        {.struct_size = sizeof bad[0], .servers = "[::1"},
    };
    weft_resolver *dns;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(weft_dns_resolver_new(&dns, &bad[i]), -EINVAL);
    assert_int_equal(weft_dns_resolver_new(&dns, NULL), 0);
    weft_resolver_free(dns);
}

static void without_a_thread_nothing_is_watched(void **state)
{
    struct rig rig;
    char reason[256];
    (void)state;
    set_up(&rig, NEVER_MS, 1);
    watcher_init(&rig.watcher);
    weft_test_thread_fail_at(1);
    assert_int_equal(watcher_watch(&rig.watcher, rig.dns, "dns:///users.test:1", reason), -EAGAIN);
    weft_test_thread_fail_at(0);
    watcher_fini(&rig.watcher);
    tear_down(&rig);
}

/* One watch until it has been told something. */
static int resolve_once(void *context)
{
    const char *const *what = context; /* servers, target */
    weft_dns_resolver_options options = WEFT_DNS_RESOLVER_OPTIONS_INIT;
    weft_resolver *dns;
    struct watcher watcher;
    char reason[256];
    options.servers = what[0];
    int rc = weft_dns_resolver_new(&dns, &options);
    if (rc < 0)
        return rc;
    watcher_init(&watcher);
    rc = watcher_watch(&watcher, dns, what[1], reason);
    if (rc == 0) {
        rc = watcher_expect_any(&watcher) ? 0 : -ENOMEM;
        watcher_stop(&watcher);
    } else {
        watcher_fini(&watcher);
    }
    weft_resolver_free(dns);
    return rc;
}

static void a_round_that_finds_no_memory_is_a_failure_and_leaves_nothing_behind(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, NEVER_MS, 1);
    dns_server_add(rig.server, "users.test", "10.0.0.1", 60);
    dns_server_add_srv(rig.server, "_grpc._tcp.users.test", 1, 1, 1, "users.test", 60);
    const char *host[] = {rig.servers, "dns:///users.test:1"};
    const char *srv[] = {rig.servers, "dns:///_grpc._tcp.users.test"};
    assert_true(weft_test_oom_sweep(resolve_once, host) >= 5);
    assert_true(weft_test_oom_sweep(resolve_once, srv) >= 6);
    tear_down(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_gives_all_its_addresses_of_both_families),
        cmocka_unit_test(a_name_of_one_family_needs_no_other),
        cmocka_unit_test(another_name_of_it_is_followed),
        cmocka_unit_test(an_address_is_published_at_once_and_nobody_is_asked),
        cmocka_unit_test(the_target_chooses_the_servers),
        cmocka_unit_test(more_addresses_than_the_limit_are_left_out),
        cmocka_unit_test(a_name_is_asked_for_again_when_its_time_to_live_is_over),
        cmocka_unit_test(a_name_is_asked_for_again_though_its_time_to_live_is_long_and_nothing_failed),
        cmocka_unit_test(a_time_to_live_of_0_does_not_make_a_name_asked_for_without_pause),
        cmocka_unit_test(hints_bring_a_round_but_not_more_often_than_the_least_pause),
        cmocka_unit_test(a_name_that_is_not_found_is_a_failure_until_it_is),
        cmocka_unit_test(a_name_that_vanishes_keeps_its_last_list),
        cmocka_unit_test(a_server_that_is_silent_costs_nothing_but_news),
        cmocka_unit_test(a_server_that_fails_costs_nothing_but_news),
        cmocka_unit_test(an_answer_of_garbage_costs_nothing_but_news),
        cmocka_unit_test(an_answer_that_is_cut_off_costs_nothing_but_news),
        cmocka_unit_test(a_server_that_is_gone_costs_nothing_but_news),
        cmocka_unit_test(failures_are_asked_about_with_a_growing_pause),
        cmocka_unit_test(an_answer_too_long_for_a_datagram_comes_by_tcp),
        cmocka_unit_test(srv_records_give_ports_weights_and_who_is_spare),
        cmocka_unit_test(an_instance_of_two_priorities_is_one_of_the_first),
        cmocka_unit_test(srv_records_are_asked_for_again_when_their_time_is_over),
        cmocka_unit_test(a_host_that_cannot_be_asked_for_does_not_shrink_a_known_list),
        cmocka_unit_test(srv_records_that_name_nobody_are_a_failure),
        cmocka_unit_test(bad_srv_answers_cost_nothing_but_news),
        cmocka_unit_test(the_end_of_a_watch_waits_for_the_publish_under_way),
        cmocka_unit_test(a_watch_may_end_amid_a_question),
        cmocka_unit_test(watches_share_a_thread_that_ends_with_the_last),
        cmocka_unit_test(watches_come_and_go_on_many_threads),
        cmocka_unit_test(a_forked_child_is_refused_and_leaves_the_parent_alone),
        cmocka_unit_test(a_target_that_is_no_name_is_refused_with_the_reason),
        cmocka_unit_test(an_option_out_of_range_is_refused),
        cmocka_unit_test(without_a_thread_nothing_is_watched),
        cmocka_unit_test(a_round_that_finds_no_memory_is_a_failure_and_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
