/* weft/tls.h: TLS for listeners and channels, and who the peer of a call is.
 *
 *     weft_tls_options options = WEFT_TLS_OPTIONS_INIT;
 *     options.certificate_file = "/etc/orders/tls.crt";
 *     options.key_file = "/etc/orders/tls.key";
 *     char why[256];
 *     weft_tls *tls;
 *     rc = weft_tls_new(&tls, engine, &options, why, sizeof why);      // "/etc/orders/tls.key: key values mismatch"
 *     rc = weft_server_listen_tls(server, "0.0.0.0:50051", tls);      // and channel_options.tls = tls
 *     weft_tls_free(tls);                                             // server and channels keep it
 *
 * Files are looked at again when a connection is made, every reload_ms at most; see weft_tls_reload.
 */
#ifndef WEFT_TLS_H
#define WEFT_TLS_H

#include <stddef.h>
#include <stdint.h>

#include <weft/call.h>
#include <weft/engine.h>
#include <weft/log.h>
#include <weft/sv.h>

WEFT_BEGIN_DECLS

typedef struct weft_tls weft_tls;

/* What a listener wants to see of its clients. */
typedef enum weft_client_certificates {
    WEFT_CLIENT_CERTIFICATES_NONE = 0, /* nothing: who they are is not known */
    WEFT_CLIENT_CERTIFICATES_REQUEST,  /* a certificate that the roots vouch for, or none */
    WEFT_CLIENT_CERTIFICATES_REQUIRE   /* a certificate that the roots vouch for */
} weft_client_certificates;

/* Everything is copied but the log. A listener needs certificate and key; a channel may do without. Give a file or its
 * PEM text, not both; only files can be rotated. */
typedef struct weft_tls_options {
    size_t struct_size;           /* set by WEFT_TLS_OPTIONS_INIT */
    weft_log *log;                /* optional; outlives the weft_tls: tells of rotations. Default: nothing is logged */
    const char *certificate_file; /* PEM: our certificate, then those between it and its CA */
    const char *key_file;         /* PEM, without a password */
    const char *roots_file;       /* PEM: the CAs that vouch for the peer. A listener that wants client certificates
                                     must have them. Default, for channels: /etc/ssl/certs/ca-certificates.crt */
    weft_sv certificate_pem;
    weft_sv key_pem;
    weft_sv roots_pem;
    weft_client_certificates client_certificates; /* optional; of a listener. Default: none */
    const char *server_name; /* optional; of a channel: the name that the server's certificate must have, and what
                                :authority says. Default: from the channel's target */
    int min_version;         /* optional; 12 or 13: TLS 1.2 or 1.3. Default: 12 */
    int64_t reload_ms;       /* optional; how often files are looked at. Default: 10,000; -1: by weft_tls_reload only */
} weft_tls_options;
#define WEFT_TLS_OPTIONS_INIT WEFT__INIT(weft_tls_options)

/**
 * Reads certificates and keys, and has OpenSSL check them: what it would refuse later is refused here.
 *
 * @param engine  outlives the weft_tls, which serves servers and channels on it.
 * @param options may be NULL: for a channel, with the system's CAs.
 * @param error   on failure the reason, with the file's name and OpenSSL's words, NUL-terminated and cut to
 *                `error_size`. NULL with size 0 if nobody wants it.
 * @return 0; -EINVAL options that do not fit together; -E2BIG an option that this library does not know; -ENOENT,
 *         -EACCES or another -errno of a file that cannot be read, -EFBIG one of over 16 MiB; -EBADMSG one that is not
 *         what it should be; -EKEYREJECTED the key is another certificate's; -EKEYEXPIRED a certificate has expired, or
 *         is not valid yet; -ENOTSUP the engine has no TLS, or cannot keep to min_version; -ENOMEM; -ECHILD after fork.
 *         Thread: setup; reads files.
 */
WEFT_API int weft_tls_new(weft_tls **out, weft_engine *engine, const weft_tls_options *options, char *error,
                          size_t error_size);

/* Lets go of it; servers and channels that were given it keep it for as long as they live. NULL is fine. */
WEFT_API void weft_tls_free(weft_tls *tls);

/**
 * Looks now whether the files were rotated; for a program that is told, by a signal say. Connections go on as they are:
 * a server shows the new certificate to those that come, a channel makes a new one for the calls to come. What cannot
 * be used, such as a key whose certificate is not there yet, changes nothing; it is looked at again.
 *
 * @param error as in weft_tls_new. @return 0, also when nothing has changed; or as weft_tls_new. Thread: any; reads
 * files.
 */
WEFT_API int weft_tls_reload(weft_tls *tls, char *error, size_t error_size);

/* ---- who calls --------------------------------------------------------------------------------------------------- */

typedef enum weft_san_kind {
    WEFT_SAN_DNS,
    WEFT_SAN_URI,
    WEFT_SAN_EMAIL,
    WEFT_SAN_IP /* as text: "192.0.2.1", "2001:db8::1" */
} weft_san_kind;

/* A name that a certificate was made out to (subject alternative name). */
typedef struct weft_san {
    weft_san_kind kind;
    const char *value;
} weft_san;

/* What the peer's certificate says of it. All texts lie in the call's arena. */
typedef struct weft_identity {
    size_t struct_size;      /* set by WEFT_IDENTITY_INIT */
    const char *subject;     /* as RFC 2253 has it: "CN=orders,O=Acme"; may be empty */
    const char *common_name; /* the subject's; or NULL */
    const char *spiffe_id;   /* "spiffe://acme.example/orders": the only URI, if it is one; or NULL */
    const weft_san *sans;    /* san_count, of the kinds above, in the certificate's order */
    size_t san_count;
} weft_identity;
#define WEFT_IDENTITY_INIT WEFT__INIT(weft_identity)

/**
 * Who calls, by the certificate that the connection was made with and a CA of ours has vouched for. Parses it each
 * time. Names that hold a NUL are left out.
 *
 * @return 0; -ENOENT the peer has shown none, or the connection is plaintext; -ENOMEM; -EBADMSG OpenSSL cannot read
 *         it; -EINVAL out's struct_size is 0. Thread: the one that runs the handler.
 */
WEFT_API int weft_call_peer_identity(weft_call *call, weft_identity *out);

WEFT_END_DECLS
#endif
