/* Design notes
 *
 * A reader of our own, of one pass, because the library at hand keeps no positions, recurses 2048 deep on a stack that
 * may be small, and takes failing memory for a mistake in the text. Here depth is bounded, numbers do not depend on the
 * locale, and all memory is the arena's, whose failure sticks and is looked at once at the end.
 */
#include "base/json_read.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/json_write.h"
#include "base/utf8.h"

#define SHOWN_BYTES 40 /* of a wrong value */

struct reader {
    weft_arena *arena;
    const char *p;
    const char *end;
    const char *line_start;
    uint32_t line;
    unsigned depth;
    weft__buf *errors;
};

/* ---- Mistakes ---------------------------------------------------------------------------------------------------- */

void weft__json_report(weft__buf *errors, uint32_t line, uint32_t column, const char *path, const char *format, ...)
{
    va_list args;
    size_t start = errors->len;
    weft__buf_printf(errors, "%u:%u: ", (unsigned)line, (unsigned)column);
    if (*path != '\0')
        weft__buf_printf(errors, "%s: ", path);
    va_start(args, format);
    weft__buf_vprintf(errors, format, args);
    va_end(args);
    weft__buf_putc(errors, '\n');
    if (errors->failed != 0 && errors->len > start) { /* no halves of lines */
        errors->len = start;
        errors->data[start] = '\0';
    }
}

void weft__json_show(weft__buf *buf, const weft__json_node *node)
{
    switch (node->kind) {
    case WEFT__JSON_NULL:
        weft__buf_puts(buf, "null");
        break;
    case WEFT__JSON_BOOL:
        weft__buf_puts(buf, node->number > 0 ? "true" : "false");
        break;
    case WEFT__JSON_NUMBER:
        weft__buf_append(buf, node->text.data, node->text.len < SHOWN_BYTES ? node->text.len : SHOWN_BYTES);
        break;
    case WEFT__JSON_STRING:
        weft__buf_putc(buf, '"');
        weft__json_escape(buf, node->text, SHOWN_BYTES);
        weft__buf_putc(buf, '"');
        break;
    case WEFT__JSON_LIST:
        weft__buf_puts(buf, "a list");
        break;
    case WEFT__JSON_OBJECT:
        weft__buf_puts(buf, "an object");
        break;
    }
}

static uint32_t column_of(const struct reader *reader, const char *at)
{
    return (uint32_t)(at - reader->line_start) + 1;
}

/* Reports what is wrong at a place of the current line. */
static int fail(struct reader *reader, const char *at, const char *what)
{
    weft__json_report(reader->errors, reader->line, column_of(reader, at), "", "%s", what);
    return -EINVAL;
}

/* ---- Characters -------------------------------------------------------------------------------------------------- */

static void skip_space(struct reader *reader)
{
    for (; reader->p < reader->end; reader->p++) {
        if (*reader->p == '\n') {
            reader->line++;
            reader->line_start = reader->p + 1;
        } else if (*reader->p != ' ' && *reader->p != '\t' && *reader->p != '\r') {
            return;
        }
    }
}

static bool next_is(const struct reader *reader, char c)
{
    return reader->p < reader->end && *reader->p == c;
}

/* Moves past a character, if it is the next one. */
static bool take(struct reader *reader, char c)
{
    bool there = next_is(reader, c);
    reader->p += there;
    return there;
}

static bool next_is_digit(const struct reader *reader)
{
    return reader->p < reader->end && *reader->p >= '0' && *reader->p <= '9';
}

/* ---- Strings ----------------------------------------------------------------------------------------------------- */

/* Four hexadecimal digits at the reader, which moves past them; -1 when they are not there. */
static int32_t read_hex4(struct reader *reader)
{
    int32_t value = 0;
    if (reader->end - reader->p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = *reader->p++;
        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            value = value * 16 + (c - 'A' + 10);
        else
            return -1;
    }
    return value;
}

static char *put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (char)c;
        return out;
    }
    if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *out++ = (char)(0xe0 | c >> 12);
        } else {
            *out++ = (char)(0xf0 | c >> 18);
            *out++ = (char)(0x80 | (c >> 12 & 0x3f));
        }
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
    }
    *out++ = (char)(0x80 | (c & 0x3f));
    return out;
}

