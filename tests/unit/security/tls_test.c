/* What weft_tls_new refuses, in which words, and how rotated files are taken over. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft/testing.h>
#include <weft/tls.h>

#include "security/pem.h"
#include "support/certificates.h"
#include "unit/security/fake_engine.h"

static fake_engine engine;
static char folder[TEST_FOLDER_SIZE];
static test_certificate *ca, *good, *other;
static weft_tls *tls;
static char why[256];

static int set_up(void **state)
{
    (void)state;
    fake_engine_init(&engine);
    test_folder_new(folder);
    ca = test_certificate_new(NULL, NULL);
    good = test_certificate_new(ca, NULL);
    other = test_certificate_new(ca, NULL);
    test_file_write(folder, "cert", test_certificate_pem(good));
    test_file_write(folder, "key", test_certificate_key(good));
    test_file_write(folder, "roots", test_certificate_pem(ca));
    tls = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    weft_tls_free(tls);
    test_certificate_free(ca);
    test_certificate_free(good);
    test_certificate_free(other);
    test_folder_free(folder);
    assert_int_equal(atomic_load(&engine.base.users), 0);
    return 0;
}

static weft_tls_options from_files(void)
{
    weft_tls_options options = WEFT_TLS_OPTIONS_INIT;
    options.certificate_file = test_file(folder, "cert");
    options.key_file = test_file(folder, "key");
    options.roots_file = test_file(folder, "roots");
    return options;
}

static void expect_refusal(const weft_tls_options *options, int rc, const char *file, const char *words)
{
    memset(why, 'x', sizeof why);
    int got = weft_tls_new(&tls, &engine.base, options, why, sizeof why);
    if (got != rc || (file != NULL && strncmp(why, test_file(folder, file), strlen(test_file(folder, file))) != 0) ||
        strstr(why, words) == NULL)
        fail_msg("%d (%s): %s", got, strerror(-got), why);
    assert_null(tls);
    char cut[4];
    assert_int_equal(weft_tls_new(&tls, &engine.base, options, cut, sizeof cut), rc);
    assert_int_equal(strlen(cut), 3);
    assert_int_equal(weft_tls_new(&tls, &engine.base, options, NULL, 0), rc);
    assert_null(tls);
}

static void make(const weft_tls_options *options)
{
    int rc = weft_tls_new(&tls, &engine.base, options, why, sizeof why);
    if (rc < 0)
        fail_msg("%s", why);
}

/* The certificate that a connection made now would be given. */
static void expect_shown(const test_certificate *certificate)
{
    (void)tls->vtable->refresh(tls);
    const weft__pems *pems = tls->vtable->hold(tls);
    assert_string_equal(pems->certificates, test_certificate_pem(certificate));
    assert_string_equal(pems->key, test_certificate_key(certificate));
    tls->vtable->release(pems);
}

static void rotate(const test_certificate *to)
{
    test_file_write(folder, "cert", test_certificate_pem(to));
    test_file_write(folder, "key", test_certificate_key(to));
}

/* ---- what is taken ----------------------------------------------------------------------------------------------- */

static void files_are_taken(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    make(&options);
    assert_true(tls->has_certificate && tls->has_roots);
    expect_shown(good);
    const weft__pems *pems = tls->vtable->hold(tls);
    assert_string_equal(pems->roots, test_certificate_pem(ca));
    tls->vtable->release(pems);
    assert_int_equal(atomic_load(&engine.base.users), 1);
}

static void texts_are_taken(void **state)
{
    (void)state;
    weft_tls_options options = WEFT_TLS_OPTIONS_INIT;
    options.certificate_pem = weft_sv_from(test_certificate_pem(good));
    options.key_pem = weft_sv_from(test_certificate_key(good));
    options.roots_pem = weft_sv_from(test_certificate_pem(ca));
    make(&options);
    expect_shown(good);
    assert_int_equal(weft_tls_reload(tls, why, sizeof why), 0);
}

static void a_chain_is_taken(void **state)
{
    (void)state;
    char chain[8192];
    snprintf(chain, sizeof chain, "%s%s", test_certificate_pem(good), test_certificate_pem(ca));
    test_file_write(folder, "cert", chain);
    weft_tls_options options = from_files();
    make(&options);
}

static void certificate_and_key_may_lie_in_one_file(void **state)
{
    (void)state;
    char both[8192];
    snprintf(both, sizeof both, "%s%s", test_certificate_key(good), test_certificate_pem(good));
    test_file_write(folder, "both", both);
    weft_tls_options options = from_files();
    options.certificate_file = options.key_file = test_file(folder, "both");
    make(&options);
}

