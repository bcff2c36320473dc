#include "cli.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help.h"

/* One option as it was given. */
typedef struct cli_given {
    const char *name;
    const char *value;
    struct cli_given *next;
} cli_given;

/* ---- Output ------------------------------------------------------------------------------------------------------ */

bool cli_colours(FILE *stream)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    if (no_color != NULL && no_color[0] != '\0')
        return false;
    return isatty(fileno(stream)) != 0 && (term == NULL || strcmp(term, "dumb") != 0);
}

const char *cli_style_on(FILE *stream, cli_style style)
{
    static const char *const codes[] = {"\033[0m",  "\033[1m",  "\033[31m", "\033[32m",
                                        "\033[33m", "\033[34m", "\033[35m", "\033[36m"};
    return cli_colours(stream) ? codes[style] : "";
}

static void say(const char *format, va_list args)
{
    fprintf(stderr, "%sweft:%s ", cli_style_on(stderr, CLI_RED), cli_style_on(stderr, CLI_PLAIN));
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int cli_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
    return CLI_FAILED;
}

int cli_usage(const cli_args *args, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    say(format, list);
    va_end(list);
    fprintf(stderr, "`weft %s --help` tells how it is used.\n", args->command->name);
    return CLI_USAGE;
}

/* The length of the UTF-8 character that `s` begins with, or 0 if it begins with none. */
static size_t utf8_length(const char *s)
{
    const unsigned char *b = (const unsigned char *)s;
    size_t length = b[0] < 0x80 ? 1 : b[0] < 0xc2 ? 0 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : b[0] < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < length; i++)
        if ((b[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xf0 && b[1] < 0x90);
    bool no_character = (b[0] == 0xed && b[1] > 0x9f) || (b[0] == 0xf4 && b[1] > 0x8f);
    return overlong || no_character ? 0 : length;
}

void cli_json_string(FILE *stream, const char *s)
{
    fputc('"', stream);
    while (*s != '\0') {
        size_t length = utf8_length(s);
        unsigned char c = (unsigned char)*s;
        if (length == 0)
            fputs("\xef\xbf\xbd", stream);
        else if (c == '"' || c == '\\')
            fprintf(stream, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(stream, "\\u%04x", c);
        else
            fwrite(s, 1, length, stream);
        s += length == 0 ? 1 : length;
    }
    fputc('"', stream);
}

/* ---- The command line -------------------------------------------------------------------------------------------- */

const char *cli_value_at(const cli_args *args, const char *option, size_t index)
{
    for (const cli_given *g = args->given; g != NULL; g = g->next)
        if (strcmp(g->name, option) == 0 && index-- == 0)
            return g->value;
    return NULL;
}

const char *cli_value(const cli_args *args, const char *option)
{
    const char *last = NULL;
    for (const cli_given *g = args->given; g != NULL; g = g->next)
        if (strcmp(g->name, option) == 0)
            last = g->value;
    return last;
}

/* The option of "--dir" or "--dir=x"; NULL if there is none. */
static const cli_option *find_option(const cli_command *command, const char *word)
{
    size_t length = strcspn(word, "=");
    for (const cli_option *o = command->options; o->name != NULL; o++)
        if (strlen(o->name) == length && memcmp(o->name, word, length) == 0)
            return o;
    return NULL;
}

/* Takes an option, and its value from this word or the next. */
static int take_option(cli_args *args, char **argv, int *i, cli_given ***end)
{
    const char *word = argv[*i];
    const char *equals = strchr(word, '=');
    const cli_option *option = find_option(args->command, word);
    if (option == NULL)
        return cli_usage(args, "%.*s is no option of weft %s", (int)strcspn(word, "="), word, args->command->name);
    if (option->value == NULL && equals != NULL)
        return cli_usage(args, "%s takes no value", option->name);
    if (option->value != NULL && equals == NULL && argv[*i + 1] == NULL)
        return cli_usage(args, "%s wants a value: %s", option->name, option->value);
    cli_given *given = pool_alloc(args->pool, sizeof *given);
    given->name = option->name;
    given->value = option->value == NULL ? "" : equals != NULL ? equals + 1 : argv[++*i];
    **end = given;
    *end = &given->next;
    return CLI_OK;
}

static int check_operands(const cli_args *args)
{
    const cli_command *command = args->command;
    if (args->operand_count < command->min_operands)
        return cli_usage(args, "weft %s wants more: weft %s %.*s", command->name, command->name,
                         (int)strcspn(command->synopsis, "\n"), command->synopsis);
    if (args->operand_count > command->max_operands)
        return cli_usage(args, "%s is one too many", args->operands[command->max_operands]);
    return CLI_OK;
}

/* Parses what follows the command's name. */
static int parse(cli_args *args, int argc, char **argv, bool *help)
{
    cli_given **end = &args->given;
    bool only_operands = false;
    args->operands = pool_alloc(args->pool, ((size_t)argc + 1) * sizeof *args->operands);
    for (int i = 2; i < argc; i++) {
        const char *word = argv[i];
        if (!only_operands && strcmp(word, "--") == 0) {
            if (args->command->takes_rest) {
                args->rest = argv + i + 1;
                args->rest_count = (size_t)(argc - i - 1);
                break;
            }
            only_operands = true;
        } else if (!only_operands && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            *help = true;
            return CLI_OK;
        } else if (!only_operands && word[0] == '-' && word[1] != '\0') {
            int code = take_option(args, argv, &i, &end);
            if (code != CLI_OK)
                return code;
        } else {
            args->operands[args->operand_count++] = argv[i];
        }
    }
    return check_operands(args);
}

static int run(const cli_command *command, int argc, char **argv)
{
    pool p;
    pool_init(&p);
    char *none = NULL;
    bool help = false;
    cli_args args = {.command = command, .pool = &p, .rest = &none};
    int code = parse(&args, argc, argv, &help);
    if (help)
        help_of_command(stdout, command);
    else if (code == CLI_OK)
        code = command->run(&args);
    pool_fini(&p);
    return code;
}

/* A descriptor that is closed would be the next file's, which then gets what is meant for the user. This one is not
 * to be written to, so that the loss is noticed. */
static void fill_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0)
            return;
}

static int run_word(const char *word, int argc, char **argv)
{
    if (word == NULL) {
        help_of_tool(stderr);
        return CLI_USAGE;
    }
    if (strcmp(word, "--version") == 0) {
        puts("weft " WEFT_VERSION_STRING);
        return CLI_OK;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        help_of_tool(stdout);
        return CLI_OK;
    }
    for (const cli_command *const *c = cli_commands; *c != NULL; c++)
        if (strcmp((*c)->name, word) == 0)
            return run(*c, argc, argv);
    cli_error("%s is no command", word);
    fputs("`weft --help` lists them.\n", stderr);
    return CLI_USAGE;
}

int cli_main(int argc, char **argv)
{
    fill_descriptors();
    int code = run_word(argc > 1 ? argv[1] : NULL, argc, argv);
    /* What a pipe or a disk did not take is not done. */
    if (code == CLI_OK && (fflush(stdout) != 0 || ferror(stdout) != 0))
        code = cli_error("cannot write the output");
    return code;
}
