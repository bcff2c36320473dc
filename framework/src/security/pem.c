/* pem.c: see the header.
 *
 * Design notes
 * - Whatever carries the connections does so by OpenSSL, so that is who is asked: certificate, chain and key are put
 *   into an SSL_CTX as the engine will do. What is too weak for the system's OpenSSL is refused here too.
 * - A stamp is taken from the open file before it is read. Who writes while we read leaves another stamp behind, so the
 *   file is looked at again.
 * - OpenSSL's queue of errors belongs to the thread, and gRPC core reads it on threads that come by here: it is left
 *   empty.
 */
#include "security/pem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

enum {
    MAX_BYTES = 16 << 20
};

/* ---- reasons ----------------------------------------------------------------------------------------------------- */

int weft__reason_tell(weft__reason reason, int rc, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (reason.size > 0)
        (void)vsnprintf(reason.text, reason.size, format, args);
    va_end(args);
    return rc;
}

static int tell_errno(weft__reason reason, int error, const char *name)
{
    char text[128];
    if (strerror_r(error, text, sizeof text) != 0)
        snprintf(text, sizeof text, "error %d", error);
    return weft__reason_tell(reason, -error, "%s: %s", name, text);
}

/* Tells OpenSSL's last error, and forgets it: `rc`, or -ENOMEM if that was it. */
static int tell_openssl(weft__reason reason, int rc, const char *name)
{
    unsigned long error = ERR_peek_last_error();
    const char *text = ERR_reason_error_string(error);
    if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE)
        rc = -ENOMEM;
    weft__reason_tell(reason, rc, "%s: %s", name, text != NULL ? text : "OpenSSL refuses it");
    ERR_clear_error();
    return rc;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void erase(char *text, size_t size)
{
    if (text != NULL)
        OPENSSL_cleanse(text, size);
    free(text);
}

/* Reads until the end, or until a file that grows meanwhile has filled `size` bytes: its length, or -errno. */
static ssize_t read_all(int fd, char *out, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t got = read(fd, out + len, size - len);
        if (got == 0)
            break;
        if (got > 0)
            len += (size_t)got;
        else if (errno != EINTR)
            return -errno;
    }
    return (ssize_t)len;
}

static int read_open(weft__pem *out, int fd, const char *name, weft__reason reason)
{
    struct stat file;
    if (fstat(fd, &file) != 0)
        return tell_errno(reason, errno, name);
    if (!S_ISREG(file.st_mode))
        return weft__reason_tell(reason, -EINVAL, "%s: not a regular file", name);
    if (file.st_size > MAX_BYTES)
        return tell_errno(reason, EFBIG, name);
    const size_t size = (size_t)file.st_size;
    char *text = malloc(size + 1);
    if (text == NULL)
        return tell_errno(reason, ENOMEM, name);
    ssize_t len = read_all(fd, text, size);
    if (len < 0) {
        erase(text, size + 1);
        return tell_errno(reason, (int)-len, name);
    }
    text[len] = '\0';
    if (strlen(text) != (size_t)len) {
        erase(text, size + 1);
        return weft__reason_tell(reason, -EBADMSG, "%s: not PEM: it has a NUL in it", name);
    }
    *out = (weft__pem){text, weft__stamp_from(&file)};
    return 0;
}

