/* client/health_check.h and client/health_http.h: what needs neither an engine nor a socket. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/health_check.h"
#include "client/health_http.h"
#include "support/alloc_fault.h"

/* ---- options ----------------------------------------------------------------------------------------------------- */

static void options_have_defaults(void **state)
{
    weft_health_check_options out;
    (void)state;
    assert_int_equal(weft__health_check_options(&out, NULL), 0);
    assert_int_equal(out.kind, WEFT_HEALTH_CHECK_GRPC);
    assert_string_equal(out.service, "");
    assert_string_equal(out.path, "/health");
    assert_int_equal(out.interval_ms, 30000);
    assert_int_equal(out.timeout_ms, 5000);
    assert_int_equal(out.unhealthy_after, 3);
    assert_int_equal(out.healthy_after, 1);
}

static void a_check_may_not_take_longer_than_the_interval(void **state)
{
    weft_health_check_options out;
    weft_health_check_options options = WEFT_HEALTH_CHECK_OPTIONS_INIT;
    (void)state;
    options.interval_ms = 1000;
    assert_int_equal(weft__health_check_options(&out, &options), 0);
    assert_int_equal(out.timeout_ms, 1000);
    options.timeout_ms = 1001;
    assert_int_equal(weft__health_check_options(&out, &options), -EINVAL);
    options.kind = WEFT_HEALTH_CHECK_WATCH; /* which has no interval */
    assert_int_equal(weft__health_check_options(&out, &options), 0);
    assert_int_equal(out.timeout_ms, 1001);
}

static void no_failure_at_all_may_be_put_up_with(void **state)
{
    weft_health_check_options out;
    weft_health_check_options options = WEFT_HEALTH_CHECK_OPTIONS_INIT;
    (void)state;
    options.unhealthy_after = -1;
    assert_int_equal(weft__health_check_options(&out, &options), 0);
    assert_int_equal(out.unhealthy_after, 0);
    options.unhealthy_after = -2;
    assert_int_equal(weft__health_check_options(&out, &options), -EINVAL);
}

static void options_out_of_range_are_refused(void **state)
{
    static const weft_health_check_options wrong[] = {
        {.struct_size = 0},
        {.struct_size = sizeof *wrong, .kind = (weft_health_check_kind)3},
        {.struct_size = sizeof *wrong, .kind = (weft_health_check_kind)-1},
        {.struct_size = sizeof *wrong, .interval_ms = -1},
        {.struct_size = sizeof *wrong, .interval_ms = INT64_C(1) << 31},
        {.struct_size = sizeof *wrong, .timeout_ms = -1},
        {.struct_size = sizeof *wrong, .healthy_after = -1},
        {.struct_size = sizeof *wrong, .path = ""},
        {.struct_size = sizeof *wrong, .path = "health"},
        {.struct_size = sizeof *wrong, .path = "/a b"},
        {.struct_size = sizeof *wrong, .path = "/a\r\nX-Evil: 1"},
        {.struct_size = sizeof *wrong, .path = "/\x7f"},
        {.struct_size = sizeof *wrong, .service = "\xff"},
    };
    char path[1026] = "/";
    weft_health_check_options out = {.interval_ms = 7};
    weft_health_check_options options = WEFT_HEALTH_CHECK_OPTIONS_INIT;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(weft__health_check_options(&out, &wrong[i]), -EINVAL);
    memset(path + 1, 'x', 1022);
    options.path = path;
    assert_int_equal(out.interval_ms, 7);
    assert_int_equal(weft__health_check_options(&out, &options), 0);
    path[1023] = 'x';
    assert_int_equal(weft__health_check_options(&out, &options), -EINVAL);
}

static void a_service_config_asks_for_a_watch(void **state)
{
    weft_health_check_options out;
    const weft_health_check_options options = weft__health_check_of_service("users");
    (void)state;
    assert_int_equal(weft__health_check_options(&out, &options), 0);
    assert_int_equal(out.kind, WEFT_HEALTH_CHECK_WATCH);
    assert_string_equal(out.service, "users");
}

/* ---- counting ---------------------------------------------------------------------------------------------------- */

struct counted {
    weft_health_check_options options;
    weft__health_count count;
    weft__verdict verdict;
};

static weft__verdict after(struct counted *counted, int checks, bool good)
{
    for (int i = 0; i < checks; i++)
        counted->verdict = weft__health_count_check(&counted->count, &counted->options, counted->verdict, good);
    return counted->verdict;
}

static void more_than_three_failures_in_a_row_are_too_many(void **state)
{
    struct counted counted = {.verdict = WEFT__VERDICT_WELL};
    (void)state;
    assert_int_equal(weft__health_check_options(&counted.options, NULL), 0);
    assert_int_equal(after(&counted, 3, false), WEFT__VERDICT_WELL);
    assert_int_equal(after(&counted, 1, true), WEFT__VERDICT_WELL);
    assert_int_equal(after(&counted, 3, false), WEFT__VERDICT_WELL);
    assert_int_equal(after(&counted, 1, false), WEFT__VERDICT_ILL);
    assert_int_equal(counted.count.failures, 4);
    assert_int_equal(after(&counted, 100, false), WEFT__VERDICT_ILL);
    assert_int_equal(after(&counted, 1, true), WEFT__VERDICT_WELL);
}

