#include "sample.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int refuse(const char **why, const char *reason)
{
    *why = reason;
    return -EINVAL;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

int sample_check_name(const char *name, weft_arena *arena, const char **out, const char **why)
{
    size_t characters = 0;
    while (is_space(*name))
        name++;
    size_t len = strlen(name);
    while (len > 0 && is_space(name[len - 1]))
        len--;
    if (len == 0)
        return refuse(why, "must not be empty");
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)name[i];
        if (byte < 0x20 || byte == 0x7f)
            return refuse(why, "must not contain control characters");
        characters += (byte & 0xc0) != 0x80; /* the first byte of a character in UTF-8, which Weft has checked */
    }
    if (characters > SAMPLE_NAME_MAX_CHARACTERS)
        return refuse(why, "must not be longer than 100 characters");
    const char *copy = weft_arena_svdup(arena, weft_sv_of(name, len));
    if (copy == NULL)
        return -ENOMEM;
    *out = copy;
    return 0;
}

char *sample_greet(const char *greeting, const char *name, weft_arena *arena)
{
    size_t size = strlen(greeting) + strlen(name) + sizeof ", !";
    char *text = weft_arena_alloc(arena, size);
    if (text != NULL)
        snprintf(text, size, "%s, %s!", greeting, name);
    return text;
}
