/* proto_edit.h: adding to a .proto file, and leaving the rest of it as it is, to the byte. */
#ifndef WEFT_TOOL_PROTO_EDIT_H
#define WEFT_TOOL_PROTO_EDIT_H

#include "proto.h"

/* A method to add; the types as the file would name them. */
typedef struct proto_new_method {
    const char *name;
    const char *request;
    const char *response;
    bool stream_request;
    bool stream_response;
} proto_new_method;

/* Adds a method at the end of a service. `file` is what protoc makes of `content`.
 * @return false when the text is not as protoc said. */
bool proto_add_method(text *out, const text *content, const proto_file *file, size_t service,
                      const proto_new_method *method);

/* Adds an empty message, or a service with one method, at the end of a file. */
void proto_add_message(text *content, const char *name);
void proto_add_service(text *content, const char *name, const proto_new_method *method);

/* Whether a name is one that a method, message or service of a proto may have. */
bool proto_is_identifier(const char *name);

#endif
