/* Design notes. Two kinds of checks: what protobuf-c's generator crashes on or turns into invalid C, found while
 * walking over the messages; and names that collide in C though they differ in the proto. For the latter every C name
 * that the files give rise to, protobuf-c's and ours, goes into one list with the element it stands for; sorted by
 * name, equal neighbours of different elements are collisions. The imports of a file belong to the list too, since all
 * of it is linked together. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "names.h"

enum {
    MAX_PROBLEMS = 20
};

/* A name in C and the element of a proto that it comes from. */
typedef struct symbol {
    const char *name;
    const char *owner; /* "message User" */
    const proto_place *place;
    size_t order;
} symbol;

typedef struct symbol_list {
    symbol *items;
    size_t count;
    size_t capacity;
} symbol_list;

typedef struct checker {
    pool *pool;
    const proto_request *request;
    bool bundled;
    symbol_list symbols;
    text problems;
    size_t problem_count;
} checker;

static bool is_generated(const checker *c, const proto_file *file)
{
    for (size_t i = 0; i < c->request->n_file_to_generate; i++)
        if (strcmp(c->request->file_to_generate[i], file->name) == 0)
            return true;
    return false;
}

static const char *where(pool *p, const proto_place *place)
{
    const proto_location *location = proto_locate(place);
    if (location == NULL)
        return place->file->name;
    return pool_printf(p, "%s:%d:%d", place->file->name, location->span[0] + 1, location->span[1] + 1);
}

static void report(checker *c, const proto_place *place, const char *message)
{
    if (c->problem_count++ >= MAX_PROBLEMS)
        return;
    text_printf(&c->problems, "%s%s: %s", c->problems.size > 0 ? "\n" : "", where(c->pool, place), message);
}

/* ---- Names that collide ---- */

static void add_symbol(checker *c, symbol_list *list, const proto_place *place, const char *owner, const char *name)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? 2 * list->capacity : 64;
        symbol *items = pool_alloc(c->pool, capacity * sizeof *items);
        if (list->count > 0)
            memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count] = (symbol){.name = name, .owner = owner, .place = place, .order = list->count};
    list->count++;
}

static int by_name(const void *left, const void *right)
{
    const symbol *a = left;
    const symbol *b = right;
    int names = strcmp(a->name, b->name);
    return names != 0 ? names : (a->order > b->order) - (a->order < b->order);
}

static int by_order(const void *left, const void *right)
{
    const symbol *a = *(symbol *const *)left;
    const symbol *b = *(symbol *const *)right;
    return (a->order > b->order) - (a->order < b->order);
}

static bool is_same(const proto_place *a, const proto_place *b)
{
    for (; a->parent != NULL && b->parent != NULL; a = a->parent, b = b->parent)
        if (a->field != b->field || a->index != b->index)
            return false;
    return a->parent == b->parent && a->file == b->file;
}

/* Whether the place, or one that it lies in, is in the list. */
static bool is_covered(const proto_place *place, const proto_place *const *list, size_t count)
{
    for (; place->parent != NULL; place = place->parent)
        for (size_t i = 0; i < count; i++)
            if (is_same(place, list[i]))
                return true;
    return false;
}

/* Reports every element that has a name of one before it; once, however many names and parts they share. */
static void report_collisions(checker *c, symbol_list *list)
{
    if (list->count == 0)
        return;
    qsort(list->items, list->count, sizeof *list->items, by_name);
    symbol **collisions = pool_alloc(c->pool, list->count * sizeof *collisions);
    size_t count = 0;
    for (size_t i = 1; i < list->count; i++) {
        symbol *previous = &list->items[i - 1];
        symbol *next = &list->items[i];
        if (strcmp(previous->name, next->name) == 0 && !is_same(previous->place, next->place) &&
            (is_generated(c, previous->place->file) || is_generated(c, next->place->file)))
            collisions[count++] = next;
    }
    qsort(collisions, count, sizeof(symbol *), by_order);
    const proto_place *reported[MAX_PROBLEMS];
    size_t reported_count = 0;
    for (size_t i = 0; i < count && reported_count < MAX_PROBLEMS; i++) {
        const symbol *second = collisions[i];
        const symbol *first = second - 1;
        if (is_covered(second->place, reported, reported_count))
            continue;
        reported[reported_count++] = second->place;
        report(c, second->place,
               pool_printf(c->pool, "%s and %s (%s) would both be `%s` in C — rename one of them", second->owner,
                           first->owner, where(c->pool, first->place), second->name));
    }
}

