/* target.h: what a channel may be given as its target. */
#ifndef WEFT_RESOLVE_TARGET_H
#define WEFT_RESOLVE_TARGET_H

#include <stdbool.h>
#include <stddef.h>

#include <weft/resolver.h>

/* The longest target taken, its NUL included. */
#define WEFT__TARGET_MAX 1024

/**
 * Checks a target and writes it in full form: "host:port" becomes "dns:///host:port", "1.2.3.4:port" becomes
 * "ipv4:1.2.3.4:port", "[::1]:port" becomes "ipv6:[::1]:port"; "dns:///…", "ipv4:…", "ipv6:…", "unix:…" stay. Lists
 * with commas are ipv4's and ipv6's alone; "unix://" wants a third slash. A port is required: gRPC would take 443.
 *
 * @return 0; -EINVAL not a target, or no port; -ENAMETOOLONG.
 */
int weft__target_parse(const char *target, char out[WEFT__TARGET_MAX]);

/* What stands before a port. */
typedef enum weft__host_kind {
    WEFT__HOST_NONE, /* not a host and a port */
    WEFT__HOST_NAME,
    WEFT__HOST_IPV4,
    WEFT__HOST_IPV6
} weft__host_kind;

/* What `len` bytes of "host:port" or "[address]:port" are. */
weft__host_kind weft__host_classify(const char *text, size_t len);

/* Whether they may be a name in DNS. */
bool weft__is_name(const char *text, size_t len);

/* Takes a target apart. The parts lie in `copy`. */
void weft__target_split(const char *target, char copy[WEFT__TARGET_MAX], weft_target *out);

#endif
