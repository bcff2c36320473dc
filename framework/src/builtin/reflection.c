/* reflection.c: grpc.reflection.v1.ServerReflection, and the same as v1alpha.
 *
 *     go_on:  may send? ──no──▶ called again when it may
 *               │ yes
 *             receive ──nothing there──▶ called again when there is
 *               │ a request        └──── no more, broken ──▶ finish
 *             answer, go on
 *
 * Design notes
 * - A stream takes no thread: handlers run inline, defer, and are carried on by the stream's callbacks, one at a time.
 * - It is received only when the answer can be sent: no answer is ever kept, and a client that reads nothing is not
 *   read.
 * - The index is made when the server starts, when all services are there, and only read after that: no lock.
 * - An answer is built on the stack, and of what the index and the request hold, so that a stream needs no more memory
 *   the longer it lasts.
 * - v1alpha is v1 under another name, messages and all: it is served by the messages of v1.
 * - Weft's plugin takes no file that extends messages: there are no extensions to tell of.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weft/reflection.h>

#include "base/utf8.h"
#include "builtin/symbols.h"
#include "grpc/reflection/v1/reflection.weft.h"
#include "grpc/reflection/v1alpha/reflection.weft.h"
#include "server/server.h"

/* A request is a name. */
#define MAX_REQUEST_BYTES (16 << 10)

/* Streams of one version at a time. */
#define MAX_STREAMS 100

/* Of an error's text; the rest is cut. */
#define MAX_ERROR_BYTES 512

typedef Grpc__Reflection__V1__ServerReflectionRequest request_message;
typedef Grpc__Reflection__V1__ServerReflectionResponse response_message;
typedef Grpc__Reflection__V1__ServiceResponse service_message;
typedef grpc_reflection_v1_ServerReflection_ServerReflectionInfo_server info_stream;

struct reflection {
    weft__server_observer observer;
    weft__symbols symbols;
    service_message **services; /* service_count of them, by name; in the arena of `symbols` */
    size_t service_count;
};

/* One stream, in the arena of its call. */
struct session {
    const struct reflection *reflection;
    weft_call *call;
    info_stream *stream;
    bool *sent;                 /* by index of the file */
    ProtobufCBinaryData *files; /* of the answer in the making: room for all */
};

/* An answer in the making. */
struct answer {
    response_message message;
    Grpc__Reflection__V1__FileDescriptorResponse files;
    Grpc__Reflection__V1__ExtensionNumberResponse extensions;
    Grpc__Reflection__V1__ListServiceResponse services;
    Grpc__Reflection__V1__ErrorResponse error;
    char text[MAX_ERROR_BYTES + 4]; /* and a sequence to be cut */
};

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void answer_error(struct answer *answer, const char *what, const char *name)
{
    int len = snprintf(answer->text, sizeof answer->text, "%s: %s", what, name);
    if (len >= (int)sizeof answer->text)
        answer->text[weft__utf8_cut(answer->text, sizeof answer->text - 1, MAX_ERROR_BYTES)] = '\0';
    grpc__reflection__v1__error_response__init(&answer->error);
    answer->error.error_code = WEFT_NOT_FOUND;
    answer->error.error_message = answer->text;
    answer->message.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    answer->message.error_response = &answer->error;
}

/* The file itself, and what it needs of those that the stream has not carried yet. */
static void answer_file(struct answer *answer, struct session *session, const weft__known_file *known)
{
    grpc__reflection__v1__file_descriptor_response__init(&answer->files);
    answer->files.file_descriptor_proto = session->files;
    for (size_t i = 0; i < known->need_count; i++) {
        const weft__known_file *need = known->needs[i];
        if (session->sent[need->index] && need != known)
            continue;
        session->sent[need->index] = true;
        session->files[answer->files.n_file_descriptor_proto++] =
            (ProtobufCBinaryData){need->file->descriptor_size, (uint8_t *)(uintptr_t)need->file->descriptor};
    }
    answer->message.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    answer->message.file_descriptor_response = &answer->files;
}

static void answer_by_name(struct answer *answer, struct session *session, const char *name)
{
    const weft__known_file *known = weft__symbols_file(&session->reflection->symbols, name);
    if (known != NULL)
        answer_file(answer, session, known);
    else
        answer_error(answer, "no such file", name);
}

