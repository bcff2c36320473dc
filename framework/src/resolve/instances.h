/* resolve/instances.h: what the file of a file resolver says. */
#ifndef WEFT_RESOLVE_INSTANCES_H
#define WEFT_RESOLVE_INSTANCES_H

#include <stddef.h>

#include <weft/sv.h>

#include "resolve/address.h"

/**
 * Reads a list of instances, YAML or JSON (weft_file_resolver_new tells the form).
 *
 * @param name   of the file, for the reason.
 * @param out    empty; filled only when all is well.
 * @param reason on -EINVAL the first mistake, "NAME:LINE: what is wrong".
 * @return 0; -EINVAL; -ENOMEM.
 */
int weft__instances_parse(const char *name, weft_sv text, weft__addresses *out, char *reason, size_t reason_size);

#endif
