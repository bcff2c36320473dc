/* process.h: a program that a test starts, and stops by its own pid. It never outlives the test. */
#ifndef WEFT_TESTS_PROCESS_H
#define WEFT_TESTS_PROCESS_H

#include <sys/types.h>

/* Free ports of the loopback interface, `count` different ones, 16 at most. */
void process_choose_ports(int *ports, int count);

/**
 * Starts a program.
 *
 * @param folder where it runs; NULL: here.
 * @param output gets what it writes, standard error included. Of the other descriptors it has standard input alone.
 * @param args   those of main, argv[0] first, with NULL at the end.
 * @return its pid; fails the test otherwise.
 */
pid_t process_spawn(const char *program, const char *folder, int output, const char *const *args);

/* The same, here, with a file that gets what it writes, after what is there. */
pid_t process_start(const char *program, const char *log, const char *const *args);

/* Waits for its end. @return the exit code, or -1 for a death by signal. */
int process_wait(pid_t pid);

#endif
