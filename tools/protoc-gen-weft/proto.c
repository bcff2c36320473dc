#include "proto.h"

#include <string.h>

/* Of messages in a request; what the parsers of protobuf itself take by default. */
enum {
    MAX_DEPTH = 100
};

/* ---- The wire format, as far as protobuf-c does not do it for us ---- */

enum {
    LENGTH_DELIMITED = 2
};

typedef struct wire {
    const uint8_t *data;
    size_t size;
} wire;

static bool take_varint(wire *w, uint64_t *value)
{
    uint64_t result = 0;
    for (unsigned shift = 0; shift < 64 && w->size > 0; shift += 7) {
        uint8_t byte = *w->data++;
        w->size--;
        result |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *value = result;
            return true;
        }
    }
    return false;
}

static bool take_bytes(wire *w, uint64_t size, wire *bytes)
{
    if (size > w->size)
        return false;
    *bytes = (wire){.data = w->data, .size = (size_t)size};
    w->data += size;
    w->size -= (size_t)size;
    return true;
}

/* Takes a field off a message: its number, and its bytes if it is length-delimited, else no data. */
static bool take_field(wire *message, uint64_t *number, wire *bytes)
{
    uint64_t tag;
    uint64_t size = 0;
    *bytes = (wire){0};
    if (!take_varint(message, &tag))
        return false;
    *number = tag >> 3;
    switch (tag & 7) {
    case 0:
        return take_varint(message, &size);
    case 1:
        return take_bytes(message, 8, &(wire){0});
    case LENGTH_DELIMITED:
        return take_varint(message, &size) && take_bytes(message, size, bytes);
    case 5:
        return take_bytes(message, 4, &(wire){0});
    default: /* groups */
        return false;
    }
}

/* The last string field `number` of a message; false when there is none. */
static bool find_string(wire message, uint64_t wanted, wire *string)
{
    bool found = false;
    while (message.size > 0) {
        uint64_t number;
        wire bytes;
        if (!take_field(&message, &number, &bytes))
            return false;
        if (number == wanted && bytes.data != NULL) {
            *string = bytes;
            found = true;
        }
    }
    return found;
}

/* Whether messages nest at most `depth` deep: protobuf-c's unpack takes stack for each level and has no limit. */
static bool is_shallow(const ProtobufCMessageDescriptor *type, wire message, unsigned depth)
{
    while (message.size > 0) {
        uint64_t number;
        wire bytes;
        if (!take_field(&message, &number, &bytes))
            return false;
        const ProtobufCFieldDescriptor *field = bytes.data != NULL && number <= INT32_MAX
                                                    ? protobuf_c_message_descriptor_get_field(type, (unsigned)number)
                                                    : NULL;
        if (field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE &&
            (depth == 0 || !is_shallow(field->descriptor, bytes, depth - 1)))
            return false;
    }
    return true;
}

static const proto_place *new_place(pool *p, proto_place place)
{
    proto_place *result = pool_alloc(p, sizeof *result);
    *result = place;
    return result;
}

const proto_place *proto_place_of(pool *p, const proto_file *file)
{
    return new_place(p, (proto_place){.file = file, .index = -1});
}

const proto_place *proto_place_in(pool *p, const proto_place *parent, int32_t field, size_t index)
{
    return new_place(p, (proto_place){.parent = parent, .file = parent->file, .field = field, .index = (int32_t)index});
}

const proto_place *proto_place_at(pool *p, const proto_place *parent, int32_t field)
{
    return new_place(p, (proto_place){.parent = parent, .file = parent->file, .field = field, .index = -1});
}

/* Whether `path` leads to the place: compared from its end, because a place knows its parent only. */
static bool leads_to(const proto_place *place, const int32_t *path, size_t length)
{
    for (; place->parent != NULL; place = place->parent) {
        if (place->index >= 0 && (length == 0 || path[--length] != place->index))
            return false;
        if (length == 0 || path[--length] != place->field)
            return false;
    }
    return length == 0;
}

const proto_location *proto_locate(const proto_place *place)
{
    const Google__Protobuf__SourceCodeInfo *info = place->file->source_code_info;
    for (size_t i = 0; info != NULL && i < info->n_location; i++)
        if (leads_to(place, info->location[i]->path, info->location[i]->n_path))
            return info->location[i];
    return NULL;
}

