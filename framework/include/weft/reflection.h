/* weft/reflection.h: lets tools ask a server for its services and contracts, so that they can call it without having
 * them: grpcurl, buf curl, Postman. */
#ifndef WEFT_REFLECTION_H
#define WEFT_REFLECTION_H

#include <weft/server.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

/**
 * Serves grpc.reflection.v1.ServerReflection, and its v1alpha for older tools, on a server that has not started. What
 * is told: all services on it, those registered later and these two included, and the files that they are declared in
 * with all that those import. Of protobuf-c's own services (weft_server_add_protobuf_c) no more than the names is
 * known.
 *
 * Whoever can connect can read the contracts.
 *
 * @return 0; -EEXIST it is registered; -EBUSY after start; -ENOMEM. Limits: 100 streams of each version at a time;
 *         requests of 16 KiB.
 */
WEFT_API int weft_reflection_register(weft_server *server);

WEFT_END_DECLS
#endif
