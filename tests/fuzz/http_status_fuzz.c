/* Whatever an HTTP server answers: a status, more bytes wanted, or no HTTP; and the same however the bytes come. */
#include <errno.h>
#include <string.h>

#include "client/health_http.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *copy = calloc(len + (len == 0), 1); /* its end is the heap's, so that reading past it is seen */
    if (copy == NULL)
        return 0;
    if (len > 0)
        memcpy(copy, data, len);
    int status = weft__http_status(copy, len);
    FUZZ_REQUIRE(status == 0 || status == -EBADMSG || (status >= 100 && status <= 599));
    FUZZ_REQUIRE((status == 0) <= (len < WEFT__HTTP_STATUS_BYTES));
    int piecewise = 0;
    for (size_t some = 0; some <= len && piecewise == 0; some++)
        piecewise = weft__http_status(copy, some);
    FUZZ_REQUIRE(piecewise == status);
    free(copy);
    return 0;
}
