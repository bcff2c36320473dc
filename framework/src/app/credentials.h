/* app/credentials.h: the keys tls.* of a program, made into what its listeners and channels are given. */
#ifndef WEFT_APP_CREDENTIALS_H
#define WEFT_APP_CREDENTIALS_H

#include <stdbool.h>

#include <weft/config.h>
#include <weft/tls.h>

/* Whether its listeners speak TLS; whether its channels do. */
bool weft__credentials_serve(const weft_config *config);
bool weft__credentials_call(const weft_config *config);

/* Prints what does not go together, each with its place. 0; -EINVAL. */
int weft__credentials_check(const weft_config *config);

/* One for listeners and channels, or NULL when all is plaintext. 0; as weft_tls_new, which is logged. */
int weft__credentials_new(weft_tls **out, weft_engine *engine, const weft_config *config, weft_log *log);

#endif
