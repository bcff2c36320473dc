/* weft/uuid.h: UUIDs of version 7 (RFC 9562, section 5.7): 48 bits of Unix time in milliseconds, then a counter, then
 * random bits. Ids of one process ascend, also within a millisecond and when the clock is set back, so their order is
 * the order of creation and an index grows at its end. */
#ifndef WEFT_UUID_H
#define WEFT_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/version.h>

WEFT_BEGIN_DECLS

#define WEFT_UUID_BYTES      16
#define WEFT_UUID_TEXT_BYTES 37 /* with the NUL */

/**
 * A new id of the process's series, as text in lower case.
 *
 * @return 0, or -errno of getrandom. Thread: any.
 */
WEFT_API int weft_uuid7(char text[WEFT_UUID_TEXT_BYTES]);

/* Writes an id as text in lower case. */
WEFT_API void weft_uuid_format(const uint8_t id[WEFT_UUID_BYTES], char text[WEFT_UUID_TEXT_BYTES]);

/* Reads a UUID of any version, in either letter case. `id` is untouched when it is none. */
WEFT_API bool weft_uuid_parse(const char *text, uint8_t id[WEFT_UUID_BYTES]);

WEFT_END_DECLS
#endif
