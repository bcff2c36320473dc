/* uuid7.h: UUIDs of version 7 (RFC 9562, section 5.7): 48 bits of Unix time in milliseconds, then a counter, then
 * random bits. Ids of one process ascend, also within a millisecond and when the clock is set back, so their order is
 * the order of creation and an index grows at its end. */
#ifndef USER_UUID7_H
#define USER_UUID7_H

#include <stdbool.h>
#include <stdint.h>

#define UUID_BYTES      16
#define UUID_TEXT_BYTES 37 /* with the NUL */

/* The state of one series. All zeros begins one. */
struct uuid7_series {
    uint64_t last_ms;
    unsigned counter; /* 12 bits */
};

/**
 * The next id of a series, from what the clock says and from random bytes.
 *
 * @param random 10 of them.
 */
void uuid7_next(struct uuid7_series *series, uint64_t unix_ms, const uint8_t *random, uint8_t id[UUID_BYTES]);

/**
 * A new id of the process's own series, as text.
 *
 * @return 0, or -errno of getrandom. Thread: any.
 */
int uuid7_new(char text[UUID_TEXT_BYTES]);

/* Writes an id as lower-case text. */
void uuid_format(const uint8_t id[UUID_BYTES], char text[UUID_TEXT_BYTES]);

/* Reads a UUID of any version, in either letter case. */
bool uuid_parse(const char *text, uint8_t id[UUID_BYTES]);

#endif
