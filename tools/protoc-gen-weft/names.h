/* names.h: from names of a proto to names in C. Those of messages are protobuf-c's own, by its rules; those of services
 * are ours. */
#ifndef PROTOC_GEN_WEFT_NAMES_H
#define PROTOC_GEN_WEFT_NAMES_H

#include <stdbool.h>

#include "proto.h"

/* protobuf-c's three forms of a full name, here of my_pkg.HTTPRule2D: a type, MyPkg__HTTPRule2D; the beginning of
 * functions and descriptors, my_pkg__httprule2_d; the beginning of macros and enumerators, MY_PKG__HTTPRULE2_D. */
char *name_type(pool *p, const char *full_name);
char *name_lower(pool *p, const char *full_name);
char *name_upper(pool *p, const char *full_name);

/* A name that is declared in `file`, below `scope` (a message, or "" for the file itself), as protobuf-c sees it: with
 * the package, which (pb_c_file).c_package replaces. */
char *name_full(pool *p, const proto_file *file, const char *scope, const char *name);

/* The same for a type that another declaration names: ".user.User". */
char *name_of_reference(pool *p, const proto_request *request, const char *type_name);

/* protobuf-c's name for a field: lower case, with an underscore when it is a keyword. */
char *name_field(pool *p, const char *field);

/* Whether protobuf-c's name for a field is a keyword or macro of C that it overlooks. */
bool name_is_bad_field(const char *field);

/* protobuf-c's name for a method. */
char *name_pb_c_method(pool *p, const char *method);

/* Whether a name cannot be that of a function pointer in a struct, in C or C++. */
bool name_is_keyword(const char *name);

/* Weft's name for a method: as in the proto, with an underscore when C, C++ or the glue has the name for itself. */
char *name_method(pool *p, const char *method);

/* Weft's beginning of all names of a service: user_UserService. */
char *name_service(pool *p, const proto_file *file, const proto_service *service);

/* Weft's beginning of the names of a file: user_proto for user.proto, google__protobuf__any_proto for
 * google/protobuf/any.proto. No two files have the same. */
char *name_file(pool *p, const char *path);

/* The path without its ".proto". */
char *name_stem(pool *p, const char *path);

#endif
