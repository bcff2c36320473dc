/* weft/program.h: what every service's program does the same, so that its main.c holds what is its own: command line,
 * configuration, log, engine, server, health, reflection, directory, and the life of weft/app.h.
 *
 *     static int start(weft_process *process, void **state)
 *     {
 *         … opens what weft_process_config(process) names, registers handlers at weft_process_server(process) …
 *     }
 *     static void stop(void *state) { … }
 *
 *     static const weft_config_key keys[] = {
 *         {.name = "database.path", .type = WEFT_CONFIG_STRING, .fallback = "users.db", .doc = "The SQLite file"},
 *     };
 *     static const weft_program program = {
 *         .struct_size = sizeof program,
 *         .name = "user-service",
 *         .env_prefix = "USER",
 *         .keys = keys,
 *         .key_count = sizeof keys / sizeof keys[0],
 *         .engine = weft_core_program_engine,      // weft/core.h
 *         .directory = &weft_consul_directory,     // weft/consul.h
 *         .start = start,
 *         .stop = stop,
 *     };
 *     int main(int argc, char **argv)
 *     {
 *         return weft_program_main(&program, argc, argv);
 *     }
 *
 * The keys that every program has are the library's: listen, server.*, tls.*, log.*, with a directory registry.* too.
 * `user-service --print-config` shows all of them, with their values, where these come from, and what they mean.
 */
#ifndef WEFT_PROGRAM_H
#define WEFT_PROGRAM_H

#include <stddef.h>

#include <weft/channel.h>
#include <weft/config.h>
#include <weft/directory.h>
#include <weft/engine.h>
#include <weft/health.h>
#include <weft/log.h>
#include <weft/server.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

typedef struct weft_process weft_process; /* a program that runs, as its `start` sees it */

/* A program. Static; texts and keys too. */
typedef struct weft_program {
    size_t struct_size;
    const char *name;            /* required; "user-service"; also what a directory knows it as, unless registry.service
                                    says */
    const char *version;         /* optional; its own: what --version prints. Default: Weft's */
    const char *env_prefix;      /* required; of its environment variables: "USER" */
    const weft_config_key *keys; /* optional; key_count of them: its own */
    size_t key_count;
    int (*engine)(weft_engine **out, weft_log *log); /* required; makes the engine, the first thing that is made */
    const weft_directory_type *directory; /* optional; where it may register and find others. Default: none */

    /* Required; makes what the handlers need and registers them. What goes wrong it logs itself. 0, or -errno with
       nothing left behind: -EINVAL for what the configuration says, which no second start will mend. */
    int (*start)(weft_process *process, void **state);

    /* Required; frees it, once no handler runs any more and the server is gone. */
    void (*stop)(void *state);

    /* Optional; the configuration was read again, because of SIGHUP: takes on the values of its reloadable keys. Copies
       what it keeps: `config` lives until this returns. On a thread of the library's, while handlers run. */
    void (*reload)(void *state, const weft_config *config);
} weft_program;

/**
 * The life of a program from command line to exit code. Reads the configuration (defaults, then --config FILE, then the
 * environment, then --listen and --set), or does what else is asked for (--print-config, --check, --version, --help);
 * serves until SIGTERM or SIGINT, and ends as weft/app.h says.
 *
 * SIGHUP has it read the configuration again: file, environment, command line. Mistakes are logged, and change nothing;
 * otherwise log.level and the program's own reloadable keys take effect, certificates are looked at again (see
 * weft_tls_reload), and the other keys are named in the log.
 *
 * Tells systemd about its life (Type=notify), where NOTIFY_SOCKET is set. Blocks SIGPIPE, SIGHUP, SIGTERM, SIGINT. It
 * is the one function of the library that writes to standard output and standard error: what it was asked for, and
 * mistakes in command line and configuration, each with its place.
 *
 * @return the exit code: 0 after a stop, and for --help and the like; 1 it cannot run; 2 a mistake in the command line
 *         or the configuration, such as an address that is none. Thread: the first, before there are others; blocks.
 */
WEFT_API int weft_program_main(const weft_program *program, int argc, char **argv);

/* What the process has, for `start`. It all lives until after `stop`. The server has not started yet; it gets its
 * addresses after `start`. Thread: any. */
WEFT_API const weft_config *weft_process_config(const weft_process *process);
WEFT_API weft_log *weft_process_log(const weft_process *process);
WEFT_API weft_engine *weft_process_engine(const weft_process *process);
WEFT_API weft_server *weft_process_server(const weft_process *process);
WEFT_API weft_health *weft_process_health(const weft_process *process);

/**
 * Makes a channel to another service, which the configuration names: "consul:///user-service" of the program's
 * directory, "dns:///users:50051", "file:///etc/users.yaml", "static:///10.0.0.1:50051,10.0.0.2:50051" and what else
 * weft_channel_new takes.
 *
 * @param key     a STRING of the program's keys, which holds the target.
 * @param options may be NULL. Its log and resolvers do not count: they are the process's. Without a `tls` the channel
 *                speaks it if the key tls.channels says so.
 * @return 0; as weft_channel_new, and what making resolvers returns: logged, with the key and where its value comes
 *         from. Free the channel in `stop` with weft_channel_free. Thread: that of `start`.
 */
WEFT_API int weft_process_channel(weft_process *process, const char *key, const weft_channel_options *options,
                                  weft_channel **out);

WEFT_END_DECLS
#endif
