/* stub.h: the C that is written for services and methods which nobody has written yet. */
#ifndef WEFT_TOOL_STUB_H
#define WEFT_TOOL_STUB_H

#include <stdbool.h>

#include "proto.h"

/* A service of a contract. */
typedef struct stub_service {
    const proto_request *request;
    const proto_file *file;
    const proto_service *service;
    const char *stem; /* of its files and functions: greeter_service */
} stub_service;

/* The name of a method's handler: get_user, or handle_get where a word alone might be C's or libc's; another one if
 * `used` has that already. */
const char *stub_function(pool *p, const char *method, const char *used, size_t used_size);

/* The stem of a new service's files: "admin_service" for Admin and for AdminService; _2, _3 … follow while it is
 * taken. */
typedef bool stub_stem_taken(const void *arg, const char *stem);
const char *stub_stem(pool *p, const char *service, stub_stem_taken *taken, const void *arg);

/* Adds the handler of a method, with an empty line behind it. */
void stub_add_handler(text *out, const stub_service *s, const proto_method *method, const char *function);

/* Whole files: src/STEM.h and .c, which serve the service by STEM_register(), and tests/STEM_test.c. */
text stub_header(pool *p, const stub_service *s);
text stub_source(pool *p, const stub_service *s);
text stub_test(pool *p, const stub_service *s);

#endif
