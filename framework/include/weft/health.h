/* weft/health.h: tells load balancers, probes and who else asks whether a server, or one of its services, is ready for
 * calls: the gRPC health checking protocol (grpc.health.v1.Health: Check, List, Watch).
 *
 *     weft_health *health;
 *     rc = weft_health_new(&health, NULL);
 *     rc = weft_health_register(server, health);
 *     …
 *     weft_health_set(health, "user.UserService", WEFT_NOT_SERVING); // its database is away
 *     …
 *     weft_server_free(server);
 *     weft_health_free(health);
 *
 * The server as a whole, "", and each service registered on it are SERVING from its start on, until said otherwise.
 * When it drains, all are NOT_SERVING for good: who watches is told so, and then UNAVAILABLE; who asks only then is
 * answered UNAVAILABLE like every new call. A client that watches takes no thread of the server.
 */
#ifndef WEFT_HEALTH_H
#define WEFT_HEALTH_H

#include <stddef.h>
#include <stdint.h>

#include <weft/server.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

typedef struct weft_health weft_health;

/* Numbers are the protocol's. */
typedef enum weft_serving {
    WEFT_SERVING = 1,
    WEFT_NOT_SERVING = 2
} weft_serving;

typedef struct weft_health_options {
    size_t struct_size;  /* set by WEFT_HEALTH_OPTIONS_INIT */
    int64_t max_watches; /* optional; Watch calls at a time; RESOURCE_EXHAUSTED for one more. Default: half of the
                            server's max_concurrent_calls; -1: none of its own */
} weft_health_options;
#define WEFT_HEALTH_OPTIONS_INIT WEFT__INIT(weft_health_options)

/**
 * Makes a health that knows the server as a whole, SERVING.
 *
 * @param options may be NULL: all defaults.
 * @return 0; -EINVAL an option out of range, or struct_size 0; -E2BIG an option that this library does not know;
 *         -ENOMEM.
 */
WEFT_API int weft_health_new(weft_health **out, const weft_health_options *options);

/**
 * Serves grpc.health.v1.Health on a server that has not started. A health belongs to one server.
 *
 * @param health outlives the server.
 * @return 0; -EALREADY it is registered; -EEXIST the server has another; -EBUSY after start; -ENOMEM.
 */
WEFT_API int weft_health_register(weft_server *server, weft_health *health);

/**
 * Sets the status of a service, which it makes known if need be, and tells who watches it. Statuses do not depend on
 * each other: that of "" is nothing but what a probe is told that asks for no service.
 *
 * @param service "user.UserService", or any name that clients know; "" for the server as a whole. Copied.
 * @return 0; -EINVAL no service, or no such status; -ENOMEM, and nothing has changed; -ESHUTDOWN the server drains, or
 *         weft_health_shutdown was called.
 *         Limits: List answers RESOURCE_EXHAUSTED for over 100 services. Thread: any; does not block.
 */
WEFT_API int weft_health_set(weft_health *health, const char *service, weft_serving status);

/**
 * Makes all services NOT_SERVING for good, as a server that drains does, and tells who watches; but the watches go on,
 * and checks are answered, until the server drains. For a server that is about to stop and still serves (weft/app.h).
 *
 * Thread: any; does not block. The second time it does nothing.
 */
WEFT_API void weft_health_shutdown(weft_health *health);

/* Frees a health, after its server. NULL is fine. */
WEFT_API void weft_health_free(weft_health *health);

WEFT_END_DECLS
#endif
