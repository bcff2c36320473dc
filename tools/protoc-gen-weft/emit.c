#include "emit.h"

#include <string.h>

#include "check.h"
#include "names.h"

/* The shape of generated code, which weft/version.h compares with what it serves. */
#define GENERATED_SHAPE "1"

enum {
    COLUMNS = 120
};

typedef struct emitter {
    pool *pool;
    const proto_request *request;
    const proto_file *file;
    text out;
} emitter;

/* All that the templates say about a method. */
typedef struct method_names {
    const char *kind;
    const char *method; /* user_UserService_GetUser */
    text_variable variables[16];
} method_names;

static bool is_streaming(const proto_method *method)
{
    return method->client_streaming || method->server_streaming;
}

static method_names names_of(const emitter *e, const proto_service *service, const proto_method *method)
{
    static const char *const kinds[2][2] = {{"WEFT_UNARY", "WEFT_SERVER_STREAM"},
                                            {"WEFT_CLIENT_STREAM", "WEFT_BIDI_STREAM"}};
    pool *p = e->pool;
    const char *prefix = name_service(p, e->file, service);
    const char *member = name_method(p, method->name);
    const char *package = proto_package(e->file);
    const char *request = name_of_reference(p, e->request, method->input_type);
    const char *response = name_of_reference(p, e->request, method->output_type);
    method_names names = {.kind = kinds[method->client_streaming][method->server_streaming],
                          .method = pool_printf(p, "%s_%s", prefix, member)};
    const text_variable variables[] = {
        {"service", prefix},
        {"method", names.method},
        {"member", member},
        {"name", method->name},
        {"path", pool_printf(p, "/%s%s%s/%s", package, package[0] != '\0' ? "." : "", service->name, method->name)},
        {"kind", names.kind},
        {"Request", name_type(p, request)},
        {"request", name_lower(p, request)},
        {"Response", name_type(p, response)},
        {"response", name_lower(p, response)},
        {NULL, NULL},
    };
    memcpy(names.variables, variables, sizeof variables);
    return names;
}

static const char *expanded(const emitter *e, const method_names *names, const char *template_)
{
    text t = text_new(e->pool);
    text_expand(&t, names->variables, template_);
    return t.data;
}

/* The length of the longest of the arguments, which commas separate. */
static size_t longest_argument(const char *arguments)
{
    size_t longest = 0;
    for (const char *rest = arguments; *rest != '\0'; rest += strspn(rest, ", ")) {
        size_t length = strcspn(rest, ",");
        longest = length > longest ? length : longest;
        rest += length;
    }
    return longest;
}

/* Adds `head(arguments` and `tail`, which begins with the closing bracket. Arguments are aligned behind the bracket and
 * broken into lines; where that leaves too little room, they begin on a line of their own. */
