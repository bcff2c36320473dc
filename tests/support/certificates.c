#include "support/certificates.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

struct test_certificate {
    X509 *x509;
    EVP_PKEY *pkey;
    char *pem;
    char *key;
};

static char *text_of(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    char *text = malloc((size_t)len + 1);
    assert_non_null(text);
    memcpy(text, data, (size_t)len);
    text[len] = '\0';
    BIO_free(bio);
    return text;
}

static X509_NAME *parse_subject(const char *text)
{
    X509_NAME *name = X509_NAME_new();
    char copy[512];
    snprintf(copy, sizeof copy, "%s", text);
    for (char *part = copy; *part == '/';) {
        char *end = strchr(part + 1, '/');
        if (end != NULL)
            *end = '\0';
        char *equals = strchr(part, '=');
        assert_non_null(equals);
        *equals = '\0';
        assert_int_equal(
            X509_NAME_add_entry_by_txt(name, part + 1, MBSTRING_UTF8, (unsigned char *)equals + 1, -1, -1, 0), 1);
        if (end == NULL)
            break;
        *end = '/';
        part = end;
    }
    return name;
}

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509V3_set_ctx_nodb(&context);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, (char *)(uintptr_t)value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void add_raw_dns(X509 *certificate, weft_sv value)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *string = ASN1_IA5STRING_new();
    assert_int_equal(ASN1_STRING_set(string, value.data, (int)value.len), 1);
    GENERAL_NAME_set0_value(name, GEN_DNS, string);
    sk_GENERAL_NAME_push(names, name);
    assert_int_equal(X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0), 1);
    GENERAL_NAMES_free(names);
}

test_certificate *test_certificate_new(const test_certificate *issuer, const test_certificate_options *options)
{
    static long serial = 1;
    const test_certificate_options defaults = {.names = NULL};
    const test_certificate_options *o = options != NULL ? options : &defaults;
    test_certificate *made = calloc(1, sizeof *made);
    assert_non_null(made);
    made->pkey = o->rsa_bits > 0 ? EVP_RSA_gen((unsigned)o->rsa_bits) : EVP_EC_gen("P-256");
    made->x509 = X509_new();
    assert_non_null(made->pkey);
    X509 *issuer_x509 = issuer != NULL ? issuer->x509 : made->x509;
    X509_set_version(made->x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made->x509), serial++);
    X509_gmtime_adj(X509_getm_notBefore(made->x509), o->from_s != 0 ? o->from_s : -3600);
    X509_gmtime_adj(X509_getm_notAfter(made->x509), o->until_s != 0 ? o->until_s : 3600);
    X509_NAME *subject = parse_subject(o->subject != NULL ? o->subject : "/CN=test");
    X509_set_subject_name(made->x509, subject);
    X509_NAME_free(subject);
    X509_set_issuer_name(made->x509, X509_get_subject_name(issuer_x509));
    X509_set_pubkey(made->x509, made->pkey);
    add_extension(made->x509, issuer_x509, NID_basic_constraints, issuer != NULL ? "CA:FALSE" : "critical,CA:TRUE");
    for (int i = 0; o->names != NULL && i <= o->repeat_names; i++)
        add_extension(made->x509, issuer_x509, NID_subject_alt_name, o->names);
    if (o->raw_dns != NULL)
        add_raw_dns(made->x509, *o->raw_dns);
    assert_true(X509_sign(made->x509, issuer != NULL ? issuer->pkey : made->pkey, EVP_sha256()) > 0);
    BIO *pem = BIO_new(BIO_s_mem()), *key = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(pem, made->x509), 1);
    assert_int_equal(PEM_write_bio_PrivateKey(key, made->pkey, NULL, NULL, 0, NULL, NULL), 1);
    made->pem = text_of(pem);
    made->key = text_of(key);
    return made;
}

void test_certificate_free(test_certificate *certificate)
{
    if (certificate == NULL)
        return;
    X509_free(certificate->x509);
    EVP_PKEY_free(certificate->pkey);
    free(certificate->pem);
    free(certificate->key);
    free(certificate);
}

const char *test_certificate_pem(const test_certificate *certificate)
{
    return certificate->pem;
}

const char *test_certificate_key(const test_certificate *certificate)
{
    return certificate->key;
}

char *test_certificate_locked_key(const test_certificate *certificate)
{
    unsigned char password[] = "secret";
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey(bio, certificate->pkey, EVP_aes_128_cbc(), password, 6, NULL, NULL), 1);
    return text_of(bio);
}

static char files[16][256];

void test_folder_new(char out[TEST_FOLDER_SIZE])
{
    memset(files, 0, sizeof files);
    snprintf(out, TEST_FOLDER_SIZE, "/tmp/weft-tls-XXXXXX");
    assert_non_null(mkdtemp(out));
}

void test_folder_free(const char *folder)
{
    DIR *list = opendir(folder);
    assert_non_null(list);
    for (struct dirent *entry = readdir(list); entry != NULL; entry = readdir(list))
        if (entry->d_name[0] != '.')
            assert_int_equal(unlinkat(dirfd(list), entry->d_name, 0), 0);
    closedir(list);
    assert_int_equal(rmdir(folder), 0);
}

const char *test_file(const char *folder, const char *name)
{
    char wanted[sizeof files[0]];
    snprintf(wanted, sizeof wanted, "%s/%s", folder, name);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (files[i][0] == '\0')
            memcpy(files[i], wanted, sizeof wanted);
        if (strcmp(files[i], wanted) == 0)
            return files[i];
    }
    fail_msg("too many files");
    return NULL;
}

void test_file_write(const char *folder, const char *name, const char *text)
{
    const char *written = test_file(folder, "written");
    FILE *file = fopen(written, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(written, test_file(folder, name)), 0);
}
