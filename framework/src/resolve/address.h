/* resolve/address.h: a list of addresses that one owns. */
#ifndef WEFT_RESOLVE_ADDRESS_H
#define WEFT_RESOLVE_ADDRESS_H

#include <weft/endpoint.h>

#include "resolve/target.h"

/* All zero: empty. */
typedef struct weft__addresses {
    weft_address *items;
    size_t count;
} weft__addresses;

/* Appends a copy. 0; -EINVAL not one address with its scheme; -EEXIST it is there; -ENOMEM. */
int weft__addresses_add(weft__addresses *list, const weft_address *address);

void weft__addresses_fini(weft__addresses *list);

/* The resolver of "static:///a,b". */
weft_resolver *weft__static_resolver(void);

#endif
