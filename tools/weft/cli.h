/* cli.h: commands as tables. A command's table is the one source of what it accepts, its --help, its man page and its
 * completion.
 *
 * A command is a `const cli_command` in a file of its own, and a line in the list of main.c. Its function gets the
 * parsed command line and returns the exit code: CLI_OK, CLI_FAILED after cli_error(), or what cli_usage() returns.
 */
#ifndef WEFT_TOOL_CLI_H
#define WEFT_TOOL_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "memory.h"

#include <weft/version.h>

enum {
    CLI_OK = 0,
    CLI_FAILED = 1, /* it could not be done */
    CLI_USAGE = 2   /* a mistake in the command line */
};

/* The list ends with a NULL name. */
typedef struct cli_option {
    const char *name;  /* "--dir" */
    const char *value; /* what stands for its value in the help: "DIR" and "FILE" complete paths. NULL: it takes none */
    const char *doc;   /* without a full stop */
    bool many;         /* may be given more than once; else the last one counts */
} cli_option;

/* The list ends with a NULL command. */
typedef struct cli_example {
    const char *command; /* "weft new greeter" */
    const char *doc;
} cli_example;

typedef struct cli_args cli_args;

typedef struct cli_command {
    const char *name;        /* "new" */
    const char *summary;     /* one line, without a full stop */
    const char *synopsis;    /* what follows the name: "NAME [--dir DIR]"; one line a form */
    const char *description; /* lines of 80 characters at most; paragraphs are parted by empty lines, and what is
                                indented keeps its form. */
    const cli_option *options;
    const cli_example *examples;
    const char *words;   /* optional; what the first operand may be, for completion: "method service" */
    size_t min_operands; /* of what is no option */
    size_t max_operands; /* SIZE_MAX: any number */
    bool takes_rest;     /* what follows a "--" is kept apart, for a program that the command runs */
    int (*run)(const cli_args *args);
} cli_command;

/* A command line. Its strings live as long as argv. */
struct cli_args {
    const cli_command *command;
    char **operands;
    size_t operand_count;
    char **rest; /* what follows "--", with takes_rest; NULL-terminated, as argv is */
    size_t rest_count;
    pool *pool; /* for whatever lives until the command ends */
    struct cli_given *given;
};

/* Every command, in the order of the help; ends with NULL. In main.c. */
extern const cli_command *const cli_commands[];

/* Runs the command that argv[1] names. @return the exit code. */
int cli_main(int argc, char **argv);

/* The value of an option, or NULL; "" for one that takes none. */
const char *cli_value(const cli_args *args, const char *option);

/* The `index`-th value of an option that may be given many times, or NULL. */
const char *cli_value_at(const cli_args *args, const char *option, size_t index);

static inline bool cli_has(const cli_args *args, const char *option)
{
    return cli_value(args, option) != NULL;
}

/* ---- What a command says ----------------------------------------------------------------------------------------- */

/* A mistake in the command line, on standard error, with where to look. @return CLI_USAGE. */
int cli_usage(const cli_args *args, const char *format, ...) WEFT_PRINTF(2, 3);

/* What went wrong and how to mend it, on standard error: "weft: …". @return CLI_FAILED. */
int cli_error(const char *format, ...) WEFT_PRINTF(1, 2);

/* Whether a stream is a terminal that shows colours: NO_COLOR is unset or empty, TERM is not "dumb". */
bool cli_colours(FILE *stream);

/* An escape sequence, or "" where cli_colours() says no. */
typedef enum cli_style {
    CLI_PLAIN,
    CLI_BOLD,
    CLI_RED,
    CLI_GREEN,
    CLI_YELLOW,
    CLI_BLUE,
    CLI_MAGENTA,
    CLI_CYAN
} cli_style;
const char *cli_style_on(FILE *stream, cli_style style);

/* A JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void cli_json_string(FILE *stream, const char *s);

#endif
