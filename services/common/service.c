#include "service.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <weft/app.h>
#include <weft/core.h>
#include <weft/health.h>
#include <weft/reflection.h>
#include <weft/version.h>

#include "directory.h"

#define EXIT_FAILED  1
#define EXIT_MISUSED 2
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
    "is %s_ and its name: database.path is %s_DATABASE_PATH. Keys: see --print-config.\n";

/* ---- Command line ------------------------------------------------------------------------------------------------ */

struct command_line {
    weft_config *config;
    weft_arena *arena;
    char *listen; /* the --listen so far, between commas */
    enum action action;
};

/* Takes KEY=VALUE. */
static int set_pair(struct command_line *line, const char *pair)
{
    const char *equals = strchr(pair, '=');
    if (equals == NULL) {
        fprintf(stderr, "--set %s: expected KEY=VALUE\n", pair);
        return -EINVAL;
    }
    char *name = weft_arena_svdup(line->arena, weft_sv_of(pair, (size_t)(equals - pair)));
    return name != NULL ? weft_config_set(line->config, "--set", name, equals + 1) : -ENOMEM;
}

static int add_listen(struct command_line *line, const char *address)
{
    line->listen = line->listen == NULL ? weft_arena_strdup(line->arena, address)
                                        : weft_arena_printf(line->arena, "%s,%s", line->listen, address);
    return line->listen != NULL ? 0 : -ENOMEM;
}

/* Reads all options. Mistakes in the configuration are collected there, so only those of the command line end it.
   @return 0; -EINVAL when getopt or this has printed a mistake; -ENOMEM. */
static int parse(struct command_line *line, int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"listen", required_argument, NULL, 'l'},
        {"set", required_argument, NULL, 's'},    {"print-config", no_argument, NULL, 'p'},
        {"check", no_argument, NULL, 'k'},        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        size_t mistakes = weft_config_error_count(line->config);
        int rc = 0;
        switch (option) {
        case 'c':
            rc = weft_config_read_file(line->config, optarg);
            break;
        case 'l':
            rc = add_listen(line, optarg);
            break;
        case 's':
            rc = set_pair(line, optarg);
            break;
        case 'p':
            line->action = PRINT_CONFIG;
            break;
        case 'k':
            line->action = CHECK;
            break;
        case 'v':
            line->action = VERSION;
            break;
        case 'h':
            line->action = HELP;
            break;
        default:
            rc = -EINVAL;
        }
        if (rc < 0 && weft_config_error_count(line->config) == mistakes)
            return rc;
    }
    if (optind < argc) {
        fprintf(stderr, "%s: unexpected argument\n", argv[optind]);
        return -EINVAL;
    }
    return line->listen != NULL ? weft_config_set(line->config, "--listen", "listen", line->listen) : 0;
}

static int print_config(const struct command_line *line)
{
    const char *text = weft_config_format(line->config, line->arena);
    if (text == NULL)
        return EXIT_FAILED;
    return fputs(text, stdout) >= 0 && fflush(stdout) == 0 ? 0 : EXIT_FAILED;
}

/* ---- Serving ----------------------------------------------------------------------------------------------------- */

static weft_log_level log_level(const weft_config *config)
{
    static const char *const names[] = {
        [WEFT_LOG_DEBUG] = "debug", [WEFT_LOG_INFO] = "info", [WEFT_LOG_WARN] = "warn", [WEFT_LOG_ERROR] = "error"};
    const char *name = weft_config_string(config, "log.level");
    for (int level = WEFT_LOG_DEBUG; level <= WEFT_LOG_ERROR; level++)
        if (strcmp(name, names[level]) == 0)
            return (weft_log_level)level;
    return WEFT_LOG_OFF;
}

static int make_log(weft_log **out, const weft_config *config)
{
    weft_log_options options = WEFT_LOG_OPTIONS_INIT;
    options.level = log_level(config);
    options.format = strcmp(weft_config_string(config, "log.format"), "text") == 0 ? WEFT_LOG_TEXT : WEFT_LOG_JSON;
    return weft_log_new(out, &options);
}

static int make_server(weft_server **out, weft_engine *engine, const weft_config *config, weft_log *log)
{
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    options.log = log;
    options.workers = weft_config_int(config, "server.workers");
    options.max_connections = weft_config_int(config, "server.max_connections");
    options.max_concurrent_calls = weft_config_int(config, "server.max_concurrent_calls");
    options.max_queued_calls = weft_config_int(config, "server.max_queued_calls");
    options.max_message_bytes = weft_config_size_bytes(config, "server.max_message");
    options.keepalive_ms = weft_config_duration_ms(config, "server.keepalive");
    return weft_server_new(out, engine, &options);
}

static int listen_all(weft_server *server, const weft_config *config, weft_log *log)
{
    size_t count;
    const char *const *addresses = weft_config_list(config, "listen", &count);
    for (size_t i = 0; i < count; i++) {
        int rc = weft_server_listen(server, addresses[i]);
        if (rc < 0) {
            weft_log_error(log, "cannot listen",
                           WEFT_FIELDS(WEFT_STR("address", addresses[i]), WEFT_STR("error", strerror(-rc))));
            return rc;
        }
    }
    return 0;
}

/* What every service offers beside its own: grpc.health.v1, and reflection unless it is switched off. */
static int add_builtin(weft_server *server, weft_health *health, const weft_config *config)
{
    int rc = weft_health_register(server, health);
    if (rc == 0 && weft_config_bool(config, "server.reflection"))
        rc = weft_reflection_register(server);
    return rc;
}

