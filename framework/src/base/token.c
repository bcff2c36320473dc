#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <weft/token.h>

#define CHECKSUM_CHARACTERS 9 /* with the dot */

/* FNV-1a, over both texts with their ends. */
static uint32_t checksum(const char *text, const char *scope)
{
    const char *parts[] = {text, scope};
    uint32_t sum = 2166136261U;
    for (size_t i = 0; i < 2; i++)
        for (const char *p = parts[i];; p++) {
            sum = (sum ^ (uint8_t)*p) * 16777619U;
            if (*p == '\0')
                break;
        }
    return sum;
}

void weft_token_format(const char *text, const char *scope, char token[WEFT_TOKEN_BYTES])
{
    snprintf(token, WEFT_TOKEN_BYTES, "%.*s.%08" PRIx32, WEFT_TOKEN_TEXT_BYTES - 1, text, checksum(text, scope));
}

bool weft_token_parse(const char *token, const char *scope, char text[WEFT_TOKEN_TEXT_BYTES])
{
    char again[WEFT_TOKEN_BYTES];
    size_t len = strlen(token);
    if (len < CHECKSUM_CHARACTERS || len >= WEFT_TOKEN_BYTES)
        return false;
    memcpy(text, token, len - CHECKSUM_CHARACTERS);
    text[len - CHECKSUM_CHARACTERS] = '\0';
    weft_token_format(text, scope, again);
    return strcmp(token, again) == 0;
}
