/* weft: the command line tool. */
#include "cli.h"
#include "help.h"

const cli_command *const cli_commands[] = {
    &help_command,
    &completion_command,
    NULL,
};

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}
