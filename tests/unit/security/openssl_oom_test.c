/* What Weft makes of OpenSSL when OpenSSL finds no memory, at one of its allocations after the other. OpenSSL survives
 * some of them, and tells of others in its own way, so the outcome is only: all or nothing, and no lasting harm. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <openssl/crypto.h>

#include <weft/tls.h>

#include "call/call.h"
#include "support/certificates.h"
#include "unit/security/fake_engine.h"

static long countdown; /* the allocation at which it comes to 0 fails */
static fake_engine engine;
static test_certificate *certificate;

static bool strikes(void)
{
    return countdown > 0 && --countdown == 0;
}

static void *get(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return strikes() ? NULL : malloc(size);
}

static void *resize(void *block, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return strikes() ? NULL : realloc(block, size);
}

static void put(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    free(block);
}

/* Runs it with the first allocation failing, then the second, later ever fewer of the thousands, until none does.
 * Without a failure it must come through. */
static void sweep(int (*run)(void))
{
    long n = 0;
    bool struck = true;
    while (struck) {
        assert_int_equal(run(), 0);
        n += 1 + n / 64;
        countdown = n;
        int rc = run();
        struck = countdown == 0;
        countdown = 0;
        if (rc > 0 || (!struck && rc != 0))
            fail_msg("allocation %ld: %d", n, rc);
    }
    assert_in_range(n, 20, 100000);
}

static int make(void)
{
    weft_tls *tls = NULL;
    weft_tls_options options = WEFT_TLS_OPTIONS_INIT;
    options.certificate_pem = weft_sv_from(test_certificate_pem(certificate));
    options.key_pem = weft_sv_from(test_certificate_key(certificate));
    options.roots_pem = options.certificate_pem;
    int rc = weft_tls_new(&tls, &engine.base, &options, NULL, 0);
    assert_true((rc == 0) == (tls != NULL));
    weft_tls_free(tls);
    return rc;
}

static void an_object_is_made_whole_or_not_at_all(void **state)
{
    (void)state;
    sweep(make);
}

static weft_sv peer_certificate(weft__scall *call)
{
    (void)call;
    return weft_sv_from(test_certificate_pem(certificate));
}

static int identify(void)
{
    static const weft__scall_vtable vtable = {.peer_certificate = peer_certificate};
    weft__scall transport = {.vtable = &vtable};
    weft_call call = {.transport = &transport};
    weft_identity identity = WEFT_IDENTITY_INIT;
    assert_int_equal(weft_arena_new(&call.arena, 0), 0);
    int rc = weft_call_peer_identity(&call, &identity);
    if (rc == 0) { /* never half of it */
        assert_string_equal(identity.subject, "CN=orders,O=Acme");
        assert_string_equal(identity.common_name, "orders");
        assert_int_equal(identity.san_count, 2);
        assert_string_equal(identity.spiffe_id, "spiffe://acme.example/orders");
    }
    weft_arena_free(call.arena);
    return rc;
}

static void a_peer_is_known_wholly_or_not_at_all(void **state)
{
    (void)state;
    sweep(identify);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_is_made_whole_or_not_at_all),
        cmocka_unit_test(a_peer_is_known_wholly_or_not_at_all),
    };
    if (CRYPTO_set_mem_functions(get, resize, put) != 1)
        return 1;
    fake_engine_init(&engine);
    certificate = test_certificate_new(
        NULL, &(test_certificate_options){.subject = "/O=Acme/CN=orders",
                                          .names = "DNS:orders.example,URI:spiffe://acme.example/orders"});
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_certificate_free(certificate);
    return failed;
}
