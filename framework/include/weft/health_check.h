/* weft/health_check.h: a channel asks its instances, again and again, whether they are well, and calls go to those that
 * are.
 *
 *     weft_health_check_options check = WEFT_HEALTH_CHECK_OPTIONS_INIT;
 *     check.service = "user.UserService";
 *     options.health_check = &check; // of a weft_channel_options
 *
 *     well ◀── healthy_after successes in a row ── unhealthy
 *       └────── more than unhealthy_after failures ──▶ ┘      (GRPC, HTTP)
 *
 * An instance is asked as long as it is connected; first when the connection stands, again after a random part of the
 * interval (so that not all are asked at the same time), then at every interval. One that is unhealthy is picked only
 * when there is none that is well: something is better than nothing. Checks are calls and connections of their own:
 * pickers, outlier ejection, interceptors and observers do not see them.
 *
 * A server that answers Check or Watch with UNIMPLEMENTED counts as well, and is not asked again on that connection.
 *
 * Sources: gRFC A17 (client-side health checking), grpc.health.v1.
 */
#ifndef WEFT_HEALTH_CHECK_H
#define WEFT_HEALTH_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include <weft/version.h>

WEFT_BEGIN_DECLS

typedef enum weft_health_check_kind {
    /* Calls grpc.health.v1.Health/Check at every interval, over the instance's own connection. Until a verdict it is
     * used. SERVING is a success; all else is a failure. */
    WEFT_HEALTH_CHECK_GRPC = 0,

    /* Keeps grpc.health.v1.Health/Watch open, and goes by what the server says, at once: SERVING or not. Until its
     * first word an instance counts as connecting: calls wait. A stream that breaks is opened again; one that brings
     * nothing within timeout_ms, or fails before it has, makes the instance unhealthy, and is tried again with the
     * channel's backoff. The interval and both counts have no meaning. */
    WEFT_HEALTH_CHECK_WATCH = 1,

    /* Sends "GET /health" by HTTP/1.1 over a connection of its own, which it closes after the status line: 2xx is a
     * success, all else is a failure. Plaintext only: behind TLS, use GRPC. Until a verdict the instance is used. Takes
     * one thread a channel, and an engine with sockets. */
    WEFT_HEALTH_CHECK_HTTP = 2
} weft_health_check_kind;

/* All fields are optional. */
typedef struct weft_health_check_options {
    size_t struct_size; /* set by WEFT_HEALTH_CHECK_OPTIONS_INIT */
    weft_health_check_kind kind;
    const char *service; /* GRPC, WATCH: what is asked for; copied; UTF-8. Default: "", the server as a whole */
    const char *path;    /* HTTP: copied; visible ASCII that begins with '/', under 1024 bytes. Default: "/health" */
    uint16_t port;       /* HTTP: not for unix sockets. Default: the instance's */
    int64_t interval_ms; /* from one check to the next. Default: 30,000 */
    int64_t timeout_ms;  /* of one check; at most interval_ms, but for WATCH. Default: 5,000, or interval_ms if that
                                is less */
    int64_t unhealthy_after; /* failures in a row that are put up with: one more makes it unhealthy. Default: 3; -1:
                                none is, the first failure counts */
    int64_t healthy_after;   /* successes in a row that make it well again. Default: 1 */
} weft_health_check_options;
#define WEFT_HEALTH_CHECK_OPTIONS_INIT WEFT__INIT(weft_health_check_options)

WEFT_END_DECLS
#endif
