#include "base/options.h"

#include <errno.h>
#include <string.h>

int weft__options_copy(void *out, size_t out_size, const void *options)
{
    if (options == NULL)
        return 0;
    size_t size;
    memcpy(&size, options, sizeof size);
    if (size < sizeof size)
        return -EINVAL;
    const unsigned char *bytes = options;
    for (size_t i = out_size; i < size; i++)
        if (bytes[i] != 0)
            return -E2BIG;
    memcpy(out, options, size < out_size ? size : out_size);
    return 0;
}

int weft__limit(int64_t *limit, int64_t default_value, int64_t min)
{
    if (*limit == 0)
        *limit = default_value;
    else if (*limit == -1)
        *limit = INT64_MAX;
    return *limit < min ? -EINVAL : 0;
}
