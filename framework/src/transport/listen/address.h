/* transport/listen/address.h: the text of an address to listen on.
 *
 *     127.0.0.1:50051   users.internal:50051   [::1]:50051   :50051   unix:/run/users.sock   fd:3
 */
#ifndef WEFT_TRANSPORT_LISTEN_ADDRESS_H
#define WEFT_TRANSPORT_LISTEN_ADDRESS_H

#include <stddef.h>
#include <stdint.h>

typedef enum weft__address_kind {
    WEFT__ADDRESS_TCP = 1,
    WEFT__ADDRESS_UNIX = 2,
    WEFT__ADDRESS_FD = 3
} weft__address_kind;

typedef struct weft__address {
    weft__address_kind kind;
    char name[256]; /* tcp: a host name or number, without brackets, or "" for all interfaces; unix: the path */
    uint16_t port;  /* tcp */
    int fd;         /* fd */
} weft__address;

/* Enough for any address as text, with its NUL. */
#define WEFT__ADDRESS_TEXT_BYTES 272

/**
 * Reads an address. The port is required and a number: service names are not looked up, and nothing is guessed.
 *
 * @param reason set on failure only; what is wrong with the text, static. @return 0, or -EINVAL. Thread: any.
 */
int weft__address_parse(const char *text, weft__address *out, const char **reason);

/* Writes an address as weft__address_parse reads it; `out` has WEFT__ADDRESS_TEXT_BYTES. */
void weft__address_format(const weft__address *address, char *out);

#endif
