#include "token.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define CHECKSUM_CHARACTERS 9 /* with the dot */

/* FNV-1a. It keeps off mistakes; there is no secret in a token. */
static uint32_t checksum(const char *text)
{
    uint32_t sum = 2166136261U;
    for (; *text != '\0'; text++)
        sum = (sum ^ (uint8_t)*text) * 16777619U;
    return sum;
}

void token_format(const char *text, char token[TOKEN_BYTES])
{
    snprintf(token, TOKEN_BYTES, "%s.%08" PRIx32, text, checksum(text));
}

bool token_parse(const char *token, char text[TOKEN_TEXT_BYTES])
{
    char again[TOKEN_BYTES];
    size_t len = strlen(token);
    if (len < CHECKSUM_CHARACTERS || len >= TOKEN_BYTES)
        return false;
    memcpy(text, token, len - CHECKSUM_CHARACTERS);
    text[len - CHECKSUM_CHARACTERS] = '\0';
    token_format(text, again);
    return strcmp(token, again) == 0;
}
