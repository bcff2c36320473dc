#include "proto_edit.h"

#include <string.h>

#include "contract.h"

/* The line end that a file has. */
static const char *line_end(const text *content)
{
    const char *end = strchr(content->data, '\n');
    return end != NULL && end > content->data && end[-1] == '\r' ? "\r\n" : "\n";
}

static void add_rpc(text *out, const char *indent, const proto_new_method *m, const char *end)
{
    text_printf(out, "%srpc %s(%s%s) returns (%s%s);%s", indent, m->name, m->stream_request ? "stream " : "",
                m->request, m->stream_response ? "stream " : "", m->response, end);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The beginning of the line that `at` stands on, if only blanks stand between; else SIZE_MAX. */
static size_t blank_line_start(const text *content, size_t at)
{
    while (at > 0 && content->data[at - 1] != '\n')
        if (!is_blank(content->data[--at]))
            return SIZE_MAX;
    return at;
}

/* The blanks that the line of an element's first token begins with; NULL if something else stands there. */
static const char *indent_of(pool *p, const text *content, const proto_location *location)
{
    const char *line = content->data;
    for (int32_t n = location->span[0]; n > 0; n--) {
        line = strchr(line, '\n');
        if (line == NULL)
            return NULL;
        line++;
    }
    size_t length = strspn(line, " \t");
    return strncmp(line + length, "rpc", 3) == 0 ? pool_printf(p, "%.*s", (int)length, line) : NULL;
}

bool proto_add_method(text *out, const text *content, const proto_file *file, size_t service,
                      const proto_new_method *method)
{
    pool *p = out->pool;
    const proto_service *s = file->service[service];
    const proto_place *place = proto_place_in(p, proto_place_of(p, file), FILE_SERVICE, service);
    const proto_location *location = proto_locate(place);
    size_t end = location != NULL ? contract_end_of(content->data, content->size, location) : SIZE_MAX;
    if (end == SIZE_MAX || end == 0 || content->data[end - 1] != '}')
        return false;
    const char *indent = NULL;
    if (s->n_method > 0) {
        const proto_location *last = proto_locate(proto_place_in(p, place, SERVICE_METHOD, s->n_method - 1));
        indent = last != NULL ? indent_of(p, content, last) : NULL;
    }
    indent = indent != NULL ? indent : "  ";
    const char *newline = line_end(content);
    size_t brace = end - 1;
    size_t line = blank_line_start(content, brace);
    text_add_bytes(out, content->data, line != SIZE_MAX ? line : brace);
    if (line == SIZE_MAX || s->n_method > 0)
        text_add(out, newline);
    add_rpc(out, indent, method, newline);
    size_t from = line != SIZE_MAX ? line : brace;
    text_add_bytes(out, content->data + from, content->size - from);
    return true;
}

/* Ends the last line, and leaves one empty. */
static void begin_at_end(text *content, const char *newline)
{
    if (content->size > 0 && content->data[content->size - 1] != '\n')
        text_add(content, newline);
    text_add(content, newline);
}

void proto_add_message(text *content, const char *name)
{
    const char *newline = line_end(content);
    begin_at_end(content, newline);
    text_printf(content, "message %s {}%s", name, newline);
}

void proto_add_service(text *content, const char *name, const proto_new_method *method)
{
    const char *newline = line_end(content);
    begin_at_end(content, newline);
    text_printf(content, "service %s {%s", name, newline);
    add_rpc(content, "  ", method, newline);
    text_printf(content, "}%s", newline);
}

bool proto_is_identifier(const char *name)
{
    size_t length = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    return length > 0 && name[length] == '\0' && (name[0] < '0' || name[0] > '9') && name[0] != '_';
}
