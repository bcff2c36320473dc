/* user_errors.h: what goes wrong as the status of a call. */
#ifndef USER_USER_ERRORS_H
#define USER_USER_ERRORS_H

#include <weft/call.h>

#include "user.h"

#define USER_EMAIL_TAKEN "email belongs to another user"

/* No user has this id. */
weft_code user_fail_missing(weft_call *call, const char *id);

/* A change of the user with this id did not go through. */
weft_code user_fail_change(weft_call *call, const char *id, int rc);

/* What user_read_update or user_read_new returned. */
weft_code user_fail_input(weft_call *call, int rc, const struct user_refusal *refusal);

/* A token that is none of ours. */
weft_code user_fail_token(weft_call *call, const char *field);

#endif
