/* weft/picker.h: which of a service's instances gets the next call.
 *
 * The channel resolves, connects, checks, ejects and retries; a picker only chooses, among endpoints that are connected
 * and well. An own picker is an object of the program's that begins with a weft_picker (examples/picker).
 *
 *     endpoints change ──▶ join (each new one) ──▶ build ──▶ table ──────────────┐
 *     call ──▶ pick(table) ──▶ endpoint ──▶ … the call … ──▶ done                │ until nobody picks by it any more
 *                                                             unbuild ◀──────────┘
 *
 * Threads: join, build and unbuild are called one at a time. pick and done (and latency_ns) are called by any number of
 * threads at once, also while the others run: they take no lock, allocate nothing and do not block.
 */
#ifndef WEFT_PICKER_H
#define WEFT_PICKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/endpoint.h>
#include <weft/metadata.h>
#include <weft/status.h>
#include <weft/sv.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

typedef struct weft_picker weft_picker;

/* What a pick may come to. */
typedef enum weft_pick {
    WEFT_PICK_ENDPOINT = 0, /* `out` is set */
    WEFT_PICK_QUEUE = 1,    /* ask again when the endpoints have changed; the call's deadline runs on */
    WEFT_PICK_FAIL = 2,     /* UNAVAILABLE, unless the call waits for ready */
    WEFT_PICK_DROP = 3      /* UNAVAILABLE whatever it wants, and no retry */
} weft_pick;

/* The call, and what there is to choose from. Valid until pick returns. */
typedef struct weft_pick_args {
    size_t struct_size;
    weft_endpoint *const *endpoints; /* endpoint_count of them, at least one; in no special order, but the same one for
                                        all picks by one table */
    size_t endpoint_count;
    const void *table;  /* what build made of them; NULL without build */
    const char *method; /* "/user.UserService/GetUser" */
    weft_metadata metadata;
    uint64_t hash; /* of the call, for affinity, if it has one */
    bool has_hash;
    int64_t now_ns; /* of the engine's clock */
    int64_t deadline_ns;
    weft_endpoint *const *tried; /* by earlier attempts of this call; tried_count of them, few: not to be picked again
                                    while there is another. They may be gone from `endpoints` */
    size_t tried_count;
} weft_pick_args;

/* How a picked call went. */
typedef struct weft_pick_result {
    size_t struct_size;
    weft_code code; /* CANCELLED, but neither by the server nor by the caller: another attempt of the same call was
                              answered first, and here the answer would have taken longer than latency_ns */
    bool from_peer; /* the server said so; false: it could not be reached, or the deadline passed */
    bool caller_cancelled; /* who called has given up: says nothing about the endpoint */
    int64_t now_ns;        /* of the engine's clock */
    int64_t latency_ns;    /* from pick to the end */
} weft_pick_result;

typedef struct weft_picker_vtable {
    size_t struct_size;
    const char *name;     /* for logs and metrics */
    size_t endpoint_size; /* bytes of memory in each endpoint, zeroed before join */

    /* An endpoint is new. `peers` are those that there are already, peer_count of them: it best starts as if it were an
     * average one. Optional. */
    void (*join)(weft_picker *self, weft_endpoint *endpoint, weft_endpoint *const *peers, size_t peer_count);

    /* Makes what pick needs of these endpoints, once for many picks: 0; -ENOMEM: the channel goes on with the old ones
     * and tries again. unbuild frees it, when no pick can use it any more. Optional, both or none. */
    int (*build)(weft_picker *self, weft_endpoint *const *endpoints, size_t endpoint_count, void **table);
    void (*unbuild)(weft_picker *self, void *table);

    /* Chooses. Required. */
    weft_pick (*pick)(weft_picker *self, const weft_pick_args *args, weft_endpoint **out);

    /* Exactly once for each endpoint that was picked, however the call went. The endpoint is still there, also if its
     * address is not listed any more. Optional. */
    void (*done)(weft_picker *self, weft_endpoint *endpoint, const weft_pick_result *result);

    void (*destroy)(weft_picker *self); /* by weft_picker_free */

    /* The latency it reckons with now, for who looks on (weft_channel_endpoints); 0: none is known. The endpoint is not
     * changed. Any thread. Optional. */
    int64_t (*latency_ns)(weft_picker *self, weft_endpoint *endpoint, int64_t now_ns);
} weft_picker_vtable;