static void answer_by_symbol(struct answer *answer, struct session *session, const char *name)
{
    const weft__symbol *symbol = weft__symbols_find(&session->reflection->symbols, name);
    if (symbol != NULL)
        answer_file(answer, session, symbol->file);
    else
        answer_error(answer, "no such symbol", name);
}

static void answer_extensions(struct answer *answer, const struct session *session, char *name)
{
    const weft__symbol *symbol = weft__symbols_find(&session->reflection->symbols, name);
    if (symbol == NULL || !symbol->message) {
        answer_error(answer, "no such message", name);
        return;
    }
    grpc__reflection__v1__extension_number_response__init(&answer->extensions);
    answer->extensions.base_type_name = name;
    answer->message.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    answer->message.all_extension_numbers_response = &answer->extensions;
}

static void answer_list(struct answer *answer, const struct reflection *reflection)
{
    grpc__reflection__v1__list_service_response__init(&answer->services);
    answer->services.service = reflection->services;
    answer->services.n_service = reflection->service_count;
    answer->message.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    answer->message.list_services_response = &answer->services;
}

/* 0; -EINVAL: the request asks for nothing that is known. */
static int make_answer(struct answer *answer, struct session *session, request_message *request)
{
    grpc__reflection__v1__server_reflection_response__init(&answer->message);
    answer->message.valid_host = request->host;
    answer->message.original_request = request;
    switch (request->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        answer_by_name(answer, session, request->file_by_filename);
        return 0;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        answer_by_symbol(answer, session, request->file_containing_symbol);
        return 0;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
        answer_error(answer, "no such extension of", request->file_containing_extension->containing_type);
        return 0;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        answer_extensions(answer, session, request->all_extension_numbers_of_type);
        return 0;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        answer_list(answer, session->reflection);
        return 0;
    default:
        return -EINVAL;
    }
}

/* ---- a stream ---------------------------------------------------------------------------------------------------- */

static void go_on(void *arg);

/* Receives a request and answers it, when it can be done without waiting. 1: it was; 0: go_on will come; -ENODATA:
 * there are no more requests; -errno. */
static int serve_one(struct session *session)
{
    weft_stream *stream = WEFT_STREAM(session->stream);
    request_message *request;
    int rc = weft_stream_when_writable(stream, go_on, session);
    if (rc != 1)
        return rc;
    rc = grpc_reflection_v1_ServerReflection_ServerReflectionInfo_server_recv(session->stream, &request);
    if (rc == -EAGAIN)
        return weft_stream_when_readable(stream, go_on, session);
    if (rc <= 0)
        return rc < 0 ? rc : -ENODATA;
    struct answer answer;
    rc = make_answer(&answer, session, request);
    if (rc == 0)
        rc = grpc_reflection_v1_ServerReflection_ServerReflectionInfo_server_send(session->stream, &answer.message);
    return rc < 0 ? rc : 1;
}

static weft_code code_of(int rc)
{
    switch (rc) {
    case -ENODATA:
        return WEFT_OK;
    case -EINVAL:
        return WEFT_INVALID_ARGUMENT;
    case -ENOMEM:
        return WEFT_RESOURCE_EXHAUSTED;
    default:
        return WEFT_CANCELLED;
    }
}

static void go_on(void *arg)
{
    struct session *session = arg;
    int rc;
    do
        rc = serve_one(session);
    while (rc > 0);
    if (rc < 0) /* else somebody else may be going on already */
        weft_call_finish(session->call, code_of(rc), NULL);
}

static weft_code info(weft_call *call, info_stream *stream, void *self)
{
    const struct reflection *reflection = self;
    weft_arena *arena = weft_call_arena(call);
    size_t file_count = reflection->symbols.file_count;
    struct session *session = weft_arena_zalloc(arena, sizeof *session);
    if (session == NULL)
        return weft_fail_errno(call, -ENOMEM);
    session->reflection = reflection;
    session->call = call;
    session->stream = stream;
    session->sent = weft_arena_calloc(arena, file_count, sizeof *session->sent);
    session->files = weft_arena_calloc(arena, file_count, sizeof *session->files);
    if (weft_arena_failed(arena))
        return weft_fail_errno(call, -ENOMEM);
    (void)weft_call_defer(call);
    go_on(session);
    return WEFT_OK;
}

