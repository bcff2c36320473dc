/* transport/listen/address.h */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "transport/listen/address.h"

static weft__address parsed(const char *text)
{
    weft__address address;
    const char *reason = "untouched";
    assert_int_equal(weft__address_parse(text, &address, &reason), 0);
    assert_string_equal(reason, "untouched");
    return address;
}

static void assert_tcp(const char *text, const char *host, int port)
{
    weft__address address = parsed(text);
    assert_int_equal(address.kind, WEFT__ADDRESS_TCP);
    assert_string_equal(address.name, host);
    assert_int_equal(address.port, port);
    char again[WEFT__ADDRESS_TEXT_BYTES];
    weft__address_format(&address, again);
    assert_string_equal(again, text);
}

static void hosts_and_ports_are_read(void **state)
{
    (void)state;
    assert_tcp("127.0.0.1:50051", "127.0.0.1", 50051);
    assert_tcp("localhost:0", "localhost", 0);
    assert_tcp("users-1.internal_net:65535", "users-1.internal_net", 65535);
    assert_tcp(":50051", "", 50051);
    assert_tcp("[::1]:50051", "::1", 50051);
    assert_tcp("[::]:1", "::", 1);
    assert_tcp("[fe80::1%eth0]:1", "fe80::1%eth0", 1);
    assert_tcp("[::ffff:10.0.0.1]:1", "::ffff:10.0.0.1", 1);
}

static void unix_paths_are_read(void **state)
{
    (void)state;
    weft__address address = parsed("unix:/run/users.sock");
    assert_int_equal(address.kind, WEFT__ADDRESS_UNIX);
    assert_string_equal(address.name, "/run/users.sock");
    address = parsed("unix:relative:50051");
    assert_int_equal(address.kind, WEFT__ADDRESS_UNIX);
    assert_string_equal(address.name, "relative:50051");
    assert_string_equal(parsed("unix:///run/users.sock").name, "/run/users.sock");
    assert_string_equal(parsed("unix://////run").name, "/run");

    char longest[5 + 107 + 2] = "unix:";
    memset(longest + 5, 'x', 107);
    assert_int_equal(strlen(parsed(longest).name), 107);
    char text[WEFT__ADDRESS_TEXT_BYTES];
    address = parsed(longest);
    weft__address_format(&address, text);
    assert_string_equal(text, longest);
}

static void descriptors_are_read(void **state)
{
    (void)state;
    weft__address address = parsed("fd:3");
    assert_int_equal(address.kind, WEFT__ADDRESS_FD);
    assert_int_equal(address.fd, 3);
    assert_int_equal(parsed("fd:2147483647").fd, 2147483647);
}

static void what_is_no_address_is_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *reason;
    } cases[] = {
        {"", "no port: host:port is needed"},
        {"localhost", "no port: host:port is needed"},
        {"127.0.0.1", "no port: host:port is needed"},
        {"[::1]", "no port: host:port is needed"},
        {"[::1", "no port: host:port is needed"},
        {"[::1:50051", "no port: host:port is needed"},
        {"[::1]50051", "no port: host:port is needed"},
        {"::1:50051", "more than one colon: an IPv6 address is written [::1]:port"},
        {"::1", "more than one colon: an IPv6 address is written [::1]:port"},
        {"a:1:2", "more than one colon: an IPv6 address is written [::1]:port"},
        {"localhost:", "the port is not a number from 0 to 65535"},
        {":", "the port is not a number from 0 to 65535"},
        {"localhost:http", "the port is not a number from 0 to 65535"},
        {"localhost:65536", "the port is not a number from 0 to 65535"},
        {"localhost:99999999999999999999", "the port is not a number from 0 to 65535"},
        {"localhost:-1", "the port is not a number from 0 to 65535"},
        {"localhost:+1", "the port is not a number from 0 to 65535"},
        {"localhost: 1", "the port is not a number from 0 to 65535"},
        {"localhost:1 ", "the port is not a number from 0 to 65535"},
        {"local host:1", "not a host name or an IPv4 address"},
        {"http//x:1", "not a host name or an IPv4 address"},
        {"*:1", "not a host name or an IPv4 address"},
        {"[]:1", "not an IPv6 address in brackets"},
        {"[127.0.0.1]:1", "not an IPv6 address in brackets"},
        {"[localhost]:1", "not an IPv6 address in brackets"},
        {"[fe80::1%]:1", "not an IPv6 address in brackets"},
        {"[1111:2222:3333:4444:5555:6666:7777:8888:9999:0000]:1", "not an IPv6 address in brackets"},
        {"unix:", "no path after unix:"},
        {"unix://run/users.sock", "a path after unix:// begins with a third slash"},
        {"fd:", "no descriptor number after fd:"},
        {"fd:-1", "no descriptor number after fd:"},
        {"fd:3x", "no descriptor number after fd:"},
        {"fd:2147483648", "no descriptor number after fd:"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft__address address = {.port = 4711};
        const char *reason = NULL;
        assert_int_equal(weft__address_parse(cases[i].text, &address, &reason), -EINVAL);
        assert_string_equal(reason, cases[i].reason);
        assert_int_equal(address.port, 4711);
    }
}

static void names_that_are_too_long_are_refused(void **state)
{
    (void)state;
    char text[400] = "unix:";
    weft__address address;
    const char *reason = NULL;
    memset(text + 5, 'x', 108);
    assert_int_equal(weft__address_parse(text, &address, &reason), -EINVAL);
    assert_string_equal(reason, "the path is longer than a unix socket's may be");

    memset(text, 'x', 256);
    memcpy(text + 256, ":1", 3);
    assert_int_equal(weft__address_parse(text, &address, &reason), -EINVAL);
    assert_string_equal(reason, "the host name is too long");

    char host[256] = "";
    memset(host, 'x', 255);
    assert_tcp(text + 1, host, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_and_ports_are_read),
        cmocka_unit_test(unix_paths_are_read),
        cmocka_unit_test(descriptors_are_read),
        cmocka_unit_test(what_is_no_address_is_refused_with_a_reason),
        cmocka_unit_test(names_that_are_too_long_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