static bool fields_valid(proto_field *const *fields, size_t count, size_t oneof_count)
{
    for (size_t i = 0; i < count; i++) {
        if (fields[i]->name == NULL)
            return false;
        if (fields[i]->has_oneof_index && (fields[i]->oneof_index < 0 || (size_t)fields[i]->oneof_index >= oneof_count))
            return false;
    }
    return true;
}

static bool enums_valid(proto_enum *const *enums, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (enums[i]->name == NULL)
            return false;
        for (size_t j = 0; j < enums[i]->n_value; j++)
            if (enums[i]->value[j]->name == NULL)
                return false;
    }
    return true;
}

static bool messages_valid(proto_message *const *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const proto_message *m = messages[i];
        if (m->name == NULL || !fields_valid(m->field, m->n_field, m->n_oneof_decl) ||
            !fields_valid(m->extension, m->n_extension, 0) || !enums_valid(m->enum_type, m->n_enum_type) ||
            !messages_valid(m->nested_type, m->n_nested_type))
            return false;
        for (size_t j = 0; j < m->n_oneof_decl; j++)
            if (m->oneof_decl[j]->name == NULL)
                return false;
    }
    return true;
}

static bool services_valid(const proto_request *request, proto_service *const *services, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (services[i]->name == NULL)
            return false;
        for (size_t j = 0; j < services[i]->n_method; j++) {
            const proto_method *m = services[i]->method[j];
            if (m->name == NULL || m->input_type == NULL || m->output_type == NULL ||
                proto_find_type(request, m->input_type) == NULL || proto_find_type(request, m->output_type) == NULL)
                return false;
        }
    }
    return true;
}

static bool locations_valid(const proto_file *file)
{
    const Google__Protobuf__SourceCodeInfo *info = file->source_code_info;
    for (size_t i = 0; info != NULL && i < info->n_location; i++)
        if (info->location[i]->n_span < 3)
            return false;
    return true;
}

/* Whether every name that the generator reads is there and every index in range. */
static bool is_valid(const proto_request *request)
{
    for (size_t i = 0; i < request->n_proto_file; i++)
        if (request->proto_file[i]->name == NULL)
            return false;
    for (size_t i = 0; i < request->n_proto_file; i++) {
        const proto_file *f = request->proto_file[i];
        if (!messages_valid(f->message_type, f->n_message_type) || !enums_valid(f->enum_type, f->n_enum_type) ||
            !fields_valid(f->extension, f->n_extension, 0) || !locations_valid(f))
            return false;
        for (size_t j = 0; j < f->n_dependency; j++)
            if (proto_find_file(request, f->dependency[j]) == NULL)
                return false;
    }
    for (size_t i = 0; i < request->n_proto_file; i++)
        if (!services_valid(request, request->proto_file[i]->service, request->proto_file[i]->n_service))
            return false;
    for (size_t i = 0; i < request->n_file_to_generate; i++)
        if (proto_find_file(request, request->file_to_generate[i]) == NULL)
            return false;
    return true;
}

proto_request *proto_parse(pool *p, const uint8_t *bytes, size_t size)
{
    const wire message = {.data = bytes, .size = size};
    if (!is_shallow(&google__protobuf__compiler__code_generator_request__descriptor, message, MAX_DEPTH))
        return NULL;
    proto_request *request = google__protobuf__compiler__code_generator_request__unpack(&p->allocator, size, bytes);
    return request != NULL && is_valid(request) ? request : NULL;
}

const proto_file *proto_find_file(const proto_request *request, const char *name)
{
    for (size_t i = 0; i < request->n_proto_file; i++)
        if (strcmp(request->proto_file[i]->name, name) == 0)
            return request->proto_file[i];
    return NULL;
}

const char *proto_package(const proto_file *file)
{
    return file->package != NULL ? file->package : "";
}

/* Copies a list of indices into the imports, of which that at `dropped` is gone. */
static int32_t *without_index(pool *p, const int32_t *list, size_t *count, size_t dropped)
{
    int32_t *result = pool_alloc(p, *count * sizeof *result);
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++)
        if ((size_t)list[i] != dropped)
            result[kept++] = (size_t)list[i] > dropped ? list[i] - 1 : list[i];
    *count = kept;
    return result;
}

