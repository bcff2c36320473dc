/* service.h: a service as its operator sees it, a process with a command line, signals, exit codes and a log; and a
 * client of it. */
#ifndef WEFT_TESTS_SERVICE_H
#define WEFT_TESTS_SERVICE_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft/core.h>
#include <weft/weft.h>

#include "support/process.h"

#define SERVICE_MAX_ARGUMENTS 16

struct process {
    pid_t pid;
    int output; /* what it writes, standard error included */
    char text[16384];
    size_t len;
};

/* Starts a program with arguments up to NULL. */
static inline void start_program(struct process *process, const char *program, ...)
{
    const char *arguments[SERVICE_MAX_ARGUMENTS] = {program};
    int ends[2];
    va_list list;
    va_start(list, program);
    for (size_t i = 1; i < SERVICE_MAX_ARGUMENTS - 1 && (arguments[i] = va_arg(list, const char *)) != NULL; i++)
        continue;
    va_end(list);
    process->len = 0;
    process->text[0] = '\0';
    assert_int_equal(pipe(ends), 0);
    process->pid = process_spawn(program, NULL, ends[1], arguments);
    close(ends[1]);
    process->output = ends[0];
}

/* Reads what comes next. @return false at the end. */
static inline bool read_more(struct process *process)
{
    ssize_t n = read(process->output, process->text + process->len, sizeof process->text - 1 - process->len);
    if (n <= 0)
        return false;
    process->len += (size_t)n;
    process->text[process->len] = '\0';
    return true;
}

/* Waits for the end. @return the exit code, or -1 for a death by signal. */
static inline int wait_for_end(struct process *process)
{
    while (read_more(process))
        continue;
    close(process->output);
    return process_wait(process->pid);
}

/* The address in the `index`-th "listening" line of the log, which is JSON. Waits for it. */
static inline void read_address(struct process *process, int index, char *address, size_t size)
{
    static const char key[] = "\"msg\":\"listening\",\"address\":\"";
    for (;;) {
        const char *at = strstr(process->text, key);
        for (int i = 0; i < index && at != NULL; i++)
            at = strstr(at + 1, key);
        if (at != NULL && strchr(at, '\n') != NULL) {
            at += sizeof key - 1;
            snprintf(address, size, "%.*s", (int)strcspn(at, "\""), at);
            return;
        }
        if (!read_more(process))
            fail_msg("no address in: %s", process->text);
    }
}

static inline void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* One client: an engine, a channel, an arena. */
struct client {
    weft_engine *engine;
    weft_channel *channel;
    weft_arena *arena;
};

static inline void client_open(struct client *client, const char *address)
{
    weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
    options.threads = 1;
    assert_int_equal(weft_core_engine_new(&client->engine, &options), 0);
    assert_int_equal(weft_channel_new(&client->channel, client->engine, address, NULL), 0);
    assert_int_equal(weft_arena_new(&client->arena, 0), 0);
}

static inline void client_close(struct client *client)
{
    weft_channel_free(client->channel);
    assert_int_equal(weft_engine_free(client->engine), 0);
    weft_arena_free(client->arena);
}

static inline void assert_code(weft_status status, weft_code code)
{
    if (status.code != code)
        fail_msg("%s: %s", weft_code_name(status.code), status.message);
}

#endif
