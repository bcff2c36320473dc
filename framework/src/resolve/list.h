/* resolve/list.h: the resolver that every channel has. */
#ifndef WEFT_RESOLVE_LIST_H
#define WEFT_RESOLVE_LIST_H

#include <weft/resolver.h>

/* Of "static:///a,b;weight=2". Static: it is not freed. */
weft_resolver *weft__static_resolver(void);

#endif
