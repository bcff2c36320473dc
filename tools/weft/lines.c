#include "lines.h"

#include <string.h>

static const char mark[] = " … (cut)";

/* Where a UTF-8 character that ends behind `length`, but begins before, begins; else `length`. */
static size_t whole_characters(const char *bytes, size_t length)
{
    static const size_t longest = 4;
    size_t begin = length;
    while (begin > 0 && length - begin < longest) {
        unsigned char c = (unsigned char)bytes[--begin];
        size_t size = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        if ((c & 0xc0) != 0x80) /* it begins here */
            return begin + size > length ? begin : length;
    }
    return length;
}

static void finish(lines *l)
{
    if (!l->cut && l->length > 0 && l->kept[l->length - 1] == '\r')
        l->length--;
    l->sink(l->arg, l->kept, l->length);
    l->length = 0;
    l->cut = false;
}

static void keep(lines *l, const char *bytes, size_t size)
{
    size_t room = LINES_MAX - l->length;
    size_t end = LINES_MAX - (sizeof mark - 1);
    if (l->cut)
        return;
    memcpy(l->kept + l->length, bytes, size < room ? size : room);
    l->length += size < room ? size : room;
    if (size <= room)
        return;
    end = whole_characters(l->kept, end);
    memcpy(l->kept + end, mark, sizeof mark - 1);
    l->length = end + sizeof mark - 1;
    l->cut = true;
}

void lines_take(lines *l, const char *bytes, size_t size)
{
    while (size > 0) {
        const char *newline = memchr(bytes, '\n', size);
        size_t length = newline != NULL ? (size_t)(newline - bytes) : size;
        keep(l, bytes, length);
        if (newline == NULL)
            return;
        finish(l);
        bytes += length + 1;
        size -= length + 1;
    }
}

void lines_end(lines *l)
{
    if (l->length > 0)
        finish(l);
}