static void without_options_the_systems_roots_count(void **state)
{
    (void)state;
    if (access("/etc/ssl/certs/ca-certificates.crt", R_OK) != 0) {
        expect_refusal(NULL, -ENOENT, NULL, "/etc/ssl/certs/ca-certificates.crt: No such file");
        return;
    }
    make(NULL);
    assert_true(tls->has_roots && !tls->has_certificate);
}

/* ---- what is refused --------------------------------------------------------------------------------------------- */

static void a_missing_file_is_refused(void **state)
{
    (void)state;
    static const char *const files[] = {"cert", "key", "roots"};
    weft_tls_options options = from_files();
    for (size_t i = 0; i < 3; i++) {
        unlink(test_file(folder, files[i]));
        expect_refusal(&options, -ENOENT, files[i], ": No such file or directory");
        test_file_write(folder, files[i], i == 0 ? test_certificate_pem(good) : test_certificate_key(good));
    }
}

static void an_unreadable_file_is_refused(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    const uid_t own = geteuid();
    assert_int_equal(chmod(folder, 0711), 0);
    assert_int_equal(chmod(options.key_file, 0), 0);
    if (own == 0 && seteuid(65534) != 0) /* root may read any file */
        fail_msg("cannot be nobody");
    expect_refusal(&options, -EACCES, "key", ": Permission denied");
    assert_int_equal(seteuid(own), 0);
}

static void what_is_no_regular_file_is_refused(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    options.certificate_file = test_file(folder, "pipe");
    assert_int_equal(mkfifo(options.certificate_file, 0600), 0);
    expect_refusal(&options, -EINVAL, "pipe", ": not a regular file");
}

static void a_file_that_is_too_large_is_refused(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    assert_int_equal(truncate(options.roots_file, (16 << 20) + 1), 0);
    expect_refusal(&options, -EFBIG, "roots", ": File too large");
}

