#include "base/json_write.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* Bytes that stand for themselves: printable ASCII but for quote and backslash. */
static bool is_plain(unsigned char byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

/* Writes the escape for the character of `length` bytes (0: not UTF-8) at `at`. @return its length; 0: needs none. */
static size_t escape_of(const unsigned char *at, size_t length, char out[8])
{
    unsigned code = at[0];
    char letter = '\0';

    if (length == 0)
        code = 0xfffd;
    else if (length == 2 && at[0] == 0xc2 && at[1] < 0xa0)
        code = at[1]; /* C1: a terminal may obey it */
    else if (length > 1)
        return 0;

    switch (code) {
    case '"':
    case '\\':
        letter = (char)code;
        break;
    case '\b':
        letter = 'b';
        break;
    case '\f':
        letter = 'f';
        break;
    case '\n':
        letter = 'n';
        break;
    case '\r':
        letter = 'r';
        break;
    case '\t':
        letter = 't';
        break;
    default:
        break;
    }
    if (letter != '\0')
        return (size_t)snprintf(out, 8, "\\%c", letter);
    return (size_t)snprintf(out, 8, "\\u%04x", code);
}

size_t weft__json_escape(weft__buf *buf, weft_sv text, size_t room)
{
    const unsigned char *bytes = (const unsigned char *)text.data;
    size_t done = 0;

    while (done < text.len) {
        size_t left = text.len - done;
        size_t plain = 0;
        while (plain < left && plain < room && is_plain(bytes[done + plain]))
            plain++;
        if (plain > 0) {
            weft__buf_append(buf, bytes + done, plain);
            done += plain;
            room -= plain;
            continue;
        }

        char escape[8];
        size_t length = weft__utf8_sequence((const char *)bytes + done, left);
        size_t escape_length = escape_of(bytes + done, length, escape);
        size_t out_length = escape_length > 0 ? escape_length : length;
        if (out_length > room)
            break;
        weft__buf_append(buf, escape_length > 0 ? escape : text.data + done, out_length);
        done += length > 0 ? length : 1;
        room -= out_length;
    }
    return done;
}

/* What goes before every value and every key. */
static void separate(weft__json *json)
{
    if (json->comma)
        weft__buf_putc(json->buf, ',');
}

static void open_with(weft__json *json, char bracket)
{
    separate(json);
    weft__buf_putc(json->buf, bracket);
    json->comma = false;
}

static void close_with(weft__json *json, char bracket)
{
    weft__buf_putc(json->buf, bracket);
    json->comma = true;
}

static void put_quoted(weft__json *json, weft_sv text)
{
    weft__buf_putc(json->buf, '"');
    weft__json_escape(json->buf, text, SIZE_MAX);
    weft__buf_putc(json->buf, '"');
}

static void put_plain(weft__json *json, const char *text)
{
    separate(json);
    weft__buf_puts(json->buf, text);
    json->comma = true;
}

void weft__json_begin_object(weft__json *json)
{
    open_with(json, '{');
}

void weft__json_end_object(weft__json *json)
{
    close_with(json, '}');
}

void weft__json_begin_array(weft__json *json)
{
    open_with(json, '[');
}

void weft__json_end_array(weft__json *json)
{
    close_with(json, ']');
}

void weft__json_key(weft__json *json, weft_sv key)
{
    separate(json);
    put_quoted(json, key);
    weft__buf_putc(json->buf, ':');
    json->comma = false;
}

void weft__json_string(weft__json *json, weft_sv value)
{
    if (value.data == NULL) {
        weft__json_null(json);
        return;
    }
    separate(json);
    put_quoted(json, value);
    json->comma = true;
}

void weft__json_int(weft__json *json, int64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRId64, value);
    put_plain(json, text);
}

void weft__json_uint(weft__json *json, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, value);
    put_plain(json, text);
}

void weft__json_double(weft__json *json, double value)
{
    char text[40];
    size_t out = 0;

    if (!isfinite(value)) {
        put_plain(json, isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) { /* the fewest that read back as the same number */
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    /* The decimal point is the locale's, one byte or several: it is all that is neither digit, sign nor exponent. */
    for (size_t i = 0; text[i] != '\0'; i++) {
        if (strchr("0123456789+-e", text[i]) != NULL)
            text[out++] = text[i];
        else if (out > 0 && text[out - 1] != '.')
            text[out++] = '.';
    }
    text[out] = '\0';
    put_plain(json, text);
}

void weft__json_bool(weft__json *json, bool value)
{
    put_plain(json, value ? "true" : "false");
}

void weft__json_null(weft__json *json)
{
    put_plain(json, "null");
}