/* Lies at the beginning of the program's object. A picker belongs to one channel at a time: its memory in the endpoints
 * does. */
struct weft_picker {
    const weft_picker_vtable *vtable;
};

/* Frees a picker by its destroy, which Weft's own have. No channel uses it any more. NULL is fine. */
WEFT_API void weft_picker_free(weft_picker *picker);

/* ---- those that come with Weft ----------------------------------------------------------------------------------- */

/* The first address of the list that is connected: one at a time, the others are spare. 0; -ENOMEM. */
WEFT_API int weft_pick_first_new(weft_picker **out);

/* Any, all equally likely. 0; -ENOMEM. */
WEFT_API int weft_random_new(weft_picker **out);

/* One after the other, beginning anywhere. 0; -ENOMEM. */
WEFT_API int weft_round_robin_new(weft_picker **out);

/* One after the other, each as often as its weight says, and evenly spread. 0; -ENOMEM. */
WEFT_API int weft_weighted_round_robin_new(weft_picker **out);

/**
 * That with the fewest calls for its weight, of `choices` that are drawn at random.
 *
 * @param choices 0: 2. At most 16.
 * @return 0; -EINVAL; -ENOMEM.
 */
WEFT_API int weft_least_request_new(weft_picker **out, int choices);

/* All fields are optional. */
typedef struct weft_p2c_options {
    size_t struct_size; /* set by WEFT_P2C_OPTIONS_INIT */
    int64_t decay_ms;   /* in which what was measured loses two thirds of its weight. Default: 10,000 */
} weft_p2c_options;
#define WEFT_P2C_OPTIONS_INIT WEFT__INIT(weft_p2c_options)

/**
 * The better of two that are drawn at random: latency x (calls + 1) / weight, where a latency above the average counts
 * at once and one below it bit by bit (peak EWMA). A channel's default. A failure counts as a slow answer; a cancel by
 * the caller as none.
 * Source: Mitzenmacher, "The power of two choices in randomized load balancing", 2001; Finagle's PeakEwma.
 *
 * @param options may be NULL.
 * @return 0; -EINVAL; -E2BIG an option that this library does not know; -ENOMEM.
 */
WEFT_API int weft_p2c_new(weft_picker **out, const weft_p2c_options *options);

/* All fields are optional. */
typedef struct weft_ring_hash_options {
    size_t struct_size;       /* set by WEFT_RING_HASH_OPTIONS_INIT */
    const char *metadata_key; /* copied; the call's metadatum that is hashed, when the call has no hash of its own.
                                 Without either, the call goes anywhere. Default: none */
    int64_t points;           /* of an endpoint of weight 1 on the ring. Default: 100; at most 10,000. A ring of more
                                 than 262,144 has fewer of each */
    int64_t max_load_percent; /* an endpoint with more calls than this share of the average for its weight is passed
                                 by; above 100, at most 1,000,000. Default: 125; -1: none is */
} weft_ring_hash_options;
#define WEFT_RING_HASH_OPTIONS_INIT WEFT__INIT(weft_ring_hash_options)

/**
 * The same endpoint for the same hash, as far as the list allows: of n endpoints, one that comes or goes moves one n-th
 * of the hashes. Sources: Karger et al., "Consistent hashing and random trees", 1997; Mirrokni et al., "Consistent
 * hashing with bounded loads", 2018.
 *
 * @param options may be NULL.
 * @return 0; -EINVAL; -E2BIG an option that this library does not know; -ENOMEM.
 */
WEFT_API int weft_ring_hash_new(weft_picker **out, const weft_ring_hash_options *options);

/* The hash of a key, as ring_hash makes it of a metadatum. The same on every machine. Not for secrets: its key is
 * known. */
WEFT_API uint64_t weft_hash(weft_sv key);

WEFT_END_DECLS
#endif
