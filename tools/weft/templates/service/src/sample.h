/* sample.h: what a valid name and a greeting are, whatever the wire and the store look like. */
#ifndef SAMPLE_SAMPLE_H
#define SAMPLE_SAMPLE_H

#include <weft/arena.h>

#define SAMPLE_NAME_MAX_CHARACTERS 100

/**
 * A name without the white space around it.
 *
 * @return 0; -EINVAL, and *why says why, in words that follow "name "; -ENOMEM.
 */
int sample_check_name(const char *name, weft_arena *arena, const char **out, const char **why);

/* "Hello, Ada!", or NULL when the arena is full. */
char *sample_greet(const char *greeting, const char *name, weft_arena *arena);

#endif
