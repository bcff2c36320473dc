/* resolve/srv.h: SRV records, with their time to live, which c-ares 1.18 leaves out. */
#ifndef WEFT_RESOLVE_SRV_H
#define WEFT_RESOLVE_SRV_H

#include <stddef.h>
#include <stdint.h>

typedef struct weft__srv {
    char host[256];
    uint16_t priority; /* the lowest first */
    uint16_t weight;
    uint16_t port;
} weft__srv;

/**
 * Reads the SRV records of an answer, but those whose target is "." (there is no such service) or whose port is 0.
 *
 * @param out   `room` of them; what goes beyond is left out.
 * @param count how many there are in `out`.
 * @param ttl   the smallest in seconds; UINT32_MAX: there is no record.
 * @return 0; -EBADMSG it is no such answer; -ENOMEM.
 */
int weft__srv_parse(const unsigned char *answer, size_t len, weft__srv *out, size_t room, size_t *count, uint32_t *ttl);

#endif
