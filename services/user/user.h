/* user.h: what a user is, whatever the wire and the store look like. */
#ifndef USER_USER_H
#define USER_USER_H

#include <stddef.h>

#include <weft/arena.h>

#define USER_NAME_MAX_CHARACTERS 200
#define USER_EMAIL_MAX_BYTES     254
#define USER_PASSWORD_MIN_BYTES  8
#define USER_PASSWORD_MAX_BYTES  1024

/* Who owns the strings, says the function that gives one out. */
struct user {
    const char *id;            /* a UUID in lower case */
    const char *name;          /* never empty */
    const char *email;         /* as it was given */
    const char *email_key;     /* of which no two users have the same: user_email_key */
    const char *password_hash; /* a PHC string, or NULL: cannot authenticate */
};

/* Some new values for a user; NULL leaves one as it is. */
struct user_update {
    const char *name;
    const char *email;
    const char *email_key; /* changes with the e-mail address */
    const char *password_hash;
};

/* What a caller says of a user. "" is not set. */
struct user_input {
    const char *name;
    const char *email;
    char *password; /* wiped once it is hashed */
};

/* Why an input is refused: "name" "must not be empty". */
struct user_refusal {
    const char *field;
    const char *why;
};

/**
 * Checks what is set and makes new values of it, with the password hashed; what is not set stays NULL.
 *
 * @param out its strings lie in `arena`.
 * @return 0; -EINVAL, and *refusal says why; -ENOMEM; -errno of getrandom. Thread: any; blocks for a password.
 */
int user_read_update(const struct user_input *input, weft_arena *arena, struct user_update *out,
                     struct user_refusal *refusal);

/* The same for a new user, who has a name and an e-mail address, and gets an id. */
int user_read_new(const struct user_input *input, weft_arena *arena, struct user *out, struct user_refusal *refusal);

/**
 * A name without the white space around it.
 *
 * @return 0; -EINVAL, and *why says why, in words that follow "name "; -ENOMEM.
 */
int user_check_name(const char *name, weft_arena *arena, const char **out, const char **why);

/* An e-mail address (the sense of RFC 5321, without quoted names and address literals; UTF-8 as in RFC 6531).
   @return 0, or -EINVAL, as above. */
int user_check_email(const char *email, const char **why);

/* A new password. @return 0, or -EINVAL, as above. */
int user_check_password(const char *password, const char **why);

/**
 * What makes two addresses the same user: the address with the letters A to Z in lower case, on both sides of the '@'.
 * Strictly only a host knows whether it tells letter cases apart before the '@'; in practice none does. Other scripts
 * are compared as they are written: folding them depends on language and Unicode version, and a key must never change.
 *
 * @return the key in `arena`, or NULL when that is full.
 */
const char *user_email_key(const char *email, weft_arena *arena);

#endif
