/* A program from its command line to its exit code, on the engine for tests. What it writes goes to a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <weft/app.h>
#include <weft/program.h>
#include <weft/testing.h>

#include "support/temp_dir.h"

#define MAX_ARGUMENTS 12

/* What the program under test does, and what became of it. */
static struct {
    int start_returns;
    int signals[2];      /* raised in start, which are pending until the process serves */
    const char *rewrite; /* the configuration file's next contents */
    int channel_rc;
    bool started;
    bool stopped;
    char greeting[32]; /* as reload has seen it */
} now;

static char config_path[TEMP_PATH_BYTES];
static char written[16384];

static void write_config(const char *text)
{
    FILE *file = fopen(temp_path("program.yaml", config_path), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int engine(weft_engine **out, weft_log *log)
{
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    (void)log;
    options.threaded = true;
    return weft_memory_engine_new(out, &options);
}

static int start(weft_process *process, void **state)
{
    weft_channel *channel;
    now.started = true;
    now.channel_rc = weft_process_channel(process, "users.target", NULL, &channel);
    if (now.channel_rc == 0)
        weft_channel_free(channel);
    if (now.rewrite != NULL)
        write_config(now.rewrite);
    for (size_t i = 0; i < 2; i++)
        if (now.signals[i] != 0)
            assert_int_equal(kill(getpid(), now.signals[i]), 0);
    if (now.start_returns == 0)
        *state = &now;
    return now.start_returns;
}

static void stop(void *state)
{
    assert_ptr_equal(state, &now);
    now.stopped = true;
}

static void reload(void *state, const weft_config *config)
{
    assert_ptr_equal(state, &now);
    snprintf(now.greeting, sizeof now.greeting, "%s", weft_config_string(config, "greeting"));
}

static const weft_config_key keys[] = {
    {.name = "greeting", .type = WEFT_CONFIG_STRING, .reloadable = true, .fallback = "Hello", .doc = "What it says"},
    {.name = "users.target", .type = WEFT_CONFIG_STRING, .fallback = "users:1", .doc = "Who knows the users"},
};

static const weft_program program = {
    .struct_size = sizeof program,
    .name = "greeter-service",
    .env_prefix = "GREETER",
    .keys = keys,
    .key_count = sizeof keys / sizeof keys[0],
    .engine = engine,
    .start = start,
    .stop = stop,
    .reload = reload,
};

/* Runs a program with arguments up to NULL; `written` gets what it writes. @return its exit code. */
static int run_program(const weft_program *which, ...)
{
    char path[TEMP_PATH_BYTES];
    char *arguments[MAX_ARGUMENTS] = {"greeter-service"};
    int argc = 1;
    va_list list;
    va_start(list, which);
    while (argc < MAX_ARGUMENTS - 1 && (arguments[argc] = va_arg(list, char *)) != NULL)
        argc++;
    va_end(list);

    int file = open(temp_path("written", path), O_RDWR | O_CREAT | O_TRUNC, 0600);
    int saved[2] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)};
    assert_true(file >= 0);
    fflush(NULL);
    assert_true(dup2(file, STDOUT_FILENO) >= 0 && dup2(file, STDERR_FILENO) >= 0);
    int code = weft_program_main(which, argc, arguments);
    fflush(NULL);
    assert_true(dup2(saved[0], STDOUT_FILENO) >= 0 && dup2(saved[1], STDERR_FILENO) >= 0);
    close(saved[0]);
    close(saved[1]);
    ssize_t n = pread(file, written, sizeof written - 1, 0);
    close(file);
    assert_true(n >= 0);
    written[n] = '\0';
    return code;
}

static void assert_written(const char *part)
{
    if (strstr(written, part) == NULL)
        fail_msg("\"%s\" is not in:\n%s", part, written);
}

static void assert_not_written(const char *part)
{
    if (strstr(written, part) != NULL)
        fail_msg("\"%s\" is in:\n%s", part, written);
}

static int set_up(void **state)
{
    (void)state;
    memset(&now, 0, sizeof now);
    return temp_dir_make();
}

static int tear_down(void **state)
{
    sigset_t set;
    (void)state;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGPIPE);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    temp_dir_remove();
    return 0;
}

/* ---- the service manager ----------------------------------------------------------------------------------------- */

/* Listens as systemd does, and ends the process as soon as it hears that it is ready. */
struct manager {
    int socket;
    pthread_t thread;
    char told[1024]; /* every message, and a '|' after it */
};

static void *manage(void *arg)
{
    struct manager *manager = arg;
    size_t len = 0;
    while (strstr(manager->told, "STATUS=stopped") == NULL && len + 2 < sizeof manager->told) {
        ssize_t n = recv(manager->socket, manager->told + len, sizeof manager->told - len - 2, 0);
        if (n < 0)
            break;
        if (strncmp(manager->told + len, "READY=1", 7) == 0)
            kill(getpid(), SIGTERM);
        len += (size_t)n;
        manager->told[len++] = '|';
    }
    return NULL;
}

