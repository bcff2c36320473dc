/* Design notes. One request gives two outputs in one answer: that of protoc-gen-c, which is run on the same request,
 * and the glue. Ours says FEATURE_PROTO3_OPTIONAL, which protoc-gen-c's own answer lacks though it can do it.
 *
 * protoc-gen-c gets the request with these changes: without the options that are for us; without services that it would
 * turn into invalid C (the glue serves them all the same); with another name for a struct's header where a field is
 * called `base`; and without the comments of google/protobuf. */
#include "plugin.h"

#include <errno.h>
#include <string.h>

#include "check.h"
#include "child.h"
#include "emit.h"
#include "names.h"
#include "proto.h"

typedef Google__Protobuf__Compiler__CodeGeneratorResponse proto_response;
typedef Google__Protobuf__Compiler__CodeGeneratorResponse__File response_file;

static const char generator[] = "protoc-gen-c";

static bool is_below(const char *path, const char *folder)
{
    return strncmp(path, folder, strlen(folder)) == 0;
}

/* Whether libweft carries a file compiled, or nothing is to be compiled of it. */
static bool is_bundled(const char *path)
{
    return is_below(path, "google/protobuf/") || is_below(path, "google/rpc/") || strcmp(path, PROTO_PB_C_OPTIONS) == 0;
}

/* Takes `bundled` out of the request's options. */
static bool take_bundled(pool *p, proto_request *request)
{
    bool found = false;
    text rest = text_new(p);
    const char *options = request->parameter != NULL ? request->parameter : "";
    while (*options != '\0') {
        size_t length = strcspn(options, ",");
        if (length == strlen("bundled") && strncmp(options, "bundled", length) == 0) {
            found = true;
        } else if (length > 0) {
            text_add(&rest, rest.size > 0 ? "," : "");
            text_add_bytes(&rest, options, length);
        }
        options += length;
        options += *options == ',';
    }
    request->parameter = rest.size > 0 ? rest.data : NULL;
    return found;
}

static void drop_bundled_files(proto_request *request)
{
    size_t kept = 0;
    for (size_t i = 0; i < request->n_file_to_generate; i++)
        if (!is_bundled(request->file_to_generate[i]))
            request->file_to_generate[kept++] = request->file_to_generate[i];
    request->n_file_to_generate = kept;
}

static void rename_bases(pool *p, proto_message *const *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (check_needs_base_name(p, messages[i]))
            proto_set_base_field_name(p, messages[i], CHECK_BASE_NAME);
        rename_bases(p, messages[i]->nested_type, messages[i]->n_nested_type);
    }
}

/* Changes the request to what protoc-gen-c can do, and packs it. */
static text pack_for_generator(pool *p, proto_request *request)
{
    for (size_t i = 0; i < request->n_proto_file; i++) {
        proto_file *f = request->proto_file[i];
        size_t kept = 0;
        for (size_t j = 0; j < f->n_service; j++)
            if (check_pb_c_service(p, f->service[j]) == NULL)
                f->service[kept++] = f->service[j];
        f->n_service = kept;
        rename_bases(p, f->message_type, f->n_message_type);
        if (is_below(f->name, "google/protobuf/")) /* their comments are in protobuf's own documentation */
            f->source_code_info = NULL;
    }
    size_t size = google__protobuf__compiler__code_generator_request__get_packed_size(request);
    uint8_t *bytes = pool_alloc(p, size);
    google__protobuf__compiler__code_generator_request__pack(request, bytes);
    text packed = text_new(p);
    text_add_bytes(&packed, bytes, size);
    return packed;
}

/* The first field of a oneof, or NULL. */
static const proto_field *first_of_oneof(const proto_message *m, size_t oneof)
{
    for (size_t i = 0; i < m->n_field; i++)
        if (m->field[i]->has_oneof_index && (size_t)m->field[i]->oneof_index == oneof)
            return m->field[i];
    return NULL;
}

/* Writes `{{0,NULL}}` where protoc-gen-c writes `{0}` for a union that begins with bytes, of which gcc warns wherever
 * the message is initialized. Header is that of `file`. */
static void brace_unions(pool *p, const proto_file *file, const char *scope, proto_message *const *messages,
                         size_t count, response_file *header)
{
    for (size_t i = 0; i < count; i++) {
        const proto_message *m = messages[i];
        const char *full = name_full(p, file, scope, m->name);
        for (size_t j = 0; j < m->n_oneof_decl; j++) {
            const proto_field *first = first_of_oneof(m, j);
            if (first == NULL || first->type != GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_BYTES)
                continue;
            const char *init =
                pool_printf(p, ", %s__%s__NOT_SET, {0}", name_upper(p, full), name_upper(p, m->oneof_decl[j]->name));
            const char *found = strstr(header->content, init);
            if (found == NULL)
                continue;
            const char *rest = found + strlen(init);
            int before = (int)(rest - header->content) - 2;
            header->content = pool_printf(p, "%.*s{0,NULL}}%s", before, header->content, rest);
        }
        brace_unions(p, file, full, m->nested_type, m->n_nested_type, header);
    }
}

