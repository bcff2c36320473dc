/* resolve/list.h: the resolver that every channel has. */
#ifndef WEFT_RESOLVE_LIST_H
#define WEFT_RESOLVE_LIST_H

#include <stdbool.h>

#include <weft/resolver.h>

/* Of "static:///a,b;weight=2", which is its scheme. Its watch takes gRPC's "ipv4:…", "ipv6:…" and "unix:…" too. Static:
 * it is not freed. */
weft_resolver *weft__static_resolver(void);

/* Whether a target is a good list of several addresses in gRPC's form, "ipv4:a,b" or "ipv6:a,b", for the static
 * resolver to watch. One address alone needs no resolver. NULL is none. */
bool weft__is_address_list(const char *target);

#endif
