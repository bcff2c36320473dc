/* tools/tool.h: the command line tool as a test starts it and reads what it says. Whatever fails, fails the test. */
#ifndef WEFT_TEST_TOOLS_TOOL_H
#define WEFT_TEST_TOOLS_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tool {
    pid_t pid;
    int output;       /* standard output and error */
    char text[65536]; /* of what it has said, the latest, NUL-terminated; no NUL within */
    size_t length;
    size_t seen; /* tool_await looks after this */
};

/* Starts `weft` with these arguments, up to NULL, in `folder` (NULL: here). `terminal`: its output is one. */
void tool_start(struct tool *tool, const char *folder, int terminal, ...) __attribute__((sentinel));

/* Reads until it says this, later than what was awaited before. */
void tool_await(struct tool *tool, const char *what);

/* Whether it has said this, ever, in what `text` holds. */
bool tool_said(const struct tool *tool, const char *what);

/* Waits for its end. @return the exit code; minus the signal that killed it. */
int tool_end(struct tool *tool);

#endif