/* The character of an escape that begins with \u, behind which the reader stands; -1 when it is none. */
static int32_t read_unicode(struct reader *reader)
{
    int32_t c = read_hex4(reader);
    if (c < 0xd800 || c > 0xdfff)
        return c;
    if (c > 0xdbff || !take(reader, '\\') || !take(reader, 'u'))
        return -1;
    int32_t low = read_hex4(reader);
    return low >= 0xdc00 && low <= 0xdfff ? 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00) : -1;
}

/* Reads the escape behind whose backslash the reader stands. @return the character; -1 when it is none. */
static int32_t read_escape(struct reader *reader)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char characters[] = "\"\\/\b\f\n\r\t";
    if (take(reader, 'u'))
        return read_unicode(reader);
    const char *found = reader->p < reader->end ? memchr(letters, *reader->p, sizeof letters - 1) : NULL;
    if (found == NULL)
        return -1;
    reader->p++;
    return characters[found - letters];
}

/* Reads the string at whose quote the reader stands. */
static int read_string(struct reader *reader, weft_sv *out)
{
    const char *start = ++reader->p;
    size_t size = 0;
    while (start + size < reader->end && start[size] != '"')
        size += start[size] == '\\' ? 2 : 1;
    if (start + size >= reader->end)
        return fail(reader, start - 1, "this string has no end");
    char *text = weft_arena_alloc(reader->arena, size + 1); /* no escape is shorter than what it stands for */
    if (text == NULL)
        return -ENOMEM;
    char *to = text;
    while (!take(reader, '"')) {
        const char *at = reader->p;
        size_t n = weft__utf8_sequence(at, (size_t)(reader->end - at));
        if (n == 0)
            return fail(reader, at, "not UTF-8");
        if (n == 1 && (unsigned char)*at < 0x20)
            return fail(reader, at, "a control character in a string: write it as an escape, such as \\n");
        if (*at == '\\') {
            reader->p++;
            int32_t c = read_escape(reader);
            if (c < 0)
                return fail(reader, at, "not an escape of JSON");
            if (c == 0)
                return fail(reader, at, "a NUL character in a string");
            to = put_utf8(to, (uint32_t)c);
        } else {
            memcpy(to, at, n);
            to += n;
            reader->p += n;
        }
    }
    *to = '\0';
    *out = weft_sv_of(text, (size_t)(to - text));
    return 0;
}

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

/* Exact for up to 15 digits with an exponent of at most 22; what is further out is near, or infinite. */
static double scaled(uint64_t digits, long exponent)
{
    double power = 1;
    for (long i = exponent < 0 ? -exponent : exponent; i > 0; i--)
        power *= 10;
    if (digits == 0)
        return 0;
    return exponent < 0 ? (double)digits / power : (double)digits * power;
}