int weft__pem_read(weft__pem *out, const weft__pem_source *source, weft__reason reason)
{
    *out = (weft__pem){.text = NULL};
    if (source->file == NULL) {
        out->text = source->text != NULL ? strdup(source->text) : NULL;
        return source->text != NULL && out->text == NULL ? tell_errno(reason, ENOMEM, source->name) : 0;
    }
    int fd = open(source->file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a pipe must not hold us up */
    if (fd < 0)
        return tell_errno(reason, errno, source->name);
    int rc = read_open(out, fd, source->name, reason);
    close(fd);
    return rc;
}

void weft__pem_fini(weft__pem *pem)
{
    erase(pem->text, pem->text != NULL ? strlen(pem->text) : 0);
    pem->text = NULL;
}

/* ---- what is in them --------------------------------------------------------------------------------------------- */

/* OpenSSL would ask for a password at the terminal. */
static int no_password(char *out, int size, int writing, void *user)
{
    (void)writing;
    (void)user;
    if (size > 0)
        out[0] = '\0';
    return -1;
}

/* Gives each certificate to `use`, which frees it, until one is not taken: their number, or what it returned. */
static int for_each_certificate(const char *text, const char *name, weft__reason reason,
                                int (*use)(X509 *certificate, int index, void *user), void *user)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    if (bio == NULL)
        return tell_openssl(reason, -ENOMEM, name);
    int rc = 0;
    int count = 0;
    for (; rc == 0; count++) {
        X509 *certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL);
        if (certificate == NULL)
            break;
        rc = use(certificate, count, user);
    }
    BIO_free(bio);
    if (rc < 0)
        return rc;
    unsigned long error = ERR_peek_last_error();
    if (ERR_GET_LIB(error) != ERR_LIB_PEM || ERR_GET_REASON(error) != PEM_R_NO_START_LINE)
        return tell_openssl(reason, -EBADMSG, name);
    ERR_clear_error();
    return count > 0 ? count : weft__reason_tell(reason, -EBADMSG, "%s: there is no certificate in it", name);
}

struct own {
    SSL_CTX *context;
    const char *name;
    weft__reason reason;
};

static int tell_time(const struct own *own, const char *what, const ASN1_TIME *time, int index)
{
    char text[64] = "";
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio != NULL && ASN1_TIME_print(bio, time) == 1) {
        int len = BIO_read(bio, text, (int)sizeof text - 1);
        text[len > 0 ? len : 0] = '\0';
    }
    BIO_free(bio);
    ERR_clear_error();
    return weft__reason_tell(own->reason, -EKEYEXPIRED, "%s: certificate %d %s %s", own->name, index + 1, what, text);
}

static int use_own(X509 *certificate, int index, void *user)
{
    struct own *own = user;
    int rc = 0;
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
        rc = tell_time(own, "has expired on", X509_get0_notAfter(certificate), index);
    else if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
        rc = tell_time(own, "is not valid before", X509_get0_notBefore(certificate), index);
    else if ((index == 0 ? SSL_CTX_use_certificate(own->context, certificate)
                         : (int)SSL_CTX_add1_chain_cert(own->context, certificate)) != 1)
        rc = tell_openssl(own->reason, -EBADMSG, own->name);
    X509_free(certificate);
    return rc;
}

static int use_key(SSL_CTX *context, const char *text, const char *name, weft__reason reason)
{
    if (strstr(text, "ENCRYPTED") != NULL)
        return weft__reason_tell(reason, -EBADMSG, "%s: the key has a password", name);
    BIO *bio = BIO_new_mem_buf(text, -1);
    if (bio == NULL)
        return tell_openssl(reason, -ENOMEM, name);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    if (key == NULL)
        return tell_openssl(reason, -EBADMSG, name);
    ERR_clear_error();
    /* A context keeps certificates and keys by their kinds, and would not miss one to a key of another kind. */
    bool fits = X509_check_private_key(SSL_CTX_get0_certificate(context), key) == 1 &&
                SSL_CTX_use_PrivateKey(context, key) == 1;
    int rc = fits ? 0 : tell_openssl(reason, -EKEYREJECTED, name);
    EVP_PKEY_free(key);
    return rc;
}

int weft__pem_check_own(const char *certificates, const char *certificates_name, const char *key, const char *key_name,
                        weft__reason reason)
{
    ERR_clear_error();
    struct own own = {SSL_CTX_new(TLS_method()), certificates_name, reason};
    if (own.context == NULL)
        return tell_openssl(reason, -ENOMEM, certificates_name);
    int rc = for_each_certificate(certificates, certificates_name, reason, use_own, &own);
    if (rc > 0)
        rc = use_key(own.context, key, key_name, reason);
    SSL_CTX_free(own.context);
    ERR_clear_error();
    return rc;
}

static int use_root(X509 *certificate, int index, void *user)
{
    (void)index;
    (void)user;
    X509_free(certificate);
    return 0;
}

int weft__pem_check_roots(const char *roots, const char *name, weft__reason reason)
{
    ERR_clear_error();
    int rc = for_each_certificate(roots, name, reason, use_root, NULL);
    return rc < 0 ? rc : 0;
}
