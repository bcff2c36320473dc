/* Design notes. Everything here is a walk over cli_commands[]: help for the eye, roff for man, and the two scripts that
 * shells read. So an option that a command accepts is in all of them, and one that it does not accept in none. */
#include "help.h"

#include <string.h>

static const char about[] = "weft makes, grows and runs services on Weft, the gRPC framework for plain C.";

/* ---- For the eye ------------------------------------------------------------------------------------------------- */

static void heading(FILE *out, const char *title)
{
    fprintf(out, "\n%s%s%s\n", cli_style_on(out, CLI_BOLD), title, cli_style_on(out, CLI_PLAIN));
}

/* The lines of a synopsis, each with the command before it. */
static void each_synopsis(FILE *out, const cli_command *command, const char *before, const char *after)
{
    const char *line = command->synopsis;
    for (;;) {
        size_t length = strcspn(line, "\n");
        fprintf(out, "%sweft %s%s%.*s%s", before, command->name, length > 0 ? " " : "", (int)length, line, after);
        if (line[length] == '\0')
            return;
        line += length + 1;
    }
}

void help_of_tool(FILE *out)
{
    fprintf(out, "%s\n", about);
    heading(out, "Usage");
    fputs("  weft COMMAND …\n  weft COMMAND --help\n", out);
    heading(out, "Commands");
    for (const cli_command *const *c = cli_commands; *c != NULL; c++)
        fprintf(out, "  %-12s %s\n", (*c)->name, (*c)->summary);
    heading(out, "Options");
    fputs("  --help       this\n  --version    the version\n", out);
    heading(out, "Example");
    fputs("  weft new greeter && cd greeter\n", out);
    fputs("  cmake -G Ninja -B build && cmake --build build && ctest --test-dir build\n", out);
}

static int option_width(const cli_option *o)
{
    return (int)(strlen(o->name) + (o->value != NULL ? 1 + strlen(o->value) : 0));
}

void help_of_command(FILE *out, const cli_command *command)
{
    fprintf(out, "weft %s: %s\n", command->name, command->summary);
    heading(out, "Usage");
    each_synopsis(out, command, "  ", "\n");
    fprintf(out, "\n%s\n", command->description);
    int width = (int)strlen("--help");
    for (const cli_option *o = command->options; o->name != NULL; o++)
        width = option_width(o) > width ? option_width(o) : width;
    heading(out, "Options");
    for (const cli_option *o = command->options; o->name != NULL; o++) {
        int pad = width - option_width(o);
        fprintf(out, "  %s%s%s%*s  %s%s\n", o->name, o->value != NULL ? " " : "", o->value != NULL ? o->value : "", pad,
                "", o->doc, o->many ? "; may be given again" : "");
    }
    fprintf(out, "  %-*s  this\n", width, "--help");
    heading(out, "Examples");
    for (const cli_example *e = command->examples; e->command != NULL; e++)
        fprintf(out, "  %s\n      %s\n", e->command, e->doc);
}

/* ---- For man ----------------------------------------------------------------------------------------------------- */

/* Text as roff takes it: a dot or quote at the beginning of a line, and backslashes, are no requests. */
static void roff(FILE *out, const char *s, size_t length)
{
    bool first = true;
    for (size_t i = 0; i < length; i++) {
        if (first && (s[i] == '.' || s[i] == '\''))
            fputs("\\&", out);
        first = s[i] == '\n';
        if (s[i] == '\\')
            fputs("\\e", out);
        else if (s[i] == '-')
            fputs("\\-", out);
        else if (strncmp(s + i, "…", 3) == 0) {
            fputs("\\&...", out);
            i += 2;
        } else
            fputc(s[i], out);
    }
}

static void roff_text(FILE *out, const char *s)
{
    roff(out, s, strlen(s));
}

/* Paragraphs; indented lines stay lines. */
static void roff_description(FILE *out, const char *s)
{
    bool verbatim = false;
    while (*s != '\0') {
        size_t length = strcspn(s, "\n");
        bool indented = length > 0 && s[0] == ' ';
        if (indented != verbatim)
            fputs(indented ? ".PP\n.nf\n" : ".fi\n", out);
        verbatim = indented;
        if (length == 0)
            fputs(".PP\n", out);
        else {
            roff(out, s, length);
            fputc('\n', out);
        }
        s += length + (s[length] == '\n');
    }
    if (verbatim)
        fputs(".fi\n", out);
}

static void roff_head(FILE *out, const char *name, const char *summary)
{
    fprintf(out, ".TH \"");
    for (const char *c = name; *c != '\0'; c++)
        fputc(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c, out);
    fprintf(out, "\" \"1\" \"\" \"Weft %s\" \"Weft\"\n.SH NAME\n", WEFT_VERSION_STRING);
    roff_text(out, name);
    fputs(" \\- ", out);
    roff_text(out, summary);
    fputc('\n', out);
}