static void start_manager(struct manager *manager)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = 20};
    assert_int_equal(weft_app_block_signals(), 0); /* in its thread too */
    manager->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(manager->socket >= 0);
    assert_int_equal(setsockopt(manager->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/notify", temp_dir);
    assert_int_equal(bind(manager->socket, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", address.sun_path, 1), 0);
    assert_int_equal(pthread_create(&manager->thread, NULL, manage, manager), 0);
}

static void end_manager(struct manager *manager)
{
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(pthread_join(manager->thread, NULL), 0);
    close(manager->socket);
}

static void it_serves_until_a_signal_and_the_service_manager_is_told(void **state)
{
    struct manager manager = {.socket = -1};
    (void)state;
    start_manager(&manager);
    int code = run_program(&program, "--listen", "greeter:1", NULL);
    end_manager(&manager);
    assert_int_equal(code, 0);
    assert_true(now.started && now.stopped);
    assert_int_equal(now.channel_rc, 0);
    assert_written("\"phase\":\"serving\"");
    assert_written("\"phase\":\"stopped\"");
    assert_string_equal(manager.told,
                        "STATUS=starting|READY=1\nSTATUS=serving|STOPPING=1\nSTATUS=not serving|"
                        "STATUS=deregistering|STATUS=closing|STATUS=lame duck|STATUS=draining|STATUS=stopped|");
}

static void a_service_manager_that_cannot_be_reached_is_logged_and_no_more(void **state)
{
    (void)state;
    assert_int_equal(setenv("NOTIFY_SOCKET", "nonsense", 1), 0);
    now.signals[0] = SIGTERM;
    assert_int_equal(run_program(&program, "--listen", "greeter:1", NULL), 0);
    unsetenv("NOTIFY_SOCKET");
    assert_written("cannot tell the service manager");
}

/* ---- command line and configuration ------------------------------------------------------------------------------ */

static void a_start_that_fails_ends_it_with_1_and_nothing_is_stopped(void **state)
{
    (void)state;
    now.start_returns = -EIO;
    assert_int_equal(run_program(&program, "--listen", "greeter:1", NULL), 1);
    assert_true(now.started);
    assert_false(now.stopped);
}

static void a_start_that_finds_a_mistake_ends_it_with_2(void **state)
{
    (void)state;
    now.start_returns = -EINVAL;
    assert_int_equal(run_program(&program, "--listen", "greeter:1", NULL), 2);
    now.start_returns = 0;
    assert_int_equal(run_program(&program, "--listen", "greeter:door", NULL), 2);
    assert_written("\"msg\":\"cannot listen\",\"address\":\"greeter:door\"");
}

static void an_address_that_cannot_be_had_ends_it_with_1_after_stop(void **state)
{
    (void)state;
    assert_int_equal(run_program(&program, "--listen", "greeter:1", "--listen", "greeter:1", NULL), 1);
    assert_true(now.started && now.stopped);
    assert_written("\"msg\":\"cannot listen\",\"address\":\"greeter:1\"");
    assert_int_equal(run_program(&program, "--listen", "", NULL), 2);
    assert_written("--listen: listen: expected an address");
}

static void help_and_version_do_not_start_it(void **state)
{
    (void)state;
    assert_int_equal(run_program(&program, "--help", NULL), 0);
    assert_written("Usage: greeter-service");
    assert_written("GREETER_LOG_LEVEL");
    assert_int_equal(run_program(&program, "--version", NULL), 0);
    assert_written("greeter-service 0.");
    weft_program versioned = program;
    versioned.version = "7.8.9";
    assert_int_equal(run_program(&versioned, "--version", NULL), 0);
    assert_string_equal(written, "greeter-service 7.8.9\n");
    assert_false(now.started);
}

static void everybodys_keys_and_its_own_are_printed_with_their_sources(void **state)
{
    (void)state;
    write_config("greeting: Ahoy\n");
    assert_int_equal(run_program(&program, "--config", config_path, "--set", "log.level=warn", "--print-config", NULL),
                     0);
    assert_written("greeting: \"Ahoy\"");
    assert_written("program.yaml:1");
    assert_written("log.level: \"warn\"");
    assert_written("--set");
    assert_written("server.drain:");
    assert_not_written("registry."); /* it has no directory */
    assert_false(now.started);
}

static void a_mistake_is_told_with_its_place_and_ends_it_with_2(void **state)
{
    (void)state;
    write_config("greting: Ahoy\n");
    assert_int_equal(run_program(&program, "--config", config_path, NULL), 2);
    assert_written("program.yaml:1: unknown key \"greting\"; did you mean \"greeting\"?");
    assert_int_equal(run_program(&program, "--check", "--set", "greeting", NULL), 2);
    assert_written("--set greeting: expected KEY=VALUE");
    assert_int_equal(run_program(&program, "serve", NULL), 2);
    assert_written("serve: unexpected argument");
    assert_false(now.started);
}

static void keys_of_tls_that_need_another_are_told_with_their_places(void **state)
{
    (void)state;
    write_config("tls.certificate: tls.crt\n");
    assert_int_equal(run_program(&program, "--config", config_path, "--check", NULL), 2);
    assert_written("program.yaml:1: tls.certificate: set tls.key, too\n");
    assert_int_equal(run_program(&program, "--check", "--set", "tls.key=tls.key", NULL), 2);
    assert_string_equal(written, "--set: tls.key: set tls.certificate, too\n");
    assert_int_equal(run_program(&program, "--check", "--set", "tls.client_certificates=require", NULL), 2);
    assert_string_equal(written, "--set: tls.client_certificates: set tls.certificate, too\n"
                                 "--set: tls.client_certificates: set tls.roots, too\n");
    assert_int_equal(run_program(&program, "--check", "--set", "listen_plaintext=greeter:2", NULL), 2);
    assert_string_equal(written, "--set: listen_plaintext: set tls.certificate, too\n");
    assert_false(now.started);
}

static void a_table_with_one_of_everybodys_keys_is_refused(void **state)
{
    static const weft_config_key twice[] = {{.name = "log.level", .type = WEFT_CONFIG_STRING, .fallback = ""}};
    weft_program wrong = program;
    (void)state;
    wrong.keys = twice;
    wrong.key_count = 1;
    assert_int_equal(run_program(&wrong, NULL), 1);
    assert_written("log.level");
    weft_program empty = {.struct_size = sizeof empty};
    assert_int_equal(run_program(&empty, NULL), 1);
    assert_written("cannot run");
}

static void a_target_that_is_none_is_told_with_key_and_source(void **state)
{
    (void)state;
    now.signals[0] = SIGTERM;
    assert_int_equal(run_program(&program, "--listen", "greeter:1", "--set", "users.target=nowhere://", NULL), 0);
    assert_int_equal(now.channel_rc, -EINVAL);
    assert_written("\"key\":\"users.target\",\"target\":\"nowhere://\",\"source\":\"--set\"");
}

static void a_hangup_has_it_read_the_configuration_again(void **state)
{
    (void)state;
    write_config("greeting: Ahoy\nlog.level: info\n");
    now.rewrite = "greeting: Servus\nlog.level: info\nserver.drain: 3s\n";
    now.signals[0] = SIGHUP;
    now.signals[1] = SIGTERM;
    assert_int_equal(run_program(&program, "--listen", "greeter:1", "--config", config_path, NULL), 0);
    assert_string_equal(now.greeting, "Servus");
    assert_written("\"msg\":\"configuration changed\",\"key\":\"greeting\"");
    assert_written("\"msg\":\"this key needs a restart\",\"key\":\"server.drain\"");
    assert_not_written("\"key\":\"log.level\"");
}

static void a_mistake_that_a_hangup_meets_changes_nothing(void **state)
{
    (void)state;
    write_config("greeting: Ahoy\n");
    now.rewrite = "greeting: Servus\nlog.level: loud\n";
    now.signals[0] = SIGHUP;
    now.signals[1] = SIGTERM;
    assert_int_equal(run_program(&program, "--listen", "greeter:1", "--config", config_path, NULL), 0);
    assert_string_equal(now.greeting, "");
    assert_written("program.yaml:2: log.level");
    assert_written("\"phase\":\"stopped\"");
}

static void a_new_log_level_counts_at_once(void **state)
{
    (void)state;
    write_config("log.level: info\n");
    now.rewrite = "log.level: error\n";
    now.signals[0] = SIGHUP;
    now.signals[1] = SIGTERM;
    assert_int_equal(run_program(&program, "--listen", "greeter:1", "--config", config_path, NULL), 0);
    assert_written("\"msg\":\"configuration changed\",\"key\":\"log.level\"");
    assert_not_written("\"phase\":\"stopped\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_serves_until_a_signal_and_the_service_manager_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_start_that_fails_ends_it_with_1_and_nothing_is_stopped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_start_that_finds_a_mistake_ends_it_with_2, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_address_that_cannot_be_had_ends_it_with_1_after_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(help_and_version_do_not_start_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(everybodys_keys_and_its_own_are_printed_with_their_sources, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_mistake_is_told_with_its_place_and_ends_it_with_2, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_of_tls_that_need_another_are_told_with_their_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_table_with_one_of_everybodys_keys_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_target_that_is_none_is_told_with_key_and_source, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_hangup_has_it_read_the_configuration_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_mistake_that_a_hangup_meets_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_new_log_level_counts_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_service_manager_that_cannot_be_reached_is_logged_and_no_more, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
