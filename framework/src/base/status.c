#include <weft/status.h>

const char *weft_code_name(weft_code code)
{
    static const char *const names[] = {
        [WEFT_OK] = "OK",
        [WEFT_CANCELLED] = "CANCELLED",
        [WEFT_UNKNOWN] = "UNKNOWN",
        [WEFT_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
        [WEFT_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
        [WEFT_NOT_FOUND] = "NOT_FOUND",
        [WEFT_ALREADY_EXISTS] = "ALREADY_EXISTS",
        [WEFT_PERMISSION_DENIED] = "PERMISSION_DENIED",
        [WEFT_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
        [WEFT_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
        [WEFT_ABORTED] = "ABORTED",
        [WEFT_OUT_OF_RANGE] = "OUT_OF_RANGE",
        [WEFT_UNIMPLEMENTED] = "UNIMPLEMENTED",
        [WEFT_INTERNAL] = "INTERNAL",
        [WEFT_UNAVAILABLE] = "UNAVAILABLE",
        [WEFT_DATA_LOSS] = "DATA_LOSS",
        [WEFT_UNAUTHENTICATED] = "UNAUTHENTICATED",
    };
    size_t index = (size_t)code; /* a negative number becomes a huge one */

    return index < sizeof names / sizeof names[0] ? names[index] : "UNKNOWN";
}
