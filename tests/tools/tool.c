#define _XOPEN_SOURCE 700 /* pseudo-terminals */
#include "tools/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "support/process.h"

enum {
    MAX_ARGUMENTS = 16,
    LONGEST_MS = 60000 /* to wait for anything: a build takes a while on a busy machine */
};

static int64_t now_ms(void)
{
    weft__clock *clock = weft__clock_system();
    return clock->now_ns(clock) / 1000000;
}

/* Both ends of what the tool writes to. */
static void open_ends(bool terminal, int ends[2])
{
    if (!terminal) {
        assert_int_equal(pipe(ends), 0);
        return;
    }
    ends[0] = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(ends[0] >= 0);
    assert_int_equal(grantpt(ends[0]), 0);
    assert_int_equal(unlockpt(ends[0]), 0);
    ends[1] = open(ptsname(ends[0]), O_RDWR | O_NOCTTY);
    assert_true(ends[1] >= 0);
}

void tool_start(struct tool *tool, const char *folder, int terminal, ...)
{
    const char *arguments[MAX_ARGUMENTS] = {"weft"};
    int ends[2];
    va_list list;
    va_start(list, terminal);
    for (size_t i = 1; i < MAX_ARGUMENTS - 1 && (arguments[i] = va_arg(list, const char *)) != NULL; i++)
        continue;
    va_end(list);
    *tool = (struct tool){.pid = 0};
    open_ends(terminal, ends);
    tool->pid = process_spawn(WEFT_TOOL, folder, ends[1], arguments);
    close(ends[1]);
    tool->output = ends[0];
}

/* Forgets the older half of what it has said. */
static void make_room(struct tool *tool)
{
    size_t half = sizeof tool->text / 2;
    if (tool->length < sizeof tool->text - 1)
        return;
    memmove(tool->text, tool->text + half, tool->length - half + 1);
    tool->length -= half;
    tool->seen = tool->seen > half ? tool->seen - half : 0;
}

/* Reads what comes next. @return false at the end. */
static bool read_more(struct tool *tool, int64_t until_ms)
{
    struct pollfd fd = {.fd = tool->output, .events = POLLIN};
    make_room(tool);
    int64_t left_ms = until_ms - now_ms();
    if (left_ms <= 0 || poll(&fd, 1, (int)left_ms) == 0)
        fail_msg("nothing more after this:\n%s", tool->text);
    ssize_t n = read(tool->output, tool->text + tool->length, sizeof tool->text - 1 - tool->length);
    if (n <= 0) /* a terminal ends with EIO */
        return false;
    tool->length += (size_t)n;
    tool->text[tool->length] = '\0';
    return true;
}

void tool_await(struct tool *tool, const char *what)
{
    int64_t until_ms = now_ms() + LONGEST_MS;
    const char *at;
    while ((at = strstr(tool->text + tool->seen, what)) == NULL)
        if (!read_more(tool, until_ms))
            fail_msg("it ended, and never said \"%s\":\n%s", what, tool->text);
    tool->seen = (size_t)(at - tool->text) + strlen(what);
}

bool tool_said(const struct tool *tool, const char *what)
{
    return strstr(tool->text, what) != NULL;
}

int tool_end(struct tool *tool)
{
    int status;
    int64_t until_ms = now_ms() + LONGEST_MS;
    while (read_more(tool, until_ms))
        continue;
    close(tool->output);
    assert_int_equal(waitpid(tool->pid, &status, 0), tool->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}