proto_file *proto_published(pool *p, const proto_file *file)
{
    proto_file *result = pool_alloc(p, sizeof *result);
    *result = *file;
    result->source_code_info = NULL;
    result->dependency = pool_alloc(p, file->n_dependency * sizeof *result->dependency);
    result->n_dependency = 0;
    size_t dropped = SIZE_MAX;
    for (size_t i = 0; i < file->n_dependency; i++) {
        if (strcmp(file->dependency[i], PROTO_PB_C_OPTIONS) == 0)
            dropped = i;
        else
            result->dependency[result->n_dependency++] = file->dependency[i];
    }
    if (dropped < SIZE_MAX) {
        result->public_dependency = without_index(p, file->public_dependency, &result->n_public_dependency, dropped);
        result->weak_dependency = without_index(p, file->weak_dependency, &result->n_weak_dependency, dropped);
    }
    return result;
}

/* What follows `prefix` and a dot in `name`, or NULL. An empty prefix fits everything. */
static const char *after_prefix(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    if (length == 0)
        return name;
    return strncmp(name, prefix, length) == 0 && name[length] == '.' ? name + length + 1 : NULL;
}

static bool declares(proto_message *const *messages, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(messages[i]->name, name) == 0)
            return true;
        const char *rest = after_prefix(name, messages[i]->name);
        if (rest != NULL && rest != name && declares(messages[i]->nested_type, messages[i]->n_nested_type, rest))
            return true;
    }
    return false;
}

const proto_file *proto_find_type(const proto_request *request, const char *type_name)
{
    if (type_name[0] != '.')
        return NULL;
    for (size_t i = 0; i < request->n_proto_file; i++) {
        const proto_file *f = request->proto_file[i];
        const char *name = after_prefix(type_name + 1, proto_package(f));
        if (name != NULL && declares(f->message_type, f->n_message_type, name))
            return f;
    }
    return NULL;
}

/* ---- protobuf-c's options: extensions, which the descriptors keep as unknown fields; number 1019, a message ---- */

enum {
    PB_C_OPTIONS = 1019,
    PB_C_FILE_C_PACKAGE = 6,
    PB_C_MSG_BASE_FIELD_NAME = 3
};

static const char *pb_c_option(pool *p, const ProtobufCMessage *options, uint32_t number)
{
    const char *result = NULL;
    for (size_t i = 0; options != NULL && i < options->n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *field = &options->unknown_fields[i];
        wire message = {.data = field->data, .size = field->len};
        wire string = {.data = NULL, .size = 0};
        uint64_t size;
        if (field->tag == PB_C_OPTIONS && field->wire_type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED &&
            take_varint(&message, &size) && find_string(message, number, &string))
            result = pool_printf(p, "%.*s", (int)string.size, (const char *)string.data);
    }
    return result;
}

const char *proto_c_package(pool *p, const proto_file *file)
{
    return pb_c_option(p, (const ProtobufCMessage *)file->options, PB_C_FILE_C_PACKAGE);
}

const char *proto_base_field_name(pool *p, const proto_message *message)
{
    return pb_c_option(p, (const ProtobufCMessage *)message->options, PB_C_MSG_BASE_FIELD_NAME);
}

void proto_set_base_field_name(pool *p, proto_message *message, const char *name)
{
    if (message->options == NULL) {
        message->options = pool_alloc(p, sizeof *message->options);
        google__protobuf__message_options__init(message->options);
    }
    /* One more occurrence of the option: parsers merge it with those before. */
    ProtobufCMessage *options = (ProtobufCMessage *)message->options;
    ProtobufCMessageUnknownField *fields = pool_alloc(p, (options->n_unknown_fields + 1) * sizeof *fields);
    if (options->n_unknown_fields > 0)
        memcpy(fields, options->unknown_fields, options->n_unknown_fields * sizeof *fields);
    uint8_t length = (uint8_t)strlen(name);
    uint8_t *data = pool_alloc(p, 3u + length);
    data[0] = (uint8_t)(2 + length);
    data[1] = PB_C_MSG_BASE_FIELD_NAME << 3 | LENGTH_DELIMITED;
    data[2] = length;
    memcpy(data + 3, name, length);
    fields[options->n_unknown_fields] = (ProtobufCMessageUnknownField){
        .tag = PB_C_OPTIONS, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .len = 3u + length, .data = data};
    options->unknown_fields = fields;
    options->n_unknown_fields++;
}
