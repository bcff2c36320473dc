/* supervise.h: services that run side by side, until the user ends them all. */
#ifndef WEFT_TOOL_SUPERVISE_H
#define WEFT_TOOL_SUPERVISE_H

#include <stddef.h>

#include "process.h"

typedef struct supervised {
    const char *name;     /* stands before its lines, where there are several */
    process_spec process; /* but for `output` */
} supervised;

/**
 * Runs them, and starts again what dies, until SIGINT, SIGTERM or SIGHUP, which sends them SIGTERM and waits; the
 * second one kills. Ends also when none is left.
 *
 * @param signals of process_signals(). @return CLI_OK, or CLI_FAILED when one of them has not ended well.
 */
int supervise(const supervised *services, size_t count, int signals);

#endif
