/* program.c: a program's command line and configuration. What they are for is process.c's. */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/app.h>
#include <weft/program.h>

#include "app/process.h"
#include "base/options.h"

#define EXIT_FAILED  1
#define EXIT_MISUSED 2
#define ERROR_BYTES  8192
#define ARENA_BYTES  (1 << 20)

/* What the command line asks for instead of serving. */
enum action {
    SERVE,
    PRINT_CONFIG,
    CHECK,
    VERSION,
    HELP
};

static const char help[] =
    "Usage: %s [OPTION]...\n"
    "\n"
    "  --config FILE       read keys from a YAML or JSON file\n"
    "  --listen HOST:PORT  serve here; may be repeated; the same as the key listen\n"
    "  --set KEY=VALUE     set a key; may be repeated\n"
    "  --print-config      print every key, its value and where it comes from, and exit\n"
    "  --check             check the configuration and exit\n"
    "  --version           print the version and exit\n"
    "  --help              print this and exit\n"
    "\n"
    "Command line wins over environment, environment over file, file over defaults. The variable of a key\n"
    "is %s_ and its name: log.level is %s_LOG_LEVEL. Keys: see --print-config. SIGHUP reads them again.\n";

struct command_line {
    const weft_program *program;
    int argc;
    char **argv;
    weft_config_key *keys; /* key_count of them: everybody's, the directory's, the program's own */
    size_t key_count;
};

/* A configuration that is being read. */
struct reading {
    weft_config *config;
    weft_arena *arena;
    char *listen; /* the --listen so far, between commas */
    enum action action;
    char errors[ERROR_BYTES];
};

/* ---- the table --------------------------------------------------------------------------------------------------- */

static void add_keys(struct command_line *line, const weft_config_key *keys, size_t count)
{
    if (count > 0)
        memcpy(line->keys + line->key_count, keys, count * sizeof *keys);
    line->key_count += count;
}

static int make_table(struct command_line *line)
{
    const weft_program *program = line->program;
    const weft_directory_type *directory = program->directory;
    size_t count = weft__program_key_count + program->key_count;
    if (directory != NULL)
        count += weft__registry_key_count + directory->key_count;
    line->keys = calloc(count, sizeof *line->keys);
    if (line->keys == NULL)
        return -ENOMEM;
    add_keys(line, weft__program_keys, weft__program_key_count);
    if (directory != NULL) {
        add_keys(line, directory->keys, directory->key_count);
        add_keys(line, weft__registry_keys, weft__registry_key_count);
    }
    add_keys(line, program->keys, program->key_count);
    return 0;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Takes KEY=VALUE. */
static int set_pair(struct reading *reading, const char *pair)
{
    const char *equals = strchr(pair, '=');
    if (equals == NULL) {
        fprintf(stderr, "--set %s: expected KEY=VALUE\n", pair);
        return -EINVAL;
    }
    char *name = weft_arena_svdup(reading->arena, weft_sv_of(pair, (size_t)(equals - pair)));
    return name != NULL ? weft_config_set(reading->config, "--set", name, equals + 1) : -ENOMEM;
}

static int add_listen(struct reading *reading, const char *address)
{
    reading->listen = reading->listen == NULL ? weft_arena_strdup(reading->arena, address)
                                              : weft_arena_printf(reading->arena, "%s,%s", reading->listen, address);
    return reading->listen != NULL ? 0 : -ENOMEM;
}

static int take_option(struct reading *reading, int option)
{
    switch (option) {
    case 'c':
        return weft_config_read_file(reading->config, optarg);
    case 'l':
        return add_listen(reading, optarg);
    case 's':
        return set_pair(reading, optarg);
    case 'p':
        reading->action = PRINT_CONFIG;
        return 0;
    case 'k':
        reading->action = CHECK;
        return 0;
    case 'v':
        reading->action = VERSION;
        return 0;
    case 'h':
        reading->action = HELP;
        return 0;
    default:
        return -EINVAL;
    }
}

/* Reads all options. Mistakes in the configuration are collected there, so only those of the command line end it.
   @return 0; -EINVAL when getopt or this has printed a mistake; -ENOMEM. */
static int read_command_line(struct reading *reading, const struct command_line *line)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"listen", required_argument, NULL, 'l'},
        {"set", required_argument, NULL, 's'},    {"print-config", no_argument, NULL, 'p'},
        {"check", no_argument, NULL, 'k'},        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    int option;
    optind = 0; /* from the beginning, also when it is read again */
    while ((option = getopt_long(line->argc, line->argv, "", options, NULL)) != -1) {
        size_t mistakes = weft_config_error_count(reading->config);
        int rc = take_option(reading, option);
        if (rc < 0 && weft_config_error_count(reading->config) == mistakes)
            return rc;
    }
    if (optind < line->argc) {
        fprintf(stderr, "%s: unexpected argument\n", line->argv[optind]);
        return -EINVAL;
    }
    return reading->listen != NULL ? weft_config_set(reading->config, "--listen", "listen", reading->listen) : 0;
}

static void end_reading(struct reading *reading)
{
    weft_arena_free(reading->arena);
    weft_config_free(reading->config);
}

