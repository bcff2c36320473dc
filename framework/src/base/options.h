/* options.h: reading the option structs of the public API (design rule: struct_size first, 0 is default, -1 is none).
 */
#ifndef WEFT_BASE_OPTIONS_H
#define WEFT_BASE_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include <weft/version.h>

/* Copies a caller's option struct of any version over `out`, which the caller has zeroed. Fields that the caller does
   not know keep 0; fields that this library does not know must be 0. NULL `options` means all defaults. Returns 0;
   -EINVAL when its struct_size is 0; -E2BIG when it asks for what is not known. */
WEFT_API int weft__options_copy(void *out, size_t out_size, const void *options);

/* Reads one limit: 0 gives `default_value`, -1 INT64_MAX. Returns 0; -EINVAL below `min` (or below -1). */
WEFT_API int weft__limit(int64_t *limit, int64_t default_value, int64_t min);

#endif
