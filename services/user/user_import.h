/* user_import.h: many users in one call. */
#ifndef USER_USER_IMPORT_H
#define USER_USER_IMPORT_H

#include <weft/call.h>

#include "user.weft.h"
#include "user_store.h"

#define USER_IMPORT_MAX_USERS    100000
#define USER_IMPORT_MAX_FAILURES 100 /* that are told one by one */

/* ImportUsers, on a worker. @return what the handler returns. */
weft_code user_import(struct user_store *store, weft_call *call, user_UserService_ImportUsers_server *stream,
                      User__ImportUsersResponse *response);

#endif