static void a_return_may_take_several_successes(void **state)
{
    struct counted counted = {.verdict = WEFT__VERDICT_WELL};
    weft_health_check_options options = WEFT_HEALTH_CHECK_OPTIONS_INIT;
    (void)state;
    options.unhealthy_after = -1;
    options.healthy_after = 3;
    assert_int_equal(weft__health_check_options(&counted.options, &options), 0);
    assert_int_equal(after(&counted, 1, true), WEFT__VERDICT_WELL);
    assert_int_equal(after(&counted, 1, false), WEFT__VERDICT_ILL);
    assert_int_equal(after(&counted, 2, true), WEFT__VERDICT_ILL);
    assert_int_equal(after(&counted, 1, false), WEFT__VERDICT_ILL);
    assert_int_equal(after(&counted, 2, true), WEFT__VERDICT_ILL);
    assert_int_equal(after(&counted, 1, true), WEFT__VERDICT_WELL);
}

static void the_first_word_of_a_watch_decides(void **state)
{
    struct counted counted = {.verdict = WEFT__VERDICT_AWAITED};
    weft_health_check_options options = WEFT_HEALTH_CHECK_OPTIONS_INIT;
    (void)state;
    options.kind = WEFT_HEALTH_CHECK_WATCH;
    options.unhealthy_after = 7; /* of no meaning here */
    options.healthy_after = 7;
    assert_int_equal(weft__health_check_options(&counted.options, &options), 0);
    assert_int_equal(after(&counted, 1, true), WEFT__VERDICT_WELL);
    assert_int_equal(after(&counted, 1, false), WEFT__VERDICT_ILL);
    counted.verdict = WEFT__VERDICT_AWAITED;
    assert_int_equal(after(&counted, 1, false), WEFT__VERDICT_ILL);
}

/* ---- HTTP -------------------------------------------------------------------------------------------------------- */

static int status_of(const char *text)
{
    return weft__http_status(text, strlen(text));
}

static void a_status_line_is_read(void **state)
{
    (void)state;
    assert_int_equal(status_of("HTTP/1.1 200 OK\r\n"), 200);
    assert_int_equal(status_of("HTTP/1.0 204 \r\n"), 204);
    assert_int_equal(status_of("HTTP/1.1 503\r\n"), 503);
    assert_int_equal(status_of("HTTP/1.1 599\n"), 599);
    assert_int_equal(status_of("HTTP/1.1 100 Continue\r\n"), 100);
}

