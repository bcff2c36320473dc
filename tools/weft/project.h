/* project.h: the project in the current folder, as `weft new` shapes it, and what is added to it. Nothing is written
 * before project_write(), which writes all or nothing. */
#ifndef WEFT_TOOL_PROJECT_H
#define WEFT_TOOL_PROJECT_H

#include "cli.h"
#include "contract.h"
#include "proto_edit.h"
#include "stub.h"

typedef struct project {
    pool *pool;
    int lock;               /* on the folder, against others that do the same */
    stamp_list read;        /* files that were read, as they were */
    path_list folders;      /* where contracts lie: "proto" */
    path_list protos;       /* "greeter.proto", as imports name them */
    path_list sources;      /* "src/greeter_service.c" */
    proto_request *request; /* what protoc makes of them, with what is to be changed */
    file_list changed;      /* files that are there, as they shall be */
    file_list added;        /* new ones */
} project;

/* A service and where it is declared. */
typedef struct project_service {
    proto_file *file;
    size_t index; /* of the service in the file */
} project_service;

/* Reads the contracts. Others that open the project wait until this one is written, or the program ends. False, here
 * and below, comes with the problem in words for the user. */
bool project_open(pool *p, project *out, const char **problem);

/* Whether a file lies below proto/. */
bool project_is_own(const project *pr, const proto_file *file);

/* Finds a service by "greeter.Greeter" or "Greeter", or the only one there is by NULL. */
bool project_find_service(project *pr, const char *name, project_service *out, const char **problem);

/* Adds to the contract; types that are named without a dot and are not there become empty messages. Then protoc reads
 * it again. */
bool project_add_method(project *pr, const project_service *to, const proto_new_method *method, const char **problem);
bool project_add_service(project *pr, const char *proto, const char *name, const proto_new_method *method,
                         const char **problem);

/* Adds handlers of the methods that have none; for a service that has no table of handlers, files of its own.
 *
 * @param only  the one method to look at; NULL: all of the service's
 * @param added grows by the names of the methods.
 */
bool project_add_handlers(project *pr, const project_service *of, const char *only, path_list *added,
                          const char **problem);

/* Lists what the contract wants changed that is not ours to change: entries of tables whose method is gone, files of
 * proto/ that CMakeLists.txt does not name. */
void project_list_leftovers(project *pr, path_list *out);

/* Writes what was changed and added, and lets others go on, also when it fails. */
bool project_write(project *pr, const char **problem);

/* Tells what was written, what is left, and what to do next, for people or, with --json, for programs. */
void project_report(const project *pr, const cli_args *args, const path_list *methods, const path_list *leftovers);

#endif
