/* help.h: what is made of the tables of cli.h: help, man pages, completion. */
#ifndef WEFT_TOOL_HELP_H
#define WEFT_TOOL_HELP_H

#include "cli.h"

void help_of_tool(FILE *out);
void help_of_command(FILE *out, const cli_command *command);

/* `weft help`, `weft completion`. */
extern const cli_command help_command;
extern const cli_command completion_command;

#endif
