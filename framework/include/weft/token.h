/* weft/token.h: tokens that callers bring back: where the next page begins, or where a watch goes on. */
#ifndef WEFT_TOKEN_H
#define WEFT_TOKEN_H

#include <stdbool.h>

#include <weft/version.h>

WEFT_BEGIN_DECLS

#define WEFT_TOKEN_TEXT_BYTES 40 /* what a token can hold, with the NUL: an id, a number */
#define WEFT_TOKEN_BYTES      (WEFT_TOKEN_TEXT_BYTES + 9)

/**
 * Makes a token of a text: the text, a dot, and eight digits that only this text in this scope gives. That keeps off
 * mistakes, such as a token of another list; it is no secret and no signature.
 *
 * @param text  shorter than WEFT_TOKEN_TEXT_BYTES; more is cut, which weft_token_parse then refuses.
 * @param scope what the token is good for: "users", or whose list it is. It is not in the token.
 */
WEFT_API void weft_token_format(const char *text, const char *scope, char token[WEFT_TOKEN_BYTES]);

/* Whether a token was made for this scope, and not cut or made up. The text in it comes out; else `text` holds nothing
 * of use. */
WEFT_API bool weft_token_parse(const char *token, const char *scope, char text[WEFT_TOKEN_TEXT_BYTES]);

WEFT_END_DECLS
#endif