static const grpc_reflection_v1_ServerReflection_ops ops = {.ServerReflectionInfo = info};

/* ---- v1alpha ----------------------------------------------------------------------------------------------------- */

static weft_code serve_v1alpha(weft_call *call, const ProtobufCMessage *request, ProtobufCMessage *response,
                               const void *table, void *self)
{
    return grpc_reflection_v1_ServerReflection_ServerReflectionInfo_method.handler(call, request, response, table,
                                                                                   self);
}

static const weft_method v1alpha_info = {
    .struct_size = sizeof(weft_method),
    .path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    .name = "ServerReflectionInfo",
    .kind = WEFT_BIDI_STREAM,
    .request = &grpc__reflection__v1__server_reflection_request__descriptor,
    .response = &grpc__reflection__v1__server_reflection_response__descriptor,
    .ops_offset = offsetof(grpc_reflection_v1_ServerReflection_ops, ServerReflectionInfo),
    .handler = serve_v1alpha,
};

static const weft_method *const v1alpha_methods[] = {&v1alpha_info};

static const weft_service v1alpha = {
    .struct_size = sizeof(weft_service),
    .name = "grpc.reflection.v1alpha.ServerReflection",
    .methods = v1alpha_methods,
    .method_count = 1,
    .file = &grpc__reflection__v1alpha__reflection_proto_file,
};

/* ---- the life of the server -------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const service_message *const *left = a;
    const service_message *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static int list_services(struct reflection *reflection, const weft_server *server)
{
    weft_arena *arena = reflection->symbols.arena;
    reflection->services = weft_arena_calloc(arena, server->service_count, sizeof(service_message *));
    service_message *messages = weft_arena_calloc(arena, server->service_count, sizeof *messages);
    if (messages == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < server->service_count; i++) {
        grpc__reflection__v1__service_response__init(&messages[i]);
        messages[i].name = (char *)(uintptr_t)server->services[i].name;
        reflection->services[i] = &messages[i];
    }
    reflection->service_count = server->service_count;
    qsort(reflection->services, reflection->service_count, sizeof(service_message *), by_name);
    return 0;
}

static int on_start(weft__server_observer *observer, const weft_server *server)
{
    struct reflection *reflection = WEFT__CONTAINER_OF(observer, struct reflection, observer);
    weft__symbols_fini(&reflection->symbols); /* of a start that failed */
    int rc = weft__symbols_init(&reflection->symbols);
    for (size_t i = 0; rc == 0 && i < server->service_count; i++)
        if (server->services[i].file != NULL)
            rc = weft__symbols_add(&reflection->symbols, server->services[i].file);
    if (rc == 0)
        rc = weft__symbols_link(&reflection->symbols);
    if (rc == 0)
        rc = list_services(reflection, server);
    return rc;
}

static void on_destroy(weft__server_observer *observer)
{
    struct reflection *reflection = WEFT__CONTAINER_OF(observer, struct reflection, observer);
    weft__symbols_fini(&reflection->symbols);
    free(reflection);
}

int weft_reflection_register(weft_server *server)
{
    int64_t max_bytes = server->options.max_message_bytes;
    weft_method_options method = WEFT_METHOD_OPTIONS_INIT;
    weft_service_options options = WEFT_SERVICE_OPTIONS_INIT;
    method.method = "ServerReflectionInfo";
    method.run_inline = true;
    method.max_message_bytes = max_bytes < MAX_REQUEST_BYTES ? max_bytes : MAX_REQUEST_BYTES;
    method.max_concurrent_calls = MAX_STREAMS;
    options.methods = &method;
    options.method_count = 1;
    struct reflection *reflection = calloc(1, sizeof *reflection);
    if (reflection == NULL)
        return -ENOMEM;
    reflection->observer.start = on_start;
    reflection->observer.destroy = on_destroy;
    size_t methods_before = server->method_count;
    size_t services_before = server->service_count;
    int rc = grpc_reflection_v1_ServerReflection_register(server, &ops, reflection, &options);
    if (rc == 0)
        rc = weft_server_add(server, &v1alpha, &ops, reflection, &options);
    if (rc < 0) {
        weft__server_remove_methods(server, methods_before);
        server->service_count = services_before;
        free(reflection);
        return rc;
    }
    (void)weft__server_observe(server, &reflection->observer);
    return 0;
}
