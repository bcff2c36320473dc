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
    const method_names names = names_of(e, service, method);
    if (is_streaming(method)) {
        text_printf(&e->out, "    /* %s is a stream: its handler and its call come with a later Weft. */\n",
                    method->name);
        return;
    }
    add_comment(e, "    ", NULL, place, method->options != NULL && method->options->deprecated ? "Deprecated." : NULL);
    add_signature(e, expanded(e, &names, "    weft_code (*$member$)"),
                  expanded(e, &names, "weft_call *call, const $Request$ *request, $Response$ *response, void *self"),
                  ");\n");
}

static void add_ops(emitter *e, const proto_service *service, const proto_place *place)
{
    const char *prefix = name_service(e->pool, e->file, service);
    bool empty = true;
    text_printf(&e->out, "/* The handlers of %s. A NULL one answers UNIMPLEMENTED. */\ntypedef struct %s_ops {\n",
                service->name, prefix);
    for (size_t i = 0; i < service->n_method; i++) {
        add_ops_entry(e, service->method[i], service, proto_place_in(e->pool, place, SERVICE_METHOD, i));
        empty = empty && is_streaming(service->method[i]);
    }
    if (empty)
        text_add(&e->out, "    void *no_handlers; /* C wants a member */\n");
    text_printf(&e->out, "} %s_ops;\n\n", prefix);
}

#define STUB_HEAD "weft_status $method$"
#define STUB_ARGUMENTS                                                                                                 \
    "weft_channel *channel, weft_arena *arena, const weft_call_options *options, const $Request$ *request, "           \
    "$Response$ **response"
#define FINISH_HEAD      "void $method$_finish"
#define FINISH_ARGUMENTS "weft_call *call, weft_code code, const $Response$ *response"
#define THUNK_HEAD       "static weft_code $method$_thunk"
#define THUNK_ARGUMENTS                                                                                                \
    "weft_call *call, const ProtobufCMessage *request, ProtobufCMessage *response, const void *ops, void *self"
#define REGISTER_HEAD      "int %s_register"
#define REGISTER_ARGUMENTS "weft_server *server, const %s_ops *ops, void *self, const weft_service_options *options"

/* Adds a declaration for every unary method, below a comment. */
static void add_declarations(emitter *e, const proto_service *service, const char *comment, const char *head,
                             const char *arguments)
{
    bool begun = false;
    for (size_t i = 0; i < service->n_method; i++) {
        if (is_streaming(service->method[i]))
            continue;
        const method_names names = names_of(e, service, service->method[i]);
        if (!begun)
            text_printf(&e->out, "\n%s", comment);
        begun = true;
        add_signature(e, expanded(e, &names, head), expanded(e, &names, arguments), ");\n");
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
    add_ops(e, service, place);
    text_printf(&e->out, "/* Serves %s with `ops`, which get `self`: see weft_server_add. */\n", service->name);
    add_signature(e, pool_printf(p, REGISTER_HEAD, prefix), pool_printf(p, REGISTER_ARGUMENTS, prefix), ");\n");
    add_declarations(e, service,
                     "/* Blocking calls. When the status is OK, `response` is set and lives in `arena`: see "
                     "weft_channel_unary. */\n",
                     STUB_HEAD, STUB_ARGUMENTS);
    add_declarations(e, service, "/* Answers to calls whose handler deferred: see weft_call_finish. */\n", FINISH_HEAD,
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
                    "#include <weft/call.h>\n"
                    "#include <weft/channel.h>\n"
                    "#include <weft/method.h>\n"
                    "#include <weft/server.h>\n"
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

static void define_method(emitter *e, const proto_service *service, const proto_method *method)
{
    const method_names names = names_of(e, service, method);
    if (!is_streaming(method)) {
        add_signature(e, expanded(e, &names, THUNK_HEAD), expanded(e, &names, THUNK_ARGUMENTS), ")\n{\n");
        add_signature(e, expanded(e, &names, "    return ((const $service$_ops *)ops)->$member$"),
                      expanded(e, &names, "call, (const $Request$ *)request, ($Response$ *)response, self"),
                      ");\n}\n\n");
    }
    text_expand(&e->out, names.variables,
                "const weft_method $method$_method = {\n"
                "    .struct_size = sizeof(weft_method),\n"
                "    .path = \"$path$\",\n"
                "    .name = \"$name$\",\n"
                "    .kind = $kind$,\n"
                "    .request = &$request$__descriptor,\n"
                "    .response = &$response$__descriptor,\n");
    text_expand(&e->out, names.variables,
                is_streaming(method) ? "    .ops_offset = SIZE_MAX, /* no entry */\n"
                                     : "    .ops_offset = offsetof($service$_ops, $member$),\n"
                                       "    .unary = $method$_thunk,\n");
    text_add(&e->out, "};\n\n");
    if (is_streaming(method))
        return;
    add_signature(e, expanded(e, &names, STUB_HEAD), expanded(e, &names, STUB_ARGUMENTS), ")\n{\n");
    text_add(&e->out, "    ProtobufCMessage *message = NULL;\n");
    add_signature(
        e, "    weft_status status = weft_channel_unary",
        expanded(e, &names, "channel, arena, options, &$method$_method, (const ProtobufCMessage *)request, &message"),
        ");\n");
    text_expand(&e->out, names.variables,
                "    if (status.code == WEFT_OK)\n"
                "        *response = ($Response$ *)message;\n"
                "    return status;\n"
                "}\n\n");
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