static int read_number(struct reader *reader, weft__json_node *node)
{
    const char *start = reader->p;
    uint64_t digits = 0;
    long exponent = 0;
    long written = 0;
    bool negative = take(reader, '-');
    const char *first = reader->p;
    bool fraction = false;
    for (;; reader->p++) {
        if (next_is(reader, '.') && !fraction && reader->p > first) {
            fraction = true;
            continue;
        }
        if (!next_is_digit(reader))
            break;
        bool fits = digits < UINT64_MAX / 10 - 1;
        if (fits)
            digits = digits * 10 + (uint64_t)(*reader->p - '0');
        if (fits && fraction)
            exponent--;
        if (!fits && !fraction)
            exponent++;
    }
    bool good =
        reader->p > first && reader->p[-1] != '.' && (*first != '0' || reader->p == first + 1 || first[1] == '.');
    if (good && (take(reader, 'e') || take(reader, 'E'))) {
        bool down = take(reader, '-');
        if (!down)
            take(reader, '+');
        good = next_is_digit(reader);
        for (; next_is_digit(reader); reader->p++)
            written = written < 1000 ? written * 10 + (*reader->p - '0') : written;
        exponent += down ? -written : written;
    }
    if (!good)
        return fail(reader, start, "not a number of JSON");
    exponent = exponent < -400 ? -400 : exponent > 400 ? 400 : exponent;
    node->kind = WEFT__JSON_NUMBER;
    node->text = weft_sv_of(start, (size_t)(reader->p - start));
    node->number = negative ? -scaled(digits, exponent) : scaled(digits, exponent);
    return 0;
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

static int read_value(struct reader *reader, weft__json_node *node);

/* Reads the key of a member, and the colon. */
static int read_key(struct reader *reader, const weft__json_node *object, weft__json_node *member)
{
    const char *at = reader->p;
    size_t count = 0;
    if (!next_is(reader, '"'))
        return fail(reader, at, "expected a key in double quotes");
    int rc = read_string(reader, &member->key);
    if (rc < 0)
        return rc;
    for (const weft__json_node *other = object->first; other != NULL; other = other->next, count++) {
        if (!weft_sv_equal(other->key, member->key))
            continue;
        weft__json_report(reader->errors, reader->line, column_of(reader, at), "",
                          "this key is there already, with the value at %u:%u", (unsigned)other->line,
                          (unsigned)other->column);
        return -EINVAL;
    }
    if (count == WEFT__JSON_MAX_MEMBERS)
        return fail(reader, at, "too many keys in one object");
    skip_space(reader);
    return take(reader, ':') ? 0 : fail(reader, reader->p, "expected ':'");
}

/* Reads what is in a list or an object, whose bracket the reader has passed, to its end. */
static int read_inside(struct reader *reader, weft__json_node *node)
{
    bool object = node->kind == WEFT__JSON_OBJECT;
    char close = object ? '}' : ']';
    weft__json_node **last = &node->first;
    skip_space(reader);
    if (take(reader, close))
        return 0;
    for (;;) {
        weft__json_node *item = weft_arena_zalloc(reader->arena, sizeof *item);
        if (item == NULL)
            return -ENOMEM;
        skip_space(reader);
        int rc = object ? read_key(reader, node, item) : 0;
        if (rc == 0)
            rc = read_value(reader, item);
        if (rc < 0)
            return rc;
        *last = item;
        last = &item->next;
        skip_space(reader);
        if (take(reader, close))
            return 0;
        if (!take(reader, ','))
            return fail(reader, reader->p, object ? "expected ',' or '}'" : "expected ',' or ']'");
    }
}

static bool take_word(struct reader *reader, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(reader->end - reader->p) < len || memcmp(reader->p, word, len) != 0)
        return false;
    reader->p += len;
    return true;
}

static int read_value(struct reader *reader, weft__json_node *node)
{
    skip_space(reader);
    node->line = reader->line;
    node->column = column_of(reader, reader->p);
    if (next_is(reader, '"')) {
        node->kind = WEFT__JSON_STRING;
        return read_string(reader, &node->text);
    }
    if (next_is(reader, '-') || next_is_digit(reader))
        return read_number(reader, node);
    if (next_is(reader, '{') || next_is(reader, '[')) {
        if (reader->depth == WEFT__JSON_MAX_DEPTH)
            return fail(reader, reader->p, "nested too deep");
        node->kind = *reader->p == '{' ? WEFT__JSON_OBJECT : WEFT__JSON_LIST;
        reader->p++;
        reader->depth++;
        int rc = read_inside(reader, node);
        reader->depth--;
        return rc;
    }
    node->kind = WEFT__JSON_NULL;
    if (take_word(reader, "null"))
        return 0;
    node->kind = WEFT__JSON_BOOL;
    node->number = next_is(reader, 't');
    if (take_word(reader, "true") || take_word(reader, "false"))
        return 0;
    return fail(reader, reader->p, reader->p < reader->end ? "expected a value" : "expected a value, found the end");
}

int weft__json_read(weft__json_node **out, weft_arena *arena, weft_sv text, weft__buf *errors)
{
    const char *data = text.len > 0 ? text.data : "";
    struct reader reader = {
        .arena = arena, .p = data, .end = data + text.len, .line_start = data, .line = 1, .errors = errors};
    weft__json_node *root = weft_arena_zalloc(arena, sizeof *root);
    if (root == NULL)
        return -ENOMEM;
    int rc = read_value(&reader, root);
    if (rc < 0)
        return rc;
    skip_space(&reader);
    if (reader.p < reader.end)
        return fail(&reader, reader.p, "expected the end");
    *out = root;
    return 0;
}
