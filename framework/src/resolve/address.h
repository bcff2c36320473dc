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

void weft__addresses_fini(weft__addresses *list);

#endif