static void add_enum_symbols(checker *c, const proto_enum *e, const char *full, const proto_place *place)
{
    pool *p = c->pool;
    const char *owner = pool_printf(p, "enum %s", e->name);
    const char *upper = name_upper(p, full);
    add_symbol(c, &c->symbols, place, owner, name_type(p, full));
    add_symbol(c, &c->symbols, place, owner, pool_printf(p, "%s__descriptor", name_lower(p, full)));
    for (size_t i = 0; i < e->n_value; i++)
        add_symbol(c, &c->symbols, proto_place_in(p, place, ENUM_VALUE, i),
                   pool_printf(p, "value %s", e->value[i]->name), pool_printf(p, "%s__%s", upper, e->value[i]->name));
}

static void add_oneof_symbols(checker *c, const proto_message *m, size_t index, const char *full,
                              const proto_place *place)
{
    pool *p = c->pool;
    const proto_oneof *oneof = m->oneof_decl[index];
    const char *owner = pool_printf(p, "oneof %s", oneof->name);
    const char *prefix = pool_printf(p, "%s__%s", name_upper(p, full), name_upper(p, oneof->name));
    add_symbol(c, &c->symbols, place, owner,
               pool_printf(p, "%sCase", name_type(p, name_full(p, place->file, full, oneof->name))));
    add_symbol(c, &c->symbols, place, owner, pool_printf(p, "%s__NOT_SET", prefix));
    for (size_t i = 0; i < m->n_field; i++)
        if (m->field[i]->has_oneof_index && (size_t)m->field[i]->oneof_index == index)
            add_symbol(c, &c->symbols, proto_place_in(p, place->parent, MESSAGE_FIELD, i),
                       pool_printf(p, "field %s", m->field[i]->name),
                       pool_printf(p, "%s_%s", prefix, name_upper(p, m->field[i]->name)));
}

static void add_message_symbols(checker *c, const proto_message *m, const char *full, const proto_place *place)
{
    pool *p = c->pool;
    const char *owner = pool_printf(p, "message %s", m->name);
    const char *type = name_type(p, full);
    const char *lower = name_lower(p, full);
    add_symbol(c, &c->symbols, place, owner, type);
    add_symbol(c, &c->symbols, place, owner, pool_printf(p, "%s_Closure", type));
    add_symbol(c, &c->symbols, place, owner, pool_printf(p, "%s__descriptor", lower));
    add_symbol(c, &c->symbols, place, owner, pool_printf(p, "%s__init", lower));
    add_symbol(c, &c->symbols, place, owner, pool_printf(p, "%s__INIT", name_upper(p, full)));
    for (size_t i = 0; i < m->n_oneof_decl; i++)
        add_oneof_symbols(c, m, i, full, proto_place_in(p, place, MESSAGE_ONEOF, i));
    for (size_t i = 0; i < m->n_enum_type; i++)
        add_enum_symbols(c, m->enum_type[i], name_full(p, place->file, full, m->enum_type[i]->name),
                         proto_place_in(p, place, MESSAGE_ENUM, i));
    for (size_t i = 0; i < m->n_nested_type; i++)
        add_message_symbols(c, m->nested_type[i], name_full(p, place->file, full, m->nested_type[i]->name),
                            proto_place_in(p, place, MESSAGE_NESTED, i));
}

