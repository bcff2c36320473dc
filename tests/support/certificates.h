/* support/certificates.h: certificates made in the test, and a folder for their files. LIBS weft_test_certificates. */
#ifndef WEFT_TEST_CERTIFICATES_H
#define WEFT_TEST_CERTIFICATES_H

#include <weft/sv.h>

typedef struct test_certificate test_certificate;

/* What to write into one; zeros will do. */
typedef struct test_certificate_options {
    const char *subject;    /* "/O=Acme/CN=orders"; default: "/CN=test" */
    const char *names;      /* as OpenSSL's configuration has them: "DNS:localhost,IP:127.0.0.1"; or NULL */
    long from_s;            /* valid from so many seconds from now; default: an hour ago … */
    long until_s;           /* … to in an hour */
    int rsa_bits;           /* default: a key on P-256 */
    int repeat_names;       /* more times: a broken certificate */
    const weft_sv *raw_dns; /* one DNS name more, of any bytes */
} test_certificate_options;

/* Signed by `issuer`; by itself, as a CA, when that is NULL. Fails the test when it cannot be made. */
test_certificate *test_certificate_new(const test_certificate *issuer, const test_certificate_options *options);
void test_certificate_free(test_certificate *certificate);

/* PEM; live as long as the certificate. */
const char *test_certificate_pem(const test_certificate *certificate);
const char *test_certificate_key(const test_certificate *certificate);

/* A key with a password. Free it. */
char *test_certificate_locked_key(const test_certificate *certificate);

/* A new folder below /tmp, whose files end with it. */
#define TEST_FOLDER_SIZE 32
void test_folder_new(char out[TEST_FOLDER_SIZE]);
void test_folder_free(const char *folder);

/* Writes FOLDER/NAME anew under another name, and renames: as one should rotate a file. */
void test_file_write(const char *folder, const char *name, const char *text);

/* FOLDER/NAME, until the next test_folder_new. 16 names at most. */
const char *test_file(const char *folder, const char *name);

#endif
