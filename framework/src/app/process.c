/* process.c: all that a program runs on, made and freed in one order.
 *
 *     log ─▶ engine ─▶ TLS ─▶ server, health ─▶ start ─▶ addresses ─▶ registration ─▶ the life (app.c)
 *
 * and back. The directory and the resolvers are made when somebody asks for them: by a key that says where to register,
 * or by a target of their scheme.
 */
#include "app/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <weft/app.h>
#include <weft/reflection.h>

#include "app/credentials.h"
#include "base/options.h"

/* Of the process; the directory has its own. */
enum resolver {
    DNS,
    LIST_FILE,
    RESOLVER_COUNT
};

struct weft_process {
    const weft_program *program;
    const weft_config *config;
    weft_log *log;
    weft_engine *engine;
    weft_tls *tls; /* NULL: all is plaintext */
    weft_server *server;
    weft_health *health;
    weft_directory *directory; /* NULL: not asked for so far */
    weft_resolver *resolvers[RESOLVER_COUNT];
    void *state; /* the program's own */

    weft_config *(*reread)(void *arg, weft_log *log);
    void *arg;
};

/* ---- the directory ----------------------------------------------------------------------------------------------- */

static bool is_registered(const weft_program *program, const weft_config *config)
{
    return program->directory != NULL && *weft_config_string(config, program->directory->address_key) != '\0';
}

static bool is_ip_address(const char *text)
{
    struct in6_addr binary;
    return inet_pton(AF_INET, text, &binary) == 1 || inet_pton(AF_INET6, text, &binary) == 1;
}

int weft__process_check(const weft_program *program, const weft_config *config)
{
    char reason[256] = "";
    weft_directory *directory;
    size_t addresses;
    int rc = 0;
    (void)weft_config_list(config, "listen", &addresses);
    if (addresses == 0) {
        fprintf(stderr, "%s: listen: expected an address, such as 127.0.0.1:50051\n",
                weft_config_source(config, "listen"));
        rc = -EINVAL;
    }
    if (weft__credentials_check(config) < 0)
        rc = -EINVAL;
    if (program->directory == NULL)
        return rc;
    const char *address = weft_config_string(config, "registry.address");
    if (*address != '\0' && !is_ip_address(address)) {
        fprintf(stderr, "%s: registry.address: expected an IP address, found \"%s\"\n",
                weft_config_source(config, "registry.address"), address);
        rc = -EINVAL;
    }
    if (!is_registered(program, config))
        return rc;
    int opened = program->directory->open(&directory, config, NULL, reason, sizeof reason);
    if (opened == 0)
        program->directory->close(directory);
    else
        fprintf(stderr, "%s: %s: %s\n", weft_config_source(config, program->directory->address_key),
                program->directory->address_key, opened == -EINVAL ? reason : strerror(-opened));
    return opened < 0 ? opened : rc;
}

static int open_directory(weft_process *process)
{
    char reason[256] = "";
    const weft_directory_type *type = process->program->directory;
    if (process->directory != NULL)
        return 0;
    int rc = type->open(&process->directory, process->config, process->log, reason, sizeof reason);
    if (rc < 0)
        weft_log_error(process->log, "cannot use the directory",
                       WEFT_FIELDS(WEFT_STR("directory", type->name), WEFT_STR("error", strerror(-rc)),
                                   WEFT_STR("reason", reason)));
    return rc;
}

static void fill_instance(weft_instance *instance, weft_check *check, const weft_process *process)
{
    const weft_config *config = process->config;
    const char *service = weft_config_string(config, "registry.service");
    const char *address = weft_config_string(config, "registry.address");
    check->kind = WEFT_CHECK_GRPC;
    check->interval_ms = weft_config_duration_ms(config, "registry.check_interval");
    check->tls = weft__credentials_serve(config);
    check->tls_skip_verify = check->tls && !weft_config_bool(config, "registry.check_verify");
    instance->service = *service != '\0' ? service : process->program->name;
    instance->address = *address != '\0' ? address : NULL;
    instance->tags = weft_config_list(config, "registry.tags", &instance->tag_count);
    instance->weight = (uint32_t)weft_config_int(config, "registry.weight");
    instance->checks = check;
    instance->check_count = 1;
}

/* ---- channels ---------------------------------------------------------------------------------------------------- */