static void add_pb_c_service_symbols(checker *c, const proto_service *service, const proto_place *place,
                                     const char *owner)
{
    pool *p = c->pool;
    const char *full = name_full(p, place->file, "", service->name);
    const char *type = name_type(p, full);
    const char *lower = name_lower(p, full);
    add_symbol(c, &c->symbols, place, owner, pool_printf(p, "%s_Service", type));
    add_symbol(c, &c->symbols, place, owner, pool_printf(p, "%s_ServiceDestroy", type));
    add_symbol(c, &c->symbols, place, owner, pool_printf(p, "%s__descriptor", lower));
    add_symbol(c, &c->symbols, place, owner, pool_printf(p, "%s__init", lower));
    add_symbol(c, &c->symbols, place, owner, pool_printf(p, "%s__INIT", name_upper(p, full)));
    for (size_t i = 0; i < service->n_method; i++)
        add_symbol(c, &c->symbols, proto_place_in(p, place, SERVICE_METHOD, i),
                   pool_printf(p, "method %s", service->method[i]->name),
                   pool_printf(p, "%s__%s", lower, name_pb_c_method(p, service->method[i]->name)));
}

static void add_service_symbols(checker *c, const proto_service *service, const proto_place *place)
{
    static const char *const service_suffixes[] = {"methods", "ops", "register", "service"};
    /* All of them for every method, so that one that becomes a stream takes no name that is not its own already. */
    static const char *const method_suffixes[] = {
        "",
        "_async",
        "_client",
        "_client_close_send",
        "_client_finish",
        "_client_recv",
        "_client_send",
        "_done",
        "_deliver",
        "_finish",
        "_method",
        "_server",
        "_server_recv",
        "_server_send",
        "_thunk",
    };
    pool *p = c->pool;
    const char *owner = pool_printf(p, "service %s", service->name);
    const char *prefix = name_service(p, place->file, service);
    if (check_pb_c_service(p, service) == NULL)
        add_pb_c_service_symbols(c, service, place, owner);
    for (size_t i = 0; i < sizeof service_suffixes / sizeof service_suffixes[0]; i++)
        add_symbol(c, &c->symbols, place, owner, pool_printf(p, "%s_%s", prefix, service_suffixes[i]));
    for (size_t i = 0; i < service->n_method; i++) {
        const proto_place *method_place = proto_place_in(p, place, SERVICE_METHOD, i);
        const char *method = pool_printf(p, "method %s", service->method[i]->name);
        const char *name = name_method(p, service->method[i]->name);
        for (size_t j = 0; j < sizeof method_suffixes / sizeof method_suffixes[0]; j++)
            add_symbol(c, &c->symbols, method_place, method,
                       pool_printf(p, "%s_%s%s", prefix, name, method_suffixes[j]));
    }
}

