/* proto.h: reading the descriptors that protoc sends. */
#ifndef PROTOC_GEN_WEFT_PROTO_H
#define PROTOC_GEN_WEFT_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "google/protobuf/compiler/plugin.pb-c.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "memory.h"

typedef Google__Protobuf__Compiler__CodeGeneratorRequest proto_request;
typedef Google__Protobuf__FileDescriptorProto proto_file;
typedef Google__Protobuf__DescriptorProto proto_message;
typedef Google__Protobuf__FieldDescriptorProto proto_field;
typedef Google__Protobuf__OneofDescriptorProto proto_oneof;
typedef Google__Protobuf__EnumDescriptorProto proto_enum;
typedef Google__Protobuf__ServiceDescriptorProto proto_service;
typedef Google__Protobuf__MethodDescriptorProto proto_method;
typedef Google__Protobuf__SourceCodeInfo__Location proto_location;

/* Field numbers of descriptor.proto, by which SourceCodeInfo says where an element stands. */
enum {
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    FILE_EXTENSION = 7,
    FILE_PACKAGE = 2,
    FILE_SYNTAX = 12,
    MESSAGE_FIELD = 2,
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
    MESSAGE_EXTENSION = 6,
    MESSAGE_ONEOF = 8,
    ENUM_VALUE = 2,
    SERVICE_METHOD = 2,
};

/* An element of a file: its field number and index in its parent; the file itself has no parent. */
typedef struct proto_place {
    const struct proto_place *parent;
    const proto_file *file;
    int32_t field;
    int32_t index; /* -1: the field is not repeated */
} proto_place;

const proto_place *proto_place_of(pool *p, const proto_file *file);
const proto_place *proto_place_in(pool *p, const proto_place *parent, int32_t field, size_t index);
const proto_place *proto_place_at(pool *p, const proto_place *parent, int32_t field); /* not repeated */

/* Where the element stands in the source; NULL when the request does not say. */
const proto_location *proto_locate(const proto_place *place);

/* A serialized request, in which every name and type that the generator reads is there; NULL when it is not so. */
proto_request *proto_parse(pool *p, const uint8_t *bytes, size_t size);

/* A file of the request by its name, or NULL. */
const proto_file *proto_find_file(const proto_request *request, const char *name);

/* The file that declares a message type, whose name begins with a dot; NULL when there is none. */
const proto_file *proto_find_type(const proto_request *request, const char *type_name);

/* "user" for `package user`, "" for none. */
const char *proto_package(const proto_file *file);

/* protobuf-c's own options are declared there. protobuf-c generates nothing for it and no #include of it. */
#define PROTO_PB_C_OPTIONS "protobuf-c/protobuf-c.proto"

/* A copy of a file's descriptor as others are to see it: without source info and without the import of protobuf-c's
 * options. */
proto_file *proto_published(pool *p, const proto_file *file);

/* The options of protobuf-c/protobuf-c.proto: `(pb_c_file).c_package` and `(pb_c_msg).base_field_name`, or NULL. */
const char *proto_c_package(pool *p, const proto_file *file);
const char *proto_base_field_name(pool *p, const proto_message *message);

/* Sets `(pb_c_msg).base_field_name`. */
void proto_set_base_field_name(pool *p, proto_message *message, const char *name);

#endif
