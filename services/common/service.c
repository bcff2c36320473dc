#include "service.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <weft/core.h>
#include <weft/health.h>
#include <weft/reflection.h>
#include <weft/version.h>

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

/* Waits for SIGTERM or SIGINT, which are blocked; a further one has its usual effect. */
static void wait_for_signal(const sigset_t *signals, weft_log *log)
{
    int number = 0;
    sigwait(signals, &number);
    weft_log_info(log, "stopping", WEFT_FIELDS(WEFT_INT("signal", number)));
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
}

/* Serves until a signal comes. */
static int run_server(weft_server *server, const weft_config *config, weft_log *log, const sigset_t *signals)
{
    int rc = listen_all(server, config, log);
    if (rc < 0)
        return rc;
    rc = weft_server_start(server);
    if (rc < 0) {
        weft_log_error(log, "cannot serve", WEFT_FIELDS(WEFT_STR("error", strerror(-rc))));
        return rc;
    }
    const char *address;
    for (size_t i = 0; (address = weft_server_address(server, i)) != NULL; i++)
        weft_log_info(log, "listening", WEFT_FIELDS(WEFT_STR("address", address)));
    wait_for_signal(signals, log);
    rc = weft_server_stop(server, weft_config_duration_ms(config, "server.drain"));
    weft_log_info(log, "stopped", WEFT_NO_FIELDS);
    return rc;
}

/* What every service offers beside its own: grpc.health.v1, and reflection unless it is switched off. */
static int add_builtin(weft_server *server, weft_health *health, const weft_config *config)
{
    int rc = weft_health_register(server, health);
    if (rc == 0 && weft_config_bool(config, "server.reflection"))
        rc = weft_reflection_register(server);
    return rc;
}

static int run_service(const struct service *service, const weft_config *config, weft_log *log, const sigset_t *signals)
{
    weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
    weft_engine *engine = NULL;
    weft_server *server = NULL;
    weft_health *health = NULL;
    void *state = NULL;
    options.log = log;
    int rc = weft_core_engine_new(&engine, &options);
    if (rc == 0)
        rc = make_server(&server, engine, config, log);
    if (rc == 0)
        rc = weft_health_new(&health, NULL);
    if (rc == 0)
        rc = add_builtin(server, health, config);
    if (rc < 0) {
        weft_log_error(log, "cannot make a server", WEFT_FIELDS(WEFT_STR("error", strerror(-rc))));
    } else {
        rc = service->start(config, log, server, &state);
        if (rc == 0)
            rc = run_server(server, config, log, signals);
    }
    weft_server_free(server);
    weft_health_free(health);
    if (state != NULL)
        service->stop(state);
    weft_engine_free(engine);
    return rc;
}

static int serve(const struct service *service, const weft_config *config)
{
    sigset_t signals;
    weft_log *log;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before the first thread, which inherits it */
    signal(SIGPIPE, SIG_IGN);
    int rc = make_log(&log, config);
    if (rc < 0) {
        fprintf(stderr, "cannot make a log: %s\n", strerror(-rc));
        return EXIT_FAILED;
    }
    rc = run_service(service, config, log, &signals);
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
