/* config/value.h: the text of a value, read as the type of its key. */
#ifndef WEFT_SRC_CONFIG_VALUE_H
#define WEFT_SRC_CONFIG_VALUE_H

#include <stddef.h>
#include <stdint.h>

#include <weft/config.h>

#include "base/buf.h"

/* Appends text as it stands between double quotes: what YAML would not read back is escaped, as JSON does it. */
void weft__config_escape(weft__buf *buf, weft_sv text);

/* How YAML's core schema reads a scalar that is not quoted. */
typedef enum weft__scalar {
    WEFT__SCALAR_STRING,
    WEFT__SCALAR_NUMBER,
    WEFT__SCALAR_BOOL,
    WEFT__SCALAR_NULL
} weft__scalar;

weft__scalar weft__scalar_kind(const char *text);

/* "a number", "a string" … */
const char *weft__scalar_name(weft__scalar kind);

/* What a key's type calls for: "an integer", "a list" … */
const char *weft__config_expects(weft_config_type type);

/**
 * Reads a value of any type but LIST.
 *
 * @param number the integer, 0 or 1, milliseconds or bytes; 0 for a STRING.
 * @param why    gets what is wrong: `expected an integer, found "many"`.
 * @return 0, or -EINVAL.
 */
int weft__config_parse_value(const weft_config_key *key, const char *text, int64_t *number, weft__buf *why);

#endif
