/* project_name.h: what a project may be called, and what its things are called then. */
#ifndef WEFT_TOOL_PROJECT_NAME_H
#define WEFT_TOOL_PROJECT_NAME_H

#include <stdbool.h>

#include "memory.h"

#define PROJECT_NAME_MAX 40 /* with "-service" it still is a label of DNS, as Kubernetes wants it */

typedef struct project_name {
    const char *given;  /* my-greeter: the folder */
    const char *c;      /* my_greeter: files, C, the proto's package */
    const char *camel;  /* MyGreeter: messages and services */
    const char *upper;  /* MY_GREETER: macros and environment variables */
    const char *dashed; /* my-greeter: the program, its unit, what Kubernetes calls it */
} project_name;

/**
 * Checks a name and derives the others from it: lower-case letters, digits, '_' and '-', which is '_' in C; it begins
 * with a letter, and a '_' or '-' stands alone between others.
 *
 * @param why what is wrong and what would be right, in words that follow the name.
 * @return false when it is no name for a project.
 */
bool project_name_parse(pool *p, const char *given, project_name *out, const char **why);

#endif