/* All that a service runs on. */
struct process {
    const weft_config *config;
    weft_log *log;
    weft_engine *engine;
    weft_server *server;
    weft_health *health;
    struct directory directory;
    void *state; /* the service's own */
};

static int make_process(struct process *process)
{
    weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
    options.log = process->log;
    int rc = weft_core_engine_new(&process->engine, &options);
    if (rc == 0)
        rc = make_server(&process->server, process->engine, process->config, process->log);
    if (rc == 0)
        rc = weft_health_new(&process->health, NULL);
    if (rc == 0)
        rc = add_builtin(process->server, process->health, process->config);
    if (rc < 0)
        weft_log_error(process->log, "cannot make a server", WEFT_FIELDS(WEFT_STR("error", strerror(-rc))));
    return rc;
}

/* A duration of the configuration as an option, where 0 means the default, and `none` none. */
static int64_t option_ms(const weft_config *config, const char *key, int64_t none)
{
    int64_t ms = weft_config_duration_ms(config, key);
    return ms > 0 ? ms : none;
}

static void fill_app(weft_app_options *options, struct process *process)
{
    const weft_config *config = process->config;
    options->log = process->log;
    options->server = process->server;
    options->health = process->health;
    if (process->directory.consul != NULL) {
        options->registry = weft_consul_registry(process->directory.consul);
        options->instances = &process->directory.instance;
        options->instance_count = 1;
    }
    /* Whom nobody looks up has nobody to wait for, unless the operator knows better. */
    if (options->registry != NULL || strcmp(weft_config_source(config, "server.lame_duck"), "default") != 0)
        options->lame_duck_ms = option_ms(config, "server.lame_duck", -1);
    options->grace_ms = option_ms(config, "server.drain", 1);
    options->handle_signals = true;
}

static int run_app(struct process *process)
{
    weft_app_options options = WEFT_APP_OPTIONS_INIT;
    weft_app *app = NULL;
    fill_app(&options, process);
    int rc = weft_app_new(&app, &options);
    if (rc < 0)
        weft_log_error(process->log, "cannot run", WEFT_FIELDS(WEFT_STR("error", strerror(-rc))));
    else
        rc = weft_app_run(app);
    weft_app_free(app);
    return rc;
}

static int run_service(const struct service *service, const weft_config *config, weft_log *log)
{
    struct process process = {.config = config, .log = log};
    int rc = make_process(&process);
    if (rc == 0)
        rc = service->start(config, log, process.server, &process.state);
    if (rc == 0)
        rc = listen_all(process.server, config, log);
    if (rc == 0)
        rc = directory_open(&process.directory, config, service->name, log);
    if (rc == 0)
        rc = run_app(&process);
    weft_server_free(process.server);
    weft_health_free(process.health);
    directory_close(&process.directory);
    if (process.state != NULL)
        service->stop(process.state);
    weft_engine_free(process.engine);
    return rc;
}

static int serve(const struct service *service, const weft_config *config)
{
    weft_log *log = NULL;
    int rc = weft_app_block_signals(); /* before the first thread, which inherits it */
    signal(SIGPIPE, SIG_IGN);
    if (rc == 0)
        rc = make_log(&log, config);
    if (rc < 0) {
        fprintf(stderr, "cannot make a log: %s\n", strerror(-rc));
        return EXIT_FAILED;
    }
    rc = run_service(service, config, log);
    weft_log_free(log);
    return rc < 0 ? EXIT_FAILED : 0;
}

/* ---- The program ------------------------------------------------------------------------------------------------- */

static int act(const struct service *service, const struct command_line *line, const char *errors)
{
    switch (line->action) {
    case VERSION:
        printf("%s %s\n", service->name, weft_version());
        return 0;
    case HELP:
        printf(help, service->name, service->env_prefix, service->env_prefix);
        return 0;
    case SERVE:
    case PRINT_CONFIG:
    case CHECK:
        break;
    }
    if (weft_config_check(line->config) < 0) {
        fputs(errors, stderr);
        return EXIT_MISUSED;
    }
    if (directory_check(line->config) < 0)
        return EXIT_MISUSED;
    if (line->action == CHECK)
        return 0;
    return line->action == PRINT_CONFIG ? print_config(line) : serve(service, line->config);
}

int service_main(const struct service *service, int argc, char **argv)
{
    char errors[8192];
    struct command_line line = {.action = SERVE};
    weft_config_options options = WEFT_CONFIG_OPTIONS_INIT;
    options.keys = service->keys;
    options.key_count = service->key_count;
    options.env_prefix = service->env_prefix;
    options.errors = errors;
    options.errors_size = sizeof errors;
    int rc = weft_config_new(&line.config, &options);
    if (rc < 0) {
        fprintf(stderr, "%s: %s: %s", service->name, strerror(-rc), rc == -EINVAL ? errors : "\n");
        return EXIT_FAILED;
    }
    int code = EXIT_FAILED;
    if (weft_arena_new(&line.arena, ARENA_BYTES) == 0) {
        rc = parse(&line, argc, argv);
        if (rc == 0)
            rc = weft_config_read_environment(line.config);
        if (rc < 0 && weft_config_error_count(line.config) == 0)
            code = rc == -EINVAL ? EXIT_MISUSED : EXIT_FAILED;
        else
            code = act(service, &line, errors);
    }
    weft_arena_free(line.arena);
    weft_config_free(line.config);
    return code;
}
