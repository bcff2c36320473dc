/* commands.h: the commands that main.c lists. */
#ifndef WEFT_TOOL_COMMANDS_H
#define WEFT_TOOL_COMMANDS_H

#include "cli.h"

extern const cli_command new_command;
extern const cli_command add_command;
extern const cli_command gen_command;
extern const cli_command run_command;
extern const cli_command discover_command;

#endif
