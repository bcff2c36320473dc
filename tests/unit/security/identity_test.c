/* What a handler is told of the peer's certificate. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <weft/tls.h>

#include "call/call.h"
#include "support/alloc_fault.h"
#include "support/certificates.h"

static const char *shown; /* PEM, or NULL */

static weft_sv peer_certificate(weft__scall *call)
{
    (void)call;
    return weft_sv_from(shown);
}

static const weft__scall_vtable vtable = {.peer_certificate = peer_certificate};
static const weft__scall_vtable vtable_without_tls = {.peer = NULL};
static weft__scall transport;
static weft_call call;
static weft_arena *arena;

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(weft_arena_new(&arena, 0), 0);
    transport.vtable = &vtable;
    call.transport = &transport;
    call.arena = arena;
    shown = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    weft_arena_free(arena);
    return 0;
}

/* The identity of one who shows such a certificate. */
static int identify(const test_certificate_options *options, weft_identity *out)
{
    test_certificate *ca = test_certificate_new(NULL, NULL);
    test_certificate *certificate = test_certificate_new(ca, options);
    *out = (weft_identity)WEFT_IDENTITY_INIT;
    shown = test_certificate_pem(certificate);
    int rc = weft_call_peer_identity(&call, out);
    test_certificate_free(certificate);
    test_certificate_free(ca);
    return rc;
}

static void all_names_are_told(void **state)
{
    (void)state;
    weft_identity identity;
    assert_int_equal(
        identify(&(test_certificate_options){.subject = "/O=Acme \xc3\xa4, Inc./CN=first/CN=orders",
                                             .names = "DNS:orders.example,URI:spiffe://acme.example/orders,"
                                                      "email:ops@acme.example,IP:192.0.2.1,IP:2001:db8::1,"
                                                      "RID:1.2.3.4"},
                 &identity),
        0);
    static const weft_san expected[] = {{WEFT_SAN_DNS, "orders.example"},
                                        {WEFT_SAN_URI, "spiffe://acme.example/orders"},
                                        {WEFT_SAN_EMAIL, "ops@acme.example"},
                                        {WEFT_SAN_IP, "192.0.2.1"},
                                        {WEFT_SAN_IP, "2001:db8::1"}};
    assert_string_equal(identity.subject, "CN=orders,CN=first,O=Acme \xc3\xa4\\, Inc.");
    assert_string_equal(identity.common_name, "orders");
    assert_string_equal(identity.spiffe_id, "spiffe://acme.example/orders");
    assert_int_equal(identity.san_count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(identity.sans[i].kind, expected[i].kind);
        assert_string_equal(identity.sans[i].value, expected[i].value);
    }
}

static void a_certificate_may_have_no_names(void **state)
{
    (void)state;
    weft_identity identity;
    assert_int_equal(identify(&(test_certificate_options){.subject = "/O=Acme"}, &identity), 0);
    assert_string_equal(identity.subject, "O=Acme");
    assert_null(identity.common_name);
    assert_null(identity.spiffe_id);
    assert_int_equal(identity.san_count, 0);
}

static void two_uris_are_no_spiffe_id(void **state)
{
    (void)state;
    weft_identity identity;
    assert_int_equal(identify(&(test_certificate_options){.names = "URI:spiffe://a/b,URI:https://a/b"}, &identity), 0);
    assert_null(identity.spiffe_id);
    assert_int_equal(identity.san_count, 2);
    assert_int_equal(identify(&(test_certificate_options){.names = "URI:spiffe://A/b"}, &identity), 0);
    assert_null(identity.spiffe_id);
}

static void a_name_with_a_nul_is_left_out(void **state)
{
    (void)state;
    static const char raw[] = "admin\0.example";
    const weft_sv name = {raw, sizeof raw - 1};
    weft_identity identity;
    assert_int_equal(identify(&(test_certificate_options){.raw_dns = &name}, &identity), 0);
    assert_int_equal(identity.san_count, 0);
}