/* Reads all layers. 0, also when mistakes are in `errors`; -EINVAL one of the command line was printed, or one of the
   program's table is in `errors`; -ENOMEM. Ends with end_reading, whatever it returns. */
static int read_all(struct reading *reading, const struct command_line *line)
{
    weft_config_options options = WEFT_CONFIG_OPTIONS_INIT;
    *reading = (struct reading){.action = SERVE};
    options.keys = line->keys;
    options.key_count = line->key_count;
    options.env_prefix = line->program->env_prefix;
    options.errors = reading->errors;
    options.errors_size = sizeof reading->errors;
    int rc = weft_config_new(&reading->config, &options);
    if (rc == 0)
        rc = weft_arena_new(&reading->arena, ARENA_BYTES);
    if (rc == 0)
        rc = read_command_line(reading, line);
    if (rc == 0)
        rc = weft_config_read_environment(reading->config);
    return reading->config != NULL && weft_config_error_count(reading->config) > 0 ? 0 : rc;
}

/* ---- acting ------------------------------------------------------------------------------------------------------ */

static int print_config(const struct reading *reading)
{
    const char *text = weft_config_format(reading->config, reading->arena);
    if (text == NULL)
        return EXIT_FAILED;
    return fputs(text, stdout) >= 0 && fflush(stdout) == 0 ? 0 : EXIT_FAILED;
}

static void log_errors(weft_log *log, char *errors)
{
    char *end;
    for (; (end = strchr(errors, '\n')) != NULL; errors = end + 1) {
        *end = '\0';
        weft_log_error(log, "a mistake in the configuration: nothing is changed",
                       WEFT_FIELDS(WEFT_STR("mistake", errors)));
    }
}

/* For SIGHUP. */
static weft_config *reread(void *arg, weft_log *log)
{
    const struct command_line *line = arg;
    struct reading reading;
    int rc = read_all(&reading, line);
    if (rc == 0 && weft_config_check(reading.config) < 0) {
        log_errors(log, reading.errors);
        rc = -EINVAL;
    } else if (rc < 0) {
        weft_log_error(log, "cannot read the configuration", WEFT_FIELDS(WEFT_STR("error", strerror(-rc))));
    }
    weft_config *config = NULL;
    if (rc == 0) {
        config = reading.config;
        reading.config = NULL;
    }
    end_reading(&reading);
    return config;
}

/* Before the first thread, which inherits it. */
static int block_signals(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGPIPE);
    int rc = -pthread_sigmask(SIG_BLOCK, &set, NULL);
    return rc == 0 ? weft_app_block_signals() : rc;
}

static int serve(struct command_line *line, const weft_config *config)
{
    int rc = block_signals();
    if (rc == 0)
        rc = weft__process_run(line->program, config, reread, line);
    if (rc == -EINVAL) /* an address, a target: whoever starts it again would only see the same */
        return EXIT_MISUSED;
    return rc < 0 ? EXIT_FAILED : 0;
}

static int act(struct command_line *line, const struct reading *reading)
{
    const weft_program *program = line->program;
    switch (reading->action) {
    case VERSION:
        printf("%s %s\n", program->name, program->version != NULL ? program->version : weft_version());
        return 0;
    case HELP:
        printf(help, program->name, program->env_prefix, program->env_prefix);
        return 0;
    case SERVE:
    case PRINT_CONFIG:
    case CHECK:
        break;
    }
    if (weft_config_check(reading->config) < 0) {
        fputs(reading->errors, stderr);
        return EXIT_MISUSED;
    }
    if (weft__process_check(program, reading->config) < 0)
        return EXIT_MISUSED;
    if (reading->action == CHECK)
        return 0;
    return reading->action == PRINT_CONFIG ? print_config(reading) : serve(line, reading->config);
}

/* With the table of keys there. */
static int run(struct command_line *line)
{
    struct reading reading;
    int rc = read_all(&reading, line);
    int code = EXIT_FAILED;
    if (reading.config == NULL)
        fprintf(stderr, "%s: %s\n", line->program->name, rc == -EINVAL ? reading.errors : strerror(-rc));
    else if (rc < 0)
        code = rc == -EINVAL ? EXIT_MISUSED : EXIT_FAILED;
    else
        code = act(line, &reading);
    end_reading(&reading);
    return code;
}

int weft_program_main(const weft_program *given, int argc, char **argv)
{
    weft_program program;
    memset(&program, 0, sizeof program);
    int rc = weft__options_copy(&program, sizeof program, given);
    struct command_line line = {.program = &program, .argc = argc, .argv = argv};
    if (rc == 0 && (program.name == NULL || program.env_prefix == NULL || program.engine == NULL ||
                    program.start == NULL || program.stop == NULL))
        rc = -EINVAL;
    if (rc == 0)
        rc = make_table(&line);
    if (rc < 0) {
        fprintf(stderr, "%s: cannot run: %s\n", argc > 0 ? argv[0] : "program", strerror(-rc));
        return EXIT_FAILED;
    }
    int code = run(&line);
    free(line.keys);
    return code;
}