static void man_of_tool(FILE *out)
{
    roff_head(out, "weft", "make, grow and run gRPC services in plain C");
    fputs(".SH SYNOPSIS\n.B weft\n.I COMMAND\n\\&...\n.br\n.B weft\n.I COMMAND\n.B \\-\\-help\n", out);
    fputs(".SH DESCRIPTION\n", out);
    roff_text(out, about);
    fputs("\nIt works without a network, never makes a project over another, and colours its output on a terminal "
          "only.\n",
          out);
    fputs(".SH COMMANDS\n", out);
    for (const cli_command *const *c = cli_commands; *c != NULL; c++) {
        fprintf(out, ".TP\n.BR weft\\-%s (1)\n", (*c)->name);
        roff_text(out, (*c)->summary);
        fputc('\n', out);
    }
    fputs(".SH ENVIRONMENT\n.TP\n.B NO_COLOR\nif it is set and not empty, nothing is coloured.\n", out);
    fputs(".SH EXIT STATUS\n0 if all went well; 1 if it could not be done; 2 for a mistake in the command line.\n",
          out);
}

static void man_of_command(FILE *out, const cli_command *command, pool *p)
{
    roff_head(out, pool_printf(p, "weft-%s", command->name), command->summary);
    fputs(".SH SYNOPSIS\n.nf\n", out);
    text synopsis = text_new(p);
    const char *line = command->synopsis;
    for (;;) {
        size_t length = strcspn(line, "\n");
        text_printf(&synopsis, "weft %s%s%.*s\n", command->name, length > 0 ? " " : "", (int)length, line);
        if (line[length] == '\0')
            break;
        line += length + 1;
    }
    roff_text(out, synopsis.data);
    fputs(".fi\n.SH DESCRIPTION\n", out);
    roff_description(out, command->description);
    fputs("\n.SH OPTIONS\n", out);
    for (const cli_option *o = command->options; o->name != NULL; o++) {
        fputs(".TP\n\\fB", out);
        roff_text(out, o->name);
        fputs("\\fR", out);
        if (o->value != NULL) {
            fputs(" \\fI", out);
            roff_text(out, o->value);
            fputs("\\fR", out);
        }
        fputc('\n', out);
        roff_text(out, o->doc);
        fputs(o->many ? "; may be given again\n" : "\n", out);
    }
    fputs(".TP\n.B \\-\\-help\ntells all this in short\n.SH EXAMPLES\n", out);
    for (const cli_example *e = command->examples; e->command != NULL; e++) {
        fputs(".TP\n\\fB", out);
        roff_text(out, e->command);
        fputs("\\fR\n", out);
        roff_text(out, e->doc);
        fputc('\n', out);
    }
    fputs(".SH EXIT STATUS\n0 if all went well; 1 if it could not be done; 2 for a mistake in the command line.\n"
          ".SH SEE ALSO\n.BR weft (1)\n",
          out);
}

static const cli_command *find_command(const char *name)
{
    for (const cli_command *const *c = cli_commands; *c != NULL; c++)
        if (strcmp((*c)->name, name) == 0)
            return *c;
    return NULL;
}

static int run_help(const cli_args *args)
{
    const cli_command *command = NULL;
    if (args->operand_count > 0) {
        command = find_command(args->operands[0]);
        if (command == NULL)
            return cli_usage(args, "%s is no command", args->operands[0]);
    }
    if (cli_has(args, "--man") && command != NULL)
        man_of_command(stdout, command, args->pool);
    else if (cli_has(args, "--man"))
        man_of_tool(stdout);
    else if (command != NULL)
        help_of_command(stdout, command);
    else
        help_of_tool(stdout);
    return CLI_OK;
}

static const cli_option help_options[] = {
    {.name = "--man", .doc = "writes the manual page, for man"},
    {.name = NULL},
};

static const cli_example help_examples[] = {
    {"weft help new", "what `weft new --help` says"},
    {"weft help new --man | man -l -", "its manual page, where it is not installed"},
    {NULL, NULL},
};

const cli_command help_command = {
    .name = "help",
    .summary = "tell how a command is used",
    .synopsis = "[COMMAND] [--man]",
    .description = "Tells what weft can do, or how one of its commands is used.",
    .options = help_options,
    .examples = help_examples,
    .max_operands = 1,
    .run = run_help,
};

/* ---- For shells -------------------------------------------------------------------------------------------------- */

static bool takes_path(const cli_option *o)
{
    return o->value != NULL && (strcmp(o->value, "FILE") == 0 || strcmp(o->value, "DIR") == 0);
}

/* Case patterns of the options that take a path, or of those that take another value. @return whether there is one. */
static bool bash_value_pattern(FILE *out, const cli_command *command, bool paths)
{
    bool any = false;
    for (const cli_option *o = command->options; o->name != NULL; o++)
        if (o->value != NULL && takes_path(o) == paths) {
            fprintf(out, "%s%s:%s", any ? " | " : "        ", command->name, o->name);
            any = true;
        }
    return any;
}

