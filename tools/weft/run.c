/* Design notes. A service is a folder that CMake builds: its project NAME makes build/NAME-service, as `weft new` has
 * it. The name is read from CMake's cache, so nothing is guessed from files that lie about.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands.h"
#include "process.h"
#include "supervise.h"

/* ---- building ---------------------------------------------------------------------------------------------------- */

/* Waits for a child, or ends it when the user has had enough. @return its status; -1: the user has. */
static int wait_for(pid_t pid, int signals)
{
    int status = 0;
    int number;
    bool ended = false;
    pid_t gone;
    while ((gone = waitpid(pid, &status, WNOHANG)) == 0) {
        struct pollfd fd = {.fd = signals, .events = POLLIN};
        (void)poll(&fd, 1, -1);
        while ((number = process_next_signal(signals)) != 0)
            if (number != SIGCHLD) {
                (void)kill(-pid, ended ? SIGKILL : SIGTERM); /* and what it has started */
                ended = true;
            }
    }
    return ended || gone < 0 ? -1 : status;
}

static void show(FILE *output)
{
    char piece[4096];
    size_t n;
    rewind(output);
    while ((n = fread(piece, 1, sizeof piece, output)) > 0)
        (void)fwrite(piece, 1, n, stderr);
}

/* Runs CMake; what it says is shown only when it fails. */
static int run_cmake(char *const *argv, const char *folder, int signals)
{
    FILE *output = tmpfile();
    pid_t pid;
    int status = -1;
    if (output == NULL)
        return cli_error("cannot keep the output of a build: %s", strerror(errno));
    const process_spec spec = {.argv = argv, .output = fileno(output)};
    int rc = process_start(&pid, &spec);
    if (rc == 0)
        status = wait_for(pid, signals);
    if (rc == 0 && status > 0)
        show(output);
    fclose(output);
    if (rc < 0)
        return cli_error("cannot run cmake: %s", strerror(-rc));
    if (status < 0)
        return CLI_FAILED;
    return status == 0 ? CLI_OK : cli_error("%s does not build: see above", folder);
}

static bool exists(pool *p, const char *folder, const char *name)
{
    return access(pool_printf(p, "%s/%s", folder, name), F_OK) == 0;
}

static bool is_in_path(pool *p, const char *program)
{
    const char *path = getenv("PATH");
    while (path != NULL && *path != '\0') {
        size_t len = strcspn(path, ":");
        if (access(pool_printf(p, "%.*s/%s", (int)len, path, program), X_OK) == 0)
            return true;
        path += len + (path[len] == ':');
    }
    return false;
}

/* The value of an entry of CMake's cache, or NULL. */
static char *read_cache(pool *p, const char *path, const char *entry)
{
    FILE *cache = fopen(path, "r");
    char *line = NULL;
    char *value = NULL;
    size_t size = 0;
    ssize_t length;
    while (cache != NULL && value == NULL && (length = getline(&line, &size, cache)) > 0) {
        const char *equals = memchr(line, '=', (size_t)length);
        if (equals == NULL || strncmp(line, entry, strlen(entry)) != 0 || line[strlen(entry)] != ':')
            continue;
        value = pool_printf(p, "%.*s", (int)strcspn(equals + 1, "\r\n"), equals + 1);
    }
    free(line);
    if (cache != NULL)
        fclose(cache);
    return value;
}

/* A project that was copied or renamed has brought a build folder along that makes the old one's program. */
static int check_origin(pool *p, const char *folder)
{
    struct stat ours, theirs;
    const char *source = read_cache(p, pool_printf(p, "%s/build/CMakeCache.txt", folder), "CMAKE_HOME_DIRECTORY");
    if (source == NULL || stat(folder, &ours) < 0)
        return CLI_OK;
    if (stat(source, &theirs) == 0 && ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)
        return CLI_OK;
    return cli_error("%s/build was made for %s: remove it, and run again", folder, source);
}

