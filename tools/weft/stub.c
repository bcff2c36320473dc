#include "stub.h"

#include <string.h>

#include "contract.h"
#include "csource.h"
#include "names.h"

enum {
    COLUMNS = 120,
    MAX_REQUIRED_DEPTH = 8 /* a message that requires itself is never valid */
};

/* ---- Names ------------------------------------------------------------------------------------------------------- */

/* Whether a function may not be called so: a word alone is likely to be one of C's, C++'s or libc's, and some of the
 * others belong to libraries. */
static bool is_doubtful(const char *name)
{
    static const char *const prefixes[] = {"atomic_", "mtx_", "cnd_", "thrd_", "pthread_", "weft_", "_"};
    if (strchr(name, '_') == NULL || name_is_keyword(name))
        return true;
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

const char *stub_function(pool *p, const char *method, const char *used, size_t used_size)
{
    const char *name = name_lower(p, method);
    if (is_doubtful(name))
        name = pool_printf(p, "handle_%s", name);
    const char *result = name;
    for (unsigned n = 2; csource_has_word(used, used_size, result); n++)
        result = pool_printf(p, "%s_%u", name, n);
    return result;
}

/* The beginning of the glue's names for a method: greeter_Greeter_Hello. */
static const char *glue_name(pool *p, const stub_service *s, const proto_method *method)
{
    return pool_printf(p, "%s_%s", name_service(p, s->file, s->service), name_method(p, method->name));
}

/* Adds "static TYPE name(a, b)" with lines of at most COLUMNS characters, if that can be. `parameters` ends with NULL.
 */
static void add_head(text *out, const char *before, const char *const *parameters)
{
    size_t indent = strlen(before);
    text_add(out, before);
    for (size_t i = 0; parameters[i] != NULL; i++)
        if (strlen(before) + strlen(parameters[i]) + 1 > COLUMNS)
            indent = 4;
    if (indent < strlen(before))
        text_printf(out, "\n%*s", (int)indent, "");
    size_t column = indent;
    for (size_t i = 0; parameters[i] != NULL; i++) {
        size_t length = strlen(parameters[i]);
        if (i > 0 && column + 2 + length + 1 > COLUMNS) {
            text_printf(out, ",\n%*s", (int)indent, "");
            column = indent;
        } else if (i > 0) {
            text_add(out, ", ");
            column += 2;
        }
        text_add(out, parameters[i]);
        column += length;
    }
    text_add(out, ")\n");
}

/* ---- Messages ---------------------------------------------------------------------------------------------------- */

/* A message by its name without the package; NULL when it is not there. */
static const proto_message *find_message(proto_message *const *messages, size_t count, const char *name)
{
    size_t length = strcspn(name, ".");
    for (size_t i = 0; i < count; i++)
        if (strlen(messages[i]->name) == length && memcmp(messages[i]->name, name, length) == 0)
            return name[length] == '\0'
                       ? messages[i]
                       : find_message(messages[i]->nested_type, messages[i]->n_nested_type, name + length + 1);
    return NULL;
}

/* The message that a method or a field names. */
static const proto_message *message_of(const stub_service *s, const char *type_name)
{
    const proto_file *file = proto_find_type(s->request, type_name);
    size_t package = strlen(proto_package(file));
    return find_message(file->message_type, file->n_message_type, type_name + 1 + package + (package > 0));
}

static bool has_deprecated_field(const proto_message *message)
{
    for (size_t i = 0; message != NULL && i < message->n_field; i++)
        if (message->field[i]->options != NULL && message->field[i]->options->deprecated)
            return true;
    return false;
}

/* Adds a variable with an empty message. clang takes an initializer that names no field for a use of all of them, so
 * that it would warn of those that are deprecated. */
static void add_message(text *out, const stub_service *s, const char *type_name, const char *variable)
{
    pool *p = out->pool;
    const char *type = contract_type(p, s->request, type_name);
    const char *init = contract_type_init(p, s->request, type_name);
    bool fits = strlen("    ") + strlen(type) + 1 + strlen(variable) + strlen(" = ") + strlen(init) + 1 <= COLUMNS;
    if (has_deprecated_field(message_of(s, type_name)))
        text_printf(out, "    %s %s;\n    protobuf_c_message_init(&%s, &%s);\n", type, variable,
                    contract_type_descriptor(p, s->request, type_name), variable);
    else
        text_printf(out, fits ? "    %s %s = %s;\n" : "    %s %s =\n        %s;\n", type, variable, init);
}

/* ---- Handlers ---------------------------------------------------------------------------------------------------- */

static const char unary_template[] =
    "    (void)request;\n"
    "    (void)response;\n"
    "    (void)self;\n"
    "    return weft_fail(call, WEFT_UNIMPLEMENTED, \"$method$ is not written yet\");\n";

static const char client_stream_template[] =
    "    $request$ *request;\n"
    "    int rc;\n"
    "    (void)response;\n"
    "    (void)self;\n"
    "    while ((rc = $glue$_server_recv(stream, &request)) > 0)\n"
    "        continue; /* one message, which lives until the next one is received */\n"
    "    if (rc < 0)\n"
    "        return weft_fail_errno(call, rc);\n"
    "    return weft_fail(call, WEFT_UNIMPLEMENTED, \"$method$ is not written yet\");\n";

static const char server_stream_template[] =
    "$response_variable$"
    "    size_t count = 0; /* of the messages to send */\n"
    "    int rc = 0;\n"
    "    (void)request;\n"
    "    (void)self;\n"
    "    for (size_t i = 0; i < count && rc == 0; i++)\n"
    "        rc = $glue$_server_send(stream, &response);\n"
    "    if (rc < 0)\n"
    "        return weft_fail_errno(call, rc);\n"
    "    return weft_fail(call, WEFT_UNIMPLEMENTED, \"$method$ is not written yet\");\n";

static const char both_stream_template[] =
    "    $request$ *request;\n"
    "$response_variable$"
    "    bool answers = false; /* whether a message gets one at once */\n"
    "    int rc;\n"
    "    (void)self;\n"
    "    while ((rc = $glue$_server_recv(stream, &request)) > 0)\n"
    "        if (answers && (rc = $glue$_server_send(stream, &response)) < 0)\n"
    "            break;\n"
    "    if (rc < 0)\n"
    "        return weft_fail_errno(call, rc);\n"
    "    return weft_fail(call, WEFT_UNIMPLEMENTED, \"$method$ is not written yet\");\n";

static const char unary_comment[] = "/* $method$.\n"
                                    " *\n"
                                    " * Not written yet: fill the response from the request, and return WEFT_OK, or "
                                    "what weft_fail() returns. What the\n"
                                    " * response needs comes from weft_call_arena(call); nothing needs freeing. */\n";

static const char client_stream_comment[] =
    "/* $method$.\n"
    " *\n"
    " * Not written yet: use each message of the loop, fill the response, and return WEFT_OK. What shall outlive a\n"
    " * message comes from weft_call_arena(call). */\n";

static const char server_stream_comment[] = "/* $method$.\n"
                                            " *\n"
                                            " * Not written yet: send what there is to say, and return WEFT_OK at its "
                                            "end. A send waits while the peer is slow,\n"
                                            " * and fails when it has gone. */\n";

static const char both_stream_comment[] =
    "/* $method$.\n"
    " *\n"
    " * Not written yet: use each message of the loop, answer it or send when there is something to say, and return\n"
    " * WEFT_OK at the end. One thread may receive while another one sends. */\n";

const char *stub_stem(pool *p, const char *service, stub_stem_taken *taken, const void *arg)
{
    static const char tail[] = "_service";
    const char *base = name_lower(p, service);
    if (strlen(base) < strlen(tail) || strcmp(base + strlen(base) - strlen(tail), tail) != 0)
        base = pool_printf(p, "%s%s", base, tail);
    const char *stem = base;
    for (unsigned n = 2; taken(arg, stem); n++)
        stem = pool_printf(p, "%s_%u", base, n);
    return stem;
}

void stub_add_handler(text *out, const stub_service *s, const proto_method *method, const char *function)
{
    pool *p = out->pool;
    bool in = method->has_client_streaming && method->client_streaming;
    bool both = in && method->has_server_streaming && method->server_streaming;
    bool stream_out = method->has_server_streaming && method->server_streaming;
    const char *request = contract_type(p, s->request, method->input_type);
    const char *response = contract_type(p, s->request, method->output_type);
    const char *glue = glue_name(p, s, method);
    text variable = text_new(p);
    add_message(&variable, s, method->output_type, "response");
    const text_variable variables[] = {
        {"method", method->name},
        {"glue", glue},
        {"request", request},
        {"response", response},
        {"response_variable", variable.data},
        {NULL, NULL},
    };
    const char *parameters[6] = {"weft_call *call"};
    size_t count = 1;
    if (!in)
        parameters[count++] = pool_printf(p, "const %s *request", request);
    if (in || stream_out)
        parameters[count++] = pool_printf(p, "%s_server *stream", glue);
    if (!stream_out)
        parameters[count++] = pool_printf(p, "%s *response", response);
    parameters[count] = "void *self";
    text_expand(out, variables,
                both         ? both_stream_comment
                : in         ? client_stream_comment
                : stream_out ? server_stream_comment
                             : unary_comment);
    add_head(out, pool_printf(p, "static weft_code %s(", function), parameters);
    text_add(out, "{\n");
    text_expand(out, variables,
                both         ? both_stream_template
                : in         ? client_stream_template
                : stream_out ? server_stream_template
                             : unary_template);
    text_add(out, "}\n\n");
}

/* ---- Files ------------------------------------------------------------------------------------------------------- */

static const text_variable *file_variables(pool *p, const stub_service *s)
{
    const text_variable variables[] = {
        {"stem", s->stem},
        {"guard", name_upper(p, s->stem)},
        {"service", contract_service_name(p, s->file, s->service)},
        {"glue", name_service(p, s->file, s->service)},
        {"header", pool_printf(p, "%s.weft.h", name_stem(p, s->file->name))},
        {"proto", s->file->name},
        {NULL, NULL},
    };
    text_variable *result = pool_alloc(p, sizeof variables);
    memcpy(result, variables, sizeof variables);
    return result;
}

text stub_header(pool *p, const stub_service *s)
{
    text out = text_new(p);
    text_expand(&out, file_variables(p, s),
                "/* $stem$.h: $service$. */\n"
                "#ifndef $guard$_H\n"
                "#define $guard$_H\n"
                "\n"
                "#include <weft/server.h>\n"
                "\n"
                "/* Serves $service$. @return as weft_server_add. */\n"
                "int $stem$_register(weft_server *server);\n"
                "\n"
                "#endif\n");
    return out;
}

text stub_source(pool *p, const stub_service *s)
{
    const text_variable *variables = file_variables(p, s);
    text out = text_new(p);
    text table = text_new(p);
    text_expand(&out, variables,
                "/* The handlers of $service$. Everything they allocate dies with the call. */\n"
                "#include \"$stem$.h\"\n"
                "\n"
                "#include \"$header$\"\n"
                "\n");
    for (size_t i = 0; i < s->service->n_method; i++) {
        const proto_method *method = s->service->method[i];
        const char *function = stub_function(p, method->name, out.data, out.size);
        stub_add_handler(&out, s, method, function);
        text_printf(&table, "    .%s = %s,\n", name_method(p, method->name), function);
    }
    text_expand(&out, variables, "static const $glue$_ops $stem$_ops = {\n");
    text_add(&out, table.data);
    text_expand(&out, variables,
                "};\n"
                "\n"
                "int $stem$_register(weft_server *server)\n"
                "{\n"
                "    return $glue$_register(server, &$stem$_ops, NULL, NULL);\n"
                "}\n");
    return out;
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static const char test_head[] = "/* $service$, called as clients call it, over the memory engine. */\n"
                                "#include <setjmp.h>\n"
                                "#include <stdarg.h>\n"
                                "#include <stddef.h>\n"
                                "#include <stdint.h>\n"
                                "\n"
                                "#include <cmocka.h>\n"
                                "\n"
                                "#include <weft/testing.h>\n"
                                "#include <weft/weft.h>\n"
                                "\n"
                                "#include \"$header$\"\n"
                                "#include \"$stem$.h\"\n"
                                "\n"
                                "static weft_engine *engine;\n"
                                "static weft_server *server;\n"
                                "static weft_channel *channel;\n"
                                "static weft_arena *arena; /* of the client */\n"
                                "\n"
                                "static int make(void **state)\n"
                                "{\n"
                                "    (void)state;\n"
                                "    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;\n"
                                "    options.threaded = true; /* handlers of streams block */\n"
                                "    assert_int_equal(weft_arena_new(&arena, 0), 0);\n"
                                "    assert_int_equal(weft_memory_engine_new(&engine, &options), 0);\n"
                                "    assert_int_equal(weft_server_new(&server, engine, NULL), 0);\n"
                                "    assert_int_equal($stem$_register(server), 0);\n"
                                "    assert_int_equal(weft_server_listen(server, \"test:1\"), 0);\n"
                                "    assert_int_equal(weft_server_start(server), 0);\n"
                                "    assert_int_equal(weft_channel_new(&channel, engine, \"test:1\", NULL), 0);\n"
                                "    return 0;\n"
                                "}\n"
                                "\n"
                                "static int drop(void **state)\n"
                                "{\n"
                                "    (void)state;\n"
                                "    weft_channel_free(channel);\n"
                                "    weft_server_free(server);\n"
                                "    assert_int_equal(weft_engine_free(engine), 0);\n"
                                "    weft_arena_free(arena);\n"
                                "    return 0;\n"
                                "}\n"
                                "\n"
                                "static void assert_not_written(weft_status status, const char *message)\n"
                                "{\n"
                                "    assert_int_equal(status.code, WEFT_UNIMPLEMENTED);\n"
                                "    assert_string_equal(status.message, message);\n"
                                "}\n"
                                "\n";

static const char unary_test[] = "    $response$ *response = NULL;\n"
                                 "    weft_status status = $glue$(channel, arena, NULL, &request, &response);\n"
                                 "    assert_not_written(status, \"$method$ is not written yet\");\n"
                                 "    assert_null(response);\n";

static const char client_stream_test[] = "    $response$ *response = NULL;\n"
                                         "    $glue$_client *stream;\n"
                                         "    assert_int_equal($glue$(&stream, channel, NULL), 0);\n"
                                         "    assert_int_equal($glue$_client_send(stream, &request), 0);\n"
                                         "    weft_status status = $glue$_client_finish(stream, arena, &response);\n"
                                         "    assert_not_written(status, \"$method$ is not written yet\");\n"
                                         "    assert_null(response);\n";

static const char server_stream_test[] = "    $response$ *response;\n"
                                         "    $glue$_client *stream;\n"
                                         "    assert_int_equal($glue$(&stream, channel, NULL, &request), 0);\n"
                                         "    assert_true($glue$_client_recv(stream, &response) <= 0);\n"
                                         "    weft_status status = $glue$_client_finish(stream, arena);\n"
                                         "    assert_not_written(status, \"$method$ is not written yet\");\n";

static const char both_stream_test[] = "    $response$ *response;\n"
                                       "    $glue$_client *stream;\n"
                                       "    assert_int_equal($glue$(&stream, channel, NULL), 0);\n"
                                       "    assert_int_equal($glue$_client_send(stream, &request), 0);\n"
                                       "    assert_int_equal($glue$_client_close_send(stream), 0);\n"
                                       "    assert_true($glue$_client_recv(stream, &response) <= 0);\n"
                                       "    weft_status status = $glue$_client_finish(stream, arena);\n"
                                       "    assert_not_written(status, \"$method$ is not written yet\");\n";

/* Sets the messages that a message of proto2 requires, and those that these require: without them it is not valid. */
static void add_required(text *out, const stub_service *s, const char *type_name, const char *variable, int depth)
{
    pool *p = out->pool;
    const proto_message *message = message_of(s, type_name);
    for (size_t i = 0; message != NULL && depth > 0 && i < message->n_field; i++) {
        const proto_field *field = message->field[i];
        if (field->label != GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REQUIRED ||
            field->type != GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_MESSAGE)
            continue;
        const char *inner = pool_printf(p, "%s_%zu", variable, i + 1);
        add_message(out, s, field->type_name, inner);
        text_printf(out, "    %s.%s = &%s;\n", variable, name_field(p, field->name), inner);
        add_required(out, s, field->type_name, inner, depth - 1);
    }
}

static void add_test(text *out, const stub_service *s, const proto_method *method, const char *name)
{
    pool *p = out->pool;
    bool in = method->has_client_streaming && method->client_streaming;
    bool stream_out = method->has_server_streaming && method->server_streaming;
    const text_variable variables[] = {
        {"name", name},
        {"method", method->name},
        {"glue", glue_name(p, s, method)},
        {"response", contract_type(p, s->request, method->output_type)},
        {NULL, NULL},
    };
    text_expand(out, variables,
                "static void $name$(void **state)\n"
                "{\n"
                "    (void)state;\n");
    add_message(out, s, method->input_type, "request");
    add_required(out, s, method->input_type, "request", MAX_REQUIRED_DEPTH);
    text_expand(out, variables,
                in && stream_out ? both_stream_test
                : in             ? client_stream_test
                : stream_out     ? server_stream_test
                                 : unary_test);
    text_add(out, "}\n\n");
}

text stub_test(pool *p, const stub_service *s)
{
    text out = text_new(p);
    text list = text_new(p);
    text_expand(&out, file_variables(p, s), test_head);
    for (size_t i = 0; i < s->service->n_method; i++) {
        const proto_method *method = s->service->method[i];
        const char *wanted = pool_printf(p, "%s_is_not_written", method->name);
        const char *name = stub_function(p, wanted, out.data, out.size);
        add_test(&out, s, method, name);
        text_printf(&list, "        cmocka_unit_test_setup_teardown(%s, make, drop),\n", name);
    }
    text_add(&out, "int main(void)\n"
                   "{\n"
                   "    const struct CMUnitTest tests[] = {\n");
    text_add(&out, list.data);
    text_add(&out, "    };\n"
                   "    return cmocka_run_group_tests(tests, NULL, NULL);\n"
                   "}\n");
    return out;
}
