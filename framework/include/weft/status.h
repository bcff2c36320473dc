/* weft/status.h: the outcome of a call. Codes are gRPC's, with the same numbers. */
#ifndef WEFT_STATUS_H
#define WEFT_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/sv.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

/* https://grpc.github.io/grpc/core/md_doc_statuscodes.html */
typedef enum weft_code {
    WEFT_OK = 0,
    WEFT_CANCELLED = 1,
    WEFT_UNKNOWN = 2,
    WEFT_INVALID_ARGUMENT = 3,
    WEFT_DEADLINE_EXCEEDED = 4,
    WEFT_NOT_FOUND = 5,
    WEFT_ALREADY_EXISTS = 6,
    WEFT_PERMISSION_DENIED = 7,
    WEFT_RESOURCE_EXHAUSTED = 8,
    WEFT_FAILED_PRECONDITION = 9,
    WEFT_ABORTED = 10,
    WEFT_OUT_OF_RANGE = 11,
    WEFT_UNIMPLEMENTED = 12,
    WEFT_INTERNAL = 13,
    WEFT_UNAVAILABLE = 14,
    WEFT_DATA_LOSS = 15,
    WEFT_UNAUTHENTICATED = 16
} weft_code;

/* "NOT_FOUND" for WEFT_NOT_FOUND; "UNKNOWN" for a number that is no code. Static. */
WEFT_API const char *weft_code_name(weft_code code);

/**
 * How a call ended, by value. Its strings live in the arena the call was made with, or are static.
 */
typedef struct weft_status {
    weft_code code;
    bool from_peer;       /* true: the other side said so; false: it was decided here (unreachable, deadline, cancel) */
    const char *message;  /* never NULL; NUL-terminated UTF-8; "" when there is none */
    weft_sv details;      /* the bytes of grpc-status-details-bin (a google.rpc.Status), or absent */
    uint64_t reserved[2]; /* 0 */
} weft_status;

WEFT_END_DECLS
#endif