/* The resolver that a target needs beyond what every channel knows: NULL with 0 if none. */
static int find_resolver(weft_process *process, const char *target, weft_resolver **out)
{
    const weft_directory_type *directory = process->program->directory;
    size_t len = strcspn(target, ":");
    weft_sv scheme = weft_sv_of(target, len);
    weft_resolver **resolvers = process->resolvers;
    *out = NULL;
    if (strncmp(target + len, "://", 3) != 0)
        return 0;
    if (directory != NULL && weft_sv_is(scheme, directory->scheme)) {
        int rc = open_directory(process);
        *out = rc == 0 ? directory->resolver(process->directory) : NULL;
        return rc;
    }
    int rc = 0;
    if (weft_sv_is(scheme, "dns")) {
        rc = resolvers[DNS] == NULL ? weft_dns_resolver_new(&resolvers[DNS], NULL) : 0;
        *out = resolvers[DNS];
    } else if (weft_sv_is(scheme, "file")) {
        rc = resolvers[LIST_FILE] == NULL ? weft_file_resolver_new(&resolvers[LIST_FILE], NULL) : 0;
        *out = resolvers[LIST_FILE];
    }
    return rc;
}

int weft_process_channel(weft_process *process, const char *key, const weft_channel_options *given, weft_channel **out)
{
    const char *target = weft_config_string(process->config, key);
    weft_channel_options options;
    weft_resolver *resolver = NULL;
    memset(&options, 0, sizeof options);
    int rc = target != NULL ? weft__options_copy(&options, sizeof options, given) : -EINVAL;
    options.struct_size = sizeof options;
    if (rc == 0)
        rc = find_resolver(process, target, &resolver);
    options.log = process->log;
    options.resolvers = &resolver;
    options.resolver_count = resolver != NULL;
    if (options.tls == NULL && weft__credentials_call(process->config))
        options.tls = process->tls;
    if (rc == 0)
        rc = weft_channel_new(out, process->engine, target, &options);
    if (rc < 0)
        weft_log_error(process->log, "cannot make a channel",
                       WEFT_FIELDS(WEFT_STR("key", key), WEFT_STR("target", target),
                                   WEFT_STR("source", weft_config_source(process->config, key)),
                                   WEFT_STR("error", strerror(-rc))));
    return rc;
}

/* ---- what it runs on --------------------------------------------------------------------------------------------- */

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

static int make_log(weft_process *process)
{
    weft_log_options options = WEFT_LOG_OPTIONS_INIT;
    const char *format = weft_config_string(process->config, "log.format");
    options.level = log_level(process->config);
    options.format = strcmp(format, "text") == 0 ? WEFT_LOG_TEXT : WEFT_LOG_JSON;
    int rc = weft_log_new(&process->log, &options);
    if (rc < 0)
        fprintf(stderr, "%s: cannot make a log: %s\n", process->program->name, strerror(-rc));
    return rc;
}

static int make_server(weft_process *process)
{
    const weft_config *config = process->config;
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    options.log = process->log;
    options.workers = weft_config_int(config, "server.workers");
    options.max_connections = weft_config_int(config, "server.max_connections");
    options.max_concurrent_calls = weft_config_int(config, "server.max_concurrent_calls");
    options.max_queued_calls = weft_config_int(config, "server.max_queued_calls");
    options.max_message_bytes = weft_config_size_bytes(config, "server.max_message");
    options.keepalive_ms = weft_config_duration_ms(config, "server.keepalive");
    return weft_server_new(&process->server, process->engine, &options);
}

/* Everything up to what the program adds: a server with grpc.health.v1, and reflection unless it is switched off. */
static int make(weft_process *process)
{
    int rc = process->program->engine(&process->engine, process->log);
    if (rc == 0)
        rc = weft__credentials_new(&process->tls, process->engine, process->config, process->log);
    if (rc == 0)
        rc = make_server(process);
    if (rc == 0)
        rc = weft_health_new(&process->health, NULL);
    if (rc == 0)
        rc = weft_health_register(process->server, process->health);
    if (rc == 0 && weft_config_bool(process->config, "server.reflection"))
        rc = weft_reflection_register(process->server);
    if (rc < 0)
        weft_log_error(process->log, "cannot make a server", WEFT_FIELDS(WEFT_STR("error", strerror(-rc))));
    return rc;
}

/* On all addresses of a key, by TLS unless that is NULL. */
static int listen_all(weft_process *process, const char *key, weft_tls *tls)
{
    size_t count;
    const char *const *addresses = weft_config_list(process->config, key, &count);
    for (size_t i = 0; i < count; i++) {
        int rc = tls != NULL ? weft_server_listen_tls(process->server, addresses[i], tls)
                             : weft_server_listen(process->server, addresses[i]);
        if (rc < 0) {
            weft_log_error(process->log, "cannot listen",
                           WEFT_FIELDS(WEFT_STR("address", addresses[i]), WEFT_STR("error", strerror(-rc))));
            return rc;
        }
    }
    return 0;
}