static void complete_bash(FILE *out)
{
    fputs("# bash completion for weft. `weft completion bash` writes it.\n"
          "_weft()\n{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]-}\n"
          "    local words=''\n"
          "    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
          "        mapfile -t COMPREPLY < <(compgen -W '",
          out);
    for (const cli_command *const *c = cli_commands; *c != NULL; c++)
        fprintf(out, "%s ", (*c)->name);
    fputs("--help --version' -- \"$word\")\n        return\n    fi\n    case $command:$before in\n", out);
    for (const cli_command *const *c = cli_commands; *c != NULL; c++) {
        if (bash_value_pattern(out, *c, true))
            fputs(")\n            mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n            return ;;\n", out);
        if (bash_value_pattern(out, *c, false))
            fputs(")\n            return ;;\n", out);
    }
    fputs("    esac\n    case $command in\n", out);
    for (const cli_command *const *c = cli_commands; *c != NULL; c++) {
        fprintf(out, "        %s) words='", (*c)->name);
        for (const cli_option *o = (*c)->options; o->name != NULL; o++)
            fprintf(out, "%s ", o->name);
        fputs("--help'", out);
        if (*c == &help_command)
            for (const cli_command *const *other = cli_commands; *other != NULL; other++)
                fprintf(out, "%s%s", other == cli_commands ? "; words+=' " : " ", (*other)->name);
        fputs(*c == &help_command ? "'" : "", out);
        if ((*c)->words != NULL)
            fprintf(out, "; [ \"$COMP_CWORD\" -ne 2 ] || words+=' %s'", (*c)->words);
        fputs(" ;;\n", out);
    }
    fputs("    esac\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
          "    case $word in\n"
          "        -*) ;;\n"
          "        *)\n"
          "            local paths\n"
          "            mapfile -t paths < <(compgen -f -- \"$word\")\n"
          "            COMPREPLY+=(\"${paths[@]}\") ;;\n"
          "    esac\n"
          "}\n"
          "complete -o filenames -F _weft weft\n",
          out);
}

/* Text within [] and '' of zsh's _arguments. */
static void zsh_text(FILE *out, const char *s)
{
    for (; *s != '\0'; s++) {
        if (*s == '\'')
            fputs("'\\''", out);
        else if (*s == '[' || *s == ']' || *s == ':')
            fprintf(out, "\\%c", *s);
        else
            fputc(*s, out);
    }
}

static void complete_zsh(FILE *out)
{
    fputs("#compdef weft\n"
          "# zsh completion for weft. `weft completion zsh` writes it.\n"
          "_weft()\n{\n"
          "    local -a commands\n"
          "    commands=(\n",
          out);
    for (const cli_command *const *c = cli_commands; *c != NULL; c++) {
        fprintf(out, "        '%s:", (*c)->name);
        zsh_text(out, (*c)->summary);
        fputs("'\n", out);
    }
    fputs("    )\n"
          "    if (( CURRENT == 2 )); then\n"
          "        _describe command commands\n"
          "        _arguments '--help[how it is used]' '--version[the version]'\n"
          "        return\n"
          "    fi\n"
          "    local command=$words[2]\n"
          "    shift words\n"
          "    (( CURRENT-- ))\n"
          "    case $command in\n",
          out);
    for (const cli_command *const *c = cli_commands; *c != NULL; c++) {
        fprintf(out, "        %s)\n            _arguments '--help[how it is used]'", (*c)->name);
        for (const cli_option *o = (*c)->options; o->name != NULL; o++) {
            fprintf(out, " \\\n                '%s%s%s[", o->many ? "*" : "", o->name, o->value != NULL ? "=" : "");
            zsh_text(out, o->doc);
            fputc(']', out);
            if (o->value != NULL)
                fprintf(out, ":%s:%s", o->value, takes_path(o) ? "_files" : "");
            fputc('\'', out);
        }
        if (*c == &help_command)
            fputs(" '1:command:(($commands))'", out);
        else if ((*c)->words != NULL)
            fprintf(out, " '1:what:(%s)'", (*c)->words);
        fputs(" '*:file:_files' ;;\n", out);
    }
    fputs("    esac\n}\n_weft \"$@\"\n", out);
}

static int run_completion(const cli_args *args)
{
    const char *shell = args->operands[0];
    if (strcmp(shell, "bash") == 0)
        complete_bash(stdout);
    else if (strcmp(shell, "zsh") == 0)
        complete_zsh(stdout);
    else
        return cli_usage(args, "no completion for %s: bash or zsh", shell);
    return CLI_OK;
}

static const cli_option completion_options[] = {{.name = NULL}};

static const cli_example completion_examples[] = {
    {"eval \"$(weft completion bash)\"", "in ~/.bashrc, where the package's file is not installed"},
    {NULL, NULL},
};

const cli_command completion_command = {
    .name = "completion",
    .summary = "write the completion of bash or zsh",
    .synopsis = "bash|zsh",
    .description = "Writes the script that completes weft's commands and options in a shell. The packages\n"
                   "install both.",
    .options = completion_options,
    .examples = completion_examples,
    .words = "bash zsh",
    .min_operands = 1,
    .max_operands = 1,
    .run = run_completion,
};
