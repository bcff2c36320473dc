/* process.h: programs that the tool runs. None of them outlives it. */
#ifndef WEFT_TOOL_PROCESS_H
#define WEFT_TOOL_PROCESS_H

#include <sys/types.h>

typedef struct process_spec {
    const char *folder; /* where it runs; NULL: here */
    char *const *argv;  /* the program is argv[0]: a path from `folder`, or a name to look for in PATH */
    const char *variable;
    const char *value; /* set in its environment, unless `variable` has one or is NULL */
    int output;        /* what it writes goes there, standard error too */
} process_spec;

/* Makes the signals that end the tool, and that of children, come by a descriptor: SIGINT, SIGTERM, SIGHUP, SIGCHLD.
 * @return the descriptor; -errno. */
int process_signals(void);

/* The signals that have come since, one at a time: its number, or 0 when there is none. Does not block. */
int process_next_signal(int signals);

/* Starts a program in a process group of its own, so that a terminal's Ctrl-C does not reach it, with an empty standard
 * input. One that cannot be run says so in its output, and ends with code 2. @return 0; -errno. */
int process_start(pid_t *out, const process_spec *spec);

#endif
