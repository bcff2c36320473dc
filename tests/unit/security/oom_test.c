/* Making a TLS object and rotating its files, with every allocation of ours failing in turn. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <weft/tls.h>

#include "support/alloc_fault.h"
#include "support/certificates.h"
#include "unit/security/fake_engine.h"

static fake_engine engine;
static char folder[TEST_FOLDER_SIZE];
static test_certificate *first, *second;

static void show(const test_certificate *certificate)
{
    test_file_write(folder, "cert", test_certificate_pem(certificate));
    test_file_write(folder, "key", test_certificate_key(certificate));
}

static int make(weft_tls **out)
{
    char why[256];
    weft_tls_options options = WEFT_TLS_OPTIONS_INIT;
    options.certificate_file = test_file(folder, "cert");
    options.key_file = test_file(folder, "key");
    options.roots_pem = weft_sv_from(test_certificate_pem(first));
    options.server_name = "orders.example";
    return weft_tls_new(out, &engine.base, &options, why, sizeof why);
}

static int make_once(void *context)
{
    (void)context;
    weft_tls *tls = NULL;
    int rc = make(&tls);
    weft_tls_free(tls);
    return rc;
}

static void it_is_made_whole_or_not_at_all(void **state)
{
    (void)state;
    show(first);
    assert_int_equal(make_once(NULL), 0); /* what OpenSSL keeps */
    assert_true(weft_test_oom_sweep(make_once, NULL) > 8);
    assert_int_equal(atomic_load(&engine.base.users), 0);
}

static int rotate_once(void *context)
{
    weft_tls *tls = context;
    uint64_t before = tls->vtable->refresh(tls);
    int rc = weft_tls_reload(tls, NULL, 0);
    assert_int_equal(tls->vtable->refresh(tls), rc == 0 ? before + 1 : before);
    return rc;
}

static void a_rotation_that_finds_no_memory_changes_nothing_and_is_tried_again(void **state)
{
    (void)state;
    weft_tls *tls = NULL;
    show(first);
    assert_int_equal(make(&tls), 0);
    long failures = 0;
    for (;; failures++) {
        show(failures % 2 == 0 ? second : first);
        weft_test_alloc_fail_at(failures + 1);
        int rc = rotate_once(tls);
        bool struck = weft_test_alloc_failed();
        weft_test_alloc_fail_at(0);
        assert_int_equal(rc, struck ? -ENOMEM : 0);
        if (!struck)
            break;
        assert_int_equal(rotate_once(tls), 0);
    }
    assert_true(failures > 3);
    weft_tls_free(tls);
}

static int set_up(void **state)
{
    (void)state;
    fake_engine_init(&engine);
    test_folder_new(folder);
    first = test_certificate_new(NULL, NULL);
    second = test_certificate_new(NULL, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_certificate_free(first);
    test_certificate_free(second);
    test_folder_free(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_made_whole_or_not_at_all),
        cmocka_unit_test(a_rotation_that_finds_no_memory_changes_nothing_and_is_tried_again),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
