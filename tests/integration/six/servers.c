#include "integration/six/servers.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "six.weft.h"

extern char **environ;

static void read_line(int fd, char *line, size_t size)
{
    size_t len = 0;
    while (len + 1 < size) {
        ssize_t n = read(fd, line + len, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            fail_msg("a server says nothing of its address");
        if (line[len] == '\n')
            break;
        len++;
    }
    line[len] = '\0';
}

/* With its output in a pipe. @return the reading end. */
static int spawn(struct server *server, const char *address)
{
    char number[16];
    char where[64];
    char program[] = SIX_SERVER;
    char *arguments[] = {program, number, where, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2];
    (void)snprintf(number, sizeof number, "%d", server->number);
    (void)snprintf(where, sizeof where, "%s", address);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO), 0);
    assert_int_equal(posix_spawn_file_actions_addclose(&actions, ends[0]), 0);
    assert_int_equal(posix_spawn_file_actions_addclose(&actions, ends[1]), 0);
    assert_int_equal(posix_spawn(&server->pid, program, &actions, NULL, arguments, environ), 0);
    assert_int_equal(posix_spawn_file_actions_destroy(&actions), 0);
    close(ends[1]);
    return ends[0];
}

void server_start(struct server *server, weft_engine *engine)
{
    char fresh[32];
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.min_backoff_ms = 20;
    options.max_backoff_ms = 100;
    (void)snprintf(fresh, sizeof fresh, "127.0.6.%d:0", server->number + 1);
    int output = spawn(server, server->address[0] != '\0' ? server->address : fresh);
    read_line(output, server->address, sizeof server->address);
    close(output);
    (void)snprintf(server->target, sizeof server->target, "ipv4:%s", server->address);
    if (server->control == NULL)
        assert_int_equal(weft_channel_new(&server->control, engine, server->target, &options), 0);
}

void server_signal(const struct server *server, int signal)
{
    assert_true(server->pid > 0);
    assert_int_equal(kill(server->pid, signal), 0);
}

int server_await_end(struct server *server)
{
    int status;
    while (waitpid(server->pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    server->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void server_kill(struct server *server)
{
    if (server->pid == 0)
        return;
    server_signal(server, SIGKILL);
    (void)server_await_end(server);
}

int64_t server_behave(struct server *server, double takes_ms, weft_code code)
{
    Six__Manner manner = SIX__MANNER__INIT;
    Six__Count *count = NULL;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    weft_arena *arena = NULL;
    options.wait_for_ready = true;
    options.timeout_ms = 20000;
    manner.takes_us = (int64_t)(takes_ms * 1000);
    manner.code = (int32_t)code;
    assert_int_equal(weft_arena_new(&arena, 0), 0);
    weft_status status = six_Six_Behave(server->control, arena, &options, &manner, &count);
    if (status.code != WEFT_OK)
        fail_msg("server %d is not told: %s: %s", server->number, weft_code_name(status.code), status.message);
    int64_t calls = count->calls;
    weft_arena_free(arena);
    return calls;
}

void server_free(struct server *server)
{
    server_kill(server);
    weft_channel_free(server->control);
    server->control = NULL;
}
