/* snapshot.h: the last answer for a service, on disk, for a start without Consul. */
#ifndef WEFT_RESOLVE_CONSUL_SNAPSHOT_H
#define WEFT_RESOLVE_CONSUL_SNAPSHOT_H

#include <stddef.h>

#include <weft/sv.h>

#include "base/buf.h"

/* A snapshot is a file "consul-SERVICE-HASH.snapshot":
 *
 *     weft-consul 1 HASH LENGTH\n     of what follows, to its end
 *     KEY\n                           what was asked; another key is another snapshot
 *     ANSWER                          Consul's, as it came
 *
 * It is written beside its place and renamed, so that nobody ever sees half of one. */

/* Writes one. @param key without newlines. @return 0 or -errno. Blocks on the disk. */
int weft__consul_snapshot_save(const char *folder, const char *service, const char *key, weft_sv answer);

/**
 * Reads one.
 *
 * @param file an empty buffer, with the largest size that is read as its max. @param answer lies in it.
 * @return 0; -ENOENT there is none; -EBADMSG it is not as it was written, or of another version or key; -EFBIG; -errno.
 */
int weft__consul_snapshot_load(const char *folder, const char *service, const char *key, weft__buf *file,
                               weft_sv *answer);

/* Checks the bytes of one. @return 0; -EBADMSG. */
int weft__consul_snapshot_check(weft_sv file, const char *key, weft_sv *answer);

#endif
