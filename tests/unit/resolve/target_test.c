/* Targets of channels: what is taken and how it is written in full, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "resolve/target.h"

static void a_target_is_written_in_full(void **state)
{
    static const char *const pairs[][2] = {
        {"users:50051", "dns:///users:50051"},
        {"users.example.org:443", "dns:///users.example.org:443"},
        {"127.0.0.1:1", "ipv4:127.0.0.1:1"},
        {"[::1]:65535", "ipv6:[::1]:65535"},
        {"[fe80::1%eth0]:80", "ipv6:[fe80::1%eth0]:80"},
        {"dns:///users:1", "dns:///users:1"},
        {"ipv4:1.2.3.4:5,1.2.3.5:6", "ipv4:1.2.3.4:5,1.2.3.5:6"},
        {"ipv6:[::1]:5,[::2]:6", "ipv6:[::1]:5,[::2]:6"},
        {"unix:/run/users.sock", "unix:/run/users.sock"},
        {"unix:relative.sock", "unix:relative.sock"},
        {"unix:///run/users.sock", "unix:///run/users.sock"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char full[WEFT__TARGET_MAX];
        assert_int_equal(weft__target_parse(pairs[i][0], full), 0);
        assert_string_equal(full, pairs[i][1]);
    }
}

static void what_is_no_target_is_refused_and_the_output_stays(void **state)
{
    static const char *const bad[] = {
        "",
        "users",
        "users:",
        "users:http",
        "users:0",
        "users:65536",
        "users:-1",
        ":50051",
        "[::1]",
        "[::1:50051",
        "::1:50051",
        "[]:1",
        "1.2.3.4",
        "a b:1",
        "a/b:1",
        "a:1,b:2",
        "dns:///",
        "dns:///users",
        "ipv4:users:1",
        "ipv4:1.2.3.4",
        "ipv4:1.2.3.4:5,",
        "ipv6:::1:5",
        "unix:",
        "xds:///users:1",
        "http://users:1",
        "users:000001",
        "unix://",
        "unix://host/a",
        "unix-abstract:a",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char full[WEFT__TARGET_MAX] = "untouched";
        assert_int_equal(weft__target_parse(bad[i], full), -EINVAL);
        assert_string_equal(full, "untouched");
    }
    char full[WEFT__TARGET_MAX];
    assert_int_equal(weft__target_parse(NULL, full), -EINVAL);
}

static void a_path_longer_than_a_socket_address_is_refused(void **state)
{
    char target[256] = "unix:/";
    char full[WEFT__TARGET_MAX];
    (void)state;
    memset(target + 6, 'a', 107);
    assert_int_equal(weft__target_parse(target, full), -EINVAL);
    target[strlen("unix:") + 107] = '\0'; /* with its NUL it fills the address */
    assert_int_equal(weft__target_parse(target, full), 0);
}

static void a_list_longer_than_the_limit_is_refused(void **state)
{
    char target[2048] = "ipv4:1.2.3.4:5";
    char full[WEFT__TARGET_MAX];
    (void)state;
    while (strlen(target) + 16 < sizeof target)
        strncat(target, ",1.2.3.4:5", sizeof target - strlen(target) - 1);
    assert_int_equal(weft__target_parse(target, full), -ENAMETOOLONG);
}

static void a_target_is_taken_apart(void **state)
{
    static const char *const parts[][5] = {
        {"dns:///users:1", "dns", "", "users:1", ""},
        {"dns://127.0.0.1:53,[::1]:53/users:1", "dns", "127.0.0.1:53,[::1]:53", "users:1", ""},
        {"file:///etc/users.yaml", "file", "", "etc/users.yaml", ""},
        {"file:/etc/users.yaml", "file", "", "/etc/users.yaml", ""},
        {"list:///", "list", "", "", ""},
        {"my+own.1-x://a/b/c?d=e&f", "my+own.1-x", "a", "b/c", "d=e&f"},
        {"unix:/run/a", "unix", "", "/run/a", ""},
        {"nothing", "nothing", "", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char copy[WEFT__TARGET_MAX];
        weft_target target;
        weft__target_split(parts[i][0], copy, &target);
        assert_string_equal(target.text, parts[i][0]);
        assert_string_equal(target.scheme, parts[i][1]);
        assert_string_equal(target.authority, parts[i][2]);
        assert_string_equal(target.path, parts[i][3]);
        assert_string_equal(target.query, parts[i][4]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_is_written_in_full),
        cmocka_unit_test(what_is_no_target_is_refused_and_the_output_stays),
        cmocka_unit_test(a_path_longer_than_a_socket_address_is_refused),
        cmocka_unit_test(a_list_longer_than_the_limit_is_refused),
        cmocka_unit_test(a_target_is_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
