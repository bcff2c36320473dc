#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "transport/core/connections.h"

static int make_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_in_range(fd, 0, 100000);
    return fd;
}

static void a_closed_descriptor_counts_no_more(void **state)
{
    (void)state;
    weft_core_connections connections;
    weft__core_connections_init(&connections, INT64_MAX);
    int first = make_socket();
    int second = make_socket();
    assert_int_equal(weft__core_connections_add(&connections, first), 0);
    assert_int_equal(weft__core_connections_add(&connections, second), 0);
    assert_int_equal(weft__core_connections_count(&connections), 2);
    close(first);
    assert_int_equal(weft__core_connections_count(&connections), 1);
    close(second);
    assert_int_equal(weft__core_connections_count(&connections), 0);
    weft__core_connections_fini(&connections);
}

static void a_descriptor_used_again_is_another_connection(void **state)
{
    (void)state;
    weft_core_connections connections;
    weft__core_connections_init(&connections, 1);
    int fd = make_socket();
    assert_int_equal(weft__core_connections_add(&connections, fd), 0);
    for (int i = 0; i < 10; i++) {
        close(fd);
        assert_int_equal(make_socket(), fd);
        assert_int_equal(weft__core_connections_add(&connections, fd), 0);
        assert_int_equal(weft__core_connections_count(&connections), 1);
    }
    close(fd);
    assert_int_equal(make_socket(), fd); /* not ours */
    assert_int_equal(weft__core_connections_count(&connections), 0);
    close(fd);
    weft__core_connections_fini(&connections);
}

static void a_full_table_takes_one_when_one_is_gone(void **state)
{
    (void)state;
    enum {
        MAX = 100
    };
    weft_core_connections connections;
    int fds[MAX];
    weft__core_connections_init(&connections, MAX);
    for (int i = 0; i < MAX; i++) {
        fds[i] = make_socket();
        assert_int_equal(weft__core_connections_add(&connections, fds[i]), 0);
    }
    int more = make_socket();
    assert_int_equal(weft__core_connections_add(&connections, more), -EUSERS);
    assert_int_equal(weft__core_connections_count(&connections), MAX);
    close(fds[50]);
    while (weft__core_connections_add(&connections, more) == -EUSERS) /* it rests after the sweep that was in vain */
        continue;
    assert_int_equal(weft__core_connections_count(&connections), MAX);
    close(more);
    for (int i = 0; i < MAX; i++)
        if (i != 50)
            close(fds[i]);
    weft__core_connections_fini(&connections);
}

static void what_is_no_socket_is_no_connection(void **state)
{
    (void)state;
    weft_core_connections connections;
    int fds[2];
    weft__core_connections_init(&connections, 10);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(weft__core_connections_add(&connections, fds[0]), -EBADF);
    assert_int_equal(weft__core_connections_add(&connections, -1), -EBADF);
    close(fds[0]);
    assert_int_equal(weft__core_connections_add(&connections, fds[0]), -EBADF);
    close(fds[1]);
    assert_int_equal(weft__core_connections_count(&connections), 0);
    weft__core_connections_fini(&connections);
}

static void a_large_descriptor_has_its_place(void **state)
{
    (void)state;
    weft_core_connections connections;
    weft__core_connections_init(&connections, 10);
    int fd = make_socket();
    int large = dup2(fd, 500);
    assert_int_equal(large, 500);
    assert_int_equal(weft__core_connections_add(&connections, large), 0);
    assert_int_equal(weft__core_connections_count(&connections), 1);
    close(large);
    assert_int_equal(weft__core_connections_count(&connections), 0);
    close(fd);
    weft__core_connections_fini(&connections);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_closed_descriptor_counts_no_more),
        cmocka_unit_test(a_descriptor_used_again_is_another_connection),
        cmocka_unit_test(a_full_table_takes_one_when_one_is_gone),
        cmocka_unit_test(what_is_no_socket_is_no_connection),
        cmocka_unit_test(a_large_descriptor_has_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
