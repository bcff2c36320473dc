/* fd_acceptor.h: hands a connected descriptor to a gRPC core server, plaintext or TLS.
 *
 * gRPC core has this for its own use and for C++ ("external connection acceptor"), with no C function. What we rely on
 * is told, checked and kept in fd_acceptor.c alone.
 */
#ifndef WEFT_TRANSPORT_CORE_FD_ACCEPTOR_H
#define WEFT_TRANSPORT_CORE_FD_ACCEPTOR_H

#include <stdbool.h>

#include <grpc/grpc.h>

typedef struct weft_core_fd_acceptor {
    char name[32]; /* gRPC core's key for it, different for each of a server */
    grpc_server *server;
    grpc_server_credentials *credentials;
    void
        *handler; /* gRPC core's; NULL: not the gRPC core we know, so descriptors take the public way, plaintext only */
} weft_core_fd_acceptor;

/* Whether this gRPC core is one whose inside we know. Tests set it to false. */
extern bool weft__core_fd_acceptor_known;

/* Fills an argument for grpc_server_create. `acceptor`, the `number`-th of the server, outlives it. */
grpc_arg weft__core_fd_acceptor_arg(weft_core_fd_acceptor *acceptor, size_t number);

/* After grpc_server_create and before grpc_server_start. Takes the credentials, in any case. @return whether there is
 * more than the public way. */
bool weft__core_fd_acceptor_attach(weft_core_fd_acceptor *acceptor, grpc_server *server,
                                   grpc_server_credentials *credentials);

/* Gives `fd`, which is connected, non-blocking and close-on-exec, to the server: between its start and its shutdown. */
void weft__core_fd_acceptor_hand(weft_core_fd_acceptor *acceptor, int fd);

void weft__core_fd_acceptor_fini(weft_core_fd_acceptor *acceptor);

#endif
