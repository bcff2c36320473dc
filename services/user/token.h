/* token.h: tokens that callers bring back: a text, a dot, and its checksum in eight digits. */
#ifndef USER_TOKEN_H
#define USER_TOKEN_H

#include <stdbool.h>
#include <stddef.h>

#define TOKEN_TEXT_BYTES 40 /* what a token can hold, with the NUL */
#define TOKEN_BYTES      (TOKEN_TEXT_BYTES + 9)

/* Makes a token of a text. */
void token_format(const char *text, char token[TOKEN_BYTES]);

/* Whether a token is one of ours, and not cut or made up; the text in it comes out. */
bool token_parse(const char *token, char text[TOKEN_TEXT_BYTES]);

#endif
