/* spiffe.h: names of workloads, "spiffe://trust-domain/path". */
#ifndef WEFT_SECURITY_SPIFFE_H
#define WEFT_SECURITY_SPIFFE_H

#include <stdbool.h>

/* Whether a text is one, by the letter of the SPIFFE-ID standard: no port, no user, no query, no empty or dotted part
 * of the path, 2048 bytes at most. */
bool weft__is_spiffe_id(const char *text);

#endif
