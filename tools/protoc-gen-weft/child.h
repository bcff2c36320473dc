/* child.h: runs protoc-gen-c. */
#ifndef PROTOC_GEN_WEFT_CHILD_H
#define PROTOC_GEN_WEFT_CHILD_H

#include <stddef.h>
#include <stdint.h>

#include "memory.h"

/**
 * Runs a program of PATH without arguments, feeds it `input` and collects what it prints.
 *
 * @param output  added to.
 * @param problem what went wrong, as a sentence for the user, when the result is not 0.
 * @return 0 when the program exited with 0; -EIO when it did not; or the -errno of starting or feeding it.
 */
int child_run(pool *p, const char *program, const uint8_t *input, size_t input_size, text *output,
              const char **problem);

#endif