static response_file *find_output(const proto_response *response, const char *name)
{
    for (size_t i = 0; i < response->n_file; i++)
        if (response->file[i]->name != NULL && response->file[i]->content != NULL &&
            strcmp(response->file[i]->name, name) == 0)
            return response->file[i];
    return NULL;
}

/* Runs protoc-gen-c. @return its answer, or NULL with the problem for the user. */
static proto_response *run_generator(pool *p, proto_request *request, const char **problem)
{
    const text input = pack_for_generator(p, request);
    text output = text_new(p);
    int rc = child_run(p, generator, (const uint8_t *)input.data, input.size, &output, problem);
    if (rc == -ENOENT)
        *problem = pool_printf(p, "%s is not in PATH — install protobuf-c's compiler (Debian: protobuf-c-compiler)",
                               generator);
    if (rc != 0)
        return NULL;
    proto_response *response = google__protobuf__compiler__code_generator_response__unpack(
        &p->allocator, output.size, (const uint8_t *)output.data);
    if (response == NULL) {
        *problem = pool_printf(p, "%s printed something that is no CodeGeneratorResponse", generator);
        return NULL;
    }
    if (response->error != NULL && response->error[0] != '\0') {
        *problem = pool_printf(p, "%s: %s", generator, response->error);
        return NULL;
    }
    for (size_t i = 0; i < request->n_file_to_generate; i++) {
        const proto_file *file = proto_find_file(request, request->file_to_generate[i]);
        response_file *header = find_output(response, pool_printf(p, "%s.pb-c.h", name_stem(p, file->name)));
        if (header != NULL)
            brace_unions(p, file, "", file->message_type, file->n_message_type, header);
    }
    return response;
}

static response_file *new_file(pool *p, const char *stem, const char *extension, char *content)
{
    response_file *file = pool_alloc(p, sizeof *file);
    google__protobuf__compiler__code_generator_response__file__init(file);
    file->name = pool_printf(p, "%s%s", stem, extension);
    file->content = content;
    return file;
}

/* Generates all. @return the problem for the user, or NULL. */
static const char *generate(pool *p, proto_request *request, proto_response *response)
{
    bool bundled = take_bundled(p, request);
    if (!bundled)
        drop_bundled_files(request);
    if (request->n_file_to_generate == 0)
        return NULL;
    const char *problem = check_request(p, request, bundled);
    if (problem != NULL)
        return problem;
    size_t count = 0;
    response_file **glue = pool_alloc(p, 2 * request->n_file_to_generate * sizeof *glue);
    for (size_t i = 0; i < request->n_file_to_generate; i++) {
        const proto_file *file = proto_find_file(request, request->file_to_generate[i]);
        const char *stem = name_stem(p, file->name);
        glue[count++] = new_file(p, stem, ".weft.h", emit_header(p, request, file));
        glue[count++] = new_file(p, stem, ".weft.c", emit_source(p, request, file));
    }
    /* Last, because it changes the request. */
    const proto_response *generated = run_generator(p, request, &problem);
    if (generated == NULL)
        return problem;
    response->n_file = generated->n_file + count;
    response->file = pool_alloc(p, response->n_file * sizeof *response->file);
    if (generated->n_file > 0)
        memcpy(response->file, generated->file, generated->n_file * sizeof *response->file);
    memcpy(response->file + generated->n_file, glue, count * sizeof *glue);
    return NULL;
}

int plugin_answer(pool *p, const uint8_t *request_bytes, size_t size, text *answer)
{
    proto_request *request = proto_parse(p, request_bytes, size);
    if (request == NULL)
        return -EBADMSG;

    proto_response response = GOOGLE__PROTOBUF__COMPILER__CODE_GENERATOR_RESPONSE__INIT;
    response.has_supported_features = true;
    response.supported_features = GOOGLE__PROTOBUF__COMPILER__CODE_GENERATOR_RESPONSE__FEATURE__FEATURE_PROTO3_OPTIONAL;
    const char *problem = generate(p, request, &response);
    if (problem != NULL)
        response.error = pool_printf(p, "%s", problem);
    size_t packed_size = google__protobuf__compiler__code_generator_response__get_packed_size(&response);
    uint8_t *packed = pool_alloc(p, packed_size);
    google__protobuf__compiler__code_generator_response__pack(&response, packed);
    text_add_bytes(answer, packed, packed_size);
    return 0;
}
