#include "names.h"

#include <stdlib.h>
#include <string.h>

/* The proto language is ASCII, whatever the locale. */
static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_alnum(char c)
{
    return is_upper(c) || is_lower(c) || (c >= '0' && c <= '9');
}

static char to_upper(char c)
{
    return is_lower(c) ? (char)(c - 'a' + 'A') : c;
}

static char to_lower(char c)
{
    return is_upper(c) ? (char)(c - 'A' + 'a') : c;
}

/* An upper-case letter begins a word unless one stands before it or it comes first: URLShortenerV2 is urlshortener_v2.
 */
static void add_words(text *out, const char *part, size_t length, char (*convert)(char))
{
    for (size_t i = 0; i < length; i++) {
        if (is_upper(part[i]) && i > 0 && !is_upper(part[i - 1]))
            text_add(out, "_");
        char c = convert(part[i]);
        text_add_bytes(out, &c, 1);
    }
}

static void add_lower(text *out, const char *part, size_t length)
{
    add_words(out, part, length, to_lower);
}

static void add_upper(text *out, const char *part, size_t length)
{
    add_words(out, part, length, to_upper);
}

static void add_camel(text *out, const char *part, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (part[i] == '_')
            continue;
        char c = i == 0 || part[i - 1] == '_' ? to_upper(part[i]) : part[i];
        text_add_bytes(out, &c, 1);
    }
}

/* Converts the parts between dots and joins them with two underscores. */
static char *convert(pool *p, const char *full_name, void (*add_part)(text *, const char *, size_t))
{
    text out = text_new(p);
    while (*full_name != '\0') {
        size_t length = strcspn(full_name, ".");
        if (length > 0 && out.size > 0)
            text_add(&out, "__");
        add_part(&out, full_name, length);
        full_name += length;
        full_name += *full_name == '.';
    }
    return out.data;
}

char *name_type(pool *p, const char *full_name)
{
    return convert(p, full_name, add_camel);
}

char *name_lower(pool *p, const char *full_name)
{
    return convert(p, full_name, add_lower);
}

char *name_upper(pool *p, const char *full_name)
{
    return convert(p, full_name, add_upper);
}

char *name_full(pool *p, const proto_file *file, const char *scope, const char *name)
{
    if (scope[0] != '\0')
        return pool_printf(p, "%s.%s", scope, name);
    const char *package = proto_c_package(p, file);
    return pool_printf(p, "%s.%s", package != NULL ? package : proto_package(file), name);
}

char *name_of_reference(pool *p, const proto_request *request, const char *type_name)
{
    const proto_file *file = proto_find_type(request, type_name);
    size_t package = strlen(proto_package(file));
    return name_full(p, file, "", type_name + 1 + package + (package > 0));
}

static int compare_names(const void *key, const void *element)
{
    return strcmp(key, *(const char *const *)element);
}

#define CONTAINS(list, name) (bsearch(name, list, sizeof list / sizeof list[0], sizeof list[0], compare_names) != NULL)

/* What protobuf-c 1.4 knows as a keyword. Sorted. */
static const char *const pb_c_keywords[] = {
    "and",
    "and_eq",
    "asm",
    "auto",
    "bitand",
    "bitor",
    "bool",
    "break",
    "case",
    "catch",
    "char",
    "class",
    "compl",
    "const",
    "const_cast",
    "continue",
    "default",
    "delete",
    "do",
    "double",
    "dynamic_cast",
    "else",
    "enum",
    "explicit",
    "extern",
    "false",
    "float",
    "for",
    "friend",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "mutable",
    "namespace",
    "new",
    "not",
    "not_eq",
    "operator",
    "or",
    "or_eq",
    "private",
    "protected",
    "public",
    "register",
    "reinterpret_cast",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "static_cast",
    "struct",
    "switch",
    "template",
    "this",
    "throw",
    "true",
    "try",
    "typedef",
    "typeid",
    "typename",
    "union",
    "unsigned",
    "using",
    "virtual",
    "void",
    "volatile",
    "wchar_t",
    "while",
    "xor",
    "xor_eq",
};