static void add_file_symbols(checker *c, const proto_file *f)
{
    pool *p = c->pool;
    const proto_place *root = proto_place_of(p, f);
    const char *owner = pool_printf(p, "file %s", f->name);
    const char *prefix = name_file(p, f->name);
    static const char *const suffixes[] = {"descriptor", "file", "imports"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
        add_symbol(c, &c->symbols, root, owner, pool_printf(p, "%s_%s", prefix, suffixes[i]));
    for (size_t i = 0; i < f->n_enum_type; i++)
        add_enum_symbols(c, f->enum_type[i], name_full(p, f, "", f->enum_type[i]->name),
                         proto_place_in(p, root, FILE_ENUM, i));
    for (size_t i = 0; i < f->n_message_type; i++)
        add_message_symbols(c, f->message_type[i], name_full(p, f, "", f->message_type[i]->name),
                            proto_place_in(p, root, FILE_MESSAGE, i));
    for (size_t i = 0; i < f->n_service; i++)
        add_service_symbols(c, f->service[i], proto_place_in(p, root, FILE_SERVICE, i));
}

/* ---- What protobuf-c cannot do ---- */

static bool is_presence_flagged(const proto_file *file, const proto_field *field)
{
    return field->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_OPTIONAL &&
           field->type != GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_MESSAGE &&
           field->type != GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_STRING &&
           (file->syntax == NULL || strcmp(file->syntax, "proto3") != 0) && !field->has_oneof_index;
}

/* The members of a message's struct. */
static void check_members(checker *c, const proto_message *m, const proto_place *place)
{
    pool *p = c->pool;
    symbol_list members = {0};
    const char *base = proto_base_field_name(p, m);
    if (base == NULL)
        base = check_needs_base_name(p, m) ? CHECK_BASE_NAME : "base";
    add_symbol(c, &members, place, "protobuf-c's own member", base);
    for (size_t i = 0; i < m->n_field; i++) {
        const proto_field *field = m->field[i];
        const proto_place *field_place = proto_place_in(p, place, MESSAGE_FIELD, i);
        const char *owner = pool_printf(p, "field %s", field->name);
        const char *name = name_field(p, field->name);
        add_symbol(c, &members, field_place, owner, name);
        if (field->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED)
            add_symbol(c, &members, field_place, owner, pool_printf(p, "n_%s", name));
        if (is_presence_flagged(place->file, field))
            add_symbol(c, &members, field_place, owner, pool_printf(p, "has_%s", name));
        if (name_is_bad_field(name))
            report(
                c, field_place,
                pool_printf(p, "field %s would be `%s` in C, which C has for itself — rename it", field->name, name));
    }
    for (size_t i = 0; i < m->n_oneof_decl; i++)
        add_symbol(c, &members, proto_place_in(p, place, MESSAGE_ONEOF, i),
                   pool_printf(p, "oneof %s", m->oneof_decl[i]->name),
                   pool_printf(p, "%s_case", name_lower(p, m->oneof_decl[i]->name)));
    report_collisions(c, &members);
}

/* C has no infinite constants, negates 9223372036854775808, which is too large, and finds trigraphs in strings. */
static bool is_bad_default(Google__Protobuf__FieldDescriptorProto__Type type, const char *value)
{
    switch (type) {
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_FLOAT:
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_DOUBLE:
        return strcmp(value, "inf") == 0 || strcmp(value, "-inf") == 0 || strcmp(value, "nan") == 0;
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_INT64:
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_SINT64:
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_SFIXED64:
        return strcmp(value, "-9223372036854775808") == 0;
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_STRING:
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_BYTES:
        for (const char *s = value; (s = strstr(s, "??")) != NULL; s++)
            if (s[2] != '\0' && strchr("=/()!<>-", s[2]) != NULL)
                return true;
        return false;
    default:
        return false;
    }
}

static void check_field(checker *c, const proto_field *field, const proto_place *place)
{
    const char *value = field->default_value;
    if (field->type == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_GROUP)
        report(c, place,
               pool_printf(c->pool,
                           "field %s is a group, which protobuf-c does not know — make it a message and a field of it",
                           field->name));
    if (value != NULL && is_bad_default(field->type, value))
        report(c, place,
               pool_printf(c->pool,
                           "the default %s of field %s cannot be generated by protobuf-c — leave the default out",
                           value, field->name));
}

static void check_type_name(checker *c, const char *kind, const char *name, const char *full, const proto_place *place)
{
    static const char *const taken[] = {"DIR", "EOF", "FILE", "NULL"};
    const char *type = name_type(c->pool, full);
    bool bad = strncmp(type, "ProtobufC", 9) == 0;
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        bad = bad || strcmp(type, taken[i]) == 0;
    if (bad)
        report(
            c, place,
            pool_printf(c->pool, "%s %s would be `%s` in C, which is taken — put it into a package", kind, name, type));
}

static void check_message(checker *c, const proto_message *m, const char *full, const proto_place *place)
{
    pool *p = c->pool;
    check_type_name(c, "message", m->name, full, place);
    if (m->options != NULL && m->options->message_set_wire_format)
        report(c, place,
               pool_printf(p, "message %s has message_set_wire_format, which protobuf-c does not know — leave it out",
                           m->name));
    for (size_t i = 0; i < m->n_field; i++)
        check_field(c, m->field[i], proto_place_in(p, place, MESSAGE_FIELD, i));
    for (size_t i = 0; i < m->n_extension; i++)
        check_field(c, m->extension[i], proto_place_in(p, place, MESSAGE_EXTENSION, i));
    check_members(c, m, place);
    for (size_t i = 0; i < m->n_nested_type; i++)
        check_message(c, m->nested_type[i], name_full(p, place->file, full, m->nested_type[i]->name),
                      proto_place_in(p, place, MESSAGE_NESTED, i));
}

static bool begins_with_weft(const char *name)
{
    return strncmp(name, "weft", 4) == 0 && (name[4] == '\0' || name[4] == '.' || name[4] == '_');
}

static void check_file(checker *c, const proto_file *f)
{
    pool *p = c->pool;
    const proto_place *root = proto_place_of(p, f);
    size_t length = strlen(f->name);
    if (length < 6 || strcmp(f->name + length - 6, ".proto") != 0)
        report(c, root, "the name of the file does not end with .proto — rename it");
    for (const char *s = f->name; *s != '\0'; s++)
        if ((unsigned char)*s < ' ' || strchr("\"\\*?", *s) != NULL) {
            report(c, root, "the name of the file has a character that cannot stand in an #include — rename it");
            break;
        }
    if (f->syntax != NULL && f->syntax[0] != '\0' && strcmp(f->syntax, "proto2") != 0 &&
        strcmp(f->syntax, "proto3") != 0)
        report(c, proto_place_at(p, root, FILE_SYNTAX),
               pool_printf(p, "syntax \"%s\" is unknown to protobuf-c — use \"proto3\" or \"proto2\"", f->syntax));
    if (begins_with_weft(proto_package(f)) && !c->bundled)
        report(c, proto_place_at(p, root, FILE_PACKAGE),
               pool_printf(p, "package %s would take names that belong to Weft itself — use another package",
                           proto_package(f)));
    for (size_t i = 0; i < f->n_enum_type; i++)
        check_type_name(c, "enum", f->enum_type[i]->name, name_full(p, f, "", f->enum_type[i]->name),
                        proto_place_in(p, root, FILE_ENUM, i));
    for (size_t i = 0; i < f->n_message_type; i++)
        check_message(c, f->message_type[i], name_full(p, f, "", f->message_type[i]->name),
                      proto_place_in(p, root, FILE_MESSAGE, i));
    for (size_t i = 0; i < f->n_extension; i++)
        check_field(c, f->extension[i], proto_place_in(p, root, FILE_EXTENSION, i));
    for (size_t i = 0; i < f->n_service; i++)
        if (proto_package(f)[0] == '\0' && begins_with_weft(f->service[i]->name))
            report(c, proto_place_in(p, root, FILE_SERVICE, i),
                   pool_printf(p, "service %s would take names that belong to Weft itself — put it into a package",
                               f->service[i]->name));
}

const char *check_request(pool *p, const proto_request *request, bool bundled)
{
    checker c = {.pool = p, .request = request, .bundled = bundled, .problems = text_new(p)};
    for (size_t i = 0; i < request->n_proto_file; i++) {
        add_file_symbols(&c, request->proto_file[i]);
        if (is_generated(&c, request->proto_file[i]))
            check_file(&c, request->proto_file[i]);
    }
    report_collisions(&c, &c.symbols);
    if (c.problem_count > MAX_PROBLEMS)
        text_printf(&c.problems, "\nand %zu problems more", c.problem_count - MAX_PROBLEMS);
    return c.problem_count > 0 ? c.problems.data : NULL;
}

const char *check_pb_c_service(pool *p, const proto_service *service)
{
    if (service->n_method == 0)
        return "it has no methods";
    for (size_t i = 0; i < service->n_method; i++) {
        const char *method = service->method[i]->name;
        const char *name = name_pb_c_method(p, method);
        if (name_is_keyword(name) || strcmp(name, "base") == 0 || strcmp(name, "init") == 0 ||
            strcmp(name, "descriptor") == 0)
            return pool_printf(p, "method %s would be `%s` there", method, name);
        for (size_t j = 0; j < i; j++)
            if (strcmp(name_pb_c_method(p, service->method[j]->name), name) == 0)
                return pool_printf(p, "methods %s and %s would both be `%s` there", service->method[j]->name, method,
                                   name);
    }
    return NULL;
}

bool check_needs_base_name(pool *p, const proto_message *message)
{
    if (proto_base_field_name(p, message) != NULL)
        return false;
    for (size_t i = 0; i < message->n_field; i++)
        if (strcmp(name_field(p, message->field[i]->name), "base") == 0)
            return true;
    return false;
}
