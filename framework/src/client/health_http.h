/* client/health_http.h: the two ends of a check by HTTP that are text. */
#ifndef WEFT_CLIENT_HEALTH_HTTP_H
#define WEFT_CLIENT_HEALTH_HTTP_H

#include <stddef.h>
#include <stdint.h>

/* So many bytes of an answer are read, and no more: "HTTP/1.1 200 ". */
#define WEFT__HTTP_STATUS_BYTES 13

/**
 * Reads the status of an answer from its first bytes.
 *
 * @param data `len` bytes, of which the first WEFT__HTTP_STATUS_BYTES count.
 * @return 100 to 599; 0: too few bytes to tell; -EBADMSG not HTTP/1.
 */
int weft__http_status(const char *data, size_t len);

/* Where an address of weft_address is by HTTP. */
typedef struct weft__http_place {
    char host[108]; /* a number, without brackets; or "": a unix socket */
    char port[6];
    const char *path; /* of the socket, in the address */
} weft__http_place;

/* Takes an address apart. `port` replaces its own, unless it is 0. 0; -EINVAL. */
int weft__http_place_parse(weft__http_place *out, const char *address, uint16_t port);

/* What is sent. NULL: no memory. @param host NULL: that of the place. */
char *weft__http_request(const weft__http_place *place, const char *host, const char *path);

#endif
