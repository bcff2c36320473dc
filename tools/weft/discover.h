/* discover.h: `weft discover`. */
#ifndef WEFT_TOOL_DISCOVER_H
#define WEFT_TOOL_DISCOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "cli.h"

extern const cli_command discover_command;

/* "5s", "500ms", "5": seconds. */
bool discover_parse_timeout(const char *s, int64_t *ms);

#endif