/* Ninja makes it where it is installed; else CMake's own choice, which needs make on Linux. */
static int build(const cli_args *args, char *folder, int signals)
{
    char *build_folder = pool_printf(args->pool, "%s/build", folder);
    char *jobs = pool_printf(args->pool, "%ld", sysconf(_SC_NPROCESSORS_ONLN));
    bool has_cache = exists(args->pool, build_folder, "CMakeCache.txt"); /* whose generator cannot be another one */
    char *generator = !has_cache && is_in_path(args->pool, "ninja") ? "-GNinja" : NULL;
    char *const configure[] = {"cmake", "-S", folder, "-B", build_folder, generator, NULL};
    char *const make[] = {"cmake", "--build", build_folder, "--parallel", jobs, NULL};
    char here[4096];
    bool is_here = strcmp(folder, ".") == 0 && getcwd(here, sizeof here) != NULL; /* "." tells nobody anything */
    printf("building %s\n", is_here ? here : folder);
    fflush(stdout);
    int code = check_origin(args->pool, folder);
    /* A configuration that failed leaves a cache, too. */
    if (code == CLI_OK && !exists(args->pool, build_folder, "build.ninja") &&
        !exists(args->pool, build_folder, "Makefile"))
        code = run_cmake(configure, folder, signals);
    return code == CLI_OK ? run_cmake(make, folder, signals) : code;
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

/* "GREETER_LOG_FORMAT": what has a service log for the eye. */
static const char *log_variable(pool *p, const char *name)
{
    char *variable = pool_printf(p, "%s_LOG_FORMAT", name);
    for (char *c = variable; *c != '\0'; c++) {
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
        else if (*c == '-')
            *c = '_';
    }
    return variable;
}

/* Whether the program is given an option: "--config FILE" or "--config=FILE". */
static bool has_option(const cli_args *args, const char *option)
{
    size_t len = strlen(option);
    for (size_t i = 0; i < args->rest_count; i++)
        if (strncmp(args->rest[i], option, len) == 0 && (args->rest[i][len] == '\0' || args->rest[i][len] == '='))
            return true;
    return false;
}

/* The program's command line: its configuration beside it counts, unless the user names another. */
static char **make_argv(const cli_args *args, const char *folder, const char *name, char *program)
{
    char **argv = pool_alloc(args->pool, (args->rest_count + 4) * sizeof *argv);
    size_t count = 0;
    char *config = pool_printf(args->pool, "%s.yaml", name);
    argv[count++] = program;
    if (exists(args->pool, folder, config) && !has_option(args, "--config")) {
        argv[count++] = "--config";
        argv[count++] = config;
    }
    for (size_t i = 0; i < args->rest_count; i++)
        argv[count++] = args->rest[i];
    argv[count] = NULL;
    return argv;
}

static int find(const cli_args *args, const char *folder, supervised *out)
{
    pool *p = args->pool;
    const char *name = read_cache(p, pool_printf(p, "%s/build/CMakeCache.txt", folder), "CMAKE_PROJECT_NAME");
    if (name == NULL)
        return cli_error("%s is not built: run it without --no-build", folder);
    char *program = pool_printf(p, "build/%s-service", name);
    if (access(pool_printf(p, "%s/%s", folder, program), X_OK) < 0)
        return cli_error("%s/%s: %s: project(%s) has to build it, and not in a folder of its own", folder, program,
                         strerror(errno), name);
    *out = (supervised){.name = name, .process = {.folder = folder, .argv = make_argv(args, folder, name, program)}};
    if (isatty(STDOUT_FILENO) != 0 && !cli_has(args, "--raw")) {
        out->process.variable = log_variable(p, name);
        out->process.value = "text";
    }
    return CLI_OK;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static int run(const cli_args *args)
{
    static char here[] = ".";
    char *all[] = {here};
    char **folders = args->operand_count > 0 ? args->operands : all;
    size_t count = args->operand_count > 0 ? args->operand_count : 1;
    if (args->rest_count > 0 && count > 1)
        return cli_usage(args, "what follows -- is for one service, not for %zu", count);
    for (size_t i = 0; i < count; i++)
        if (access(pool_printf(args->pool, "%s/CMakeLists.txt", folders[i]), F_OK) < 0)
            return cli_error("%s/CMakeLists.txt: %s: name the folder of a service, as `weft new` makes it", folders[i],
                             strerror(errno));
    int signals = process_signals();
    if (signals < 0)
        return cli_error("cannot wait for signals: %s", strerror(-signals));
    supervised *services = pool_alloc(args->pool, count * sizeof *services);
    int code = CLI_OK;
    for (size_t i = 0; code == CLI_OK && i < count && !cli_has(args, "--no-build"); i++)
        code = build(args, folders[i], signals);
    for (size_t i = 0; code == CLI_OK && i < count; i++)
        code = find(args, folders[i], &services[i]);
    if (code == CLI_OK)
        code = supervise(services, count, signals);
    close(signals);
    return code;
}

static const cli_option options[] = {
    {.name = "--no-build", .doc = "runs what is built already"},
    {.name = "--raw", .doc = "leaves the log as it is: JSON, also on a terminal"},
    {.name = NULL},
};

static const cli_example examples[] = {
    {"weft run", "the service of this folder"},
    {"weft run greeter orders", "two of them, side by side"},
    {"weft run greeter -- --listen 127.0.0.1:0 --set log.level=debug", "with a command line of its own"},
    {NULL, NULL},
};

const cli_command run_command = {
    .name = "run",
    .summary = "build and run services, until Ctrl-C",
    .synopsis = "[SERVICE…] [--no-build] [--raw]\n[SERVICE] [OPTION…] -- ARGUMENT…",
    .description = "Builds services and runs them side by side. A SERVICE is a folder that `weft new` has made;\n"
                   "without one it is the present folder. It is built by CMake in SERVICE/build, whose project\n"
                   "NAME makes the program NAME-service there. That runs in the folder SERVICE, with the file\n"
                   "NAME.yaml, if there is one, as its configuration.\n"
                   "\n"
                   "Of several services, each line has the service's name before it. On a terminal the log is\n"
                   "text. Lines of more than 4096 bytes are cut.\n"
                   "\n"
                   "A service that dies is started again: after 100 ms, twice as long each time, 10 s at most;\n"
                   "who has lived for 10 s begins anew. One that ends with 0 is not, nor one that ends with 2,\n"
                   "which tells of a mistake in its command line or configuration.\n"
                   "\n"
                   "Ctrl-C or SIGTERM has all of them drain and stop; the second one kills. It ends with 0 if\n"
                   "all have stopped well. None of them outlives it.",
    .options = options,
    .examples = examples,
    .max_operands = SIZE_MAX,
    .takes_rest = true,
    .run = run,
};
