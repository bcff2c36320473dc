/* identity.c: who the peer of a call is, read from its certificate.
 *
 * Only the engine's word counts that a CA of ours vouches for it: nothing is verified here. Texts go into the call's
 * arena. A name with a NUL inside would end early in C ("admin\0.example"), so it is left out.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <weft/tls.h>

#include "call/call.h"
#include "security/spiffe.h"

/* ---- the subject ------------------------------------------------------------------------------------------------- */

/* NULL: no memory. */
static const char *subject_text(weft_arena *arena, const X509_NAME *subject)
{
    char *data;
    const char *text = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio != NULL &&
        X509_NAME_print_ex(bio, subject, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0) {
        long len = BIO_get_mem_data(bio, &data);
        text = len > 0 ? weft_arena_svdup(arena, weft_sv_of(data, (size_t)len)) : "";
    }
    BIO_free(bio);
    return text;
}

/* The last one, which is the most particular. 0, or -ENOMEM; *out may be NULL. */
static int common_name(weft_arena *arena, const X509_NAME *subject, const char **out)
{
    int last = -1;
    for (int i = last; (i = X509_NAME_get_index_by_NID(subject, NID_commonName, i)) >= 0;)
        last = i;
    if (last < 0)
        return 0;
    unsigned char *utf8;
    int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
    if (len < 0)
        return 0; /* not a text */
    int rc = 0;
    if (memchr(utf8, '\0', (size_t)len) == NULL) {
        *out = weft_arena_svdup(arena, weft_sv_of(utf8, (size_t)len));
        rc = *out != NULL ? 0 : -ENOMEM;
    }
    OPENSSL_free(utf8);
    return rc;
}

/* ---- alternative names ------------------------------------------------------------------------------------------- */

static const char *text_of(weft_arena *arena, const ASN1_STRING *string)
{
    const unsigned char *data = ASN1_STRING_get0_data(string);
    return weft_arena_svdup(arena, weft_sv_of(data, (size_t)ASN1_STRING_length(string)));
}

static bool is_text(const ASN1_STRING *string)
{
    return memchr(ASN1_STRING_get0_data(string), '\0', (size_t)ASN1_STRING_length(string)) == NULL;
}

static const char *address_of(weft_arena *arena, const ASN1_OCTET_STRING *address)
{
    char text[INET6_ADDRSTRLEN] = "";
    int family = ASN1_STRING_length(address) == 4 ? AF_INET : AF_INET6;
    (void)inet_ntop(family, ASN1_STRING_get0_data(address), text, sizeof text);
    return weft_arena_strdup(arena, text);
}

/* Reads one name: whether it is of a kind that we tell. Its value is NULL when there is no memory. */
static bool read_name(weft_arena *arena, const GENERAL_NAME *name, weft_san *out)
{
    int type;
    const ASN1_STRING *string = GENERAL_NAME_get0_value(name, &type);
    switch (type) {
    case GEN_DNS:
        out->kind = WEFT_SAN_DNS;
        break;
    case GEN_URI:
        out->kind = WEFT_SAN_URI;
        break;
    case GEN_EMAIL:
        out->kind = WEFT_SAN_EMAIL;
        break;
    case GEN_IPADD:
        out->kind = WEFT_SAN_IP;
        if (ASN1_STRING_length(string) != 4 && ASN1_STRING_length(string) != 16)
            return false;
        out->value = address_of(arena, string);
        return true;
    default:
        return false;
    }
    if (!is_text(string))
        return false;
    out->value = text_of(arena, string);
    return true;
}

static int read_names(weft_arena *arena, const GENERAL_NAMES *names, weft_identity *out)
{
    const int count = sk_GENERAL_NAME_num(names);
    weft_san *sans = weft_arena_calloc(arena, (size_t)count + 1, sizeof *sans);
    if (sans == NULL)
        return -ENOMEM;
    size_t uris = 0;
    for (int i = 0; i < count; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        int type;
        (void)GENERAL_NAME_get0_value(name, &type);
        uris += type == GEN_URI;
        if (!read_name(arena, name, &sans[out->san_count]))
            continue;
        const weft_san *san = &sans[out->san_count++];
        if (san->value == NULL)
            return -ENOMEM;
        if (san->kind == WEFT_SAN_URI && weft__is_spiffe_id(san->value))
            out->spiffe_id = san->value;
    }
    if (uris != 1)
        out->spiffe_id = NULL;
    out->sans = sans;
    return 0;
}

/* ---- the identity ------------------------------------------------------------------------------------------------ */

static int read_certificate(weft_arena *arena, X509 *certificate, weft_identity *out)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int critical = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, NULL);
    if (names == NULL && critical != -1) /* it is there, but twice, or broken */
        return -EBADMSG;
    out->subject = subject_text(arena, subject);
    int rc = out->subject != NULL ? 0 : -ENOMEM;
    if (rc == 0)
        rc = common_name(arena, subject, &out->common_name);
    if (rc == 0 && names != NULL)
        rc = read_names(arena, names, out);
    GENERAL_NAMES_free(names);
    return rc;
}

int weft_call_peer_identity(weft_call *call, weft_identity *out)
{
    if (out->struct_size == 0)
        return -EINVAL;
    const weft__scall_vtable *transport = call->transport->vtable;
    weft_sv pem = {NULL, 0};
    if (transport->peer_certificate != NULL)
        pem = transport->peer_certificate(call->transport);
    if (pem.data == NULL)
        return -ENOENT;
    if (pem.len > INT32_MAX)
        return -EBADMSG;
    ERR_clear_error();
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    if (bio == NULL)
        return -ENOMEM;
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    weft_identity identity = {.struct_size = out->struct_size};
    int rc = certificate != NULL ? read_certificate(call->arena, certificate, &identity) : -EBADMSG;
    if (ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE)
        rc = -ENOMEM;
    X509_free(certificate);
    ERR_clear_error();
    if (rc == 0)
        memcpy(out, &identity, out->struct_size < sizeof identity ? out->struct_size : sizeof identity);
    return rc;
}