/* What C, C++ and their most common headers have besides. Sorted. */
static const char *const more_keywords[] = {
    "EOF",          "NULL",       "_Alignas",  "_Alignof",       "_Atomic",       "_Bool",     "_Complex",
    "_Generic",     "_Imaginary", "_Noreturn", "_Static_assert", "_Thread_local", "alignas",   "alignof",
    "assert",       "char16_t",   "char32_t",  "char8_t",        "co_await",      "co_return", "co_yield",
    "concept",      "consteval",  "constexpr", "constinit",      "decltype",      "errno",     "export",
    "linux",        "noexcept",   "nullptr",   "offsetof",       "requires",      "restrict",  "static_assert",
    "thread_local", "typeof",     "unix",      "va_arg",         "va_copy",       "va_end",    "va_start",
};

/* What the glue calls its own things in a service. Sorted. */
static const char *const glue_words[] = {"methods", "ops", "register", "service"};

char *name_field(pool *p, const char *field)
{
    text out = text_new(p);
    for (; *field != '\0'; field++) {
        char c = to_lower(*field);
        text_add_bytes(&out, &c, 1);
    }
    if (CONTAINS(pb_c_keywords, out.data))
        text_add(&out, "_");
    return out.data;
}

bool name_is_bad_field(const char *field)
{
    return strcmp(field, "restrict") == 0 || strcmp(field, "errno") == 0 || strcmp(field, "static_assert") == 0;
}

char *name_pb_c_method(pool *p, const char *method)
{
    return name_lower(p, method);
}

bool name_is_keyword(const char *name)
{
    return CONTAINS(pb_c_keywords, name) || CONTAINS(more_keywords, name);
}

/* INT_MAX, SIZE_MAX, …: <limits.h> has dozens of them. */
static bool is_limit(const char *name)
{
    size_t length = strlen(name);
    size_t capitals = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return length > 4 && capitals == length &&
           (strcmp(name + length - 4, "_MAX") == 0 || strcmp(name + length - 4, "_MIN") == 0);
}

char *name_method(pool *p, const char *method)
{
    bool taken = name_is_keyword(method) || is_limit(method) || CONTAINS(glue_words, method);
    return pool_printf(p, "%s%s", method, taken ? "_" : "");
}

char *name_service(pool *p, const proto_file *file, const proto_service *service)
{
    const char *package = proto_package(file);
    char *result = pool_printf(p, "%s%s%s", package, package[0] != '\0' ? "_" : "", service->name);
    for (char *c = result; *c != '\0'; c++)
        if (*c == '.')
            *c = '_';
    return result;
}

char *name_stem(pool *p, const char *path)
{
    size_t length = strlen(path);
    const size_t extension = sizeof ".proto" - 1;
    if (length > extension && strcmp(path + length - extension, ".proto") == 0)
        length -= extension;
    return pool_printf(p, "%.*s", (int)length, path);
}

/* A slash becomes two underscores. One underscore stays itself between letters or digits; it elsewhere, and every other
 * character, become three underscores and their code. So runs of one, two, three and five underscores never mix. */
char *name_file(pool *p, const char *path)
{
    const char *stem = name_stem(p, path);
    text out = text_new(p);
    for (const char *c = stem; *c != '\0'; c++) {
        bool first = c == stem;
        if (is_alnum(*c) ? !first || is_upper(*c) || is_lower(*c)
                         : *c == '_' && !first && is_alnum(c[-1]) && is_alnum(c[1]))
            text_add_bytes(&out, c, 1);
        else if (*c == '/')
            text_add(&out, "__");
        else
            text_printf(&out, "___%02x", (unsigned)(unsigned char)*c);
    }
    text_add(&out, "_proto");
    return out.data;
}