static void add_signature(emitter *e, const char *head, const char *arguments, const char *tail)
{
    size_t indent = strlen(head) + 1;
    size_t column = indent;
    text_printf(&e->out, "%s(", head);
    if (indent + longest_argument(arguments) + strlen(");") > COLUMNS) {
        indent = column = strspn(head, " ") + 4;
        text_printf(&e->out, "\n%*s", (int)indent, "");
    }
    for (const char *rest = arguments; *rest != '\0';) {
        size_t length = strcspn(rest, ",");
        size_t end = rest[length] == ',' ? 1 : strcspn(tail, "\n");
        if (rest != arguments && column + 1 + length + end > COLUMNS) {
            text_printf(&e->out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (rest != arguments) {
            text_add(&e->out, " ");
            column++;
        }
        text_add_bytes(&e->out, rest, length);
        column += length;
        rest += length;
        if (*rest == ',') {
            text_add(&e->out, ",");
            column++;
            rest += strspn(rest, ", ");
        }
    }
    text_add(&e->out, tail);
}

/* Adds one line of a comment so that it stays inside the comment, and is no surprise to compilers and readers: without
 * comment marks, the trigraph of a backslash, control characters and marks that turn the direction of writing. */
static void add_comment_line(text *out, const char *line, size_t length)
{
    while (length > 0 && (line[length - 1] == ' ' || line[length - 1] == '\t' || line[length - 1] == '\r'))
        length--;
    for (size_t i = 0; i < length; i++) {
        const unsigned char *c = (const unsigned char *)line + i;
        bool bidi = length - i >= 3 && c[0] == 0xe2 &&
                    ((c[1] == 0x80 && c[2] >= 0xaa && c[2] <= 0xae) || (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9));
        if (bidi) {
            i += 2;
            continue;
        }
        text_add_bytes(out, *c < ' ' ? " " : line + i, 1);
        if (length - i >= 2 && ((c[1] == '/' && (c[0] == '*' || c[0] == '?')) || (c[0] == '/' && c[1] == '*')))
            text_add(out, " ");
    }
}

/* The comment of an element, or NULL. */
static const char *comment_of(const proto_place *place)
{
    const proto_location *location = proto_locate(place);
    if (location == NULL)
        return NULL;
    const char *leading = location->leading_comments;
    return leading != NULL && leading[0] != '\0' ? leading : location->trailing_comments;
}

/* Adds a comment: `title`, if any, then the comment of the proto, if any, then `note`, if any. */
static void add_comment(emitter *e, const char *indent, const char *title, const proto_place *place, const char *note)
{
    const char *comment = comment_of(place);
    const char *parts[] = {title, comment, note};
    bool begun = false;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const char *rest = parts[i] != NULL ? parts[i] + strspn(parts[i], "\n") : "";
        if (rest[0] == '\0')
            continue;
        if (begun)
            text_printf(&e->out, "\n%s *", indent);
        while (*rest != '\0') {
            size_t length = strcspn(rest, "\n");
            const char *after = rest + length + strspn(rest + length, "\n");
            text line = text_new(e->pool);
            /* protoc leaves the space after the slashes in place. */
            add_comment_line(&line, rest + (*rest == ' '), length - (*rest == ' '));
            if (!begun)
                text_printf(&e->out, "%s/* ", indent);
            else
                text_printf(&e->out, "\n%s *%s", indent, line.size > 0 ? " " : "");
            text_add(&e->out, line.data);
            begun = true;
            rest = *after == '\0' ? after : rest + length + 1;
        }
    }
    if (begun)
        text_add(&e->out, " */\n");
}

static void add_ops_entry(emitter *e, const proto_method *method, const proto_service *service,
                          const proto_place *place)
{
    static const char *const arguments[2][2] = {
        {"weft_call *call, const $Request$ *request, $Response$ *response, void *self",
         "weft_call *call, const $Request$ *request, $method$_server *stream, void *self"},
        {"weft_call *call, $method$_server *stream, $Response$ *response, void *self",
         "weft_call *call, $method$_server *stream, void *self"}};
    const method_names names = names_of(e, service, method);
    add_comment(e, "    ", NULL, place, method->options != NULL && method->options->deprecated ? "Deprecated." : NULL);
    add_signature(e, expanded(e, &names, "    weft_code (*$member$)"),
                  expanded(e, &names, arguments[method->client_streaming][method->server_streaming]), ");\n");
}

static void add_ops(emitter *e, const proto_service *service, const proto_place *place)
{
    const char *prefix = name_service(e->pool, e->file, service);
    text_printf(&e->out, "/* The handlers of %s. A NULL one answers UNIMPLEMENTED. */\ntypedef struct %s_ops {\n",
                service->name, prefix);
    for (size_t i = 0; i < service->n_method; i++)
        add_ops_entry(e, service->method[i], service, proto_place_in(e->pool, place, SERVICE_METHOD, i));
    if (service->n_method == 0)
        text_add(&e->out, "    void *no_handlers; /* C wants a member */\n");
    text_printf(&e->out, "} %s_ops;\n\n", prefix);
}

#define STUB_HEAD "weft_status $method$"
#define STUB_ARGUMENTS                                                                                                 \
    "weft_channel *channel, weft_arena *arena, const weft_call_options *options, const $Request$ *request, "           \
    "$Response$ **response"
#define ASYNC_HEAD "int $method$_async"
#define ASYNC_ARGUMENTS                                                                                                \
    "weft_channel *channel, const weft_call_options *options, const $Request$ *request, $method$_done done, void *arg"
#define FINISH_HEAD      "void $method$_finish"
#define FINISH_ARGUMENTS "weft_call *call, weft_code code, const $Response$ *response"
#define THUNK_HEAD       "static weft_code $method$_thunk"
#define THUNK_ARGUMENTS                                                                                                \
    "weft_call *call, const ProtobufCMessage *request, ProtobufCMessage *response, const void *ops, void *self"
#define REGISTER_HEAD      "int %s_register"
#define REGISTER_ARGUMENTS "weft_server *server, const %s_ops *ops, void *self, const weft_service_options *options"

/* A function of a stream's glue: the tables below say which methods have it, and what it is made of. */
typedef struct stream_function {
    bool (*has)(const proto_method *method);
    const char *head;
    const char *arguments;
    const char *body;
} stream_function;

static bool client_streams(const proto_method *method)
{
    return method->client_streaming;
}

static bool server_streams(const proto_method *method)
{
    return method->server_streaming;
}

static bool only_server_streams(const proto_method *method)
{
    return method->server_streaming && !method->client_streaming;
}

static bool only_client_streams(const proto_method *method)
{
    return method->client_streaming && !method->server_streaming;
}

/* A function that receives a `type`. */
#define RECV_BODY(type)                                                                                                \
    "    ProtobufCMessage *received = NULL;\n"                                                                         \
    "    int rc = weft_stream_recv(WEFT_STREAM(stream), &received);\n"                                                 \
    "    if (rc > 0)\n"                                                                                                \
    "        *message = (" type " *)received;\n"                                                                       \
    "    return rc;\n"
#define SEND_BODY "    return weft_stream_send(WEFT_STREAM(stream), (const ProtobufCMessage *)message);\n"

static const stream_function server_functions[] = {
    {client_streams, "int $method$_server_recv", "$method$_server *stream, $Request$ **message",
     RECV_BODY("$Request$")},
    {server_streams, "int $method$_server_send", "$method$_server *stream, const $Response$ *message", SEND_BODY},
    {NULL, NULL, NULL, NULL},
};

#define OPEN_BODY(request)                                                                                             \
    "    weft_stream *opened = NULL;\n"                                                                                \
    "    int rc = weft_channel_stream(&opened, channel, options, &$method$_method, " request ");\n"                    \
    "    if (rc == 0)\n"                                                                                               \
    "        *stream = ($method$_client *)opened;\n"                                                                   \
    "    return rc;\n"

static const stream_function client_functions[] = {
    {client_streams, "int $method$",
     "$method$_client **stream, weft_channel *channel, const weft_call_options *options", OPEN_BODY("NULL")},
    {only_server_streams, "int $method$",
     "$method$_client **stream, weft_channel *channel, const weft_call_options *options, const $Request$ *request",
     OPEN_BODY("(const ProtobufCMessage *)request")},
    {client_streams, "int $method$_client_send", "$method$_client *stream, const $Request$ *message", SEND_BODY},
    {client_streams, "int $method$_client_close_send", "$method$_client *stream",
     "    return weft_stream_close_send(WEFT_STREAM(stream));\n"},
    {server_streams, "int $method$_client_recv", "$method$_client *stream, $Response$ **message",
     RECV_BODY("$Response$")},
    {server_streams, "weft_status $method$_client_finish", "$method$_client *stream, weft_arena *arena",
     "    return weft_stream_finish(WEFT_STREAM(stream), arena, NULL);\n"},
    {only_client_streams, "weft_status $method$_client_finish",
     "$method$_client *stream, weft_arena *arena, $Response$ **response",
     "    ProtobufCMessage *message = NULL;\n"
     "    weft_status status = weft_stream_finish(WEFT_STREAM(stream), arena, &message);\n"
     "    if (status.code == WEFT_OK)\n"
     "        *response = ($Response$ *)message;\n"
     "    return status;\n"},
    {NULL, NULL, NULL, NULL},
};

static void declare_functions(emitter *e, const method_names *names, const proto_method *method,
                              const stream_function *functions)
{
    for (; functions->has != NULL; functions++)
        if (functions->has(method))
            add_signature(e, expanded(e, names, functions->head), expanded(e, names, functions->arguments), ");\n");
}

static void define_functions(emitter *e, const method_names *names, const proto_method *method,
                             const stream_function *functions)
{
    for (; functions->has != NULL; functions++) {
        if (!functions->has(method))
            continue;
        add_signature(e, expanded(e, names, functions->head), expanded(e, names, functions->arguments), ")\n{\n");
        text_expand(&e->out, names->variables, functions->body);
        text_add(&e->out, "}\n\n");
    }
}

static bool is_unary(const proto_method *method)
{
    return !is_streaming(method);
}

static bool has_one_response(const proto_method *method)
{
    return !method->server_streaming;
}

/* Adds a declaration for every method of a kind, below a comment. */
static void add_declarations(emitter *e, const proto_service *service, bool (*has)(const proto_method *method),
                             const char *comment, const char *head, const char *arguments)
{
    bool begun = false;
    for (size_t i = 0; i < service->n_method; i++) {
        if (!has(service->method[i]))
            continue;
        const method_names names = names_of(e, service, service->method[i]);
        if (!begun)
            text_printf(&e->out, "\n%s", comment);
        begun = true;
        add_signature(e, expanded(e, &names, head), expanded(e, &names, arguments), ");\n");
    }
}

/* The two types of every stream, which handlers and callers see. */
static void declare_stream_types(emitter *e, const proto_service *service)
{
    bool begun = false;
    for (size_t i = 0; i < service->n_method; i++) {
        if (!is_streaming(service->method[i]))
            continue;
        const method_names names = names_of(e, service, service->method[i]);
        if (!begun)
            text_add(&e->out,
                     "/* Streams, as handlers and as callers have them. Both are a weft_stream: WEFT_STREAM(). */\n");
        begun = true;
        text_expand(&e->out, names.variables,
                    "typedef struct $method$_server $method$_server;\n"
                    "typedef struct $method$_client $method$_client;\n");
    }
    if (begun)
        text_add(&e->out, "\n");
}

static void declare_streams(emitter *e, const proto_service *service)
{
    static const char *const kinds[2][2] = {{"", "the server streams"}, {"the client streams", "both sides stream"}};
    for (size_t i = 0; i < service->n_method; i++) {
        const proto_method *method = service->method[i];
        if (!is_streaming(method))
            continue;
        const method_names names = names_of(e, service, method);
        text_printf(&e->out, "\n/* %s: %s. For its handler, then for its callers: see weft/stream.h. */\n",
                    method->name, kinds[method->client_streaming][method->server_streaming]);
        declare_functions(e, &names, method, server_functions);
        declare_functions(e, &names, method, client_functions);
    }
}

/* The callbacks of asynchronous calls. */
static void declare_async_types(emitter *e, const proto_service *service)
{
    bool begun = false;
    for (size_t i = 0; i < service->n_method; i++) {
        if (!is_unary(service->method[i]))
            continue;
        const method_names names = names_of(e, service, service->method[i]);
        if (!begun)
            text_add(
                &e->out,
                "\n/* What asynchronous calls call at their end; `response` is NULL unless the status is OK. */\n");
        begun = true;
        add_signature(
            e, expanded(e, &names, "typedef void (*$method$_done)"),
            expanded(e, &names, "const weft_status *status, $Response$ *response, weft_result *result, void *arg"),
            ");\n");
    }
}

static void declare_service(emitter *e, const proto_service *service, const proto_place *place)
{
    pool *p = e->pool;
    const char *package = proto_package(e->file);
    const char *prefix = name_service(p, e->file, service);
    const char *reason = check_pb_c_service(p, service);
    add_comment(e, "", pool_printf(p, "Service %s%s%s", package, package[0] != '\0' ? "." : "", service->name), place,
                reason == NULL ? NULL
                               : pool_printf(p, "protobuf-c's own stubs of it are left out of %s.pb-c.h:\n%s.",
                                             name_stem(p, e->file->name), reason));
    text_printf(&e->out, "extern const weft_service %s_service;\n", prefix);
    for (size_t i = 0; i < service->n_method; i++)
        text_printf(&e->out, "extern const weft_method %s_method;\n", names_of(e, service, service->method[i]).method);
    text_add(&e->out, "\n");
    declare_stream_types(e, service);
    add_ops(e, service, place);
    text_printf(&e->out, "/* Serves %s with `ops`, which get `self`: see weft_server_add. */\n", service->name);
    add_signature(e, pool_printf(p, REGISTER_HEAD, prefix), pool_printf(p, REGISTER_ARGUMENTS, prefix), ");\n");
    add_declarations(e, service, is_unary,
                     "/* Blocking calls. When the status is OK, `response` is set and lives in `arena`: see "
                     "weft_channel_unary. */\n",
                     STUB_HEAD, STUB_ARGUMENTS);
    declare_async_types(e, service);
    add_declarations(e, service, is_unary,
                     "/* Asynchronous calls. 0: `done` will be called, once: see weft/async.h. */\n", ASYNC_HEAD,
                     ASYNC_ARGUMENTS);
    declare_streams(e, service);
    add_declarations(e, service, has_one_response,
                     "/* Answers to calls whose handler deferred: see weft_call_finish. */\n", FINISH_HEAD,
                     FINISH_ARGUMENTS);
    text_add(&e->out, "\n");
}

char *emit_header(pool *p, const proto_request *request, const proto_file *file)
{
    emitter e = {.pool = p, .request = request, .file = file, .out = text_new(p)};
    const proto_place *root = proto_place_of(p, file);
    const text_variable variables[] = {{"path", file->name},
                                       {"stem", name_stem(p, file->name)},
                                       {"file", name_file(p, file->name)},
                                       {"shape", GENERATED_SHAPE},
                                       {NULL, NULL}};
    text_expand(&e.out, variables,
                "/* $stem$.weft.h: what Weft needs of $path$. Generated by protoc-gen-weft: change the proto instead. "
                "*/\n"
                "#ifndef WEFT_FILE_$file$\n"
                "#define WEFT_FILE_$file$\n"
                "\n");
    if (file->n_service > 0)
        text_expand(&e.out, variables,
                    "#include <weft/async.h>\n"
                    "#include <weft/call.h>\n"
                    "#include <weft/channel.h>\n"
                    "#include <weft/method.h>\n"
                    "#include <weft/server.h>\n"
                    "#include <weft/stream.h>\n"
                    "\n"
                    "#include \"$stem$.pb-c.h\"\n");
    else
        text_add(&e.out, "#include <weft/method.h>\n");
    text_expand(&e.out, variables,
                "\n"
                "#if WEFT_GENERATED_MIN > $shape$\n"
                "#error \"$stem$.weft.h is too old for this Weft: generate it again with the protoc-gen-weft of this "
                "Weft\"\n"
                "#elif WEFT_GENERATED_MAX < $shape$\n"
                "#error \"$stem$.weft.h is too new for this Weft: update Weft, or generate it again with the "
                "protoc-gen-weft of this Weft\"\n"
                "#endif\n"
                "\n"
                "WEFT_BEGIN_DECLS\n"
                "\n"
                "/* $path$ itself, for reflection. */\n"
                "extern const weft_file $file$_file;\n"
                "\n");
    for (size_t i = 0; i < file->n_service; i++)
        declare_service(&e, file->service[i], proto_place_in(p, root, FILE_SERVICE, i));
    text_add(&e.out, "WEFT_END_DECLS\n#endif\n");
    return e.out.data;
}

static void define_thunk(emitter *e, const method_names *names, const proto_method *method)
{
    static const char *const arguments[2][2] = {
        {"call, (const $Request$ *)request, ($Response$ *)response, self",
         "call, (const $Request$ *)request, ($method$_server *)weft_call_stream(call), self"},
        {"call, ($method$_server *)weft_call_stream(call), ($Response$ *)response, self",
         "call, ($method$_server *)weft_call_stream(call), self"}};
    add_signature(e, expanded(e, names, THUNK_HEAD), expanded(e, names, THUNK_ARGUMENTS), ")\n{\n");
    if (method->client_streaming)
        text_add(&e->out, "    (void)request;\n");
    if (method->server_streaming)
        text_add(&e->out, "    (void)response;\n");
    add_signature(e, expanded(e, names, "    return ((const $service$_ops *)ops)->$member$"),
                  expanded(e, names, arguments[method->client_streaming][method->server_streaming]), ");\n}\n\n");
}

static void define_stub(emitter *e, const method_names *names)
{
    add_signature(e, expanded(e, names, STUB_HEAD), expanded(e, names, STUB_ARGUMENTS), ")\n{\n");
    text_add(&e->out, "    ProtobufCMessage *message = NULL;\n");
    add_signature(
        e, "    weft_status status = weft_channel_unary",
        expanded(e, names, "channel, arena, options, &$method$_method, (const ProtobufCMessage *)request, &message"),
        ");\n");
    text_expand(&e->out, names->variables,
                "    if (status.code == WEFT_OK)\n"
                "        *response = ($Response$ *)message;\n"
                "    return status;\n"
                "}\n\n");
}

static void define_async_stub(emitter *e, const method_names *names)
{
    add_signature(e, expanded(e, names, "static void $method$_deliver"), "weft_result *result", ")\n{\n");
    add_signature(e, expanded(e, names, "    (($method$_done)weft_result_done(result))"),
                  expanded(e, names,
                           "weft_result_status(result), ($Response$ *)weft_result_response(result), result, "
                           "weft_result_arg(result)"),
                  ");\n}\n\n");
    add_signature(e, expanded(e, names, ASYNC_HEAD), expanded(e, names, ASYNC_ARGUMENTS), ")\n{\n");
    add_signature(e, "    return weft_channel_unary_async",
                  expanded(e, names,
                           "channel, options, &$method$_method, (const ProtobufCMessage *)request, $method$_deliver, "
                           "(void (*)(void))done, arg"),
                  ");\n}\n\n");
}

static void define_method(emitter *e, const proto_service *service, const proto_method *method)
{
    const method_names names = names_of(e, service, method);
    define_thunk(e, &names, method);
    text_expand(&e->out, names.variables,
                "const weft_method $method$_method = {\n"
                "    .struct_size = sizeof(weft_method),\n"
                "    .path = \"$path$\",\n"
                "    .name = \"$name$\",\n"
                "    .kind = $kind$,\n"
                "    .request = &$request$__descriptor,\n"
                "    .response = &$response$__descriptor,\n"
                "    .ops_offset = offsetof($service$_ops, $member$),\n"
                "    .handler = $method$_thunk,\n"
                "};\n\n");
    if (is_streaming(method)) {
        define_functions(e, &names, method, server_functions);
        define_functions(e, &names, method, client_functions);
    } else {
        define_stub(e, &names);
        define_async_stub(e, &names);
    }
    if (method->server_streaming)
        return;
    add_signature(e, expanded(e, &names, FINISH_HEAD), expanded(e, &names, FINISH_ARGUMENTS), ")\n{\n");
    text_add(&e->out, "    weft_call_finish(call, code, (const ProtobufCMessage *)response);\n}\n\n");
}

static void define_service(emitter *e, const proto_service *service)
{
    pool *p = e->pool;
    const char *package = proto_package(e->file);
    const char *prefix = name_service(p, e->file, service);
    for (size_t i = 0; i < service->n_method; i++)
        define_method(e, service, service->method[i]);

    if (service->n_method > 0) {
        text_printf(&e->out, "static const weft_method *const %s_methods[] = {\n", prefix);
        for (size_t i = 0; i < service->n_method; i++)
            text_printf(&e->out, "    &%s_method,\n", names_of(e, service, service->method[i]).method);
        text_add(&e->out, "};\n\n");
    }
    text_printf(&e->out,
                "const weft_service %s_service = {\n"
                "    .struct_size = sizeof(weft_service),\n"
                "    .name = \"%s%s%s\",\n",
                prefix, package, package[0] != '\0' ? "." : "", service->name);
    if (service->n_method > 0)
        text_printf(&e->out, "    .methods = %s_methods,\n    .method_count = %zu,\n", prefix, service->n_method);
    text_printf(&e->out, "    .file = &%s_file,\n};\n\n", name_file(p, e->file->name));
    add_signature(e, pool_printf(p, REGISTER_HEAD, prefix), pool_printf(p, REGISTER_ARGUMENTS, prefix), ")\n{\n");
    text_printf(&e->out, "    return weft_server_add(server, &%s_service, ops, self, options);\n}\n\n", prefix);
}

static void define_file(emitter *e, const proto_file *published)
{
    pool *p = e->pool;
    const char *file = name_file(p, published->name);
    size_t size = google__protobuf__file_descriptor_proto__get_packed_size(published);
    uint8_t *bytes = pool_alloc(p, size);
    google__protobuf__file_descriptor_proto__pack(published, bytes);

    text_printf(&e->out, "/* %s as a serialized google.protobuf.FileDescriptorProto. */\n", published->name);
    text_printf(&e->out, "static const uint8_t %s_descriptor[] = {", file);
    for (size_t i = 0; i < size; i++)
        text_printf(&e->out, "%s0x%02x,", i % 19 == 0 ? "\n    " : " ", (unsigned)bytes[i]);
    text_add(&e->out, "\n};\n\n");

    if (published->n_dependency > 0) {
        text_printf(&e->out, "static const weft_file *const %s_imports[] = {\n", file);
        for (size_t i = 0; i < published->n_dependency; i++)
            text_printf(&e->out, "    &%s_file,\n", name_file(p, published->dependency[i]));
        text_add(&e->out, "};\n\n");
    }
    text_printf(&e->out,
                "const weft_file %s_file = {\n"
                "    .struct_size = sizeof(weft_file),\n"
                "    .name = \"%s\",\n"
                "    .descriptor = %s_descriptor,\n"
                "    .descriptor_size = sizeof %s_descriptor,\n",
                file, published->name, file, file);
    if (published->n_dependency > 0)
        text_printf(&e->out, "    .imports = %s_imports,\n    .import_count = %zu,\n", file, published->n_dependency);
    text_add(&e->out, "};\n");
}

char *emit_source(pool *p, const proto_request *request, const proto_file *file)
{
    emitter e = {.pool = p, .request = request, .file = file, .out = text_new(p)};
    const char *stem = name_stem(p, file->name);
    const proto_file *published = proto_published(p, file);
    text_printf(&e.out,
                "/* %s.weft.c: what Weft needs of %s. Generated by protoc-gen-weft: change the proto instead. */\n"
                "#include \"%s.weft.h\"\n"
                "\n",
                stem, file->name, stem);
    for (size_t i = 0; i < published->n_dependency; i++)
        text_printf(&e.out, "#include \"%s.weft.h\"\n", name_stem(p, published->dependency[i]));
    if (published->n_dependency > 0)
        text_add(&e.out, "\n");
    for (size_t i = 0; i < file->n_service; i++)
        define_service(&e, file->service[i]);
    define_file(&e, published);
    return e.out.data;
}