static void unmake(weft_process *process)
{
    weft_server_free(process->server);
    weft_health_free(process->health);
    if (process->state != NULL)
        process->program->stop(process->state);
    for (size_t i = 0; i < RESOLVER_COUNT; i++)
        weft_resolver_free(process->resolvers[i]);
    if (process->directory != NULL)
        process->program->directory->close(process->directory);
    weft_tls_free(process->tls);
    weft_engine_free(process->engine);
    weft_log_free(process->log);
}

/* ---- reloading --------------------------------------------------------------------------------------------------- */

static void tell_change(void *arg, const weft_config_key *key)
{
    const weft_process *process = arg;
    if (key->reloadable)
        weft_log_info(process->log, "configuration changed", WEFT_FIELDS(WEFT_STR("key", key->name)));
    else
        weft_log_warn(process->log, "this key needs a restart", WEFT_FIELDS(WEFT_STR("key", key->name)));
}

/* Changes are told beside what the process started with. */
static void reload(void *arg)
{
    weft_process *process = arg;
    weft_config *now = process->reread(process->arg, process->log);
    if (now == NULL)
        return;
    weft_config_compare(process->config, now, tell_change, process);
    weft_log_set_level(process->log, log_level(now));
    if (process->tls != NULL)
        (void)weft_tls_reload(process->tls, NULL, 0); /* logs what it finds */
    if (process->program->reload != NULL)
        process->program->reload(process->state, now);
    weft_log_info(process->log, "configuration read again", NULL, 0);
    weft_config_free(now);
}

/* ---- the life ---------------------------------------------------------------------------------------------------- */

/* A duration of the configuration as an option, where 0 means the default, and `none` none. */
static int64_t option_ms(const weft_config *config, const char *key, int64_t none)
{
    int64_t ms = weft_config_duration_ms(config, key);
    return ms > 0 ? ms : none;
}

static void fill_app(weft_app_options *options, weft_process *process)
{
    const weft_config *config = process->config;
    options->log = process->log;
    options->server = process->server;
    options->health = process->health;
    /* Whom nobody looks up has nobody to wait for, unless the operator knows better. */
    if (options->registry != NULL || strcmp(weft_config_source(config, "server.lame_duck"), "default") != 0)
        options->lame_duck_ms = option_ms(config, "server.lame_duck", -1);
    options->grace_ms = option_ms(config, "server.drain", 1);
    options->handle_signals = true;
    options->notify = true;
    options->on_hangup = reload;
    options->arg = process;
}

static int live(weft_process *process)
{
    weft_app_options options = WEFT_APP_OPTIONS_INIT;
    weft_instance instance = WEFT_INSTANCE_INIT;
    weft_check check = {.kind = WEFT_CHECK_GRPC};
    weft_app *app = NULL;
    if (is_registered(process->program, process->config)) {
        int rc = open_directory(process);
        if (rc < 0)
            return rc;
        fill_instance(&instance, &check, process);
        options.registry = process->program->directory->registry(process->directory);
        options.instances = &instance;
        options.instance_count = 1;
    }
    fill_app(&options, process);
    int rc = weft_app_new(&app, &options);
    if (rc < 0)
        weft_log_error(process->log, "cannot run", WEFT_FIELDS(WEFT_STR("error", strerror(-rc))));
    else
        rc = weft_app_run(app);
    weft_app_free(app);
    return rc;
}

int weft__process_run(const weft_program *program, const weft_config *config,
                      weft_config *(*reread)(void *arg, weft_log *log), void *arg)
{
    weft_process process = {.program = program, .config = config, .reread = reread, .arg = arg};
    int rc = make_log(&process);
    if (rc == 0)
        rc = make(&process);
    if (rc == 0)
        rc = program->start(&process, &process.state);
    if (rc == 0)
        rc = listen_all(&process, "listen", weft__credentials_serve(config) ? process.tls : NULL);
    if (rc == 0)
        rc = listen_all(&process, "listen_plaintext", NULL);
    if (rc == 0)
        rc = live(&process);
    unmake(&process);
    return rc;
}

/* ---- what start sees --------------------------------------------------------------------------------------------- */

const weft_config *weft_process_config(const weft_process *process)
{
    return process->config;
}

weft_log *weft_process_log(const weft_process *process)
{
    return process->log;
}

weft_engine *weft_process_engine(const weft_process *process)
{
    return process->engine;
}

weft_server *weft_process_server(const weft_process *process)
{
    return process->server;
}

weft_health *weft_process_health(const weft_process *process)
{
    return process->health;
}
