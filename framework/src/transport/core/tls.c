/* tls.c: see the header.
 *
 * Design notes
 * - gRPC core asks `fetch` for certificates before each handshake, which is when we have one descriptor to hand over
 *   (server.c), on the listener's thread. It builds what it needs of them only when they are new.
 * - gRPC core 1.51 offers TLS 1.2 and 1.3 and cannot be told to do without 1.2 (tls_min_version in engine.c).
 */
#include "transport/core/tls.h"

#include <string.h>

static grpc_ssl_pem_key_cert_pair pair_of(const weft__pems *pems)
{
    return (grpc_ssl_pem_key_cert_pair){.private_key = pems->key, .cert_chain = pems->certificates};
}

static grpc_ssl_certificate_config_reload_status fetch(void *user, grpc_ssl_server_certificate_config **out)
{
    weft_core_tls *own = user;
    weft_tls *tls = own->tls;
    if (tls->vtable->refresh(tls) == atomic_load_explicit(&own->number, memory_order_relaxed))
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const weft__pems *pems = tls->vtable->hold(tls);
    const grpc_ssl_pem_key_cert_pair pair = pair_of(pems);
    /* It aborts without roots, also where it asks for no certificate. */
    const bool asks = tls->client_certificates != WEFT_CLIENT_CERTIFICATES_NONE;
    *out = grpc_ssl_server_certificate_config_create(asks ? pems->roots : pems->certificates, &pair, 1);
    atomic_store_explicit(&own->number, pems->number, memory_order_relaxed);
    tls->vtable->release(pems);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

static grpc_ssl_client_certificate_request_type request_of(weft_client_certificates wanted)
{
    switch (wanted) {
    case WEFT_CLIENT_CERTIFICATES_REQUEST:
        return GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY;
    case WEFT_CLIENT_CERTIFICATES_REQUIRE:
        return GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
    case WEFT_CLIENT_CERTIFICATES_NONE:
        break;
    }
    return GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
}

grpc_server_credentials *weft__core_tls_server_credentials(weft_core_tls *tls)
{
    return grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(request_of(tls->tls->client_certificates),
                                                                        fetch, tls));
}

grpc_channel_credentials *weft__core_tls_channel_credentials(const weft__pems *pems)
{
    grpc_ssl_pem_key_cert_pair pair = pair_of(pems);
    return grpc_ssl_credentials_create_ex(pems->roots, pems->key != NULL ? &pair : NULL, NULL, NULL);
}

weft_sv weft__core_tls_peer_certificate(grpc_call *call)
{
    grpc_auth_context *context = grpc_call_auth_context(call);
    weft_sv found = {NULL, 0};
    if (context == NULL)
        return found;
    grpc_auth_property_iterator properties =
        grpc_auth_context_find_properties_by_name(context, GRPC_X509_PEM_CERT_PROPERTY_NAME);
    const grpc_auth_property *property = grpc_auth_property_iterator_next(&properties);
    if (property != NULL)
        found = weft_sv_of(property->value, property->value_length);
    grpc_auth_context_release(context); /* the call has a reference of its own */
    return found;
}
