/* fd_acceptor.c: see the header.
 *
 * Design notes
 * - gRPC core 1.51 (SONAME 29): a server argument of pointer type whose key is "external:NAME", and a "port" of the
 *   same name, make a listener without a socket. Its handler, a C++ object, is stored where the argument points. The
 *   port's number is 0, as if it had failed; whether a handler is there is what tells.
 * - The handler's class has a virtual destructor and one virtual function:
 *       Handle(int listener_fd, int fd, grpc_byte_buffer *pending)
 *   By the C++ ABI that all Linux compilers share, the object begins with a pointer to a table: [-1] points at the
 *   type's description, whose second word is the type's name; [0] and [1] are the destructors; [2] is Handle.
 * - The self-test is that name, beside gRPC core's version: a library in which the class is another, or which was built
 *   without descriptions of types, is not called through the table. Then grpc_server_add_channel_from_fd does the work:
 *   public, but plaintext only, and it does not know the peer's address.
 */
#include "transport/core/fd_acceptor.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>

bool weft__core_fd_acceptor_known = true;

typedef void handle_fn(void *self, int listener_fd, int fd, grpc_byte_buffer *pending);

/* What the ABI says of a type's description. */
struct type_info {
    const void *table;
    const char *name; /* a leading '*' says that it is compared by address */
};

static void *copy_pointer(void *pointer)
{
    return pointer;
}

static void destroy_pointer(void *pointer)
{
    (void)pointer;
}

static int compare_pointers(void *a, void *b)
{
    return (uintptr_t)a < (uintptr_t)b ? -1 : (uintptr_t)a > (uintptr_t)b;
}

grpc_arg weft__core_fd_acceptor_arg(weft_core_fd_acceptor *acceptor, size_t number)
{
    static const grpc_arg_pointer_vtable pointer_vtable = {copy_pointer, destroy_pointer, compare_pointers};
    acceptor->handler = NULL;
    snprintf(acceptor->name, sizeof acceptor->name, "external:weft-%zu", number);
    return (grpc_arg){.type = GRPC_ARG_POINTER,
                      .key = acceptor->name,
                      .value.pointer = {.p = &acceptor->handler, .vtable = &pointer_vtable}};
}

static const void *const *table_of(const void *handler)
{
    const void *const *table;
    memcpy(&table, handler, sizeof table);
    return table;
}

static bool is_known(const void *handler)
{
    if (!weft__core_fd_acceptor_known || handler == NULL || strcmp(grpc_version_string(), "29.0.0") != 0)
        return false;
    const struct type_info *type = table_of(handler)[-1];
    return type != NULL && strstr(type->name, "ExternalConnectionHandler") != NULL;
}

bool weft__core_fd_acceptor_attach(weft_core_fd_acceptor *acceptor, grpc_server *server,
                                   grpc_server_credentials *credentials)
{
    acceptor->server = server;
    acceptor->credentials = credentials;
    (void)grpc_server_add_http2_port(server, acceptor->name, credentials);
    if (!is_known(acceptor->handler))
        acceptor->handler = NULL;
    return acceptor->handler != NULL;
}

void weft__core_fd_acceptor_hand(weft_core_fd_acceptor *acceptor, int fd)
{
    if (acceptor->handler == NULL) {
        grpc_server_add_channel_from_fd(acceptor->server, fd, acceptor->credentials);
        return;
    }
    handle_fn *handle;
    memcpy(&handle, &table_of(acceptor->handler)[2], sizeof handle);
    handle(acceptor->handler, -1, fd, NULL);
}

void weft__core_fd_acceptor_fini(weft_core_fd_acceptor *acceptor)
{
    grpc_server_credentials_release(acceptor->credentials);
}
