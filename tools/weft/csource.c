#include "csource.h"

#include <stdint.h>
#include <string.h>

typedef struct token {
    size_t begin;
    size_t end;
    bool word; /* an identifier or a number; else one character of punctuation, or a literal */
} token;

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (c & '\x80') != 0;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Behind a line, those that a backslash continues included. Comments in it may hold line ends. */
static size_t skip_directive(const char *data, size_t size, size_t at)
{
    while (at < size && data[at] != '\n') {
        if (at + 1 < size && data[at] == '\\') {
            at += at + 2 < size && data[at + 1] == '\r' && data[at + 2] == '\n' ? 3 : 2;
        } else if (at + 1 < size && data[at] == '/' && data[at + 1] == '*') {
            at += 2;
            while (at + 1 < size && !(data[at] == '*' && data[at + 1] == '/'))
                at++;
            at += at + 1 < size ? 2 : 1;
        } else {
            at++;
        }
    }
    return at < size ? at : size;
}

/* Behind a comment that begins at `at`; `at` itself if none does. */
static size_t skip_comment(const char *data, size_t size, size_t at)
{
    if (at + 1 >= size || data[at] != '/')
        return at;
    if (data[at + 1] == '/') {
        while (at < size && data[at] != '\n')
            at++;
        return at;
    }
    if (data[at + 1] != '*')
        return at;
    for (at += 2; at + 1 < size; at++)
        if (data[at] == '*' && data[at + 1] == '/')
            return at + 2;
    return size;
}

/* Behind a string or character that begins at `at`. */
static size_t skip_literal(const char *data, size_t size, size_t at)
{
    char quote = data[at++];
    while (at < size && data[at] != quote && data[at] != '\n')
        at += data[at] == '\\' ? 2 : 1;
    return at < size ? at + 1 : size;
}

/* Whether only blanks stand between the beginning of the line and `at`. */
static bool begins_line(const char *data, size_t at)
{
    while (at > 0 && data[at - 1] != '\n')
        if (!is_blank(data[--at]))
            return false;
    return true;
}

/* The token at or behind `at`. @return false at the end. */
static bool next_token(const char *data, size_t size, size_t at, token *out)
{
    while (at < size) {
        size_t behind = skip_comment(data, size, at);
        if (behind > at)
            at = behind;
        else if (is_blank(data[at]))
            at++;
        else if (data[at] == '#' && begins_line(data, at))
            at = skip_directive(data, size, at);
        else
            break;
    }
    if (at >= size)
        return false;
    *out = (token){at, at + 1, is_word_char(data[at])};
    if (out->word)
        while (out->end < size && is_word_char(data[out->end]))
            out->end++;
    else if (data[at] == '"' || data[at] == '\'')
        out->end = skip_literal(data, size, at);
    return true;
}

static bool is(const char *data, const token *t, const char *text)
{
    size_t length = strlen(text);
    return t->end - t->begin == length && memcmp(data + t->begin, text, length) == 0;
}

/* The beginning of the line that `at` stands on. */
static size_t line_of(const char *data, size_t at)
{
    while (at > 0 && data[at - 1] != '\n')
        at--;
    return at;
}

/* Where a declaration begins whose first token is at `at`: with the comments right before it, if behind `after`. */
static size_t with_comment(const char *data, size_t size, size_t after, size_t at)
{
    size_t begin = line_of(data, at);
    size_t found = SIZE_MAX;
    if (begin < after)
        return at;
    for (size_t i = after; i < begin;) {
        size_t behind = skip_comment(data, size, i);
        if (behind > i && begins_line(data, i)) {
            if (found == SIZE_MAX)
                found = line_of(data, i);
            i = behind;
        } else if (data[i] == '\n' && begins_line(data, i)) { /* an empty line parts them */
            found = SIZE_MAX;
            i++;
        } else {
            if (!is_blank(data[i]))
                found = SIZE_MAX;
            i++;
        }
    }
    return found != SIZE_MAX && found >= after ? found : begin;
}

/* Reads a table from its '{'. @return false when it does not end. */
static bool read_table(const char *data, size_t size, size_t open, csource_table *out)
{
    token t;
    size_t depth = 0;
    token last = {open, open + 1, false};
    for (size_t at = open; next_token(data, size, at, &t); at = t.end) {
        if (is(data, &t, "{"))
            depth++;
        if (is(data, &t, "}") && --depth == 0) {
            out->open = open;
            out->close = t.begin;
            out->last = last.end;
            out->comma = last.end - last.begin == 1 && (data[last.begin] == ',' || data[last.begin] == '{');
            return true;
        }
        last = t;
    }
    return false;
}

size_t csource_find_table(const char *data, size_t size, const char *type, csource_table *out)
{
    enum {
        SEARCH,
        TYPE,  /* after the type */
        NAME,  /* after a name */
        EQUALS /* after the '=' */
    } state = SEARCH;
    size_t found = 0;
    size_t depth = 0;
    size_t outermost = 0; /* where the outermost declaration's first token begins */
    size_t before = 0;    /* behind the one before it */
    bool between = true;  /* the next token begins an outermost declaration */
    token t;
    for (size_t at = 0; next_token(data, size, at, &t); at = t.end) {
        if (between)
            outermost = t.begin;
        between = false;
        if (state == EQUALS && is(data, &t, "{")) {
            csource_table table;
            if (!read_table(data, size, t.begin, &table))
                return 0;
            table.declaration = with_comment(data, size, before, outermost);
            if (found++ == 0)
                *out = table;
        }
        if (state == SEARCH || state == EQUALS)
            state = is(data, &t, type) ? TYPE : SEARCH;
        else if (state == TYPE)
            state = t.word && !is(data, &t, "const") ? NAME : is(data, &t, "const") ? TYPE : SEARCH;
        else
            state = is(data, &t, "=") ? EQUALS : SEARCH;
        if (is(data, &t, "{"))
            depth++;
        else if (is(data, &t, "}") && depth-- == 0)
            return 0;
        bool ends = is(data, &t, ";") || is(data, &t, "}");
        if (depth == 0 && ends) {
            between = true;
            before = t.end;
        }
    }
    return depth == 0 ? found : 0;
}

