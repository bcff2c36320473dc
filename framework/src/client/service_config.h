/* client/service_config.h: gRPC's service config, read from JSON: what a service asks of its callers, by method.
 *
 * Source: https://github.com/grpc/grpc/blob/master/doc/service_config.md, gRFCs A6 (retries) and A21 (mistakes).
 */
#ifndef WEFT_CLIENT_SERVICE_CONFIG_H
#define WEFT_CLIENT_SERVICE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/arena.h>
#include <weft/sv.h>

#include "base/buf.h"
#include "base/table.h"
#include "client/retry.h"

#define WEFT__SERVICE_CONFIG_MAX_BYTES (256 * 1024)

/* What holds for a method. It has a retry policy or a hedging policy or none. */
typedef struct weft__method_config {
    int64_t timeout_ns;        /* INT64_MAX: none */
    int64_t max_request_bytes; /* INT64_MAX: not said */
    int64_t max_response_bytes;
    bool has_wait_for_ready;
    bool wait_for_ready;
    const weft__retry_policy *retry;     /* or NULL */
    const weft__hedging_policy *hedging; /* or NULL */
} weft__method_config;

typedef enum weft__lb_policy {
    WEFT__LB_UNSET, /* the channel's default */
    WEFT__LB_PICK_FIRST,
    WEFT__LB_RANDOM,
    WEFT__LB_ROUND_ROBIN,
    WEFT__LB_WEIGHTED_ROUND_ROBIN,
    WEFT__LB_LEAST_REQUEST,
    WEFT__LB_P2C,
    WEFT__LB_RING_HASH
} weft__lb_policy;

/* Which picker, and its parameters as its options take them: 0 and NULL are its defaults. */
typedef struct weft__lb_config {
    weft__lb_policy policy;
    bool shuffle;             /* PICK_FIRST: the list, each channel in an order of its own */
    int choices;              /* LEAST_REQUEST */
    int64_t decay_ms;         /* P2C */
    const char *metadata_key; /* RING_HASH, these three */
    int64_t points;
    int64_t max_load_percent;
} weft__lb_config;

/* Never changes once it is made, so any thread may read it. */
typedef struct weft__service_config {
    weft_arena *arena;                   /* of all that it holds */
    weft__table methods;                 /* by "/service/method", and by "/service/" for the others of a service */
    const weft__method_config *fallback; /* for all other methods; or NULL */
    weft__lb_config lb;
    int32_t max_tokens;         /* for weft__throttle_init, in thousandths; 0: no throttle */
    int32_t token_ratio;        /* in thousandths */
    const char *health_service; /* to ask endpoints for their health of; NULL: do not ask */
} weft__service_config;

/**
 * Reads a service config.
 *
 * Keys that nobody knows are passed over, as they may be meant for other libraries, unless they look like a slip of
 * the pen for one that is known.
 *
 * @param errors gets a line "line:column: path: …" for each mistake, as far as there is room.
 * @return 0; -EINVAL a mistake; -EFBIG longer than WEFT__SERVICE_CONFIG_MAX_BYTES; -ENOMEM.
 */
int weft__service_config_new(weft__service_config **out, weft_sv text, weft__buf *errors);

/* NULL is fine. */
void weft__service_config_free(weft__service_config *config);

/* What holds for a method, by its path "/service/method"; NULL: nothing. Allocates nothing. */
const weft__method_config *weft__service_config_find(const weft__service_config *config, weft_sv path);

#endif
