/* contract.h: .proto files, as protoc understands them. */
#ifndef WEFT_TOOL_CONTRACT_H
#define WEFT_TOOL_CONTRACT_H

#include "files.h"
#include "proto.h"

/**
 * Has protoc read files, and checks that protoc-gen-weft could make C of them.
 *
 * @param folders where imports are looked up, and from where the files' names count; Weft's own protos come last.
 * @param names   "greeter.proto", as an import would name them.
 * @param out     those files and all that they import, with source info.
 * @return false with the problem, which may be many lines, in words for the user.
 */
bool contract_read(pool *p, const path_list *folders, const path_list *names, proto_request **out,
                   const char **problem);

/* Has protoc and protoc-gen-weft write C into a folder, which exists. */
bool contract_generate(pool *p, const path_list *folders, const path_list *names, const char *out,
                       const char **problem);

/* What protoc says, and behind it how an import could be found, if there is one that it does not find. */
const char *contract_import_hint(pool *p, const char *problem, const char *how);

/* The name of a .proto as imports give it: below one of the folders, or below its own, which joins them then. False,
 * with the problem, if there is no such file, or protoc would find another one by that name. */
bool contract_name(pool *p, path_list *folders, const char *path, const char **out, const char **problem);

/* "greeter.Greeter". */
const char *contract_service_name(pool *p, const proto_file *file, const proto_service *service);

/* A type as C has it: "Greeter__HelloRequest", its initializer, "GREETER__HELLO_REQUEST__INIT", and its descriptor,
 * "greeter__hello_request__descriptor". */
const char *contract_type(pool *p, const proto_request *request, const char *type_name);
const char *contract_type_init(pool *p, const proto_request *request, const char *type_name);
const char *contract_type_descriptor(pool *p, const proto_request *request, const char *type_name);

/* The byte behind the element that a location of protoc's stands for; SIZE_MAX if the text has no such place. protoc
 * counts lines and columns from 0, and a tab to the next multiple of 8. */
size_t contract_end_of(const char *data, size_t size, const proto_location *location);

#endif