static void what_is_no_status_line_is_told_at_its_first_wrong_byte(void **state)
{
    static const char *const wrong[] = {
        "h",        "HTTQ",          "HTTP/2 ",        "HTTP/1.x",       "HTTP/1.1\t",     "HTTP/1.1 2x",
        "SSH-2.0-", "HTTP/1.1 2000", "HTTP/1.1 099 N", "HTTP/1.1 600 N", "HTTP/1.1 -20 N", "\x15\x03\x03",
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(status_of(wrong[i]), -EBADMSG);
    assert_int_equal(weft__http_status("HTTP/1.1 \0 OK\r\n", 15), -EBADMSG);
}

static void every_beginning_of_a_status_line_wants_more(void **state)
{
    static const char line[] = "HTTP/1.1 200 OK";
    (void)state;
    for (size_t len = 0; len < WEFT__HTTP_STATUS_BYTES; len++)
        assert_int_equal(weft__http_status(line, len), 0);
    assert_int_equal(weft__http_status(line, WEFT__HTTP_STATUS_BYTES), 200);
}

static void an_address_is_taken_apart(void **state)
{
    weft__http_place place;
    (void)state;
    assert_int_equal(weft__http_place_parse(&place, "ipv4:10.0.0.1:50051", 0), 0);
    assert_string_equal(place.host, "10.0.0.1");
    assert_string_equal(place.port, "50051");
    assert_null(place.path);
    assert_int_equal(weft__http_place_parse(&place, "ipv4:10.0.0.1:50051", 8080), 0);
    assert_string_equal(place.port, "8080");
    assert_int_equal(weft__http_place_parse(&place, "ipv6:[fe80::1%eth0]:65535", 0), 0);
    assert_string_equal(place.host, "fe80::1%eth0");
    assert_string_equal(place.port, "65535");
    assert_int_equal(weft__http_place_parse(&place, "unix:/run/a.sock", 8080), 0);
    assert_string_equal(place.path, "/run/a.sock");
    assert_int_equal(weft__http_place_parse(&place, "unix:///run/a.sock", 0), 0);
    assert_string_equal(place.path, "/run/a.sock");
}

static void what_is_no_address_is_refused(void **state)
{
    static const char *const wrong[] = {"",          "10.0.0.1:1", "ipv4:",    "ipv4::1",         "ipv4:10.0.0.1",
                                        "ipv4:1:",   "ipv4:1:x",   "ipv6:::1", "ipv6:[::1]",      "ipv6:[::1",
                                        "ipv6:[]:1", "unix:",      "unix://",  "ipv4:1:12345678", "dns:///a:1"};
    char longest[200] = "ipv4:";
    weft__http_place place = {.port = "7"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(weft__http_place_parse(&place, wrong[i], 0), -EINVAL);
    memset(longest + 5, '1', 150);
    memcpy(longest + 155, ":1", 3);
    assert_int_equal(weft__http_place_parse(&place, longest, 0), -EINVAL);
    assert_string_equal(place.port, "7");
}

static void assert_request(const char *address, const char *host, const char *expected)
{
    weft__http_place place;
    char start[128];
    assert_int_equal(weft__http_place_parse(&place, address, 0), 0);
    char *request = weft__http_request(&place, host, "/ok");
    assert_non_null(request);
    (void)snprintf(start, sizeof start, "GET /ok HTTP/1.1\r\nHost: %s\r\nUser-Agent: weft-c/", expected);
    assert_memory_equal(request, start, strlen(start));
    const char *end = "\r\nConnection: close\r\n\r\n";
    assert_string_equal(request + strlen(request) - strlen(end), end);
    free(request);
}

static void the_host_is_the_authority_or_the_address(void **state)
{
    (void)state;
    assert_request("ipv4:10.0.0.1:50051", "users.internal", "users.internal");
    assert_request("ipv4:10.0.0.1:50051", NULL, "10.0.0.1:50051");
    assert_request("ipv6:[::1]:80", NULL, "[::1]:80");
    assert_request("unix:/run/a.sock", NULL, "localhost");
}

/* ---- a checker by HTTP, of a backend that never connects --------------------------------------------------------- */

static void on_changed(void *owner)
{
    (void)owner;
    fail();
}

static void on_gone(void *owner)
{
    ++*(int *)owner;
}

static int come_and_go(void *context)
{
    static const weft__engine_vtable with_sockets = {.name = "none"};
    weft_engine engine = {.vtable = &with_sockets, .random = weft__random_system()};
    const weft__channel_config config = {.min_backoff_ms = 1, .max_backoff_ms = 2};
    weft_health_check_options options = WEFT_HEALTH_CHECK_OPTIONS_INIT;
    weft_health_check_options read;
    weft__health_checks *checks = NULL;
    weft__checker *checker = NULL;
    int gone = 0;
    const weft__checked about = {"ipv4:127.0.0.1:1", NULL, &gone, on_changed, on_gone};
    (void)context;
    options.kind = WEFT_HEALTH_CHECK_HTTP;
    assert_int_equal(weft__health_check_options(&read, &options), 0);
    int rc = weft__health_checks_new(&checks, &engine, &config, &read, NULL);
    if (rc == 0)
        rc = weft__checker_new(&checker, checks, &about);
    if (rc == 0) {
        weft__checker_link(checker, false);
        weft__checker_close(checker);
        weft__checker_close(checker);
        weft__checker_link(checker, true); /* too late */
        weft__checker_leave(checker);
        assert_int_equal(gone, 1);
    }
    weft__checker_free(checker);
    weft__health_checks_free(checks);
    return rc;
}

static void a_checker_survives_the_failure_of_each_allocation(void **state)
{
    (void)state;
    assert_true(weft_test_oom_sweep(come_and_go, NULL) >= 5);
}

static void a_checker_without_a_thread_is_none(void **state)
{
    (void)state;
    weft_test_thread_fail_at(1);
    assert_int_equal(come_and_go(NULL), -EAGAIN);
    weft_test_thread_fail_at(0);
    assert_int_equal(come_and_go(NULL), 0);
}

static void nobody_asked_is_well(void **state)
{
    weft__checker *none = NULL;
    const weft__checked about = {"ipv4:127.0.0.1:1", NULL, NULL, on_changed, on_gone};
    (void)state;
    assert_int_equal(weft__checker_new(&none, NULL, &about), 0);
    assert_null(none);
    assert_int_equal(weft__checker_verdict(none), WEFT__VERDICT_WELL);
    weft__checker_link(none, true);
    weft__checker_close(none);
    weft__checker_free(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_have_defaults),
        cmocka_unit_test(a_check_may_not_take_longer_than_the_interval),
        cmocka_unit_test(no_failure_at_all_may_be_put_up_with),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(a_service_config_asks_for_a_watch),
        cmocka_unit_test(more_than_three_failures_in_a_row_are_too_many),
        cmocka_unit_test(a_return_may_take_several_successes),
        cmocka_unit_test(the_first_word_of_a_watch_decides),
        cmocka_unit_test(a_status_line_is_read),
        cmocka_unit_test(what_is_no_status_line_is_told_at_its_first_wrong_byte),
        cmocka_unit_test(every_beginning_of_a_status_line_wants_more),
        cmocka_unit_test(an_address_is_taken_apart),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(the_host_is_the_authority_or_the_address),
        cmocka_unit_test(a_checker_survives_the_failure_of_each_allocation),
        cmocka_unit_test(a_checker_without_a_thread_is_none),
        cmocka_unit_test(nobody_asked_is_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
