/* app/process.h: a program that has read its configuration, and runs. */
#ifndef WEFT_APP_PROCESS_H
#define WEFT_APP_PROCESS_H

#include <weft/config.h>
#include <weft/program.h>

/* The keys that every program has, and those of programs with a directory beside the directory's own. */
extern const weft_config_key weft__program_keys[];
extern const size_t weft__program_key_count;
extern const weft_config_key weft__registry_keys[];
extern const size_t weft__registry_key_count;

/* Prints the mistakes that the table of keys cannot see, each with its place. 0; -EINVAL; or another -errno. */
int weft__process_check(const weft_program *program, const weft_config *config);

/**
 * Serves until it is asked to stop.
 *
 * @param reread makes the configuration anew from where it came, for SIGHUP; NULL when it has mistakes, which it has
 *        logged.
 * @return 0; -errno, which is logged.
 */
int weft__process_run(const weft_program *program, const weft_config *config,
                      weft_config *(*reread)(void *arg, weft_log *log), void *arg);

#endif
