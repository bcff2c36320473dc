/* password.h: passwords are kept as argon2id hashes in PHC strings, which carry their salt and costs. */
#ifndef USER_PASSWORD_H
#define USER_PASSWORD_H

#include <stddef.h>

#define PASSWORD_HASH_BYTES 128 /* room for a PHC string and its NUL */

/**
 * Hashes a password with a new salt. Takes about 30 ms and 19 MiB.
 *
 * @return 0; -ENOMEM; or -errno of getrandom. Thread: any; blocks.
 */
int password_hash(const char *password, char phc[PASSWORD_HASH_BYTES]);

/**
 * Whether a password is the one that was hashed.
 *
 * @param phc what password_hash made, or NULL for a user who has no password or does not exist: the answer is then no,
 *            and takes as long.
 * @return 0 yes; -EACCES no; -ENOMEM; -EBADMSG `phc` is no such string. Thread: any; blocks.
 */
int password_verify(const char *password, const char *phc);

/* Overwrites a secret, in a way that the compiler keeps. */
void password_wipe(void *secret, size_t len);

#endif
