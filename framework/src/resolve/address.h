/* resolve/address.h: a list of addresses that one owns. */
#ifndef WEFT_RESOLVE_ADDRESS_H
#define WEFT_RESOLVE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/endpoint.h>

#include "resolve/target.h"

/* All zero: empty. */
typedef struct weft__addresses {
    weft_address *items;
    size_t count;
} weft__addresses;

/* The largest weight that is read from a text; SRV records and Consul have the same. */
#define WEFT__WEIGHT_MAX 65535

/* Whether it is one address with its scheme, as weft_address wants it. NULL is none. */
bool weft__is_address(const char *text);

/* Digits from 1 to WEFT__WEIGHT_MAX. 0; -EINVAL. */
int weft__weight_parse(weft_sv text, uint32_t *out);

/* Appends a copy. 0; -EINVAL not one address with its scheme; -EEXIST it is there; -ENOMEM. */
int weft__addresses_add(weft__addresses *list, const weft_address *address);

/**
 * Appends the addresses that a target of gRPC's schemes lists, each once, as weft_address wants them:
 *
 *     ipv4:10.0.0.1:1,10.0.0.2:1              ipv6:[fd00::1]:1,[fe80::1%eth0]:1
 *     unix:relative.sock                      unix:/run/users.sock, unix:///run/users.sock: one path, commas and all
 *
 * @return 0; -EINVAL none of these, or a port is missing; -ENAMETOOLONG; -ENOMEM. The list may have got a part of them.
 */
int weft__addresses_add_target(weft__addresses *list, const char *target);

void weft__addresses_fini(weft__addresses *list);

#endif