size_t csource_next_entry(const char *data, const csource_table *table, size_t *at, const char **member)
{
    token t;
    token last[2] = {{0, 0, false}, {0, 0, false}}; /* '.', member */
    if (*at <= table->open)
        *at = table->open + 1;
    while (next_token(data, table->close, *at, &t)) {
        *at = t.end;
        if (is(data, &t, "=") && last[1].word && is(data, &last[0], ".")) {
            *member = data + last[1].begin;
            return last[1].end - last[1].begin;
        }
        last[0] = last[1];
        last[1] = t;
    }
    return 0;
}

bool csource_has_entry(const char *data, const csource_table *table, const char *member)
{
    const char *found;
    size_t length;
    for (size_t at = table->open; (length = csource_next_entry(data, table, &at, &found)) > 0;)
        if (strlen(member) == length && memcmp(member, found, length) == 0)
            return true;
    return false;
}

bool csource_has_word(const char *data, size_t size, const char *word)
{
    token t;
    for (size_t at = 0; next_token(data, size, at, &t); at = t.end)
        if (t.word && is(data, &t, word))
            return true;
    return false;
}

/* Behind `#include "NAME"` at the beginning of a directive, or SIZE_MAX. */
static size_t behind_include(const char *data, size_t size, size_t at, const char *name)
{
    static const char word[] = "include";
    const size_t length = strlen(name);
    for (at++; at < size && (data[at] == ' ' || data[at] == '\t');)
        at++;
    if (size - at < sizeof word - 1 || memcmp(data + at, word, sizeof word - 1) != 0)
        return SIZE_MAX;
    for (at += sizeof word - 1; at < size && (data[at] == ' ' || data[at] == '\t');)
        at++;
    if (size - at < length + 2 || data[at] != '"' || memcmp(data + at + 1, name, length) != 0 ||
        data[at + 1 + length] != '"')
        return SIZE_MAX;
    return at + length + 2;
}

size_t csource_find_include(const char *data, size_t size, const char *name)
{
    for (size_t at = 0; at < size;) {
        size_t behind = skip_comment(data, size, at);
        if (behind > at) {
            at = behind;
        } else if (data[at] == '#' && begins_line(data, at)) {
            size_t found = behind_include(data, size, at, name);
            if (found != SIZE_MAX)
                return found;
            at = skip_directive(data, size, at);
        } else {
            at = data[at] == '"' || data[at] == '\'' ? skip_literal(data, size, at) : at + 1;
        }
    }
    return SIZE_MAX;
}

/* Behind the ')' that belongs to the '(' at `open`, or SIZE_MAX. */
static size_t closing(const char *data, size_t size, size_t open)
{
    token t;
    size_t depth = 0;
    for (size_t at = open; next_token(data, size, at, &t); at = t.end) {
        if (is(data, &t, "("))
            depth++;
        else if (is(data, &t, ")") && --depth == 0)
            return t.end;
        else if (is(data, &t, ";"))
            return SIZE_MAX;
    }
    return SIZE_MAX;
}

size_t csource_find_call(const char *data, size_t size, const char *function, csource_call *out)
{
    size_t found = 0;
    token last[3] = {{0, 0, false}, {0, 0, false}, {0, 0, false}}; /* …, result, '=' */
    uint64_t ifs = 0;      /* a bit for each open '(', the innermost's lowest: whether `if` stands before it */
    bool after_if = false; /* that of the last ')' */
    token t;
    for (size_t at = 0; next_token(data, size, at, &t); at = t.end) {
        token open, end, after;
        if (is(data, &t, function) && is(data, &last[2], "=") && last[1].word && next_token(data, size, t.end, &open) &&
            is(data, &open, "(")) {
            size_t behind = closing(data, size, open.begin);
            bool guarded = is(data, &last[0], ")") && after_if; /* by `if (rc == 0)` */
            bool begins = guarded || is(data, &last[0], ";") || is(data, &last[0], "{") || is(data, &last[0], "}") ||
                          is(data, &last[0], "int");
            if (begins && behind != SIZE_MAX && next_token(data, size, behind, &end) && is(data, &end, ";") &&
                !(next_token(data, size, end.end, &after) && is(data, &after, "else"))) {
                if (found++ == 0)
                    *out = (csource_call){
                        .line = line_of(data, guarded ? last[0].begin : last[1].begin),
                        .end = end.end,
                        .result = last[1].begin,
                        .result_size = last[1].end - last[1].begin,
                        .arguments = open.end,
                        .arguments_size = behind - 1 - open.end,
                    };
            }
        }
        if (is(data, &t, "(")) {
            ifs = ifs << 1 | (is(data, &last[2], "if") ? 1 : 0);
        } else if (is(data, &t, ")")) {
            after_if = (ifs & 1) != 0;
            ifs >>= 1;
        }
        last[0] = last[1];
        last[1] = last[2];
        last[2] = t;
    }
    return found;
}
