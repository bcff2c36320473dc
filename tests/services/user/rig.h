/* rig.h: user.UserService in its rig (service_rig.h), and calls of it. */
#ifndef WEFT_TESTS_USER_RIG_H
#define WEFT_TESTS_USER_RIG_H

#include "support/service_rig.h"
#include "user.weft.h"
#include "user_service.h"

extern struct user_service service;

/* Opens one more store on the file. */
struct user_store *rig_open_store(int64_t busy_timeout_ms, int64_t max_bytes);

void assert_bad_field(weft_status status, const char *field);

/* Calls. `response` may be NULL. */
weft_status create(char *name, char *email, char *password, User__CreateUserResponse **response);
weft_status update(const User__UpdateUserRequest *request, User__UpdateUserResponse **response);
weft_status delete_user(char *id);
weft_status list(int32_t page_size, char *token, User__ListUsersResponse **response);
weft_status authenticate(char *email, char *password, User__AuthenticateResponse **response);

/* Ada@Example.org, "analytical engine". @return her id. */
char *create_ada(void);

#endif
