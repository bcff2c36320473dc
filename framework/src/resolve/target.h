/* target.h: what a channel may be given as its target. */
#ifndef WEFT_RESOLVE_TARGET_H
#define WEFT_RESOLVE_TARGET_H

#include <weft/resolver.h>

/* The longest target taken, its NUL included. */
#define WEFT__TARGET_MAX 1024

/**
 * Checks a target and writes it in full form: "host:port" becomes "dns:///host:port", "1.2.3.4:port"
 * "ipv4:1.2.3.4:port",
 * "[::1]:port" "ipv6:[::1]:port"; "dns:///…", "ipv4:…", "ipv6:…", "unix:…" stay. A port is required: gRPC would take
 * 443.
 *
 * @return 0; -EINVAL not a target, or no port; -ENAMETOOLONG.
 */
int weft__target_parse(const char *target, char out[WEFT__TARGET_MAX]);

/* Takes a target apart. The parts lie in `copy`. */
void weft__target_split(const char *target, char copy[WEFT__TARGET_MAX], weft_target *out);

#endif
