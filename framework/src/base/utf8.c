#include "base/utf8.h"

/* Table 3-7 of the Unicode standard: the first byte bounds the second; the rest are continuation bytes. */
size_t weft__utf8_sequence(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned low = 0x80;
    unsigned high = 0xbf;
    size_t n;
    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        n = 2;
    else if (s[0] >= 0xe0 && s[0] <= 0xef)
        n = 3;
    else if (s[0] >= 0xf0 && s[0] <= 0xf4)
        n = 4;
    else
        return 0;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    if (len < n || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

bool weft__is_utf8(const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = weft__utf8_sequence(text + i, len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

void weft__utf8_repair(char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = weft__utf8_sequence(text + i, len - i);
        if (n == 0)
            text[i++] = '?';
        else
            i += n;
    }
}

size_t weft__utf8_cut(const char *text, size_t len, size_t max)
{
    if (len <= max)
        return len;
    while (max > 0 && ((unsigned char)text[max] & 0xc0) == 0x80)
        max--;
    return max;
}