static void garbage_is_refused(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    test_file_write(folder, "cert", "");
    expect_refusal(&options, -EBADMSG, "cert", ": there is no certificate in it");
    test_file_write(folder, "cert", "no PEM at all\n");
    expect_refusal(&options, -EBADMSG, "cert", ": there is no certificate in it");
    test_file_write(folder, "cert", test_certificate_key(good));
    expect_refusal(&options, -EBADMSG, "cert", ": there is no certificate in it");
    test_file_write(folder, "cert", "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n");
    expect_refusal(&options, -EBADMSG, "cert", ": bad base64 decode");
    test_file_write(folder, "cert", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    expect_refusal(&options, -EBADMSG, "cert", ": ");
    char half[8192];
    snprintf(half, sizeof half, "%s%.*s", test_certificate_pem(good), 200, test_certificate_pem(ca));
    test_file_write(folder, "cert", half);
    expect_refusal(&options, -EBADMSG, "cert", ": bad end line");
    test_file_write(folder, "cert", test_certificate_pem(good));
    test_file_write(folder, "key", "no key\n");
    expect_refusal(&options, -EBADMSG, "key", ": ");
    test_file_write(folder, "key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    expect_refusal(&options, -EBADMSG, "key", ": ");
    test_file_write(folder, "key", test_certificate_key(good));
    test_file_write(folder, "roots", "none\n");
    expect_refusal(&options, -EBADMSG, "roots", ": there is no certificate in it");
}

static void a_text_with_a_nul_is_refused(void **state)
{
    (void)state;
    char text[8192] = "";
    weft_tls_options options = from_files();
    snprintf(text, sizeof text, "%s", test_certificate_pem(ca));
    FILE *file = fopen(options.roots_file, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, strlen(text) + 1, 1, file), 1);
    fclose(file);
    expect_refusal(&options, -EBADMSG, "roots", ": not PEM: it has a NUL in it");
    options.roots_file = NULL;
    options.roots_pem = weft_sv_of(text, strlen(text) + 1);
    expect_refusal(&options, -EBADMSG, NULL, "roots_pem: not PEM: it has a NUL in it");
}

static void another_certificates_key_is_refused(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    test_file_write(folder, "key", test_certificate_key(other));
    expect_refusal(&options, -EKEYREJECTED, "key", ": key values mismatch");
    test_certificate *rsa = test_certificate_new(ca, &(test_certificate_options){.rsa_bits = 2048});
    test_file_write(folder, "key", test_certificate_key(rsa));
    expect_refusal(&options, -EKEYREJECTED, "key", ": key type mismatch");
    test_certificate_free(rsa);
}

static void a_key_with_a_password_is_refused(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    char *locked = test_certificate_locked_key(good);
    test_file_write(folder, "key", locked);
    free(locked);
    expect_refusal(&options, -EBADMSG, "key", ": the key has a password");
}

static void an_expired_certificate_is_refused(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    test_certificate *old = test_certificate_new(ca, &(test_certificate_options){.from_s = -7200, .until_s = -60});
    rotate(old);
    expect_refusal(&options, -EKEYEXPIRED, "cert", ": certificate 1 has expired on ");
    test_certificate *early = test_certificate_new(ca, &(test_certificate_options){.from_s = 3600, .until_s = 7200});
    rotate(early);
    expect_refusal(&options, -EKEYEXPIRED, "cert", ": certificate 1 is not valid before ");
    char chain[8192];
    snprintf(chain, sizeof chain, "%s%s", test_certificate_pem(good), test_certificate_pem(old));
    rotate(good);
    test_file_write(folder, "cert", chain);
    expect_refusal(&options, -EKEYEXPIRED, "cert", ": certificate 2 has expired on ");
    test_certificate_free(old);
    test_certificate_free(early);
}

static void what_the_systems_openssl_finds_too_weak_is_refused(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    test_certificate *weak = test_certificate_new(ca, &(test_certificate_options){.rsa_bits = 1024});
    rotate(weak);
    expect_refusal(&options, -EBADMSG, "cert", ": ee key too small");
    test_certificate_free(weak);
}

static void options_that_do_not_fit_together_are_refused(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    options.key_file = NULL;
    expect_refusal(&options, -EINVAL, NULL, "a certificate and its key go together");
    options = from_files();
    options.key_pem = weft_sv_from(test_certificate_key(good));
    expect_refusal(&options, -EINVAL, NULL, "key_pem: give a file or a text, not both");
    options = from_files();
    options.roots_file = NULL;
    options.client_certificates = WEFT_CLIENT_CERTIFICATES_REQUEST;
    expect_refusal(&options, -EINVAL, NULL, "needs one too, and roots");
    options = from_files();
    options.server_name = "";
    expect_refusal(&options, -EINVAL, NULL, "server_name");
    options.server_name = "a b";
    expect_refusal(&options, -EINVAL, NULL, "server_name");
    options = from_files();
    options.reload_ms = -2;
    expect_refusal(&options, -EINVAL, NULL, "reload_ms");
    options = from_files();
    options.min_version = 11;
    expect_refusal(&options, -EINVAL, NULL, "min_version: 12 or 13");
    options = from_files();
    options.struct_size = 0;
    expect_refusal(&options, -EINVAL, NULL, "options");
}

static void a_minimum_that_the_engine_cannot_keep_is_refused(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    options.min_version = 13;
    expect_refusal(&options, -ENOTSUP, NULL,
                   "min_version: the fake engine cannot keep to TLS 1.3, it takes 1.2 as well");
    engine.vtable.tls_min_version = 13;
    make(&options);
}

static void an_engine_without_tls_says_so(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    engine.vtable.tls_min_version = 0;
    expect_refusal(&options, -ENOTSUP, NULL, "the fake engine has no TLS");
    weft_engine *memory;
    assert_int_equal(weft_memory_engine_new(&memory, NULL), 0);
    assert_int_equal(weft_tls_new(&tls, memory, &options, why, sizeof why), -ENOTSUP);
    assert_string_equal(why, "the memory engine has no TLS");
    assert_int_equal(weft_engine_free(memory), 0);
}

/* ---- rotation ---------------------------------------------------------------------------------------------------- */

static void rotated_files_are_taken_over_once_it_is_time_to_look(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    options.reload_ms = 1000;
    make(&options);
    uint64_t first = tls->vtable->refresh(tls);
    rotate(other);
    engine.now_ns += 999999999;
    expect_shown(good);
    engine.now_ns += 1;
    expect_shown(other);
    assert_int_equal(tls->vtable->refresh(tls), first + 1);
    engine.now_ns += INT64_C(1000000000);
    expect_shown(other);
    assert_int_equal(tls->vtable->refresh(tls), first + 1); /* nothing new */
}

static void without_reload_only_an_explicit_one_looks(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    options.reload_ms = -1;
    make(&options);
    rotate(other);
    engine.now_ns = INT64_MAX / 2;
    expect_shown(good);
    assert_int_equal(weft_tls_reload(tls, why, sizeof why), 0);
    expect_shown(other);
}

static void a_certificate_without_its_key_changes_nothing_until_the_key_is_there(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    make(&options);
    test_file_write(folder, "cert", test_certificate_pem(other));
    assert_int_equal(weft_tls_reload(tls, why, sizeof why), -EKEYREJECTED);
    assert_non_null(strstr(why, "/key: key values mismatch"));
    expect_shown(good);
    unlink(options.key_file);
    assert_int_equal(weft_tls_reload(tls, why, sizeof why), -ENOENT);
    expect_shown(good);
    test_file_write(folder, "key", test_certificate_key(other));
    assert_int_equal(weft_tls_reload(tls, why, sizeof why), 0);
    expect_shown(other);
}

static void a_file_written_in_place_is_noticed(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    make(&options);
    FILE *file = fopen(options.roots_file, "a");
    assert_non_null(file);
    assert_true(fputs("a comment\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
    uint64_t before = tls->vtable->refresh(tls);
    assert_int_equal(weft_tls_reload(tls, why, sizeof why), 0);
    assert_int_equal(tls->vtable->refresh(tls), before + 1);
}

static void a_generation_that_is_held_stays(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    make(&options);
    const weft__pems *held = tls->vtable->hold(tls);
    rotate(other);
    assert_int_equal(weft_tls_reload(tls, why, sizeof why), 0);
    assert_string_equal(held->key, test_certificate_key(good));
    tls->vtable->release(held);
    expect_shown(other);
}

/* Lines of the log that contain the words. */
static size_t count_lines(FILE *lines, const char *words)
{
    char line[1024];
    size_t count = 0;
    rewind(lines);
    while (fgets(line, sizeof line, lines) != NULL)
        count += strstr(line, words) != NULL;
    return count;
}

static void each_refused_rotation_is_logged_once(void **state)
{
    (void)state;
    FILE *lines = tmpfile();
    assert_non_null(lines);
    weft_log *log;
    weft_log_options log_options = WEFT_LOG_OPTIONS_INIT;
    log_options.fd = fileno(lines);
    assert_int_equal(weft_log_new(&log, &log_options), 0);
    weft_tls_options options = from_files();
    options.log = log;
    options.reload_ms = 1;
    make(&options);
    for (int i = 0; i < 2; i++) {
        test_file_write(folder, "key", test_certificate_key(other));
        for (int k = 0; k < 3; k++) {
            engine.now_ns += 1000000;
            expect_shown(good);
        }
    }
    rotate(other);
    engine.now_ns += 1000000;
    expect_shown(other);
    weft_tls_free(tls);
    tls = NULL;
    weft_log_free(log);
    assert_int_equal(count_lines(lines, "key values mismatch"), 2);
    assert_int_equal(count_lines(lines, "certificates rotated"), 1);
    fclose(lines);
}

static void it_lives_as_long_as_somebody_uses_it(void **state)
{
    (void)state;
    weft_tls_options options = from_files();
    make(&options);
    tls->vtable->ref(tls);
    weft_tls_free(tls);
    assert_int_equal(atomic_load(&engine.base.users), 1);
    expect_shown(good);
    tls->vtable->unref(tls);
    tls = NULL;
    assert_int_equal(atomic_load(&engine.base.users), 0);
    weft_tls_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_are_taken),
        TEST(texts_are_taken),
        TEST(a_chain_is_taken),
        TEST(certificate_and_key_may_lie_in_one_file),
        TEST(without_options_the_systems_roots_count),
        TEST(a_missing_file_is_refused),
        TEST(an_unreadable_file_is_refused),
        TEST(what_is_no_regular_file_is_refused),
        TEST(a_file_that_is_too_large_is_refused),
        TEST(garbage_is_refused),
        TEST(a_text_with_a_nul_is_refused),
        TEST(another_certificates_key_is_refused),
        TEST(a_key_with_a_password_is_refused),
        TEST(an_expired_certificate_is_refused),
        TEST(what_the_systems_openssl_finds_too_weak_is_refused),
        TEST(options_that_do_not_fit_together_are_refused),
        TEST(a_minimum_that_the_engine_cannot_keep_is_refused),
        TEST(an_engine_without_tls_says_so),
        TEST(rotated_files_are_taken_over_once_it_is_time_to_look),
        TEST(without_reload_only_an_explicit_one_looks),
        TEST(a_certificate_without_its_key_changes_nothing_until_the_key_is_there),
        TEST(a_file_written_in_place_is_noticed),
        TEST(a_generation_that_is_held_stays),
        TEST(each_refused_rotation_is_logged_once),
        TEST(it_lives_as_long_as_somebody_uses_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
