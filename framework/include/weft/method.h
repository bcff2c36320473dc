/* weft/method.h: what generated code tells the runtime about services and methods. Written by protoc-gen-weft; users
 * read these tables, and never fill them by hand. Tables hold pointers, so that structs may grow at their end
 * (struct_size). */
#ifndef WEFT_METHOD_H
#define WEFT_METHOD_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/status.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

typedef struct weft_call weft_call;
typedef struct weft_method weft_method;
typedef struct weft_service weft_service;
typedef struct weft_file weft_file;
typedef struct weft_interceptor weft_interceptor;
typedef struct weft_interception weft_interception;
typedef struct weft_observer weft_observer;

typedef enum weft_method_kind {
    WEFT_UNARY = 0,
    WEFT_CLIENT_STREAM = 1,
    WEFT_SERVER_STREAM = 2,
    WEFT_BIDI_STREAM = 3
} weft_method_kind;

/**
 * Calls the user's handler with its own types: generated, one a method. `request` is NULL where the client streams,
 * `response` where the server does; the stream is weft_call_stream(call). `ops` is the user's table, of the service's
 * generated type; `self` is what the user registered with it.
 */
typedef weft_code (*weft_handler_fn)(weft_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                                     const void *ops, void *self);

/* One method. */
struct weft_method {
    size_t struct_size;
    const char *path; /* "/user.UserService/GetUser" */
    const char *name; /* "GetUser" */
    weft_method_kind kind;
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
    size_t ops_offset; /* where the handler's pointer lies in the ops table; NULL there: UNIMPLEMENTED */
    weft_handler_fn handler;
};

/* One service and its methods, in the order of the proto. */
struct weft_service {
    size_t struct_size;
    const char *name;                  /* "user.UserService" */
    const weft_method *const *methods; /* method_count of them */
    size_t method_count;
    const weft_file *file; /* where it is declared */
};

/* One .proto file: its serialized FileDescriptorProto without source info, for reflection. */
struct weft_file {
    size_t struct_size;
    const char *name;          /* "user.proto" */
    const uint8_t *descriptor; /* descriptor_size bytes */
    size_t descriptor_size;
    const weft_file *const *imports; /* import_count of them */
    size_t import_count;
};

WEFT_END_DECLS
#endif
