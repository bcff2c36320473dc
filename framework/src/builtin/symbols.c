/* symbols.c: fills two tables from the descriptors that generated code carries.
 *
 * Names are built in the set's arena, and so are the records of files; a descriptor is unpacked into an arena of its
 * own and forgotten. Descriptors are part of the program, and trusted like its code: protoc has bounded how deep they
 * nest.
 */
#include "builtin/symbols.h"

#include <errno.h>

#include "google/protobuf/descriptor.pb-c.h"

typedef Google__Protobuf__FileDescriptorProto file_proto;
typedef Google__Protobuf__DescriptorProto message_proto;
typedef Google__Protobuf__EnumDescriptorProto enum_proto;
typedef Google__Protobuf__ServiceDescriptorProto service_proto;

static weft__known_file *file_of(weft__list_node *node)
{
    return WEFT__CONTAINER_OF(node, weft__known_file, node);
}

int weft__symbols_init(weft__symbols *symbols)
{
    symbols->file_count = 0;
    weft__list_init(&symbols->files);
    weft__table_init(&symbols->by_file_name);
    weft__table_init(&symbols->by_name);
    return weft_arena_new(&symbols->arena, 0);
}

void weft__symbols_fini(weft__symbols *symbols)
{
    if (symbols->arena == NULL)
        return;
    weft__table_fini(&symbols->by_file_name);
    weft__table_fini(&symbols->by_name);
    weft_arena_free(symbols->arena);
    symbols->arena = NULL;
}

const weft__known_file *weft__symbols_file(const weft__symbols *symbols, const char *name)
{
    return weft__table_find(&symbols->by_file_name, weft_sv_from(name));
}

const weft__symbol *weft__symbols_find(const weft__symbols *symbols, const char *name)
{
    return weft__table_find(&symbols->by_name, weft_sv_from(name));
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Adds "scope.name" ("" is no scope). The full name, for what is declared within; NULL: out of memory. */
static const char *add_name(weft__symbols *symbols, weft__symbol *symbol, const char *scope, const char *name)
{
    const char *full = weft_arena_printf(symbols->arena, "%s%s%s", scope, scope[0] != '\0' ? "." : "", name);
    if (full == NULL || weft__table_put(&symbols->by_name, weft_sv_from(full), symbol) == -ENOMEM)
        return NULL;
    return full;
}

/* The values of an enum are its siblings, as in C. */
static int add_enum(weft__symbols *symbols, weft__known_file *known, const char *scope, const enum_proto *proto)
{
    if (add_name(symbols, &known->other, scope, proto->name) == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < proto->n_value; i++)
        if (add_name(symbols, &known->other, scope, proto->value[i]->name) == NULL)
            return -ENOMEM;
    return 0;
}

static int add_message(weft__symbols *symbols, weft__known_file *known, const char *scope, const message_proto *proto)
{
    const char *full = add_name(symbols, &known->message, scope, proto->name);
    int rc = full != NULL ? 0 : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < proto->n_field; i++)
        rc = add_name(symbols, &known->other, full, proto->field[i]->name) != NULL ? 0 : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < proto->n_oneof_decl; i++)
        rc = add_name(symbols, &known->other, full, proto->oneof_decl[i]->name) != NULL ? 0 : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < proto->n_enum_type; i++)
        rc = add_enum(symbols, known, full, proto->enum_type[i]);
    for (size_t i = 0; rc == 0 && i < proto->n_nested_type; i++)
        rc = add_message(symbols, known, full, proto->nested_type[i]);
    return rc;
}

static int add_service(weft__symbols *symbols, weft__known_file *known, const char *scope, const service_proto *proto)
{
    const char *full = add_name(symbols, &known->other, scope, proto->name);
    int rc = full != NULL ? 0 : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < proto->n_method; i++)
        rc = add_name(symbols, &known->other, full, proto->method[i]->name) != NULL ? 0 : -ENOMEM;
    return rc;
}

static int add_names(weft__symbols *symbols, weft__known_file *known, const file_proto *proto)
{
    const char *scope = proto->package != NULL ? proto->package : "";
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < proto->n_message_type; i++)
        rc = add_message(symbols, known, scope, proto->message_type[i]);
    for (size_t i = 0; rc == 0 && i < proto->n_enum_type; i++)
        rc = add_enum(symbols, known, scope, proto->enum_type[i]);
    for (size_t i = 0; rc == 0 && i < proto->n_service; i++)
        rc = add_service(symbols, known, scope, proto->service[i]);
    return rc;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static int read_descriptor(weft__symbols *symbols, weft__known_file *known)
{
    weft_arena *scratch;
    int rc = weft_arena_new(&scratch, 0);
    if (rc < 0)
        return rc;
    const file_proto *proto = google__protobuf__file_descriptor_proto__unpack(
        weft_arena_allocator(scratch), known->file->descriptor_size, known->file->descriptor);
    if (proto != NULL)
        rc = add_names(symbols, known, proto);
    else
        rc = weft_arena_failed(scratch) ? -ENOMEM : -EBADMSG;
    weft_arena_free(scratch);
    return rc;
}

int weft__symbols_add(weft__symbols *symbols, const weft_file *file)
{
    if (weft__symbols_file(symbols, file->name) != NULL)
        return 0;
    weft__known_file *known = weft_arena_zalloc(symbols->arena, sizeof *known);
    if (known == NULL)
        return -ENOMEM;
    known->file = file;
    known->index = symbols->file_count;
    known->message = (weft__symbol){known, true};
    known->other = (weft__symbol){known, false};
    int rc = weft__table_put(&symbols->by_file_name, weft_sv_from(file->name), known);
    if (rc < 0)
        return rc;
    weft__list_push_back(&symbols->files, &known->node);
    symbols->file_count++;
    rc = read_descriptor(symbols, known);
    for (size_t i = 0; rc == 0 && i < file->import_count; i++)
        rc = weft__symbols_add(symbols, file->imports[i]);
    return rc;
}

/* Adds a file and what it imports to the needs of `root`, unless they are there. */
static void need(weft__symbols *symbols, weft__known_file *root, weft__known_file *known)
{
    if (known->mark == root->index + 1)
        return;
    known->mark = root->index + 1;
    root->needs[root->need_count++] = known;
    for (size_t i = 0; i < known->file->import_count; i++)
        need(symbols, root, weft__table_find(&symbols->by_file_name, weft_sv_from(known->file->imports[i]->name)));
}

int weft__symbols_link(weft__symbols *symbols)
{
    for (weft__list_node *node = weft__list_first(&symbols->files); node != NULL;
         node = weft__list_next(&symbols->files, node)) {
        weft__known_file *known = file_of(node);
        known->needs = weft_arena_calloc(symbols->arena, symbols->file_count, sizeof *known->needs);
        if (known->needs == NULL)
            return -ENOMEM;
        need(symbols, known, known);
    }
    return 0;
}
