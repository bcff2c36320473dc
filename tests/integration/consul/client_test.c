/* The client itself, without an agent: what it needs to begin. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/consul.h>

#include "support/alloc_fault.h"

static int scenario(void *context)
{
    weft_consul *consul;
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    (void)context;
    options.no_environment = true;
    options.token = "t";
    options.datacenter = "east";
    int rc = weft_consul_new(&consul, &options, NULL, 0);
    return rc < 0 ? rc : weft_consul_free(consul);
}

static void without_memory_no_client_is_made(void **state)
{
    (void)state;
    assert_int_equal(scenario(NULL), 0); /* libcurl begins */
    assert_true(weft_test_oom_sweep(scenario, NULL) > 2);
}

static void without_a_thread_no_client_is_made(void **state)
{
    (void)state;
    long before = weft_test_alloc_live();
    weft_test_thread_fail_at(1);
    assert_int_equal(scenario(NULL), -EAGAIN);
    assert_int_equal(weft_test_alloc_live(), before);
}

/* The variables of Consul's own tools, each with a value that shows that it is read. */
static void the_environment_is_read_and_checked(void **state)
{
    static const struct {
        const char *name;
        const char *bad;
        int rc;
    } variables[] = {
        {"CONSUL_HTTP_ADDR", "ftp://agent", -EINVAL},        {"CONSUL_HTTP_SSL", "perhaps", -EINVAL},
        {"CONSUL_HTTP_SSL_VERIFY", "perhaps", -EINVAL},      {"CONSUL_HTTP_TOKEN", "a b", -EINVAL},
        {"CONSUL_HTTP_TOKEN_FILE", "/nonexistent", -ENOENT}, {"CONSUL_TLS_SERVER_NAME", "a/b", -EINVAL},
    };
    weft_consul *consul;
    (void)state;
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        char reason[256] = "";
        setenv(variables[i].name, variables[i].bad, 1);
        assert_int_equal(weft_consul_new(&consul, NULL, reason, sizeof reason), variables[i].rc);
        assert_string_not_equal(reason, "");
        assert_int_equal(scenario(NULL), 0); /* which does not look at it */
        unsetenv(variables[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_no_client_is_made),
        cmocka_unit_test(without_a_thread_no_client_is_made),
        cmocka_unit_test(the_environment_is_read_and_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