static void a_broken_extension_is_an_error(void **state)
{
    (void)state;
    weft_identity identity;
    assert_int_equal(identify(&(test_certificate_options){.names = "DNS:a", .repeat_names = 1}, &identity), -EBADMSG);
    assert_null(identity.subject);
    shown = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_int_equal(weft_call_peer_identity(&call, &identity), -EBADMSG);
    shown = "";
    assert_int_equal(weft_call_peer_identity(&call, &identity), -EBADMSG);
}

static void without_a_certificate_nobody_is_known(void **state)
{
    (void)state;
    weft_identity identity = WEFT_IDENTITY_INIT;
    assert_int_equal(weft_call_peer_identity(&call, &identity), -ENOENT);
    transport.vtable = &vtable_without_tls;
    assert_int_equal(weft_call_peer_identity(&call, &identity), -ENOENT);
    identity.struct_size = 0;
    assert_int_equal(weft_call_peer_identity(&call, &identity), -EINVAL);
}

static void an_older_callers_struct_is_not_overrun(void **state)
{
    (void)state;
    weft_identity identity = WEFT_IDENTITY_INIT;
    test_certificate *ca = test_certificate_new(NULL, NULL);
    identity.struct_size = offsetof(weft_identity, spiffe_id);
    identity.spiffe_id = "untouched";
    shown = test_certificate_pem(ca);
    assert_int_equal(weft_call_peer_identity(&call, &identity), 0);
    assert_string_equal(identity.common_name, "test");
    assert_string_equal(identity.spiffe_id, "untouched");
    test_certificate_free(ca);
}

static int identify_once(void *context)
{
    (void)context;
    weft_identity identity = WEFT_IDENTITY_INIT;
    weft_arena *small;
    int rc = weft_arena_new(&small, 0);
    if (rc < 0)
        return rc;
    call.arena = small;
    rc = weft_call_peer_identity(&call, &identity);
    weft_arena_free(small);
    return rc;
}

static void it_survives_every_failed_allocation(void **state)
{
    (void)state;
    char names[8192] = "DNS:first.example";
    for (size_t len = strlen(names); len < 6000; len = strlen(names))
        memcpy(names + len, ",DNS:a-name-of-some-length.example", sizeof ",DNS:a-name-of-some-length.example");
    test_certificate *ca = test_certificate_new(NULL, &(test_certificate_options){.names = names});
    shown = test_certificate_pem(ca);
    assert_true(weft_test_oom_sweep(identify_once, NULL) > 1);
    test_certificate_free(ca);
}

static void it_survives_an_arena_that_is_full(void **state)
{
    (void)state;
    test_certificate *ca = test_certificate_new(
        NULL, &(test_certificate_options){.names = "DNS:a,URI:spiffe://a/b,email:a@b,IP:192.0.2.1"});
    shown = test_certificate_pem(ca);
    int rc = -ENOMEM;
    for (size_t max = 16; rc == -ENOMEM; max += 16) {
        weft_identity identity = WEFT_IDENTITY_INIT;
        assert_in_range(max, 16, 4096);
        assert_int_equal(weft_arena_new(&call.arena, max), 0);
        rc = weft_call_peer_identity(&call, &identity);
        assert_true(rc == 0 || identity.subject == NULL);
        weft_arena_free(call.arena);
    }
    assert_int_equal(rc, 0);
    test_certificate_free(ca);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_names_are_told),
        TEST(a_certificate_may_have_no_names),
        TEST(two_uris_are_no_spiffe_id),
        TEST(a_name_with_a_nul_is_left_out),
        TEST(a_broken_extension_is_an_error),
        TEST(without_a_certificate_nobody_is_known),
        TEST(an_older_callers_struct_is_not_overrun),
        TEST(it_survives_every_failed_allocation),
        TEST(it_survives_an_arena_that_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
