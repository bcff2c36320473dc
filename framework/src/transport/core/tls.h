/* tls.h: credentials of gRPC core, made of PEM texts; and back, the certificate of a call's peer. */
#ifndef WEFT_TRANSPORT_CORE_TLS_H
#define WEFT_TRANSPORT_CORE_TLS_H

#include <stdatomic.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "transport/transport.h"

/* The certificates that a listener of gRPC core shows. */
typedef struct weft_core_tls {
    weft_tls *tls;
    atomic_uint_least64_t number; /* of the generation that gRPC core has */
} weft_core_tls;

/* Credentials that ask `tls` for the newest certificates before each handshake. It outlives the server. */
grpc_server_credentials *weft__core_tls_server_credentials(weft_core_tls *tls);

grpc_channel_credentials *weft__core_tls_channel_credentials(const weft__pems *pems);

/* As weft__scall_vtable.peer_certificate. */
weft_sv weft__core_tls_peer_certificate(grpc_call *call);

#endif
