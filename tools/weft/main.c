/* weft: the command line tool. */
#include "cli.h"
#include "commands.h"
#include "help.h"

const cli_command *const cli_commands[] = {
    &new_command, &add_command, &gen_command, &run_command, &discover_command, &help_command, &completion_command, NULL,
};

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}
